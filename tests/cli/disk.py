#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""`atoll disk` ($ATOLL) against qemu-img: each reads what the other made, with every option."""

import json
import os
import struct
import subprocess
import sys

import checks
from checks import ATOLL, MIB, make_raw, run

OPTIONS = (
    "",
    "compat=0.10",
    "cluster_size=512",
    "cluster_size=2M",
    "extended_l2=on",
    "extended_l2=on,cluster_size=16K",
    "refcount_bits=1",
    "refcount_bits=64,cluster_size=1K",
    "lazy_refcounts=on",
    "compression_type=zstd",
    "preallocation=metadata",
    "preallocation=falloc",
    "data_file=data.raw,data_file_raw=on",
)


def atoll(*args, status=0):
    return run(ATOLL, "disk", *args, status=status)


def complaint(*args, status=1):
    return checks.complaint("disk", *args, status=status)


def qemu(*args, status=0):
    return run("qemu-img", *args, status=status)


def remove(*names):
    for name in names:
        if os.path.exists(name):
            os.unlink(name)


def check_reads_theirs():
    raw = make_raw()
    for options in OPTIONS:
        for compress in ([], ["-c"]):
            if compress and "data_file" in options or compress and "prealloc" in options:
                continue
            remove("i", "data.raw")
            qemu("convert", *compress, "-O", "qcow2", *(["-o", options] if options else []), raw, "i")
            atoll("compare", "-f", "raw", raw, "i")
            atoll("check", "i")
            atoll("convert", "-O", "raw", "i", "back.raw")
            run("cmp", raw, "back.raw")


def check_theirs_reads_ours():
    raw = make_raw(seed=2)
    for options in OPTIONS:
        for compress in ([], ["-c"]):
            if compress and "data_file" in options or compress and "prealloc" in options:
                continue
            remove("o", "data.raw")
            atoll("convert", *compress, "-f", "raw", *(["-o", options] if options else []), raw, "o")
            qemu("compare", "-f", "raw", "-F", "qcow2", raw, "o")
            qemu("check", "-f", "qcow2", "o")
            theirs = json.loads(qemu("info", "--output=json", "o"))
            ours = json.loads(atoll("info", "--json", "o"))
            assert theirs["virtual-size"] == ours["size"] == 9 * MIB + 512
            data = theirs["format-specific"]["data"]
            for key, value in data.items():
                if key in ours["details"] and not key.startswith("data-file"):
                    assert str(value) == str(ours["details"][key]), (options, key)


def check_backing():
    make_raw("base.raw", 5 * MIB)
    qemu("create", "-q", "-f", "qcow2", "-b", "base.raw", "-F", "raw", "mid.qcow2", "8M")
    run("qemu-io", "-c", "write -P 7 1M 100K", "mid.qcow2")
    atoll("create", "-b", "mid.qcow2", "-F", "qcow2", "top.qcow2")
    run("qemu-io", "-c", "write -P 9 6M 3K", "top.qcow2")
    qemu("convert", "-O", "raw", "top.qcow2", "want.raw")
    atoll("convert", "-O", "raw", "top.qcow2", "got.raw")
    run("cmp", "want.raw", "got.raw")
    depths = {e["depth"] for e in json.loads(atoll("map", "--json", "top.qcow2"))}
    assert depths == {0, 1, 2}, depths
    chain = json.loads(atoll("info", "--json", "-b", "top.qcow2"))
    assert [i["format"] for i in chain] == ["qcow2", "qcow2", "raw"]
    assert qemu("compare", "top.qcow2", "got.raw")


def check_backing_names():
    """A name with a colon is a protocol's, to qemu-img too, unless it is said to be a file's."""
    atoll("create", "a:b.qcow2", "1M")
    run("qemu-io", "-c", "write -P 7 0 64K", "./a:b.qcow2")
    for size in ([], ["1M"]):
        assert "not a file but a protocol" in complaint("create", "-b", "a:b.qcow2", "-F", "qcow2", "named.qcow2", *size)
        assert not os.path.exists("named.qcow2")
    for name in ("./a:b.qcow2", "file:a:b.qcow2"):
        atoll("create", "-b", name, "-F", "qcow2", "named.qcow2")
        atoll("convert", "-O", "raw", "named.qcow2", "got.raw")
        qemu("compare", "named.qcow2", "got.raw")


