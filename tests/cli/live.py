#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""`atoll live` ($ATOLL) at machines whose guest ($TINY_GUEST) does nothing; qemu-img looks at what comes out."""

import json
import os
import socket
import subprocess
import sys
import time

import checks
from checks import ATOLL

TINY = os.path.realpath(os.environ.get("TINY_GUEST", "build/tests/guest/tiny.elf"))
LIMIT = 60


def run(*args, status=0):
    return checks.run(*args, status=status, limit=LIMIT)


def live(*args):
    return run(ATOLL, "live", *args)


def complaint(*args):
    return checks.complaint("live", *args, limit=LIMIT)


def disk(n=0):
    return json.loads(live("disks", "--json"))[n]


def files(n=0):
    return [os.path.basename(i["file"]) for i in disk(n)["chain"]]


class Machine:
    def __init__(self, *disks):
        cmd = [ATOLL, "run", "-k", TINY, "-a", "spin", "-m", "16M", "--engine", "interp", "--name", "m"]
        for d in disks:
            cmd += ["--disk", d]
        self.p = checks.start(cmd, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
                              stderr=subprocess.PIPE, text=True)
        end = time.monotonic() + LIMIT
        while "m " not in run(ATOLL, "ps"):
            if self.p.poll() is not None or time.monotonic() > end:
                self.p.kill()
                raise AssertionError("the machine does not start: " + self.p.communicate()[1])
            time.sleep(0.05)

    def __enter__(self):
        return self

    def __exit__(self, *args):
        self.p.terminate()
        said = self.p.communicate()[1]
        assert not said, said


def make():
    run("qemu-img", "create", "-q", "-f", "raw", "base.img", "8M")
    run("qemu-io", "-f", "raw", "-c", "write -P 5 1M 3M", "base.img")
    run("qemu-img", "create", "-q", "-f", "qcow2", "-b", "base.img", "-F", "raw", "a.qcow2")
    run("qemu-io", "-f", "qcow2", "-c", "write -P 7 2M 1M", "a.qcow2")
    run("qemu-img", "convert", "-O", "raw", "a.qcow2", "want.raw")


def same(name):
    run("qemu-img", "compare", name, "want.raw")


def devices():
    return {d["name"]: d["state"] for d in json.loads(run(ATOLL, "devices", "--json"))}


def check_devices():
    """A guest that knows nothing of slots keeps its device, until it is reset."""
    make()
    for name in ("a.img", "b.img"):
        run("qemu-img", "create", "-q", "-f", "raw", name, "8M")
    with Machine("a.qcow2"):
        assert run(ATOLL, "attach", "m", "--disk", "a.img,iops=5") == "disk1\n"
        assert json.loads(run(ATOLL, "attach", "-j", "--disk", os.path.abspath("b.img"))) == {
            "name": "disk2", "slot": "00:0c.0"}
        assert files(1) == ["a.img"] and disk(1)["limits"]["iops"] == 5
        assert "in use" in checks.complaint("attach", "--disk", "a.img", limit=LIMIT)
        assert "disk1    00:0b.0  attached  " + os.path.abspath("a.img") in run(ATOLL, "devices")
        # Not without being let go of.
        p = subprocess.run([ATOLL, "detach", "--timeout", "100ms", "m", "disk1"], capture_output=True, text=True, check=False)
        assert p.returncode == 2 and "has not let 'disk1' go" in p.stderr, p
        assert devices() == {"disk0": "attached", "disk1": "leaving", "disk2": "attached"}
        run(ATOLL, "reset", "m")
        end = time.monotonic() + LIMIT
        while "disk1" in devices():
            assert time.monotonic() < end, "a reset does not take it"
            time.sleep(0.05)
        # Its number and slot are free; the others keep theirs.
        assert json.loads(run(ATOLL, "attach", "-j", "-d", "a.img")) == {"name": "disk1", "slot": "00:0b.0"}
        live("snapshot", "m", "2", "c.qcow2")
        assert "no disk with number 3" in complaint("resize", "3", "16M")
        for word in ("disk3", "net0", "virtio-rng 0", ""):
            assert "no device" in checks.complaint("detach", word, limit=LIMIT)
        assert "does not tell the format" in checks.complaint("attach", "--disk", "a.unknown", limit=LIMIT)
        # The files that an image names come with it; servers are out of reach.
        run("qemu-img", "create", "-q", "-f", "qcow2", "-b", "b.img", "-F", "raw", "d.qcow2")
        run("qemu-img", "create", "-q", "-u", "-f", "qcow2", "-b", "nbd://127.0.0.1:1/x", "-F", "raw", "e.qcow2", "8M")
        assert json.loads(run(ATOLL, "attach", "-j", "-d", "d.qcow2"))["name"] == "disk3"
        assert files(3) == ["d.qcow2", "b.img"]
        assert "reaches no servers" in checks.complaint("attach", "--disk", "e.qcow2", limit=LIMIT)
        assert "reaches no servers" in checks.complaint("attach", "--disk", "nbd://127.0.0.1:1/x,format=raw", limit=LIMIT)
    run("qemu-img", "check", "-q", "c.qcow2")


