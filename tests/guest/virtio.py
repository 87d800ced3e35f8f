#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""Linux's virtio drivers on our devices.

usage: virtio.py [--cpus N] NAME...

Each test boots Debian's cloud kernel with the drivers as modules, runs a script in the guest, and looks at what the
script said and at what the host sees.
"""

import base64
import hashlib
import http.server
import json
import os
import socket
import stat
import struct
import subprocess
import sys
import tempfile
import threading
import time

import vmm
from confine import needs_all
from viewer import Viewer
from vmm import Failed, free_port

CMDLINE = "console=ttyS0 panic=-1 quiet atoll.run=/test.sh"
LIMIT = 240
HEAD = """#!/bin/sh
fail() { echo "guest-failed: $*"; exit 1; }
want() { [ "$2" = "$3" ] || fail "$1 is '$2', not '$3'"; echo "guest-ok: $1"; }
driver=/sys/bus/virtio/drivers
"""


def guest(modules, script, args, files=(), cpus=1, memory="512M", limit=LIMIT, on_line=None, stdin=None,
          append="", wrap=()):
    """Runs `script` in a guest with the modules, the machine by the command `wrap` if given; returns the Run. Raises
    Failed unless the script ended well."""
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
        command = vmm.command(kernel, initrd, CMDLINE + append, memory=memory, cpus=cpus, extra=args)
        r = vmm.run([*wrap, *command], limit, on_line=on_line, stdin=stdin)
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
# The driver hears by messages that it has a port, what that is called, and that it has a console, each time with the next
# number.
name() { cat /sys/class/virtio-ports/vport0p1/name 2>/dev/null; }
i=0
until [ "$(name)" ]; do i=$((i + 1)); [ $i -lt 200 ] || fail no port; sleep 0.05; done
want name "$(name)" org.atoll.test
try() { for con in /dev/hvc[0-7]; do (echo "$1" >$con) 2>/dev/null && return 0; done; return 1; }
say() {
	i=0
	until try "$1"; do i=$((i + 1)); [ $i -lt 200 ] || fail no console; sleep 0.05; done
}
say first
i=0
while [ $i -lt 2000 ]; do echo "line $i"; i=$((i + 1)); done >$con
exec 3<>$port
echo guest-listens
read -r line <&3
want question "$line" "a question of the host"
read -r line <&3
want long "${#line}" 100000
echo "an answer of the guest" >&3
exec 3>&-
for round in 1 2 3; do
	# Not to the console: a driver that leaves takes what its console was writing for a buffer of its ports and frees it.
	exec 3<>$port
	cat /dev/zero >&3 2>/dev/null &
	cat <&3 >/dev/null 2>&1 &
	exec 3>&-
	echo virtio0 >$driver/virtio_console/unbind || fail unbind
	kill %1 %2 2>/dev/null || :
	wait
	echo virtio0 >$driver/virtio_console/bind || fail bind
	say "round $round"
	i=0
	until [ "$(name)" ]; do i=$((i + 1)); [ $i -lt 200 ] || fail no port again; sleep 0.05; done
done
say last
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
        said = said.rstrip(b"\0")
        want(said.endswith(b"an answer of the guest\n"), f"the guest's answer is {said[-60:]!r}")
        with open(out, "rb") as f:
            text = f.read().replace(b"\0", b"").replace(b"\r", b"")
        lines = b"first\n" + b"".join(b"line %d\n" % i for i in range(2000))
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
# Readers and writers on all CPUs, while the driver leaves and comes back. A writer that comes while it is away must not
# make a file called /dev/vdb: a node of our own stays.
mknod /other b $(tr : ' ' </sys/block/vdb/dev)
for i in 1 2 3 4 5; do
	for k in 1 2 3 4; do
		dd if=/dev/vdb of=/dev/null bs=64k iflag=direct 2>/dev/null &
		dd if=/dev/zero of=/other bs=4k seek=8192 count=2000 oflag=direct 2>/dev/null &
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


def live(cpus):
    """The graph of a disk changes under a guest that writes, and the disk grows."""
    with tempfile.TemporaryDirectory(prefix="virtio-live-") as tmp:
        base, over = os.path.join(tmp, "base.img"), os.path.join(tmp, "over.qcow2")
        new, data = os.path.join(tmp, "new.qcow2"), os.path.join(tmp, "data")
        with open(base, "wb") as f:
            f.truncate(64 * MIB)
        with open(data, "wb") as f:
            f.write(os.urandom(2 * MIB))
        subprocess.run([vmm.atoll_path(), "disk", "create", "-b", base, "-F", "raw", over], check=True)
        said = []

        def change(pid, line):
            if line != "guest-writes":
                return
            for words in (("snapshot", str(pid), "0", new), ("commit", str(pid), "0"),
                          ("stream", str(pid), "0"), ("snapshot", str(pid), "0", new + ".2"),
                          ("resize", str(pid), "0", "128M")):
                p = subprocess.run([vmm.atoll_path(), "live", *words], stdin=subprocess.DEVNULL,
                                   capture_output=True, text=True, timeout=LIMIT, check=False)
                if p.returncode:
                    said.append((words, p.stderr))

        guest(["virtio_blk"], """
