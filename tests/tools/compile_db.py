#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""compile_commands.json on stdout, from what make would run for the libraries and images.

Usage: compile_db.py MAKE
"""
import json
import os
import shlex
import subprocess
import sys


def main():
    out = subprocess.run([sys.argv[1], "-B", "-n", "V=1", "lib", "images"], check=True, stdout=subprocess.PIPE,
                         text=True).stdout
    rows, seen = [], set()
    for line in out.splitlines():
        words = shlex.split(line) if " -c " in line and " -o " in line else []
        if not words or not words[words.index("-c") + 1].endswith(".c"):
            continue
        source = words[words.index("-c") + 1]
        if source not in seen:
            seen.add(source)
            known = [w for w in words if not w.startswith("-fcallgraph-info")]  # gcc's alone
            rows.append({"directory": os.getcwd(), "file": source, "arguments": known})
    json.dump(rows, sys.stdout, indent=1)
    return 0


if __name__ == "__main__":
    sys.exit(main())
