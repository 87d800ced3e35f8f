#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""Linux's virtio drivers on our devices.

usage: virtio.py [--cpus N] NAME...

Each test boots Debian's cloud kernel with the drivers as modules, runs a script in the guest, and looks at what the
script said and at what the host sees.
"""

import hashlib
import os
import socket
import subprocess
import sys
import tempfile

import vmm

CMDLINE = "console=ttyS0 panic=-1 quiet atoll.run=/test.sh"
LIMIT = 240
HEAD = """#!/bin/sh
fail() { echo "guest-failed: $*"; exit 1; }
want() { [ "$2" = "$3" ] || fail "$1 is '$2', not '$3'"; echo "guest-ok: $1"; }
driver=/sys/bus/virtio/drivers
"""


class Failed(Exception):
    pass


def guest(modules, script, args, files=(), cpus=1, memory="512M", limit=LIMIT, on_line=None, stdin=None,
          append=""):
    """Runs `script` in a guest with the modules; returns the Run. Raises Failed unless the script ended well."""
    with tempfile.TemporaryDirectory(prefix="virtio-") as tmp:
        path = os.path.join(tmp, "test.sh")
        with open(path, "w", encoding="utf-8") as f:
            f.write(HEAD + script + "\necho guest-done\n")
        os.chmod(path, 0o755)
        mods = os.path.join(tmp, "modules")
        vmm.script("kernel-modules.py", "cloud", mods, "virtio_pci", *modules)
        add = ["--add", f"{path}:test.sh", "--add", f"{mods}:modules"]
        for source, where in files:
            add += ["--add", f"{source}:{where}"]
        initrd = vmm.script("mkinitramfs.sh", "-o", os.path.join(tmp, "initramfs.cpio.gz"), *add)
        kernel = vmm.script("fetch-kernel.sh", "cloud")
        r = vmm.run(vmm.command(kernel, initrd, CMDLINE + append, memory=memory, cpus=cpus, extra=args),
                    limit, on_line=on_line, stdin=stdin)
    if not r.find(r"^guest-done") or r.status != 0 or r.find(r"Kernel panic|BUG:|Oops|soft lockup|rcu.*stall"):
        r.report("the guest's script did not end well")
        raise Failed("the guest's script did not end well")
    return r


def want(true, what):
    if not true:
        raise Failed(what)


# --- tests ---------------------------------------------------------------------------------------------------------

def rng(cpus):
    guest(["virtio_rng"], """
want current "$(cat /sys/class/misc/hw_random/rng_current)" virtio_rng.0
want bytes "$(head -c 10000 /dev/hwrng | wc -c)" 10000
[ "$(head -c 64 /dev/hwrng | md5sum)" != "$(head -c 64 /dev/hwrng | md5sum)" ] || fail same bytes
# Reset with readers.
for i in 1 2 3; do cat /dev/hwrng >/dev/null 2>&1 & done
for i in 1 2 3 4 5; do
	echo virtio0 >$driver/virtio_rng/unbind || fail unbind
	echo virtio0 >$driver/virtio_rng/bind || fail bind
done
kill %1 %2 %3 2>/dev/null
want again "$(head -c 10000 /dev/hwrng | wc -c)" 10000
""", ["--rng", "on"], cpus=cpus)


MIB = 1 << 20


def console(cpus):
    """A console, and a channel whose other end is a socket."""
    with tempfile.TemporaryDirectory(prefix="virtio-console-") as tmp:
        out, sock = os.path.join(tmp, "out"), os.path.join(tmp, "sock")
        heard = []

        def answer(_pid, line):
            if line != "guest-listens":
                return
            s = socket.socket(socket.AF_UNIX)
            s.connect(sock)
            s.sendall(b"a question of the host\n" + b"x" * 100000 + b"\n")
            heard.append(s)

        r = guest(["virtio_console"], """
port=/dev/vport0p1
want name "$(cat /sys/class/virtio-ports/vport0p1/name)" org.atoll.test
i=0
while [ $i -lt 2000 ]; do echo "line $i"; i=$((i + 1)); done >/dev/hvc0
exec 3<>$port
echo guest-listens
read -r line <&3
want question "$line" "a question of the host"
read -r line <&3
want long "${#line}" 100000
echo "an answer of the guest" >&3
exec 3>&-
for i in 1 2 3; do
	cat /dev/zero >/dev/hvc0 2>/dev/null &
	cat $port >/dev/null 2>&1 &
	echo virtio0 >$driver/virtio_console/unbind || fail unbind
	kill %1 %2 2>/dev/null
	wait
	echo virtio0 >$driver/virtio_console/bind || fail bind