write() {
	while [ ! -e /stop ]; do
		for k in $1 $(($1 + 4)) $(($1 + 8)); do
			dd if=/data of=/dev/vda bs=64k seek=$((k * 33)) conv=fsync 2>/dev/null || echo >/failed
		done
	done
}
for i in 0 1 2 3; do write $i & done
echo guest-writes
i=0
while [ "$(cat /sys/block/vda/size)" = 131072 ]; do
	i=$((i + 1))
	[ $i -lt 600 ] || fail "the disk does not grow"
	sleep 0.1
done
>/stop
wait
[ ! -e /failed ] || fail write
want size "$(cat /sys/block/vda/size)" 262144
dd if=/data of=/dev/vda bs=64k seek=2000 oflag=direct conv=fsync 2>/dev/null || fail write behind the old end
echo 3 >/proc/sys/vm/drop_caches
want=$(md5sum </data)
for k in $(seq 0 11); do
	want "place $k" "$(dd if=/dev/vda bs=64k skip=$((k * 33)) count=32 iflag=direct 2>/dev/null | md5sum)" "$want"
done
want "new place" "$(dd if=/dev/vda bs=64k skip=2000 count=32 iflag=direct 2>/dev/null | md5sum)" "$want"
""", ["--disk", over], files=[(data, "data")], cpus=cpus, on_line=change)
        want(not said, f"atoll live: {said}")
        for name in (over, new, new + ".2"):
            subprocess.run(["qemu-img", "check", "-q", name], check=True)


def mount(*args):
    return subprocess.run(["mount", *args], capture_output=True, text=True, check=False)


def full(cpus):
    """A host without space for what a guest writes to its file system: it waits, or hears of it, and nothing is lost."""
    with tempfile.TemporaryDirectory(prefix="virtio-full-") as tmp:
        p = mount("-t", "tmpfs", "-o", "size=16M", "tmpfs", tmp)
        if p.returncode:
            raise RuntimeError(f"cannot mount a file system that can be full: {p.stderr.strip()}")
        try:
            fill(cpus, tmp)
        finally:
            subprocess.run(["umount", "-l", tmp], check=True)


def fill(cpus, tmp):
    """full() with the images in the folder `tmp`, where 16 MiB have room."""
    waits, reports = os.path.join(tmp, "waits.img"), os.path.join(tmp, "reports.img")
    for path in (waits, reports):
        with open(path, "wb") as f:
            f.truncate(64 * MIB)
    subprocess.run(["mkfs.ext4", "-q", waits], check=True)
    failed = []

    def ask(pid, *words):
        p = subprocess.run([vmm.atoll_path(), "live", *words[:1], str(pid), *words[1:]], stdin=subprocess.DEVNULL,
                           capture_output=True, text=True, timeout=LIMIT, check=False)
        if p.returncode:
            failed.append(p.stderr)
        return p.stdout

    def act(pid, line):
        if line == "guest-writes":
            end = time.monotonic() + LIMIT
            while not failed and not json.loads(ask(pid, "disks", "--json"))[0]["full"]:
                if time.monotonic() > end:
                    failed.append("no request waits for space")
                time.sleep(0.05)
            mount("-o", "remount,size=60M", tmp)
            ask(pid, "retry", "0")
        elif line == "guest-fills":
            used = os.statvfs(tmp)
            mount("-o", f"remount,size={(used.f_blocks - used.f_bfree) * used.f_frsize + MIB}", tmp)
            ask(pid, "resize", "1", "72M")  # the guest's sign to go on
        elif line == "guest-heard":
            mount("-o", "remount,size=100M", tmp)

    r = guest(["virtio_blk"], """
