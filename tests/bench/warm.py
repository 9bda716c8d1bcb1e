#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Touch so much memory, and give it back.

Usage: warm.py MIB

The host of a virtual machine may take back what has been free for some seconds, and then the first touch of it waits for that host:
for 2 MiB, which Linux clears at once, 5 ms have been seen, longer than anything that is measured here. tests/bench/gc.c and its
sister in Go run this when their memory has been filled and before the clock starts.
"""
import mmap
import pathlib
import sys

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent))
import heap  # noqa: E402  (the path above comes first)


def main():
    mib = min(int(sys.argv[1]), int(heap.available_mib() * 0.9))
    with mmap.mmap(-1, mib << 20, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS) as memory:
        memory.madvise(mmap.MADV_HUGEPAGE)
        for page in range(0, len(memory), mmap.PAGESIZE):
            memory[page] = 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
