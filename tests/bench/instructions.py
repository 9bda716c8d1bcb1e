#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Instructions of one allocator call, counted by Valgrind (callgrind).

Usage: instructions.py [--csv FILE] --programs FOLDER

See tests/bench/instructions.c. `hit` is of 25 calls after 25 others: the thread's cache has what is
asked for (glibc and jemalloc fill theirs by frees, so for them the pair is the hit: a block allocated and
freed at once). `long run` is of 200,000 calls: with all refills. Blocks of 16 bytes, all memory fresh from
the system, so that nobody zeroes any; on Linux the hook that finds the running thread counts.
"""
import argparse
import pathlib
import re
import subprocess
import sys

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent))
import heap  # noqa: E402  (the path above comes first)

SUBJECTS = ("loam", "mimalloc", "jemalloc", "glibc")
CALLS = ("alloc", "zero", "scan", "typed", "free", "pair")
RUNS = {"hit": 25, "long run": 200_000}


def count(program, call, calls):
    """Instructions in `measured`, and what the program said."""
    argv = ["valgrind", "--tool=callgrind", "--callgrind-out-file=/dev/null", "--collect-atstart=no",
            "--toggle-collect=measured", program, call, str(calls), "1"]
    out = subprocess.run(argv, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, check=False,
                         text=True, timeout=600)
    found = re.search(r"Collected : (\d+)", out.stderr)
    if out.returncode or not found:
        raise RuntimeError(out.stderr.strip().split("\n")[-1])
    return int(found.group(1)), dict(line.split(" ", 1) for line in out.stdout.strip().split("\n"))


def per_call(program, call, calls):
    (few, said), (many, _) = count(program, call, calls), count(program, call, 2 * calls)
    return (many - few) / calls, said


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--csv")
    parser.add_argument("--programs", type=pathlib.Path, required=True)
    args = parser.parse_args()
    rows = []
    print(f"{'subject':9} {'version':8} {'call':29} {'hit':>8} {'long run':>9}   instructions, 16 bytes, nothing to zero")
    for subject in SUBJECTS:
        program = args.programs / f"instructions-{subject}"
        try:
            loop = {"free": per_call(program, "load", 100)[0]}
            store, said = per_call(program, "nothing", 100)
            seen = set()
            for call in CALLS:
                name = f"{said['alloc']}, {said['free']}" if call == "pair" else said.get(call)
                if name is None or name in seen:
                    continue
                seen.add(name)
                cost = {run: per_call(program, call, calls)[0] - loop.get(call, store) for run, calls in RUNS.items()}
                print(f"{subject:9} {said['version']:8} {name:29}"
                      f" {cost['hit']:8.1f} {cost['long run']:9.1f}", flush=True)
                rows += [("instructions", name.replace(",", " and"), subject, said["version"], 1, run, f"{v:.2f}", "instructions")
                         for run, v in cost.items()]
        except (OSError, RuntimeError, subprocess.TimeoutExpired) as e:
            print(f"{subject:9} failed: {e}")
    heap.append_rows(args.csv, rows)
    return 0


if __name__ == "__main__":
    sys.exit(main())
