#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Compare loam's view of the page tables with the emulator's, while the self-tests run.

The guest (tests/kernel/selftest_oracle.c, `oracle=1`) tells after each test what its own walker
finds, and waits. Meanwhile the emulator's monitor is asked, and everything must agree:

  walk     the tables read raw from guest-physical memory (pmemsave), decoded here from the
           architecture manuals, with nothing of loam's: every leaf, its address, size, rights,
           memory type, accessed and dirty bits; how many tables there are
  root     x86_64: CR3 and the number of levels of each CPU (info registers)
  tlb      x86_64: every leaf as the emulator's own walk lists it (info tlb)
  mem      x86_64: what may be written, all levels taken together (info mem); with four levels, as
           QEMU 7.2 thinks for eight seconds about five, and then says nothing
  gva2gpa  the emulator's translation of the first and last page of every run of leaves, the pages
           beside them, and addresses that must lead nowhere; on every CPU

The monitor of QEMU 7.2 has neither `info tlb` nor `info mem` for Arm; there the first and the last
do the work. Asking gva2gpa takes a millisecond, so an address is asked once its answer should have
changed, and of many such at once every n-th.
"""
import bisect
import json
import os
import re
import socket
import subprocess
import tempfile
import threading
import time

import qemu_run

LOOK = re.compile(r"^oracle: look (\d+) levels (\d+) bits (\d+) root (0x[0-9a-f]+): (.*)$")
RUN = re.compile(r"^oracle: ([0-9a-f]{16}) (\d+) ([0-9a-f]+) (\d) (r\S{5}) (\S+)$")
END = re.compile(r"^oracle: end (\d+) tables (\d+)$")
TLB = re.compile(r"^([0-9a-f]{16}): ([0-9a-f]{16}) ([XGPDACTUW-]{9})\s*$", re.M)
ASK_AT_ONCE = 100  # addresses of one look
ENTRIES = 512
PAGE = 4096
TOP = 1 << 64
MEMORY = ("wb", "wc", "uc", "dev")
# What a lying guest says wrongly at look 1, 2, ..., and who must notice.
LIES = {
    "x86_64": [{"walk", "tlb", "gva2gpa"}, {"walk", "tlb", "mem"}, {"walk", "tlb"}, {"walk", "tlb", "mem", "gva2gpa"},
               {"walk", "tlb", "mem", "gva2gpa"}, {"walk", "tlb"}, {"walk", "tlb"}, {"walk"}],
    "aarch64": [{"walk", "gva2gpa"}, {"walk"}, {"walk"}, {"walk", "gva2gpa"}, {"walk", "gva2gpa"}, {"walk"}, {"walk"},
                {"walk"}],
}
# Leads nowhere whatever the mode: the null page, the rest of the low half, the ends of both halves.
NOWHERE = (0, PAGE, 0x200000, 0x40000000, 0x40200000, (1 << 47) - PAGE, 0xffff_ff00_0000_0000, TOP - PAGE)


def size_of(level):
    return PAGE << (9 * level)


class Qmp:
    """The emulator's monitor."""

    def __init__(self, path, seconds=20):
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.settimeout(60)
        until = time.monotonic() + seconds
        while True:
            try:
                self.sock.connect(path)
                break
            except OSError:
                if time.monotonic() > until:
                    raise
                time.sleep(0.02)
        self.file = self.sock.makefile("rb")
        self.file.readline()
        self.command("qmp_capabilities")

    def command(self, name, **arguments):
        self.sock.sendall(json.dumps({"execute": name, "arguments": arguments}).encode() + b"\n")
        while True:
            answer = json.loads(self.file.readline())
            if "error" in answer:
                raise OSError(f"{name}: {answer['error']['desc']}")
            if "return" in answer:
                return answer["return"]

    def human(self, line, cpu=0):
        return self.command("human-monitor-command", **{"command-line": line, "cpu-index": cpu})

    def close(self):
        self.file.close()
        self.sock.close()


