// SPDX-License-Identifier: Apache-2.0

// Prints "clk" lines (see package clocklog) from node's event loop. Node reads
// CLOCK_MONOTONIC and CLOCK_REALTIME only, the latter in milliseconds; the
// clocks that it cannot read are "-". A timer that fires early by more than the
// millisecond that node rounds to is printed as an "early" line.

'use strict';

const real = () => BigInt(Date.now()) * 1000000n;
const mono = () => process.hrtime.bigint();

let number = 0;
setInterval(() => {
  const first = real();
  const now = mono();
  const last = real();
  process.stdout.write(`clk ${number++} ${first} ${now} - - - ${last}\n`);
}, 1);

function rearm() {
  const begin = mono();
  setTimeout(() => {
    const took = mono() - begin;
    if (took < 19000000n) {
      process.stdout.write(`early timer of 20000000 ns took ${took} ns\n`);
    }
    rearm();
  }, 20);
}
rearm();
