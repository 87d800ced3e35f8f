#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""A Debian guest with systemd compiles this project; each file must be as in a chroot of the host.

usage: selfbuild.py [--cpus N] [--memory SIZE] [--kernel FLAVOR] [TARGET]...

TARGETs are ninja's (default: atoll atoll-vm). The committed tree is built, by the same compiler at
the same path, in the guest and on the host; where they differ, the names are printed.
"""

import argparse
import os
import re
import subprocess
import sys
import tempfile

import debian
import vmm

SYSTEM = ("systemd-sysv", "udev", "python3", "libcmocka-dev")
NATIVE_LIMIT = 1800
GUEST_LIMIT = 10000
BUILT = r"^build: status 0, the program's 0"

# Prints the state of each step, then a digest of each file that the compiler, the archiver and the
# linker made. What ninja and meson note for themselves (times, for one) is no part of the result.
BUILD = """#!/bin/sh
export PATH=/usr/sbin:/usr/bin:/sbin:/bin HOME=/root LC_ALL=C.UTF-8
cd /src || exit 1
CC=gcc meson setup /build >/tmp/log 2>&1 && echo "build: configured" &&
	ninja -C /build -j %d %s >>/tmp/log 2>&1
status=$?
[ $status = 0 ] || tail -n 30 /tmp/log | sed 's/^/build-log: /'
cd /build && find . -type f ! -path './meson-*' ! -name '.ninja*' ! -name compile_commands.json |
	LC_ALL=C sort | xargs sha256sum | sed 's/^/file: /'
./atoll help >/dev/null 2>&1
echo "build: status $status, the program's $?"
"""

UNIT = """[Unit]
Description=Build
After=multi-user.target
[Service]
Type=oneshot
ExecStart=/selfbuild-guest
StandardOutput=file:/dev/console
StandardError=inherit
TimeoutStartSec=infinity
"""

IN_GUEST = """#!/bin/sh
echo "systemd: $(systemctl is-system-running) $(systemctl --failed --plain --no-legend | wc -l) failed"
systemctl --failed --plain --no-legend | sed 's/^/systemd-failed: /'
/selfbuild
dmesg | sed -n 's/^/kernel: /p' | grep -E "%s"
systemctl --no-block poweroff
""" % debian.COMPLAINTS


def build_packages():
    """What apt-packages.txt lists for building, without the tests."""
    with open(os.path.join(vmm.ROOT, "apt-packages.txt"), encoding="utf-8") as f:
        section = re.search(r"^# build\n((?:[^#\n].*\n)+)", f.read(), re.MULTILINE)
    return section[1].split()


def source_archive(tmp):
    out = os.path.join(tmp, "source.tar")
    p = subprocess.run(["git", "-C", vmm.ROOT, "archive", "--format=tar", "-o", out, "HEAD"],
                       capture_output=True, text=True, check=False)
    if p.returncode:
        raise RuntimeError(f"git archive: {p.stderr.strip()}")
    return out


def on_host(tmp, tar, source, script):
    """Runs the build in a chroot with the same system; a Run."""
    root = os.path.join(tmp, "root")
    os.makedirs(os.path.join(root, "src"))
    subprocess.run(["tar", "-C", root, "--exclude=./dev/*", "--no-same-owner", "-xf", tar], check=True)
    subprocess.run(["tar", "-C", os.path.join(root, "src"), "-xf", source], check=True)
    with open(os.path.join(root, "selfbuild"), "w", encoding="utf-8") as f:
        f.write(script)
    os.chmod(os.path.join(root, "selfbuild"), 0o755)
    cmd = ["unshare", "--mount", "--pid", "--fork"]
    if os.geteuid() != 0:
        cmd.append("--map-root-user")
    return vmm.run(cmd + ["sh", "-c", 'mount -t proc proc "$0/proc" && mount --rbind /dev "$0/dev"'
                          ' && exec chroot "$0" /selfbuild', root], NATIVE_LIMIT)


def in_guest(tmp, tar, source, script, opts, kernel):
    unit = "etc/systemd/system/selfbuild.service"
    initrd = debian.pack(os.path.join(tmp, "initrd"), tar,
                         {"selfbuild": script, "selfbuild-guest": IN_GUEST, unit: UNIT},
                         tars={"src": source})
    append = ("console=ttyS0 quiet panic=-1 rdinit=/lib/systemd/systemd systemd.show_status=0 "
              "systemd.wants=selfbuild.service systemd.mask=serial-getty@ttyS0.service")
    cmd = vmm.command(kernel, initrd, append, memory=opts.memory, cpus=opts.cpus)
    return vmm.run(cmd, GUEST_LIMIT, echo=r"^(build|systemd)")


def digests(r):
    return {m[2]: m[1] for _, m in r.find_all(r"^file: ([0-9a-f]{64})  \./(\S+)$")}


def compare(native, guest):
    """What is wrong, as lines."""
    missing = sorted(set(native) - set(guest))
    more = sorted(set(guest) - set(native))
    other = sorted(f for f in native if f in guest and native[f] != guest[f])
    return ([f"not made in the guest: {f}" for f in missing] +
            [f"made in the guest only: {f}" for f in more] + [f"differs: {f}" for f in other])


def check(tap, native, guest):
    if not guest.find(BUILT):
        guest.report("the guest does not build it")
    tap.line(bool(guest.find(BUILT)), "guest-builds")
    want, got = digests(native), digests(guest)
    objects = sum(f.endswith(".o") for f in want)
    wrong = compare(want, got) or ([] if objects else ["the host made no object file"])
    for line in wrong[:40]:
        print(f"# {line}")
    print(f"# {len(want)} files, {objects} of them object files; host {native.seconds:.0f} s, "
          f"guest {guest.seconds:.0f} s")
    tap.line(not wrong, "same-bytes")
    state = guest.find(r"^systemd: (\S+) 0 failed")
    if not state:
        for _, m in guest.find_all(r"^systemd.*"):
            print(f"# {m[0]}")
    tap.line(bool(state), "systemd")
    complaint = guest.find(r"^kernel: ") or guest.find(debian.COMPLAINTS)
    if complaint or guest.status != 0:
        guest.report(complaint.string if complaint else "it did not power off with status 0")
    tap.line(guest.status == 0 and not complaint, "kernel")


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--cpus", type=int, default=2)
    parser.add_argument("--memory", default="3G")
    parser.add_argument("--kernel", default="generic")
    parser.add_argument("targets", nargs="*")
    opts = parser.parse_args()
    targets = opts.targets or ["atoll", "atoll-vm"]
    if not all(re.fullmatch(r"[\w./-]+", t) for t in targets):
        sys.exit("selfbuild.py: a target is a path")
    tap = vmm.Tap()
    why = vmm.missing()
    if why:
        tap.line(False, "selfbuild")
        print(f"# {why}")
        return tap.done()
    try:
        tar = debian.tree("build", *SYSTEM, *build_packages())
        kernel = vmm.script("fetch-kernel.sh", opts.kernel)
    except RuntimeError as e:
        tap.skip("selfbuild", str(e))
        return tap.done()
    script = BUILD % (opts.cpus, " ".join(targets))
    with tempfile.TemporaryDirectory() as tmp:
        source = source_archive(tmp)
        native = on_host(tmp, tar, source, script)
        if not native.find(BUILT):
            native.report("the host does not build it")
            tap.line(False, "host-builds")
            return tap.done()
        tap.line(True, "host-builds")
        guest = in_guest(tmp, tar, source, script, opts, kernel)
    check(tap, native, guest)
    return tap.done()


if __name__ == "__main__":
    sys.exit(main())
