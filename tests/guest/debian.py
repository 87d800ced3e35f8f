# SPDX-License-Identifier: GPL-2.0-or-later
"""Guests whose root file system is a small Debian system in memory: shared by the long tests."""

import os
import subprocess
import tempfile

import vmm

# What the guest complains of when it was let down by its machine.
COMPLAINTS = r"Kernel panic|BUG:|Oops|soft lockup|hard LOCKUP|rcu.*stall|MCE|general protection fault"

# /init of a guest that runs one program and powers off. Its console is raw, so that lines end alike.
INIT = """#!/bin/sh
export PATH=/usr/sbin:/usr/bin:/sbin:/bin HOME=/root LC_ALL=C.UTF-8
mount -t proc proc /proc
mount -t sysfs sys /sys
mount -t devtmpfs dev /dev
mkdir -p /dev/pts /dev/shm
mount -t devpts devpts /dev/pts
mount -t tmpfs shm /dev/shm
mount -t tmpfs tmp /tmp
mount -t tmpfs run /run
%s
echo "guest-exit: $?"
sync
echo o >/proc/sysrq-trigger
# The order takes a moment to arrive; a PID 1 that ends would be a panic.
while :; do sleep 60; done
"""


def tree(name, *packages):
    """A tar archive with a Debian system that has these packages; RuntimeError if it cannot be had."""
    return vmm.script("mkdebian.sh", name, *packages)


def pack(out, tar, texts=None, files=None, tars=None):
    """Writes an initramfs: the system in the archive `tar`, `tars` {path: archive}, `texts` {path:
    contents}, `files` {path: host's path}; the system's own files of these paths are left out.

    Contents that begin with #! and files that are executable stay so. Not compressed: a guest that
    is slow pays more for the decompression than the host for the size.
    """
    with tempfile.TemporaryDirectory() as tmp:
        lines = []
        for n, (path, text) in enumerate((texts or {}).items()):
            source = os.path.join(tmp, str(n))
            with open(source, "w", encoding="utf-8") as f:
                f.write(text)
            lines.append(f"file {path} {'755' if text.startswith('#!') else '644'} {source}")
        for path, source in (files or {}).items():
            if os.path.isdir(source):
                lines += [f"dir {path} 755", f"tree {path} {source}"]
            else:
                lines.append(f"file {path} {'755' if os.access(source, os.X_OK) else '644'} {source}")
        lines += [f"tar {path} {archive}" for path, archive in (tars or {}).items()]
        # The system has /bin, /lib and so on as links: no path above may be in them.
        lines.append(f"tar . {tar}")
        script = os.path.join(vmm.ROOT, "scripts", "mkcpio.py")
        p = subprocess.run(["python3", script, "-o", out], input="\n".join(lines) + "\n", text=True,
                           capture_output=True, check=False)
    if p.returncode:
        raise RuntimeError(p.stderr.strip() or "mkcpio.py failed")
    return out
