# SPDX-License-Identifier: GPL-2.0-or-later
"""Runs a guest and keeps what it said: shared by the drivers in this folder.

The machine monitor under test is $ATOLL (default build/atoll) with engine $ATOLL_ENGINE (default
interp) and the further options $ATOLL_ARGS. With ATOLL_VMM=qemu the same guest runs on QEMU's TCG: to find out whether a guest or the
machine monitor is wrong, and to develop a test before the machine monitor can run it.
"""

import codecs
import contextlib
import os
import re
import selectors
import shlex
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time

ROOT = os.path.realpath(os.path.join(os.path.dirname(__file__), "..", ".."))
sys.path.append(os.path.join(ROOT, "tests"))
from tied import complete, start  # noqa: E402,F401  (the path must be set first)

TAIL_LINES = 25
# A guest that prints for ever must not fill the memory of the host.
CONSOLE_LIMIT = 8 << 20


def atoll_path():
    return os.environ.get("ATOLL", os.path.join(ROOT, "build", "atoll"))


def is_qemu():
    return os.environ.get("ATOLL_VMM", "atoll") == "qemu"


def engine():
    return os.environ.get("ATOLL_ENGINE", "interp")


def more_args():
    return shlex.split(os.environ.get("ATOLL_ARGS", ""))


def cache_dir():
    base = os.environ.get("XDG_CACHE_HOME") or os.path.expanduser("~/.cache")
    return os.environ.get("ATOLL_CACHE") or os.path.join(base, "atoll")


def free_port():
    """A TCP port that nobody listens on now."""
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


def script(name, *args):
    """Runs a script of the project that prints a path; returns the path, or raises RuntimeError."""
    p = subprocess.run([os.path.join(ROOT, "scripts", name), "-q", *args],
                       capture_output=True, text=True, check=False)
    if p.returncode != 0:
        lines = p.stderr.strip().splitlines() or ["no message"]
        raise RuntimeError(f"{name}: {lines[-1]}")
    return p.stdout.strip().splitlines()[-1]


def command(kernel, initrd=None, append="", memory="512M", cpus=1, cpu=None, qemu_cpu=None,
            debug_exit=False, extra=()):
    """The command line; `cpu` is a model with features as in --cpu, `qemu_cpu` the same for QEMU."""
    if is_qemu():
        cmd = ["qemu-system-x86_64", "-accel", "tcg", "-display", "none", "-serial", "stdio",
               "-monitor", "none", "-no-reboot", "-nic", "none", "-m", memory, "-smp", str(cpus),
               "-kernel", kernel]
        if qemu_cpu:
            cmd += ["-cpu", qemu_cpu]
        if debug_exit:
            cmd += ["-device", "isa-debug-exit,iobase=0xf4,iosize=4", "-device", "pc-testdev"]
    else:
        cmd = [atoll_path(), "run", "--kernel", kernel, "--memory", memory, "--cpus", str(cpus),
               "--engine", engine(), "--no-reboot", *more_args()]
        if cpu:
            cmd += ["--cpu", cpu]
        if debug_exit:
            cmd += ["--debug-exit"]
    if initrd:
        cmd += ["-initrd" if is_qemu() else "--initrd", initrd]
    if append:
        cmd += ["-append" if is_qemu() else "--append", append]
    return cmd + list(extra)


def missing():
    """Why guests cannot run here, or None."""
    program = "qemu-system-x86_64" if is_qemu() else atoll_path()
    return None if shutil.which(program) else f"{program} is not there"


class Run:
    """One finished run: status (None when it was ended by the time limit), console, lines with the
    host's monotonic time of arrival, start in the same time, and the seconds that it took."""

    def __init__(self, cmd):
        self.cmd = cmd
        self.status = None
        self.timed_out = False
        self.lines = []
        self.start = time.monotonic()
        self.seconds = 0.0
        self.stopped = False

    @property
    def text(self):
        return "\n".join(line for _, line in self.lines)

    def find(self, pattern):
        """The first match of a regular expression in the console's lines, or None."""
        for _, line in self.lines:
            m = re.search(pattern, line)
            if m:
                return m
        return None

    def find_all(self, pattern):
        """(time, match) of each line that matches."""
        hits = ((t, re.search(pattern, line)) for t, line in self.lines)
        return [(t, m) for t, m in hits if m]

    def report(self, why):
        """Prints the failure as TAP diagnostics."""
        print(f"# {why}")
        print(f"# command: {shlex.join(self.cmd)}")
        print(f"# status {self.status}, {self.seconds:.1f} s{', time limit' if self.timed_out else ''}")
        for _, line in self.lines[-TAIL_LINES:]:
            print(f"# | {line}")
        sys.stdout.flush()


