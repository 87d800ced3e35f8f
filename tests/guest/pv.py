#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""Paravirtual interfaces as Linux uses them: what it says that it has found, and that it works.

usage: pv.py NAME...
"""

import os
import sys
import tempfile

import virtio
from virtio import build, guest, want

SEE = """
see() { dmesg | grep -q "$1" || fail "no '$1'"; echo "guest-ok: $1"; }
"""


def one_processor():
    """A command's words that keep it on one processor: two vCPUs that work take time from each other."""
    return ["taskset", "-c", str(min(os.sched_getaffinity(0)))]


def kvm(_cpus):
    """Stolen time is told, and a halted vCPU's TLB is flushed without an interrupt; mappings stay right."""
    with tempfile.TemporaryDirectory(prefix="pv-") as tmp:
        r = guest([], SEE + """
see 'Hypervisor detected: KVM'
see 'KVM setup pv remote TLB flush'
/pvops remap 200 || fail remap
/pvops munmap 500 || fail munmap
steal() { awk '/^cpu / { print $9 }' /proc/stat; }
before=$(steal)
for n in 0 1; do (i=0; while [ $i -lt 25000 ]; do i=$((i + 1)); done) & done
wait
[ $(steal) -gt $((before + 2)) ] || fail "stolen: $before, $(steal)"
# Without its interface a CPU is as it was.
echo 0 >/sys/devices/system/cpu/cpu1/online || fail offline
echo 1 >/sys/devices/system/cpu/cpu1/online || fail online
/pvops remap 100 || fail again
""", ["--stats"], files=[(build("pvops", tmp), "pvops")], cpus=2, wrap=one_processor())
    flushes = r.find(r"([\d,]+)  of these: another vCPU asked for it while this one was halted")
    want(flushes and int(flushes[1].replace(",", "")) > 100, f"flushes asked for: {flushes and flushes[1]}")


def told(_cpus):
    """What the CPU does not have is not used, and not there."""
    r = guest([], """
dmesg | grep -q 'remote TLB flush' && fail flushes
for n in 0 1; do (i=0; while [ $i -lt 12000 ]; do i=$((i + 1)); done) & done
wait
want stolen "$(awk '/^cpu / { print $9 }' /proc/stat)" 0
""", ["--cpu", "host,-kvm-steal-time,-kvm-pv-eoi", "--stats"], cpus=2, wrap=one_processor())
    want(not r.find("ended by memory|asked for it|did not run"), "uses what it does not have")


def hyperv(_cpus):
    """Time, timers, the APIC and a CPU that goes and comes by Hyper-V's interface; and interrupts, if they are asked for."""
    with tempfile.TemporaryDirectory(prefix="pv-") as tmp:
        guest([], SEE + """
see 'Hypervisor detected: Microsoft Hyper-V'
see 'Hyper-V: Using enlightened APIC'
see 'Hyper-V: Using IPI hypercalls'
see 'Hyper-V: LAPIC Timer Frequency'
dmesg | grep -q 'kvm-clock\\|KVM setup\\|unchecked MSR' && fail both
want clock "$(cat /sys/devices/system/clocksource/clocksource0/current_clocksource)" hyperv_clocksource_tsc_page
for cpu in 0 1; do
	want "timer $cpu" "$(cat /sys/devices/system/clockevents/clockevent$cpu/current_device)" "Hyper-V clockevent"
done
timers() { awk '/HVS:/ { print $2, $3 }' /proc/interrupts; }
later() { [ "$(echo "$1" | cut -d' ' -f$3)" -lt "$(echo "$2" | cut -d' ' -f$3)" ]; }
before=$(timers)
/pvops remap 300 || fail remap
/pvops ipi 300 || fail ipi
/pvops clock 100000 || fail clock
after=$(timers)
later "$before" "$after" 1 && later "$before" "$after" 2 || fail "timers: $before, $after"
echo 0 >/sys/devices/system/cpu/cpu1/online || fail offline
echo 1 >/sys/devices/system/cpu/cpu1/online || fail online
/pvops remap 100 || fail again
later "$after" "$(timers)" 2 || fail "no timer after it was plugged in"
""", ["--hyperv", "on", "--cpu", "host,+hv-ipi"], files=[(build("pvops", tmp), "pvops")], cpus=2)


TESTS = {"kvm": kvm, "told": told, "hyperv": hyperv}


if __name__ == "__main__":
    sys.exit(virtio.main(sys.argv, TESTS))
