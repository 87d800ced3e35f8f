#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""Linux's virtio drivers on our devices.

usage: virtio.py [--cpus N] NAME...

Each test boots Debian's cloud kernel with the drivers as modules, runs a script in the guest, and looks at what the
script said and at what the host sees.
"""

import os
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


TESTS = {"rng": rng}


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
