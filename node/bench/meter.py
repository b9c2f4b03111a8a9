"""Runs one program and says what it took: `python -S -E meter.py RESULT PROGRAM ARGUMENT…`.

The system counts the memory of a program's parent at its start as the program's own, so the parent has to be small:
this file imports little and runs without `site`. RESULT is a file for `{"status", "cpu_s", "wall_s", "peak_mib"}`.
"""

import json
import os
import subprocess
import sys
import time


def main() -> int:
    """Always 0; the status of the program is in the result."""
    began = time.perf_counter()
    process = subprocess.Popen(sys.argv[2:])
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    scale = 1 if sys.platform == "darwin" else 1024  # ru_maxrss is in bytes there
    used = {
        "status": process.returncode,
        "cpu_s": usage.ru_utime + usage.ru_stime,
        "wall_s": time.perf_counter() - began,
        "peak_mib": usage.ru_maxrss * scale / (1 << 20),
    }
    with open(sys.argv[1], "w") as result:
        json.dump(used, result)
    return 0


if __name__ == "__main__":
    sys.exit(main())
