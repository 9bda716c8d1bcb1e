#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Boot an image in QEMU with its serial line on stdout; exit with the machine's own status.

The machine says its status through isa-debug-exit (x86_64) or semihosting (aarch64).
"""
import argparse
import subprocess
import sys

LEAST_MIB = 6  # below, the image or its tables find no room, before there is a console


def mebibytes(size):
    """QEMU's sizes: 64, 64M, 1G."""
    return int(size.rstrip("KMGkmg")) * {"K": 1 / 1024, "G": 1024}.get(size[-1].upper(), 1)


def command(arch, image, mem, append="", initrd=None, cpu="max", smp=1, extra=()):
    """The QEMU command line for one boot."""
    if arch == "x86_64":
        argv = ["qemu-system-x86_64", "-M", "q35", "-device", "isa-debug-exit,iobase=0xf4,iosize=4"]
    else:
        argv = ["qemu-system-aarch64", "-M", "virt", "-semihosting-config", "enable=on,target=native"]
    argv += ["-cpu", cpu, "-m", mem, "-smp", str(smp), "-display", "none", "-serial", "stdio", "-monitor", "none",
             "-no-reboot", "-net", "none", "-kernel", image]
    if append:
        argv += ["-append", append]
    if initrd:
        argv += ["-initrd", initrd]
    return argv + list(extra)


def status(arch, code):
    """The machine's status from QEMU's exit code; isa-debug-exit makes it ((status + 16) << 1) | 1."""
    if arch == "x86_64":
        return (code >> 1) - 16 if code & 1 and code > 32 else 125
    return code


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--arch", choices=["x86_64", "aarch64"], required=True)
    parser.add_argument("--mem", default="256M")
    parser.add_argument("--append", default="", help="kernel command line")
    parser.add_argument("--initrd", help="boot module")
    parser.add_argument("--cpu", default="max")
    parser.add_argument("--smp", type=int, default=1, help="CPUs")
    parser.add_argument("--gdb", metavar="ELF", help="halt, and attach gdb with this file's symbols")
    parser.add_argument("image")
    args = parser.parse_args()
    if mebibytes(args.mem) < LEAST_MIB:
        parser.error(f"MEM={args.mem} is too little: the image needs {LEAST_MIB}M, its self-tests 16M")
    argv = command(args.arch, args.image, args.mem, args.append, args.initrd, args.cpu, args.smp)
    if args.gdb:
        with subprocess.Popen(argv + ["-s", "-S"], stdin=subprocess.DEVNULL, start_new_session=True) as qemu:
            subprocess.run(["gdb-multiarch", args.gdb, "-ex", "target remote :1234"], check=False)
            qemu.kill()
        return 0
    return status(args.arch, subprocess.run(argv, stdin=subprocess.DEVNULL, check=False).returncode)


if __name__ == "__main__":
    sys.exit(main())
