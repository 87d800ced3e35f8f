#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""The console of a running machine as its user has it: a terminal with escape keys that is given back on
every way out, other ends of serial ports, statistics.

usage: console.py [NAME]...
"""

import json
import os
import re
import select
import signal
import socket
import subprocess
import sys
import tempfile
import termios
import time

import vmm

TINY = os.environ.get("TINY_GUEST", os.path.join(vmm.ROOT, "build", "tests", "guest", "tiny.elf"))
LIMIT = 30


def read_until(fd, word, limit=LIMIT):
    """What comes from a descriptor until `word`, the end, or the limit in seconds."""
    text, end = b"", time.monotonic() + limit
    while word not in text and time.monotonic() < end:
        if not select.select([fd], [], [], 0.2)[0]:
            continue
        try:
            part = os.read(fd, 4096)
        except OSError:
            break
        if not part:
            break
        text += part
    return text


def on_terminal(act, status):
    """A machine on a terminal: `act(master, process)` ends it; the terminal must be as before."""
    master, slave = os.openpty()
    try:
        before = termios.tcgetattr(slave)
        p = vmm.start(vmm.command(TINY, append="spin"), stdin=slave, stdout=slave,
                      stderr=slave, start_new_session=True)
        if b"spin" not in read_until(master, b"spin"):
            p.kill()
            return "the guest said nothing"
        raw = not termios.tcgetattr(slave)[3] & (termios.ICANON | termios.ECHO | termios.ISIG)
        wrong = act(master, p)
        try:
            got = p.wait(timeout=LIMIT)
        except subprocess.TimeoutExpired:
            p.kill()
            return "it did not end"
        if wrong or not raw:
            return wrong or "the terminal was not raw"
        if termios.tcgetattr(slave) != before:
            return "the terminal is not as it was"
        return None if got == status else f"status {got}, not {status}"
    finally:
        os.close(master)
        os.close(slave)


def type_keys(keys, answer=None):
    def act(master, _):
        os.write(master, keys)
        if answer and answer not in read_until(master, answer):
            return f"no '{answer.decode()}' after the keys"
        return None
    return act


def escape_leave():
    return on_terminal(type_keys(b"abc\x01x"), 0)


def escape_help():
    def act(master, p):
        wrong = type_keys(b"\x01h", b"this help")(master, p)
        os.write(master, b"\x01\x01\x01qx\x01x")
        return wrong
    return on_terminal(act, 0)


def ended_by(sig):
    return on_terminal(lambda _, p: p.send_signal(sig), 128 + sig)


def machine(*extra, words="hello"):
    cmd = vmm.command(TINY, append=words, debug_exit=True, extra=extra)
    return vmm.complete(cmd, capture_output=True, timeout=LIMIT, check=False,
                        stdin=subprocess.DEVNULL)


def to_file():
    with tempfile.TemporaryDirectory() as tmp:
        path = os.path.join(tmp, "com1")
        r = machine("--serial", "file:" + path)
        with open(path, "rb") as f:
            text = f.read()
    if r.returncode != 85 or r.stdout or b"tiny:" not in text:
        return f"status {r.returncode}, stdout {r.stdout}, file {text}"
    return None


def to_unix():
    with tempfile.TemporaryDirectory() as tmp:
        path = os.path.join(tmp, "com1")
        # Resets for ever, so that there is something to read whenever we come.
        cmd = [c for c in vmm.command(TINY, append="reset") if c != "--no-reboot"]
        with vmm.start(cmd + ["--serial", "unix:" + path], stdin=subprocess.DEVNULL) as p:
            try:
                end = time.monotonic() + LIMIT
                while not os.path.exists(path) and time.monotonic() < end:
                    time.sleep(0.05)
                with socket.socket(socket.AF_UNIX) as s:
                    s.connect(path)
                    text = read_until(s.fileno(), b"tiny:")
            finally:
                p.terminate()
            p.wait(timeout=LIMIT)
        if os.path.exists(path):
            return "the socket is left over"
    return None if b"tiny:" in text else f"the socket gave {text}"


def to_pty():
    cmd = [c for c in vmm.command(TINY, append="reset") if c != "--no-reboot"]
    with vmm.start(cmd + ["--serial", "pty"], stdin=subprocess.DEVNULL,
                   stderr=subprocess.PIPE, text=True) as p:
        try:
            m = re.search(r"COM1 is at (/dev/pts/\d+)", p.stderr.readline())
            if not m:
                return "it does not say where the terminal is"
            fd = os.open(m.group(1), os.O_RDWR | os.O_NOCTTY)
            text = read_until(fd, b"tiny:")
            os.close(fd)
        finally:
            p.terminate()
    return None if b"tiny:" in text else f"the terminal gave {text}"


def nobody_reads():
    """A reader that does not read stops nothing but the output: the machine can still be ended."""
    cmd = [c for c in vmm.command(TINY, append="reset") if c != "--no-reboot"]
    with vmm.start(cmd, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE) as p:
        time.sleep(2)
        p.terminate()
        try:
            got = p.wait(timeout=LIMIT)
        except subprocess.TimeoutExpired:
            p.kill()
            return "SIGTERM does not end it"
    return None if got == 128 + signal.SIGTERM else f"status {got}"


def stats():
    r = machine("--stats")
    text = r.stderr.decode()
    for word in ("innocuous", "privileged", "instructions executed", "serial", "debug-exit"):
        if word not in text:
            return f"--stats does not say '{word}':\n{text}"
    r = machine("--stats-json")
    try:
        d = json.loads(r.stderr)
    except ValueError as e:
        return f"--stats-json: {e}\n{r.stderr.decode()}"
    serial = [x for x in d["pio"] if x["base"] == 0x3f8]
    if not serial or serial[0]["writes"] < 10 or d["cpu"]["insns"] < 100:
        return f"--stats-json: {d}"
    return None


TESTS = {
    "escape-leave": escape_leave,
    "escape-help": escape_help,
    "sigterm": lambda: ended_by(signal.SIGTERM),
    "sigint": lambda: ended_by(signal.SIGINT),
    "sighup": lambda: ended_by(signal.SIGHUP),
    "file": to_file,
    "unix": to_unix,
    "pty": to_pty,
    "nobody-reads": nobody_reads,
    "stats": stats,
}


if __name__ == "__main__":
    sys.exit(vmm.run_tests(sys.argv, TESTS, None if os.path.exists(TINY) else f"{TINY} is not built"))
