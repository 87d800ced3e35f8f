#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""`atoll disk serve` ($ATOLL) against libnbd, QEMU and raw sockets."""

import contextlib
import errno
import json
import os
import random
import signal
import socket
import struct
import subprocess
import sys

import checks
from checks import ATOLL, MIB, make_raw, run

# Where Debian's packages put it, for a Python that is not Debian's.
sys.path.append("/usr/lib/python3/dist-packages")
import nbd  # noqa: E402  (the path must be set first)


def complaint(*args):
    return checks.complaint("disk", "serve", *args, limit=20)


@contextlib.contextmanager
def serve(*args, listen=None):
    """Yields (uri, process); ends it as a user would, which has to succeed."""
    listen = listen or "unix:" + os.path.abspath("sock")
    with open("server.log", "wb") as log:
        p = checks.start([ATOLL, "disk", "serve", "--listen", listen, *args],
                         stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=log)
        try:
            uri = p.stdout.readline().decode().strip()
            assert uri, open("server.log", encoding="utf-8").read()
            yield uri, p
            p.send_signal(signal.SIGTERM)
            assert p.wait(60) == 0, open("server.log", encoding="utf-8").read()
        finally:
            p.kill()
            p.wait()
            p.stdout.close()
    assert not os.path.exists("sock")


@contextlib.contextmanager
def client(uri, strict=True, **how):
    h = nbd.NBD()
    h.set_opt_mode("opt" in how)
    if not strict:
        h.set_strict_mode(0)
    h.add_meta_context("base:allocation")
    h.connect_uri(uri)
    yield h
    h.shutdown()


def error_of(fn, *args):
    try:
        fn(*args)
    except nbd.Error as e:
        return e.errnum
    return 0


def check_info():
    make_raw()
    with serve("a.raw", "--name", "a disk") as (uri, _):
        said = json.loads(run("nbdinfo", "--json", "--list", uri))["exports"]
        assert [e["export-name"] for e in said] == ["a disk"]
        e = said[0]
        assert e["export-size"] == 9 * MIB + 512 and e["contexts"] == ["base:allocation"]
        for can in ("can_flush", "can_fua", "can_trim", "can_zero", "can_df", "can_multi_conn"):
            assert e[can], can
        assert not e["is_read_only"] and not e["can_cache"]
        assert e["block_size_minimum"] == 1 and e["block_size_maximum"] == 32 * MIB
        run("nbdinfo", uri.replace("a%20disk", "other"), status=1)
    with serve("--read-only", "a.raw", listen="tcp:127.0.0.1:0") as (uri, _):
        assert uri.startswith("nbd://127.0.0.1:") and uri.endswith("/")
        e = json.loads(run("nbdinfo", "--json", uri))["exports"][0]
        assert e["is_read_only"] and not e["can_trim"] and not e["can_zero"]


def check_copies():
    raw = make_raw(size=40 * MIB + 512)
    for fmt, options in (("raw", ()), ("qcow2", ()), ("qcow2", ("cluster_size=4K",)), ("vhdx", ()),
                         ("vmdk", ())):
        for name in ("i." + fmt, "o.raw"):
            if os.path.exists(name):
                os.unlink(name)
        run(ATOLL, "disk", "create", "-f", fmt, *(x for o in options for x in ("-o", o)),
            "i." + fmt, str(40 * MIB + 512))
        with serve("i." + fmt) as (uri, _):
            run("nbdcopy", "--connections=4", raw, uri)
            run("nbdcopy", uri, "o.raw")
            run("cmp", raw, "o.raw")
            run("qemu-img", "compare", "-f", "raw", "-F", "raw", raw, uri)
        run(ATOLL, "disk", "compare", "-f", "raw", "-F", fmt, raw, "i." + fmt)
        if fmt != "raw":
            run(ATOLL, "disk", "check", "-f", fmt, "i." + fmt)
    run("qemu-img", "check", "-f", "qcow2", "i.qcow2")
    assert os.stat("o.raw").st_blocks * 512 < 40 * MIB


