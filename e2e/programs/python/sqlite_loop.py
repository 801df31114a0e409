# SPDX-License-Identifier: Apache-2.0
"""Writes to a SQLite database in a loop and prints the clocks beside it.

Each round inserts one row in a transaction of its own and checks that the
count is what it must be; "rows N" lines say how far it came.
"""

import sqlite3
import sys
import time

import clock


def main():
    """Runs until killed; a wrong count ends it with status 1."""
    connection = sqlite3.connect(sys.argv[1], isolation_level=None)
    connection.execute("PRAGMA journal_mode=WAL")
    connection.execute("CREATE TABLE t(n INTEGER PRIMARY KEY, at INTEGER)")
    clock.start()
    number = 0
    while True:
        number += 1
        connection.execute("BEGIN IMMEDIATE")
        connection.execute("INSERT INTO t VALUES(?, ?)", (number, time.monotonic_ns()))
        connection.execute("COMMIT")
        (count,) = connection.execute("SELECT count(*) FROM t").fetchone()
        if count != number:
            print("wrong", number, count, flush=True)
            sys.exit(1)
        if number % 20 == 0:
            print("rows", number, flush=True)
        time.sleep(0.002)


main()