def check_graph():
    make()
    with Machine("a.qcow2"):
        assert files() == ["a.qcow2", "base.img"]
        live("snapshot", "m", "0", "b.qcow2")
        live("snapshot", "0", os.path.abspath("c.qcow2"))
        assert files() == ["c.qcow2", "b.qcow2", "a.qcow2", "base.img"]
        assert "  on a.qcow2 (qcow2)\n  on base.img (raw)\n" in live("disks")
        assert "is there already" in complaint("snapshot", "0", "b.qcow2")
        live("commit", "0", "--top", "b.qcow2")
        assert files() == ["c.qcow2", "a.qcow2", "base.img"]
        assert disk()["job"]["state"] == "done" and disk()["job"]["kind"] == "commit"
        assert "commit: done" in live("disks")
        live("stream", "0", "--base", "base.img", "--progress")
        assert files() == ["c.qcow2", "base.img"]
        # Slowly, in the background, and then not.
        live("stream", "0", "--speed", "1", "--background")
        assert disk()["job"]["state"] == "running" and disk()["job"]["bps"] == 1
        assert "a stream is going on" in complaint("resize", "0", "16M")
        live("cancel", "m", "0")
        while disk()["job"]["state"] == "running":
            time.sleep(0.05)
        assert disk()["job"]["state"] == "cancelled"
        assert "no job is going on" in complaint("cancel", "0")
        live("stream", "0", "--speed", "1", "--background")
        live("speed", "0", "0")
        while disk()["job"]["state"] == "running":
            time.sleep(0.05)
        assert files() == ["c.qcow2"]
        live("snapshot", "0", "d.qcow2")
        live("commit", "0")
        assert files() == ["c.qcow2"]
    for name in ("c.qcow2", "d.qcow2"):
        run("qemu-img", "check", name)
        same(name)


def ask(request, *fds):
    """The answer to one request of a client that we are ourselves."""
    with socket.socket(socket.AF_UNIX) as s:
        s.connect(os.path.join(os.environ["ATOLL_RUNTIME_DIR"], "m.sock"))
        socket.send_fds(s, [json.dumps(request).encode() + b"\n"], fds)
        with s.makefile() as answers:
            return json.loads(answers.readline())


def open_descriptors(pid):
    """Without sockets: the connection of a client that has just gone is closed a moment later."""
    links = (os.readlink(f"/proc/{pid}/fd/{fd}") for fd in os.listdir(f"/proc/{pid}/fd"))
    return sum(not link.startswith("socket:") for link in links)