mkdir -p /mnt && mount -t ext4 /dev/vda /mnt || fail mount
head -c 25165824 /dev/urandom >/data
echo guest-writes
dd if=/data of=/mnt/data bs=64k conv=fsync 2>/dev/null || fail write
umount /mnt && mount -t ext4 /dev/vda /mnt || fail mount again
want data "$(md5sum </mnt/data)" "$(md5sum </data)"
umount /mnt
want errors "$(dmesg | grep -c 'I/O error\\|EXT4-fs.*error')" 0
echo "guest-sum: $(head -c 8388608 /data | md5sum)"
# Told, not waited for.
dd if=/data of=/dev/vdb bs=64k count=16 oflag=direct 2>/dev/null || fail write while there is room
echo guest-fills
i=0
until [ "$(cat /sys/block/vdb/size)" = 147456 ]; do i=$((i + 1)); [ $i -lt 400 ] || fail no sign; sleep 0.05; done
dd if=/data of=/dev/vdb bs=64k count=128 oflag=direct 2>/dev/null && fail nobody said that it is full
want told "$(dmesg | grep -c 'vdb.*error\\|error.*vdb' | sed 's/[1-9].*/some/')" some
echo guest-heard
i=0
until dd if=/data of=/dev/vdb bs=64k count=128 oflag=direct 2>/dev/null; do
	i=$((i + 1)); [ $i -lt 200 ] || fail there is no room again
	sleep 0.1
done
""", ["--disk", waits, "--disk", reports + ",full=report", "--rng", "off", "--balloon", "off"], cpus=cpus, on_line=act)
    want(not failed, "; ".join(failed))
    subprocess.run(["e2fsck", "-fn", waits], check=True, capture_output=True)
    with open(reports, "rb") as f:
        want(hashlib.md5(f.read(8 * MIB)).hexdigest() == r.find(r"guest-sum: (\w+)")[1], "the image has other data")


UDHCPC = """#!/bin/sh
[ "$1" = bound ] || exit 0
ip addr add $ip/24 dev $interface
ip route add default via $router
echo "guest-dhcp: $ip $router $dns"
"""


class Web(http.server.BaseHTTPRequestHandler):
    """Gives a megabyte for every GET, and takes what is sent."""

    def do_GET(self):
        self.send_response(200)
        self.send_header("Content-Length", str(len(self.server.data)))
        self.end_headers()
        self.wfile.write(self.server.data)

    def do_POST(self):
        self.server.posted = self.rfile.read(int(self.headers["Content-Length"]))
        self.send_response(200)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, *_):
        pass


def served(cpus):
    """A disk that an NBD server has, which is killed and started again meanwhile."""
    with tempfile.TemporaryDirectory(prefix="virtio-served-") as tmp:
        image, data = os.path.join(tmp, "disk.qcow2"), os.path.join(tmp, "data")
        flag = os.path.join(tmp, "flag.raw")
        listen = "unix:" + os.path.join(tmp, "sock")
        with open(data, "wb") as f:
            f.write(os.urandom(2 * MIB))
        with open(flag, "wb") as f:
            f.truncate(MIB)
        subprocess.run([vmm.atoll_path(), "disk", "create", image, "64M"], check=True)
        servers = []
        try:
            needs_all()
            confined = ["--sandbox", "require"]
        except RuntimeError:  # this host does not confine
            confined = []

        def start():
            p = vmm.start([vmm.atoll_path(), "disk", "serve", "-l", listen, image],
                          stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, text=True)
            servers.append(p)
            return p.stdout.readline().strip()

        def again(pid, line):
            if line == "guest-flushed":
                servers[-1].kill()
                servers[-1].wait()
                start()
                with open(flag, "r+b") as f:
                    f.write(b"!")

        try:
            guest(["virtio_blk"], """
for k in 0 5 9; do
	dd if=/data of=/dev/vda bs=64k seek=$((k * 50 + 3)) conv=fsync 2>/dev/null || fail write
done
sync
echo guest-flushed
i=0
while [ "$(dd if=/dev/vdb bs=4k count=1 iflag=direct 2>/dev/null | head -c 1)" != "!" ]; do
	i=$((i + 1))
	[ $i -lt 600 ] || fail "the server is not started again"
	sleep 0.1
done
want=$(md5sum </data)
for k in 0 5 9; do
	want "place $k" "$(dd if=/dev/vda bs=64k skip=$((k * 50 + 3)) count=32 iflag=direct 2>/dev/null | md5sum)" "$want"
