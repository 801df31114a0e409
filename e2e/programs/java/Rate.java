// SPDX-License-Identifier: Apache-2.0

import java.lang.management.GarbageCollectorMXBean;
import java.lang.management.ManagementFactory;
import java.util.concurrent.ScheduledThreadPoolExecutor;
import java.util.concurrent.TimeUnit;

/**
 * Ticks at a fixed rate while other threads make garbage.
 *
 * <p>One line is "due T P": tick N is due when nanoTime reads T + N * P,
 * and not earlier. Each tick is a "clk" line (see package clocklog) with its
 * number; the clocks that Java cannot read are "-". Every 50 ticks a "collections
 * N" line says how many garbage collections there were.
 */
public final class Rate {
    private static final long PERIOD = TimeUnit.MILLISECONDS.toNanos(10);
    private static final Object[] LIVE = new Object[512];
    private static long number;

    public static void main(String[] args) throws Exception {
        for (int i = 0; i < 2; i++) {
            Thread maker = new Thread(Rate::makeGarbage);
            maker.setDaemon(true);
            maker.start();
        }
        ScheduledThreadPoolExecutor pool = new ScheduledThreadPoolExecutor(4);
        Runnable tick = Rate::tick;
        collections();
        // Once, so that starting the executor is no part of what follows.
        pool.schedule(() -> { }, 1, TimeUnit.MILLISECONDS).get();
        // The executor reads the clock later than this, so no tick is due earlier.
        long now = System.nanoTime();
        pool.scheduleAtFixedRate(tick, PERIOD, PERIOD, TimeUnit.NANOSECONDS);
        System.out.println("due " + (now + PERIOD) + " " + PERIOD);
    }

    private static void tick() {
        long first = System.currentTimeMillis() * 1_000_000L;
        long mono = System.nanoTime();
        long last = System.currentTimeMillis() * 1_000_000L;
        StringBuilder line = new StringBuilder();
        line.append("clk ").append(number).append(' ').append(first).append(' ').append(mono)
            .append(" - - - ").append(last).append('\n');
        if (++number % 50 == 0) {
            line.append("collections ").append(collections()).append('\n');
        }
        System.out.print(line);
        System.out.flush();
    }

    private static long collections() {
        long count = 0;
        for (GarbageCollectorMXBean bean : ManagementFactory.getGarbageCollectorMXBeans()) {
            count += bean.getCollectionCount();
        }
        return count;
    }

    /** Keeps some of what it makes, so that the collector has work with it. */
    private static void makeGarbage() {
        for (int i = 0;; i++) {
            synchronized (LIVE) {
                LIVE[i % LIVE.length] = new byte[32 << 10];
            }
            if (i % 8 == 0) {
                try {
                    Thread.sleep(1);
                } catch (InterruptedException e) {
                    return;
                }
            }
        }
    }
}
