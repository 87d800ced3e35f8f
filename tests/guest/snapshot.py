#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""Snapshots of a machine with a Linux guest that computes: the machine that was saved goes on, and machines that are started
from the files, on another engine, come to the same result; damaged and forged files are refused. Disks are saved with the memory,
as of the same moment; a save that is killed anywhere leaves the snapshot that was there or the new one.

usage: snapshot.py [--saves N] [--rounds N] [--all-kills] [NAME]...
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile

import vmm
from observe import TINY, atoll, want
from vmm import Failed

LIMIT = 240
OTHER = {"dbt": "interp", "interp": "dbt"}


class Guest:
    """A machine with its serial port on a pipe."""

    def __init__(self, *args):
        self.text = ""
        self.p = vmm.start([vmm.atoll_path(), "run", *args], stdin=subprocess.PIPE,
                           stdout=subprocess.PIPE, stderr=subprocess.STDOUT)

    def __enter__(self):
        return self

    def __exit__(self, *args):
        self.p.kill()
        self.p.wait()

    def say(self, line):
        self.p.stdin.write(line.encode() + b"\n")
        self.p.stdin.flush()

    def until(self, what):
        """Text up to the end of the line that has this, which is not looked at again."""
        while True:
            at = self.text.find(what)
            end = self.text.find("\n", at) if at >= 0 else -1
            if end >= 0 or (at >= 0 and what == "# "):
                end = max(end, at + len(what))
                seen, self.text = self.text[:end], self.text[end:]
                return seen
            piece = os.read(self.p.stdout.fileno(), 65536)
            if not piece:
                raise Failed(f"it ended before it said '{what}': {self.text[-300:]}")
            self.text += piece.decode(errors="replace")


# A chain of checksums over what a process, its children and files in memory do; the words are apart so that the echo of the
# line is not the answer. It says its result until it is heard.
WORK = ("h=0; i=0; while [ $i -lt {rounds} ]; do i=$((i+1)); echo $h $i > /tmp/a; "
        "h=$(sha256sum < /tmp/a | cut -c1-32); [ $((i % 10)) = 0 ] && echo at''-$i; done; "
        "while ! read -t 1 end; do echo result''-$h; done; poweroff -f")


def started(g):
    """What `atoll ps` says when the machine is there."""
    while True:
        out = atoll("ps", "--json")[1]
        if '"name"' in out:
            return out.replace(": ", ":")
        want(g.p.poll() is None, "it ended")


def save(file):
    status, out, err = atoll("vm", "snapshot", "save", "--json", "first", file)
    want((status, err) == (0, ""), err)
    want(json.loads(out)["bytes"] > 10 << 20, out)


def result(guest):
    """(result, all text since the last look); and the end of the guest."""
    text = guest.until("result-")
    guest.say("")
    want(guest.p.wait(timeout=LIMIT) == 0, "the machine did not end well")
    return text.split("result-")[-1].strip(), text


def refused(work, file):
    """The same file, a little wrong."""
    bad = os.path.join(work, "bad")
    subprocess.run(["cp", "--sparse=always", file, bad], check=True)
    size = os.path.getsize(file)

    def attempt(why, *command):
        status, out, err = atoll(*(command or ("run", "--restore")), bad)
        want((status, out) == (1, "") and why in err and len(err.splitlines()) == 1, (why, status, err))

    with open(bad, "r+b", buffering=0) as f:
        def flipped(at, mask, why, *command):
            was = os.pread(f.fileno(), 1, at)
            os.pwrite(f.fileno(), bytes([was[0] ^ mask]), at)
            attempt(why, *command)
            os.pwrite(f.fileno(), was, at)

        flipped(0, 1, "not a snapshot")
        flipped(16, 6, "format version 7")
        flipped(50, 1, "checksum is wrong")
        flipped(size - 9, 1, "checksum is wrong")
        page = os.lseek(f.fileno(), 8 << 20, os.SEEK_DATA) // 4096
        flipped(page * 4096 + 7, 4, f"page {page - 1} ", "vm", "snapshot", "check")
        f.truncate(size + 1)
        attempt("should have")
        f.truncate(size - 1)
        attempt("should have")
        f.truncate(100)
        attempt("too short")
    os.chmod(file, 0o666)
    status, _, err = atoll("run", "--restore", file)
    want(status == 1 and "anybody may write" in err, err)
    os.chmod(file, 0o600)
    # Another machine than the one that was saved.
    for args, why in ((["-m", "256M"], "memory"), (["-c", "3"], "vCPUs"), (["--rng", "off"], "device 1af4:1044 there"),
                      (["--watchdog", "none"], "has no 'pci 1d.0'"), (["--cpu", "baseline"], "CPU model")):
        status, _, err = atoll("run", "--restore", file, *args)
        want(status == 1 and why in err, (args, err))
    status, _, err = atoll("vm", "snapshot", "rm", __file__)
    want(status == 1 and "not a snapshot" in err and os.path.exists(__file__), err)


