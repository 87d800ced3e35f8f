#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""Runs sections of kvm-unit-tests, the public test suite for x86 machine monitors.

usage: kut.py [--list] [-v] [SECTION]...

The suite is not part of this project: KUT_DIR names a tree built for x86_64 and KUT32_DIR one built
for i386 (docs/guide/testing.md says how). Without them the sections are skipped. A section passes
when the guest ends the machine by the debug-exit port with 0, status 1, and reported no failure. On KVM, fewer sections
are run.
"""

import os
import re
import shlex
import sys

import vmm

# The sections that must pass. A value is the number of seconds allowed.
SECTIONS_64 = {
    "smptest": 60, "smptest3": 60,
    "vmexit_cpuid": 120, "vmexit_mov_from_cr8": 120, "vmexit_mov_to_cr8": 120,
    "vmexit_inl_pmtimer": 120, "vmexit_ipi": 180, "vmexit_ipi_halt": 180,
    "vmexit_ple_round_robin": 120, "vmexit_tscdeadline": 120, "vmexit_tscdeadline_immed": 120,
    "vmexit_cr0_wp": 120, "vmexit_cr4_pge": 120,
    "smap": 60, "pku": 60, "pks": 60, "eventinj": 60, "memory": 60, "realmode": 60,
    "setjmp": 60, "sieve": 600, "syscall": 60, "tsc": 60, "xsave": 60, "rmap_chain": 120,
    "rdpru": 60, "umip": 60, "intel_iommu": 60,
    "idt_test": 120, "msr": 60, "x2apic": 400, "xapic": 400, "ioapic": 120, "la57": 60,
    "pcid-enabled": 60, "pcid-disabled": 60, "debug": 60, "emulator": 120, "access": 1200,
    "hypercall": 60,
}
# On a KVM without hardware assistance those in which everything is ours to get right: it lets programs execute what must trap
# (umip, syscall), takes interrupts late and NMIs early (eventinj, ioapic), and executes kernels a thousand times slower.
SECTIONS_KVM = ["smptest", "smptest3", "vmexit_cpuid", "vmexit_mov_from_cr8", "vmexit_mov_to_cr8", "vmexit_inl_pmtimer",
                "vmexit_ipi", "vmexit_ipi_halt", "vmexit_ple_round_robin", "vmexit_tscdeadline",
                "vmexit_tscdeadline_immed", "vmexit_cr0_wp", "vmexit_cr4_pge", "realmode", "setjmp", "rmap_chain",
                "idt_test", "pcid-disabled"]
SECTIONS_32 = {"taskswitch": 60, "taskswitch2": 60, "cmpxchg8b": 60}

# QEMU's CPU models in unittests.cfg, and ours that have at least their features.
CPU_MODELS = {"qemu64": "baseline", "Opteron_G1": "baseline", "max": "host,+pku,+pks"}
# Parts of a QEMU command line that mean nothing to us, because they only choose between ways in which
# KVM may do the same thing, or because --debug-exit brings that device.
IGNORED = {("-machine", "pit=off"), ("-M", "q35,kernel-irqchip=split"),
           ("-device", "intel-iommu,intremap=on,eim=off"), ("-device", "edu")}
# Our CPUs have one vendor; no section that must pass depends on it.
IGNORED_CPU_FLAGS = {"host-phys-bits", "vendor=GenuineIntel", "vendor=AuthenticAMD"}
# Feature names that differ from Linux's, which are ours.
CPU_FLAGS = {"tsc-deadline": "tsc_deadline_timer"}
DEFAULT_MEMORY = "128M"


def read_config(path):
    """The sections of a unittests.cfg: {name: {key: value}}."""
    sections, current = {}, None
    with open(path, encoding="utf-8") as f:
        text = f.read()
    # test_args may span lines inside triple quotes.
    text = re.sub(r'"""(.*?)"""', lambda m: m[1].replace("\n", " "), text, flags=re.S)
    for line in text.splitlines():
        line = line.strip()
        m = re.fullmatch(r"\[([^]]+)\]", line)
        if m:
            current = sections.setdefault(m[1], {})
        elif "=" in line and not line.startswith("#") and current is not None:
            key, _, value = line.partition("=")
            current[key.strip()] = value.strip()
    return sections


def our_cpu(qemu_cpu):
    """QEMU's "-cpu model,+a,-b,vendor=X" as our --cpu; raises ValueError for what has no match."""
    model, *flags = qemu_cpu.split(",")
    if model not in CPU_MODELS:
        raise ValueError(f"no CPU model like {model}")
    flags = [f[0] + CPU_FLAGS.get(f[1:], f[1:]) for f in flags if f not in IGNORED_CPU_FLAGS]
    # Protection keys are the host's to have.
    ours = "host" if model == "max" and vmm.engine() == "kvm" else CPU_MODELS[model]
    return ",".join([ours] + flags)


