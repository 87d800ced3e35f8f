#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""Boots Debian's firmware, unmodified: SeaBIOS and OVMF, alone and with a kernel.

usage: firmware.py [NAME]...
"""

import os
import re
import socket
import struct
import subprocess
import sys
import tempfile
import time
import zlib

import vmm

LIMIT = 120
PACKAGE = {"seabios": "/usr/share/seabios/bios-256k.bin", "ovmf": "/usr/share/OVMF/OVMF_CODE_4M.fd"}


def command(firmware, *extra, cpus=1, memory="512M"):
    return [vmm.atoll_path(), "run", "--firmware", firmware, "--memory", memory, "--cpus", str(cpus),
            "--engine", vmm.engine(), "--no-reboot", *vmm.more_args(), *extra]


def seabios():
    """Its version, and that there is nothing to boot from."""
    with tempfile.TemporaryDirectory() as tmp:
        log = os.path.join(tmp, "log")
        r = vmm.run(command("seabios", "--firmware-log", "file:" + log, cpus=2), LIMIT,
                    until="No bootable device")
        with open(log, encoding="latin-1") as f:
            text = f.read()
    if not r.find(r"SeaBIOS \(version 1\.") or not r.stopped:
        return r, "no version, or it does not come to an end"
    for want in ("using q35 mmconfig at 0xb0000000", "Found 2 cpu(s)", "table(50434146)"):
        if want not in text:
            return r, f"the log does not say '{want}'"
    print(f"# {r.seconds:.2f} s to the end of the search")
    return r, None


class Screen:
    """A machine in the background with a display, seen by its screenshots."""

    def __init__(self, firmware, *extra):
        self.tmp = tempfile.TemporaryDirectory()
        self.env = dict(os.environ, ATOLL_RUNTIME_DIR=self.tmp.name)
        self.p = vmm.start(
            command(firmware, "--display", "vga", "--serial", "none", "--name", "m", *extra),
            env=self.env, stdin=subprocess.DEVNULL, stderr=subprocess.PIPE)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.p.terminate()
        self.p.communicate()
        self.tmp.cleanup()

    def shot(self, *args):
        return subprocess.run([vmm.atoll_path(), "screenshot", *args, "m", "-"], env=self.env,
                              capture_output=True, check=False).stdout

    def text(self, pattern, limit=LIMIT):
        """The screen's text once it matches, or as it was at the end."""
        end = time.monotonic() + limit
        while True:
            text = self.shot("--text").decode()
            if re.search(pattern, text) or time.monotonic() > end or self.p.poll() is not None:
                return text
            time.sleep(0.1)

    def pixels(self):
        """(width, height, set of colors) of the picture."""
        png = self.shot()
        if png[:8] != b"\x89PNG\r\n\x1a\n":
            return 0, 0, set()
        width, height = struct.unpack(">II", png[16:24])
        length = struct.unpack(">I", png[33:37])[0]
        raw = zlib.decompress(png[41:41 + length])
        above, colors = bytearray(3 * width), set()
        for y in range(height):
            line = raw[y * (3 * width + 1) + 1:(y + 1) * (3 * width + 1)]
            above = bytearray((a + b) & 255 for a, b in zip(above, line))
            if any(line):
                colors |= {bytes(above[i:i + 3]) for i in range(0, 3 * width, 3)}
        return width, height, colors


class Seen:
    """What Screen tests give for a report."""
    seconds = 0.0

    def __init__(self, text):
        self.text = text

    def report(self, why):
        print(f"# {why}")
        for line in str(self.text).splitlines():
            print(f"# | {line}")


def seabios_screen():
    with Screen("seabios") as s:
        text = s.text("No bootable device")
        width, height, colors = s.pixels()
    if "SeaBIOS (version 1." not in text or "No bootable device" not in text:
        return Seen(text), "not on the screen"
    if (width, height) != (720, 400) or not {b"\0\0\0", b"\xaa\xaa\xaa"} <= colors:
        return Seen((width, height, colors)), "the picture does not show text"
    return Seen(text), None


def cdrom(iso, pattern, *want, bus="sata"):
    """A CD boots through SeaBIOS; what it then has on its text screen."""
    if not os.path.exists(iso):
        raise RuntimeError(f"{iso} is not installed")
    with Screen("seabios", "--disk", f"{iso},if={bus},cdrom") if bus != "sata" else Screen("seabios", "--cdrom", iso) as s:
        text = s.text(pattern)
    missing = [w for w in want if w not in text]
    return Seen(text), f"no {missing} on the screen" if missing else None


def boot_sector(options=""):
    """A boot sector that this test makes: it prints by the BIOS and halts."""
    code = bytes.fromhex("31c08ed8be1c7cac84c07409b40ebb0700cd10ebf2fa f4ebfd".replace(" ", ""))
    words = b"atoll boot sector\r\n\0"
    sector = code.ljust(0x1c, b"\x90") + words
    with tempfile.TemporaryDirectory() as tmp:
        path = os.path.join(tmp, "disk.raw")
        with open(path, "wb") as f:
            f.write(sector.ljust(510, b"\0") + b"\x55\xaa" + bytes(1 << 20))
        with Screen("seabios", "--disk", path + options) as s:
            text = s.text("atoll boot sector")
    return Seen(text), None if "atoll boot sector" in text else "it did not print"


