#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Checks that no compiler makes. Prints TAP.

Usage: lint.py --x86_64 LIBLOAM --aarch64 LIBLOAM --sys-table PROGRAM      (archives built with FLAVOUR=debug)
"""
import argparse
import os
import pathlib
import re
import subprocess
import sys
import tempfile

ROOT = pathlib.Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "tests/tools"))
import faults_gc  # noqa: E402  (the path above comes first)
import faults_mm  # noqa: E402

PRODUCT = ("include", "arch", "mm", "gc", "boot")
LINES_MAX = 800

# What each folder may include, by prefix. arch/host is a port of the back end, so it sees mm's.
MAY_INCLUDE = {
    "include/loam": ["loam/"],
    "arch/host": ["loam/", "arch/", "isa/", "mm/space.h", "mm/sys.h", "mm/vspace.h"],
    "arch": ["loam/", "arch/", "isa/"],
    "mm": ["loam/", "arch/", "mm/"],
    "gc": ["loam/", "arch/check.h", "arch/cpu.h", "gc/", "mm/print.h"],
    "boot": ["loam/", "arch/", "mm/", "gc/", "boot/", "tests/kernel/selftest.h"],
}
FREESTANDING = {"stdarg.h", "stdbool.h", "stddef.h", "stdint.h", "limits.h"}
HOSTED = ("arch/host/",)
HOOKS = {"panic", "log", "cpu_id", "cpu_count", "ipi", "now_ns", "thread", "thread_set", "world_stop", "world_start",
         "thread_parked", "stacks"}
STACK_SPARE = 768  # of LOAM_STACK_ROOM: for hooks, and for compilers that take more
STACK_LAST = ("loam_host_panic", "loam_snprintf")  # who is called then does not come back
STACK_VISIT = 512  # a visitor that is called under a lock
MEM = {"memcpy", "memmove", "memset", "memcmp"}
FORBIDDEN = re.compile(r"\b(TOD[O]|FIXM[E]|XX[X]|HAC[K])\b")
OUTSIDE = re.compile(r"(?<![\w.])/(wor[k]|home|tmp)/|\.\./shared|\.librar[y]")


def sources():
    """Every file of the project; build products and other trees' files do not count."""
    out = []
    for folder, folders, files in os.walk(ROOT):
        here = pathlib.Path(folder).relative_to(ROOT)
        folders[:] = [d for d in folders if d not in (".git", "build", "__pycache__")]
        out += [(here / f).as_posix() for f in files]
    return sorted(out)


FILES = sources()
TEXT = {f: (ROOT / f).read_text(errors="replace") for f in FILES
        if f.endswith((".c", ".h", ".S", ".py", ".sh", ".md", ".mk", ".ld")) or f in ("Makefile", ".ci/run")}
CODE = {f: t for f, t in TEXT.items() if f.endswith((".c", ".h", ".S"))}
PRODUCT_CODE = {f: t for f, t in CODE.items() if f.split("/")[0] in PRODUCT}


def strip_comments(text):
    """And what stands in quotes."""
    return re.sub(r'/\*.*?\*/|//[^\n]*|"(?:\\.|[^"\\\n])*"', lambda m: "\n" * m.group(0).count("\n"), text,
                  flags=re.S)


def check_spdx():
    """every source begins with its licence"""
    for f, t in TEXT.items():
        head = "\n".join(t.split("\n")[:3])
        if f.endswith((".c", ".h", ".S", ".py", ".sh", ".ld")) and "SPDX-License-Identifier: MIT" not in head:
            yield f


def check_size():
    """no file is too long"""
    for f, t in TEXT.items():
        if t.count("\n") > LINES_MAX:
            yield f"{f}: {t.count(chr(10))} lines"


def check_words():
    """nothing is left for later, and nothing outside of the project is named"""
    for f, t in TEXT.items():
        if f == "tests/lint/lint.py":
            continue
        for n, line in enumerate(t.split("\n"), 1):
            if FORBIDDEN.search(line) or (OUTSIDE.search(line) and f.split("/")[0] in PRODUCT):
                yield f"{f}:{n}: {line.strip()}"