def check_writes():
    run(ATOLL, "disk", "create", "w.qcow2", "16M")
    with serve("w.qcow2") as (uri, _):
        run("qemu-io", "-f", "raw", uri, "-c", "write -P 7 1M 300k", "-c", "write -f -P 8 2M 512",
            "-c", "write -z 1100k 10k", "-c", "write -zu 2M 64k", "-c", "discard 1M 64k",
            "-c", "flush", "-c", "read -P 0 1M 64k", "-c", "read -P 7 1088k 12k",
            "-c", "read -P 0 1100k 10k", "-c", "read -P 0 2M 64k", "-c", "aio_write -P 1 8M 1M",
            "-c", "aio_write -P 2 9M 1M", "-c", "aio_flush", "-c", "read -P 2 9M 1M")
        with client(uri) as h:
            h.zero(1 * MIB, 4 * MIB, nbd.CMD_FLAG_NO_HOLE)
            if h.can_fast_zero():
                assert error_of(h.zero, 100, 4 * MIB, nbd.CMD_FLAG_FAST_ZERO) == errno.ENOTSUP
                h.zero(65536, 4 * MIB, nbd.CMD_FLAG_FAST_ZERO | nbd.CMD_FLAG_FUA)
    run("qemu-img", "check", "w.qcow2")
    run("qemu-io", "-c", "read -P 1 8M 1M", "-c", "read -P 0 4M 1M", "w.qcow2")


def random_ops(uri, seed, size, count):
    """Several clients; what is in flight at the same time does not overlap."""
    rng = random.Random(seed)
    want = bytearray(size)
    with client(uri) as a, client(uri) as b:
        for i in range(count):
            h = rng.choice((a, b))
            off = rng.randrange(size)
            n = rng.randrange(1, min(size - off, 300000) + 1)
            what = rng.randrange(4)
            if what == 0:
                data = rng.randbytes(n)
                h.pwrite(data, off, nbd.CMD_FLAG_FUA if i % 7 == 0 else 0)
                want[off:off + n] = data
            elif what == 1:
                h.zero(n, off, nbd.CMD_FLAG_NO_HOLE if i % 2 else 0)
                want[off:off + n] = bytes(n)
            elif what == 2:
                assert h.pread(n, off) == want[off:off + n], (seed, i, off, n)
            else:
                buf = b.pread_structured(n, off, lambda *args: 0)
                assert buf == want[off:off + n], (seed, i, off, n)
        a.flush()
    return want


def check_random():
    size = 5 * MIB
    for fmt in ("raw", "qcow2", "vhdx"):
        run(ATOLL, "disk", "create", "-f", fmt, "r." + fmt, str(size))
        with serve("r." + fmt) as (uri, p):
            want = random_ops(uri, len(fmt), size, 300)
            p.kill()  # what was flushed is there
            p.wait()
            os.unlink("sock")
            p.send_signal = lambda sig: None
            p.returncode = 0
        run(ATOLL, "disk", "convert", "-f", fmt, "-O", "raw", "r." + fmt, "r.out")
        with open("r.out", "rb") as f:
            assert f.read() == want


def extents(uri):
    return [(e["offset"], e["length"], e["type"] & 2) for e in
            json.loads(run("nbdinfo", "--map", "--json", uri))]


def check_block_status():
    make_raw("m.raw", 20 * MIB)
    run("qemu-img", "convert", "-O", "qcow2", "m.raw", "m.qcow2")
    run("qemu-io", "-c", "write -z 1M 1M", "-c", "write -P 1 70k 100k", "m.qcow2")
    for image, fmt in (("m.raw", "raw"), ("m.qcow2", "qcow2")):
        with serve("-r", "-f", fmt, image) as (uri, _):
            ours = extents(uri)
            with client(uri) as h:
                one = []
                h.block_status(20 * MIB, 0, lambda c, o, e, err: one.extend(e), nbd.CMD_FLAG_REQ_ONE)
                assert len(one) == 2 and one[0] == ours[0][1] and one[1] & 2 == ours[0][2]
                assert error_of(h.block_status, 0, 0, lambda *a: 0) == errno.EINVAL
        sock = os.path.abspath("q.sock")
        p = checks.start(["qemu-nbd", "-r", "-t", "-f", fmt, "-k", sock, "--pid-file", "q.pid",
                          image])
        try:
            while not os.path.exists("q.pid"):
                assert p.poll() is None
            theirs = extents(f"nbd+unix:///?socket={sock}")
        finally:
            p.kill()
            p.wait()
            os.unlink("q.pid")
        assert ours == theirs, (fmt, ours, theirs)