def check_wrong_files():
    """The machine takes files for what they are, and keeps none that it did not use."""
    make()
    run("qemu-img", "create", "-q", "-f", "qcow2", "-b", "a.qcow2", "-F", "qcow2", "b.qcow2", "8M")
    run("qemu-img", "create", "-q", "-f", "qcow2", "-b", "a.qcow2", "-F", "qcow2", "large.qcow2", "16M")
    snapshot = {"do": "disk", "disk": 0, "what": "snapshot", "file": "b.qcow2", "name": "a.qcow2"}
    commit = {"do": "disk", "disk": 0, "what": "commit", "name": "base.img"}
    with Machine("a.qcow2") as m:
        before = open_descriptors(m.p.pid)
        with open("a.qcow2", "rb") as top, open("b.qcow2", "r+b") as new, open("large.qcow2", "r+b") as large, \
                open("base.img", "rb") as base, open("want.raw", "r+b") as other:
            for request, sent, want in (
                    (snapshot, (), "was not handed over"),
                    (snapshot, (new, other), "was not handed over"),
                    (snapshot, (large, top), "not made for this disk"),
                    (snapshot, (base, top), "qcow2"),
                    ({**snapshot, "name": "base.img"}, (new, top), "not made for this disk"),
                    (commit | {"name": 1}, (base,), "is a string")):
                answer = ask(request, *(f.fileno() for f in sent))
                assert want in answer.get("error", ""), (request, answer)
            said = failure_of(commit, other)
            assert "was not handed over, or is another file" in said, said
            said = failure_of(commit, base)
            assert "was handed over for reading" in said, said
            assert files() == ["a.qcow2", "base.img"]
            answer = ask(snapshot, new.fileno(), top.fileno())
            assert "ok" in answer, answer
        assert files() == ["b.qcow2", "a.qcow2", "base.img"]
        # The new image; connections that were ours are closed when the machine comes to it.
        end = time.monotonic() + LIMIT
        while open_descriptors(m.p.pid) > before + 1:
            assert time.monotonic() < end, open_descriptors(m.p.pid)
            time.sleep(0.05)
    same("b.qcow2")


def failure_of(request, *handed):
    """The error with which a job ends for which the wrong files are handed over."""
    answer = ask(request, *(f.fileno() for f in handed))
    assert "ok" in answer, answer
    while disk()["job"]["state"] == "running":
        time.sleep(0.05)
    return disk()["job"]["error"]


def check_backup():
    make()
    run("qemu-img", "create", "-q", "-f", "qcow2", "disk.qcow2", "8M")
    run("qemu-io", "-f", "qcow2", "-c", "write -P 5 1M 3M", "disk.qcow2")
    run("qemu-img", "convert", "-O", "raw", "disk.qcow2", "want.raw")
    with Machine("disk.qcow2"):
        live("backup", "m", "0", "full.qcow2", "--bitmap", "b", "--progress")
        assert disk()["job"]["kind"] == "backup" and disk()["job"]["state"] == "done"
        assert [(b["name"], b["enabled"], b["dirty_bytes"]) for b in disk()["bitmaps"]] == [("b", True, 0)]
        assert "  bitmap b: 0 bytes changed\n" in live("disks")
        live("backup", "0", "plain.raw", "-O", "raw")
        live("backup", "0", "next.qcow2", "-B", "b", "--onto", "full.qcow2")
        live("backup", "0", "plain.raw", "-O", "raw", "-B", "b", "--update")
        assert "needs a new file" in complaint("backup", "0", "full.qcow2")
        assert "has no bitmap 'none'" in complaint("backup", "0", "x.qcow2", "-B", "none", "--onto", "full.qcow2")
        assert "needs to know" in complaint("backup", "0", "x.qcow2", "--onto", "full.qcow2")
        assert "exclude" in complaint("backup", "0", "x.qcow2", "--onto", "full.qcow2", "--update")
        assert not os.path.exists("x.qcow2")
        live("backup", "0", "slow.qcow2", "--speed", "1", "--background")
        assert "a backup is going on" in complaint("backup", "0", "x.qcow2")
        assert not os.path.exists("x.qcow2")
        live("cancel", "0")
    for name in ("full.qcow2", "plain.raw", "next.qcow2"):
        same(name)
    # What was written between two runs is in the next increment, and the machine goes on from there.
    run("qemu-io", "-f", "qcow2", "-c", "write -P 7 2M 1M", "-c", "discard 0 1M", "disk.qcow2")
    run("qemu-img", "convert", "-O", "raw", "disk.qcow2", "want.raw")
    with Machine("disk.qcow2"):
        assert disk()["bitmaps"][0]["dirty_bytes"] == 2 << 20
        live("backup", "0", "third.qcow2", "-B", "b", "--onto", "next.qcow2")
        assert disk()["bitmaps"][0]["dirty_bytes"] == 0
    same("third.qcow2")
    run("qemu-img", "check", "disk.qcow2")
    allocated = sum(e["length"] for e in json.loads(run("qemu-img", "map", "--output=json", "third.qcow2"))
                    if e["depth"] == 0)
    assert allocated == 2 << 20, allocated


