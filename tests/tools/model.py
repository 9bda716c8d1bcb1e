#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Check the Spin models, and that their broken twins fail. Prints TAP.

Usage: model.py FILE.pml...

Each `#ifdef BROKEN_x` in a model is a twin; with each `#ifdef MORE_x` it must hold as without.
"""
import concurrent.futures
import pathlib
import re
import subprocess
import sys
import tempfile
import time


def verify(path, define):
    """(errors, states, whole) of one exhaustive search."""
    with tempfile.TemporaryDirectory() as tmp:
        spin = ["spin", "-a"] + ([f"-D{define}"] if define else []) + [str(path)]
        subprocess.run(spin, cwd=tmp, check=True, stdout=subprocess.PIPE)
        subprocess.run(["gcc", "-O2", "-w", "-DSAFETY", "-DCOLLAPSE", "-o", "pan", "pan.c"], cwd=tmp, check=True)
        text = subprocess.run(["./pan", "-m1000000"], cwd=tmp, check=False, stdout=subprocess.PIPE, text=True, timeout=600).stdout
    errors = int(re.search(r"errors: (\d+)", text).group(1))
    states = int(float(re.search(r"([\d.e+]+) states, stored", text).group(1)))
    return errors, states, "max search depth too small" not in text and "out of memory" not in text


def attempt(job):
    """One search, timed; two of them run at a time."""
    start = time.monotonic()
    return (*verify(*job), time.monotonic() - start)


def main():
    jobs = []
    for name in sys.argv[1:]:
        path = pathlib.Path(name).resolve()
        text = path.read_text() if path.exists() else ""
        jobs += [(path, define) for define in [None] + sorted(set(re.findall(r"\b(?:BROKEN|MORE)_\w+", text)) - {"BROKEN_"})]
    count = failed = 0
    with concurrent.futures.ThreadPoolExecutor(2) as pool:
        for (path, define), (errors, states, whole, took) in zip(jobs, pool.map(attempt, jobs)):
            twin = define is not None and define.startswith("BROKEN_")
            ok = errors > 0 if twin else errors == 0 and whole
            count += 1
            failed += not ok
            what = f"{define} fails" if twin else f"holds with {define}" if define else "holds"
            print(f"{'ok' if ok else 'not ok'} {count} - {path.name}: {what} ({states} states, {errors} errors)", flush=True)
            print(f"# {took:.1f} s", flush=True)
    print(f"1..{count}")
    return 1 if failed or not count else 0


if __name__ == "__main__":
    sys.exit(main())
