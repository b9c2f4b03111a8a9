// Affine additions in batches that share one inversion: six multiplications each instead of ten for mixed XYZZ.
#pragma once
#include "curve.hpp"

namespace unveto {

// Queues target += addend. A target may be queued only once between two flushes, and must not be read before the flush.
template <class F>
class BatchAdder {
 public:
  explicit BatchAdder(std::size_t capacity) : capacity_(capacity), jobs_(capacity) {}

  bool is_full() const { return size_ == capacity_; }

  // False when the sum is there at once and the target is not queued.
  bool add(Affine<F>* target, const Affine<F>& addend) {
    if (addend.is_infinity()) return false;
    if (target->is_infinity()) {
      *target = addend;
      return false;
    }
    F run = addend.x - target->x, rise = addend.y - target->y;
    if (run.is_zero()) {
      if (!rise.is_zero()) {  // the two are opposite
        *target = Affine<F>::infinity();
        return false;
      }
      const F square = target->x.sqr();
      run = target->y.dbl();
      rise = square.dbl() + square;
    }
    // The product grows while the next addend is on its way from memory.
    jobs_[size_++] = {target, run, rise, addend.x, product_};
    product_ = product_ * run;
    return true;
  }

  void flush() {
    F inverse = product_.inv();
    for (std::size_t i = size_; i-- > 0;) {
      const Job& job = jobs_[i];
      Affine<F>& t = *job.target;
      const F slope = job.rise * (inverse * job.before);
      inverse = inverse * job.run;
      const F x = slope.sqr() - t.x - job.addend_x;
      t = {x, slope * (t.x - x) - t.y};
    }
    size_ = 0, product_ = F::one();
  }

 private:
  struct Job {
    Affine<F>* target;
    F run, rise, addend_x, before /* the product of earlier runs */;
  };

  std::size_t capacity_, size_ = 0;
  F product_ = F::one();
  SecretVector<Job> jobs_;  // sums of secret multiples pass through here
};

}  // namespace unveto