def check_errors():
    make_raw("e.raw", 4 * MIB)
    with serve("e.raw") as (uri, _):
        with client(uri, strict=False) as h:
            assert error_of(h.pread, 512, 4 * MIB - 511) == errno.EINVAL
            assert error_of(h.pread, 512, 1 << 63) == errno.EINVAL
            assert error_of(h.pwrite, b"x" * 5000, 4 * MIB - 4999) == errno.ENOSPC
            assert error_of(h.zero, 1, 4 * MIB) == errno.ENOSPC
            assert error_of(h.trim, 1, 4 * MIB) == errno.EINVAL
            assert error_of(h.cache, 1, 0) == errno.EINVAL
            assert error_of(h.pread, 1, 0, 1 << 9) == errno.EINVAL
            assert len(h.pread(4 * MIB, 0)) == 4 * MIB
    with serve("-r", "e.raw") as (uri, _):
        with client(uri, strict=False) as h:
            assert error_of(h.pwrite, b"x", 0) == errno.EPERM
            assert error_of(h.trim, 1, 0) == errno.EPERM
            assert error_of(h.zero, 1, 0) == errno.EPERM
            h.flush()
    # A damaged image: the read fails, the next one does not.
    run(ATOLL, "disk", "create", "d.qcow2", "4M")
    run("qemu-io", "-c", "write 0 4M", "d.qcow2")
    with open("d.qcow2", "r+b") as f:
        f.seek(40)
        l1 = struct.unpack(">Q", f.read(8))[0]
        f.seek(l1)
        l2 = struct.unpack(">Q", f.read(8))[0] & 0xfffffffffffe00
        f.seek(l2 + 8)
        f.write(struct.pack(">Q", 1 << 63 | 513))
    with serve("-r", "d.qcow2") as (uri, _):
        with client(uri) as h:
            assert error_of(h.pread, 1, 65536) == errno.EIO
            assert h.pread(512, 3 * 65536) == b"\xcd" * 512


def check_tls_psk():
    make_raw()
    keys = {name: os.urandom(16).hex() for name in ("bob", "alice", "carol", "wrong")}
    for file, lines in {"server": {"bob": "bob", "alice": "alice"}, "keys.psk": {"alice": "alice"},
                        "wrong": {"alice": "wrong"}, "unknown": {"carol": "carol"}}.items():
        with open(file, "w", encoding="utf-8") as f:
            f.writelines(f"{user}:{keys[key]}\n" for user, key in lines.items())
    with serve("a.raw", "--tls-psk", "server") as (uri, _):
        os.unlink("server")  # it is read once
        assert uri.startswith("nbds+unix://"), uri
        def ask(user, file):
            return uri.replace("nbds+unix:///", f"nbds+unix://{user}@/") + "&tls-psk-file=" + os.path.abspath(file)
        run("nbdcopy", ask("alice", "keys.psk"), "b.raw")
        run("cmp", "a.raw", "b.raw")
        run("nbdinfo", ask("alice", "wrong"), status=1)
        run("nbdinfo", ask("carol", "unknown"), status=1)
        run("nbdinfo", uri.replace("nbds", "nbd"), status=1)
        run("qemu-img", "compare", "--object",
            "tls-creds-psk,id=t,endpoint=client,username=alice,dir=" + os.getcwd(), "--image-opts",
            "driver=raw,file.filename=b.raw",
            "driver=nbd,tls-creds=t,server.type=unix,server.path=" + os.path.abspath("sock"))


def certificates():
    def make(name, text, *more):
        with open(name + ".info", "w", encoding="utf-8") as f:
            f.write(text)
        run("certtool", "--generate-privkey", "--no-text", "--key-type=ecdsa", "--outfile", name + "-key.pem")
        run("certtool", *more, "--load-privkey", name + "-key.pem", "--template", name + ".info",
            "--no-text", "--outfile", name + "-cert.pem")
    signed = ("--generate-certificate", "--load-ca-certificate", "ca-cert.pem",
              "--load-ca-privkey", "ca-key.pem")
    make("ca", "cn = Test\nca\ncert_signing_key\nexpiration_days = 30\n", "--generate-self-signed")
    make("server", "cn = localhost\ndns_name = localhost\nip_address = 127.0.0.1\ntls_www_server\n"
         "encryption_key\nsigning_key\nexpiration_days = 30\n", *signed)
    make("client", "cn = client\ntls_www_client\nencryption_key\nsigning_key\nexpiration_days = 30\n",
         *signed)


def check_tls_certificates():
    make_raw(size=20 * MIB)
    certificates()
    here = os.getcwd()
    os.mkdir("only-ca")
    os.link("ca-cert.pem", "only-ca/ca-cert.pem")
    for verify in ([], ["--tls-verify-peer"]):
        with serve("a.raw", "--tls-certificates", here, *verify, listen="tcp:127.0.0.1:0") as (uri, _):
            assert uri.startswith("nbds://")
            run("nbdcopy", f"{uri}?tls-certificates={here}", "b.raw")
            run("cmp", "a.raw", "b.raw")
            run("nbdinfo", uri.replace("nbds", "nbd"), status=1)
            run("nbdinfo", f"{uri}?tls-certificates={here}/only-ca", status=1 if verify else 0)


def greeting(sock):
    assert sock.recv(18, socket.MSG_WAITALL) == b"NBDMAGICIHAVEOPT\0\3"
    sock.sendall(struct.pack(">I", 3))