def drives_at(bus):
    """Disks at a controller of SATA or IDE, by numbers of their own."""
    make()
    run("qemu-img", "create", "-q", "-f", "raw", "b.img", "8M")
    with Machine(f"a.qcow2,if={bus},iops=7", "b.img"):
        disks = json.loads(live("disks", "--json"))
        assert [(d["bus"], d["disk"]) for d in disks] == [("virtio", 0), (bus, 0)], disks
        assert disks[1]["limits"]["iops"] == 7 and disks[0]["limits"]["iops"] == 0
        assert f"disk {bus}0: 8388608 bytes\n  a.qcow2" in live("disks")
        live("limit", f"{bus}0", "iops=0,bps=1M")
        assert disk(1)["limits"]["bps"] == 1 << 20 and disk(1)["limits"]["iops"] == 0
        live("snapshot", "m", f"{bus}0", "c.qcow2")
        assert files(1) == ["c.qcow2", "a.qcow2", "base.img"] and files(0) == ["b.img"]
        live("commit", f"{bus}0")
        assert files(1) == ["a.qcow2", "base.img"]
        live("resize", f"{bus}0", "16M")
        assert disk(1)["size"] == 16 << 20 and disk(0)["size"] == 8 << 20
        assert f"no {bus.upper()} disk with number 1" in complaint("retry", f"{bus}1")
        assert "number of the disk" in complaint("retry", bus)
    run("qemu-img", "check", "-q", "a.qcow2")


def check_sata():
    drives_at("sata")


def check_ide():
    drives_at("ide")


def check_limits_and_size():
    make()
    with Machine("a.qcow2,iops=100"):
        assert disk()["limits"]["iops"] == 100
        live("limit", "0", "bps=1M,burst=2s")
        limits = disk()["limits"]
        assert (limits["iops"], limits["bps"], limits["burst_ns"]) == (100, 1 << 20, 2 * 10**9), limits
        assert "limits: iops=100,bps=1048576" in live("disks")
        live("limit", "0", "iops=0,bps=0")
        assert "limits" not in live("disks")
        assert "none of iops" in complaint("limit", "0", "speed=1")
        live("resize", "0", "16M")
        assert disk()["size"] == 16 << 20
        assert "would be lost" in complaint("resize", "0", "8M")
        live("resize", "--shrink", "0", "8M")
        assert "1Q" in complaint("resize", "0", "1Q")
        live("retry", "0")
        assert "no disk with number 1" in complaint("retry", "1")
        assert "number of the disk" in complaint("retry", "first")
    run("qemu-img", "check", "a.qcow2")
    same("a.qcow2")


def own_runtime(folder):
    os.environ["ATOLL_RUNTIME_DIR"] = os.path.join(folder, "run")


if __name__ == "__main__":
    sys.exit(checks.run_checks(globals(), begin=own_runtime))
