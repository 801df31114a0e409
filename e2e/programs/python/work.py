# SPDX-License-Identifier: Apache-2.0
"""Threads that wait, talk to a child process and write a file.

    work.py ROUNDS FILE STATUS

Each of them does ROUNDS rounds of at least 50 ms altogether, and checks itself:
what is wrong is printed as a "wrong" line, a wait that ended before its timeout as
an "early" line. The main thread prints the clocks meanwhile. At the end it prints
"done" and exits with STATUS, or with 1 if anything was wrong.
"""

import collections
import hashlib
import subprocess
import sys
import threading
import time

import clock

PAUSE = 0.05
# What a wait for another thread may take. An outage does not count: on
# CLOCK_MONOTONIC it did not happen.
PATIENCE = 5.0

COMPLAINTS = []


def complain(*words):
    """Prints a line of one piece, and remembers that there was one."""
    COMPLAINTS.append(words)
    sys.stdout.write(" ".join(str(word) for word in words) + "\n")
    sys.stdout.flush()


def time_out(rounds):
    """Waits for what never comes."""
    condition = threading.Condition()
    for number in range(rounds):
        begin = time.monotonic()
        with condition:
            if condition.wait(PAUSE):
                complain("wrong", "nobody notified, but wait", number, "says so")
        took = time.monotonic() - begin
        if took < PAUSE - 0.001:
            complain("early", "wait", number, "of", PAUSE, "took", took)


def hand_over(rounds):
    """Hands numbers to a thread, which must get each one in time and in order."""
    queue = collections.deque()
    condition = threading.Condition()

    def take():
        for number in range(rounds):
            with condition:
                if not condition.wait_for(lambda: queue, PATIENCE):
                    complain("wrong", "no number", number, "within", PATIENCE)
                    return
                got = queue.popleft()
            if got != number:
                complain("wrong", "took number", got, "want", number)

    taker = threading.Thread(target=take)
    taker.start()
    for number in range(rounds):
        time.sleep(PAUSE)
        with condition:
            queue.append(number)
            condition.notify()
    taker.join()


def talk(rounds):
    """Sends lines through a child: into one pipe, and back through another."""
    with subprocess.Popen(
        ["sed", "-u", "s/^/heard /"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, bufsize=1
    ) as child:
        for number in range(rounds):
            # While this thread sleeps, the answer waits in the pipe.
            child.stdin.write(f"{number}\n")
            time.sleep(PAUSE)
            got = child.stdout.readline()
            if got != f"heard {number}\n":
                complain("wrong", "the child said", repr(got), "to", number)
        child.stdin.close()
        rest = child.stdout.read()
        if rest:
            complain("wrong", "the child also said", repr(rest))
    if child.returncode != 0:
        complain("wrong", "the child ended with", child.returncode)


def write(rounds, path):
    """Writes a file, through a buffer, and reads it again at the end."""
    written = hashlib.sha256()
    with open(path, "wb") as file:
        for number in range(rounds):
            piece = hashlib.sha256(str(number).encode()).digest() * 100
            written.update(piece)
            file.write(piece)
            time.sleep(PAUSE)
    with open(path, "rb") as file:
        if hashlib.sha256(file.read()).digest() != written.digest():
            complain("wrong", path, "does not hold what was written")


def main():
    """Runs all of them, and the clock beside them."""
    rounds, path, status = int(sys.argv[1]), sys.argv[2], int(sys.argv[3])
    workers = [
        threading.Thread(target=time_out, args=(rounds,)),
        threading.Thread(target=hand_over, args=(rounds,)),
        threading.Thread(target=talk, args=(rounds,)),
        threading.Thread(target=write, args=(rounds, path)),
    ]
    for worker in workers:
        worker.start()
    number = 0
    while any(worker.is_alive() for worker in workers):
        sys.stdout.write(clock.record(number))
        sys.stdout.flush()
        number += 1
        time.sleep(0.002)
    for worker in workers:
        worker.join()
    print("done", flush=True)
    sys.exit(1 if COMPLAINTS else status)


main()