def unsaved():
    """What cannot be saved says so, and goes on."""
    kernel = vmm.script("fetch-kernel.sh", "cloud")
    with Guest("-k", kernel, "-n", "shares", "--share", "tag=/tmp", "--serial", "none") as g:
        while "shares" not in atoll("ps")[1]:
            want(g.p.poll() is None, "it ended")
        status, _, err = atoll("vm", "snapshot", "save", "shares", "/tmp/never")
        want(status == 1 and "--share" in err and not os.path.exists("/tmp/never"), err)
        want("running" in atoll("ps", "--json")[1], "it does not run")
    with tempfile.TemporaryDirectory(prefix="snapshot-hot-") as tmp, Guest(
            "-k", kernel, "-n", "hot", "-m", "128M", "--serial", "none", "--net", "user") as g:
        file = os.path.join(tmp, "s")
        while "hot" not in atoll("ps")[1]:
            want(g.p.poll() is None, "it ended")
        want(atoll("attach", "hot", "--net", "user")[:2] == (0, "net1\n"), "attach")
        status, _, err = atoll("vm", "snapshot", "save", "hot", file)
        want(status == 1 and "net1 was attached" in err and not os.path.exists(file), err)
        for name in ("net0", "net1"):
            want(atoll("detach", "--timeout", "1ms", "hot", name)[0] == 2, "detach")
        want(atoll("reset", "hot")[0] == 0, "reset")
        while atoll("devices", "--json", "hot")[1].strip() != "[]":
            want(g.p.poll() is None, "it ended")
        status, _, err = atoll("vm", "snapshot", "save", "hot", file)
        want(status == 1 and "was detached" in err and not os.path.exists(file), err)


def saved(work, saves, rounds):
    engine = vmm.engine()
    kernel = vmm.script("fetch-kernel.sh", "6.12-cloud")  # 6.1's has no driver of the generation identifier
    initrd = vmm.script("mkinitramfs.sh", "--arch", "amd64")
    files = [os.path.join(work, f"s{n}") for n in range(saves)]
    with Guest("-k", kernel, "-i", initrd, "-a", "console=ttyS0 loglevel=6", "-m", "512M", "-c", "2", "--no-reboot",
               "-n", "first", "-e", engine, "--console", "none", "--vsock", "cid=3") as g:
        g.until("# ")
        g.say(WORK.format(rounds=rounds))
        for n, file in enumerate(files):
            g.until(f"at-{(n + 1) * rounds // (saves + 1) // 10 * 10}\r")
            save(file)
        based = os.path.join(work, "based")
        status, out, err = atoll("vm", "snapshot", "save", "--json", "--base", files[-1], "first", based)
        want(status == 0 and json.loads(out)["bytes"] < 64 << 20, (out, err))
        truth, _ = result(g)
        want(len(truth) == 32, f"no result: {truth}")
    status, out, _ = atoll("vm", "snapshot", "list", "--json", *files)
    want(status == 0 and [s["file"] for s in json.loads(out)] == files, out)
    for n, file in enumerate([*files, based]):
        with Guest("--restore", file, "-e", OTHER[engine] if n % 2 == 0 else engine) as g:
            got, text = result(g)
            want("due to virtual machine fork" in text,
                 f"its random numbers are those of the machine that was saved: {text}")
            want(got == truth, f"snapshot {n}: {got} instead of {truth}")
    refused(work, files[0])
    want(atoll("vm", "snapshot", "rm", *files, based) == (0, "", ""), "rm")
    want(not any(map(os.path.exists, files)), "they are there still")


