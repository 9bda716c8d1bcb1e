#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Boot the image in QEMU in many ways and check what it says. Prints TAP.

Usage: qemu_test.py [--only WORD] [--trace FILE] ARCH=IMAGE

Each boot is one result, and every self-test that the guest reports is one more.
Times are told as comments and never checked; a boot that hangs is killed and fails.
"""
import argparse
import re
import subprocess
import sys
import tempfile
import time

import oracle
import qemu_run
import soak

SOAK_SECONDS = 6
HANG_SECONDS = 300  # far beyond any honest boot, also on a loaded machine
GUEST_RESULT = re.compile(r"^(ok|not ok) \d+ - (.*?)( \(\d+ us\))?$")

WALK = r"level 3  table 0x[0-9a-f]+\[ *\d+\] = 0x[0-9a-f]{16}"
# What each provoked fault must say: access, cause, and what is known of the place.
FAULTS = {
    "null": [r"access   write of 0x8 by pc 0x[0-9a-f]+, sp 0x[0-9a-f]+ \(not present\)$",
             r"cause    null pointer write$", r"walk\n  the address is not in the kernel half$"],
    "reserved": [r"access   read of 0x[0-9a-f]+234 ", r"cause    touch of Reserved memory",
                 r"region   0x[0-9a-f]+ \+ 1 MiB, state Reserved, owner none", r"history  reserve$", WALK],
    "prepared": [r"access   write of 0x[0-9a-f]+234 ", r"cause    touch of Prepared memory",
                 r"region   .* state Prepared, owner test", r"history  map <- reserve$", WALK],
    "sysfault": [r"access   read of 0x[0-9a-f]+234 ", r"cause    touch after loam_sys_fault: the range was revoked",
                 r"region   .* state Reserved, owner test", r"history  fault <- used <- map <- reserve$", WALK],
    "text": [r"access   write of ", r"cause    .*image text", WALK],
    "exec": [r"access   execute of ", r"cause    .*execut", r"region   .* state Ready, owner heap", WALK],
    "loamstack": [r"access   write of 0x[0-9a-f]+", r"cause    stack overflow: guard below the stack 0x[0-9a-f]+ \+ 1 MiB$",
                  r"region   0x[0-9a-f]+ \+ 4 KiB, state Reserved", WALK],
    "stack": [r"cause    stack overflow.*boot stack guard", WALK],
}
REGISTERS = {"x86_64": r"rip [0-9a-f]{16}  rflags", "aarch64": r"x30 [0-9a-f]{16}  sp  [0-9a-f]{16}  pc "}


class Tap:
    """Counts and prints results."""

    def __init__(self):
        self.count = self.failed = 0
        self.others = []  # boots that the word was not for

    def result(self, ok, name, why=""):
        self.count += 1
        self.failed += not ok
        print(f"{'ok' if ok else 'not ok'} {self.count} - {name}")
        for line in why.splitlines() if not ok else []:
            print(f"#   {line}")
        sys.stdout.flush()


class Boot:
    """One run of the image: its text and its exit status."""

    hang_seconds = HANG_SECONDS

    def __init__(self, arch, image, **kw):
        argv = qemu_run.command(arch, image, kw.get("mem", "256M"), kw.get("append", ""),
                                kw.get("initrd"), kw.get("cpu", "max"), kw.get("smp", 1), kw.get("extra", ()))
        start = time.monotonic()
        self.looks = []
        if kw.get("oracle"):
            watched = oracle.Oracle(arch, argv, kw.get("smp", 1), self.hang_seconds)
            self.text, self.status, self.looks = watched.text, watched.status, watched.results
            self.seconds = time.monotonic() - start
            return
        try:
            proc = subprocess.run(argv, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                                  stderr=subprocess.STDOUT, timeout=self.hang_seconds, check=False)
            text, self.status = proc.stdout, qemu_run.status(arch, proc.returncode)
        except subprocess.TimeoutExpired as e:
            text, self.status = (e.stdout or b"") + b"\n# hung\n", "hung"
        self.text = text.decode(errors="replace").replace("\r", "")
        self.seconds = time.monotonic() - start

    def missing(self, patterns):
        return [p for p in patterns if not re.search(p, self.text, re.M)]

    def number(self, pattern):
        m = re.search(pattern, self.text, re.M)
        return float(m.group(1)) if m else None


def running(cpus):
    return rf"^{cpus} CPUs run$" if cpus > 1 else "^1 CPU runs$"


def usable_mib(text):
    m = re.search(r"^frames: ([\d.]+) ([MG])iB usable", text, re.M)
    return float(m.group(1)) * (1024 if m.group(2) == "G" else 1) if m else 0


class Suite:
    """All boots of one architecture."""

    def __init__(self, tap, arch, image, trace, only, soak=0):
        self.tap, self.arch, self.image, self.trace, self.only, self.soak = tap, arch, image, trace, only, soak

    def wanted(self, name):
        """Is the word in it? The others are remembered."""
        if self.only in name:
            return True
        self.tap.others.append(name)
        return False

    def boot(self, name, status, patterns, guest=False, **kw):
        """Boot; the result is right if the status is and every pattern is found."""
        name = f"{self.arch}: {name}"
        if not self.wanted(name):
            return None
        b = Boot(self.arch, self.image, **kw)
        missing = b.missing(patterns)
        ok = b.status == status and not missing
        if guest:
            planned = re.search(r"^1\.\.(\d+)$", b.text, re.M)
            seen = [GUEST_RESULT.match(line) for line in b.text.splitlines()]
            seen = [m for m in seen if m]
            ok = ok and planned is not None and int(planned.group(1)) == len(seen) > 0
            for m in seen:
                self.tap.result(m.group(1) == "ok", f"{name}: {m.group(2)}", b.text)
        why = f"status {b.status}, wanted {status}; missing {missing}\n{b.text}"
        self.tap.result(ok, name, why)
        return b

    def looks_agree(self, name, b):
        """One result for each look at the page tables: loam and the emulator say the same."""
        for look, found in b.looks:
            why = "".join(f"{who}: {what}\n" for who, what in found.items() if what)
            self.tap.result(not why, f"{self.arch}: {name}: the emulator's view, {look.number}: {look.what}", why)
        self.tap.result(len(b.looks) > 30, f"{self.arch}: {name}: {len(b.looks)} looks", b.text)

    def matrix(self):
        """Levels, leaves and CPUs, each with each; in every second one the emulator is the oracle."""
        five = "la57" if self.arch == "x86_64" else "lpa2"
        for i in range(8):
            levels, giant, cpus = 5 if i & 4 else 4, not i & 2, 4 if i & 1 else 1
            watched = (i & 1) ^ (i >> 1 & 1) ^ (i >> 2 & 1) == 0
            name = f"{levels} levels, {'with' if giant else 'without'} 1 GiB leaves, {cpus} CPU{'s' if cpus > 1 else ''}"
            # where the CPU can be told to lack them, half of the boots tell it, and half tell loam
            lacking = not giant and not watched and self.arch == "x86_64"
            words = [f"{five}=1"] * (levels == 5) + ["leaf1g=0"] * (not giant and not lacking) + ["oracle=1"] * watched
            leaves = "4 KiB 2 MiB 1 GiB" if giant else "4 KiB 2 MiB"
            b = self.boot(name, 0, [rf"^cpu: {levels}-level", rf"leaves {leaves}, ", running(cpus), r"^loam: all done, all well$"],
                          guest=True, mem="3G", smp=cpus, cpu="max,pdpe1gb=off" if lacking else "max", oracle=watched,
                          append=" ".join(words + (["depth=4 job=trees"] if watched else ["depth=8"])),
                          initrd=None if watched else self.trace)
            if b is not None and watched:
                self.looks_agree(name, b)
                print(f"# {name}: {len(b.looks)} looks in {b.seconds:.1f} s")

    def liar(self):
        """The oracle has teeth: a guest that tells one untruth at each of its first looks."""
        name = "oracle=lie"
        b = self.boot(f"{name}: self-tests", 0, [], guest=True, mem="64M", oracle=True, append="oracle=lie depth=4 job=trees")
        for i, who in enumerate(oracle.LIES[self.arch] if b is not None else []):
            found = b.looks[i][1] if i < len(b.looks) else {}
            missed = who - {k for k, v in found.items() if v}
            self.tap.result(not missed, f"{self.arch}: {name}: untruth {i + 1} is noticed by {', '.join(sorted(who))}",
                            f"not noticed by {missed}: {found}")
        if b is not None:
            late = [(look.what, found) for look, found in b.looks[len(oracle.LIES[self.arch]):] if any(found.values())]
            self.tap.result(b.looks and not late, f"{self.arch}: {name}: afterwards the truth is believed", f"{late}")

    def whole_job(self):
        """Self-tests and the main job, with little and with much memory."""
        for mem in ("32M", "64M", "1G", "5G"):
            b = self.boot(f"self-tests and main job with {mem}", 0,
                          [r"^loam: all done, all well$", r"the long-lived tree of depth 12 is whole",
                           r"replay of .* free drops the reference", r"replay of .* free is loam_free",
                           r"^heap map: "] + [rf"^ +{p} %  \d+ blocks" for p in (10, 50, 90)],
                          guest=True, mem=mem, append="depth=12", initrd=self.trace)
            if b is None:
                continue
            got, want = usable_mib(b.text), qemu_run.mebibytes(mem)
            self.tap.result(want * 0.9 - 2 < got <= want, f"{self.arch}: all of {mem} is found",
                            f"{got} MiB usable\n{b.text}")
            us = b.number(r"^boot to self-tests done in (\d+) us")
            print(f"# {self.arch} {mem}: boot to self-tests done in {us} us of guest time")

    def many_cpus(self):
        """Everything again with four CPUs, and a little longer all at once."""
        for mem in ("64M", "1G"):
            b = self.boot(f"self-tests and main job with 4 CPUs and {mem}", 0,
                          [r"^4 CPUs run$", r"^# 4 CPUs, \d+ steps", r"^# of \d+ frames", r"^loam: all done, all well$"]
                          + ([r"# .* [1-9]\d* shootdowns"] if self.arch == "x86_64" else [r"# .* 0 interrupts for them"]),
                          guest=True, mem=mem, smp=4, append=f"depth=8 soak={self.soak}", initrd=self.trace)
            for line in re.findall(r"^# (?:4 CPUs|of \d+ frames).*$", b.text, re.M) if b is not None else []:
                print(f"{line} ({mem})")
        self.boot("cpus=2 of 4", 0, [r"^2 CPUs run$"], guest=True, smp=4, append="cpus=2 job=trees depth=6")

    def threads(self):
        """One heap for the threads of all CPUs: their tests alone, then trees on every CPU; with any interrupt controller."""
        named = r"^CPU 1 does not stop for \d+ ms: thread 0x[0-9a-f]+, has not taken the interrupt: interrupts off\?, not in the allocator$"
        lines = [named, r"^# \d+ CPUs on one heap: \d+ steps, \d+ allocations, [1-9]\d* collections", r"^loam: all done, all well$"]
        kinds = [(2, (), f"soak={self.soak} "), (4, (), "")]
        if self.arch == "aarch64":
            # on virt, GICv2 is what one gets unasked; from EL2 the stub must let EL1 use GICv3's registers
            kinds += [(3, ("-M", "virt,gic-version=3"), ""), (10, ("-M", "virt,gic-version=3,virtualization=on"), "")]
        for cpus, extra, words in kinds:
            name = f"self-tests and main job on one heap, {cpus} CPUs" + (f", {extra[1]}" if extra else "")
            b = self.boot(name, 0, lines + [rf"^  all of it on {cpus} CPUs, \d+ ms; \d+ stops"], guest=True,
                          smp=cpus, extra=extra, append=f"{words}selftest=world job=cpus depth=10")
            for line in re.findall(r"^# \d+ CPUs: threads.*$|^# \d+ CPUs on one heap.*$", b.text, re.M) if b is not None else []:
                print(line)

    def write_tracking(self):
        """Which pages were written, with the CPU's dirty bits and, where there is such a CPU, without; what it costs."""
        for cpu, keeper in [("max", "hardware")] + [("cortex-a72", "software")] * (self.arch == "aarch64"):
            for cpus in (1, 4):
                keeps = [rf"dirty bits by {keeper}$"] * (self.arch == "aarch64")
                b = self.boot(f"write tracking, {cpu}, {cpus} CPU{'s' if cpus > 1 else ''}", 0, keeps + [running(cpus), "all well"],
                              guest=True, mem="1536M", cpu=cpu, smp=cpus, append="selftest=dirty job=trees depth=4")
                for line in re.findall(r"^# (?:dirty|\d+ writes).*$", b.text, re.M) if b is not None else []:
                    print(f"{line} ({cpu}, {cpus} CPUs)")

    def same_graph(self):
        """The same program with a write barrier and without, with dirty bits and, where there is such a CPU, without: the same is live."""
        boots = []
        for cpu in ["max"] + ["cortex-a72"] * (self.arch == "aarch64"):
            for barrier in soak.BARRIERS:
                name = f"{self.arch}: soak, 4 CPUs, {cpu}, barrier={barrier}"
                if not self.wanted(name):
                    continue
                boots.append(soak.Soak(self.arch, self.image, barrier, SOAK_SECONDS, 1, cpu))
                self.tap.result(boots[-1].ok, name, boots[-1].text)
                print(f"# {len(boots[-1].live)} epochs, {boots[-1].cycles} cycles")
        if len(boots) > 1:
            common, bad = soak.differences(boots)
            self.tap.result(common and not bad, f"{self.arch}: soak: the same is live in all {len(boots)} boots, {len(common)} epochs", "\n".join(bad))

    def numa(self):
        """Two or three nodes: with both kinds of thing, with CPUs or memory alone, and with the boot CPU on the second."""
        mib = r"2\d\d(\.\d)? MiB"
        shapes = [
            ("2 nodes", [256, 256], ["0-1", "2-3"], [rf"node 0: {mib}, CPUs 0-1", rf"node 1: {mib}, CPUs 2-3"]),
            ("the boot CPU on node 1", [256, 256], ["2-3", "0-1"], [rf"node 0: {mib}, CPUs 2-3", rf"node 1: {mib}, CPUs 0-1"]),
            ("a node without memory", [512, 0], ["0-1", "2-3"], [r"node 0: 5\d\d(\.\d)? MiB, CPUs 0-1", "node 1: no memory, CPUs 2-3"]),
            ("a node without CPUs", [256, 256], ["0-3", ""], [rf"node 0: {mib}, CPUs 0-3", rf"node 1: {mib}, no CPUs"]),
            ("3 nodes", [128, 128, 256], ["0,cpus=3", "1", "2"],
             [r"node 0: 12\d(\.\d)? MiB, CPUs 0,3", r"node 1: 12\d(\.\d)? MiB, CPUs 1", rf"node 2: {mib}, CPUs 2"]),
        ]
        for name, mems, cpus, lines in shapes:
            extra = []
            for i, (mem, on) in enumerate(zip(mems, cpus)):
                if mem:
                    extra += ["-object", f"memory-backend-ram,id=m{i},size={mem}M"]
                extra += ["-numa", f"node,nodeid={i}" + (f",memdev=m{i}" if mem else "") + (f",cpus={on}" if on else "")]
            self.boot(f"numa: {name}, 4 CPUs", 0, [r"^4 CPUs run$", r"^loam: all done, all well$"] + [f"^{x}$" for x in lines],
                      guest=True, mem="512M", smp=4, append="depth=6 job=trees", extra=extra)
        b = self.boot("numa: one node says nothing", 0, [r"^4 CPUs run$"], smp=4, append="depth=4 job=trees selftest=0")
        if b is not None:
            self.tap.result("node 0:" not in b.text and "one node" not in b.text, f"{self.arch}: numa: nor does it", b.text)

    def high_memory(self):
        """5 GiB on x86_64 lie on both sides of the hole below 4 GiB."""
        if self.arch == "x86_64":
            self.boot("memory above the 4 GiB hole is used", 0,
                      [r"0x000100000000 - 0x0001[0-9a-f]{8} .* usable$", r"frames: 5 GiB usable in 2 zones|frames: 4\.\d GiB usable in 2 zones"],
                      mem="5G", append="job=trees depth=8 selftest=0")

    def faults(self):
        for fault, patterns in FAULTS.items():
            self.boot(f"fault={fault} is reported", 2,
                      [r"^loam: FATAL: ", REGISTERS[self.arch]] + ["^  " + p for p in patterns],
                      append=f"fault={fault}")

    def five_levels(self):
        """LA57 on x86_64, LPA2 on aarch64: asked for, but not there. Where they are: matrix."""
        word = "la57" if self.arch == "x86_64" else "lpa2"
        cpu = "max,la57=off" if self.arch == "x86_64" else "cortex-a57"
        self.boot(f"{word} on a CPU without it", 0, [r"^cpu: 4-level", "all well"], cpu=cpu, append=f"{word}=1 depth=4 job=trees selftest=0")

    def small_cpus(self):
        """CPUs that lack what the best ones have."""
        if self.arch == "x86_64":
            self.boot("without ACPI CPUs are found by trying", 0, [r"^ACPI: left out: CPUs are looked for$", r"^3 CPUs run$", "all well"],
                      smp=3, append="acpi=0 job=trees depth=4", guest=True)
            self.boot("qemu64", 0, [r"all well"], guest=True, cpu="qemu64", append="job=trees depth=8")
        else:
            self.boot("cortex-a57: no dirty bits in hardware", 0, [r"44-bit physical", "all well"],
                      guest=True, cpu="cortex-a57", append="job=trees depth=8")

    def bad_input(self):
        self.boot("no boot module", 0, [r"nothing to replay"], append="depth=6 selftest=0")
        self.boot("absurd depth", 1, [r"binary trees failed: depth must be from 4 to 24"],
                  append="depth=99 selftest=0")
        self.boot("out of memory is told, not a crash", 1, [r"binary trees failed: out of memory", r"^loam: FAILED"],
                  mem="32M", append="depth=19 job=trees selftest=0")
        with tempfile.NamedTemporaryFile(suffix=".loamtrace") as f:
            f.write(b"not a trace at all\n" * 20)
            f.flush()
            self.boot("a boot module that is no trace", 1, [r"replay failed: "], initrd=f.name,
                      append="job=replay selftest=0")
        with tempfile.NamedTemporaryFile(suffix=".loamtrace") as f, open(self.trace, "rb") as whole:
            f.write(whole.read()[:100000])
            f.flush()
            self.boot("a truncated trace", 1, [r"replay failed: trace"], initrd=f.name,
                      append="job=replay selftest=0")

    def gctrace(self):
        self.boot("gctrace lines", 0,
                  [r"^gc \d+ @[\d.]+s \d+%: [\d.]+\+[\d.]+\+[\d.]+ ms clock, .* ms cpu, \d+->\d+->\d+ MB, \d+ MB goal, .* \d+ P",
                   r"^pacer: assist ratio=[\d.]+ ", r"^pacer: \d+% CPU .* B work ", r"^pacer: sweep done at heap size \d+MB; ",
                   r"^scav \d+ KiB work .* util", r"^ +stops: [1-9]\d*, half under ", r"^ +last: number \d+ at "],
                  append="gctrace=3 depth=12 job=trees selftest=0")

    def recorded(self):
        """A program of this machine, recorded and replayed."""
        self.boot("a trace recorded just now", 0, [r"replay of ls: \d+ calls", r"all well"], initrd=self.trace,
                  append="job=replay selftest=0")

    def embedded(self):
        """The example of the README, in a kernel that is not ours."""
        self.boot("embed: the README's example", 0, [r"^heap: .* objects", r"^gc: +[1-9]\d* collections"], mem="64M")

    def run(self):
        self.whole_job()
        self.high_memory()
        self.many_cpus()
        self.threads()
        self.write_tracking()
        self.same_graph()
        self.numa()
        self.matrix()
        self.liar()
        self.five_levels()
        self.faults()
        self.small_cpus()
        self.bad_input()
        self.gctrace()


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--only", default="", help="only boots whose name has this word")
    parser.add_argument("--trace", required=True)
    parser.add_argument("--soak", type=int, default=2, help="seconds that all CPUs work at once")
    parser.add_argument("--embed", help="the kernel of tests/embed")
    parser.add_argument("--recorded", help="a trace that was made just now")
    parser.add_argument("--hang", type=int, default=HANG_SECONDS, help="a boot that takes longer hangs")
    parser.add_argument("image", metavar="ARCH=IMAGE")
    args = parser.parse_args()
    Boot.hang_seconds = args.hang
    tap = Tap()
    arch, image = args.image.split("=", 1)
    Suite(tap, arch, image, args.trace, args.only, args.soak).run()
    if args.recorded:
        Suite(tap, arch, image, args.recorded, args.only).recorded()
    if args.embed:
        Suite(tap, arch, args.embed, args.trace, args.only).embedded()
    if not tap.count:
        print(f"no boot has the word {args.only!r}; there are:\n  " + "\n  ".join(tap.others))
    print(f"1..{tap.count}")
    return 1 if tap.failed or not tap.count else 0


if __name__ == "__main__":
    sys.exit(main())