class Look:
    """What the guest said."""

    def __init__(self, header):
        self.number, self.levels, self.bits = (int(header.group(i)) for i in (1, 2, 3))
        self.root, self.what = int(header.group(4), 16), header.group(5)
        self.runs = []  # (va, end, pa, level)
        self.leaves = {}  # va: (pa, level, flags, memory)
        self.count = self.tables = 0
        self.why = ""

    def add(self, m):
        va, count, pa, level = int(m.group(1), 16), int(m.group(2)), int(m.group(3), 16), int(m.group(4))
        size = size_of(level)
        self.runs.append((va, va + count * size, pa, level))
        for i in range(count):
            self.leaves[va + i * size] = (pa + i * size, level, m.group(5), m.group(6))

    def translate(self, va):
        """Where the page at `va` is, or None."""
        i = bisect.bisect_right(self.runs, (va, TOP + 1)) - 1
        if i < 0 or va >= self.runs[i][1]:
            return None
        return self.runs[i][2] + (va - self.runs[i][0])


def first_difference(loam, other, show):
    """The lowest key at which two dictionaries differ, in words; or None."""
    if loam == other:
        return None
    va = min(k for k in loam.keys() | other.keys() if loam.get(k) != other.get(k))
    return f"at {va:#x} loam says {show(loam.get(va))}, the emulator {show(other.get(va))}"


def show_leaf(leaf):
    return "nothing" if leaf is None else " ".join(f"{x:#x}" if i == 0 else str(x) for i, x in enumerate(leaf))


# ---- entries, from the manuals; nothing here knows loam ----


def writing(own, above):
    """May it be written: w; not as long as an entry above it forbids it: c; not at all: -"""
    return "-" if not own else "w" if above else "c"


class X86:
    """Intel SDM volume 3A, "4-Level Paging and 5-Level Paging"."""

    ADDRESS = 0x000f_ffff_ffff_f000

    def __init__(self, look):
        self.first_va, self.root_entries, self.bits = 0, ENTRIES, look.bits

    def canonical(self, va):
        return va | (TOP - (1 << self.bits)) if va >> (self.bits - 1) & 1 else va

    def decode(self, pte, level, above):
        """(kind, address, rights granted by this entry and those above it, flags, memory type)"""
        if not pte & 1:
            return "none", 0, above, "", ""
        write, user, execute = above
        own = bool(pte & 2)
        rights = (write and own, user and bool(pte & 4), execute and not pte >> 63)
        if level > 0 and not pte & 0x80:
            return "table", pte & self.ADDRESS, rights, "", ""
        index = pte >> 3 & 3 | (pte >> (12 if level > 0 else 7) & 1) << 2
        flags = "r" + writing(own, write) + ("x" if rights[2] else "-") + ("u" if rights[1] else "-")
        flags += ("a" if pte & 0x20 else "-") + ("d" if pte & 0x40 and own else "-")
        return "leaf", pte & self.ADDRESS & -size_of(level), rights, flags, MEMORY[index & 3]


class Arm:
    """Arm ARM (DDI 0487), "VMSAv8-64 translation table format descriptors", stage 1, EL1, TTBR1."""

    def __init__(self, look):
        self.first_va, self.lpa2 = TOP - (1 << look.bits), look.bits == 52
        top = 12 + 9 * (look.levels - 1)
        self.root_entries = 1 << (look.bits - top)

    def canonical(self, va):
        return va

    def address(self, pte):
        if self.lpa2:
            return pte & 0x0003_ffff_ffff_f000 | (pte >> 8 & 3) << 50
        return pte & 0x0000_ffff_ffff_f000

    def decode(self, pte, level, above):
        if not pte & 1 or (level == 0 and not pte & 2):
            return "none", 0, above, "", ""
        write, user, execute = above
        if level > 0 and pte & 2:
            # hierarchical: APTable 62:61, PXNTable 59
            rights = (write and not pte >> 62 & 1, user and not pte >> 61 & 1, execute and not pte >> 59 & 1)
            return "table", self.address(pte), rights, "", ""
        user = user and bool(pte >> 6 & 1)
        # read-only with DBM is writable and not dirty yet
        dirty = not pte >> 7 & 1
        own = dirty or bool(pte >> 51 & 1)
        execute = execute and not pte >> (54 if user else 53) & 1
        flags = "r" + writing(own, write) + ("x" if execute else "-") + ("u" if user else "-")
        flags += ("a" if pte >> 10 & 1 else "-") + ("d" if dirty else "-")
        return "leaf", self.address(pte) & -size_of(level), (write and own, user, execute), flags, MEMORY[pte >> 2 & 3]


