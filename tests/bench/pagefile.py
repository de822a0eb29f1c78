#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""pagefile.py write FILE GIB PID | read FILE GIB: a huge file of pages that costs little to store.

Of each 128 KiB of FILE the first 64 are one of 512 pages, the rest is a hole: an extent for each
64 KiB.  `write` looks at the memory of the daemon PID as it goes (VmHWM, bytes) and prints

  peak_rss          the most it held
  peak_rss_at_1tib  that, and what the second half of the file added carried on up to 1 TiB

`read` compares 1,000 places all over the file with what must be there, holes among them.
"""
import json
import os
import random
import sys

PAGE = 64 << 10
POOL = 512
TIB = 1 << 40


def pool():
    source = random.Random(26)
    pages = [source.randbytes(PAGE) for _ in range(POOL)]
    pages[0] = b"SQLite format 3\0" + pages[0][16:]
    return pages


def which(slot):
    """Page of a slot: neighbours in the file are not neighbours in the store."""
    return slot * 211 % POOL if slot % 2 == 0 else (slot * 2654435761 >> 7) % POOL


def peak(pid):
    with open("/proc/%s/status" % pid) as f:
        return next(int(line.split()[1]) * 1024 for line in f if line.startswith("VmHWM"))


def write(path, size, pid):
    pages, slots = pool(), size // (2 * PAGE)
    seen = []
    fd = os.open(path, os.O_WRONLY | os.O_CREAT, 0o644)
    for slot in range(slots):
        if os.pwrite(fd, pages[which(slot)], slot * 2 * PAGE) != PAGE:
            sys.exit("pagefile.py: a short write")
        if slot in (slots // 2, slots - 1):
            seen.append(peak(pid))
    os.ftruncate(fd, size)
    os.close(fd)
    seen[1] = max(seen[1], peak(pid))
    grown = (seen[1] - seen[0]) / (size / 2)
    print(json.dumps({"peak_rss": seen[1],
                      "peak_rss_at_1tib": round(seen[1] + grown * max(TIB - size, 0))}))


def read(path, size):
    pages, slots, choice = pool(), size // (2 * PAGE), random.Random(1)
    fd = os.open(path, os.O_RDONLY)
    if os.fstat(fd).st_size != size:
        sys.exit("pagefile.py: the size is %d" % os.fstat(fd).st_size)
    for _ in range(1000):
        slot = choice.randrange(slots)
        if os.pread(fd, 2 * PAGE, slot * 2 * PAGE) != pages[which(slot)] + bytes(PAGE):
            sys.exit("pagefile.py: not what was written: slot %d" % slot)


def main():
    verb, path, gib = sys.argv[1:4]
    if verb == "write":
        write(path, int(gib) << 30, sys.argv[4])
    else:
        read(path, int(gib) << 30)


main()
