#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Operations on address space: loam beside Linux, each in its own boot of the same emulator.

Usage: vm.py --out DIR [--runs N] [--csv FILE] ARCH=IMAGE...

Linux is Debian's cloud kernel with tests/bench/linux_init.c as init; its package is fetched once to
DIR. Median of N boots each; the ratio is loam's figure as a share of Linux's.

Twice, with different CPU options. `max` is all that the emulator has. But some of that is slow only in
an emulator, and only Linux uses it: it clears pages with `rep stosb` where it finds ERMS (x86_64), and it
signs return addresses (aarch64), which costs microseconds in software. `level` goes without.
"""
import argparse
import itertools
import pathlib
import re
import statistics
import subprocess
import sys

HERE = pathlib.Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent / "tools"))
import qemu_run  # noqa: E402  (the path above comes first)

DEBIAN = {"x86_64": "amd64", "aarch64": "arm64"}
COMPILER = {"x86_64": ["x86_64-linux-gnu-gcc", "gcc"], "aarch64": ["aarch64-linux-gnu-gcc"]}
CPUS = {"max": {"x86_64": "max", "aarch64": "max"}, "level": {"x86_64": "max,erms=off", "aarch64": "max,pauth=off"}}
LINE = re.compile(r"^bench (\S+) ([\d.]+) ns/page", re.M)
COUNT = re.compile(r"^bench (\S+) (\d+) invalidations", re.M)
# Times that the other CPUs may be made to forget something, for 8 MiB at once.
MAY = {"remote-by-upgrade": 0, "remote-by-unmap": 1, "remote-by-epoch": 0}
CPUS_COUNTED = 4
# What we aim at, as a share of Linux in the same run.
AIM = {("demand-fault", "x86_64"): 1 / 8, ("demand-fault", "aarch64"): 1 / 8, ("populate", "x86_64"): 1 / 8,
       ("populate", "aarch64"): 1 / 8, ("huge-fault", "x86_64"): 1 / 8, ("huge-fault", "aarch64"): 1 / 3,
       ("unmap", "x86_64"): 1 / 5, ("unmap", "aarch64"): 1 / 5, ("give-back", "x86_64"): 1 / 5,
       ("give-back", "aarch64"): 1 / 5, ("protect", "x86_64"): 1 / 2, ("protect", "aarch64"): 1 / 2}


def run(argv, **kw):
    out = subprocess.run(argv, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False, **kw)
    if out.returncode:
        sys.exit(f"{' '.join(map(str, argv))} failed:\n{out.stdout[-2000:]}")
    return out.stdout


def fetch_kernel(arch, out):
    """Debian's cloud kernel of that architecture, without touching this machine's package state."""
    folder = out / f"linux-{arch}"
    found = sorted(folder.glob("boot/vmlinuz-*"))
    if found:
        return found[-1]
    apt = out / f"apt-{arch}"
    (apt / "lists/partial").mkdir(parents=True, exist_ok=True)
    (apt / "cache/archives/partial").mkdir(parents=True, exist_ok=True)
    deb = DEBIAN[arch]
    options = ["-o", f"APT::Architecture={deb}", "-o", f"APT::Architectures={deb}", "-o", f"Dir::State::Lists={apt}/lists",
               "-o", f"Dir::Cache={apt}/cache", "-o", "APT::Sandbox::User=root"]
    run(["apt-get", *options, "update"])
    depends = run(["apt-cache", *options, "depends", f"linux-image-cloud-{deb}"])
    m = re.search(r"Depends: (linux-image-[\w.+-]+)", depends)
    if not m:
        sys.exit(f"no cloud kernel for {deb} in this machine's package lists")
    run(["apt-get", *options, "download", m.group(1)], cwd=apt)
    run(["dpkg-deb", "-x", str(next(apt.glob("linux-image-*.deb"))), str(folder)])
    return sorted(folder.glob("boot/vmlinuz-*"))[-1]


def cpio(files):
    """A newc archive."""
    out = bytearray()

    def add(name, mode, data=b""):
        nonlocal out
        head = "070701" + "".join(f"{v:08x}" for v in (len(out) + 1, mode, 0, 0, 1, 0, len(data), 0, 0, 0, 0,
                                                        len(name) + 1, 0))
        out += head.encode() + name.encode() + b"\0"
        out += b"\0" * (-len(out) % 4) + data
        out += b"\0" * (-len(out) % 4)

    for name in ("proc", "sys", "dev"):
        add(name, 0o040755)
    add("dev/console", 0o020600)
    for name, data in files.items():
        add(name, 0o100755, data)
    add("TRAILER!!!", 0)
    return bytes(out)


def linux(arch, out):
    """What to boot, and its release."""
    kernel = fetch_kernel(arch, out)
    init = out / f"init-{arch}"
    for compiler in COMPILER[arch]:
        if subprocess.run(["which", compiler], stdout=subprocess.DEVNULL, check=False).returncode == 0:
            run([compiler, "-O2", "-static", "-std=gnu11", "-Wall", "-Wextra", "-Werror", str(HERE / "linux_init.c"), "-o", str(init)])
            break
    else:
        sys.exit(f"no compiler for {arch}: make deps")
    initrd = out / f"initrd-{arch}"
    initrd.write_bytes(cpio({"init": init.read_bytes()}))
    append = "quiet panic=-1 console=" + ("ttyS0" if arch == "x86_64" else "ttyAMA0")
    return (str(kernel), append, str(initrd)), kernel.name.removeprefix("vmlinuz-")


def boot(argv):
    out = subprocess.run(argv, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, check=False, timeout=600)
    return out.stdout.decode(errors="replace").replace("\r", "")


def verdict(ok):
    return "met" if ok else "NOT MET"


def remote(arch, image, csv):
    """Remote invalidations, counted with several CPUs."""
    text = boot(qemu_run.command(arch, image, "1G", "job=vm selftest=0", None, "max", CPUS_COUNTED))
    counts = dict(COUNT.findall(text))
    if set(counts) != set(MAY):
        sys.exit("no counts in:\n" + text[-3000:])
    for name, count in counts.items():
        print(f"{arch:8} {CPUS_COUNTED} CPUs {name:18} {count:>3}, at most {MAY[name]}  {verdict(int(count) <= MAY[name])}", flush=True)
        csv.append(f"vm,{arch}-{name},loam,1,{CPUS_COUNTED},remote invalidations,{count},count")


def measure(argv, runs):
    rows = {}
    for _ in range(runs):
        text = boot(argv)
        found = LINE.findall(text)
        if not found:
            sys.exit("no figures in:\n" + text[-3000:])
        if "huge pages in the huge-fault round: 0 KiB" in text:
            sys.exit("Linux used no huge pages in the huge-fault round")
        for name, value in found:
            rows.setdefault(name, []).append(float(value))
    return {name: statistics.median(v) for name, v in rows.items()}


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", required=True)
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--csv")
    parser.add_argument("images", nargs="+", metavar="ARCH=IMAGE")
    args = parser.parse_args()
    out = pathlib.Path(args.out).resolve()
    out.mkdir(parents=True, exist_ok=True)
    csv = []
    print(f"{'machine':8} {'CPU':5} {'workload':13} {'loam':>8} {'linux':>8}  share  aim   (ns per 4 KiB)")
    for pair, (label, cpus) in itertools.product(args.images, CPUS.items()):
        arch, image = pair.split("=", 1)
        (kernel, append, initrd), release = linux(arch, out)
        theirs = measure(qemu_run.command(arch, kernel, "1G", append, initrd, cpus[arch]), args.runs)
        ours = measure(qemu_run.command(arch, image, "1G", "job=vm selftest=0", None, cpus[arch]), args.runs)
        for name, value in ours.items():
            peer, aim = theirs.get(name), AIM.get((name, arch))
            share = f"{value / peer:6.3f}" if peer else "     -"
            print(f"{arch:8} {label:5} {name:13} {value:8.0f} {f'{peer:.0f}' if peer else '-':>8}  {share}"
                  f"  {f'{aim:5.3f}  {verdict(value / peer <= aim)}' if aim and peer else '    -'}", flush=True)
            csv.append(f"vm,{arch}-{label}-{name},loam,1,1,cost,{value:.0f},ns/page")
            if peer:
                csv.append(f"vm,{arch}-{label}-{name},linux,{release},1,cost,{peer:.0f},ns/page")
        ratio = ours["batch-map"] / max(ours["write-entry"], 1)
        print(f"{arch:8} {label:5} batch-map is {ratio:.1f} times the bare cost of an entry, at most 3  {verdict(ratio <= 3)}")
    for pair in args.images:
        remote(*pair.split("=", 1), csv)
    if args.csv:
        path = pathlib.Path(args.csv)
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("a", encoding="ascii") as f:
            if f.tell() == 0:
                f.write("bench,workload,subject,version,threads,metric,value,unit\n")
            f.write("".join(r + "\n" for r in csv))
    return 0


if __name__ == "__main__":
    sys.exit(main())
