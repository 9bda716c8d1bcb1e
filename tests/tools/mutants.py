#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Break the code, one seeded fault at a time, and see the tests fail. Prints TAP.

Usage: mutants.py [--only WORD] [--jobs N] [--part K/N]

Works on a copy of the tree. A fault that no test notices is `not ok`, and so is one whose place
in the code is gone: the lists must follow the code.

A fault: its name, the file, what stands there, what the fault makes of it, the tests that must notice, and on which configs; of
one that is a boot, the test is a word in the name of the boot.
"""
import argparse
import os
import pathlib
import shutil
import subprocess
import sys
import tempfile

import faults_gc
import faults_mm

ROOT = pathlib.Path(__file__).resolve().parents[2]


def run(tree, target, env):
    return subprocess.run(["make", "--no-print-directory", "TIMEOUT=60", *target], cwd=tree, env=env, check=False,
                          stdout=subprocess.PIPE, stderr=subprocess.STDOUT)


def attempt_boot(tree, arch, test, jobs, env):
    """The same, of the self-tests in the image."""
    image = f"build/{arch}-debug/loam.{'elf' if arch == 'x86_64' else 'img'}"
    built = run(tree, [f"-j{jobs}", image], env)
    if built.returncode != 0:
        return "does not compile:\n" + built.stdout.decode(errors="replace")[-2000:]
    booted = subprocess.run([sys.executable, "tests/tools/qemu_test.py", "--trace", "tests/tools/traces/perl.loamtrace", "--hang", "60",
                             "--only", test, f"{arch}={image}"], cwd=tree, env=env, check=False, stdout=subprocess.DEVNULL)
    return None if booted.returncode != 0 else f"boot-{arch}: no test noticed"


def attempt(tree, mutant, jobs, env):
    """None if the tests notice the fault, else what is wrong."""
    _, path, old, new, test, configs = mutant
    file = tree / path
    text = file.read_text()
    if text.count(old) != 1:
        return f"{path} has this text {text.count(old)} times:\n{old}"
    file.write_text(text.replace(old, new))
    try:
        for config in configs:
            if config.startswith("boot-"):
                if why := attempt_boot(tree, config.removeprefix("boot-"), test, jobs, env):
                    return why
                continue
            args = [f"-j{jobs}", "test-flavour", f"T={test}", f"CONFIGS={config}"]
            built = run(tree, [f"-j{jobs}", "test-build", f"T={test}", f"CONFIGS={config}"], env)
            if built.returncode != 0:
                return "does not compile:\n" + built.stdout.decode(errors="replace")[-2000:]
            if run(tree, args, env).returncode == 0:
                return f"{config}: no test noticed"
    finally:
        file.write_text(text)
    return None


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--only", default="")
    parser.add_argument("--jobs", type=int, default=os.cpu_count())
    parser.add_argument("--part", default="0/1", help="every Nth of them, from the Kth on")
    args = parser.parse_args()
    part, parts = map(int, args.part.split("/"))
    env = {k: v for k, v in os.environ.items() if k not in ("TAP_SUMS", "MAKEFLAGS", "MFLAGS", "MAKELEVEL")}
    failed = count = 0
    with tempfile.TemporaryDirectory() as tmp:
        tree = pathlib.Path(tmp) / "loam"
        shutil.copytree(ROOT, tree, ignore=shutil.ignore_patterns("build", ".git"))
        for number, mutant in enumerate(faults_mm.FAULTS + faults_gc.FAULTS):
            if args.only not in mutant[0] or number % parts != part % parts:
                continue
            why = attempt(tree, mutant, args.jobs, env)
            count += 1
            failed += why is not None
            print(f"{'ok' if why is None else 'not ok'} {count} - {mutant[0]}: noticed by {mutant[4]} on "
                  f"{', '.join(mutant[5])}", flush=True)
            for line in (why or "").splitlines():
                print(f"#   {line}", flush=True)
    print(f"1..{count}")
    return 1 if failed or not count else 0


if __name__ == "__main__":
    sys.exit(main())
