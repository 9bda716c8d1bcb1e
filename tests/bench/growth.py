#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""CPU time for an operation against live heap: does it grow?

Usage: growth.py [--quick] [--csv FILE] [--out FILE] --programs FOLDER

Two workloads (tests/bench/heap.c) with 1 MiB to 4 GiB of live blocks. `standing` replaces 2,048 of them
and leaves the others alone, so the memory in use stays as big as the live heap grows: what grows there is the
allocator's, and it is what the aim is held against. `growth` replaces all of them at random. That costs more
in a bigger heap by itself, a miss in the caches and the TLB for each random slot and block, whoever made the
blocks: `none` is just those touches, on blocks that nobody manages, and mimalloc stands beside it. What does
not fit in this machine's memory is skipped.

The time is CPU time of the whole process, best of the rounds: helper threads count, other programs on the
machine do not.
"""
import argparse
import pathlib
import sys

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent))
import heap  # noqa: E402  (the path above comes first)

SIZES = [4 ** k for k in range(7)]
SUBJECTS = ("none", "loam", "mimalloc", "loam-gc", "bdwgc", "go")
OPS = 2_000_000
AIM = 1.5
# Memory for each byte that is live: blocks between two collections are there, too.
NEED = {"none": 1.1, "loam": 1.3, "mimalloc": 1.3, "loam-gc": 2.7, "bdwgc": 2.7, "go": 2.7}


def available_mib():
    for line in open("/proc/meminfo", encoding="ascii"):
        if line.startswith("MemAvailable:"):
            return int(line.split()[1]) / 1024
    return 0


def size_name(mib):
    return f"{mib} MiB" if mib < 1024 else f"{mib // 1024} GiB"


def measure(programs, workload, rounds, top):
    """{size: Figures}"""
    out = {}
    for mib in (s for s in SIZES if s <= top):
        there = [s for s in SUBJECTS if (programs / f"heap-{s}").exists()]
        f = heap.Figures("", f"{workload}-{mib}MiB", 1, there)
        for n in range(rounds):
            for subject in f.runs:
                need, have = mib * NEED[subject] + 64, available_mib() * 0.9
                if need > have:
                    f.bad[subject] = "skipped"
                    print(f"{size_name(mib)} of {subject} skipped: needs {need:.0f} MiB, {have:.0f} are there")
                elif subject not in f.bad and (n == 0 or mib < 1024 or subject not in heap.COLLECTED):
                    found = heap.run_once([programs / f"heap-{subject}", workload, 1, OPS, mib])
                    if isinstance(found, dict):
                        found["per live byte"] = found["peak"] / mib
                    f.add(subject, found)
        for subject, why in f.bad.items():
            if why != "skipped":
                print(f"{size_name(mib)} of {subject} failed: {why}")
        out[mib] = f
        print(f"{workload}, {size_name(mib)}: measured", file=sys.stderr, flush=True)
    return out


def table(title, figures, metric, less=None):
    """Prints it, `less` that subject's figure; returns max / min of each subject."""
    print(f"\n{title}\n  {'subject':9}" + "".join(f"{size_name(m):>9}" for m in figures) + f"{'max/min':>9}")
    out = {}
    for subject in dict.fromkeys(s for f in figures.values() for s in f.runs if s != less):
        found = {m: f.best(subject, metric)[metric] for m, f in figures.items()
                 if f.best(subject) and (less is None or f.best(less))}
        if less is not None:
            found = {m: v - figures[m].best(less, metric)[metric] for m, v in found.items()}
        if not found:
            continue
        out[subject] = max(found.values()) / max(min(found.values()), 0.01)
        print(f"  {subject:9}" + "".join(f"{found[m]:9.{1 if found[m] >= 10 else 2}f}" if m in found else f"{'-':>9}" for m in figures)
              + f"{out[subject]:9.2f}", flush=True)
    return out


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="one round, up to 256 MiB")
    parser.add_argument("--csv")
    parser.add_argument("--out", help="this run's rows alone, for the plot")
    parser.add_argument("--programs", type=pathlib.Path, required=True)
    args = parser.parse_args()
    print(heap.machine())
    ratios, rows = {}, []
    for workload, what in (("standing", "2,048 blocks replaced, the others stand by"),
                           ("growth", "all blocks replaced at random")):
        figures = measure(args.programs, workload, 1 if args.quick else 3, 256 if args.quick else SIZES[-1])
        ratios[what] = table(f"{what}: ns/op by live blocks", figures, "cpu")
        if workload == "growth":
            ratios["the same, less the touches"] = table(f"{what}: ns/op less those of none", figures, "cpu", "none")
            table(f"{what}: peak memory of the process for each live byte", figures, "per live byte")
        rows += [r for f in figures.values() for r in f.rows("heap-growth")]
    print(f"\naim: longest by shortest time at most {AIM}, for what the allocator does; the rest to compare")
    for n, (what, found) in enumerate(ratios.items()):
        for subject in (s for s in ("loam", "loam-gc") if s in found):
            word = ("PASS" if found[subject] <= AIM else "miss") if n == 0 else "    "
            print(f"  {word}  {subject:8} {found[subject]:6.2f}   ({heap.PEER} {found.get(heap.PEER, 0):.2f})  {what}")
        rows += [("heap-growth", what.replace(",", ""), s, 1, 1, "max/min", f"{v:.3f}", "1") for s, v in found.items()]
    heap.append_rows(args.csv, rows)
    if args.out:
        pathlib.Path(args.out).unlink(missing_ok=True)
        heap.append_rows(args.out, rows)
    return 0


if __name__ == "__main__":
    sys.exit(main())
