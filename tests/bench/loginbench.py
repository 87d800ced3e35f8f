#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""A whole machine from its start to the prompt, in Atoll and in QEMU TCG turn by turn, and how the figures of
docs/promises.md came out.

usage: loginbench.py [--runs N] [--tap]

The disk is what `atoll image build` makes, started for the first time: SeaBIOS, GRUB, kernel, systemd, cloud-init; 1 GiB
of memory, 1 and 2 CPUs. --tap says whether the promises are kept, and ends with status 1 when one is broken.
"""

import argparse
import os
import subprocess
import sys
import tempfile

sys.path.insert(0, os.path.join(os.path.dirname(os.path.realpath(__file__)), "..", "guest"))
import figures  # noqa: E402  (the path must be set first)
import vmm  # noqa: E402

LIMIT_S = 300


def command(kind, disk, cpus):
    if kind == "tcg":
        return ["qemu-system-x86_64", "-accel", "tcg", "-m", "1G", "-smp", str(cpus), "-display", "none",
                "-serial", "stdio", "-monitor", "none", "-drive", f"file={disk},format=qcow2,if=virtio",
                "-nic", "user,model=virtio"]
    return [vmm.atoll_path(), "run", "--disk", disk, "--net", "user", "-m", "1G", "-c", str(cpus),
            "--engine", "dbt", *vmm.more_args()]


def seconds(kind, image, cpus):
    """From the start of the program to the prompt."""
    with tempfile.TemporaryDirectory(prefix="loginbench-") as tmp:
        disk = os.path.join(tmp, "disk.qcow2")
        subprocess.run([vmm.atoll_path(), "disk", "create", "-b", image, "-F", "qcow2", disk], check=True)
        r = vmm.run(command(kind, disk, cpus), LIMIT_S, until=r"login:")
    prompt = r.find_all(r"login:")
    if not prompt:
        r.report("no prompt")
        raise vmm.Failed(f"{kind} with {cpus} CPUs shows no prompt")
    return prompt[0][0] - r.start


def main():
    parser = argparse.ArgumentParser(usage=__doc__)
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--tap", action="store_true")
    o = parser.parse_args()
    image = vmm.script("mkimage.sh")
    found = []
    try:
        for _ in range(o.runs):
            found.append({})
            for cpus in (2, 1):
                ours, theirs = (seconds(kind, image, cpus) for kind in ("atoll", "tcg"))
                found[-1][f"login-{cpus}"] = theirs / ours
                print(f"# {cpus} CPUs: Atoll {ours:.1f} s, TCG {theirs:.1f} s", flush=True)
    except vmm.Failed as e:
        sys.exit(f"loginbench.py: {e}")
    return figures.judge(figures.read_section("A machine from its disk"), found, vmm.Tap() if o.tap else None)


if __name__ == "__main__":
    sys.exit(main())