done
dd if=/data of=/dev/vda bs=64k seek=700 oflag=direct conv=fsync 2>/dev/null || fail write again
""", [*confined, "--disk", start() + ",reconnect=60s", "--disk", flag + ",readonly"], files=[(data, "data")], cpus=cpus, on_line=again)
            want(len(servers) == 2, "the server was not started again")
        finally:
            for p in servers:
                p.terminate()
                p.wait()
                p.stdout.close()
        raw = os.path.join(tmp, "raw")
        subprocess.run(["qemu-img", "convert", "-O", "raw", image, raw], check=True)
        with open(raw, "rb") as f, open(data, "rb") as g:
            content = g.read()
            for k in (3, 253, 453, 700):
                f.seek(k << 16)
                want(f.read(2 * MIB) == content, f"the image's content at {k << 16}")


def net(cpus):
    """User-mode network: an address by DHCP, the host's servers, a port of the host that leads to the guest, a
    capture; and the driver unbound under load."""
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Web)
    server.data, server.posted = os.urandom(4 * MIB), None
    server.handle_error = lambda *_: None  # the guest pulls its cable while it reads
    threading.Thread(target=server.serve_forever, daemon=True).start()
    udp = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    udp.bind(("127.0.0.1", 0))
    forwarded, heard = free_port(), []

    def call(_pid, line):
        if line != "guest-listens":
            return
        for _ in range(100):
            said = b""
            try:
                with socket.create_connection(("127.0.0.1", forwarded), 20) as s:
                    s.sendall(b"hello guest\n")
                    while True:
                        data = s.recv(65536)
                        if not data:
                            break
                        said += data
            except OSError as e:
                print(f"# forwarded connection: {e} after {len(said)} bytes")
            if said:
                heard.append(said)
                return
            time.sleep(0.05)  # the guest's server is not there yet

    with tempfile.TemporaryDirectory(prefix="virtio-net-") as tmp:
        script, pcap = os.path.join(tmp, "udhcpc.sh"), os.path.join(tmp, "net.pcap")
        with open(script, "w", encoding="ascii") as f:
            f.write(UDHCPC)
        os.chmod(script, 0o755)
        r = guest(["virtio_net"], """
web=http://10.0.2.2:%(port)d
up() { ip link set lo up; ip link set eth0 up && udhcpc -i eth0 -n -q -s /udhcpc.sh; }
want mac "$(cat /sys/class/net/eth0/address)" 52:54:00:aa:bb:cc
up || fail no address
want carrier "$(cat /sys/class/net/eth0/carrier)" 1
for i in 1 2 3; do
	want "data $i" "$(wget -q -O - $web/ | md5sum | cut -d' ' -f1)" %(md5)s
done
wget -q -O /data $web/ && base64 /data >/text || fail fetch
wget -q -O /dev/null --post-file=/text $web/ || fail post
syslogd -R 10.0.2.2:%(udp)d
until [ -S /dev/log ]; do sleep 0.05; done
logger "by udp" || fail syslog
ping -c 2 -A 10.0.2.2 >/dev/null || fail ping
echo guest-listens
i=0
nc -l -p 8080 -e /bin/sh -c 'read -r line; echo "you said $line"; cat /data' || fail no caller
# What it sent is on its way; until the other end has it all, the cable stays.
while grep ':1F90 ' /proc/net/tcp /proc/net/tcp6 | grep -qE ' 0[14B] [0-9A-F]+:'; do sleep 0.05; done
for i in 1 2 3; do
	wget -q -O /dev/null $web/ &
	wget -q -O /dev/null $web/ &
	echo virtio0 >$driver/virtio_net/unbind || fail unbind
	kill %%1 %%2 2>/dev/null
	wait
	echo virtio0 >$driver/virtio_net/bind || fail bind
	up || fail no address again
done
want "data again" "$(wget -q -O - $web/ | md5sum | cut -d' ' -f1)" %(md5)s
""" % {"port": server.server_port, "udp": udp.getsockname()[1],
       "md5": hashlib.md5(server.data).hexdigest()},
                  ["--net", f"user,mac=52:54:00:aa:bb:cc,pcap={pcap},hostfwd=tcp:127.0.0.1:{forwarded}-:8080"],
                  files=[(script, "udhcpc.sh")], cpus=cpus, on_line=call)
        want(r.find(r"^guest-dhcp: 10\.0\.2\.15 10\.0\.2\.2 10\.0\.2\.3$"), "DHCP gave something else")
        want(server.posted == base64.encodebytes(server.data), "what was posted is not what was fetched")
        want(heard, "the forwarded port gave nothing")
        want(heard[0] == b"you said hello guest\n" + server.data,
             f"the forwarded port gave {len(heard[0])} bytes: {heard[0][:40]!r}...")
        with open(pcap, "rb") as f:
            capture = f.read()
        at, frames = 24, []
        while at + 16 <= len(capture):
            length = int.from_bytes(capture[at + 8:at + 12], "little")
            frames.append(capture[at + 16:at + 16 + length])
            at += 16 + length
        udp.settimeout(5)
        want(any(b"by udp" in udp.recv(200) for _ in range(3)), "the datagram is not the guest's")
        want(at == len(capture) and len(frames) > 100, "the capture is cut")
        want(any(b"DHCP" in f or f[36:38] == b"\0\x43" for f in frames), "the capture has no DHCP")
        want(max(map(len, frames)) > 3000, "no packet was larger than the wire's")
    server.shutdown()
    udp.close()


def memory_of(pid):
    """Bytes that the host keeps for the guest's memory."""
    folder = f"/proc/{pid}/fd"
    for name in os.listdir(folder):
        path = os.path.join(folder, name)
        try:
            if os.readlink(path).startswith("/memfd:guest-ram"):
                return os.stat(path).st_blocks * 512
        except FileNotFoundError:  # a connection that has ended meanwhile
            continue
    raise Failed("the machine has no memory file")


