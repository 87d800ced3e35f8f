#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""Disks that an NBD server has, as `atoll disk` ($ATOLL) sees them: nbdkit's, QEMU's and our own."""

import contextlib
import json
import os
import subprocess
import sys
import threading

import checks
from checks import ATOLL, MIB, run

# Where Debian's packages put it, for a Python that is not Debian's.
sys.path.append("/usr/lib/python3/dist-packages")
import nbd  # noqa: E402  (the path must be set first)

SIZE = 24 * MIB + 512


def atoll(*args, status=0):
    return run(ATOLL, "disk", *args, status=status)


def complaint(*args, status=1):
    return checks.complaint("disk", *args, status=status)


def make_raw(name="a.raw", size=SIZE, seed=1):
    return checks.make_raw(name, size, seed)


@contextlib.contextmanager
def process(args, ready):
    """A server, until the block ends; ready(p) returns when clients can connect."""
    with open("server.log", "ab") as log:
        p = checks.start(args, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=log)
    try:
        ready(p)
        yield p
    finally:
        p.kill()  # nbdkit and QEMU would wait for their clients
        p.wait()
        p.stdout.close()


def wait_for_file(name):
    def ready(p):
        while not os.path.exists(name):
            assert p.poll() is None, open("server.log", encoding="utf-8").read()
        os.unlink(name)
    return ready


@contextlib.contextmanager
def nbdkit(*args, sock="k.sock"):
    if os.path.exists(sock):
        os.unlink(sock)
    with process(["nbdkit", "-f", "-U", os.path.abspath(sock), "-P", os.path.abspath("k.pid"), *args],
                 wait_for_file("k.pid")):
        yield f"nbd+unix:///?socket={os.path.abspath(sock)}"


@contextlib.contextmanager
def qemu_nbd(image, *args):
    sock = os.path.abspath("q.sock")
    with process(["qemu-nbd", "-t", "-e", "8", "-f", "raw", "-x", "my disk", "-k", sock, "--pid-file",
                  "q.pid", *args, image], wait_for_file("q.pid")):
        yield f"nbd+unix:///my%20disk?socket={sock}"


@contextlib.contextmanager
def ours(image, *args, sock="o.sock"):
    uri = []

    def ready(p):
        uri.append(p.stdout.readline().decode().strip())
        assert uri[0], open("server.log", encoding="utf-8").read()
    with process([ATOLL, "disk", "serve", "-l", "unix:" + os.path.abspath(sock), *args, image], ready):
        yield uri[0]


SERVERS = (
    ("ours", ours),
    ("qemu-nbd", qemu_nbd),
    ("nbdkit", lambda image: nbdkit("file", image)),
    ("blocks of 4 KiB", lambda image: nbdkit("--filter=blocksize-policy", "file", image,
                                             "blocksize-minimum=4096", "blocksize-error-policy=error")),
    ("requests of 64 KiB", lambda image: nbdkit("--filter=blocksize-policy", "file", image,
                                                "blocksize-minimum=1", "blocksize-preferred=4096",
                                                "blocksize-maximum=65536", "blocksize-error-policy=error")),
    ("no zeroes, no status", lambda image: nbdkit("--filter=nozero", "--filter=noextents", "file", image)),
    ("no structured replies", lambda image: nbdkit("--no-sr", "file", image)),
    ("oldstyle", lambda image: nbdkit("-o", "file", image)),
)


def check_reads():
    size = 24 * MIB
    raw = make_raw(size=size)
    for name, serve in SERVERS:
        with serve(raw) as uri:
            assert json.loads(atoll("info", "--json", uri))["size"] == size, name
            for target in ("b.raw", "b.qcow2"):
                if os.path.exists(target):
                    os.unlink(target)
                atoll("convert", "-O", target[2:], uri, target)
            atoll("compare", uri, "b.qcow2")
        run("cmp", raw, "b.raw")
        atoll("compare", raw, "b.qcow2")


