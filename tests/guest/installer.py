#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""The Debian installer's kernel for booting from the network comes to its dialogs: on a serial console, on a
display, and from a CD.

usage: installer.py [NAME]...
"""

import os
import shutil
import subprocess
import sys
import tempfile
import time

import debian
import firmware
import vmm

LIMIT = 200

# What the dialog is drawn with: border, box, the line that is chosen. Sixteen colors' usual values.
BLUE, GREY, RED = b"\x00\x00\xaa", b"\xaa\xaa\xaa", b"\xaa\x00\x00"

GRUB_CFG = """set timeout=0
menuentry installer {
	linux /boot/linux quiet
	initrd /boot/initrd.gz
}
"""


def files():
    where = vmm.script("fetch-installer.sh")
    return os.path.join(where, "linux"), os.path.join(where, "initrd.gz")


def serial():
    """The first dialog, and the one after it: a language is chosen by the Enter key."""
    kernel, initrd = files()
    r = vmm.run(vmm.command(kernel, initrd, "console=ttyS0 quiet", memory="1G", cpus=2), LIMIT,
                stdin=[(r"\[!!\].*Select a language", "\r")], until=r"Select your location")
    complaint = r.find(debian.COMPLAINTS)
    if complaint:
        return r, f"the kernel complained: {complaint.string}"
    return r, None if r.stopped else "no dialog"


def dialog(*boot):
    """The dialog in the picture of the display."""
    end = time.monotonic() + LIMIT
    with firmware.Screen("seabios", "--memory", "1G", *boot) as s:
        seen = (0, 0, set())
        while time.monotonic() < end and s.p.poll() is None:
            seen = s.pixels()
            if seen[0] >= 640 and {BLUE, GREY, RED} <= seen[2]:
                return firmware.Seen(seen), None
            time.sleep(0.5)
    return firmware.Seen(seen), "no dialog in the picture"


def screen():
    kernel, initrd = files()
    return dialog("--kernel", kernel, "--initrd", initrd, "--append", "quiet")


def cdrom():
    """A CD with GRUB and the installer, made here."""
    if not shutil.which("grub-mkrescue") or not shutil.which("xorriso"):
        raise RuntimeError("grub-mkrescue or xorriso is not installed")
    with tempfile.TemporaryDirectory() as tmp:
        boot, iso = os.path.join(tmp, "cd", "boot"), os.path.join(tmp, "cd.iso")
        os.makedirs(os.path.join(boot, "grub"))
        for path in files():
            shutil.copy(path, boot)
        with open(os.path.join(boot, "grub", "grub.cfg"), "w", encoding="utf-8") as f:
            f.write(GRUB_CFG)
        p = subprocess.run(["grub-mkrescue", "-d", "/usr/lib/grub/i386-pc", "-o", iso,
                            os.path.dirname(boot)], capture_output=True, text=True, check=False)
        if p.returncode:
            return firmware.Seen(p.stderr), "grub-mkrescue failed"
        return dialog("--cdrom", iso)


TESTS = {"serial": serial, "screen": screen, "cdrom": cdrom}


if __name__ == "__main__":
    sys.exit(vmm.run_tests(sys.argv, TESTS))