def ask_balloon(*args):
    p = subprocess.run([vmm.atoll_path(), "balloon", "--json", *args], stdin=subprocess.DEVNULL, capture_output=True,
                       text=True, timeout=60, check=False)
    want(p.returncode == 0, f"atoll balloon: {p.stderr}")
    return json.loads(p.stdout)


def balloon(cpus):
    """Memory comes back to the host because it is free, because it is asked for, and because the host has little; the guest
    gets it again."""
    name, said, pids = f"balloon-{os.getpid()}", {}, []

    def wait(what, true):
        """`true` of what `atoll balloon` says, or of the memory, comes true."""
        end = time.monotonic() + 60
        while not true():
            want(time.monotonic() < end, what)
            time.sleep(0.1)

    def has_spared(b):
        said["spared"] = b
        return b["actual_bytes"] == b["target_bytes"] and b["stats"]["available_bytes"] <= 66 * MIB

    def answer(pid, line):
        if line not in ("guest-full", "guest-empty", "guest-asks", "guest-spares", "guest-lacks"):
            return
        try:
            if line == "guest-full":
                said["full"] = memory_of(pid)
                pids.append(pid)
            elif line == "guest-empty":
                wait("free memory is not given back", lambda: memory_of(pid) < said["full"] - 40 * MIB)
                said["reported"] = ask_balloon(name)["reported_bytes"]
            elif line == "guest-asks":
                ask_balloon(name, "192M")
                wait("the guest does not give memory", lambda: ask_balloon(name)["actual_bytes"] == 192 * MIB)
                said["small"] = ask_balloon(name)
                said["small-host"] = memory_of(pid)
                ask_balloon(name, "512M")
                wait("the guest does not take memory", lambda: ask_balloon(name)["actual_bytes"] == 512 * MIB)
                said["large"] = ask_balloon(name)
            elif line == "guest-spares":
                want(ask_balloon(name, "auto")["auto"], "the balloon is not automatic")
                wait("the guest does not give what it can spare", lambda: has_spared(ask_balloon(name)))
            elif line == "guest-lacks":
                wait("the guest does not get what it lacks",
                     lambda: ask_balloon(name)["actual_bytes"] > said["spared"]["actual_bytes"] + 16 * MIB)
                want(not ask_balloon(name, "512M")["auto"], "the balloon is still automatic")
        except (Failed, OSError, subprocess.SubprocessError) as e:
            said["failed"] = str(e)
        with socket.socket(socket.AF_UNIX) as s:  # the guest waits for a line on its channel
            s.connect(sock)
            s.sendall(b"go on\n")

    with tempfile.TemporaryDirectory(prefix="virtio-balloon-") as tmp:
        sock = os.path.join(tmp, "sock")
        guest(["virtio_balloon", "virtio_console"], """
mkdir /full
mount -t tmpfs -o size=300m full /full
head -c 70000000 /dev/urandom >/full/data
tell() { echo "$1"; read -r line </dev/vport0p0 || fail no answer; }
tell guest-full
rm /full/data
tell guest-empty
# What was given back is there when it is used.
head -c 70000000 /dev/zero >/full/data
want zeros "$(tr -d '\\000' </full/data | wc -c)" 0
rm /full/data
tell guest-asks
tell guest-spares
# More than half of what a guest of this size keeps for itself when its host has nothing left.
head -c 44000000 /dev/urandom >/full/data
tell guest-lacks
yes "some text" | head -c 20000000 >/full/data
want text "$(tr -d 'sometx\\n ' </full/data | wc -c)" 0
for i in 1 2 3; do
	echo virtio1 >$driver/virtio_balloon/unbind || fail unbind
	echo virtio1 >$driver/virtio_balloon/bind || fail bind
done
want text "$(tr -d 'sometx\\n ' </full/data | wc -c)" 0
""", ["--name", name, "--console", "org.atoll.test=unix:" + sock, "--rng", "off", "--balloon", "on",
      "--host-reserve", "1024T"], cpus=cpus,
              on_line=answer)
    want("failed" not in said, said.get("failed"))
    want(said["reported"] >= 40 * MIB, f"the guest reported {said['reported']} bytes")
    small, large = said["small"], said["large"]
    want(small["stats"]["available_bytes"] < 200 * MIB, f"the guest still has {small}")
    want(said["small-host"] < 220 * MIB, f"the host keeps {said['small-host']} bytes")
    want(large["stats"]["available_bytes"] > 300 * MIB, f"the guest has only {large}")


