"""What a user of gdb waits for, timed inside gdb, which has connected and stands at a stop already.

Prints one line for each measure: a mark, the measure, nanoseconds.
"""

import os
import tempfile
import time

import gdb

MARK = "bench"
DUMP_BYTES = 16 << 20
REPETITIONS = 1000


def measure(name, command):
    before = time.monotonic_ns()
    gdb.execute(command, to_string=True)
    print(MARK, name, time.monotonic_ns() - before, sep="\t", flush=True)


def dump():
    with tempfile.NamedTemporaryFile(prefix="bench-") as file:
        start = "(char*)&words"
        measure("gdb: dump 16 MiB",
                f"dump binary memory {file.name} {start} {start}+{DUMP_BYTES}")
        if os.path.getsize(file.name) != DUMP_BYTES:
            raise gdb.GdbError("the dump is too short")


def ignored_breakpoint():
    breakpoint = gdb.Breakpoint("tick")
    breakpoint.ignore_count = REPETITIONS
    measure("gdb: 1000 ignored hits", "continue")
    if breakpoint.hit_count != REPETITIONS + 1:
        raise gdb.GdbError(f"{breakpoint.hit_count} hits")
    breakpoint.delete()


def steps():
    measure("gdb: stepi 1000", f"stepi {REPETITIONS}")


dump()
ignored_breakpoint()
steps()
