#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""The kernel's own x86 selftests, inside a guest, compared with this host.

usage: x86-selftests.py [--kernel FLAVOR] [NAME]...

Each program that the host passes must pass in the guest. One that the host fails or does not
finish proves nothing; its result in the guest is printed. A 686 kernel runs the 32-bit programs.
"""

import argparse
import os
import subprocess
import sys
import tempfile

import vmm

HOST_LIMIT = 20
GUEST_LIMIT_EACH = 240
GUEST_LIMIT = 3000

RUNNER = """#!/bin/sh
# Runs every selftest and reports it in one line; a failed one's output comes before.
for path in /selftests/*; do
	name=${path##*/}
	start=$(cut -d' ' -f1 /proc/uptime)
	timeout %d $path >/tmp/log 2>&1
	status=$?
	[ $status = 0 ] || sed "s/^/selftest-log: $name: /" /tmp/log | tail -n 15
	echo "selftest: $name $status ($start to $(cut -d' ' -f1 /proc/uptime))"
done
""" % GUEST_LIMIT_EACH


def on_host(path):
    try:
        return subprocess.run([path], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
                              stdin=subprocess.DEVNULL, timeout=HOST_LIMIT, check=False).returncode
    except subprocess.TimeoutExpired:
        return 124


def build_initrd(tmp, built, names, arch):
    runner = os.path.join(tmp, "run")
    with open(runner, "w", encoding="utf-8") as f:
        f.write(RUNNER)
    os.chmod(runner, 0o755)
    out = os.path.join(tmp, "initramfs.cpio.gz")
    args = ["-o", out, "--arch", arch, "--add", runner + ":/selftest-run"]
    for top in sorted(os.listdir(os.path.join(built, "lib"))):
        args += ["--add", os.path.join(built, "lib", top) + ":/" + top]
    for name in names:
        args += ["--add", os.path.join(built, "bin", name) + ":/selftests/" + name]
    vmm.script("mkinitramfs.sh", *args)
    return out


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--kernel", default="generic")
    parser.add_argument("--cpus", type=int, default=2)
    parser.add_argument("names", nargs="*")
    opts = parser.parse_args()
    is_32 = opts.kernel.startswith("686")
    tap = vmm.Tap()
    why = vmm.missing()
    if why:
        tap.line(False, "x86-selftests")
        print(f"# {why}")
        return tap.done()
    try:
        built = vmm.script("build-selftests.sh")
        kernel = vmm.script("fetch-kernel.sh", opts.kernel)
    except RuntimeError as e:
        tap.skip("x86-selftests", str(e))
        return tap.done()
    names = opts.names or sorted(n for n in os.listdir(os.path.join(built, "bin"))
                                 if not is_32 or n.endswith("_32"))
    with tempfile.TemporaryDirectory() as tmp:
        initrd = build_initrd(tmp, built, names, "i386" if is_32 else "amd64")
        r = vmm.run(vmm.command(kernel, initrd, "console=ttyS0 quiet panic=-1 atoll.auto "
                                "atoll.run=/selftest-run", cpus=opts.cpus), GUEST_LIMIT,
                    echo=r"^selftest: ")
    guest = {m[1]: int(m[2]) for _, m in r.find_all(r"selftest: (\w+) (\d+)")}
    for name in names:
        host = on_host(os.path.join(built, "bin", name))
        status = guest.get(name)
        if host != 0:
            print(f"# {name}: the host fails it ({host}); in the guest: {status}")
            continue
        for _, m in r.find_all(rf"selftest-log: {name}: (.*)"):
            print(f"# | {m[1]}")
        if status is None:
            print("# it did not come to an end in the guest")
        elif status:
            print(f"# status {status} in the guest, 0 on the host")
        tap.line(status == 0, name)
    if r.status != 0 or len(guest) != len(names):
        r.report("the guest did not run all of them and power off")
    tap.line(r.status == 0, "power-off")
    return tap.done()


if __name__ == "__main__":
    sys.exit(main())
