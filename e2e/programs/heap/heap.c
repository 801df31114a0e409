// SPDX-License-Identifier: Apache-2.0

// heap works through a large heap for ever, and knows what each word of it must
// be.
//
//   heap MEGABYTES
//
// The heap is of blocks so small that they lie in the brk area, not in mappings
// of their own. One turn checks a megabyte, writes into it what the next pass
// must find, and prints a "clk" line (see package clocklog); after the last
// megabyte a "pass N" line. A word that is not what it must be is a "wrong"
// line, and ends the program with status 1.

#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

// Below malloc's threshold for a mapping of its own, 128 KiB.
enum { BLOCK = 64 << 10, WORDS = BLOCK / sizeof(uint64_t), BLOCKS_PER_TURN = (1 << 20) / BLOCK };

static int64_t now(clockid_t id)
{
    struct timespec ts;

    clock_gettime(id, &ts);
    return (int64_t)ts.tv_sec * 1000000000 + ts.tv_nsec;
}

// word is what a pass finds at a place: no two are alike, and none compresses.
static uint64_t word(uint64_t place, uint64_t pass)
{
    uint64_t x = (place + 1) * 0x9e3779b97f4a7c15u + pass * 0xd1b54a32d192ed03u;

    x ^= x >> 29;
    x *= 0xbf58476d1ce4e5b9u;
    return x ^ x >> 32;
}

static void fill(uint64_t *block, uint64_t number, uint64_t pass)
{
    for (uint64_t i = 0; i < WORDS; i++)
        block[i] = word(number * WORDS + i, pass);
}

static void check(const uint64_t *block, uint64_t number, uint64_t pass)
{
    for (uint64_t i = 0; i < WORDS; i++) {
        uint64_t want = word(number * WORDS + i, pass);
        if (block[i] == want)
            continue;
        printf("wrong pass %lu word %lu of block %lu at %p: %lx, want %lx\n", pass, i, number,
               (void *)&block[i], block[i], want);
        exit(1);
    }
}

static void print_record(uint64_t number)
{
    int64_t first = now(CLOCK_REALTIME);
    int64_t mono = now(CLOCK_MONOTONIC);
    int64_t raw = now(CLOCK_MONOTONIC_RAW);
    int64_t coarse = now(CLOCK_MONOTONIC_COARSE);
    int64_t boot = now(CLOCK_BOOTTIME);
    int64_t last = now(CLOCK_REALTIME);

    printf("clk %lu %ld %ld %ld %ld %ld %ld\n", number, first, mono, raw, coarse, boot, last);
    fflush(stdout);
}

int main(int argc, char **argv)
{
    uint64_t blocks = argc == 2 ? strtoul(argv[1], NULL, 10) * BLOCKS_PER_TURN : 0;
    uint64_t **heap = calloc(blocks, sizeof *heap);
    uint64_t turns = 0;

    if (blocks == 0 || heap == NULL)
        return 2;
    for (uint64_t b = 0; b < blocks; b++) {
        heap[b] = malloc(BLOCK);
        if (heap[b] == NULL)
            return 2;
        fill(heap[b], b, 0);
    }
    for (uint64_t pass = 0;; pass++) {
        for (uint64_t b = 0; b < blocks; b++) {
            check(heap[b], b, pass);
            fill(heap[b], b, pass + 1);
            if ((b + 1) % BLOCKS_PER_TURN == 0)
                print_record(turns++);
        }
        printf("pass %lu\n", pass);
        fflush(stdout);
    }
}