def check_includes():
    """dependencies point one way: arch <- mm <- gc <- boot"""
    for f, t in PRODUCT_CODE.items():
        folder = next(k for k in ("include/loam", "arch/host", "arch", "mm", "gc", "boot") if f.startswith(k + "/"))
        for m in re.finditer(r'^\s*#\s*include\s+([<"])([^>"]+)[>"]', t, re.M):
            quote, name = m.groups()
            if quote == "<" and not name.startswith("loam/"):
                if name not in FREESTANDING and not f.startswith(HOSTED):
                    yield f"{f}: <{name}> is not freestanding"
            elif not any(name == p or (p.endswith("/") and name.startswith(p)) for p in MAY_INCLUDE[folder]):
                yield f"{f}: {name} is above it"


def check_isa():
    """no #if on the ISA, and no float, outside of arch"""
    for f, t in PRODUCT_CODE.items():
        code = strip_comments(t)
        if not f.startswith("arch/") and re.search(r"#\s*(if|elif).*(__x86_64__|__aarch64__|__linux__)", code):
            yield f"{f}: #if on the machine"
        if not f.endswith(".S") and re.search(r"\b(float|double|__int128)\b", code):
            yield f"{f}: floating point or 128 bits"


def compiles(args, source):
    with tempfile.NamedTemporaryFile("w", suffix=args[1], delete=False) as tmp:
        tmp.write(source)
    try:
        out = subprocess.run([args[0], "-fsyntax-only", *args[2:], tmp.name], cwd=ROOT, check=False,
                             stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
        return out.stdout if out.returncode else ""
    finally:
        os.unlink(tmp.name)


def check_headers():
    """public headers compile alone, as freestanding C11 and as C++"""
    strict = ["-Wall", "-Wextra", "-Wpedantic", "-Werror", "-Iinclude"]
    for f in FILES:
        if not re.fullmatch(r"include/loam/\w+\.h", f):
            continue
        line = f"#include <loam/{f.split('/')[-1]}>\n"
        for args in (["gcc", ".c", "-std=c11", "-ffreestanding", "-nostdinc",
                      "-isystem", gcc_include()], ["g++", ".cc", "-std=c++17"]):
            if text := compiles(args[:2] + args[2:] + strict, line * 2):
                yield f"{f} with {args[0]}: {text}"
    isa = {"mm": "x86_64", "gc": "host", "boot": "x86_64", "arch": "aarch64"}
    for f in FILES:
        folder = f.split("/")[0]
        if not f.endswith(".h") or folder not in isa or "/isa/" in f or "/host/" in f:
            continue
        args = ["gcc", ".c", "-std=gnu11", "-Wall", "-Wextra", "-Werror", "-Wno-unused-parameter", "-Iinclude", "-I.",
                f"-Iarch/{isa[folder]}", "-D_GNU_SOURCE", "-ffreestanding" if isa[folder] != "host" else "-O1"]
        if isa[folder] == "aarch64":
            args[0] = "aarch64-linux-gnu-gcc" if os.uname().machine == "x86_64" else "gcc"
        if text := compiles(args, f'#include "{f}"\n'):
            yield f"{f}: {text}"


def gcc_include():
    return subprocess.run(["gcc", "-print-file-name=include"], check=True, stdout=subprocess.PIPE,
                          text=True).stdout.strip()


def tool(isa, name):
    prefix = "" if os.uname().machine == isa else {"x86_64": "x86_64-linux-gnu-", "aarch64": "aarch64-linux-gnu-"}[isa]
    return prefix + name


def check_symbols(archives):
    """the archive defines loam_* and mem*, needs only hooks, and has no constructors or thread-locals"""
    for isa, path in archives.items():
        nm = subprocess.run([tool(isa, "nm"), "-g", path], check=True, stdout=subprocess.PIPE, text=True).stdout
        defined, needed = set(), set()
        for line in nm.split("\n"):
            if m := re.match(r"[0-9a-f]* +([A-Za-z]) (\S+)$", line):
                (needed if m.group(1) == "U" else defined).add(m.group(2))
        for s in sorted(defined):
            if not s.startswith("loam_") and s not in MEM:
                yield f"{isa}: defines {s}"
        for s in sorted(needed - defined):
            if not (s.startswith("loam_host_") and s[len("loam_host_"):] in HOOKS):
                yield f"{isa}: needs {s}"
        sections = subprocess.run([tool(isa, "objdump"), "-h", path], check=True, stdout=subprocess.PIPE,
                                  text=True).stdout
        for bad in (".init_array", ".ctors", ".tdata", ".tbss", ".eh_frame"):
            if re.search(rf"\s{re.escape(bad)}\s", sections):
                yield f"{isa}: has a section {bad}"


def disassembly(isa, path):
    return subprocess.run([tool(isa, "objdump"), "-dr", "--no-show-raw-insn", path], check=True,
                          stdout=subprocess.PIPE, text=True).stdout


def check_registers(archives):
    """no floating-point or vector register, and no x18, is touched"""
    bad = {"x86_64": re.compile(r"%(xmm|ymm|zmm|mm|st)\d*\b"),
           "aarch64": re.compile(r"\t(?:.*[ ,{\[])?(?:[vqds]\d+(?:\.\w+)?|x18|w18)\b")}
    for isa, path in archives.items():
        for line in disassembly(isa, path).split("\n"):
            line = line.split("//")[0]
            # a branch names its target as <symbol>, and its number may look like a register
            if re.match(r"^ +[0-9a-f]+:\t", line) and "<" not in line and bad[isa].search(line):
                yield f"{isa}: {line.strip()}"


def check_recursion(archives):
    """no function calls itself, directly or in a circle"""
    path = archives["x86_64"]
    calls, here = {}, None
    for line in disassembly("x86_64", path).split("\n"):
        if m := re.match(r"^[0-9a-f]+ <([^>]+)>:", line):
            here = m.group(1)
            calls.setdefault(here, set())
        elif (m := re.search(r"R_X86_64_(?:PLT32|PC32)\s+(\S+?)-0x4$", line)) and here:
            calls[here].add(m.group(1).removeprefix(".text."))
        elif (m := re.search(r"\tcall\s+[0-9a-f]+ <([^>+]+)>", line)) and here:
            calls[here].add(m.group(1))
    done, path_now = set(), []

    def visit(f):
        if f in path_now:
            return path_now[path_now.index(f):] + [f]
        if f in done or f not in calls:
            return None
        path_now.append(f)
        for g in sorted(calls[f]):
            if g.startswith("loam_host_"):
                continue
            if cycle := visit(g):
                return cycle
        path_now.pop()
        done.add(f)
        return None

    for f in sorted(calls):
        if cycle := visit(f):
            yield " -> ".join(cycle)
            path_now.clear()
            done.update(cycle)


def check_stack(archives):
    """what a call takes of the stack under mm's locks leaves some of LOAM_STACK_ROOM"""
    room = int(re.search(r"#define LOAM_STACK_ROOM (\d+)", TEXT["include/loam/stack.h"]).group(1))
    for isa, lib in archives.items():
        own, calls, known = {}, {}, {"__indirect_call": (STACK_VISIT, "a visitor")}
        folder = pathlib.Path(lib).parent
        for file in sorted((folder / "mm").rglob("*.ci")) + sorted((folder / "arch").rglob("*.ci")):
            text = file.read_text()
            for m in re.finditer(r'^node: \{ title: "([^"]+)" label: "[^"]*\\n(\d+) bytes', text, re.M):
                own[m.group(1)] = int(m.group(2))
            for m in re.finditer(r'^edge: \{ sourcename: "([^"]+)" targetname: "([^"]+)"', text, re.M):
                calls.setdefault(m.group(1), set()).add(m.group(2))

        def deepest(f):  # there is no recursion: check_recursion
            if f not in known:
                below = max((deepest(g) for g in calls.get(f, ()) if g not in STACK_LAST), default=(0, ""))
                known[f] = (own.get(f, 0) + below[0], f"{f} {own.get(f, 0)}, {below[1]}")
            return known[f]

        if len(own) < 100:
            yield f"{isa}: {folder} tells of {len(own)} functions: compiled with gcc?"
        most, way = max((deepest(f) for f in own), default=(0, ""))
        if most > room - STACK_SPARE:
            yield f"{isa}: {most} of {room} bytes, {STACK_SPARE} are to be left: {way}"


def check_tags():
    """every invariant tag is cited by a test"""
    tag = re.compile(r"\[([A-Z]+-\d+)\]")
    cited = set()
    for f, t in TEXT.items():
        if f.startswith("tests/") and "/lint/" not in f:
            cited |= set(tag.findall(t))
            # "[X-1] to [X-4]" cites all of them
            for m in re.finditer(r"\[([A-Z]+)-(\d+)\] to \[\1-(\d+)\]", re.sub(r"\s+\*?\s*", " ", t)):
                cited |= {f"{m.group(1)}-{n}" for n in range(int(m.group(2)), int(m.group(3)) + 1)}
    for f, t in PRODUCT_CODE.items():
        for m in sorted(set(tag.findall(t)) - cited):
            yield f"{f}: [{m}]"


def check_sys_table(program):
    """mm/README.md shows the table that the test of bad input prints"""
    out = subprocess.run([program], check=False, env=dict(os.environ, SYS_TABLE="1"), cwd=ROOT, text=True,
                         stdout=subprocess.DEVNULL, stderr=subprocess.PIPE).stderr
    rows = [line for line in out.split("\n") if line.startswith("|")]
    text = TEXT["mm/README.md"]
    if len(rows) < 40:
        yield f"{program} printed {len(rows)} rows"
    for row in rows:
        if row not in text:
            yield f"not there: {row}"
    there = re.findall(r"^\| `(?:%s)` \|.*$" % "|".join({r.split("`")[1] for r in rows}), text, re.M)
    for row in sorted(set(there) - set(rows)):
        yield f"no test prints: {row}"


def check_documents():
    """paths, symbols and targets that documents name exist"""
    targets = set()
    for f in ("Makefile", "boot/build.mk", "tests/build.mk"):
        targets |= set(re.findall(r"^([a-z][a-z0-9-]*):", TEXT[f], re.M))
        for m in re.finditer(r"^\.PHONY: (.*)$", TEXT[f], re.M):
            targets |= set(m.group(1).split())
    known = set(re.findall(r"\b(?:loam|LOAM)_\w+", "\n".join(t for f, t in TEXT.items() if not f.endswith(".md"))))
    folders = {f.split("/")[0] for f in FILES if "/" in f}
    for f, t in TEXT.items():
        if not f.endswith(".md"):
            continue
        for m in re.finditer(r"`([^`\n]+)`", t):
            word = m.group(1)
            path = re.fullmatch(r"([\w.][\w./-]*/[\w./-]*)(?::\d+)?", word)
            if path and path.group(1).split("/")[0] in folders and not (ROOT / path.group(1)).exists():
                yield f"{f}: {word} does not exist"
            for s in re.findall(r"\b(?:loam|LOAM)_\w+", word):
                if s not in known and not word.endswith("*") and not any(k.startswith(s) and s.endswith("_") for k in known):
                    yield f"{f}: {s} is no symbol"
        for m in re.finditer(r"\bmake ((?:[A-Z_]+=\S+ )*)([a-z][a-z0-9-]*)", t):
            line = t[t.rfind("\n", 0, m.start()) + 1:m.end()]
            if m.group(2) not in targets and ("`" in line or line.startswith("make")):
                yield f"{f}: no target {m.group(2)}"
    for folder in sorted(PRODUCT[1:] + ("linker", "tests")):
        if f"{folder}/README.md" not in TEXT:
            yield f"{folder} has no README.md"


def check_faults():
    """every seeded fault has its one place in the code"""
    for name, f, old, *_ in faults_mm.FAULTS + faults_gc.FAULTS:
        if TEXT.get(f, "").count(old) != 1:
            yield f"{name}: {f} has the text {TEXT.get(f, '').count(old)} times"


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--x86_64", required=True)
    parser.add_argument("--aarch64", required=True)
    parser.add_argument("--sys-table", required=True, help="the test program that prints it")
    args = parser.parse_args()
    archives = {"x86_64": args.x86_64, "aarch64": args.aarch64}
    plain = [check_spdx, check_size, check_words, check_includes, check_isa, check_headers, check_tags, check_documents, check_faults]
    deep = [check_symbols, check_registers, check_recursion, check_stack]
    failed = 0
    checks = [(c, ()) for c in plain] + [(c, (archives,)) for c in deep] + [(check_sys_table, (args.sys_table,))]
    for n, (check, extra) in enumerate(checks, 1):
        found = list(check(*extra))
        failed += bool(found)
        print(f"{'not ok' if found else 'ok'} {n} - lint: {check.__doc__}")
        for text in found[:40]:
            print("#   " + text.replace("\n", "\n#   "))
    print(f"1..{len(checks)}")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
