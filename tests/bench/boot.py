#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Guest time from the boot stub's first instruction to loam up, and to the self-tests done.

Usage: boot.py [--runs N] [--csv FILE] ARCH=IMAGE...

Median of N boots for each size of RAM. Under emulation: compare sizes, not machines.
"""
import argparse
import pathlib
import re
import statistics
import subprocess
import sys

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "tools"))
import qemu_run  # noqa: E402  (the path above comes first)

SIZES = ("64M", "256M", "1G", "8G")


def boot(arch, image, mem):
    argv = qemu_run.command(arch, image, mem, append="job=trees depth=4")
    text = subprocess.run(argv, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, check=False, timeout=300,
                          text=True, errors="replace").stdout
    up = re.search(r"loam is up after (\d+) us", text)
    done = re.search(r"boot to self-tests done in (\d+) us", text)
    meta = re.search(r"([\d.]+) ([KM])iB of records", text)
    return int(up.group(1)), int(done.group(1)), float(meta.group(1)) * {"K": 1, "M": 1024}[meta.group(2)]


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--csv")
    parser.add_argument("images", nargs="+", metavar="ARCH=IMAGE")
    args = parser.parse_args()
    rows = []
    print(f"{'machine':8} {'RAM':>5} {'loam up, us':>12} {'self-tests done, us':>20} {'records, KiB':>13}")
    for pair in args.images:
        arch, image = pair.split("=", 1)
        for mem in SIZES:
            runs = [boot(arch, image, mem) for _ in range(args.runs)]
            up, done = (statistics.median(r[i] for r in runs) for i in (0, 1))
            print(f"{arch:8} {mem:>5} {up:12.0f} {done:20.0f} {runs[0][2]:13.1f}", flush=True)
            rows += [f"boot,{arch}-{mem},loam,1,1,{m},{v:.0f},{u}"
                     for m, v, u in (("up", up, "us"), ("selftests", done, "us"), ("records", runs[0][2], "KiB"))]
    if args.csv:
        path = pathlib.Path(args.csv)
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("a", encoding="ascii") as f:
            if f.tell() == 0:
                f.write("bench,workload,subject,version,threads,metric,value,unit\n")
            f.write("".join(r + "\n" for r in rows))
    return 0


if __name__ == "__main__":
    sys.exit(main())
