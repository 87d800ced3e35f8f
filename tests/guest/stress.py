#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""stress-ng's stressors that verify what they compute, in a Debian guest.

usage: stress.py [--seconds TOTAL] [--cpus N] [--kernel FLAVOR] [--list] [NAME]...

The time is shared by the stressors, each with as many workers as the guest has CPUs.
"""

import argparse
import os
import sys
import tarfile
import tempfile

import debian
import vmm

MEMORY = "2G"
PROGRAM = "usr/bin/stress-ng"
# x86syscall, tsc, rdrand and ipsec-mb do nothing unless CPUID says "GenuineIntel", and our CPUs are
# AuthenticAMD: so the program is taught another name. Comparisons of ebx, edx and ecx.
VENDOR = ((b"\x81\xfbGenu", b"\x81\xfbAuth"), (b"\x81\xfaineI", b"\x81\xfaenti"),
          (b"\x81\xf9ntel", b"\x81\xf9cAMD"))
QEMU_CPU = "max,vendor=AuthenticAMD"
# Beside the stressors' own time: for the boot, and for a slow engine to begin and end each.
GRACE_S = 600
GRACE_EACH_S = 60

# name: further options. `@` is the number of CPUs; a stressor has so many workers unless said.
STRESSORS = {
    "cpu": "--cpu-method all",
    "vm": "--vm-bytes 64m --vm-method all",
    "vm-addr": "--vm-addr-method all",
    "vm-rw": "--vm-rw-bytes 16m",
    "vm-segv": "",
    "vm-splice": "",
    "atomic": "",
    "context": "",
    "switch": "",
    "x86syscall": "",
    "x86cpuid": "",
    # computing
    "crypt": "", "fp": "", "fp-error": "", "funccall": "", "funcret": "", "hash": "", "matrix": "",
    "matrix-3d": "", "sparsematrix": "", "vecfp": "", "vecmath": "", "vecshuf": "", "vecwide": "",
    "branch": "", "goto": "", "jpeg": "", "ipsec-mb": "", "longjmp": "", "nop": "", "opcode": "",
    "priv-instr": "", "rdrand": "", "regs": "", "rotate": "", "tsc": "", "zlib": "",
    # searching, sorting, strings
    "bsearch": "", "heapsort": "", "hsearch": "", "judy": "", "list": "", "lsearch": "",
    "mergesort": "", "qsort": "", "radixsort": "", "shellsort": "", "skiplist": "", "str": "",
    "tree": "", "tsearch": "", "wcs": "",
    # memory
    "bad-altstack": "", "brk": "", "cacheline": "", "dekker": "", "far-branch": "", "icache": "",
    "lockbus": "", "madvise": "", "malloc": "", "mcontend": "", "membarrier": "", "memcpy": "",
    "memfd": "", "memthrash": "", "mincore": "", "misaligned": "", "mmap": "--mmap-bytes 32m",
    "mmapaddr": "", "mmapfixed": "", "mmapmany": "", "mprotect": "",
    "mremap": "--mremap-bytes 32m", "msync": "", "munmap": "", "peterson": "", "prefetch": "",
    "remap": "", "rmap": "", "shm": "", "stack": "", "stackmmap": "", "stream": "",
    "tlb-shootdown": "", "userfaultfd": "",
    # processes, signals, waiting
    "clone": "--clone-max 64", "eventfd": "", "exec": "--exec-max 8", "fault": "",
    "fork": "--fork-max 4", "futex": "", "itimer": "", "kill": "", "mutex": "", "pipe": "",
    "pthread": "--pthread-max 64", "rseq": "", "sem": "", "sigabrt": "", "sigfd": "", "sigfpe": "",
    "signal": "", "signest": "", "sigpending": "", "sigq": "", "sigrt": "", "sigsegv": "",
    "sigsuspend": "", "sigtrap": "", "spawn": "", "timer": "", "vdso": "", "vfork": "",
    "yield": "",
}

RUNNER = """#!/bin/sh
while read -r name seconds limit args; do
	as=
	case $name in
	# Refuse to be root.
	exec | spawn) as="setpriv --reuid=65534 --clear-groups" ;;
	# Needs what the C library would register for itself.
	rseq) as="env GLIBC_TUNABLES=glibc.pthread.rseq=0" ;;
	esac
	timeout -k 5 $limit $as stress-ng --$name $CPUS $args --verify --timeout $seconds \\
		--temp-path /tmp --metrics-brief >/tmp/log 2>&1 </dev/null
	status=$?
	# It also ends well when it has done nothing, because something was not to its liking.
	[ $status != 0 ] || grep -q ' successful run completed' /tmp/log || status=unsupported
	[ $status = 0 ] || sed "s/^/stress-log: $name: /" /tmp/log | tail -n 15
	echo "stress: $name $status $(cut -d' ' -f1 /proc/uptime)"