def check_map_agrees():
    make_raw("m.raw", 4 * MIB)
    qemu("convert", "-O", "qcow2", "m.raw", "m.qcow2")
    theirs = [(e["start"], e["start"] + e["length"]) for e in
              json.loads(qemu("map", "--output=json", "m.qcow2")) if e["data"]]
    ours = [(e["off"], e["off"] + e["len"]) for e in json.loads(atoll("map", "--json", "m.qcow2"))
            if e["kind"] == "data"]

    def points(ranges):
        return {c for a, b in ranges for c in range(a // 65536, (b + 65535) // 65536)}
    assert points(theirs) == points(ours)


def check_snapshots():
    atoll("create", "s.qcow2", "4M")
    run("qemu-io", "-c", "write -P 1 0 1M", "s.qcow2")
    atoll("snapshot", "create", "s.qcow2", "one")
    run("qemu-io", "-c", "write -P 2 512K 1M", "s.qcow2")
    qemu("snapshot", "-c", "two", "s.qcow2")
    names = [s["name"] for s in json.loads(atoll("snapshot", "list", "--json", "s.qcow2"))]
    assert names == ["one", "two"]
    assert "one" in qemu("snapshot", "-l", "s.qcow2")
    atoll("convert", "-l", "one", "-O", "raw", "s.qcow2", "one.raw")
    with open("one.raw", "rb") as f:
        assert f.read(MIB) == b"\1" * MIB and not any(f.read())
    atoll("snapshot", "apply", "s.qcow2", "one")
    qemu("compare", "-f", "qcow2", "-F", "raw", "s.qcow2", "one.raw")
    qemu("check", "s.qcow2")
    assert "already" in complaint("snapshot", "create", "s.qcow2", "two")
    atoll("snapshot", "delete", "s.qcow2", "one")
    qemu("snapshot", "-a", "two", "s.qcow2")
    qemu("check", "s.qcow2")
    assert "no snapshot 'one'" in complaint("snapshot", "delete", "s.qcow2", "one")


def check_bitmaps():
    atoll("create", "b.qcow2", "4M")
    atoll("bitmap", "add", "b.qcow2", "all")
    atoll("bitmap", "add", "--disabled", "-g", "4K", "b.qcow2", "still")
    run("qemu-io", "-c", "write 1M 70K", "b.qcow2")
    qemu("bitmap", "--add", "-g", "64K", "b.qcow2", "theirs")
    assert json.loads(atoll("bitmap", "list", "--json", "b.qcow2")) == [
        {"name": name, "granularity": grain, "enabled": on, "out_of_date": False, "dirty_bytes": n}
        for name, grain, on, n in (("all", 65536, True, 131072), ("still", 4096, False, 0),
                                   ("theirs", 65536, True, 0))]
    atoll("bitmap", "merge", "b.qcow2", "still", "all")
    atoll("bitmap", "clear", "b.qcow2", "all")
    atoll("bitmap", "disable", "b.qcow2", "all")
    atoll("bitmap", "enable", "b.qcow2", "still")
    atoll("bitmap", "remove", "b.qcow2", "theirs")
    qemu("check", "b.qcow2")
    bitmaps = json.loads(qemu("info", "--output=json", "b.qcow2"))["format-specific"]["data"]["bitmaps"]
    assert [(b["name"], b["granularity"], b["flags"]) for b in bitmaps] == [
        ("all", 65536, []), ("still", 4096, ["auto"])], bitmaps
    lines = atoll("bitmap", "list", "b.qcow2").splitlines()
    assert lines[1].split() == ["all", "disabled", "65536", "0"]
    assert lines[2].split() == ["still", "enabled", "4096", "131072"]
    assert "already" in complaint("bitmap", "add", "b.qcow2", "all")
    assert "has no bitmap 'none'" in complaint("bitmap", "merge", "b.qcow2", "all", "none")
    assert "is missing" in complaint("bitmap", "merge", "b.qcow2", "all")
    assert "none of list, add" in complaint("bitmap", "shrink", "b.qcow2", "all")
    assert "power of two" in complaint("bitmap", "add", "-g", "3000", "b.qcow2", "x")
    assert "unexpected" in complaint("bitmap", "clear", "b.qcow2", "all", "still")
    make_raw("b.raw", MIB)
    assert "has no bitmaps" in complaint("bitmap", "add", "-f", "raw", "b.raw", "x")
    assert json.loads(atoll("bitmap", "list", "--json", "-f", "raw", "b.raw")) == []


def check_backup():
    atoll("create", "u.qcow2", "8M")
    run("qemu-io", "-c", "write -P 3 1M 3M", "u.qcow2")
    atoll("backup", "-B", "b", "u.qcow2", "u0.qcow2")
    atoll("backup", "-O", "raw", "u.qcow2", "u.raw")
    qemu("compare", "u.qcow2", "u0.qcow2")
    for n in range(1, 4):
        run("qemu-io", "-c", "write -P %d %dM 70K" % (n, 2 * n), "-c", "write -z %dK 64K" % (1024 + 64 * n), "u.qcow2")
        qemu("bitmap", "--add", "u.qcow2", "copy")
        qemu("bitmap", "--merge", "b", "u.qcow2", "copy")
        atoll("backup", "-B", "b", "--onto", "u%d.qcow2" % (n - 1), "u.qcow2", "u%d.qcow2" % n)
        atoll("backup", "-B", "copy", "-O", "raw", "--update", "u.qcow2", "u.raw")
        atoll("bitmap", "remove", "u.qcow2", "copy")
        qemu("compare", "-F", "qcow2", "u.qcow2", "u%d.qcow2" % n)
        qemu("compare", "-F", "raw", "u.qcow2", "u.raw")
        qemu("check", "u%d.qcow2" % n)
        qemu("check", "u.qcow2")
    assert "needs a new file" in complaint("backup", "u.qcow2", "u1.qcow2")
    assert "no bitmaps" in complaint("backup", "-f", "raw", "-B", "b", "u.raw", "x.qcow2")
    assert "only a qcow2 image" in complaint("backup", "-O", "raw", "-B", "b", "--onto", "u1.qcow2", "u.qcow2", "x")
    assert not os.path.exists("x.qcow2")


def check_resize():
    atoll("create", "-o", "cluster_size=4K", "r.qcow2", "1M")
    run("qemu-io", "-c", "write -P 5 0 1M", "r.qcow2")
    atoll("resize", "r.qcow2", "+100G")
    qemu("check", "r.qcow2")
    assert json.loads(qemu("info", "--output=json", "r.qcow2"))["virtual-size"] == 100 * 1024 * MIB + MIB
    assert "would be lost" in complaint("resize", "r.qcow2", "1000")
    atoll("resize", "--shrink", "r.qcow2", "5000")
    atoll("resize", "r.qcow2", "1M")
    qemu("check", "r.qcow2")
    atoll("convert", "-O", "raw", "r.qcow2", "r.raw")
    with open("r.raw", "rb") as f:
        assert f.read(5120) == b"\5" * 5120 and not any(f.read())


def patch(name, off, data):
    with open(name, "r+b") as f:
        f.seek(off)
        f.write(data)


def field(name, off, fmt=">Q"):
    with open(name, "rb") as f:
        f.seek(off)
        return struct.unpack(fmt, f.read(struct.calcsize(fmt)))[0]


def damaged():
    atoll("create", "d.qcow2", "4M")
    run("qemu-io", "-c", "write -P 1 0 1M", "d.qcow2")


def check_repair():
    # Counts too low and too high, found alike and repaired.
    damaged()
    block = field("d.qcow2", field("d.qcow2", 48))
    patch("d.qcow2", block + 2 * 6, b"\0\0\0\0")
    patch("d.qcow2", block + 2 * 100, b"\0\3")
    found = json.loads(atoll("check", "--json", "d.qcow2", status=2))
    assert found["errors"] >= 2, found
    atoll("check", "--repair", "all", "d.qcow2")
    qemu("check", "d.qcow2")
    # Leaks only.
    damaged()
    with open("d.qcow2", "ab") as f:
        f.write(bytes(65536))
    size = os.path.getsize("d.qcow2")
    patch("d.qcow2", field("d.qcow2", field("d.qcow2", 48)) + 2 * (size // 65536 - 1), b"\0\1")
    atoll("check", "d.qcow2", status=3)
    atoll("check", "--repair", "leaks", "d.qcow2")
    qemu("check", "d.qcow2")
    # An L2 entry that points nowhere.
    damaged()
    patch("d.qcow2", field("d.qcow2", field("d.qcow2", 40)) & ((1 << 56) - 1), struct.pack(">Q", 0x8000123456780200))
    atoll("check", "d.qcow2", status=2)
    atoll("check", "--repair", "all", "d.qcow2")
    qemu("check", "d.qcow2")
    # No block of counts at all.
    damaged()
    patch("d.qcow2", field("d.qcow2", 48), bytes(8))
    atoll("check", "d.qcow2", status=2)
    atoll("check", "--repair", "all", "d.qcow2")
    qemu("check", "d.qcow2")
    run("qemu-io", "-c", "read -P 1 0 1M", "d.qcow2")


def check_dirty_and_corrupt():
    damaged()
    patch("d.qcow2", 72, struct.pack(">Q", 1))
    patch("d.qcow2", field("d.qcow2", field("d.qcow2", 48)) + 2 * 6, b"\0\0")
    assert json.loads(atoll("info", "--json", "d.qcow2"))["dirty"]
    # The first writer makes the counts anew.
    atoll("resize", "d.qcow2", "5M")
    qemu("check", "d.qcow2")
    patch("d.qcow2", 72, struct.pack(">Q", 2))
    assert "marked corrupt" in complaint("resize", "d.qcow2", "6M")
    atoll("check", "--repair", "all", "d.qcow2")
    atoll("resize", "d.qcow2", "6M")
    # A feature that nobody knows.
    patch("d.qcow2", 72, struct.pack(">Q", 1 << 40))
    assert "features we do not have" in complaint("info", "d.qcow2")


def check_bitmaps_follow_writes():
    qemu("create", "-q", "-f", "qcow2", "b.qcow2", "4M")
    qemu("bitmap", "--add", "b.qcow2", "follows")
    qemu("bitmap", "--add", "--disable", "b.qcow2", "stays")
    atoll("convert", "-n", "-f", "raw", make_raw("b.raw", 4 * MIB), "b.qcow2")
    qemu("check", "b.qcow2")
    bitmaps = {b["name"]: b["flags"] for b in
               json.loads(qemu("info", "--output=json", "b.qcow2"))["format-specific"]["data"]["bitmaps"]}
    assert bitmaps == {"follows": ["auto"], "stays": []}, bitmaps
    assert "bitmaps" in complaint("resize", "b.qcow2", "8M")


def check_hostile():
    # A chain that is a circle, and a backing file whose format nobody said.
    qemu("create", "-q", "-f", "qcow2", "-u", "-b", "h2.qcow2", "-F", "qcow2", "h1.qcow2", "1M")
    qemu("create", "-q", "-f", "qcow2", "-u", "-b", "h1.qcow2", "-F", "qcow2", "h2.qcow2", "1M")
    assert "own backing file" in complaint("convert", "-O", "raw", "h1.qcow2", "x")
    qemu("create", "-q", "-f", "qcow2", "-u", "-b", "h1.qcow2", "-F", "qcow2", "h3.qcow2", "1M")
    # The extension with the format becomes one that nobody knows.
    patch("h3.qcow2", 112, struct.pack(">I", 0x12345678))
    assert "does not say which format" in complaint("convert", "-O", "raw", "h3.qcow2", "x")
    assert not os.path.exists("x")
    for command in (("resize", "h1.qcow2", "2M"), ("commit", "h1.qcow2")):  # these lock what they write to
        assert "own backing file" in complaint(*command)
    qemu("create", "-q", "-f", "qcow2", "-u", "-b", "nbd:unix:/x", "-F", "raw", "h4.qcow2", "1M")
    assert "not a file but a protocol" in complaint("convert", "-O", "raw", "h4.qcow2", "x")
    # A raw disk whose guest wrote a header stays raw when it is said to be.
    atoll("create", "-f", "raw", "guest.raw", "1M")
    with open("h1.qcow2", "rb") as f:
        patch("guest.raw", 0, f.read(65536))
    assert json.loads(atoll("info", "--json", "-f", "raw", "guest.raw"))["format"] == "raw"
    atoll("create", "-b", "guest.raw", "-F", "raw", "over.qcow2")
    atoll("convert", "-O", "raw", "over.qcow2", "over.raw")
    run("cmp", "guest.raw", "over.raw")


def check_cut():
    """Of an image whose end is missing nothing is made up."""
    make_raw("r", 4 * MIB)
    for fmt in ("vhd", "vhdx", "vmdk", "vdi"):
        atoll("convert", "-f", "raw", "-O", fmt, "r", "cut")
        end = max(e["host_off"] + e["len"] for e in json.loads(atoll("map", "--json", "cut")) if e["kind"] == "data")
        os.truncate("cut", end - MIB // 2)  # a part of a block, or several grains
        assert "damaged; 'atoll disk check'" in complaint("convert", "-f", fmt, "-O", "raw", "cut", "x"), fmt
        atoll("check", "-f", fmt, "cut", status=2)


def check_locks():
    atoll("create", "l.qcow2", "1M")
    with checks.start(["qemu-io", "l.qcow2"], stdin=subprocess.PIPE,
                      stdout=subprocess.PIPE) as p:
        p.stdin.write(b"write 0 4k\n")
        p.stdin.flush()
        while b"wrote" not in p.stdout.readline():
            pass
        assert "written by another process" in complaint("check", "l.qcow2")
        assert "in use by another process" in complaint("resize", "l.qcow2", "2M")
        atoll("info", "-U", "l.qcow2")
        p.stdin.write(b"quit\n")
        p.stdin.flush()
        p.communicate()
    atoll("check", "l.qcow2")


def check_compare():
    make_raw("c1.raw", 3 * MIB)
    atoll("convert", "-f", "raw", "c1.raw", "c1.qcow2")
    atoll("resize", "c1.qcow2", "4M")
    assert "same" in atoll("compare", "-f", "raw", "c1.raw", "c1.qcow2")
    run("qemu-io", "-c", "write -P 1 3100K 1K", "c1.qcow2")
    out = atoll("compare", "-f", "raw", "c1.raw", "c1.qcow2", status=1)
    assert out == f"the images differ at byte {3100 * 1024}\n", out
    complaint("compare", "c1.raw", "none", status=2)


def check_commit():
    make_raw("base.raw")
    for kind in ("raw", "qcow2"):
        qemu("convert", "-f", "raw", "-O", kind, "base.raw", "base")
        qemu("create", "-q", "-f", "qcow2", "-b", "base", "-F", kind, "mid")
        qemu("create", "-q", "-f", "qcow2", "-o", "cluster_size=4k", "-b", "mid", "-F", "qcow2", "top")
        run("qemu-io", "-f", "qcow2", "-c", "write -P 7 1M 300k", "-c", "write -z 3M 1M", "mid")
        run("qemu-io", "-f", "qcow2", "-c", "write -P 9 1100k 5k", "-c", "discard 5M 1M", "top")
        qemu("convert", "-f", "qcow2", "-O", "raw", "top", "want.raw")
        # As it is committed by others.
        for name in ("base", "mid", "top"):
            run("cp", name, name + ".0")
        atoll("commit", "top")
        qemu("compare", "-f", "raw", "-F", "qcow2", "want.raw", "mid")
        qemu("compare", "-f", "raw", "-F", "qcow2", "want.raw", "top")
        assert json.loads(qemu("map", "--output=json", "-f", "qcow2", "top"))[0]["depth"] > 0
        qemu("check", "-f", "qcow2", "top")
        qemu("check", "-f", "qcow2", "mid")
        atoll("commit", "--base", "base", "top")
        qemu("compare", "-f", "raw", "-F", kind, "want.raw", "base")
        info = json.loads(qemu("info", "--output=json", "top"))
        assert (info["backing-filename"], info["backing-filename-format"]) == ("base", kind), info
        for name in ("base", "mid", "top"):
            run("cp", name + ".0", name)
        atoll("stream", "--base", "base", "top")
        info = json.loads(qemu("info", "--output=json", "top"))
        assert (info["backing-filename"], info["backing-filename-format"]) == ("base", kind), info
        qemu("compare", "-f", "raw", "-F", "qcow2", "want.raw", "top")
        atoll("stream", "top")
        os.remove("mid")
        os.remove("base")
        assert "backing-filename" not in json.loads(qemu("info", "--output=json", "top"))
        qemu("compare", "-f", "raw", "-F", "qcow2", "want.raw", "top")
        qemu("check", "-f", "qcow2", "top")
        assert atoll("info", "--json", "top").find('"backing":null,"backing_format":null') > 0
    assert "has no backing file" in complaint("commit", "top")
    qemu("create", "-q", "-f", "vpc", "base.vhd", "4M")
    atoll("create", "-f", "vhd", "-b", "base.vhd", "-F", "vhd", "over.vhd")
    assert "only images of format qcow2" in complaint("commit", "over.vhd")
    assert "no image of this disk" in complaint("commit", "--base", "base.vhd", "-f", "qcow2", "-f",
                                                "vhd", "--base", "want.raw", "over.vhd")


def check_vmdk_replaces():
    for sub in ("monolithicFlat", "twoGbMaxExtentSparse", "twoGbMaxExtentFlat"):
        atoll("create", "-f", "vmdk", "-o", f"subformat={sub}", "x.vmdk", "4M")
        run("qemu-io", "-f", "vmdk", "-c", "write -P 9 0 4M", "x.vmdk")
        atoll("create", "-f", "vmdk", "-o", f"subformat={sub}", "x.vmdk", "8M")
        with open("zero.raw", "wb") as f:
            f.truncate(8 * MIB)
        qemu("compare", "-f", "raw", "-F", "vmdk", "zero.raw", "x.vmdk")


def check_large_blocks_take_little_memory():
    limit = ["prlimit", "--as=%d" % (600 * MIB)]
    if subprocess.run([*limit, ATOLL, "--version"], stdin=subprocess.DEVNULL, capture_output=True,
                      check=False).returncode:
        return  # a sanitizer's shadow memory alone takes more
    make_raw()
    run(*limit, ATOLL, "disk", "convert", "-t", "4", "-O", "vhdx", "-o", "block_size=256M", "a.raw", "a.vhdx")
    qemu("compare", "-f", "raw", "-F", "vhdx", "a.raw", "a.vhdx")


def check_options():
    assert "cluster_size" in atoll("create", "-o", "help", "x")
    for args, want in (
            (("-o", "cluster=1", "x", "1M"), "option 'cluster' is none of"),
            (("-o", "cluster_size=1000", "x", "1M"), "cluster_size: 1000 is not a power of two"),
            (("-o", "cluster_size", "x", "1M"), "has no value"),
            (("-o", "cluster_size=512", "x", "300G"), "too small for a disk"),
            (("-o", "compat=0.10,extended_l2=on", "x", "1M"), "compat=0.10 has neither"),
            (("-f", "qcow", "x", "1M"), "format 'qcow' is none of"),
            (("-b", "base", "x", "1M"), "format of the backing file is not given"),
            (("x", "1Q"), "1Q")):
        said = complaint("create", *args)
        assert want in said, (args, said)


if __name__ == "__main__":
    sys.exit(checks.run_checks(globals()))