class Oracle:
    """One boot with looks; `results` has (look, {who: difference or None})."""

    def __init__(self, arch, argv, cpus, hang_seconds):
        self.arch, self.cpus = arch, cpus
        self.decoded = {}  # (address, level, first virtual address, rights above): bytes, what they say
        self.results, self.asked, self.text, self.status = [], {}, "", "hung"
        with tempfile.TemporaryDirectory(prefix="loam-oracle") as self.folder:
            monitor = os.path.join(self.folder, "qmp")
            argv = argv + ["-qmp", f"unix:{monitor},server=on,wait=off"]
            with subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.STDOUT) as self.guest:
                watchdog = threading.Timer(hang_seconds, self.guest.kill)
                watchdog.start()
                try:
                    self.qmp = Qmp(monitor)
                    self.listen()
                    self.qmp.close()
                except OSError as e:
                    self.text += f"\n# the monitor: {e}\n"
                    self.guest.kill()
                finally:
                    watchdog.cancel()
                self.text += self.guest.communicate()[0].decode(errors="replace")
            self.status = qemu_run.status(arch, self.guest.returncode)

    def listen(self):
        look = None
        for line in self.guest.stdout:
            line = line.decode(errors="replace").replace("\r", "").rstrip("\n")
            if m := LOOK.match(line):
                look = Look(m)
            elif m := RUN.match(line):
                look.add(m)
            elif m := END.match(line):
                look.count, look.tables = int(m.group(1)), int(m.group(2))
                self.results.append((look, self.compare(look)))
                self.guest.stdin.write(b"\n")
                self.guest.stdin.flush()
            else:
                self.text += line + "\n"

    def compare(self, look):
        self.qmp.command("stop")  # a guest that polls its serial line is in the monitor's way
        found = {"walk": self.walk(look), "gva2gpa": self.ask(look)}
        if self.arch == "x86_64":
            found.update(root=self.root(look), tlb=self.tlb(look))
            if look.levels == 4:
                found["mem"] = self.mem(look)
        self.qmp.command("cont")
        return found

    # ---- walk ----

    def table(self, pa):
        name = os.path.join(self.folder, "table")
        self.qmp.command("pmemsave", val=pa, size=PAGE, filename=name)
        with open(name, "rb") as f:
            return f.read()

    @staticmethod
    def decode(isa, data, level, base, above, entries):
        """What one table says: its leaves, and the tables below it."""
        leaves, below = {}, []
        for i, pte in enumerate(memoryview(data).cast("Q")[:entries]):
            if pte == 0:
                continue
            va = isa.canonical(base + i * size_of(level))
            kind, address, rights, flags, memory = isa.decode(pte, level, above)
            if kind == "table":
                below.append((address, level - 1, va, rights))
            elif kind == "leaf":
                leaves[va] = (address, level, flags, memory)
        return leaves, below

    def walk(self, look):
        isa = X86(look) if self.arch == "x86_64" else Arm(look)
        leaves, tables = {}, 0
        pending = [(look.root, look.levels - 1, isa.first_va, (True, True, True))]
        while pending:
            at = pending.pop()
            tables += 1
            data = self.table(at[0])
            # most tables are what they were: the bytes are read each time, and decoded once
            if self.decoded.get(at, (None,))[0] != data:
                self.decoded[at] = data, self.decode(isa, data, *at[1:], isa.root_entries if tables == 1 else ENTRIES)
            here, below = self.decoded[at][1]
            leaves.update(here)
            pending += below
        why = first_difference(look.leaves, leaves, show_leaf)
        if why is None and tables - 1 != look.tables:
            why = f"loam counts {look.tables} tables, and there are {tables - 1}"
        return why

    # ---- the emulator's own walks ----

    def root(self, look):
        for cpu in range(self.cpus):
            text = self.qmp.human("info registers", cpu)
            root, cr4 = (int(re.search(rf"\b{name}=([0-9a-f]+)", text).group(1), 16) for name in ("CR3", "CR4"))
            levels = 5 if cr4 >> 12 & 1 else 4
            if (root & X86.ADDRESS, levels) != (look.root, look.levels):
                return f"CPU {cpu} has {levels} levels from {root:#x}, loam {look.levels} from {look.root:#x}"
        return None

    def tlb(self, look):
        """Flags of a line: no-execute, global, large, dirty, accessed, PCD, PWT, user, write."""
        leaves, known = {}, {}
        for va, pa, letters in TLB.findall(self.qmp.human("info tlb")):
            if letters not in known:
                no_exec, _, large, dirty, accessed, pcd, pwt, user, write = (c != "-" for c in letters)
                flags = "r" + ("w" if write else "-") + ("-" if no_exec else "x") + ("u" if user else "-")
                flags += ("a" if accessed else "-") + ("d" if dirty and write else "-")
                known[letters] = large, flags, MEMORY[2 * pcd + pwt]
            leaves[int(va, 16)] = (int(pa, 16), *known[letters])
        # a line of info tlb is about the leaf alone
        mine = {va: (pa, level > 0, flags.replace("c", "w"), memory) for va, (pa, level, flags, memory) in look.leaves.items()}
        return first_difference(mine, leaves, show_leaf)

    def mem(self, look):
        spans = {}
        for m in re.finditer(r"^([0-9a-f]{16})-([0-9a-f]{16}) [0-9a-f]{16} (\S{3})\s*$", self.qmp.human("info mem"), re.M):
            spans[int(m.group(1), 16)] = (int(m.group(2), 16) % TOP, m.group(3))
        mine, start, end, rights = {}, None, None, None
        for va, (_, level, flags, _) in sorted(look.leaves.items()):
            now = ("u" if flags[3] == "u" else "-") + "r" + flags[1].replace("c", "-")
            if va != end or now != rights:
                start, rights = va, now
            end = va + size_of(level)
            mine[start] = (end % TOP, rights)
        return first_difference(mine, spans, show_leaf)

    # ---- gva2gpa ----

    def ask_one(self, va, cpu):
        m = re.search(r"gpa: (0x[0-9a-f]+|0)\b", self.qmp.human(f"gva2gpa {va:#x}", cpu))
        return int(m.group(1), 16) if m else None

    def ask(self, look):
        addresses = set(NOWHERE) | self.asked.keys()
        for va, end, _, _ in look.runs:
            addresses |= {va, end - PAGE, (va - PAGE) % TOP, end % TOP}
        changed = [va for va in sorted(addresses) if self.asked.get(va, -1) != look.translate(va)]
        for n, va in enumerate(changed[::len(changed) // ASK_AT_ONCE + 1]):
            want = self.asked[va] = look.translate(va)
            # one CPU for each but the first: they have the same tables, and reach them in the same way
            for cpu in [n % self.cpus] if n > 0 else range(self.cpus):
                got = self.ask_one(va, cpu)
                if got != want:
                    self.asked[va] = -1  # again next time
                    return (f"at {va:#x} loam says {'nothing' if want is None else hex(want)}, "
                            f"the emulator's CPU {cpu} {'nothing' if got is None else hex(got)}")
        return None