def build(name, tmp):
    """A static program of this folder, for guest and host."""
    out = os.path.join(tmp, name)
    subprocess.run([*os.environ.get("CC", "gcc").split(), "-O2", "-Wall", "-Wextra", "-Werror", "-D_GNU_SOURCE",
                    "-static", "-o", out, os.path.join(os.path.dirname(__file__), name, name + ".c")], check=True)
    return out


def tree(folder):
    """{path: what is there} of a folder."""
    found = {}
    for where, folders, files in os.walk(folder):
        for name in folders + files:
            path = os.path.join(where, name)
            st = os.lstat(path)
            what = [oct(st.st_mode), st.st_uid, st.st_gid]
            if stat.S_ISLNK(st.st_mode):
                what.append(os.readlink(path))
            else:
                what.append({n: os.getxattr(path, n) for n in os.listxattr(path) if n.startswith("user.")})
            if stat.S_ISREG(st.st_mode):
                with open(path, "rb") as f:
                    what += [st.st_nlink, hashlib.md5(f.read()).hexdigest()]
            found[os.path.relpath(path, folder)] = what
    return found


def share(cpus):
    """A folder of the host: random operations give what they give on the host, and nothing leads out of it."""
    count, rules = 6000, ""
    for name in ("symlinks", "hardlinks", "fifos", "regular"):  # of the kernel, and not of file systems
        with open("/proc/sys/fs/protected_" + name, encoding="ascii") as f:
            rules += f"echo {f.read().strip()} >/proc/sys/fs/protected_{name}\n"
    with tempfile.TemporaryDirectory(prefix="virtio-share-") as tmp:
        fsops = build("fsops", tmp)
        shared, other, host = (os.path.join(tmp, n) for n in ("shared", "other", "host"))
        for path in (shared, other, host, os.path.join(shared, "work"), os.path.join(shared, "many")):
            os.mkdir(path)
        with open(os.path.join(tmp, "secret"), "w", encoding="ascii") as f:
            f.write("the host's secret\n")
        os.symlink("../secret", os.path.join(shared, "up"))
        os.symlink(os.path.join(tmp, "secret"), os.path.join(shared, "there"))
        os.mkfifo(os.path.join(shared, "pipe"))
        for path in (shared, other):
            with open(os.path.join(path, "data"), "wb") as f:
                f.write(b"shared data\n" + bytes(3 * MIB))

        def answer(_pid, line):
            if line == "guest-looks":
                with open(os.path.join(shared, "data"), "r+b") as f:
                    f.write(b"change")
                os.rename(os.path.join(shared, "many"), os.path.join(shared, "moved"))

        guest(["virtiofs"], rules + """
mkdir /s /o
mount -t virtiofs nobody /s 2>/dev/null && fail a tag that is not there
mount -t virtiofs files /s || fail mount
mount -t virtiofs other /o || fail mount other
want first "$(head -n 1 /s/data)" "shared data"
want size "$(wc -c </s/data)" %(size)d
for f in up there; do cat /s/$f 2>/dev/null && fail read $f; done
mknod /s/null c 1 3 2>/dev/null && fail made a device
mkfifo /s/pipe2 || fail no pipe
(echo through >/s/pipe &)
want "pipe of the guest's own" "$(cat /s/pipe)" through
echo x 2>/dev/null >/o/data && fail wrote what is read-only
rm /o/data 2>/dev/null && fail removed what is read-only
touch /o/new 2>/dev/null && fail made what is read-only
want other "$(head -n 1 /o/data)" "shared data"
/fsops /s/work 1 %(count)d >/s/log || fail operations
# Many at once.
for k in 1 2 3 4; do
	(i=0; while [ $i -lt 100 ]; do
		mkdir -p /s/many/$k; echo $i >/s/many/$k/$i; mv /s/many/$k/$i /s/many/$k/done-$i; i=$((i + 1))
	done) &
done
wait
want many "$(find /s/many -type f | wc -l)" 400
dd if=/dev/zero of=/s/large bs=1M count=16 2>/dev/null || fail large
want large "$(md5sum </s/large)" "$(head -c 16777216 /dev/zero | md5sum)"
tar cf /s/work.tar -C /s/work . || fail tar
mkdir /s/copy && tar xf /s/work.tar -C /s/copy || fail untar
echo guest-looks
i=0
until [ "$(head -c 6 /s/data)" = change ] && [ -f /s/moved/1/done-99 ]; do
	i=$((i + 1)); [ $i -lt 200 ] || fail no change of the host; sleep 0.05
done
for i in 1 2 3; do
	umount /s || fail umount
	echo virtio0 >$driver/virtiofs/unbind || fail unbind
	echo virtio0 >$driver/virtiofs/bind || fail bind
	mount -t virtiofs files /s || fail mount again
done
want again "$(cat /s/moved/3/done-42)" 42
""" % {"size": 12 + 3 * MIB, "count": count},
              ["--share", "files=" + shared, "--share", "other=" + other + ",ro", "--rng", "off", "--balloon", "off"],
              files=[(fsops, "fsops")], cpus=cpus, on_line=answer)
        with open(os.path.join(tmp, "log"), "wb") as f:
            subprocess.run([fsops, host, "1", str(count)], stdout=f, check=True)
        with open(os.path.join(tmp, "log"), "rb") as f, open(os.path.join(shared, "log"), "rb") as g:
            for ours, theirs in zip(f.read().split(b"\n"), g.read().split(b"\n"), strict=True):
                want(ours == theirs, f"the host does {ours}, the guest {theirs}")
        ours, theirs = tree(host), tree(os.path.join(shared, "work"))
        want(len(ours) > 10, "the operations left nothing")
        want(ours == theirs, f"files differ: {[(k, ours.get(k), theirs.get(k)) for k in ours.keys() | theirs.keys() if ours.get(k) != theirs.get(k)][:4]}")
        copied = tree(os.path.join(shared, "copy"))
        want({k: v[0] for k, v in copied.items()} == {k: v[0] for k, v in theirs.items()}, "tar's copy differs")
        with open(os.path.join(tmp, "secret"), encoding="ascii") as f:
            want(f.read() == "the host's secret\n", "the secret changed")