done </stress.list
dmesg | sed -n 's/^/kernel: /p' | grep -E "$COMPLAINTS"
true
"""


def program_for_our_vendor(tar, tmp):
    path = os.path.join(tmp, "stress-ng")
    with tarfile.open(tar) as archive:
        code = archive.extractfile("./" + PROGRAM).read()
    for intel, ours in VENDOR:
        if code.count(intel) != 1:
            raise RuntimeError("stress-ng compares the CPU's vendor in another way")
        code = code.replace(intel, ours)
    with open(path, "wb") as f:
        f.write(code)
    os.chmod(path, 0o755)
    return path


def start(tar, names, opts, kernel):
    each = max(2, opts.seconds // len(names))
    limit = each + GRACE_EACH_S
    runner = RUNNER.replace("$CPUS", str(opts.cpus)).replace("$COMPLAINTS", debian.COMPLAINTS)
    plan = "".join(f"{n} {each} {limit} {STRESSORS[n]}\n" for n in names)
    with tempfile.TemporaryDirectory() as tmp:
        initrd = debian.pack(
            os.path.join(tmp, "initrd"), tar,
            {"init": debian.INIT % "/stress-run", "stress-run": runner, "stress.list": plan},
            {PROGRAM: program_for_our_vendor(tar, tmp)})
        cmd = vmm.command(kernel, initrd, "console=ttyS0 quiet panic=-1", memory=MEMORY,
                          cpus=opts.cpus, qemu_cpu=QEMU_CPU)
        return vmm.run(cmd, each * len(names) * 2 + GRACE_S, echo=r"^stress: ")


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=int, default=600)
    parser.add_argument("--cpus", type=int, default=4)
    parser.add_argument("--kernel", default="generic")
    parser.add_argument("--list", action="store_true")
    parser.add_argument("names", nargs="*")
    opts = parser.parse_args()
    if opts.list:
        print("\n".join(STRESSORS))
        return 0
    names = opts.names or list(STRESSORS)
    unknown = [n for n in names if n not in STRESSORS]
    if unknown:
        sys.exit(f"stress.py: no stressor '{unknown[0]}' (see --list)")
    tap = vmm.Tap()
    why = vmm.missing()
    if why:
        tap.line(False, "stress")
        print(f"# {why}")
        return tap.done()
    try:
        tar = debian.tree("stress", "stress-ng")
        kernel = vmm.script("fetch-kernel.sh", opts.kernel)
    except RuntimeError as e:
        tap.skip("stress", str(e))
        return tap.done()
    try:
        r = start(tar, names, opts, kernel)
    except RuntimeError as e:
        tap.line(False, "stress")
        print(f"# {e}")
        return tap.done()
    status = {m[1]: m[2] for _, m in r.find_all(r"^stress: (\S+) (\S+)")}
    for name in names:
        for _, m in r.find_all(rf"^stress-log: {name}: (.*)"):
            print(f"# | {m[1]}")
        if name not in status:
            print("# it did not come to an end")
        tap.line(status.get(name) == "0", name)
    complaint = r.find(r"^kernel: ") or r.find(debian.COMPLAINTS)
    well = r.status == 0 and not complaint
    if not well:
        r.report(f"the kernel complained: {complaint.string}" if complaint else
                 "the guest did not power off with status 0")
    tap.line(well, "kernel")
    return tap.done()


if __name__ == "__main__":
    sys.exit(main())
