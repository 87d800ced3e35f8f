#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""Different programs at the same addresses, switched by the guest's kernel and by exec, and code that
processes share at different addresses and change: each checks its own sums (alias/alias.c).

usage: alias.py [--seconds N] [--cpus N] [--kernel FLAVOR] [--host] [NAME]...

--host runs the programs on the host instead of in a guest: to try the programs.
"""

import argparse
import os
import subprocess
import sys
import tempfile

import vmm

SOURCE = os.path.join(os.path.dirname(os.path.realpath(__file__)), "alias", "alias.c")
GRACE_S = 400
SIZES = ("64", "32")

# What runs at the same time. Those on CPU 0 are switched there; "any" may run on any CPU.
JOBS = {f"{kind}-{size}-{which}-{cpu}": (size, which, kind, cpu)
        for size in SIZES for which in ("1", "2")
        for kind, cpu in (("spin", "0"), ("churn", "0"), ("churn", "any"), ("pair", "any"))}

RUNNER = """#!/bin/sh
cd /alias
while read -r name program args; do
	{ ./$program $args; echo "alias-exit: $name $?"; } </dev/null &
done </alias/jobs
wait
"""


def compile_programs(out):
    """Builds PROGRAM-SIZE-WHICH; the two of a size must have each symbol at the same address."""
    cc = os.environ.get("CC", "gcc").split()
    for size in SIZES:
        symbols = []
        for which in ("1", "2"):
            path = os.path.join(out, f"alias-{size}-{which}")
            p = subprocess.run([*cc, f"-m{size}", "-msse2", "-O2", "-Wall", "-Wextra", "-Werror",
                                "-D_GNU_SOURCE", "-static", "-no-pie", "-fno-pie",
                                f"-DWHICH={which}", "-o", path, SOURCE],
                               capture_output=True, text=True, check=False)
            if p.returncode:
                raise RuntimeError(f"alias.c does not build with -m{size}: {p.stderr[-400:]}")
            symbols.append(subprocess.run(["nm", path], capture_output=True, check=True).stdout)
        if symbols[0] != symbols[1] or not symbols[0]:
            raise RuntimeError(f"the two {size}-bit programs are not at the same addresses")


def job_lines(names, seconds):
    lines = []
    for name in names:
        size, which, kind, cpu = JOBS[name]
        words = [name, f"alias-{size}-{which}", kind, str(seconds), "-1" if cpu == "any" else cpu]
        if kind == "churn":
            words.append(f"./alias-{size}-{'2' if which == '1' else '1'}")
        lines.append(" ".join(words) + "\n")
    return "".join(lines)


def run_jobs(names, opts, kernel):
    with tempfile.TemporaryDirectory() as tmp:
        programs = os.path.join(tmp, "alias")
        os.mkdir(programs)
        compile_programs(programs)
        with open(os.path.join(programs, "jobs"), "w", encoding="utf-8") as f:
            f.write(job_lines(names, opts.seconds))
        runner = os.path.join(tmp, "run")
        with open(runner, "w", encoding="utf-8") as f:
            f.write(RUNNER if not opts.host else RUNNER.replace("/alias", programs))
        os.chmod(runner, 0o755)
        if opts.host:
            return vmm.run([runner], opts.seconds + GRACE_S)
        initrd = vmm.script("mkinitramfs.sh", "-o", os.path.join(tmp, "initramfs.cpio.gz"), "--add",
                            runner + ":/alias-run", "--add", programs + ":/alias")
        cmd = vmm.command(kernel, initrd, "console=ttyS0 quiet panic=-1 atoll.run=/alias-run",
                          cpus=opts.cpus)
        return vmm.run(cmd, opts.seconds + GRACE_S)


def main():
    parser = argparse.ArgumentParser(description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=int, default=600)
    parser.add_argument("--cpus", type=int, default=2)
    parser.add_argument("--kernel", default="cloud")
    parser.add_argument("--host", action="store_true")
    parser.add_argument("names", nargs="*")
    opts = parser.parse_args()
    names = opts.names or list(JOBS)
    unknown = [n for n in names if n not in JOBS]
    if unknown:
        sys.exit(f"alias.py: no job '{unknown[0]}': there are {', '.join(JOBS)}")
    tap = vmm.Tap()
    why = vmm.missing()
    if why:
        tap.line(False, "alias")
        print(f"# {why}")
        return tap.done()
    try:
        r = run_jobs(names, opts, None if opts.host else vmm.script("fetch-kernel.sh", opts.kernel))
    except RuntimeError as e:
        tap.line(False, "alias")
        print(f"# {e}")
        return tap.done()
    for _, m in r.find_all(r"^alias: .*"):
        print(f"# {m[0]}")
    status = {m[1]: m[2] for _, m in r.find_all(r"^alias-exit: (\S+) (\d+)")}
    for name in names:
        tap.line(status.get(name) == "0", name)
    ended = r.status == 0 and (opts.host or r.find("^atoll-guest: exit status 0"))
    if not ended or "0" not in status.values():
        r.report("it did not come to an orderly end")
    tap.line(bool(ended), "end")
    return tap.done()


if __name__ == "__main__":
    sys.exit(main())
