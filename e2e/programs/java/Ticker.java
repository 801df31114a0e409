// SPDX-License-Identifier: Apache-2.0

import java.util.concurrent.Executors;
import java.util.concurrent.ScheduledExecutorService;
import java.util.concurrent.TimeUnit;

/**
 * Prints "clk" lines (see package clocklog). Java reads CLOCK_MONOTONIC
 * (nanoTime) and CLOCK_REALTIME (in milliseconds) only; the clocks that it
 * cannot read are "-". Scheduled tasks and garbage run beside it.
 */
public final class Ticker {
    private static volatile byte[] garbage;

    public static void main(String[] args) throws InterruptedException {
        ScheduledExecutorService pool = Executors.newScheduledThreadPool(4);
        for (int i = 0; i < 8; i++) {
            pool.scheduleAtFixedRate(() -> garbage = new byte[64 << 10], 5, 5, TimeUnit.MILLISECONDS);
        }
        StringBuilder line = new StringBuilder();
        for (long number = 0;; number++) {
            long first = System.currentTimeMillis() * 1_000_000L;
            long mono = System.nanoTime();
            long last = System.currentTimeMillis() * 1_000_000L;
            line.setLength(0);
            line.append("clk ").append(number).append(' ').append(first).append(' ').append(mono)
                .append(" - - - ").append(last).append('\n');
            System.out.print(line);
            System.out.flush();
            Thread.sleep(1);
        }
    }
}
