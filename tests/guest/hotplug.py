#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""Disks and network devices that are attached to a running Linux, and detached.

usage: hotplug.py [--cpus N] NAME...

A guest's script says what it waits for, and the host does that; see virtio.py.
"""

import hashlib
import json
import os
import socket
import subprocess
import sys
import tempfile
import threading
import time

import virtio
import vmm
from virtio import MIB, UDHCPC, guest, want

LIMIT = 90
# Shell functions: a device comes, or goes, within a while.
HEAD = """
until_true() { i=0; until eval "$1"; do i=$((i + 1)); [ $i -lt 400 ] || fail "never: $1"; sleep 0.05; done; }
# The kernel may have another name for the same disk each time.
find_hot() { hot=$(grep -lx hot /sys/block/vd*/serial 2>/dev/null | cut -d/ -f4); [ "$hot" ] && [ -b /dev/$hot ]; }
sum() { dd if=/dev/$1 bs=1M skip=$2 count=4 iflag=direct 2>/dev/null | md5sum | cut -d' ' -f1; }
"""


def atoll(*args):
    p = subprocess.run([vmm.atoll_path(), *args], stdin=subprocess.DEVNULL, capture_output=True, text=True,
                       timeout=LIMIT, check=False)
    return p.returncode, p.stdout, p.stderr


class Host:
    """Does what belongs to each line of the guest; keeps what went wrong."""

    def __init__(self, steps):
        self.steps, self.wrong, self.threads, self.turn = steps, [], [], threading.Lock()

    def __call__(self, pid, line):
        if line in self.steps:
            t = threading.Thread(target=self.act, args=(self.steps[line], str(pid)))
            t.start()
            self.threads.append(t)

    def act(self, step, pid):
        try:
            with self.turn:
                step(pid)
        except (AssertionError, OSError, ValueError, subprocess.SubprocessError) as e:
            self.wrong.append(f"{type(e).__name__}: {e}")
            # Nobody tells the guest what it waits for.
            subprocess.run([vmm.atoll_path(), "stop", "--force", pid], check=False)

    def check(self):
        for t in self.threads:
            t.join()
        want(not self.wrong, "; ".join(self.wrong))
        want(len(self.threads) == len(self.steps), "the guest did not come so far")


def expect(got, status, out=None, err=""):
    assert got[0] == status and (out is None or got[1] == out) and err in got[2], got


def names(pid):
    return {d["name"]: d for d in json.loads(atoll("devices", "--json", pid)[1])}


def run(script, steps, args, modules=("virtio_blk",), limit=LIMIT, **kw):
    host = Host(steps)
    try:
        return guest(list(modules), HEAD + script, ["--rng", "off", "--balloon", "off", *args], on_line=host,
                     limit=limit, **kw)
    finally:
        host.check()


# --- tests ---------------------------------------------------------------------------------------------------------

def disk(cpus):
    """Attached, read, written, detached, attached again; detached under load; those of the start go, too."""
    with tempfile.TemporaryDirectory(prefix="hotplug-disk-") as tmp:
        first, new = os.path.join(tmp, "first.img"), os.path.join(tmp, "new.img")
        data = os.urandom(4 * MIB)
        for path in (first, new):
            with open(path, "wb") as f:
                f.write(data)
                f.truncate(64 * MIB)
        md5 = hashlib.md5(data).hexdigest()

        def attach(pid):
            expect(atoll("attach", pid, "--disk", new + ",serial=hot"), 0, "disk1\n")
            d = names(pid)["disk1"]
            assert d["file"] == new and d["state"] == "attached", d

        def detach(pid):
            expect(atoll("detach", "--json", pid, "disk1"), 0)
            assert set(names(pid)) == {"disk0"}, names(pid)
            # It is closed: somebody else may have it, and finds what was written.
            with open(new, "rb") as f:
                f.seek(8 * MIB)
                assert f.read(4 * MIB) == data
            out = subprocess.run([vmm.atoll_path(), "disk", "check", new], capture_output=True, text=True, check=False)
            assert "Resource" not in out.stderr and "use" not in out.stderr, out.stderr

        def swap(pid):
            """The disk of the start goes, and another takes its number."""
            expect(atoll("detach", pid, "disk0"), 0)
            expect(atoll("detach", pid, "disk7"), 1, err="no device 'disk7'")
            expect(atoll("attach", pid, "--disk", first + ",if=sata,readonly"), 1, err="only virtio disks")
            expect(atoll("attach", pid, "--disk", os.path.join(tmp, "none.img")), 1, err="none.img")
            expect(atoll("attach", pid), 1, err="either --disk or --net")
            # Last: the guest ends when it has seen it.
            expect(atoll("attach", pid, "--disk", first + ",readonly"), 0, "disk0\n")

        run("""
want "disks before" "$(cd /sys/block; echo vd*)" vda
echo guest-wants
until_true find_hot
want name $hot vdb
want read "$(sum $hot 0)" %(md5)s
dd if=/dev/$hot of=/dev/$hot bs=1M count=4 seek=8 oflag=direct 2>/dev/null || fail write
echo guest-wrote
until_true "[ ! -e /sys/block/$hot ]"
echo guest-wants-again
until_true find_hot
want "read again" "$(sum $hot 8)" %(md5)s
# It goes while its queues are full: readers and writers fail, nobody hangs.
for k in 1 2 3 4; do
	(while dd if=/dev/$hot of=/dev/null bs=64k iflag=direct 2>/dev/null; do :; done) &
	(while dd if=/dev/zero of=/dev/$hot bs=4k seek=8192 count=2000 oflag=direct 2>/dev/null; do :; done) &
