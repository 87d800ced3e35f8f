#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""The mini board: Linux's drivers on virtio devices by MMIO, and what the board refuses.

usage: mini.py [--cpus N] NAME...
"""

import hashlib
import os
import subprocess
import sys
import tempfile
import threading

import observe
import virtio
import vmm
from virtio import MIB, UDHCPC, guest, want

MODULES = ["virtio_mmio", "virtio_blk", "virtio_net", "virtio_rng"]


def devices(cpus):
    """A disk, a network, a source of random numbers, each with its interrupt; a vCPU is plugged in."""
    with tempfile.TemporaryDirectory(prefix="mini-") as tmp:
        disk, script = os.path.join(tmp, "disk.img"), os.path.join(tmp, "udhcpc.sh")
        data = os.urandom(4 * MIB)
        with open(disk, "wb") as f:
            f.write(data)
            f.truncate(32 * MIB)
        with open(script, "w", encoding="ascii") as f:
            f.write(UDHCPC)
        os.chmod(script, 0o755)
        answers = []

        def plug(pid, line):
            if line == "guest-wants-cpu":
                threading.Thread(target=lambda: answers.append(
                    subprocess.run([vmm.atoll_path(), "cpus", str(pid), str(cpus + 1)], capture_output=True, check=False))).start()

        guest(MODULES, """
[ -e /sys/bus/pci/devices/0000:00:00.0 ] && fail PCI
want windows "$(ls -d /sys/bus/platform/devices/LNRO0005:* | wc -l)" 3
sum() { dd if=/dev/vda bs=1M skip=$1 count=4 iflag=direct 2>/dev/null | md5sum | cut -d' ' -f1; }
want read "$(sum 0)" %(md5)s
dd if=/dev/vda of=/dev/vda bs=1M count=4 seek=8 oflag=direct conv=fsync 2>/dev/null || fail write
want copy "$(sum 8)" %(md5)s
want bytes "$(head -c 10000 /dev/hwrng | wc -c)" 10000
ip link set lo up; ip link set eth0 up && udhcpc -i eth0 -n -q -s /udhcpc.sh || fail no address
ping -c 2 -A 10.0.2.2 >/dev/null || fail ping
# The driver leaves and comes back while it works.
for i in 1 2 3; do
	for k in 1 2 3; do dd if=/dev/vda of=/dev/null bs=64k iflag=direct 2>/dev/null & done
	echo virtio0 >$driver/virtio_blk/unbind || fail unbind
	wait
	echo virtio0 >$driver/virtio_blk/bind || fail bind
done
want again "$(sum 0)" %(md5)s
want interrupts "$(grep -c 'IO-APIC.*virtio' /proc/interrupts)" 3
echo guest-wants-cpu
i=0
until [ -e /sys/devices/system/cpu/cpu%(cpus)d ]; do i=$((i + 1)); [ $i -lt 400 ] || fail no CPU; sleep 0.05; done
""" % {"md5": hashlib.md5(data).hexdigest(), "cpus": cpus},
              ["--board", "mini", "--disk", disk, "--net", "user", "--max-cpus", str(cpus + 1), "--balloon", "off"],
              files=[(script, "udhcpc.sh")], cpus=cpus, on_line=plug)
        want(answers and answers[0].returncode == 0, f"atoll cpus: {answers}")
        with open(disk, "rb") as f:
            f.seek(8 * MIB)
            want(f.read(4 * MIB) == data, "what was written is not in the image")


def reboot(cpus):
    """By the register that the board has in the place of the PC's, and by a power button."""
    r = vmm.run(vmm.command(vmm.script("fetch-kernel.sh", "cloud"), vmm.script("mkinitramfs.sh"),
                            "console=ttyS0 panic=-1 quiet atoll.auto atoll.end=reboot", cpus=cpus,
                            extra=["--board", "mini"]), 120)
    if not r.find("atoll-guest: reboot") or r.status != 0 or r.timed_out:
        return r, "did not end by a reset"
    return r, None


def refused(_cpus):
    """What the board does not have is an error with its name, and so is a device too many."""
    for args, what in ((["-k", observe.TINY, "--display", "vga"], "no display"),
                       (["-k", observe.TINY, "--firmware", "seabios"], "no firmware"),
                       ([], "no firmware"),
                       (["-k", observe.TINY, "--watchdog", "reset"], "no watchdog"),
                       (["-k", observe.TINY, "--cdrom", observe.TINY], "no SATA"),
                       (["-k", observe.TINY, "--disk", observe.TINY + ",if=ide,format=raw,readonly"], "no SATA or IDE"),
                       (["-k", observe.TINY] + [a for n in range(8) for a in ("--net", "user")] +
                        [a for n in range(8) for a in ("--disk", f"{n}.img")], "more than 16 virtio devices")):
        with tempfile.TemporaryDirectory(prefix="mini-") as tmp:
            for n in range(8):
                with open(os.path.join(tmp, f"{n}.img"), "wb") as f:
                    f.truncate(MIB)
            disk = [] if args else ["--disk", "0.img"]
            p = vmm.complete([vmm.atoll_path(), "run", "--board", "mini", *args, *disk], cwd=tmp, capture_output=True, text=True,
                             stdin=subprocess.DEVNULL, timeout=60, check=False)
            want(p.returncode == 1 and what in p.stderr, (args, p))
    with observe.Machine("--name", "m", "--board", "mini"):
        status, _, err = observe.atoll("attach", "m", "--net", "user")
        want(status == 1 and "no slots" in err, err)


TESTS = {"devices": devices, "reboot": reboot, "refused": refused}


if __name__ == "__main__":
    with vmm.own_runtime():
        sys.exit(virtio.main(sys.argv, TESTS))
