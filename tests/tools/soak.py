#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""The same program with a write barrier and without, on both machines: what is live must be the same. Prints TAP.

Usage: soak.py --seconds N [--seed N] ARCH=IMAGE...

Rounds of one boot each for every machine and barrier, all with one seed; the guest (boot/soak.c) says after each epoch what is
live. Those epochs that all had time for are compared.
"""
import argparse
import itertools
import re
import subprocess
import sys

import qemu_run

BARRIERS = ("mmu", "software")
CPUS = 4
ROUND_SECONDS = 120  # of one boot, at most
GRACE_SECONDS = 300  # to boot, and to end an epoch
EPOCH = re.compile(r"^soak epoch (\d+) every (\d+) ops \d+ checksum ([0-9a-f]{16}) nodes (\d+) cycles (\d+)$", re.M)


class Soak:
    """One boot: what it said of each epoch."""

    def __init__(self, arch, image, barrier, seconds, seed, cpu="max", cpus=CPUS):
        self.name = f"{arch}, {cpu}, barrier={barrier}"
        argv = qemu_run.command(arch, image, "256M", f"job=soak selftest=0 barrier={barrier} seconds={seconds} seed={seed}", None, cpu, cpus)
        try:
            out = subprocess.run(argv, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, check=False,
                                 timeout=seconds + GRACE_SECONDS)
            text, status = out.stdout, qemu_run.status(arch, out.returncode)
        except subprocess.TimeoutExpired as e:
            text, status = (e.stdout or b"") + b"\n# hung\n", "hung"
        self.text = text.decode(errors="replace").replace("\r", "")
        self.ok = status == 0 and f"{cpus} CPUs run" in self.text
        found = EPOCH.findall(self.text)
        self.live = {int(e): (int(every), checksum, int(nodes)) for e, every, checksum, nodes, _ in found}
        self.cycles = sum(int(m[4]) for m in found)


def differences(boots):
    """Epochs that not all boots tell alike, of those that all tell."""
    common = set.intersection(*(set(b.live) for b in boots))
    return common, [f"epoch {e}: " + "; ".join(f"{b.name}: {b.live[e][1]}, {b.live[e][2]} nodes" for b in boots)
                    for e in sorted(common) if len({b.live[e] for b in boots}) > 1]


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seconds", type=int, required=True, help="of guest time, in all")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("images", nargs="+", metavar="ARCH=IMAGE")
    args = parser.parse_args()
    kinds = list(itertools.product((pair.split("=", 1) for pair in args.images), BARRIERS))
    each = max(1, min(ROUND_SECONDS, args.seconds // len(kinds)))
    rounds = max(1, args.seconds // (each * len(kinds)))
    count = failed = 0

    def result(ok, name, why):
        nonlocal count, failed
        count += 1
        failed += not ok
        print(f"{'ok' if ok else 'not ok'} {count} - {name}")
        for line in () if ok else why.splitlines():
            print(f"#   {line}")
        sys.stdout.flush()

    for seed in range(args.seed, args.seed + rounds):
        boots = []
        for (arch, image), barrier in kinds:
            boots.append(Soak(arch, image, barrier, each, seed))
            result(boots[-1].ok, f"seed {seed}: {boots[-1].name}: {len(boots[-1].live)} epochs, {boots[-1].cycles} cycles", boots[-1].text)
        common, bad = differences(boots)
        result(common and not bad, f"seed {seed}: the same is live, {len(common)} epochs in {len(boots)} boots", "\n".join(bad) or "no epoch in common")
    print(f"1..{count}")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
