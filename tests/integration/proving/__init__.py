"""The prover as a whole: its own library in its own process."""