def finish(g, part):
    """The result of the tiny guest's work, which waits behind that part."""
    text = ""
    for n in range(part + 1, 5):
        g.say("")
        text += g.until(f"at-{n}")
    g.say("")
    text += g.until("result-")
    want("wrong" not in text, text)
    want(g.p.wait(timeout=LIMIT) == 0, "the machine did not end well")
    return text.split("result-")[-1].strip()


def kvm(work):
    """A machine on the host's KVM is saved in the midst of 64-bit work, goes on by the other engines, is saved there, and comes
    back: the same result each time."""
    if not os.access("/dev/kvm", os.R_OK | os.W_OK):
        raise RuntimeError("no /dev/kvm here")
    tiny = ("-k", TINY, "-a", "compute", "-m", "16M", "-n", "tiny")
    with Guest(*tiny, "-e", "interp") as g:
        g.until("at-1")
        truth = finish(g, 1)
    want(len(truth) == 32, truth)
    way = ("kvm", "interp", "kvm", "dbt", "kvm")
    for part, engine in enumerate(way):
        file = os.path.join(work, f"tiny-{part}")
        with Guest(*(tiny if part == 0 else ("--restore", file, "-n", "tiny")), "-e", engine) as g:
            want(f'"engine":"{engine}"' in started(g), f"not on {engine}")
            if part > 0 and part < 4:
                g.say("")
            if part < 4:
                g.until(f"at-{part + 1}")
                status, _, err = atoll("vm", "snapshot", "save", "tiny", os.path.join(work, f"tiny-{part + 1}"))
                want((status, err) == (0, ""), err)
            got = finish(g, min(part + 1, 4))
            want(got == truth, f"part {part} on {engine}: {got} instead of {truth}")


def saves_on(work):
    """Saves that have only what has changed since others, killed or not; what they depend on stays, or is told."""
    names = {n: os.path.join(work, f"on-{n}") for n in ("whole", "a", "b", "side", "killed", "last", "other")}

    def snapshot(*args):
        return atoll("vm", "snapshot", *args)

    def save_on(machine, name, base=None):
        status, out, err = snapshot("save", "--json", *(["--base", names[base]] if base else []), machine, names[name])
        want((status, err) == (0, ""), (name, err))
        return json.loads(out)["bytes"]

    def no(why, *args):
        status, out, err = snapshot(*args)
        want((status, out) == (1, "") and why in err and len(err.splitlines()) == 1, (args, status, err))

    with Guest("-k", TINY, "-a", "compute", "-m", "16M", "-n", "tiny", "-e", vmm.engine()) as g:
        started(g)
        g.until("at-1")
        all_bytes = save_on("tiny", "whole")
        g.say("")
        g.until("at-2")
        want(save_on("tiny", "a", "whole") < all_bytes, "all of it again")
        g.say("")
        g.until("at-3")
        save_on("tiny", "b", "a")
        save_on("tiny", "side", "whole")
        no("cannot be based on itself", "save", "--base", names["b"], "tiny", names["b"])
        no("is the base of 'on-", "save", "tiny", names["whole"])
        no("in one folder", "save", "--base", names["b"], "tiny", os.path.join(vmm.ROOT, "never"))
        no("not a snapshot", "save", "--base", __file__, "tiny", names["other"])
        no("--base is for save", "check", "--base", names["b"], names["b"])
        for call, nr in (("sendmsg", 1), ("linkat", 1), ("renameat", 1), ("fsync", 1), ("exit_group", 1)):
            save_on("tiny", "other")
            p = subprocess.run(["strace", "-f", "-o", "/dev/null", "-e", f"trace={call}", "-e", f"inject={call}:signal=KILL:when={nr}",
                                vmm.atoll_path(), "vm", "snapshot", "save", "--base", names["other"], "tiny", names["killed"]],
                               stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, timeout=LIMIT, check=False)
            want(p.returncode != 0, f"it was not killed at {call}")
            want(os.path.exists(names["killed"]) == (call in ("fsync", "exit_group")), f"killed at {call}")
            if os.path.exists(names["killed"]):
                want(snapshot("rm", names["killed"]) == (0, "", ""), "a whole one cannot be deleted")
        save_on("tiny", "last", "other")
        no("what it has written since 'on-whole' was saved", "save", "--base", names["whole"], "tiny", names["killed"])
        truth = finish(g, 3)
    for name, part, engine in (("whole", 1, "dbt"), ("a", 2, "interp"), ("b", 3, "dbt"), ("side", 3, "interp"), ("last", 3, "dbt")):
        with Guest("--restore", names[name], "-e", engine, "-n", "tiny") as g:
            started(g)
            if name == "a":
                no("what it has written since 'on-a' was saved", "save", "--base", names["a"], "tiny", names["killed"])
            got = finish(g, part)
            want(got == truth, f"{name}: {got} instead of {truth}")
    there = [names[n] for n in names if n != "killed"]
    want(snapshot("check", *there) == (0, "", ""), "they are not whole")
    status, out, err = snapshot("list", "--json", *there)
    want([s["base"] for s in json.loads(out)] == [None, "on-whole", "on-a", "on-whole", "on-other", None], (out, err))
    want("based on on-a\n" in snapshot("list", names["b"])[1], "list")
    no("is the base of 'on-b'", "rm", names["a"])
    os.rename(names["whole"], names["killed"])
    for command in (("vm", "snapshot", "check"), ("run", "--restore")):
        status, _, err = atoll(*command, names["b"])
        want(status == 1 and "since 'on-whole', which is not in its folder" in err, err)
    want("missing" in snapshot("list", names["b"])[1], "list")
    os.rename(names["other"], names["whole"])
    status, _, err = atoll("run", "--restore", names["a"])
    want(status == 1 and "there is another one now" in err, err)
    want(snapshot("rm", *(names[n] for n in ("whole", "killed", "a", "b", "side", "last"))) == (0, "", ""), "rm")
    want(not [n for n in os.listdir(work) if n.startswith("on-")], os.listdir(work))


