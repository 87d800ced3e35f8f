#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""Saving and restoring a machine of 512 MiB, beside QEMU's savevm and loadvm (TCG) turn by turn, and how the figures of
docs/promises.md came out.

usage: snapshotbench.py [--runs N] [--tap]

The guest is Linux with a shell that prints lines without end. A save is timed until the file is on the medium: QEMU's answer comes
after an fdatasync() of the image, too. A restore is timed from the start of `atoll run --restore` to the first byte on its serial
port. Of both, the smallest of several counts, since whatever else runs here only adds. Clones whose guests are idle, five of
one snapshot, are looked at three seconds after their start. --tap says whether the promises are kept, and ends with status 1 when one is
broken.
"""

import argparse
import contextlib
import json
import os
import re
import selectors
import socket
import statistics
import subprocess
import sys
import tempfile
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.realpath(__file__)), "..", "guest"))
import figures  # noqa: E402  (the path must be set first)
import vmm  # noqa: E402

LIMIT_S = 120
SAVES = 3
RESTORES = 9
CLONES = 5
IDLE_S = 3
LINES = "while true; do echo tick; done\n"


class Guest:
    """A process with its serial port on a pipe."""

    def __init__(self, cmd):
        self.start = time.monotonic()
        self.p = vmm.start(cmd, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)

    def __enter__(self):
        return self

    def __exit__(self, *args):
        self.p.kill()
        self.p.communicate()

    def read(self):
        with selectors.DefaultSelector() as s:
            s.register(self.p.stdout, selectors.EVENT_READ)
            if not s.select(LIMIT_S):
                raise vmm.Failed("it says nothing")
        data = os.read(self.p.stdout.fileno(), 65536)
        if not data:
            raise vmm.Failed("it has ended")
        return data

    def until(self, what):
        seen = b""
        while what not in seen:
            seen = seen[-4096:] + self.read()

    def say(self, line):
        self.p.stdin.write(line.encode())
        self.p.stdin.flush()

    def first_byte_ms(self):
        data = self.read()
        took = (time.monotonic() - self.start) * 1000
        if not set(data) <= set(b"tick\r\n"):
            raise vmm.Failed(f"it does not go on where it was: {data[:80]}")
        return took


def ours(kernel, initrd, work):
    """{figure: value} of Atoll."""
    busy, idle = os.path.join(work, "busy"), os.path.join(work, "idle")
    atoll = vmm.atoll_path()
    cmd = [atoll, "run", "-k", kernel, "-i", initrd, "-a", "console=ttyS0 quiet", "-m", "512M", "-n", "bench", "-e", "dbt"]

    def save(file):
        """ms until the file is on the medium, and ms that the guest stands still."""
        began = time.monotonic()
        p = subprocess.run([atoll, "vm", "snapshot", "save", "--json", "bench", file], check=True, capture_output=True)
        return (time.monotonic() - began) * 1000, json.loads(p.stdout)["stopped_ns"] / 1e6

    with Guest(cmd) as g:
        g.until(b"# ")
        save(idle)
        g.say(LINES)
        g.until(b"tick\r\ntick")
        saves = [save(busy) for _ in range(SAVES)]
    times = []
    for _ in range(RESTORES):
        with Guest([atoll, "run", "--restore", busy, "-e", "dbt"]) as g:
            times.append(g.first_byte_ms())
    with contextlib.ExitStack() as stack:
        clones = [stack.enter_context(Guest([atoll, "run", "--restore", idle, "-e", "dbt"])) for _ in range(CLONES)]
        time.sleep(IDLE_S)
        pss = statistics.mean(map(pss_mib, clones))
    return {"restore": min(times), "save": min(s for s, _ in saves), "pause": min(p for _, p in saves), "pss": pss}


def pss_mib(guest):
    with open(f"/proc/{guest.p.pid}/smaps_rollup", encoding="ascii") as f:
        return int(re.search(r"^Pss:\s+(\d+) kB", f.read(), re.M)[1]) / 1024


class Monitor:
    """QEMU's, on a socket."""

    def __init__(self, path):
        self.s = socket.socket(socket.AF_UNIX)
        self.s.settimeout(LIMIT_S)
        self.s.connect(path)
        self.prompt()

    def prompt(self):
        seen = b""
        while not seen.endswith(b"(qemu) "):
            seen += self.s.recv(4096)
        return seen

    def do(self, command):
        self.s.sendall(command.encode() + b"\n")
        return self.prompt()


def theirs(kernel, initrd, work):
    disk, path = os.path.join(work, "disk.qcow2"), os.path.join(work, "monitor")
    subprocess.run([vmm.atoll_path(), "disk", "create", disk, "64M"], check=True)
    cmd = ["qemu-system-x86_64", "-accel", "tcg", "-m", "512M", "-display", "none", "-serial", "stdio", "-nic", "none",
           "-monitor", f"unix:{path},server=on,wait=off", "-drive", f"file={disk},format=qcow2,if=none",
           "-kernel", kernel, "-initrd", initrd, "-append", "console=ttyS0 quiet"]
    with Guest(cmd) as g:
        g.until(b"# ")
        g.say(LINES)
        g.until(b"tick\r\ntick")
        monitor = Monitor(path)
        saves = []
        for _ in range(SAVES):
            began = time.monotonic()
            monitor.do("savevm s")
            saves.append((time.monotonic() - began) * 1000)
        monitor.s.sendall(b"quit\n")
        while g.p.poll() is None:
            try:
                g.read()
            except vmm.Failed:
                g.p.wait()
    times = []
    for _ in range(RESTORES):
        with Guest(cmd + ["-loadvm", "s"]) as g:
            times.append(g.first_byte_ms())
    return {"restore": min(times), "save": min(saves)}


def main():
    parser = argparse.ArgumentParser(usage=__doc__)
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--tap", action="store_true")
    o = parser.parse_args()
    kernel, initrd = vmm.script("fetch-kernel.sh", "cloud"), vmm.script("mkinitramfs.sh", "--arch", "amd64")
    found = []
    try:
        for _ in range(o.runs):
            with vmm.own_runtime(), tempfile.TemporaryDirectory(prefix="snapshotbench-") as work:
                a, q = ours(kernel, initrd, work), theirs(kernel, initrd, work)
            print(f"# first output after {a['restore']:.1f} ms, QEMU {q['restore']:.0f} ms; saved in {a['save']:.0f} ms, "
                  f"{a['pause']:.1f} of them without the guest, QEMU {q['save']:.0f} ms; an idle clone has {a['pss']:.1f} MiB", flush=True)
            found.append({"restore-ms": a["restore"], "restore": q["restore"] / a["restore"],
                          "pause": q["save"] / a["pause"], "save": q["save"] / a["save"], "clone-mib": a["pss"]})
    except (vmm.Failed, subprocess.SubprocessError) as e:
        sys.exit(f"snapshotbench.py: {e}")
    return figures.judge(figures.read_section("Snapshots"), found, vmm.Tap() if o.tap else None)


if __name__ == "__main__":
    sys.exit(main())