def check_odd_size():
    raw = make_raw(size=5 * MIB + 700)
    with nbdkit("file", raw) as uri:
        assert json.loads(atoll("info", "--json", uri))["size"] == 5 * MIB + 1024
        atoll("compare", "-f", "raw", "-F", "raw", uri, raw)


def check_fills():
    size = 24 * MIB
    source = make_raw("s.raw", size=size, seed=2)
    for name, serve in SERVERS:
        if name == "oldstyle":  # nbdkit then refuses the zeroes and the flush that it has offered
            continue
        raw = make_raw(size=size)
        with serve(raw) as uri:
            atoll("convert", "-n", "-O", "raw", source, uri)
        run("cmp", raw, source)


def check_formats_inside():
    """The image is what is served: its tables and clusters go over the wire."""
    raw = make_raw(size=24 * MIB)
    for fmt in ("qcow2", "vhdx", "vdi"):
        with open("box", "wb") as f:
            f.truncate(64 * MIB)
        atoll("convert", "-O", fmt, raw, "i")
        with open("box", "r+b") as f, open("i", "rb") as g:
            f.write(g.read())
        with nbdkit("file", "box") as uri:
            atoll("compare", "-f", "raw", "-F", fmt, raw, uri)
            if fmt == "qcow2":
                with ours(uri, "-f", fmt) as inner:
                    run("qemu-io", "-f", "raw", inner, "-c", "write -P 9 1M 3M", "-c", "write -z 5M 1M",
                        "-c", "flush")
        if fmt == "qcow2":
            run("qemu-io", "-f", fmt, "box", "-c", "read -P 9 1M 3M", "-c", "read -P 0 5M 1M")
            assert "No errors" in run("qemu-img", "check", "-f", fmt, "box")


def check_backing_file():
    raw = make_raw(size=16 * MIB)
    with qemu_nbd(raw) as uri:
        atoll("create", "-f", "qcow2", "-b", uri, "-F", "raw", "top.qcow2")
        run("qemu-io", "-c", "write -P 3 2M 1M", "top.qcow2")
        run("qemu-img", "convert", "-O", "raw", "top.qcow2", "want.raw")
        atoll("convert", "-O", "raw", "top.qcow2", "got.raw")
        run("cmp", "want.raw", "got.raw")
        chain = json.loads(atoll("info", "--json", "-b", "top.qcow2"))
        assert [i["format"] for i in chain] == ["qcow2", "raw"] and chain[1]["size"] == 16 * MIB
    # An image may not name the host's files by way of a URI.
    atoll("create", "-f", "qcow2", "-b", uri + "&tls-psk-file=/etc/passwd", "-F", "raw", "evil.qcow2",
          "16M")
    assert "tls-psk-file" in complaint("convert", "-O", "raw", "evil.qcow2", "x")


def points(uri):
    return [(e["off"], e["len"]) for e in json.loads(atoll("map", "--json", uri)) if e["kind"] == "data"]


def check_map():
    raw = make_raw(size=16 * MIB)
    want = points(raw)
    for name, serve in SERVERS:
        with serve(raw) as uri:
            if name.startswith("no ") or name == "oldstyle":
                assert points(uri) == [(0, 16 * MIB)], name
            else:
                assert points(uri) == want, name


def check_many_extents():
    with open("f.raw", "wb") as f:
        for i in range(3000):
            f.seek(i * 16384)
            f.write(b"x" * 4096)
        f.truncate(3000 * 16384)
    with ours("f.raw", "-r") as uri:
        assert points(uri) == points("f.raw")
        atoll("convert", "-O", "raw", uri, "g.raw")
    run("cmp", "f.raw", "g.raw")
    assert os.stat("g.raw").st_blocks == os.stat("f.raw").st_blocks


