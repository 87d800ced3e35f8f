#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""A guest that has broken out: each kind of thread of a running machine is made to call execve, open, socket and ptrace,
as code would that was planted in it. Every time the machine must die, and say which thread called what. So must the processes
beside it, and the server of `atoll disk serve`.

The program under test is the one that is shipped. The calls are planted from outside, with ptrace(2): registers are set, and
the instruction pointer to a syscall instruction of the C library.

usage: escape.py [KIND]...
"""

import ctypes
import os
import re
import signal
import subprocess
import sys
import tempfile
import time

import vmm
from vmm import Failed

from confine import children, needs_all, serving
import observe
from observe import atoll, want

KINDS = os.path.join(vmm.ROOT, "src", "sys", "sandbox", "kinds.def")
CALLS = {"execve": 59, "open": 2, "socket": 41, "ptrace": 101}
LIMIT = 60

LIBC = ctypes.CDLL(None, use_errno=True)
LIBC.ptrace.argtypes = [ctypes.c_long, ctypes.c_long, ctypes.c_void_p, ctypes.c_void_p]
LIBC.ptrace.restype = ctypes.c_long
PTRACE_GETREGS, PTRACE_SETREGS, PTRACE_ATTACH, PTRACE_DETACH = 12, 13, 16, 17
WALL = 0x40000000


class Machine(observe.Machine):
    is_attacked = True


class Regs(ctypes.Structure):
    """struct user_regs_struct of sys/user.h"""
    _fields_ = [(name, ctypes.c_ulonglong) for name in
                ("r15 r14 r13 r12 rbp rbx r11 r10 r9 r8 rax rcx rdx rsi rdi orig_rax rip cs eflags rsp ss "
                 "fs_base gs_base ds es fs gs").split()]


def ptrace(request, tid, data=None):
    if LIBC.ptrace(request, tid, None, data) < 0:
        raise OSError(ctypes.get_errno(), f"ptrace request {request} of thread {tid}")


def syscall_instruction(pid):
    """Where the C library of a process has one."""
    with open(f"/proc/{pid}/maps", encoding="utf-8") as f:
        line = next(m for m in f if re.search(r" r-xp .*/libc\.so", m))
    first, last = (int(x, 16) for x in line.split()[0].split("-"))
    with open(f"/proc/{pid}/mem", "rb", buffering=0) as mem:
        mem.seek(first)
        return first + mem.read(last - first).index(b"\x0f\x05")


def stop_where_it_is_told(pid, tid):
    """A thread has its name before its filter, and with all signals blocked (it begins, or begins another one) it would
    die without a word."""
    end = time.monotonic() + LIMIT
    while time.monotonic() < end:
        ptrace(PTRACE_ATTACH, tid)
        os.waitpid(tid, WALL)
        with open(f"/proc/{pid}/task/{tid}/status", encoding="utf-8") as f:
            status = dict(line.split(":", 1) for line in f)
        if int(status["Seccomp"]) == 2 and not int(status["SigBlk"], 16) >> (signal.SIGSYS - 1) & 1:
            return
        ptrace(PTRACE_DETACH, tid)
        time.sleep(0.02)
    raise Failed(f"thread {tid} does not have a filter, or blocks signals")


def plant(pid, tid, nr):
    where = syscall_instruction(pid)
    stop_where_it_is_told(pid, tid)
    regs = Regs()
    ptrace(PTRACE_GETREGS, tid, ctypes.byref(regs))
    regs.rip, regs.rax, regs.orig_rax = where, nr, (1 << 64) - 1  # no call is to be done again
    regs.rdi = regs.rsi = regs.rdx = regs.r10 = regs.r8 = regs.r9 = 0
    ptrace(PTRACE_SETREGS, tid, ctypes.byref(regs))
    ptrace(PTRACE_DETACH, tid)


def thread(pid, name):
    """The first thread of a kind."""
    end = time.monotonic() + LIMIT
    while time.monotonic() < end:
        for tid in sorted(map(int, os.listdir(f"/proc/{pid}/task"))):
            with open(f"/proc/{pid}/task/{tid}/comm", encoding="utf-8") as f:
                comm = f.read().strip()
            if tid == pid and name == "main" or tid != pid and comm.rstrip("0123456789") == name:
                return tid, comm
        time.sleep(0.05)
    raise Failed(f"no thread '{name}' runs")


def options(folder):
    """A machine that has every kind of thread."""
    base, top = os.path.join(folder, "base.raw"), os.path.join(folder, "top.qcow2")
    with open(base, "wb") as f:
        f.truncate(64 << 20)
    status, _, err = atoll("disk", "create", "-b", base, "-F", "raw", top)
    want(status == 0, err)
    return ["--share", f"s={folder}", "--disk", top, "--cdrom", base, "--net", "user", "--display", "vnc=127.0.0.1:0",
            "--vnc-tls", "anon", "--gdb", str(vmm.free_port()), "--name", "e"]


def die(kind, call):
    with tempfile.TemporaryDirectory(prefix="escape-") as tmp, \
            Machine(*options(tmp), "--sandbox", "require") as m:
        if kind == "disk-job":
            status, _, err = atoll("live", "stream", "e", "0", "--speed", "1", "--background")
            want(status == 0, err)
        tid, comm = thread(m.p.pid, kind)
        plant(m.p.pid, tid, CALLS[call])
        try:
            said = m.p.communicate(timeout=LIMIT)[1]
        except subprocess.TimeoutExpired as e:
            raise Failed(f"{call}: the machine goes on") from e
        want(m.p.returncode == 159, f"{call}: status {m.p.returncode}: {said}")
        want(f"thread '{comm}' made the system call {CALLS[call]} ({call}), which it may not" in said, said)


def helper(pid, name):
    found = children(pid)
    want(name in found, f"no process '{name}' runs")
    return int(found[name])


def is_dead(pid):
    """A machine that does not look keeps its number."""
    with open(f"/proc/{pid}/stat", encoding="utf-8") as f:
        return f.read().rpartition(")")[2].split()[0] == "Z"


def die_beside(kind, call):
    with tempfile.TemporaryDirectory(prefix="escape-") as tmp, Machine(*options(tmp), "--sandbox", "require") as m:
        name = "atoll-" + kind
        pid = helper(m.p.pid, name)
        plant(pid, pid, CALLS[call])
        end = time.monotonic() + LIMIT
        while not is_dead(pid):
            want(time.monotonic() < end, f"{call}: {name} goes on")
            time.sleep(0.02)
        said = m.end()[0]
        want(f"{name}: thread '{name}' made the system call {CALLS[call]} ({call}), which it may not" in said, said)


def die_serving(kind, call):
    with tempfile.TemporaryDirectory(prefix="escape-") as tmp, serving(tmp) as p:
        tid, comm = thread(p.pid, "main" if kind == "nbd" else kind)
        plant(p.pid, tid, CALLS[call])
        try:
            said = p.communicate(timeout=LIMIT)[1]
        except subprocess.TimeoutExpired as e:
            raise Failed(f"{call}: the server goes on") from e
        want(p.returncode == 159, f"{call}: status {p.returncode}: {said}")
        want(f"thread '{comm}' made the system call {CALLS[call]} ({call}), which it may not" in said, said)


def main():
    with open(KINDS, encoding="utf-8") as f:
        kinds = re.findall(r'^(KIND|SERVER|HELPER)\("([a-z-]+)"', f.read(), re.M)

    how = {"KIND": die, "SERVER": die_serving, "HELPER": die_beside}

    def test(fn, kind):
        def run():
            needs_all()
            for call in CALLS:
                fn(kind, call)
        return run

    tests = {kind: test(how[what], kind) for what, kind in kinds}
    tests |= {"nbd's " + kind: test(die_serving, kind) for kind in ("disk", "uring")}
    with vmm.own_runtime():
        return vmm.run_tests(sys.argv, tests)


if __name__ == "__main__":
    sys.exit(main())
