#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""Boots Debian's firmware, unmodified: SeaBIOS and OVMF, alone and with a kernel.

usage: firmware.py [NAME]...
"""

import os
import sys
import tempfile

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
    "seabios-kernel": lambda: kernel("seabios", 2),
    "ovmf-kernel": lambda: kernel("ovmf", 4),
}


def main(argv):
    names = argv[1:] or list(TESTS)
    tap = vmm.Tap(len(names))
    for name in names:
        path = PACKAGE[name.split("-")[0]]
        if not os.path.exists(path):
            tap.skip(name, f"{path} is not installed")
            continue
        try:
            r, wrong = TESTS[name]()
        except RuntimeError as e:
            tap.skip(name, str(e))
            continue
        if wrong:
            r.report(wrong)
        tap.line(wrong is None, name)
        print(f"# {name}: {r.seconds:.1f} s", flush=True)
    return tap.done()


if __name__ == "__main__":
    sys.exit(main(sys.argv))