# Says what the disks should have, and notices when they have it not.
DISKS = """#!/bin/sh
read8() { dd if=/dev/$1 bs=512 count=1 iflag=direct 2>/dev/null | head -c 8; }
i=0
for d in vda vdb; do printf %08d 0 | dd of=/dev/$d bs=512 conv=sync oflag=direct 2>/dev/null; done
while [ $i -lt 20 ]; do
	for d in vda vdb; do
		[ "$(read8 $d)" = "$(printf %08d $i)" ] || echo "guest-failed: $d has $(read8 $d), memory $i"
	done
	i=$((i + 1))
	for d in vda vdb; do
		printf %08d $i | dd of=/dev/$d bs=512 conv=sync oflag=direct 2>/dev/null
		printf %08d $i | dd of=/dev/$d bs=512 seek=$i conv=sync oflag=direct 2>/dev/null
	done
	[ $((i % 5)) = 0 ] && echo at-$i
	[ $i = 15 ] && while ! read -t 1 end; do echo waiting; done
done
while ! read -t 1 end; do echo result-$(dd if=/dev/vda bs=512 count=21 iflag=direct 2>/dev/null | md5sum | cut -c1-32)-; done
"""

# Where the command is killed: at a system call, and the how manieth of its kind.
KILLS = [("sendmsg", 1), ("nanosleep", 1), ("linkat", 1), ("renameat", 1), ("fsync", 1), ("linkat", 2), ("renameat", 2),
         ("linkat", 3), ("fsync", 3), ("unlinkat", 4), ("renameat", 3), ("exit_group", 1)]


def whole(file, work):
    """The identifier of a snapshot in which everything is whole."""
    want(atoll("vm", "snapshot", "check", file) == (0, "", ""), f"not whole: {os.listdir(work)}")
    with open(file, "rb") as f:
        return f.read(40)[24:]


def beside(work):
    return sorted(f for f in os.listdir(work) if f.startswith(("s", ".s")))