def run(cmd, limit_s, stdin=None, until=None, echo=None, on_line=None):
    """Runs cmd until it ends, `limit_s` seconds passed, or a line matches the pattern `until`.

    Lines that match `echo` are shown at once as TAP diagnostics. `stdin` is a list of (pattern,
    text): text is typed when a line, whole or not, matches pattern. `on_line(pid, line)` is called
    for each line as it comes.
    """
    r = Run(cmd)
    typed = list(stdin or [])
    began = r.start
    p = start(cmd, stdin=subprocess.PIPE if typed else subprocess.DEVNULL,
              stdout=subprocess.PIPE, stderr=subprocess.STDOUT, start_new_session=True)
    os.set_blocking(p.stdout.fileno(), False)
    decoder = codecs.getincrementaldecoder("utf-8")("replace")
    pending, size = "", 0
    with selectors.DefaultSelector() as sel:
        sel.register(p.stdout, selectors.EVENT_READ)
        while True:
            left = began + limit_s - time.monotonic()
            if left <= 0:
                r.timed_out = True
                break
            if not sel.select(min(left, 1.0)):
                continue
            data = p.stdout.read()
            now = time.monotonic()
            if not data:
                break
            size += len(data)
            pending += decoder.decode(data)
            *whole, pending = pending.split("\n")
            fresh = [line.rstrip("\r") for line in whole]
            r.lines += [(now, line) for line in fresh]
            for line in fresh:
                if echo and re.search(echo, line):
                    print(f"# {now - began:.0f} s: {line}", flush=True)
            if on_line:
                for line in fresh:
                    on_line(p.pid, line)
            if typed and any(re.search(typed[0][0], line) for line in fresh + [pending]):
                p.stdin.write(typed.pop(0)[1].encode())
                p.stdin.flush()
            if until and any(re.search(until, line) for line in fresh + [pending]):
                r.stopped = True
                break
            if size > CONSOLE_LIMIT:
                r.lines.append((now, "(the guest printed too much)"))
                break
    if pending:
        r.lines.append((time.monotonic(), pending.rstrip("\r")))
    if r.timed_out or r.stopped or size > CONSOLE_LIMIT:
        end_group(p)
    else:
        try:
            r.status = p.wait(timeout=max(1.0, began + limit_s - time.monotonic()))
        except subprocess.TimeoutExpired:
            r.timed_out = True
            end_group(p)
    r.seconds = time.monotonic() - began
    rest = decoder.decode(p.stdout.read() or b"")
    p.stdout.close()
    if p.stdin:
        p.stdin.close()
    check_confined(f"{r.text}\n{rest}")
    return r


def end_group(p):
    for sig in (signal.SIGTERM, signal.SIGKILL):
        try:
            os.killpg(p.pid, sig)
        except ProcessLookupError:
            pass
        try:
            p.wait(timeout=3)
            return
        except subprocess.TimeoutExpired:
            continue


def check_confined(text):
    """No test may meet a machine, or a process beside one, that made a system call which it may not."""
    for line in text.splitlines():
        if "which it may not: a guest has broken out" in line:
            raise Failed(line)


class Tap:
    """TAP version 13 on standard output."""

    def __init__(self, plan=None):
        self.count = 0
        self.failed = 0
        print("TAP version 13")
        self.planned = plan is not None
        if self.planned:
            print(f"1..{plan}", flush=True)

    def line(self, ok, name, note=""):
        self.count += 1
        self.failed += not ok
        print(f"{'ok' if ok else 'not ok'} {self.count} - {name}{note}", flush=True)
        return ok

    def skip(self, name, reason):
        self.line(True, name, f" # SKIP {reason}")

    def done(self):
        if not self.planned:
            print(f"1..{self.count}", flush=True)
        return 1 if self.failed else 0


@contextlib.contextmanager
def own_runtime():
    """`atoll ps` and its kin see only the machines of this block."""
    with tempfile.TemporaryDirectory(prefix="atoll-run-") as tmp:
        os.environ["ATOLL_RUNTIME_DIR"] = tmp
        yield


class Failed(Exception):
    """A test failed; the text says how."""


def outcome(test):
    """What is wrong after the test, or None; prints the run that it returned with its complaint."""
    try:
        result = test()
    except (Failed, OSError, subprocess.SubprocessError) as e:
        return str(e) or type(e).__name__
    if isinstance(result, tuple):
        r, wrong = result
        if wrong:
            r.report(wrong)
        return wrong
    return result


def run_tests(argv, tests, why=None):
    """Runs those of `tests` that argv names, or all; returns the exit status. A test returns nothing, what is wrong, or a
    Run and what is wrong; or raises Failed; RuntimeError: it cannot run here. why: none of them can, for this reason."""
    if argv[1:] == ["--list"]:
        print("\n".join(tests))
        return 0
    names = argv[1:] or list(tests)
    for name in names:
        if name not in tests:
            sys.exit(f"{os.path.basename(argv[0])}: no test '{name}'; there are {', '.join(tests)}")
    tap = Tap(len(names))
    why = missing() or why
    for name in names:
        start = time.monotonic()
        try:
            wrong = why or outcome(tests[name])
        except RuntimeError as e:
            tap.skip(name, str(e))
            continue
        for line in (wrong or "").splitlines():
            print(f"# {line}")
        tap.line(not wrong, name)
        print(f"# {name}: {time.monotonic() - start:.1f} s", flush=True)
    return tap.done()
