"""A program whose wall clock is moved while it runs: the harness of the clock faults."""

import subprocess
import time
from pathlib import Path

from sie_testing.processes.moved_clock import through_moved_clock, write_ahead

PROGRAM = """
import sys, time
from time import time as taken

for _ in sys.stdin:
    print(time.time(), taken(), time.time_ns() / 1e9, time.monotonic(), *sys.argv[1:], flush=True)
"""


def test_the_wall_clock_leaps_and_what_only_measures_goes_on(tmp_path: Path):
    program, clock = tmp_path / "program.py", tmp_path / "clock"
    program.write_text(PROGRAM)
    argv = through_moved_clock(clock, [str(program), "--own", "flag"])
    with subprocess.Popen(
        argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        for ahead_s in (0.0, 7200.0, -7200.0, 0.0):
            write_ahead(clock, ahead_s)
            before = time.time(), time.monotonic()
            process.stdin.write("\n")
            process.stdin.flush()
            *told, measured, flag, value = process.stdout.readline().split()
            after = time.time(), time.monotonic()
            for each in told:
                assert before[0] + ahead_s - 0.001 <= float(each) <= after[0] + ahead_s + 0.001
            assert before[1] <= float(measured) <= after[1]
            assert (flag, value) == ("--own", "flag")
        process.stdin.close()
