#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""The engine is changed between interp and dbt every few milliseconds while guests boot and compute.

usage: engine_switch.py [--every TIME] [NAME]...

A NAME is boot-1, boot-4 (CPUs), alias (programs at the same addresses), stress (a part of stress-ng)
or bench (guestbench's sets micro and app, where guestbench can be had).
"""

import argparse
import json
import os
import subprocess
import sys

import vmm

HERE = os.path.dirname(os.path.realpath(__file__))
BENCH = os.path.join(HERE, "..", "bench", "guestbench.py")
BOOT_LIMIT = 300
STRESSORS = ("cpu", "vm", "atomic", "context", "switch", "fp", "fp-error", "vecmath", "vecwide",
             "icache", "mprotect", "sigfpe", "sigsegv", "fork", "futex", "longjmp", "regs")


def boot(cpus):
    """A boot must come to power-off, and its statistics must show that both engines had their part."""
    kernel = vmm.script("fetch-kernel.sh", "cloud")
    cmd = vmm.command(kernel, vmm.script("mkinitramfs.sh"), "console=ttyS0 quiet panic=-1 atoll.auto",
                      cpus=cpus, extra=["--stats-json"])
    r = vmm.run(cmd, BOOT_LIMIT)
    stats = r.find(r"^\{.*\}$")
    counts = json.loads(stats[0])["cpu"] if stats else {}
    if r.status != 0 or not r.find(r"atoll-guest: poweroff"):
        r.report("no user space, or no power-off with status 0")
        return False
    print(f"# {r.seconds:.1f} s, instructions executed by interp {counts.get('insns')}, blocks "
          f"translated by dbt {counts.get('dbt_blocks')}")
    if not counts.get("insns") or not counts.get("dbt_blocks"):
        print("# one of the engines had no part in it")
        return False
    return True


def driver(script, *args):
    """Runs another driver with the same options; its report becomes ours."""
    p = vmm.complete([sys.executable, script, *args], stdout=subprocess.PIPE,
                     stderr=subprocess.STDOUT, text=True, check=False)
    for line in p.stdout.splitlines():
        if p.returncode or line.startswith("#"):
            print("# " + line.lstrip("# "))
    return p.returncode == 0


def bench():
    return driver(BENCH, "--sets", "micro,app", "--no-native", "--no-tcg", "--runs", "1",
                  "--time", "0.1")


TESTS = {
    "boot-1": lambda: boot(1),
    "boot-4": lambda: boot(4),
    "alias": lambda: driver(os.path.join(HERE, "alias.py"), "--seconds", "60"),
    "stress": lambda: driver(os.path.join(HERE, "stress.py"), "--seconds", "120", *STRESSORS),
    "bench": bench,
}


def main():
    parser = argparse.ArgumentParser(description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--every", default="50ms")
    parser.add_argument("names", nargs="*")
    opts = parser.parse_args()
    names = opts.names or list(TESTS)
    unknown = [n for n in names if n not in TESTS]
    if unknown:
        sys.exit(f"engine_switch.py: no test '{unknown[0]}': there are {', '.join(TESTS)}")
    os.environ["ATOLL_ARGS"] = " ".join([*vmm.more_args(), "--engine-switch", opts.every])
    tap = vmm.Tap(len(names))
    why = vmm.missing()
    for name in names:
        if why:
            tap.line(False, name)
            print(f"# {why}")
            continue
        if name == "bench" and subprocess.run([sys.executable, BENCH, "--bed"], check=False,
                                              capture_output=True).returncode:
            tap.skip(name, "guestbench is not here")
            continue
        try:
            tap.line(TESTS[name](), name)
        except RuntimeError as e:
            tap.skip(name, str(e))
    return tap.done()


if __name__ == "__main__":
    sys.exit(main())
