#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""Machines of one snapshot. Many at once: each answers over the network, and none says what another says: random numbers, the
address of a network device, identifiers that are made then; the real-time clock of each shows the host's time. And under
a program that takes random numbers without end, from the first instruction on.

usage: clones.py [--clones N]
"""

import argparse
import calendar
import contextlib
import os
import re
import struct
import sys
import tempfile
import threading
import time
import urllib.request

import virtio
import vmm
from observe import want
from snapshot import Guest, save

LIMIT_S = 120
KERNEL = "6.12-cloud"  # 6.1's has no driver of the generation identifier
KEPT = "52:54:00:00:00:17"

# One network device is in use when the machine is saved, and keeps its address; the other one has no driver then. A page of the
# server is a program, which answers when the kernel knows that the machine is a copy.
SCRIPT = """#!/bin/sh
ip link set lo up
echo virtio1 >/sys/bus/virtio/drivers/virtio_net/unbind
ip addr add 10.0.2.15/24 dev eth0 && ip link set eth0 up && ip route add default via 10.0.2.2
mkdir -p /www/cgi-bin
cat >/www/cgi-bin/who <<'END'
#!/bin/sh
exec 2>&1
until dmesg | grep -q 'due to virtual machine fork'; do sleep 0.1; done
echo Content-Type: text/plain
echo
echo virtio1 >/sys/bus/virtio/drivers/virtio_net/bind
for name in $(ls /sys/class/net); do echo $name=$(cat /sys/class/net/$name/address); done
echo urandom=$(head -c 32 /dev/urandom | sha256sum)
echo uuid=$(cat /proc/sys/kernel/random/uuid)
echo clock=$(cat /sys/class/rtc/rtc0/date) $(cat /sys/class/rtc/rtc0/time)
END
chmod 755 /www/cgi-bin/who
httpd -p 80 -h /www
echo serving''-now
while read -r line; do :; done
"""


def start(work, text, *args, files=()):
    """The machine that will be saved; it runs a script."""
    script, mods, initrd = (os.path.join(work, n) for n in ("test.sh", "modules", "initramfs"))
    with open(script, "w", encoding="utf-8") as f:
        f.write(text)
    os.chmod(script, 0o755)
    vmm.script("kernel-modules.py", KERNEL, mods, "virtio_net")
    add = [f"{script}:test.sh", f"{mods}:modules", *files]
    vmm.script("mkinitramfs.sh", "-o", initrd, *(word for item in add for word in ("--add", item)))
    return Guest("-k", vmm.script("fetch-kernel.sh", KERNEL), "-i", initrd, "-a", "console=ttyS0 loglevel=6 panic=-1 atoll.run=/test.sh",
                 "-m", "128M", "-n", "first", "-e", vmm.engine(), "--no-reboot", "--balloon", "off", "--rng", "off", *args)


def ask(guest, port):
    """{name: value} of what a clone says of itself; nothing when it does not answer."""
    end = time.monotonic() + LIMIT_S
    while guest.p.poll() is None and time.monotonic() < end:
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{port}/cgi-bin/who", timeout=LIMIT_S) as answer:
                return dict(line.split("=", 1) for line in answer.read().decode().splitlines())
        except OSError:
            time.sleep(0.05)
    return {}


def many(nr):
    with tempfile.TemporaryDirectory(prefix="clones-") as work, contextlib.ExitStack() as stack:
        file = os.path.join(work, "s")
        with start(work, SCRIPT, "--net", f"user,mac={KEPT}", "--net", "user") as g:
            g.until("serving-now")
            save(file)
        said = [{}] * nr

        def clone(n):
            port = vmm.free_port()
            g = stack.enter_context(Guest("--restore", file, "-e", vmm.engine(), "--net", f"user,mac={KEPT},hostfwd=tcp:127.0.0.1:{port}-:80",
                                          "--net", "user"))
            said[n] = ask(g, port)

        threads = [threading.Thread(target=clone, args=(n,), daemon=True) for n in range(nr)]
        before = int(time.time())
        for t in threads:
            t.start()
        for t in threads:
            t.join()
        after = int(time.time())
    for one in said:
        want(set(one) == {"lo", "eth0", "eth1", "urandom", "uuid", "clock"}, f"a clone says {one}")
        want(one["eth0"] == KEPT, one)
        clock = calendar.timegm(time.strptime(one["clock"], "%Y-%m-%d %H:%M:%S"))
        want(before - 1 <= clock <= after, f"its clock shows {one['clock']}, not between {before} and {after}")
    for what in ("eth1", "urandom", "uuid"):
        want(len({one[what] for one in said}) == nr, f"two clones have the same {what}: {sorted(one[what] for one in said)}")


MAGIC = struct.pack("<QQ", *(~x & (1 << 64) - 1 for x in (0x20666f2061206c6f, 0x6d75626572206e6f)))


def counter(file):
    """How many numbers cloneops had made when the machine was saved: the snapshot has its memory page for page."""
    with open(file, "rb") as f:
        at = 0
        while True:
            at = os.lseek(f.fileno(), at, os.SEEK_DATA)
            data = os.pread(f.fileno(), 1 << 20, at)
            for off in range(0, len(data), 4096):
                if data.startswith(MAGIC, off):
                    return struct.unpack_from("<Q", data, off + 16)[0]
            at += len(data)


def numbers():
    """No program gets a random number before the kernel has reseeded; but for the one that it was getting when it was saved."""
    with tempfile.TemporaryDirectory(prefix="clones-") as work:
        program, file = virtio.build("cloneops", work), os.path.join(work, "s")
        with start(work, "#!/bin/sh\n/cloneops\n", "-c", "2", files=[f"{program}:cloneops"]) as g:
            g.until("numbers-begin")
            save(file)
        nr = counter(file)
        found = []
        for engine in ("dbt", "interp", "dbt"):
            with Guest("--restore", file, "-e", engine) as g:
                g.until("a-copy")
                g.say(str(nr))
                text = g.until("all-numbers")
            found.append(re.findall(r"^number (\d+) ([0-9a-f]{32})\r?$", text, re.M))
            want(len(found[-1]) > 60 and int(found[-1][0][0]) == nr, text[-300:])
    first = {value for _, value in found[0][1:]}
    for others in found[1:]:
        same = [value for _, value in others[1:] if value in first]
        want(not same, f"{len(same)} of the random numbers of two copies are the same")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(usage=__doc__)
    parser.add_argument("--clones", type=int, default=6)
    o = parser.parse_args()
    with vmm.own_runtime():
        sys.exit(vmm.run_tests([], {"many": lambda: many(o.clones), "numbers": numbers}))
