// SPDX-License-Identifier: Apache-2.0

// Prints "clk" lines (see package clocklog) from node's event loop, as ticker.js
// does, with workers beside it: two that tick by setInterval and one that waits
// in the kernel by Atomics.wait. Each message of a worker carries its number and
// the worker's own clock. A message that is lost, doubled or from the future, and
// a gap of more than a second by the worker's clock, is a "wrong" line; a tick
// before its time is an "early" line. Every 50 ticks there is a "worker NAME TICKS"
// line.

'use strict';

const { Worker, isMainThread, parentPort, workerData } = require('worker_threads');

const PERIOD = 10; // Milliseconds.
const NS = 1000000n; // In a millisecond.
// What an interval may be ahead of an even beat from its start. Node goes by
// CLOCK_MONOTONIC_COARSE, which trails the clock that is checked against.
const AHEAD = 20n * NS;
const LATE = 1000n * NS;

const mono = () => process.hrtime.bigint();

// post sends a tick, which was due no earlier than the given time.
let ticks = 0;
function post(due) {
  parentPort.postMessage({ number: ticks++, at: mono(), due });
}

function tickWorker() {
  const begin = mono();
  // The loop's own time is older than begin until its next turn.
  setTimeout(() => {
    setInterval(() => post(begin + BigInt((ticks + 1) * PERIOD) * NS - AHEAD), PERIOD);
  }, 2 * PERIOD);
}

function waitWorker() {
  const never = new Int32Array(new SharedArrayBuffer(4));
  for (;;) {
    const begin = mono();
    Atomics.wait(never, 0, 0, PERIOD);
    post(begin + BigInt(PERIOD - 1) * NS);
  }
}

const say = (...words) => process.stdout.write(`${words.join(' ')}\n`);

function watch(name, worker) {
  let want = 0;
  let before = null;
  worker.on('message', ({ number, at, due }) => {
    if (number !== want++) {
      say('wrong', name, 'sent number', number, 'want', want - 1);
    }
    if (at < due) {
      say('early', name, 'tick', number, 'by', due - at, 'ns');
    }
    if (at > mono()) {
      say('wrong', name, 'ticked at', at, 'and now is', mono());
    }
    if (before !== null && (at < before || at - before > LATE)) {
      say('wrong', name, 'tick', number, 'came', at - before, 'ns after the one before');
    }
    before = at;
    if (want % 50 === 0) {
      say('worker', name, want);
    }
  });
  worker.on('error', (err) => say('wrong', name, err));
  worker.on('exit', (code) => say('wrong', name, 'ended with', code));
}

function main() {
  for (const kind of ['interval-1', 'interval-2', 'wait']) {
    watch(kind, new Worker(__filename, { workerData: kind }));
  }
  const real = () => BigInt(Date.now()) * NS;
  let number = 0;
  setInterval(() => {
    const first = real();
    const now = mono();
    say('clk', number++, first, now, '- - -', real());
  }, 5);
}

if (isMainThread) {
  main();
} else if (workerData === 'wait') {
  waitWorker();
} else {
  tickWorker();
}
