#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Run TAP-printing commands and sum them up.

Usage: taprun.py [--jobs N] [--timeout S] COMMAND...   each COMMAND is one shell word list

Passing output is hidden, failing output shown in full. A command that crashes, times out, or
prints fewer results than its plan counts as one failure more. The last line is the sum:
`N passed, N failed`. With TAP_SUMS naming a file, the two numbers are appended to it as well.
"""
import argparse
import concurrent.futures
import os
import re
import shlex
import subprocess
import sys
import time

RESULT = re.compile(r"^\s*(not ok|ok)\b(?P<rest>.*)$")
PLAN = re.compile(r"^\s*1\.\.(\d+)")


def run(command, timeout):
    start = time.monotonic()
    env = dict(os.environ, CMOCKA_MESSAGE_OUTPUT="TAP")
    try:
        proc = subprocess.run(shlex.split(command), stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                              timeout=timeout, env=env, stdin=subprocess.DEVNULL, check=False)
        text, status = proc.stdout.decode(errors="replace"), proc.returncode
    except subprocess.TimeoutExpired as e:
        text, status = (e.stdout or b"").decode(errors="replace") + "\n# timed out\n", -1
    passed = failed = planned = 0
    for line in text.replace("\r", "").splitlines():
        if m := RESULT.match(line):
            if m.group(1) == "ok":
                passed += 1
            else:
                failed += 1
        elif m := PLAN.match(line):
            planned += int(m.group(1))
    if planned > passed + failed or (status != 0 and failed == 0) or passed + failed == 0:
        failed += 1
    return command, passed, failed, status, text, time.monotonic() - start


def main():
    parser = argparse.ArgumentParser(description="run TAP-printing commands and sum them up")
    parser.add_argument("--jobs", type=int, default=os.cpu_count())
    parser.add_argument("--timeout", type=float, default=600, help="seconds; only detects hangs")
    parser.add_argument("command", nargs="*")
    args = parser.parse_args()

    total_passed = total_failed = 0
    with concurrent.futures.ThreadPoolExecutor(args.jobs) as pool:
        jobs = [pool.submit(run, c, args.timeout) for c in args.command]
        for job in concurrent.futures.as_completed(jobs):
            command, passed, failed, status, text, seconds = job.result()
            total_passed += passed
            total_failed += failed
            verdict = "ok  " if failed == 0 else "FAIL"
            print(f"{verdict} {passed:4d} passed {failed:3d} failed {seconds:6.1f}s  {command}", flush=True)
            if failed:
                print(f"---- output (status {status}) ----\n{text}\n---- end ----", flush=True)
    if sums := os.environ.get("TAP_SUMS"):
        with open(sums, "a", encoding="ascii") as f:
            f.write(f"{total_passed} {total_failed}\n")
    print(f"{total_passed} passed, {total_failed} failed")
    return 1 if total_failed or not total_passed else 0


if __name__ == "__main__":
    sys.exit(main())