done
# It comes back by messages, and with the next number.
try() { for d in /dev/hvc[0-7]; do echo last >$d && return 0; done 2>/dev/null; return 1; }
i=0
until try; do i=$((i + 1)); [ $i -lt 200 ] || fail no console; sleep 0.05; done
""", ["--console", "file:" + out, "--console", "org.atoll.test=unix:" + sock, "--rng", "off"], cpus=cpus,
                  on_line=answer)
        want(heard, "the guest did not listen")
        said = b""
        while True:
            data = heard[0].recv(4096)
            if not data:
                break
            said += data
        heard[0].close()
        want(said.endswith(b"an answer of the guest\n"), f"the guest's answer is {said[-60:]!r}")
        with open(out, "rb") as f:
            text = f.read().replace(b"\0", b"").replace(b"\r", b"")
        lines = b"".join(b"line %d\n" % i for i in range(2000))
        want(text.startswith(lines) and text.endswith(b"last\n"), f"lines of the console are missing: {text[:80]!r} ... {text[-80:]!r}, {len(text)}")
        want(r.find("guest-ok: long"), "the long line did not come")


def disk(cpus):
    """Reads, writes, discards and flushes, compared with the image; a packed ring; a disk that cannot be written."""
    with tempfile.TemporaryDirectory(prefix="virtio-disk-") as tmp:
        a, b, c = (os.path.join(tmp, name) for name in ("a.img", "b.img", "c.bin"))
        data = os.urandom(4 * MIB)
        for path in (a, b, c):
            with open(path, "wb") as f:
                f.write(data)
                f.truncate(64 * MIB)
        with open(a, "r+b") as f:  # what will be discarded takes space before
            f.seek(32 * MIB)
            f.write(b"x" * 16 * MIB)
        before = os.stat(a).st_blocks * 512
        sums = {"md5": hashlib.md5(data).hexdigest(), "empty": hashlib.md5(bytes(4 * MIB)).hexdigest()}
        guest(["virtio_blk"], """
want size "$(cat /sys/block/vda/size)" 131072
want serial "$(cat /sys/block/vda/serial)" disk-a
want queues "$(ls /sys/block/vda/mq | wc -l)" %(cpus)d
want cache "$(cat /sys/block/vda/queue/write_cache)" "write back"
sum() { dd if=/dev/$1 bs=1M skip=$2 count=4 iflag=direct 2>/dev/null | md5sum | cut -d' ' -f1; }
for d in vda vdb vdc; do
	want "$d read" "$(sum $d 0)" %(md5)s
done
for d in vda vdb; do
	dd if=/dev/$d of=/dev/$d bs=1M count=4 seek=8 oflag=direct conv=fsync 2>/dev/null || fail write $d
	want "$d copy" "$(sum $d 8)" %(md5)s
	# Small, unaligned to anything but sectors.
	dd if=/dev/$d of=/dev/$d bs=512 skip=3 seek=40963 count=333 conv=fsync 2>/dev/null || fail small $d
done
dd if=/dev/zero of=/dev/vdc bs=512 count=1 oflag=direct 2>/dev/null && fail written to a disk that is read-only
blkdiscard -o $((32 << 20)) -l $((16 << 20)) /dev/vda || fail discard
want discarded "$(sum vda 32)" %(empty)s
# The cache switched off and on again.
echo "write through" >/sys/block/vda/queue/write_cache
# Readers and writers on all CPUs, while the driver leaves and comes back.
for i in 1 2 3 4 5; do
	for k in 1 2 3 4; do
		dd if=/dev/vdb of=/dev/null bs=64k iflag=direct 2>/dev/null &
		dd if=/dev/zero of=/dev/vdb bs=4k seek=8192 count=2000 oflag=direct 2>/dev/null &
	done
	dd if=/dev/vdb of=/dev/null bs=4k count=100 iflag=direct 2>/dev/null
	echo virtio1 >$driver/virtio_blk/unbind || fail unbind
	wait
	echo virtio1 >$driver/virtio_blk/bind || fail bind
done
want again "$(sum vdb 0)" %(md5)s
want "broken rings" "$(dmesg | grep -c 'virtio.*\(broken\|failed\)')" 0
""" % {**sums, "cpus": min(cpus, 4)}, ["--disk", a + ",serial=disk-a", "--disk", b + ",packed",
                                 "--disk", c + ",format=raw,readonly"], cpus=cpus)
        want(os.stat(a).st_blocks * 512 <= before - 16 * MIB + 8 * MIB + MIB,
             "the discarded range takes space on the host")
        for path in (a, b):
            with open(path, "rb") as f:
                image = f.read()
            want(len(image) == 64 * MIB, "the image's size changed")
            want(image[:4 * MIB] == data, "what was not written changed")
            want(image[8 * MIB:12 * MIB] == data, "what was written is not in the image")
            want(image[40963 * 512:41296 * 512] == data[3 * 512:336 * 512],
                 "what was written in small pieces is not in the image")
            want(image[4 * MIB:8 * MIB] == bytes(4 * MIB), "something else was written")


TESTS = {"rng": rng, "disk": disk, "console": console}


def main(argv):
    cpus, names = 1, argv[1:]
    if names[:1] == ["--cpus"]:
        cpus, names = int(names[1]), names[2:]
    names = names or list(TESTS)
    for name in names:
        if name not in TESTS:
            sys.exit(f"virtio.py: no test '{name}'; there are {', '.join(TESTS)}")
    tap = vmm.Tap(len(names))
    why = vmm.missing()
    for name in names:
        wrong = why
        try:
            if not why:
                TESTS[name](cpus)
        except RuntimeError as e:
            tap.skip(name, str(e))
            continue
        except (Failed, OSError, subprocess.SubprocessError) as e:
            wrong = str(e)
        if wrong:
            print(f"# {wrong}")
        tap.line(not wrong, name)
    return tap.done()


if __name__ == "__main__":
    sys.exit(main(sys.argv))
