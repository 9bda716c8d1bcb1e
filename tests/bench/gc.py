#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""The collector beside others, on Linux: time, stalls, stops, memory.

Usage: gc.py [--quick] [--only WORD] [--csv FILE] [--curve FILE] --programs FOLDER

The workloads are told in tests/bench/gc.c. Each figure is of a fresh process, bound to one CPU or to two; the
subjects take turns, round by round, and the best round of each counts, for each metric by itself. `CPUs` says how
much of them a program got: one CPU of which less than 0.9 was there was shared with something else, and then CPU
time is what can be compared. A stall may be the machine's own: mimalloc, which never stops, shows how long those are.
A virtual machine's host takes back what is free, and the first touch of it waits for the host: so before each run memory is
touched and given back, and a run of which stalls are told follows one of the same that does not count. Stalls are told of loam
without huge pages (config.no_hugepage), too: it touches 4 KiB at a time. "most CPU" is the most CPU time that any 256 operations
took: what a stall has beyond that, the machine gave to others. "clock" is how long the same CPUs, with nothing to do but to read
the clock, were away from it before, at most: no stall can be relied on to be shorter here.

Go's longest stop is an upper bound (tests/bench/gc_go/main.go); loam's and bdwgc's are measured from outside.
Peak memory is that of the process, with all that a subject keeps beside its heap.
"""
import argparse
import mmap
import os
import pathlib
import statistics
import sys
import time

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent))
import heap  # noqa: E402  (the path above comes first)

SUBJECTS = ("loam", "go", "bdwgc", "mimalloc")
SMALL = "loam-4k"
FLOOR = "mimalloc"
TIMEOUT = 600
WARM_MIB = 1536
CLOCK_S = 2
CURVE_SIZES = [4 ** k for k in range(7)]
CURVE_OPS = 2_000_000
# Memory for each byte that is live: nodes between two collections and the table are there, too.
CURVE_NEED = {"loam": 2.7, "go": 3.7, "bdwgc": 2.9, FLOOR: 1.4}

TIME = (("wall", "wall s", ".3f"), ("cpu", "CPU s", ".3f"), ("cpus", "CPUs", ".2f"), ("peak", "peak MiB", ".1f"))
COLLECTED = (("collections", "collections", ".0f"), ("stop", "longest stop ms", ".3f"))
GRAPH = (("full", "full ms", ".1f"), ("full-cpu", "full CPU ms", ".1f"), ("ns/op", "ns/op", ".1f"),
         ("cpu/op", "CPU ns/op", ".1f"), ("cpus", "CPUs", ".2f"), ("p99.9", "99.9 % ms", ".3f"),
         ("worst", "worst stall ms", ".2f"), ("worst-cpu", "most CPU ms", ".2f"), ("clock", "clock ms", ".2f"), ("peak", "peak MiB", ".1f"))
# metric: name and unit in the rows
NAMES = {"wall": ("time", "s"), "cpu": ("CPU time", "s"), "peak": ("peak memory", "MiB"),
         "collections": ("collections", "1"), "stop": ("longest stop", "ms"), "full": ("full collection", "ms"),
         "full-cpu": ("CPU time of the full collection", "ms"), "ns/op": ("time of an operation", "ns/op"),
         "cpu/op": ("CPU time of an operation", "ns/op"), "p99.9": ("99.9 % of 256 operations", "ms"),
         "worst": ("worst of 256 operations", "ms"), "worst-cpu": ("most CPU time of 256 operations", "ms"),
         "clock": ("longest away from the clock before", "ms"),
         "x live": ("peak memory by live", "1")}
OF_ALL_ROUNDS = ("worst", "worst-cpu", "clock", "stop")


class Workload:
    def __init__(self, name, title, cpus, threads, args, columns, floor=True, times=1):
        self.times = times  # so many rounds for each of a longer one
        self.name, self.title, self.cpus, self.threads, self.args, self.columns = name, title, cpus, threads, args, columns
        self.subjects = SUBJECTS if floor else SUBJECTS[:-1]
        if name == "graph":
            self.subjects = (SUBJECTS[0], SMALL, *self.subjects[1:])
        self.runs, self.bad = {}, {}

    def add(self, subject, found):
        if isinstance(found, str):
            self.bad[subject] = found
            return
        if "live" in found:
            found["x live"] = found["peak"] / found["live"]
        self.runs.setdefault(subject, []).append(found)

    def best(self, subject, metric):
        """The least of all rounds, or None. What tells of a whole run is that of the fastest."""
        runs = self.runs.get(subject)
        if subject in self.bad or not runs or metric not in runs[0]:
            return None
        if metric in ("version", "cpus", "peak", "collections", "x live"):
            return heap.pick(runs, self.cpus, "wall")[metric]
        return min(r[metric] for r in runs)

    def ratio(self, subject, other, metric):
        mine, its = self.best(subject, metric), self.best(other, metric)
        return mine / its if mine is not None and its else None

    def show(self):
        print(f"\n{self.title}, {self.cpus} CPU{'s' if self.cpus > 1 else ''}")
        print(f"  {'subject':9} {'version':8}" + "".join(f" {title:>{self.width(m, title)}}" for m, title, _ in self.columns))
        for subject in (s for s in self.subjects if s in self.runs or s in self.bad):
            if subject in self.bad:
                print(f"  {subject:9} failed: {self.bad[subject]}")
                continue
            line = f"  {subject:9} {self.best(subject, 'version'):8}"
            for metric, title, form in self.columns:
                value = self.best(subject, metric)
                text = "" if value is None else format(value, form)
                if value is not None and metric in OF_ALL_ROUNDS and len(self.runs[subject]) > 1:
                    text += f" ..{format(max(r[metric] for r in self.runs[subject]), form)}"
                if metric == "wall":
                    text += f" ({statistics.median(r['wall'] for r in self.runs[subject]):.3f})"
                line += f" {text:>{self.width(metric, title)}}"
            print(line)
        sys.stdout.flush()

    @staticmethod
    def width(metric, title):
        return max(len(title), 17 if metric in OF_ALL_ROUNDS else 15 if metric == "wall" else 8)

    def rows(self):
        for subject in (s for s in self.runs if s not in self.bad):
            for metric, (name, unit) in NAMES.items():
                value = self.best(subject, metric)
                if value is not None and any(metric == c[0] for c in self.columns):
                    yield ("gc", f"{self.name}/{self.cpus}cpu", subject, self.best(subject, "version"), self.threads,
                           name, f"{value:.4f}", unit)


def warm(mib):
    """Touch so much memory and give it back."""
    with mmap.mmap(-1, int(mib) << 20, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS) as memory:
        memory.madvise(mmap.MADV_HUGEPAGE)
        for page in range(0, len(memory), mmap.PAGESIZE):
            memory[page] = 1


def away(there):
    """Read the clock on these CPUs at once, for a while. The longest between two looks, in ms."""
    def look(cpu):
        os.sched_setaffinity(0, [cpu])
        longest, then = 0, time.monotonic_ns()
        end = then + CLOCK_S * 10 ** 9
        while then < end:
            now = time.monotonic_ns()
            longest, then = max(longest, now - then), now
        return longest / 1e6

    children = []
    for cpu in there:
        read, write = os.pipe()
        if os.fork() == 0:
            os.write(write, str(look(cpu)).encode())
            os._exit(0)
        os.close(write)
        children.append(read)
    longest = max(float(os.read(read, 64)) for read in children)
    for read in children:
        os.close(read)
        os.wait()
    return longest


def run(programs, subject, name, cpus, args, need=WARM_MIB):
    there = sorted(os.sched_getaffinity(0))[:cpus]

    def once():
        # bdwgc would mark with a thread for each CPU of the machine
        env = dict(os.environ, GC_NPROCS=str(cpus), GC_MARKERS=str(cpus))
        return heap.run_once([programs / f"gc-{subject}", name, cpus, *args], TIMEOUT, env=env,
                             preexec_fn=lambda: os.sched_setaffinity(0, there))

    if name != "graph":
        warm(need)
        return once()
    # Touching more than it needs would not do: where the host gives two CPUs' time and no more, that is then taken from the run.
    clock, before = away(there), once()
    found = before if isinstance(before, str) else once()
    return found if isinstance(found, str) else found | {"clock": clock}


def workloads(quick):
    depth = 16 if quick else 20
    nodes, ops = (400_000, 2_000_000) if quick else (4_000_000, 20_000_000)
    live = ("x live", "x live", ".2f")
    for cpus in (1, 2):
        yield Workload(f"trees-{depth}", f"binary trees of depth {depth}", cpus, 1, [depth], TIME + COLLECTED, cpus == 1)
    for cpus in (1, 2):
        yield Workload("graph", f"live graph of {nodes:,} nodes of 64 bytes, {ops:,} replaced", cpus, 1, [nodes, ops],
                       GRAPH + COLLECTED, cpus == 1)
    for name, what, garbage in (("gcbench", "", 0), ("gcbench-garbage", " with garbage between nodes", 1)):
        yield Workload(name, f"GCBench on 2 threads{what}, to be collected at 2.5 x what is live", 2, 2, [2, garbage],
                       TIME + (live,) + COLLECTED, times=3)


def aim(what, value, limit, unit="", also=None, clock=None):
    if value is None:
        print(f"  ?       {what}: no figure")
        return
    print(f"  {'met' if value <= limit else 'MISSED':7} {what}, at most {limit}{unit}: {value:.3f}{unit}"
          + (f" (CPU time {also:.3f})" if also is not None else "")
          + (f" (away from the clock before, with nothing else to do: {clock:.3f})" if clock is not None else ""))


def aims(figures):
    print("\naims")
    for w in figures:
        on = f"{w.name}, {w.cpus} CPU{'s' if w.cpus > 1 else ''}"
        if w.name.startswith("trees"):
            for peer, limit in (("go", 0.35), ("bdwgc", 0.35)) if w.cpus == 1 else (("go", 0.5),):
                aim(f"{on}: time, x {peer}", w.ratio("loam", peer, "wall"), limit, also=w.ratio("loam", peer, "cpu"))
        elif w.name == "graph":
            aim(f"{on}: full collection, x go", w.ratio("loam", "go", "full"), 0.6,
                also=w.ratio("loam", "go", "full-cpu"))
            for subject in ("loam", SMALL):
                aim(f"{on}: worst stall of 256 operations, {subject}", w.best(subject, "worst"), 5, " ms",
                    w.best(subject, "worst-cpu"), w.best(subject, "clock"))
            aim(f"{on}: longest stop", w.best("loam", "stop"), 0.5, " ms")
        else:
            aim(f"{on}: time, x bdwgc", w.ratio("loam", "bdwgc", "wall"), 0.36, also=w.ratio("loam", "bdwgc", "cpu"))


def mib_name(mib):
    return f"{mib} MiB" if mib < 1024 else f"{mib // 1024} GiB"


def available_mib():
    for line in open("/proc/meminfo", encoding="ascii"):
        if line.startswith("MemAvailable:"):
            return int(line.split()[1]) / 1024
    return 0


def curve(programs, there, cpus, quick):
    """{MiB: Workload}"""
    columns = (("cpu/op", "", ".1f"), ("stop", "", ".3f"), ("worst", "", ".2f"), ("peak", "", ".1f"))
    out = {}
    for mib in (s for s in CURVE_SIZES if s <= (64 if quick else CURVE_SIZES[-1])):
        w = out[mib] = Workload(f"curve-{mib}MiB", "", cpus, 1, [mib, CURVE_OPS], columns)
        for _ in range(1 if quick or mib >= 1024 else 3):
            for subject in (s for s in SUBJECTS if s in there and s not in w.bad):
                need, have = mib * CURVE_NEED[subject] + 128, available_mib() * 0.9
                if need > have:
                    w.bad[subject] = f"skipped: needs {need:.0f} MiB, {have:.0f} are there"
                else:
                    w.add(subject, run(programs, subject, "curve", cpus, w.args, need))
        for subject, why in w.bad.items():
            print(f"{mib_name(mib)} of {subject}: {why}")
        print(f"curve, {mib_name(mib)}: measured", file=sys.stderr, flush=True)
    for metric, title, form in (("cpu/op", "CPU ns to replace a node", ".1f"), ("stop", "longest stop, ms", ".3f"),
                                ("worst", "worst stall of 256 operations, ms", ".2f")):
        print(f"\n{title}, by live nodes; 2,048 are replaced, the others stand by; {cpus} CPUs")
        print(f"  {'subject':9}" + "".join(f"{mib_name(m):>12}" for m in out)
              + (f"{'max/min':>9}" if metric == "cpu/op" else ""))
        for subject in (s for s in SUBJECTS if s in there and (s != FLOOR or metric != "stop")):
            found = [w.best(subject, metric) for w in out.values()]
            known = [v for v in found if v is not None]
            print(f"  {subject:9}" + "".join(f"{'-' if v is None else format(v, form):>12}" for v in found)
                  + (f"{max(known) / min(known):9.2f}" if known and metric == "cpu/op" else ""))
    sys.stdout.flush()
    return out


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="a tenth of the work, two rounds")
    parser.add_argument("--only", default="", help="workloads with that word in their name; also: curve")
    parser.add_argument("--csv")
    parser.add_argument("--curve", help="this run's rows of the curve alone, for the plot")
    parser.add_argument("--programs", type=pathlib.Path, required=True, help="where the programs gc-SUBJECT are")
    args = parser.parse_args()
    rounds = 2 if args.quick else 3
    there = [s for s in (*SUBJECTS, SMALL) if os.access(args.programs / f"gc-{s}", os.X_OK)]
    cpus = len(os.sched_getaffinity(0))
    print(f"{heap.machine()}; best of {rounds} rounds, GCBench {3 * rounds} (median), .. the worst of them; pinned")
    figures = []
    for w in workloads(args.quick):
        if args.only not in w.name:
            continue
        if w.cpus > cpus:
            print(f"\n{w.title}: skipped, there is one CPU")
            continue
        for _ in range(rounds * w.times):
            for subject in (s for s in w.subjects if s in there and s not in w.bad):
                w.add(subject, run(args.programs, subject, w.name.split("-")[0], w.cpus, w.args))
        w.show()
        figures.append(w)
        heap.append_rows(args.csv, w.rows())
    if args.only in "curve":
        rows = [r for w in curve(args.programs, there, min(cpus, 2), args.quick).values() for r in w.rows()]
        heap.append_rows(args.csv, rows)
        if args.curve:
            pathlib.Path(args.curve).unlink(missing_ok=True)
            heap.append_rows(args.curve, rows)
    if figures:
        aims(figures)
    return 0


if __name__ == "__main__":
    sys.exit(main())