def vsock(cpus):
    """Streams in both directions, started from both sides, with ends that come early and late."""
    data = os.urandom(3 * MIB + 12345)
    pattern = bytes(((k * 2654435761 & 0xffffffffffffffff) >> 13) & 255 for k in range(300000))
    heard, failed = [], []

    def line(s):
        said = b""
        while not said.endswith(b"\n"):
            byte = s.recv(1)
            if not byte:
                break
            said += byte
        return said

    def talk(send, half_close):
        try:
            with socket.socket(socket.AF_UNIX) as s:
                s.settimeout(60)
                s.connect(path)
                s.sendall(b"CONNECT 1234\n")
                ok = line(s)
                if not ok.startswith(b"OK "):
                    raise Failed(f"the answer to CONNECT is {ok!r}")
                back = bytearray()

                def read():
                    while len(back) < len(send) or half_close:
                        piece = s.recv(100000)
                        if not piece:
                            break
                        back.extend(piece)
                reader = threading.Thread(target=read)
                reader.start()
                s.sendall(send)
                if half_close:
                    s.shutdown(socket.SHUT_WR)
                reader.join()
                if back != send:
                    raise Failed(f"of {len(send)} bytes came back {len(back)}")
                heard.append(len(back))
        except (Failed, OSError) as e:
            failed.append(f"{len(send)} bytes: {e!r}")

    def hurry():
        """Connects and leaves in the middle."""
        with socket.socket(socket.AF_UNIX) as s:
            s.connect(path)
            s.sendall(b"CONNECT 1234\n" + b"x" * 1000)

    def call(_pid, text):
        if text == "guest-listens":
            with socket.socket(socket.AF_UNIX) as s:
                s.connect(path)
                s.sendall(b"CONNECT 99\n")
                want(line(s) == b"", "nobody listens there, and it is connected")
            for send, half in ((b"hello", False), (data, False), (data, True), (data[:100000], True)):
                threading.Thread(target=talk, args=(send, half)).start()
            hurry()

    def answer(server, reply):
        while True:
            try:
                s, _ = server.accept()
            except OSError:
                return
            got = bytearray()
            try:
                while piece := s.recv(100000):
                    got += piece
                s.sendall(b"wrong" if got != pattern else reply)
            except OSError:  # the guest's driver left in the middle
                pass
            s.close()

    with tempfile.TemporaryDirectory(prefix="virtio-vsock-") as tmp:
        program, path = build("vsockio", tmp), os.path.join(tmp, "sock")
        server = socket.socket(socket.AF_UNIX)
        server.bind(path + "_77")
        server.listen()
        threading.Thread(target=answer, args=(server, b"the host's answer\n"), daemon=True).start()
        guest(["vmw_vsock_virtio_transport"], """
/vsockio echo 1234 5 || fail echo
echo guest-echoed
/vsockio refused 78 || fail refused
for i in 1 2 3; do want "answer $i" "$(/vsockio send 77 300000)" "the host's answer"; done
/vsockio send 77 300000 & /vsockio send 77 300000 & /vsockio send 77 300000 >/dev/null
wait
for i in 1 2 3; do
	/vsockio send 77 300000 >/dev/null 2>&1 &
	echo virtio0 >$driver/vmw_vsock_virtio_transport/unbind || fail unbind
	wait
	echo virtio0 >$driver/vmw_vsock_virtio_transport/bind || fail bind
done
want again "$(/vsockio send 77 300000)" "the host's answer"
""", ["--vsock", f"cid=42,path={path}", "--rng", "off", "--balloon", "off"], files=[(program, "vsockio")], cpus=cpus,
                  on_line=call)
        server.close()
        want(not failed, "; ".join(failed))
        want(sorted(heard) == sorted([5, len(data), len(data), 100000]), f"came back: {heard}")
        want(not os.path.exists(path), "the socket stays behind")


