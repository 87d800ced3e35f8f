#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""Boots a kernel many times while the host is busy with something else: each time the guest must
reach user space with all its CPUs and power off.

usage: boots.py [--cpus N] [--kernel FLAVOR] [--busy N] [--keep-going] [BOOTS]

--busy is the number of loops that compete for the host's CPUs (default: one for each). Ends at the
first failure, whose console is printed, unless --keep-going.
"""

import argparse
import os
import sys
import time

import debian
import vmm

LIMIT = 300


class Load:
    """Loops that take a host CPU each, while the `with` block runs."""

    def __init__(self, count):
        self.count = count
        self.loops = []

    def __enter__(self):
        self.loops = [vmm.start([sys.executable, "-c", "while True: pass"])
                      for _ in range(self.count)]
        return self

    def __exit__(self, *_):
        for p in self.loops:
            p.kill()
            p.wait()


def boot(kernel, initrd, cpus):
    r = vmm.run(vmm.command(kernel, initrd, "console=ttyS0 quiet panic=-1 atoll.auto", cpus=cpus),
                LIMIT)
    saw = r.find(r"atoll-guest: cpus (\d+)")
    if not saw:
        return r, "no user space"
    if int(saw[1]) != cpus:
        return r, f"the guest has {saw[1]} CPUs, not {cpus}"
    complaint = r.find(debian.COMPLAINTS)
    if complaint:
        return r, f"the kernel complained: {complaint.string}"
    if r.status != 0 or not r.find(r"atoll-guest: poweroff"):
        return r, "it did not power off with status 0"
    return r, None


def main():
    parser = argparse.ArgumentParser(description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cpus", type=int, default=4)
    parser.add_argument("--kernel", default="cloud")
    parser.add_argument("--busy", type=int, default=os.cpu_count())
    parser.add_argument("--keep-going", action="store_true")
    parser.add_argument("boots", type=int, nargs="?", default=200)
    opts = parser.parse_args()
    tap = vmm.Tap(1)
    name = f"{opts.boots} boots of {opts.kernel} with {opts.cpus} CPUs"
    try:
        why = vmm.missing()
        kernel = vmm.script("fetch-kernel.sh", opts.kernel)
        arch = "i386" if opts.kernel.startswith("686") else "amd64"
        initrd = vmm.script("mkinitramfs.sh", "--arch", arch)
    except RuntimeError as e:
        tap.skip(name, str(e))
        return tap.done()
    if why:
        tap.line(False, name)
        print(f"# {why}")
        return tap.done()
    good, seconds, begun = 0, [], time.monotonic()
    with Load(opts.busy):
        for n in range(1, opts.boots + 1):
            r, wrong = boot(kernel, initrd, opts.cpus)
            seconds.append(r.seconds)
            good += wrong is None
            if wrong:
                r.report(f"boot {n}: {wrong}")
                if not opts.keep_going:
                    break
            elif n % 20 == 0:
                print(f"# {n} boots, {time.monotonic() - begun:.0f} s", flush=True)
    seconds.sort()
    print(f"# {good} of {len(seconds)} reached user space; a boot took {seconds[0]:.1f} to "
          f"{seconds[-1]:.1f} s, median {seconds[len(seconds) // 2]:.1f} s")
    tap.line(good == opts.boots, name)
    return tap.done()


if __name__ == "__main__":
    sys.exit(main())