def killed(work, file, kills):
    """At many places; what is there is whole, and the next save leaves nothing else."""
    had = whole(file, work)
    seen = set()
    for call, nr in kills:
        p = subprocess.run(["strace", "-f", "-o", "/dev/null", "-e", f"trace={call}", "-e", f"inject={call}:signal=KILL:when={nr}",
                            vmm.atoll_path(), "vm", "snapshot", "save", "first", file], stdout=subprocess.DEVNULL,
                           stderr=subprocess.PIPE, timeout=LIMIT, check=False)
        now = whole(file, work)
        seen.add((p.returncode != 0, now != had))
        had = now
        # The machine goes on copying its disks for who is no more.
        while any(d["job"] and d["job"]["state"] == "running" for d in json.loads(atoll("live", "disks", "--json", "first")[1])):
            pass
    want({(True, False), (True, True)} <= seen, f"it was never killed before, or never after the end: {seen}")
    status, _, err = atoll("vm", "snapshot", "save", "first", file)
    want((status, err) == (0, ""), err)
    want(len(beside(work)) == 5, beside(work))  # two are the other's


def disks(work, all_kills):
    script, mods, initrd = (os.path.join(work, n) for n in ("test.sh", "modules", "initramfs"))
    with open(script, "w", encoding="utf-8") as f:
        f.write(DISKS)
    os.chmod(script, 0o755)
    vmm.script("kernel-modules.py", "cloud", mods, "virtio_pci", "virtio_blk")
    vmm.script("mkinitramfs.sh", "-o", initrd, "--add", f"{script}:test.sh", "--add", f"{mods}:modules")
    a, b, file = (os.path.join(work, n) for n in ("a.qcow2", "b.raw", "s"))
    for image, size in ((a, "16M"), (b, "8M")):
        want(atoll("disk", "create", image, size)[0] == 0, image)
    stray = [f"{file}.01234567.disk0.qcow2", os.path.join(work, ".s.part"), os.path.join(work, ".s.01234567.disk1.qcow2.part")]
    other = f"{file}.mine.disk0.qcow2"
    for f in (*stray, other):
        with open(f, "w", encoding="utf-8"):
            pass
    with Guest("-k", vmm.script("fetch-kernel.sh", "cloud"), "-i", initrd, "-a", "console=ttyS0 quiet panic=-1 atoll.run=/test.sh",
               "-m", "128M", "-n", "first", "-e", "dbt", "--disk", a, "--disk", b) as g:
        g.until("at-5")
        save(file)
        want(not any(map(os.path.exists, stray)) and os.path.exists(other), beside(work))
        os.unlink(other)
        first = beside(work)
        want(len(first) == 3, first)
        g.until("at-10")
        save(file)
        second = beside(work)
        want(len(second) == 3 and set(first) & set(second) == {"s"}, second)
        g.until("waiting")
        # Under another name, it keeps its disks.
        kept = os.path.join(work, "kept")
        os.rename(file, kept)
        save(file)
        killed(work, file, KILLS if all_kills else KILLS[-3:-1])
        whole(kept, work)
        want(atoll("vm", "snapshot", "rm", file) == (0, "", "") and beside(work) == [n for n in second if n != "s"], beside(work))
        g.say("")
        truth, text = result(g)
        want("failed" not in text, text)
    file = kept
    for engine in ("interp", "dbt"):
        with Guest("--restore", file, "-e", engine) as g:
            g.until("waiting")
            g.say("")
            got, text = result(g)
            want(got == truth and "failed" not in text, text)
    want(atoll("vm", "snapshot", "check", file)[0] == 0, "a clone has changed it")
    disk = os.path.join(work, [n for n in second if "disk1" in n][0])
    os.rename(disk, disk + "-away")
    for command in (("vm", "snapshot", "check"), ("run", "--restore")):
        status, _, err = atoll(*command, file)
        want(status == 1 and "disk 1" in err, err)
    os.rename(disk + "-away", disk)
    want(atoll("vm", "snapshot", "rm", file) == (0, "", ""), "rm")
    want(beside(work) == [], beside(work))


# A disk of the SATA or IDE controller, in the place of those of virtio; and the medium of a CD-ROM drive.
DRIVES = DISKS.replace("i=0\n", "i=0; until [ -b /dev/sda ] && [ -b /dev/sr0 ]; do sleep 0.1; done\n", 1).replace("vda vdb", "sda").replace(
    "vda", "sda").replace("\twhile", '\t[ "$(head -c 9 /dev/sr0)" = "on the CD" ] || echo "guest-failed: no CD"\n\twhile')


