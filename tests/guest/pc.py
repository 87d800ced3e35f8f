#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""Linux's drivers on the devices of the PC around it, and what a user does to the machine from outside.

usage: pc.py [NAME]...

Each test boots one of Debian's kernels with drivers as modules and runs a script in the guest, whose lines tell the host
when to act.
"""

import hashlib
import json
import os
import re
import struct
import subprocess
import sys
import tempfile
import threading
import time

import vmm
from viewer import Viewer
from vmm import Failed

CMDLINE = "console=ttyS0 panic=-1 quiet atoll.run=/test.sh "
LIMIT = 120
COMPLAINTS = r"Kernel panic|BUG:|Oops|soft lockup|rcu.*stall"
HEAD = """#!/bin/sh
fail() { echo "guest-failed: $*"; exit 1; }
want() { [ "$2" = "$3" ] || fail "$1 is '$2', not '$3'"; echo "guest-ok: $1"; }
"""


def want(true, what):
    if not true:
        raise Failed(what)


def guest(kernel, modules, script, args=(), on_line=None, append="", reboots=False, until=None):
    """Runs `script` in a guest with the modules; returns the Run."""
    with tempfile.TemporaryDirectory(prefix="pc-") as tmp:
        path = os.path.join(tmp, "test.sh")
        with open(path, "w", encoding="utf-8") as f:
            f.write(HEAD + script + "\necho guest-done\n")
        os.chmod(path, 0o755)
        add = ["--add", f"{path}:test.sh"]
        if modules:
            mods = os.path.join(tmp, "modules")
            vmm.script("kernel-modules.py", kernel, mods, *modules)
            add += ["--add", f"{mods}:modules"]
        initrd = vmm.script("mkinitramfs.sh", "-o", os.path.join(tmp, "initramfs.cpio.gz"), *add)
        cmd = vmm.command(vmm.script("fetch-kernel.sh", kernel), initrd, CMDLINE + append, extra=["--name", "pc", *args])
        if reboots:
            cmd.remove("--no-reboot")
        return vmm.run(cmd, LIMIT, on_line=on_line, until=until)


def ended_well(r, status=0):
    if r.status != status or r.find(COMPLAINTS) or r.find("^guest-failed"):
        r.report("the guest did not end well")
        raise Failed(f"status {r.status}, not {status}")


def atoll(*args):
    return subprocess.run([vmm.atoll_path(), *args], capture_output=True, text=True, check=False)


# --- tests ---------------------------------------------------------------------------------------------------------

def mouse():
    """A viewer's pointer and wheel become events of Linux's mouse driver."""
    port, viewer = vmm.free_port(), []

    def act(_pid, line):
        if line == "guest-listens":
            v = Viewer(port)
            viewer.append(v)
            v.point(100, 100, 0)
            v.point(110, 95, 0)
            v.point(110, 95, 1)
            v.point(110, 95, 0)
            v.point(110, 95, 16)
            v.point(110, 95, 0)
            v.point(109, 95, 0x84)
            v.point(109, 95, 0)

    r = guest("generic", ["psmouse", "evdev"], """
i=0
until grep -l Explorer /sys/class/input/event*/device/name >/tmp/name 2>/dev/null; do
	i=$((i + 1)); [ $i -lt 200 ] || fail no mouse; sleep 0.05
done
device=$(sed 's,/sys/class/input/,,; s,/.*,,' /tmp/name)
exec 3</dev/input/$device
echo guest-listens
# 24 bytes each: 16 of time, type, code, value.
dd bs=24 count=13 <&3 2>/dev/null | hexdump -v -e '24/1 "%02x" "\\n"' | sed 's/^/guest-event: /'
""", ["--display", f"vnc=127.0.0.1:{port}"], on_line=act)
    ended_well(r)
    events = [struct.unpack("<16xHHi", bytes.fromhex(m[1])) for _, m in r.find_all(r"guest-event: (\w+)")]
    # REL is 2 (X 0, Y 1, WHEEL 8), KEY is 1 (LEFT 272, RIGHT 273, SIDE 275).
    want([e for e in events if e[0]] ==
         [(2, 0, 10), (2, 1, -5), (1, 272, 1), (1, 272, 0), (2, 8, -1), (1, 275, 1), (1, 273, 1), (2, 0, -1)],
         f"the events are {events}")


def sata():
    """A hard disk on the SATA controller: queued commands of several processes, trim, a read-only one, a CD-ROM drive."""
    with tempfile.TemporaryDirectory(prefix="pc-sata-") as tmp:
        disk, second, cd = (os.path.join(tmp, n) for n in ("a.raw", "b.qcow2", "cd.iso"))
        for path, size in ((disk, 64 << 20), (cd, 1 << 20)):
            with open(path, "wb") as f:
                f.truncate(size)
        subprocess.run([vmm.atoll_path(), "disk", "create", second, "64M"], check=True)
        with open(cd, "r+b") as f:
            f.write(b"on the CD")
        r = guest("generic", ["ahci", "sd_mod", "sr_mod"], """