def section_command(tree, keys):
    """The machine monitor's command line for a section; raises ValueError if there is none."""
    kernel = os.path.join(tree, "x86", keys["file"])
    words = shlex.split(keys.get("qemu_params", keys.get("extra_params", "")))
    args = shlex.split(keys.get("test_args", ""))
    kw = {"memory": DEFAULT_MEMORY, "cpus": int(keys.get("smp", "1")), "debug_exit": True}
    extra = []
    while words:
        word = words.pop(0)
        value = words.pop(0) if words and not words[0].startswith("-") else ""
        if word == "-cpu":
            kw["qemu_cpu"] = value
            if not vmm.is_qemu():
                kw["cpu"] = our_cpu(value)
        elif word == "-m":
            kw["memory"] = value.upper() if value[-1].isalpha() else value + "M"
        elif word == "-append":
            args += shlex.split(value)
        elif vmm.is_qemu():
            extra += [word, value]
        elif (word, value) not in IGNORED:
            raise ValueError(f"no option like {word} {value}")
    return vmm.command(kernel, append=" ".join(args), extra=extra, **kw)


def run_section(tap, name, tree, keys, limit, verbose):
    try:
        cmd = section_command(tree, keys)
    except ValueError as e:
        tap.line(False, name)
        print(f"# {e}", flush=True)
        return
    r = vmm.run(cmd, limit)
    passes = len(r.find_all(r"^PASS"))
    failures = [m.string for _, m in r.find_all(r"^FAIL")]
    # 1 is our own status, too, when a machine cannot be built.
    ok = r.status == 1 and not failures and not r.find(r"^atoll(-vm)?: ")
    if not ok:
        r.report(f"{len(failures)} failures; a pass would be status 1 and none")
        for line in failures[:20]:
            print(f"# {line}")
    elif verbose:
        for _, line in r.lines:
            print(f"# | {line}")
    tap.line(ok, name)
    print(f"# {name}: {passes} passed, {r.seconds:.1f} s", flush=True)


def main(argv):
    wanted = {name: ("KUT_DIR", limit) for name, limit in SECTIONS_64.items()}
    wanted.update({name: ("KUT32_DIR", limit) for name, limit in SECTIONS_32.items()})
    args = argv[1:]
    if args == ["--list"]:
        print("\n".join(wanted))
        return 0
    verbose = "-v" in args
    names = [a for a in args if a != "-v"] or (SECTIONS_KVM if vmm.engine() == "kvm" else list(wanted))
    tap = vmm.Tap(len(names))
    configs = {}
    why = vmm.missing()
    for name in names:
        variable, limit = wanted.get(name, ("KUT_DIR", 180))
        tree = os.environ.get(variable)
        if not tree:
            tap.skip(name, f"{variable} names no built kvm-unit-tests tree")
            continue
        if vmm.engine() == "kvm" and not os.access("/dev/kvm", os.R_OK | os.W_OK):
            tap.skip(name, "no /dev/kvm that we may use")
            continue
        if tree not in configs:
            configs[tree] = read_config(os.path.join(tree, "x86", "unittests.cfg"))
        keys = configs[tree].get(name)
        if why or not keys:
            tap.line(False, name)
            print(f"# {why or 'no such section in ' + tree}", flush=True)
            continue
        run_section(tap, name, tree, keys, limit, verbose)
    return tap.done()


if __name__ == "__main__":
    sys.exit(main(sys.argv))
