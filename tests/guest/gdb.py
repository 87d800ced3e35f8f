#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""The debugger: Debian's gdb attached to the tiny guest, and a few packets of our own.

usage: gdb.py [NAME]...
"""

import os
import re
import shutil
import socket
import subprocess
import sys
import time

import vmm

TINY = os.environ.get("TINY_GUEST", os.path.join(vmm.ROOT, "build", "tests", "guest", "tiny.elf"))
LIMIT = 60


def symbol(name):
    out = subprocess.run(["nm", TINY], capture_output=True, text=True, check=True).stdout
    return int(re.search(rf"^(\w+) \w {name}$", out, re.M).group(1), 16)


class Guest:
    """The tiny guest, stopped before its first instruction, waiting for a debugger."""

    def __init__(self, words, cpus=1):
        self.port = vmm.free_port()
        self.cmd = vmm.command(TINY, append=words, memory="64M", cpus=cpus, debug_exit=True,
                               extra=["--gdb", str(self.port)])
        self.p = vmm.start(self.cmd, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                           stderr=subprocess.STDOUT, text=True)
        self.text = self.p.stdout.readline()  # "waiting for gdb"

    def end(self):
        try:
            out, _ = self.p.communicate(timeout=LIMIT)
        except subprocess.TimeoutExpired:
            self.p.kill()
            out, _ = self.p.communicate()
            out += "\n(time limit)"
        self.text += out
        return self.p.returncode

    def gdb(self, *commands):
        """What gdb prints for the commands."""
        args = ["gdb", "-batch", "-nx", "-ex", "set confirm off",
                "-ex", f"target remote 127.0.0.1:{self.port}"]
        for c in commands:
            args += ["-ex", c]
        r = subprocess.run(args, capture_output=True, text=True, timeout=LIMIT, check=False,
                           stdin=subprocess.DEVNULL)
        return r.stdout + r.stderr

    def dial(self):
        s = socket.create_connection(("127.0.0.1", self.port), timeout=LIMIT)
        s.sendall(b"+")
        return s


def packet(s, body):
    s.sendall(b"$%s#%02x" % (body, sum(body) & 0xff))


def reply(s):
    data = b""
    while not re.search(rb"\$.*#..$", data, re.S):
        part = s.recv(4096)
        if not part:
            return None
        data += part
    s.sendall(b"+")
    return re.search(rb"\$(.*)#..$", data, re.S).group(1)


def wanting(g, out, status, *patterns):
    """The report when a pattern is missing in gdb's output or the status is wrong, else None."""
    got = g.end()
    for p in patterns:
        if not re.search(p, out):
            return f"gdb did not print '{p}':\n" + out + g.text
    if got != status:
        return f"status {got}, not {status}:\n" + out + g.text
    return None


def breakpoint_and_step():
    g = Guest("hello")
    start, main = symbol("_start"), symbol("tiny_main")
    out = g.gdb("p/x $rip", "p/x $rax", f"break *{main:#x}", "continue", "p/x $rip", "p/x $cs",
                "x/2xw $rsp", "stepi", "p $rip != " + hex(main), "p/x $cr0", "info registers eflags",
                "p $xmm0.uint128", "delete", "detach")
    return wanting(g, out, 0x2a << 1 | 1, rf"\$1 = {start:#x}", r"\$2 = 0x2badb002",
                   r"Breakpoint 1", rf"\$3 = {main:#x}", r"\$4 = 0x8", r"\$5 = 1", r"\$6 = 0x",
                   r"eflags +0x", r"\$7 = 0", r"detached")


def memory_and_watch():
    g = Guest("hello")
    idt, main = symbol("idt"), symbol("tiny_main")
    out = g.gdb(f"set *(int *){idt + 64:#x} = 0x12345678", f"x/1xw {idt + 64:#x}",
                f"watch *(int *){idt + 128:#x}", "continue", f"x/1xw {idt + 128:#x}",
                f"p $rip >= {main - 0x2000:#x}", "delete", "x/1xb 0xf0000000", "kill")
    return wanting(g, out, 0, r"0x12345678", r"Hardware watchpoint 1", r"Old value = 0",
                   r"0x0008\w{4}", r"Cannot access memory")


def threads():
    g = Guest("spin", cpus=3)
    out = g.gdb("info threads", "thread 3", "p $rip", "thread 1", "stepi 20", "info threads", "kill")
    return wanting(g, out, 0, r"CPU#0 \[running\]", r"CPU#2 \[waits for SIPI\]")


def interrupt_and_detach():
    g = Guest("spin")
    s = g.dial()
    packet(s, b"c")
    time.sleep(0.5)
    s.sendall(b"\x03")
    got = reply(s)
    if not got or not got.startswith(b"T02"):
        g.p.kill()
        return f"Ctrl-C: {got}"
    packet(s, b"D")
    got = reply(s)
    s.close()
    # It runs on; another debugger may come.
    s = g.dial()
    packet(s, b"?")
    again = reply(s)
    packet(s, b"k")
    s.close()
    status = g.end()
    if got != b"OK" or not again or not again.startswith(b"T05") or status != 0:
        return f"detach: {got}, again: {again}, status {status}\n{g.text}"
    return None


def end_is_told():
    g = Guest("status=4")
    s = g.dial()
    packet(s, b"c")
    got = reply(s)
    s.close()
    status = g.end()
    return None if got == b"W09" and status == 9 else f"{got}, status {status}\n{g.text}"


TESTS = {
    "breakpoint-and-step": breakpoint_and_step,
    "memory-and-watch": memory_and_watch,
    "threads": threads,
    "interrupt-and-detach": interrupt_and_detach,
    "end-is-told": end_is_told,
}


if __name__ == "__main__":
    sys.exit(vmm.run_tests(sys.argv, TESTS, f"{TINY} is not built" if not os.path.exists(TINY) else None if shutil.which("gdb") else "gdb is not there"))