def typed():
    """Keys of a VNC viewer reach GRUB's command line, and what was typed is on the screen."""
    iso = "/usr/lib/grub-rescue/grub-rescue-cdrom.iso"
    if not os.path.exists(iso):
        raise RuntimeError(f"{iso} is not installed")
    with socket.socket() as s:  # a port that is free now
        s.bind(("127.0.0.1", 0))
        port = s.getsockname()[1]
    with Screen("seabios", "--cdrom", iso, "--display", f"vnc=127.0.0.1:{port}") as s:
        text = s.text("executed automatically")
        with socket.create_connection(("127.0.0.1", port)) as c, c.makefile("rb") as f:
            c.sendall(f.read(12))
            types = f.read(f.read(1)[0])
            if 1 not in types:
                return Seen(types), "no access without a password"
            c.sendall(b"\1")
            f.read(4)
            c.sendall(b"\1")
            f.read(20)
            name = f.read(struct.unpack(">I", f.read(4))[0])
            if name != b"m":
                return Seen(name), "the screen has another name"
            for key in b"cecho Hello-42":
                for down in (1, 0):
                    c.sendall(struct.pack(">BBHI", 4, down, 0, key))
                if key == ord("c"):
                    s.text("grub>")
            c.sendall(struct.pack(">BBHI", 4, 1, 0, 0xff0d))
            text = s.text(r"\n *[Hh]ello-42", 20)
    return Seen(text), None if re.search(r"\n *[Hh]ello-42", text) else "it was not typed"


def ovmf_screen():
    """UEFI's console on the linear frame buffer: the shell's prompt is yellow."""
    with Screen("ovmf") as s:
        end = time.monotonic() + LIMIT
        while True:
            seen = s.pixels()
            if seen[:2] == (1280, 800) and b"\xff\xff\x00" in seen[2]:
                return Seen(seen), None
            if time.monotonic() > end or s.p.poll() is not None:
                return Seen(seen), "no prompt in the picture"
            time.sleep(0.5)


def ovmf():
    """The shell, and variables that are there at the second start."""
    with tempfile.TemporaryDirectory() as tmp:
        extra = ["--firmware-vars", os.path.join(tmp, "vars.fd")]
        skip = (r"in \d seconds to skip", "\x1b")
        r = vmm.run(command("ovmf", *extra), LIMIT,
                    stdin=[skip, (r"Shell>", "set atoll kept\r"), (r"\[07;01H", "reset -s\r")])
        if r.status != 0:
            return r, "no shell, or no power-off with status 0"
        # What was set is there without being set again.
        r = vmm.run(command("ovmf", *extra), LIMIT, until=r"atoll.*kept",
                    stdin=[skip, (r"Shell>", "set\r")])
    return r, None if r.stopped else "the variable is gone"


def kernel(firmware, cpus):
    image = vmm.script("fetch-kernel.sh", "cloud")
    initrd = vmm.script("mkinitramfs.sh", "--arch", "amd64")
    r = vmm.run(command(firmware, "--kernel", image, "--initrd", initrd, "--append",
                        "console=ttyS0 panic=-1 atoll.auto", cpus=cpus, memory="4G"), 240)
    saw = r.find(r"atoll-guest: cpus (\d+)")
    if not saw or int(saw[1]) != cpus:
        return r, f"no user space with {cpus} CPUs"
    if not r.find(r"DMI: Atoll"):
        return r, "no SMBIOS tables"
    if r.find(r"Kernel panic|BUG:|Oops|ACPI (BIOS )?Error|can't claim BAR"):
        return r, "the kernel complained"
    if firmware == "ovmf" and not r.find(r"efi: EFI v2"):
        return r, "not started by UEFI"
    return r, None if r.status == 0 else "no power-off with status 0"


TESTS = {
    "seabios": seabios,
    "ovmf": ovmf,
    "seabios-screen": seabios_screen,
    "ovmf-screen": ovmf_screen,
    "seabios-sector": boot_sector,
    "seabios-sata-sector": lambda: boot_sector(",if=sata"),
    "seabios-ide-sector": lambda: boot_sector(",if=ide"),
    "seabios-ide-grub-cd": lambda: cdrom("/usr/lib/grub-rescue/grub-rescue-cdrom.iso", "executed automatically",
                                         "GNU GRUB", "GNU/Linux", "Memtest86+", bus="ide"),
    "seabios-vnc": typed,
    "seabios-grub-cd": lambda: cdrom("/usr/lib/grub-rescue/grub-rescue-cdrom.iso", "executed automatically",
                                     "GNU GRUB", "GNU/Linux", "Memtest86+"),
    "seabios-memtest-cd": lambda: cdrom("/usr/lib/memtest86+/memtest86+x64.iso", r"Test #[2-9]",
                                        "Memtest86+ v6", "Errors: 0", "PC (Q35)"),
    "seabios-kernel": lambda: kernel("seabios", 2),
    "ovmf-kernel": lambda: kernel("ovmf", 4),
}


def installed(name):
    """The test, once it is known that what it boots is here."""
    path = PACKAGE[name.split("-")[0]]
    if not os.path.exists(path):
        raise RuntimeError(f"{path} is not installed")
    return TESTS[name]()


if __name__ == "__main__":
    sys.exit(vmm.run_tests(sys.argv, {name: (lambda n=name: installed(n)) for name in TESTS}))