def connect():
    s = socket.socket(socket.AF_UNIX)
    s.settimeout(60)
    s.connect("sock")
    greeting(s)
    return s


def option(s, number, payload=b""):
    """Sends an option and reads its answers to the end."""
    s.sendall(b"IHAVEOPT" + struct.pack(">II", number, len(payload)) + payload)
    kind = None
    while kind != 1:
        kind, n = struct.unpack(">8xIII", s.recv(20, socket.MSG_WAITALL))[1:]
        s.recv(n, socket.MSG_WAITALL) if n else b""


def go(s):
    option(s, 7, bytes(6))


def rss_mib(pid):
    with open(f"/proc/{pid}/status", encoding="utf-8") as f:
        return next(int(line.split()[1]) for line in f if line.startswith("VmRSS")) / 1024


def check_who_does_not_read():
    make_raw("b.raw", 64 * MIB)
    with serve("b.raw") as (uri, p):
        s = connect()
        go(s)
        s.setblocking(False)
        sent = 0
        request = struct.pack(">IHHQQI", 0x25609513, 0, 0, 1, 0, 4 * MIB)
        try:
            while sent < 50000:
                s.send(request)
                sent += 1
        except BlockingIOError:
            pass
        assert sent < 50000
        with client(uri) as h:
            for i in range(10):
                h.pread(MIB, i * MIB)
        # 64 MiB for the one, and what a program is.
        assert rss_mib(p.pid) < 150, rss_mib(p.pid)
        s.close()


def check_many_options_unread():
    make_raw()
    with serve("a.raw") as (uri, p):
        s = connect()
        s.setblocking(False)
        try:
            for _ in range(1000000):
                s.send(b"IHAVEOPT" + struct.pack(">II", 3, 0))
        except (BlockingIOError, BrokenPipeError):
            pass
        assert rss_mib(p.pid) < 50
        run("nbdinfo", uri)
        s.close()


def check_limit_on_clients():
    make_raw()
    with serve("a.raw", "--max-conn", "1") as (uri, _):
        first = connect()
        go(first)
        second = socket.socket(socket.AF_UNIX)
        second.connect("sock")
        second.setblocking(False)
        run("true")
        try:
            assert not second.recv(1), "greeted"
        except BlockingIOError:
            pass
        first.close()
        second.setblocking(True)
        second.settimeout(60)
        greeting(second)
        second.close()
        run("nbdinfo", uri)


def check_end_with_clients():
    make_raw()
    with serve("a.raw") as (uri, _):
        idle, half = connect(), connect()
        go(idle)
        option(half, 3)  # a list: what it sent is read, else it would meet a reset
        with client(uri) as h:
            h.pwrite(b"z" * 512, 0)
    assert idle.recv(1) == b"" and half.recv(1) == b""
    with open("a.raw", "rb") as f:
        assert f.read(512) == b"z" * 512


def check_stale_socket():
    make_raw()
    s = socket.socket(socket.AF_UNIX)
    s.bind("sock")
    s.close()
    with serve("a.raw") as (uri, _):
        assert "listen at" in complaint("--listen", "unix:" + os.path.abspath("sock"), "--read-only",
                                        make_raw("c.raw"))
        run("nbdinfo", uri)


def check_complaints():
    make_raw()
    with open("named", "wb") as f:
        f.write(b"x" * 1024)
    for args, want in (
            (("named",), "add --format raw"),
            (("none.raw",), "No such file"),
            (("--listen", "a.raw", "a.raw"), "neither tcp:ADDRESS:PORT nor unix:PATH"),
            (("--listen", "tcp:localhost:1", "a.raw"), "not an IP address with a port"),
            (("--listen", "tcp:1.2.3.4", "a.raw"), "a TCP address is ADDRESS:PORT"),
            (("--listen", "unix:", "a.raw"), "1 to 107 bytes"),
            (("--max-conn", "0", "a.raw"), "max-conn"),
            (("--snapshot", "x", "a.raw"), "--read-only"),
            (("--tls-psk", "none", "a.raw"), "key file 'none': open 'none': No such file"),
            (("--tls-psk", "named", "a.raw"), "key file 'named', line 1: not USER:HEXKEY"),
            (("--tls-psk", "a", "--tls-certificates", "b", "a.raw"), "not both"),
            (("--tls-verify-peer", "a.raw"), "with certificates only"),
            (("--tls-certificates", ".", "a.raw"), "./server-cert.pem")):
        said = complaint(*args)
        assert want in said, (args, said)


if __name__ == "__main__":
    sys.exit(checks.run_checks(globals(), (nbd.Error,)))