def tablet(cpus):
    """A viewer's pointer is where Linux's input driver says that it is, also after the driver was away."""
    port, viewer = free_port(), []

    def act(_pid, line):
        if line == "guest-listens":
            v = Viewer(port)
            viewer.append(v)
            for where in ((100, 50, 0), (100, 50, 1), (100, 50, 0), (65535, 65535, 0), (65535, 65535, 16), (0, 7, 0x84)):
                v.point(*where)
        elif line == "guest-bound":
            viewer[0].point(65535, 0, 0)

    r = guest(["virtio_input", "evdev"], """
find_device() {
	i=0
	until grep -l "$1" /sys/class/input/event*/device/name >/tmp/name 2>/dev/null; do
		i=$((i + 1)); [ $i -lt 400 ] || fail no "$1"; sleep 0.05
	done
	sed 's,/sys/class/input/,,; s,/.*,,' /tmp/name
}
# 24 bytes each: 16 of time, type, code, value.
events() { dd bs=24 count=$1 2>/dev/null | hexdump -v -e '24/1 "%02x" "\n"' | sed "s/^/guest-$2: /"; }
device=$(find_device 'Atoll tablet')
exec 3</dev/input/$device
echo guest-listens
events 15 tablet <&3
exec 3<&-
id=$(basename $(readlink -f /sys/class/input/$device/device/device))
echo $id >$driver/virtio_input/unbind || fail unbind
echo $id >$driver/virtio_input/bind || fail bind
exec 3</dev/input/$(find_device 'Atoll tablet')
echo guest-bound
events 2 again <&3
""", ["--display", f"vnc=127.0.0.1:{port}", "--rng", "off", "--balloon", "off"], cpus=cpus, on_line=act)

    def said(word):
        return [struct.unpack("<16xHHi", bytes.fromhex(m[1])) for _, m in r.find_all(f"guest-{word}: (\\w+)")]

    # ABS is 3 (X 0, Y 1), KEY is 1 (LEFT 272, RIGHT 273, SIDE 275), REL is 2 (WHEEL 8).
    width, height = viewer[0].size
    x, y, low = 100 * 32767 // (width - 1), 50 * 32767 // (height - 1), 7 * 32767 // (height - 1)
    end = (0, 0, 0)
    want(said("tablet") == [(3, 0, x), (3, 1, y), end, (1, 272, 1), end, (1, 272, 0), end, (3, 0, 32767), (3, 1, 32767), end,
                            (2, 8, -1), end, (3, 0, 0), (3, 1, low), (1, 273, 1)],
         f"the tablet said {said('tablet')}, the screen is {width}x{height}")
    want(said("again") == [(3, 0, 32767), end], f"the tablet said {said('again')} afterwards")


TESTS = {"rng": rng, "tablet": tablet, "full": full, "balloon": balloon, "share": share, "vsock": vsock, "net": net, "disk": disk,
         "live": live, "served": served, "console": console}


def main(argv, tests):
    """Runs those of `tests` that argv names behind --cpus N, or all."""
    cpus = 1
    if argv[1:2] == ["--cpus"]:
        cpus, argv = int(argv[2]), [argv[0], *argv[3:]]
    return vmm.run_tests(argv, {name: (lambda t=test: t(cpus)) for name, test in tests.items()})


if __name__ == "__main__":
    sys.exit(main(sys.argv, TESTS))
