# SPDX-License-Identifier: Apache-2.0
"""Prints "clk" lines (see package clocklog) from a thread of its own."""

import sys
import threading
import time

RAW = time.CLOCK_MONOTONIC_RAW
COARSE = getattr(time, "CLOCK_MONOTONIC_COARSE", 6)


def record(number):
    """Returns one line; the REALTIME readings enclose the others."""
    read = time.clock_gettime_ns
    first = read(time.CLOCK_REALTIME)
    mono = read(time.CLOCK_MONOTONIC)
    raw = read(RAW)
    coarse = read(COARSE)
    boot = read(time.CLOCK_BOOTTIME)
    last = read(time.CLOCK_REALTIME)
    return f"clk {number} {first} {mono} {raw} {coarse} {boot} {last}\n"


def run(pause=0.001):
    """Prints records until the process ends."""
    number = 0
    while True:
        sys.stdout.write(record(number))
        sys.stdout.flush()
        number += 1
        time.sleep(pause)


def start():
    """Runs the clock loop beside the caller."""
    threading.Thread(target=run, daemon=True).start()