i=0
until [ -e /dev/sda ] && [ -e /dev/sdb ] && [ -e /dev/sr0 ]; do i=$((i + 1)); [ $i -lt 200 ] || fail no disks; sleep 0.05; done
# Linux looks at all of them at once, so which one is sda changes.
first=$(basename /sys/devices/pci*/*/ata1/host*/target*/*/block/*)
second=$(basename /sys/devices/pci*/*/ata2/host*/target*/*/block/*)
want ncq "$(cat /sys/block/$first/device/queue_depth)" 32
want serial "$(dmesg | grep -c 'ata.*ATOLL DISK')" 2
want cd "$(head -c 9 /dev/sr0)" "on the CD"
for k in 0 1 2 3; do
	head -c 8388608 /dev/urandom >/tmp/$k
	dd if=/tmp/$k of=/dev/$first bs=64k seek=$((k * 128)) conv=fsync 2>/dev/null &
done
wait
echo 3 >/proc/sys/vm/drop_caches
for k in 0 1 2 3; do
	dd if=/dev/$first bs=64k skip=$((k * 128)) count=128 2>/dev/null | cmp - /tmp/$k || fail read $k
	echo "guest-sum: $(sha256sum </tmp/$k)"
done
echo guest-ok: data
blkdiscard -o 8388608 -l 8388608 /dev/$first || fail discard
echo 3 >/proc/sys/vm/drop_caches
want discarded "$(dd if=/dev/$first bs=1M skip=8 count=8 2>/dev/null | tr -d '\\0' | wc -c)" 0
want errors "$(dmesg | grep -c 'ata.*exception')" 0
# ATA has no word for a disk that cannot be written; writing fails.
dd if=/dev/zero of=/dev/$second bs=4k count=1 conv=fsync 2>/dev/null && fail write to a read-only disk
want aborted "$(dmesg | grep -c 'error: { ABRT }' | sed 's/[1-9].*/some/')" some
""", ["--disk", f"{disk},if=sata", "--disk", f"{second},if=sata,readonly", "--cdrom", cd])
        ended_well(r)
        with open(disk, "rb") as f:
            data = f.read()
    sums = [m[1] for _, m in r.find_all(r"guest-sum: (\w+)")]
    want([hashlib.sha256(data[k << 23:(k + 1) << 23]).hexdigest() for k in (0, 2, 3)] == [sums[k] for k in (0, 2, 3)],
         "the file has other data")
    want(not any(data[1 << 23:2 << 23]), "what was discarded is in the file")


def ide(mode, append=""):
    """Disks and a CD-ROM drive at the IDE controller, whose driver has settled on `mode` of moving data."""
    with tempfile.TemporaryDirectory(prefix="pc-ide-") as tmp:
        disk, second, cd = (os.path.join(tmp, n) for n in ("a.raw", "b.qcow2", "cd.iso"))
        content = os.urandom(1 << 20)
        with open(disk, "wb") as f:
            f.truncate(64 << 20)
        subprocess.run([vmm.atoll_path(), "disk", "create", second, "64M"], check=True)
        with open(cd, "wb") as f:
            f.write(content)
        r = guest("generic", ["ata_piix", "sd_mod", "sr_mod"], f"""
i=0
until [ -e /dev/sda ] && [ -e /dev/sdb ] && [ -e /dev/sr0 ]; do i=$((i + 1)); [ $i -lt 200 ] || fail no disks; sleep 0.05; done
first=$(basename /sys/devices/pci*/*/ata1/host*/target*/*:0:0:0/block/*)
second=$(basename /sys/devices/pci*/*/ata1/host*/target*/*:0:1:0/block/*)
want model "$(cat /sys/block/$first/device/model | sed 's/ *$//')" "ATOLL DISK"
for d in 1.0 1.1 2.0; do want "mode of $d" "$(cat /sys/class/ata_device/dev$d/xfer_mode)" {mode}; done
for k in 0 1 2 3; do
	head -c 2097152 /dev/urandom >/tmp/$k
	dd if=/tmp/$k of=/dev/$first bs=64k seek=$((k * 32)) conv=fsync 2>/dev/null &
done
dd if=/dev/urandom of=/tmp/other bs=64k count=32 2>/dev/null
dd if=/tmp/other of=/dev/$second bs=64k conv=fsync 2>/dev/null &
echo "guest-cd: $(sha256sum </dev/sr0)"
wait
echo 3 >/proc/sys/vm/drop_caches
for k in 0 1 2 3; do
	dd if=/dev/$first bs=64k skip=$((k * 32)) count=32 2>/dev/null | cmp - /tmp/$k || fail read $k
	echo "guest-sum: $(sha256sum </tmp/$k)"
done
dd if=/dev/$second bs=64k count=32 2>/dev/null | cmp - /tmp/other || fail read of the second
# The last sector, and none after it.
dd if=/tmp/0 of=/dev/$first bs=512 seek=131071 count=1 conv=fsync 2>/dev/null || fail last sector
dd if=/dev/$first bs=512 skip=131071 2>/dev/null | cmp -n 512 - /tmp/0 || fail last sector back
want errors "$(dmesg | grep -c 'ata.*exception')" 0
""", ["--disk", f"{disk},if=ide", "--disk", f"{second},if=ide", "--disk", f"{cd},if=ide,cdrom"], append=append)
        ended_well(r)
        with open(disk, "rb") as f:
            data = f.read()
    sums = [m[1] for _, m in r.find_all(r"guest-sum: (\w+)")]
    want([hashlib.sha256(data[k << 21:(k + 1) << 21]).hexdigest() for k in range(4)] == sums, "the file has other data")
    want(r.find("guest-cd: " + hashlib.sha256(content).hexdigest()), "the CD has other data")


def watchdog():
    """Fed it is quiet; not fed, it ends the machine as configured."""
    r = guest("generic", ["i6300esb"], """
watchdog -T 4 -t 1 -F /dev/watchdog &
sleep 8
echo guest-fed
kill -9 $!
sleep 600
""", ["--watchdog", "poweroff"])
    ended_well(r, status=1)
    want(r.find("^guest-fed") and r.find("atoll-vm: the guest's watchdog expired"), "no word of the watchdog")


PANIC = """
echo guest-panics
echo 0 >/proc/sys/kernel/panic
echo c >/proc/sysrq-trigger
"""


def panic():
    r = guest("cloud", ["pvpanic_pci"], PANIC, ["--on-panic", "poweroff"])
    want(r.status == 1 and r.find("atoll-vm: the guest panicked"), f"status {r.status}")
    want(r.find("vm.guest"), "nothing was logged")


def panic_pause():
    """The machine stands still where its guest panicked, and tells so."""
    told = []

    def look():
        end = time.monotonic() + LIMIT
        while time.monotonic() < end:
            told[:] = [json.loads(line) for line in atoll("ps", "--json").stdout.splitlines()]
            if told and told[0]["state"] == "paused":
                break
            time.sleep(0.05)
        atoll("stop", "--force", "pc")

    def act(_pid, line):
        if line == "guest-panics":
            threading.Thread(target=look).start()

    r = guest("cloud", ["pvpanic_pci"], PANIC, ["--on-panic", "pause"], on_line=act)
    want(r.status == 0, f"status {r.status}")
    want(told and (told[0]["state"], told[0]["panics"], told[0]["watchdogs"]) == ("paused", 1, 0), told)


def cpus():
    """vCPUs come, work, go when the guest lets them, and come again."""
    said = []

    def act(_pid, line):
        m = re.match(r"guest-wants (\d)$", line)
        if m:
            said.append(atoll("cpus", "pc", m[1]).stdout.strip())

    r = guest("cloud", [], """
cpu=/sys/devices/system/cpu
wait_for() { i=0; until eval "$1"; do i=$((i + 1)); [ $i -lt 300 ] || fail "$1"; sleep 0.05; done; }
grow() {
	echo "guest-wants $1"
	wait_for "[ -e $cpu/cpu$(($1 - 1))/online ]"
	for c in $cpu/cpu[1-9]; do [ "$(cat $c/online)" = 1 ] || echo 1 >$c/online || fail online $c; done
	want "cpus $1" "$(grep -c ^processor /proc/cpuinfo)" "$1"
}
want possible "$(cat $cpu/possible)" 0-3
want one "$(grep -c ^processor /proc/cpuinfo)" 1
grow 3
for c in 0 1 2; do taskset -c $c sh -c 'i=0; while [ $i -lt 20000 ]; do i=$((i + 1)); done; echo ran' >/tmp/$c & done
wait
want ran "$(cat /tmp/0 /tmp/1 /tmp/2 | grep -c ran)" 3
echo guest-wants 1
wait_for "[ ! -e $cpu/cpu1 ] && [ ! -e $cpu/cpu2 ]"
want back "$(grep -c ^processor /proc/cpuinfo)" 1
grow 4
""", ["--max-cpus", "4"], on_line=act)
    ended_well(r)
    # Those that go are still there when the guest has only been asked.
    want(said == ["3 of 4", "3 of 4", "4 of 4"], f"atoll cpus said {said}")


TESTS = {
    "cpus": cpus,
    "watchdog": watchdog,
    "panic": panic,
    "panic-pause": panic_pause,
    "sata": sata,
    "ide": lambda: ide("XFER_MW_DMA_2"),
    "ide-pio": lambda: ide("XFER_PIO_4", "libata.dma=0 "),
    "mouse": mouse,
}


if __name__ == "__main__":
    with vmm.own_runtime():
        sys.exit(vmm.run_tests(sys.argv, TESTS))
