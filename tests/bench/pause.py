#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""How long the collector keeps a program from its work, in the booted image, by the size of the live heap.

Usage: pause.py [--quick] [--only PATTERN] [--csv FILE] [--data FILE] ARCH=IMAGE...

The guest is boot/pause.c: no write barrier, plain stores; dirty bits tell the collector. With one CPU all marking is done by
allocations; with two the second donates its time. "random" swaps nodes anywhere, "near" in one block for a while.

Two clocks. "wall" is the host's: whatever the host does beside this is in it. A guest's CPU that the host has
taken off stands still, and if the world is to stop it is waited for: so stops are told with and without that wait, and a second of CPUs
that only read the clock tells how far it jumps. "insn" counts instructions, one as a nanosecond (QEMU's icount): no noise,
the same each time, whatever runs beside it, but no caches or TLBs either, and one CPU only: two would take turns, each waiting
its turn out for the other, so that a stop takes what a turn does. There the program counts instead of following links: as much
to that clock, and ten times as fast.
"""
import argparse
import bisect
import concurrent.futures
import os
import pathlib
import re
import subprocess
import sys
import time

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "tools"))
import qemu_run  # noqa: E402  (the path above comes first)

SIZES = (16, 64, 256, 512)
GARBAGE, MUCH = 8, 64  # MiB/s
WINDOWS_MS = (1, 2, 5, 10, 20, 50, 100)
LIMIT_SECONDS = 1800
EVENT = re.compile(r"^pause (begin|again|end|round|assist|late|jump) (\d+) (\d+) (\d+) (\d+) (\d+) (\d+)$", re.M)
RUN = re.compile(r"^pause run (\d+) nodes, chunk (\d+) ns, (\d+) chunks, (\d+) ns, (\d+) roots$", re.M)


class Event:
    def __init__(self, groups):
        self.kind = groups[0]
        self.cpu, self.start, self.ns, self.wait, self.pages, self.rounds = map(int, groups[1:])


def boot(arch, image, clock, cpus, live, near, garbage, percent):
    cycles = 6 if live <= 64 else 2
    cycles = cycles if clock == "wall" else 2 if live <= 64 else 1
    append = f"job=pause selftest=0 live={live} near={int(near)} garbage={garbage} percent={percent} cycles={cycles}"
    append += f" walk={int(clock == 'wall')}"
    argv = qemu_run.command(arch, image, "4G", append, None, "max", cpus, ("-icount", "shift=0,sleep=off") if clock == "insn" else ())
    out = subprocess.run(argv, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, check=False, timeout=LIMIT_SECONDS)
    text = out.stdout.decode(errors="replace").replace("\r", "")
    run = RUN.search(text)
    if run is None or "pause lost" in text or "all done, all well" not in text:
        sys.exit(f"{append}, {cpus} CPUs: no figures in:\n" + text[-3000:])
    return [Event(g) for g in EVENT.findall(text)], int(run.group(2)), int(run.group(5))


def union(stretches):
    """Stretches of time, in order and disjoint."""
    out = []
    for lo, hi in sorted(stretches):
        if out and lo <= out[-1][1]:
            out[-1][1] = max(out[-1][1], hi)
        else:
            out.append([lo, hi])
    return out


def most_lost(stretches, window):
    """The most of any `window` that is in stretches."""
    lost = union(stretches)
    starts, total = [s[0] for s in lost], [0]
    for lo, hi in lost:
        total.append(total[-1] + hi - lo)

    def before(t):
        i = bisect.bisect_right(starts, t)
        return total[i] - (max(0, lost[i - 1][1] - t) if i else 0)

    # the worst window begins where a stretch does, or ends where one ends
    return max((max(before(lo + window) - before(lo), before(hi) - before(hi - window)) for lo, hi in lost), default=0)


def utilisation(stretches, ms):
    return 100 - 100 * most_lost(stretches, ms * 1000000) / (ms * 1000000)


def percentile(values, percent):
    values = sorted(values)
    return values[min(len(values) - 1, len(values) * percent // 100)] if values else 0


class Result:
    def __init__(self, arch, clock, cpus, live, near, garbage, percent, events, chunk, roots):
        self.arch, self.clock, self.cpus, self.live, self.roots = arch, clock, cpus, live, roots
        self.mutation, self.garbage, self.percent = "near" if near else "random", garbage, percent
        stops = [e for e in events if e.kind in ("begin", "again", "end")]
        ends = [e for e in events if e.kind == "end"]
        jumps = [e for e in events if e.kind == "jump"]
        self.taken = [(e.start, e.start + e.ns) for e in events if e.kind in ("begin", "again", "end", "assist")]
        self.late = [(e.start + chunk, e.start + e.ns) for e in events if e.kind == "late"]
        self.jumped = [(e.start, e.start + e.ns) for e in jumps if e.cpu == 0]
        us = [e.ns / 1000 for e in stops]
        alone = [(e.ns - e.wait) / 1000 for e in stops]
        self.figures = {
            "cycles": (len(ends), "count"), "stops": (len(stops), "count"),
            "median stop": (percentile(us, 50), "us"), "99th percentile of stops": (percentile(us, 99), "us"),
            "longest stop": (max(us), "us"), "longest stop once all stand": (max(alone), "us"),
            "longest begin once all stand": (max((e.ns - e.wait) / 1000 for e in stops if e.kind == "begin"), "us"),
            "median end once all stand": (percentile([(e.ns - e.wait) / 1000 for e in ends], 50), "us"),
            "most pages in the last stop": (max(e.pages for e in ends), "pages"),
            "most rounds": (max(e.rounds for e in ends), "rounds"),
            "longest round": (max((e.ns / 1000 for e in events if e.kind == "round"), default=0), "us"),
            "longest assist": (max((e.ns / 1000 for e in events if e.kind == "assist"), default=0), "us"),
            "longest jump of the clock": (max((e.ns / 1000 for e in jumps), default=0), "us"),
        }
        self.figures |= {"least utilisation in 10 ms by stops and assists": (utilisation(self.taken, 10), "percent"),
                         "least utilisation in 10 ms by progress": (utilisation(self.late, 10), "percent"),
                         "least utilisation in 10 ms doing nothing": (utilisation(self.jumped, 10), "percent")}

    def __getitem__(self, metric):
        return self.figures[metric][0]

    def kind(self):
        return self.arch, self.clock, self.cpus, self.mutation, self.garbage, self.percent

    def line(self):
        return (f"{self.arch:8} {self.clock:5} {self.cpus}  {self.mutation:6} {self.garbage:3} {self.percent:4} {self.live:4} {self['cycles']:3}"
                f"  {self['median stop']:8.0f} {self['99th percentile of stops']:8.0f} {self['longest stop']:8.0f}"
                f"  {self['longest stop once all stand']:7.0f} {self['longest begin once all stand']:6.0f}"
                f" {self['most pages in the last stop']:5} {self['most rounds']:4} {self['longest round']:8.0f} {self['longest assist']:8.0f}"
                f"   {self['least utilisation in 10 ms by stops and assists']:4.0f} % {self['least utilisation in 10 ms by progress']:4.0f} %"
                f" {self['least utilisation in 10 ms doing nothing']:4.0f} % {self['longest jump of the clock']:8.0f}")

    def rows(self):
        for metric, (value, unit) in self.figures.items():
            yield f"pause,{self.arch}-{self.clock}-{self.mutation}-{self.garbage}-{self.percent}-{self.live}M,loam,1,{self.cpus},{metric},{value:.1f},{unit}"


HEAD = """                                                    stop, us                   all stand, us  last stop    longest, us          least utilisation in 10 ms   longest
machine  clock CPUs  garbage GOGC MiB cycles  median      99 %  longest  longest  begin pages rounds   round   assist   stops,assists  progress  idle     jump, us"""


def verdict(what, ok):
    print(f"{what}: {'met' if ok else 'NOT MET'}")


def aims(results):
    """What we aim at, by instructions, where there is no noise, and by the wall clock."""
    for clock, longest in (("insn", "longest stop"), ("wall", "longest stop once all stand"), ("wall", "longest stop")):
        some = [r for r in results if r.clock == clock]
        if not some:
            continue
        worst = max(some, key=lambda r: r[longest])
        verdict(f"{clock}: {longest} at most 1,000 us: {worst[longest]:.0f} ({worst.arch}, {worst.cpus} CPUs, {worst.live} MiB)",
                worst[longest] <= 1000)
    for clock in ("insn", "wall"):
        some = [r for r in results if r.clock == clock]
        for a in (r for r in some if r.live == SIZES[0]):
            for b in (r for r in some if r.kind() == a.kind() and r.live == SIZES[-1]):
                slope = 100 * (b["median end once all stand"] / a["median end once all stand"] - 1)
                verdict(f"{clock}: {a.arch}, {a.cpus} CPUs, {a.mutation}, {a.garbage} MiB/s, GOGC {a.percent}: {SIZES[-1]} MiB stop longer "
                        f"than {SIZES[0]} MiB by less than 10 %, median of last stops once all stand: {slope:.1f} %", slope < 10)
    worst = max(results, key=lambda r: r["most pages in the last stop"])
    verdict(f"at most 64 pages in the last stop: {worst['most pages in the last stop']}", worst["most pages in the last stop"] <= 64)
    for clock, cpus, garbage, percent in dict.fromkeys((r.clock, r.cpus, r.garbage, r.percent) for r in results):
        some = [r for r in results if (r.clock, r.cpus, r.garbage, r.percent) == (clock, cpus, garbage, percent)]
        for metric in ("stops and assists", "progress") if clock == "insn" else ("stops and assists",):
            worst = min(some, key=lambda r: r["least utilisation in 10 ms by " + metric])
            least = worst["least utilisation in 10 ms by " + metric]
            verdict(f"{clock}, {cpus} CPUs, {garbage} MiB/s, GOGC {percent}: least utilisation in 10 ms by {metric} at least 70 %: "
                    f"{least:.0f} ({worst.arch}, {worst.live} MiB, {worst.mutation})", least >= 70)


def plan(quick):
    """Clock, CPUs, MiB, near, garbage, percent."""
    sizes = SIZES[:2] if quick else SIZES
    for clock, cpus in (("insn", 1), ("wall", 1), ("wall", 2)):
        for live in sizes:
            yield clock, cpus, live, False, GARBAGE, 100
        for live in (sizes[0], sizes[-1]) if clock == "wall" else ():
            yield clock, cpus, live, True, GARBAGE, 100
    # what one CPU has for itself, by what it makes: all marking is to fit into what the heap may grow by meanwhile
    for garbage, percent in ((2 * GARBAGE, 100), (4 * GARBAGE, 100), (MUCH, 100), (MUCH, 200)):
        for live in (sizes[0], sizes[-1]):
            yield "insn", 1, live, False, garbage, percent


def data(results):
    """For the plot: what, name, x, y."""
    for r in results:
        name = f"{r.arch} {r.cpus} CPU{'s' if r.cpus > 1 else ''} {r.clock} {r.mutation} {r.garbage}{' at 200 %' if r.percent > 100 else ''}"
        for metric in ("longest stop", "median end once all stand"):
            yield f"{metric},{name},{r.live},{r[metric]:.1f}"
        if (r.garbage != MUCH or r.percent > 100) and (r.clock == "insn" or r.live == max(x.live for x in results)):
            for ms in WINDOWS_MS:
                yield f"stops and assists,{name} MiB/s {r.live} MiB,{ms},{utilisation(r.taken, ms):.1f}"
                yield f"progress,{name} MiB/s {r.live} MiB,{ms},{utilisation(r.late, ms):.1f}"


def label(arch, _image, clock, cpus, live, near, garbage, percent):
    return f"{arch}-{clock}-{cpus}-{live}-{'near' if near else 'random'}-{garbage}-{percent}"


def measure(*run):
    """A run's result, and the seconds it took."""
    start = time.monotonic()
    arch, _, *rest = run
    return Result(arch, *rest, *boot(*run)), time.monotonic() - start


def report(csv, result, seconds):
    print(f"{result.line()}   ({seconds:.0f} s)", flush=True)
    if csv:
        append(csv, "bench,workload,subject,version,threads,metric,value,unit", result.rows())
    return result


def append(path, head, lines, mode="a"):
    path = pathlib.Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open(mode, encoding="ascii") as f:
        if f.tell() == 0:
            f.write(head + "\n")
        f.write("".join(line + "\n" for line in lines))


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--only", default="", help="only runs whose name has this pattern: 'x86_64-insn-1-16-random'")
    parser.add_argument("--csv")
    parser.add_argument("--data", help="what to plot")
    parser.add_argument("images", nargs="+", metavar="ARCH=IMAGE")
    args = parser.parse_args()
    runs = [(arch, image, *run) for arch, image in (pair.split("=", 1) for pair in args.images) for run in plan(args.quick)]
    runs = [r for r in runs if re.search(args.only, label(*r))]
    if not runs:
        sys.exit("nothing of that name")
    print(HEAD)
    with concurrent.futures.ThreadPoolExecutor(os.cpu_count()) as pool:
        counted = [r for r in runs if r[2] == "insn"]
        jobs = {r: pool.submit(measure, *r) for r in sorted(counted, key=lambda r: -r[4])}
        results = [report(args.csv, *jobs[r].result()) for r in counted]
    results += [report(args.csv, *measure(*r)) for r in runs if r[2] == "wall"]
    aims(results)
    if args.data:
        append(args.data, "what,name,x,y", data(results), "w")
    return 0


if __name__ == "__main__":
    sys.exit(main())