def drives(work, bus, driver):
    """Drives of the SATA and IDE controllers are saved like the others, also with a command under way."""
    script, mods, initrd, disk, other, cd, file = (
        os.path.join(work, n) for n in ("test.sh", "modules", "initramfs", "a.raw", "b.raw", "cd.iso", bus))
    cdrom = ["--cdrom", cd] if bus == "sata" else ["--disk", f"{cd},if={bus},cdrom"]
    with open(script, "w", encoding="utf-8") as f:
        f.write(DRIVES)
    os.chmod(script, 0o755)
    with open(cd, "wb") as f:
        f.write(b"on the CD")
        f.truncate(1 << 20)
    for image in (disk, other):
        want(atoll("disk", "create", image, "16M")[0] == 0, image)
    vmm.script("kernel-modules.py", "6.12-cloud", mods, driver, "sd_mod", "sr_mod")
    vmm.script("mkinitramfs.sh", "-o", initrd, "--add", f"{script}:test.sh", "--add", f"{mods}:modules")
    with Guest("-k", vmm.script("fetch-kernel.sh", "6.12-cloud"), "-i", initrd, "-a", "console=ttyS0 quiet panic=-1 atoll.run=/test.sh",
               "-m", "128M", "-n", "first", "-e", "dbt", "--disk", f"{disk},if={bus}", *cdrom) as g:
        g.until("at-10")
        save(file)
        g.until("waiting")
        g.say("")
        truth, text = result(g)
        want("failed" not in text, text)
    beside = [n for n in os.listdir(work) if n.startswith(f"{bus}.")]
    want(len(beside) == 1 and f".{bus}0." in beside[0], beside)
    with open(disk, "rb") as f:
        original = f.read()
    for engine in ("interp", "dbt"):
        with Guest("--restore", file, "-e", engine) as g:
            g.until("waiting")
            g.say("")
            got, text = result(g)
            want(got == truth and "failed" not in text, text)
    with open(disk, "rb") as f:
        want(f.read() == original, "a clone has written to the machine's own disk")
    want(atoll("vm", "snapshot", "check", file) == (0, "", ""), "a clone has changed it")
    status, out, err = atoll("vm", "snapshot", "list", file)
    want(status == 0 and beside[0] in out, (out, err))
    status, out, err = atoll("vm", "snapshot", "list", "--json", file)
    want(status == 0 and json.loads(out)[0]["disks"] == [{"bus": bus, "disk": 0, "file": beside[0]}], (out, err))
    disks = ["--disk", f"{disk},if={bus}"]
    for args, why in (([*disks, *cdrom, *cdrom], {"sata": "SATA port 2 had nothing", "ide": "IDE drive 2 was none"}[bus]),
                      ([*disks, "--disk", f"{other},if={bus}"], {"sata": "SATA port 1 had a CD-ROM drive", "ide": "IDE drive 1 was a CD-ROM drive"}[bus])):
        status, _, err = atoll("run", "--restore", file, *args)
        want(status == 1 and why in err, (args, err))
    want(atoll("vm", "snapshot", "rm", file) == (0, "", "") and not [n for n in os.listdir(work) if n.startswith(bus)], "rm")


def options():
    parser = argparse.ArgumentParser(usage=__doc__)
    parser.add_argument("--saves", type=int, default=2)
    parser.add_argument("--rounds", type=int, default=60)
    parser.add_argument("--all-kills", action="store_true")
    parser.add_argument("names", nargs="*")
    return parser.parse_args()


if __name__ == "__main__":
    o = options()
    with vmm.own_runtime(), tempfile.TemporaryDirectory(prefix="snapshot-") as folder:
        tests = {"unsaved": unsaved, "kvm": lambda: kvm(folder), "on": lambda: saves_on(folder),
                 "saved": lambda: saved(folder, o.saves, o.rounds),
                 "disks": lambda: disks(folder, o.all_kills), "sata": lambda: drives(folder, "sata", "ahci")}
        if o.all_kills or "ide" in o.names:  # the long run
            tests["ide"] = lambda: drives(folder, "ide", "ata_piix")
        sys.exit(vmm.run_tests(["snapshot.py", *o.names], tests))
