#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""The heap beside other allocators, on Linux: time for an operation, memory, collections.

Usage: heap.py [--quick] [--only WORD] [--csv FILE] --programs FOLDER --traces FOLDER

The workloads are told in tests/bench/heap.c. Each figure is of a fresh process; the subjects take
turns, round by round, and the best round of each counts: on a busy machine the others only add. How much
they added is seen from the median beside it; a run whose threads did not get their CPUs is made again, twice
at most. Ratios are of one run.
"""
import argparse
import math
import os
import pathlib
import platform
import statistics
import subprocess
import sys

HEADER = "bench,workload,subject,version,threads,metric,value,unit\n"
FREED = ("loam", "mimalloc", "jemalloc", "glibc")
COLLECTED = ("loam-gc", "bdwgc", "go")
PEER = "mimalloc"
TIMEOUT = 180
ATTEMPTS = 3
# CPUs in use, by threads, if nobody took them away
UNDISTURBED = {1: 0.9, 2: 1.5}

# name, threads, operations of a thread, subjects, what the memory is
WORKLOADS = [
    ("churn", 1, 4_000_000, FREED + COLLECTED + ("none",), "undefined contents (go: zeroed)"),
    ("churn", 2, 2_000_000, FREED + COLLECTED, "undefined contents (go: zeroed)"),
    ("churn-zero", 1, 4_000_000, FREED, "zeroed"),
    ("churn-zero", 2, 2_000_000, FREED, "zeroed"),
    ("churn-scan", 1, 2_000_000, ("loam", PEER) + COLLECTED, "zeroed, scanned for pointers"),
    ("churn-scan", 2, 2_000_000, ("loam", PEER) + COLLECTED, "zeroed, scanned for pointers"),
    ("larson", 1, 2_000_000, FREED + COLLECTED, "undefined contents; collected: zeroed, scanned"),
    ("larson", 2, 2_000_000, FREED + COLLECTED, "undefined contents; collected: zeroed, scanned"),
    ("handover", 2, 4_000_000, FREED + COLLECTED, "undefined contents; collected: zeroed, scanned"),
    ("vectors", 1, 16_000, FREED + COLLECTED, "no pointers"),
    ("trace", 1, 4_000_000, FREED + COLLECTED, "undefined contents; collected: zeroed, scanned"),
]


def append_rows(path, rows):
    """Rows are (bench, workload, subject, version, threads, metric, value, unit)."""
    if path is None:
        return
    path = pathlib.Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("a", encoding="ascii") as f:
        if f.tell() == 0:
            f.write(HEADER)
        f.write("".join(",".join(map(str, r)) + "\n" for r in rows))


def pick(runs, threads, metric="ns/op"):
    """
    The best of those runs in which each thread had its CPU. Two threads that take turns on one may even be
    faster, so they count only if there is nothing else: some subjects make their threads wait.
    """
    return min([r for r in runs if r["cpus"] > UNDISTURBED[threads]] or runs, key=lambda r: r[metric])


def run(argv):
    """One undisturbed run, or the best of a few goes, or why there is none."""
    runs = []
    while len(runs) < ATTEMPTS and (not runs or runs[-1]["cpus"] <= UNDISTURBED[argv[2]]):
        found = run_once(argv)
        if isinstance(found, str):
            return found
        runs.append(found)
    return pick(runs, argv[2])


def run_once(argv, timeout=TIMEOUT, **options):
    """What a program of heap.c says, as a dictionary; or why there is nothing, as a string. Options: of subprocess."""
    try:
        out = subprocess.run(list(map(str, argv)), stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                             stderr=subprocess.PIPE, check=False, timeout=timeout, text=True, errors="replace", **options)
    except subprocess.TimeoutExpired:
        return f"not done after {timeout} s"
    except OSError as e:
        return str(e)
    if out.returncode:
        said = out.stderr.strip().split("\n")[-1]
        return f"exit {out.returncode}" + (f": {said}" if said else "")
    found = dict(line.split(" ", 1) for line in out.stdout.strip().split("\n"))
    return {k: v if k == "version" else float(v) for k, v in found.items()}


def machine():
    cpu = next((line.split(":")[1].strip() for line in open("/proc/cpuinfo", encoding="utf-8")
                if line.startswith("model name")), platform.machine())
    return f"{cpu}, {os.cpu_count()} CPUs, Linux {platform.release()}, load {os.getloadavg()[0]:.1f}"


def geometric_mean(values):
    return math.exp(sum(map(math.log, values)) / len(values))


class Figures:
    """Of all rounds of one workload."""

    def __init__(self, title, name, threads, subjects):
        self.title, self.name, self.threads = title, name, threads
        self.runs = {s: [] for s in subjects}
        self.bad = {}

    def add(self, subject, found):
        if isinstance(found, str):
            self.bad[subject] = found
        else:
            self.runs[subject].append(found)

    def best(self, subject, metric="ns/op"):
        """The best round, or None; a subject that failed once has no figure."""
        if subject in self.bad or not self.runs.get(subject):
            return None
        return pick(self.runs[subject], self.threads, metric)

    def ratio(self, subject, other):
        mine, its = self.best(subject), self.best(other)
        return mine["ns/op"] / its["ns/op"] if mine and its else None

    def show(self):
        print(f"\n{self.title}")
        print(f"  {'subject':9} {'version':8} {'ns/op':>9} {'x ' + PEER:>11} {'median':>9} {'CPU ns/op':>10}"
              f" {'CPUs':>5} {'peak MiB':>9} {'collections':>12}")
        for subject, runs in self.runs.items():
            best = self.best(subject)
            if best is None:
                print(f"  {subject:9} failed: {self.bad.get(subject, 'no figure')}")
                continue
            ratio = self.ratio(subject, PEER)
            median = statistics.median(r["ns/op"] for r in runs)
            print(f"  {subject:9} {best['version']:8} {best['ns/op']:9.1f} {f'{ratio:.2f}' if ratio else '-':>11}"
                  f" {median:9.1f} {self.best(subject, 'cpu')['cpu']:10.1f} {best['cpus']:5.2f} {best['peak']:9.1f}"
                  f" {best['collections'] if 'collections' in best else '':>12.4}")
        peer = self.best(PEER)
        if self.threads > 1 and peer and peer["cpus"] <= UNDISTURBED[2]:
            print(f"  the threads of {PEER} took turns on {peer['cpus']:.1f} CPUs: busy machine, do not trust these")

    def rows(self, bench):
        for subject, runs in self.runs.items():
            best = self.best(subject)
            if best is None:
                continue
            head = (bench, self.name, subject, best["version"], self.threads)
            yield (*head, "time", f"{best['ns/op']:.2f}", "ns/op")
            yield (*head, "median time", f"{statistics.median(r['ns/op'] for r in runs):.2f}", "ns/op")
            yield (*head, "CPU time", f"{self.best(subject, 'cpu')['cpu']:.2f}", "ns/op")
            yield (*head, "peak memory", f"{best['peak']:.2f}", "MiB")
            if "collections" in best:
                yield (*head, "collections", f"{best['collections']:.0f}", "1")


def aim(what, subject, other, limit, figures):
    """One line: every ratio and their mean must be within the limit."""
    ratios = {f"{f.name}/{f.threads}": r for f in figures if (r := f.ratio(subject, other)) is not None}
    if not ratios:
        print(f"  ?     {what}: no figures")
        return
    mean = geometric_mean(ratios.values())
    word = "PASS" if max(mean, *ratios.values()) <= limit else "miss"
    print(f"  {word}  {what}, at most {limit}: mean {mean:.2f};",
          ", ".join(f"{k} {v:.2f}{'' if v <= limit else ' (!)'}" for k, v in ratios.items()))


def aims(figures):
    print("\naims (workload/threads; geometric means)")
    alone = [f for f in figures if f.threads == 1 and f.name.split("-")[0] != "larson"]
    apart = [f for f in figures if f not in alone]
    aim(f"explicit free, one thread, x {PEER}", "loam", PEER, 1.15, alone)
    aim(f"explicit free, across threads, x {PEER}", "loam", PEER, 1.3, apart)
    aim(f"collected, x {PEER} with free", "loam-gc", PEER, 1.3, figures)
    aim("collected, x go", "loam-gc", "go", 0.5, figures)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="a quarter of the operations, two rounds")
    parser.add_argument("--only", default="", help="workloads with that word in their name")
    parser.add_argument("--csv")
    parser.add_argument("--programs", type=pathlib.Path, required=True, help="where the programs heap-SUBJECT are")
    parser.add_argument("--traces", type=pathlib.Path, required=True)
    args = parser.parse_args()
    rounds, share = (2, 4) if args.quick else (5, 1)
    there = {p.name.removeprefix("heap-") for p in args.programs.glob("heap-*") if os.access(p, os.X_OK)}
    print(f"{machine()}; best of {rounds} rounds; threads are not pinned")
    figures = []
    for name, threads, ops, subjects, memory in WORKLOADS:
        inputs = sorted(args.traces.glob("*.loamtrace")) if name == "trace" else [None]
        for path in inputs:
            full = f"trace-{path.stem}" if path else name
            if args.only not in full:
                continue
            title = f"{full}, {threads} thread{'s' if threads > 1 else ''}: {memory}"
            f = Figures(title, full, threads, [s for s in subjects if s in there])
            for _ in range(rounds):
                for subject in f.runs:
                    if subject not in f.bad:
                        f.add(subject, run([args.programs / f"heap-{subject}", name, threads, ops // share,
                                            *([path] if path else [])]))
            f.show()
            sys.stdout.flush()
            figures.append(f)
            append_rows(args.csv, f.rows("heap"))
    aims(figures)
    return 0


if __name__ == "__main__":
    sys.exit(main())