def check_tls():
    raw = make_raw()
    with open("keys.psk", "w", encoding="utf-8") as f:
        f.write("bob:" + os.urandom(16).hex() + "\n")
    with ours(raw, "--tls-psk", "keys.psk") as uri:
        uri = uri.replace("nbds+unix:///", "nbds+unix://bob@/")
        atoll("convert", "-O", "raw", uri + "&tls-psk-file=" + os.path.abspath("keys.psk"), "b.raw")
        run("cmp", raw, "b.raw")
        complaint("info", uri.replace("nbds", "nbd"))


def check_errors():
    raw = make_raw()
    assert "nobody.sock" in complaint("info", "nbd+unix:///?socket=/nonexistent/nobody.sock")
    assert "convert --no-create" in complaint("convert", "-O", "raw", raw, "nbd://127.0.0.1:1/")
    with ours(raw, "-r", "--name", "x") as uri:
        assert "for reading only" in complaint("convert", "-n", "-O", "raw", raw, uri)
        complaint("info", uri.replace("/x?", "/y?"))
    with nbdkit("--filter=error", "file", raw, "error-pread=EIO", "error-pread-rate=100%") as uri:
        assert "Input/output error" in complaint("convert", "-f", "raw", "-O", "raw", uri, "x")
        assert not os.path.exists("x")
    with nbdkit("--filter=error", "file", raw, "error-pwrite=ENOSPC", "error-pwrite-rate=100%") as uri:
        assert "No space left" in complaint("convert", "-n", "-O", "raw", raw, uri)


def check_reconnects():
    raw = make_raw(size=24 * MIB)
    with open(raw, "rb") as f:
        want = f.read(2 * MIB)
    h = nbd.NBD()
    with contextlib.ExitStack() as stack:
        with nbdkit("file", raw) as uri:
            # The socket's name stays, what listens there changes.
            outer = stack.enter_context(ours(uri, "--reconnect", "60s"))
            h.connect_uri(outer)
            assert h.pread(2 * MIB, 0) == want
            h.flush()
            h.pwrite(b"w" * 512, 4 * MIB)
        answers = []
        reader = threading.Thread(target=lambda: answers.append(bytes(h.pread(2 * MIB, 0))))
        reader.start()
        with nbdkit("file", raw) as uri:
            reader.join(60)
            assert answers == [want]
            # The write of before: who knows whether it is on the medium?
            try:
                h.flush()
                assert False, "the lost server's write was vouched for"
            except nbd.Error as e:
                assert e.errnum == 5, e
            h.pwrite(b"v" * 512, 4 * MIB)
            h.flush()
            h.shutdown()
        # The server that serves has no more to do with the one that has gone.
    with open(raw, "rb") as f:
        f.seek(4 * MIB)
        assert f.read(512) == b"v" * 512


def check_gone_for_good():
    raw = make_raw(size=24 * MIB)
    h = nbd.NBD()
    with contextlib.ExitStack() as stack:
        with nbdkit("file", raw) as uri:
            outer = stack.enter_context(ours(uri, "--reconnect", "0s"))
            h.connect_uri(outer)
            h.pread(512, 0)
        for _ in range(3):
            try:
                h.pread(512, 0)
                assert False, "read from nobody"
            except nbd.Error as e:
                assert e.errnum == 5, e
        h.shutdown()
        # Another disk at the same place is not taken for the old one.
    make_raw("other.raw", size=8 * MIB)
    h = nbd.NBD()
    with contextlib.ExitStack() as stack:
        with nbdkit("file", raw) as uri:
            outer = stack.enter_context(ours(uri, "--reconnect", "60s"))
            h.connect_uri(outer)
            h.pread(512, 0)
        with nbdkit("file", "other.raw"):
            try:
                h.pread(512, 0)
                assert False, "read from another disk"
            except nbd.Error as e:
                assert e.errnum == 5, e
        h.shutdown()


if __name__ == "__main__":
    sys.exit(checks.run_checks(globals(), (nbd.Error,)))
