#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""Boots Debian's kernels, unmodified, to user space and to power-off.

usage: boot.py [--list] [NAME]...

A NAME is KERNEL-CPUS (cloud-1, 686-pae-4), shell, reboot or clock; without one all run. What each
boot must show: the number of CPUs and the memory that were asked for, the host's date, an orderly
power-off and status 0.
"""

import sys
import time

import vmm

# flavor of scripts/fetch-kernel.sh: (user space, seconds allowed per boot)
KERNELS = {
    "cloud": ("amd64", 240),
    "generic": ("amd64", 400),
    "6.12": ("amd64", 400),
    "686": ("i386", 500),
    "686-pae": ("i386", 500),
}
CPUS = (1, 4)
CLOCK_SECONDS = 20
CLOCK_TOLERANCE = 0.001
CMDLINE = "console=ttyS0 panic=-1 "


def start(flavor, append, **kw):
    arch, limit = KERNELS[flavor]
    kernel = vmm.script("fetch-kernel.sh", flavor)
    initrd = vmm.script("mkinitramfs.sh", "--arch", arch)
    stdin = kw.pop("stdin", None)
    limit += kw.pop("more_s", 0)
    return vmm.run(vmm.command(kernel, initrd, CMDLINE + append, **kw), limit, stdin=stdin)


def ended_well(r):
    return r.status == 0 and not r.timed_out and r.find(r"atoll-guest: poweroff")


def boot(flavor, cpus):
    r = start(flavor, "quiet atoll.auto", cpus=cpus)
    saw_cpus = r.find(r"atoll-guest: cpus (\d+)")
    memory = r.find(r"atoll-guest: memory (\d+) MiB")
    date = r.find(r"atoll-guest: date (\d+)")
    if not saw_cpus or not memory or not date:
        return r, "no user space"
    if not ended_well(r):
        return r, "did not power off with status 0"
    if int(saw_cpus[1]) != cpus:
        return r, f"guest has {saw_cpus[1]} CPUs, not {cpus}"
    if not 400 <= int(memory[1]) <= 512:
        return r, f"guest has {memory[1]} MiB, not nearly 512"
    if abs(int(date[1]) - time.time()) > 30 + r.seconds:
        return r, f"guest's date {date[1]} is not the host's"
    if r.find(r"Kernel panic|BUG:|Oops|soft lockup|rcu.*stall"):
        return r, "the kernel complained"
    return r, None


def shell():
    r = start("cloud", "quiet", stdin=[
        (r"Leave the shell", "tty; echo $((6 * 7))-answers\n"),
        # Ctrl-C once the command is known to run: before, the shell's line editor would take it.
        (r"^42-answers", "sh -c 'echo asleep-$((40 + 2)); exec sleep 600'\n"),
        (r"^asleep-42", "\x03"),
        (r"\^C", "echo interrupted-$?\n"),
        (r"^interrupted-130", "exit\n"),
    ])
    if not r.find(r"^42-answers") or not r.find(r"^/dev/ttyS0"):
        return r, "no shell on the console"
    if not r.find(r"^interrupted-130"):
        return r, "Ctrl-C does not interrupt (no job control)"
    return r, None if ended_well(r) else "did not power off with status 0"


def reboot():
    r = start("cloud", "quiet atoll.auto atoll.end=reboot")
    if not r.find(r"atoll-guest: reboot"):
        return r, "no user space"
    return r, "did not end" if r.timed_out else None


def clock():
    """The guest's clock against the host's: the slope of a line through (host, guest) times.

    A line of the console can only be late, and by the host's scheduling; so each of the first and
    the last third gives the sample that was least late.
    """
    r = start("cloud", f"quiet atoll.auto atoll.clock={CLOCK_SECONDS}", more_s=2 * CLOCK_SECONDS)
    points = [(t, float(m[1])) for t, m in r.find_all(r"atoll-clock: (\d+\.\d+)")]
    if len(points) < CLOCK_SECONDS or not ended_well(r):
        return r, "no clock lines, or no orderly end"
    third = len(points) // 3
    first, last = (min(part, key=lambda p: p[0] - p[1]) for part in (points[:third], points[-third:]))
    host, guest = last[0] - first[0], last[1] - first[1]
    error = guest / host - 1
    print(f"# guest {guest:.2f} s, host {host:.3f} s: {error * 100:+.3f} %")
    return r, None if abs(error) <= CLOCK_TOLERANCE else "the guest's clock is off by more than 0.1 %"


def main(argv):
    tests = {f"{flavor}-{cpus}": (lambda f=flavor, c=cpus: boot(f, c))
             for flavor in KERNELS for cpus in CPUS}
    tests.update(shell=shell, reboot=reboot, clock=clock)
    return vmm.run_tests(argv, tests)


if __name__ == "__main__":
    sys.exit(main(sys.argv))