done
echo guest-works
wait
until_true "[ ! -e /sys/block/$hot ]"
rm -f /dev/$hot # a writer that came too late has made a file
echo guest-swaps
# The place may be empty for a moment only: what it is to become says when it has changed.
until_true '[ "$(cat /sys/block/vda/ro 2>/dev/null)" = 1 ]'
until_true "[ -b /dev/vda ]"
want "swapped" "$(sum vda 0)" %(md5)s
""" % {"md5": md5}, {"guest-wants": attach, "guest-wrote": detach, "guest-wants-again": attach, "guest-works": detach, "guest-swaps": swap},
            ["--disk", first], cpus=cpus)


def chain(cpus):
    """An image with backing files: its machine can open none of them."""
    with tempfile.TemporaryDirectory(prefix="hotplug-chain-") as tmp:
        base, data = os.path.join(tmp, "base.img"), os.path.join(tmp, "data")
        with open(base, "wb") as f:
            f.write(os.urandom(4 * MIB))
        with open(base, "rb") as f:
            md5 = hashlib.md5(f.read()).hexdigest()
        for new, below, fmt in (("mid.qcow2", "base.img", "raw"), ("top.qcow2", "mid.qcow2", "qcow2")):
            subprocess.run([vmm.atoll_path(), "disk", "create", "-b", below, "-F", fmt, os.path.join(tmp, new)], check=True)

        def attach(pid):
            expect(atoll("attach", pid, "--disk", os.path.join(tmp, "top.qcow2") + ",serial=hot"), 0, "disk0\n")

        def merge(pid):
            expect(atoll("live", "commit", pid, "0"), 0)
            expect(atoll("detach", pid, "disk0"), 0)

        run("""
echo guest-wants
until_true find_hot
want read "$(sum $hot 0)" %s
dd if=/dev/zero of=/dev/$hot bs=1M count=1 oflag=direct conv=fsync 2>/dev/null || fail write
echo guest-wrote
until_true "[ ! -e /sys/block/$hot ]"
echo guest-wants-again
until_true find_hot
""" % md5, {"guest-wants": attach, "guest-wrote": merge, "guest-wants-again": attach}, [], cpus=cpus)
        subprocess.run([vmm.atoll_path(), "disk", "convert", "-O", "raw", os.path.join(tmp, "top.qcow2"), data], check=True)
        with open(data, "rb") as f:
            want(f.read(MIB) == bytes(MIB), "what the guest wrote is not there")


def net(cpus):
    """A network device with the user's network and a forwarded port comes up, goes, and comes again."""
    forwarded, heard = vmm.free_port(), []

    def attach(pid):
        expect(atoll("attach", pid, "--net", f"user,mac=52:54:00:00:00:77,hostfwd=tcp:127.0.0.1:{forwarded}-:8080"),
               0, "net0\n")
        assert names(pid)["net0"]["mac"] == "52:54:00:00:00:77", names(pid)

    def call(_pid):
        for _ in range(200):
            try:
                with socket.create_connection(("127.0.0.1", forwarded), 20) as s:
                    s.sendall(b"hello\n")
                    heard.append(s.makefile("rb").read())
                    if heard[-1]:
                        return
            except OSError:
                pass
            time.sleep(0.05)  # the guest's server is not there yet

    def detach(pid):
        expect(atoll("detach", pid, "net0"), 0, "")
        # Its helper has ended: the port is free again.
        end = time.monotonic() + 20
        while True:
            with socket.socket() as s:
                if s.connect_ex(("127.0.0.1", forwarded)):
                    break
            assert time.monotonic() < end, "the helper goes on"
            time.sleep(0.05)

    with tempfile.TemporaryDirectory(prefix="hotplug-net-") as tmp:
        script = os.path.join(tmp, "udhcpc.sh")
        with open(script, "w", encoding="ascii") as f:
            f.write(UDHCPC)
        os.chmod(script, 0o755)
        run("""
up() { until_true "[ -e /sys/class/net/eth0 ]"; ip link set eth0 up && udhcpc -i eth0 -n -q -s /udhcpc.sh; }
ip link set lo up
[ ! -e /sys/class/net/eth0 ] || fail a network already
echo guest-wants
up || fail no address
want mac "$(cat /sys/class/net/eth0/address)" 52:54:00:00:00:77
echo guest-listens
nc -l -p 8080 -e /bin/sh -c 'read -r line; echo "you said $line"' || fail no caller
ping -c 2 -A 10.0.2.2 >/dev/null || fail ping
ping -A 10.0.2.2 >/dev/null 2>&1 &
echo guest-had-it
until_true "[ ! -e /sys/class/net/eth0 ]"
echo guest-wants-again
up || fail no address again
ping -c 2 -A 10.0.2.2 >/dev/null || fail ping again
""", {"guest-wants": attach, "guest-listens": call, "guest-had-it": detach, "guest-wants-again": attach}, [],
            modules=["virtio_net"], files=[(script, "udhcpc.sh")], cpus=cpus)
    want(heard and heard[-1] == b"you said hello\n", f"the forwarded port gave {heard}")


TESTS = {"disk": disk, "chain": chain, "net": net}


if __name__ == "__main__":
    sys.exit(virtio.main(sys.argv, TESTS))
