#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Code and data of archives, by the folder their members come from.

Usage: size.py NAME=ARCHIVE...
"""
import pathlib
import subprocess
import sys

ROOT = pathlib.Path(__file__).resolve().parents[2]


def folder_of(member):
    """arch, mm or gc: where a source of that name is."""
    for folder in ("mm", "gc", "arch"):
        if list((ROOT / folder).rglob(member.removesuffix(".o") + ".[cS]")):
            return folder
    return "?"


def main():
    print(f"{'':10} {'folder':8} {'text':>9} {'data':>9} {'bss':>9}   bytes")
    for pair in sys.argv[1:]:
        name, archive = pair.split("=", 1)
        out = subprocess.run(["size", archive], check=True, stdout=subprocess.PIPE, text=True).stdout
        sums = {}
        for line in out.splitlines()[1:]:
            text, data, bss, _, _, member = line.split(None, 5)
            row = sums.setdefault(folder_of(member.split()[0]), [0, 0, 0])
            for i, value in enumerate((text, data, bss)):
                row[i] += int(value)
        sums["all"] = [sum(r[i] for r in sums.values()) for i in range(3)]
        for folder in ("arch", "mm", "gc", "all"):
            print(f"{name:10} {folder:8} " + " ".join(f"{v:9}" for v in sums.get(folder, [0, 0, 0])))
    return 0


if __name__ == "__main__":
    sys.exit(main())
