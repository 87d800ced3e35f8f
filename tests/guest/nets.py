#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""Guests on the networks that are not the user's: a tap device of the host, a cable between two machines.

usage: nets.py [--cpus N] NAME...
"""

import base64
import hashlib
import http.server
import os
import subprocess
import sys
import tempfile
import threading
import time

import virtio
from virtio import Failed, MIB, guest, want

HOST, GUEST = "192.168.77.1", "192.168.77.2"
SIZE = 8 * MIB


class Folder(http.server.BaseHTTPRequestHandler):
    """Gives the file `data` of a folder, and keeps what is sent in `posted`."""

    def do_GET(self):
        with open(os.path.join(self.server.folder, "data"), "rb") as f:
            data = f.read()
        self.send_response(200)
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def do_POST(self):
        with open(os.path.join(self.server.folder, "posted"), "wb") as f:
            f.write(self.rfile.read(int(self.headers["Content-Length"])))
        self.send_response(200)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, *_):
        pass


def inside(folder, command):
    """In a network namespace of its own: a tap device, a server behind it, and the machine."""
    for line in ("link set lo up", "tuntap add dev tap0 mode tap vnet_hdr", f"address add {HOST}/24 dev tap0",
                 "link set tap0 up"):
        subprocess.run(["ip", *line.split()], check=True)
    server = http.server.ThreadingHTTPServer((HOST, 8000), Folder)
    server.folder = folder
    threading.Thread(target=server.serve_forever, daemon=True).start()
    return vmm.complete(command, check=False).returncode


def tap(cpus):
    """Both ways through the kernel's network, with all that a checksum and a large segment can go wrong in."""
    with tempfile.TemporaryDirectory(prefix="nets-tap-") as tmp:
        data = os.urandom(SIZE)
        with open(os.path.join(tmp, "data"), "wb") as f:
            f.write(data)
        space = ["unshare", "--net", "--map-root-user", sys.executable, os.path.realpath(__file__), "--inside"]
        if not os.path.exists("/dev/net/tun") or subprocess.run([*space, tmp, "true"], capture_output=True,
                                                                check=False).returncode:
            raise RuntimeError("no network namespace or no /dev/net/tun here")
        guest(["virtio_net"], """
ip link set lo up
ip addr add %(guest)s/24 dev eth0 && ip link set eth0 up || fail address
ping -c 3 -A %(host)s >/dev/null || fail ping
for i in 1 2 3; do
	want "data $i" "$(wget -q -O - http://%(host)s:8000/ | md5sum | cut -d' ' -f1)" %(md5)s
done
wget -q -O - http://%(host)s:8000/ | base64 >/text
wget -q -O /dev/null --post-file=/text http://%(host)s:8000/ || fail post
want losses "$(cat /sys/class/net/eth0/statistics/rx_errors)" 0
""" % {"host": HOST, "guest": GUEST, "md5": hashlib.md5(data).hexdigest()}, ["--net", "tap=tap0"], cpus=cpus,
              wrap=[*space, tmp])
        with open(os.path.join(tmp, "posted"), "rb") as f:
            want(f.read().replace(b"\n", b"") == base64.b64encode(data), "the guest sent something else")


def cable(cpus):
    """Two machines and nothing else: what one serves the other fetches, at the same time in both directions."""
    body = """
ip link set lo up
ip addr add 192.168.78.%(me)d/24 dev eth0 && ip link set eth0 up || fail address
mkdir /www
head -c %(size)d /dev/urandom >/www/data
md5sum </www/data >/www/sum
httpd -p 80 -h /www
other=http://192.168.78.%(other)d
i=0
until wget -q -O /sum $other/sum 2>/dev/null; do i=$((i + 1)); [ $i -lt 300 ] || fail nobody there; sleep 0.1; done
for i in 1 2 3; do want "data $i" "$(wget -q -O - $other/data | md5sum)" "$(cat /sum)"; done
# The second one says when it has all, the first one that it leaves.
if [ %(me)d = 1 ]; then
	i=0
	until wget -q -O /dev/null $other/done 2>/dev/null; do i=$((i + 1)); [ $i -lt 300 ] || fail not done; sleep 0.1; done
	echo bye | nc 192.168.78.2 99 || fail bye
else
	nc -l -p 99 >/bye &
	until cat /proc/net/tcp /proc/net/tcp6 | grep -q ':0063 '; do sleep 0.05; done
	echo done >/www/done
	wait $!
	want bye "$(cat /bye)" bye
fi
"""
    failed = []

    def machine(me, args):
        try:
            guest(["virtio_net"], body % {"me": me, "other": 3 - me, "size": SIZE}, args, cpus=cpus)
        except (Failed, OSError, subprocess.SubprocessError) as e:
            failed.append(f"machine {me}: {e}")

    with tempfile.TemporaryDirectory(prefix="nets-cable-") as tmp:
        path = os.path.join(tmp, "cable")
        first = threading.Thread(target=machine, args=(1, ["--net", f"listen={path},mac=52:54:00:00:00:01"]))
        first.start()
        while first.is_alive() and not os.path.exists(path):
            time.sleep(0.05)
        machine(2, ["--net", f"connect={path},mac=52:54:00:00:00:02"])
        first.join()
    want(not failed, "; ".join(failed))


TESTS = {"tap": tap, "cable": cable}

if __name__ == "__main__":
    if sys.argv[1:2] == ["--inside"]:
        sys.exit(inside(sys.argv[2], sys.argv[3:]))
    sys.exit(virtio.main(sys.argv, TESTS))
