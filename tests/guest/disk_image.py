#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""A Debian disk made by `atoll image build` starts from its boot loader, and does what its user data say.

usage: disk_image.py [--cpus N] [FIRMWARE]...

FIRMWAREs are those of --firmware (default: seabios ovmf). Each starts an overlay of the image with user data that make a
user, let the guest say what became of it, and power off. The image itself must stay as it is.
"""

import argparse
import hashlib
import os
import subprocess
import sys
import tempfile

import debian
import vmm

LIMIT = 900

# 8 GiB, twice what the image has: the root must grow into it.
USER_DATA = """#cloud-config
users:
  - name: joe
    lock_passwd: true
    ssh_authorized_keys: [ "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIHJvb3Q= test" ]
runcmd:
  - - sh
    - -c
    - |
      exec >/dev/ttyS0 2>&1
      echo "guest-name: $(hostname)"
      echo "guest-key: $(cut -d' ' -f3 ~joe/.ssh/authorized_keys)"
      echo "guest-root-gib: $(($(df --output=size -k / | tail -1) >> 20))"
      echo "guest-efi: $([ -d /sys/firmware/efi ] && echo yes || echo no)"
      echo "guest-failed: $(systemctl --failed --plain --no-legend | wc -l)"
      systemctl --failed --plain --no-legend | sed 's/^/guest-failed-unit: /'
      dd if=/dev/urandom of=/root/x bs=1M count=64 conv=fsync status=none && sha256sum </root/x
      systemctl --no-block poweroff
"""


def digest(path):
    h = hashlib.sha256()
    with open(path, "rb") as f:
        while block := f.read(1 << 20):
            h.update(block)
    return h.hexdigest()


def start(tap, image, firmware, cpus, tmp):
    name = f"image-{firmware}"
    disk, user_data = os.path.join(tmp, f"{name}.qcow2"), os.path.join(tmp, "user-data")
    with open(user_data, "w", encoding="utf-8") as f:
        f.write(USER_DATA)
    subprocess.run([vmm.atoll_path(), "disk", "create", "-b", image, "-F", "qcow2", disk, "8G"], check=True)
    r = vmm.run([vmm.atoll_path(), "run", "--firmware", firmware, "--disk", disk, "--cloud-init", user_data,
                 "--name", f"test-{os.getpid()}", "--memory", "1G", "--cpus", str(cpus),
                 "--engine", vmm.engine(), "--no-reboot", *vmm.more_args()], LIMIT)
    want = {"name": f"test-{os.getpid()}", "key": "test", "root-gib": "7",
            "efi": "yes" if firmware == "ovmf" else "no", "failed": "0"}
    got = {m[1]: m[2] for _, m in r.find_all(r"guest-([a-z-]+): (\S+)")}
    wrong = [f"{k}: {got.get(k)} and not {v}" for k, v in want.items() if got.get(k) != v]
    complaint = r.find(debian.COMPLAINTS)
    if wrong or complaint or r.status != 0:
        r.report("; ".join(wrong) or (complaint.string if complaint else "it did not power off with status 0"))
    else:
        login = r.find_all(r"login:")
        print(f"# {name}: login prompt after {login[0][0] - r.start:.1f} s" if login else f"# {name}: no prompt seen")
    tap.line(not wrong and not complaint and r.status == 0, name)
    p = subprocess.run([vmm.atoll_path(), "disk", "check", disk], capture_output=True, text=True, check=False)
    if p.returncode:
        print("\n".join(f"# {line}" for line in (p.stdout + p.stderr).splitlines()))
    tap.line(p.returncode == 0, f"{name}-clean")


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--cpus", type=int, default=2)
    parser.add_argument("firmware", nargs="*")
    opts = parser.parse_args()
    tap = vmm.Tap()
    why = vmm.missing()
    if why:
        tap.line(False, "disk-image")
        print(f"# {why}")
        return tap.done()
    try:
        image = vmm.script("mkimage.sh")
    except RuntimeError as e:
        tap.line(False, "image")
        print(f"# {e}")
        return tap.done()
    before = digest(image)
    with tempfile.TemporaryDirectory() as tmp:
        for firmware in opts.firmware or ["seabios", "ovmf"]:
            start(tap, image, firmware, opts.cpus, tmp)
    tap.line(digest(image) == before, "image-unchanged")
    return tap.done()


if __name__ == "__main__":
    sys.exit(main())
