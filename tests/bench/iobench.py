#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""Disks and networks of guests: fio and iperf3 in an Atoll guest and in a QEMU TCG guest, turn by turn, and how
the figures of docs/promises.md came out.

usage: iobench.py [--sets disk,user,tap] [--runs N] [--time S] [--folder DIR] [--json FILE] [--tap]

Guests have 1 CPU and 512 MB. The disk is 1 GiB in a folder in memory, once raw and once qcow2. The network's peer is
iperf3 on this host, by user mode and by a tap device (which needs root). Figures are ratios within a round, and the
median of the rounds counts. GB_DIR, GUESTBENCH, ATOLL, ATOLL_ARGS as for guestbench.py. --tap says whether the promises are
kept, and ends with status 1 when one is broken.
"""

import argparse
import contextlib
import json
import os
import statistics
import subprocess
import sys
import tempfile

sys.path.insert(0, os.path.join(os.path.dirname(os.path.realpath(__file__)), "..", "guest"))
import figures  # noqa: E402  (the path must be set first)
import guestbench  # noqa: E402
import vmm  # noqa: E402

TAP, TAP_HOST, TAP_GUEST = "atollbench0", "10.99.77.1", "10.99.77.2"
LIMIT_S = 400
JOBS = ("randr4k_qd1_iops", "randr4k_qd16_iops", "randw4k_qd1_wiops", "randw4k_qd16_wiops")


def find_bed():
    """guestbench with its initramfs of fio and iperf3, which is made when it is missing."""
    gb = guestbench.find_bed()
    initrd = os.path.join(gb, "gb-disk.cpio.gz")
    if not os.path.exists(initrd):
        source = os.path.realpath(os.environ.get("GUESTBENCH") or
                                  os.path.join(vmm.ROOT, "..", "shared", "guestbench"))
        # Its Debian disk is not needed: one that is there is not made.
        with open(os.path.join(gb, "disk.raw"), "ab"), open(gb + ".disk.log", "wb") as log:
            subprocess.run(["bash", os.path.join(source, "build.sh"), gb], stdout=log, stderr=log,
                           check=False, env={**os.environ, "DISK": "1", "ONLYDISK": "1"})
        if not os.path.exists(initrd):
            raise guestbench.Failed(f"guestbench's disk set does not build: see {gb}.disk.log")
    return os.path.join(gb, "vmlinuz"), initrd


def command(kind, bed, append, devices):
    kernel, initrd = bed
    append = "console=ttyS0 quiet " + append
    if kind == "tcg":
        return ["qemu-system-x86_64", "-accel", "tcg", "-M", "q35", "-m", "512", "-smp", "1", "-nographic",
                "-no-reboot", "-kernel", kernel, "-initrd", initrd, "-append", append, *devices]
    return [vmm.atoll_path(), "run", "-k", kernel, "-i", initrd, "--append", append, "-m", "512M",
            "--engine", "dbt", *devices, *vmm.more_args()]


def measure(what, cmd):
    r = vmm.run(cmd, LIMIT_S)
    found = {m[1]: float(m[2]) for _, m in r.find_all(r"RESULT (?:fio|net)_(\S+) (\S+)")}
    if not r.find("GB-DONE") or not found:
        r.report(f"{what} did not come to its end")
        raise guestbench.Failed(f"{what} failed")
    return found


def disk_set(bed, seconds, folder):
    append = f"gb.set=disk gb.fio={seconds}"
    out = {}
    with tempfile.TemporaryDirectory(prefix="iobench-", dir=folder) as work:
        for kind, fmt in (("tcg", "raw"), ("atoll", "raw"), ("atoll", "qcow2")):
            image = os.path.join(work, "disk." + fmt)
            if not os.path.exists(image):
                # Both have all their blocks: otherwise what is compared is who came first, the file system's work.
                subprocess.run([vmm.atoll_path(), "disk", "create", "-f", fmt, "-o", "preallocation=full", image,
                                "1G"], check=True)
            devices = ["-nic", "none", "-drive", f"file={image},if=virtio,format={fmt},cache=writeback"]
            if kind == "atoll":
                devices = ["--disk", f"{image},format={fmt}"]
            out[f"{kind}-{fmt}"] = measure(f"disk: {kind} {fmt}", command(kind, bed, append, devices))
    return out


@contextlib.contextmanager
def iperf_server():
    p = vmm.start(["iperf3", "-s"], stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
                  stderr=subprocess.DEVNULL)
    try:
        yield
    finally:
        p.kill()
        p.wait()


@contextlib.contextmanager
def tap_device():
    subprocess.run(["ip", "tuntap", "add", TAP, "mode", "tap", "vnet_hdr"], check=True)
    try:
        subprocess.run(["ip", "addr", "add", TAP_HOST + "/24", "dev", TAP], check=True)
        subprocess.run(["ip", "link", "set", TAP, "up"], check=True)
        yield
    finally:
        subprocess.run(["ip", "tuntap", "del", TAP, "mode", "tap"], check=True)


def net_set(bed, kind, how):
    append = "gb.set=net"
    if how == "tap":
        append += f" gb.ip={TAP_GUEST}/24 gb.peer={TAP_HOST}"
    theirs = {"user": "user,id=n", "tap": f"tap,id=n,ifname={TAP},script=no,downscript=no"}[how]
    devices = {"tcg": ["-netdev", theirs, "-device", "virtio-net-pci,netdev=n"],
               "atoll": ["--net", "user" if how == "user" else f"tap={TAP}"]}[kind]
    return measure(f"net: {kind} {how}", command(kind, bed, append, devices))


def one_round(bed, o):
    out = {}
    if "disk" in o.sets:
        d = disk_set(bed, o.time, o.folder)
        out["disk"] = d
    for how in ("user", "tap"):
        if how not in o.sets:
            continue
        with contextlib.ExitStack() as stack:
            if how == "tap":
                stack.enter_context(tap_device())
            stack.enter_context(iperf_server())
            out[how] = {kind: net_set(bed, kind, how) for kind in ("tcg", "atoll")}
    return out


def figures_of(r):
    """{figure: ratio} of one round."""
    out = {}
    if "disk" in r:
        tcg, raw, qcow2 = (r["disk"][k] for k in ("tcg-raw", "atoll-raw", "atoll-qcow2"))
        ratios = [raw[j] / tcg[j] for j in JOBS]
        for job, x in zip(JOBS, ratios):
            out["disk-" + job.rsplit("_", 1)[0].replace("_", "-")] = x
        out["disk-4k"] = statistics.geometric_mean(ratios)
        out["qcow2-by-raw"] = statistics.geometric_mean(qcow2[j] / raw[j] for j in JOBS)
    for how in ("user", "tap"):
        if how in r:
            for way, name in (("tx", "out"), ("rx", "in")):
                out[f"net-{how}-{name}"] = r[how]["atoll"][way] / r[how]["tcg"][way]
    return out


def say(r):
    for name, peers in r.items():
        for peer, found in peers.items():
            print(f"# {name} {peer}: " + ", ".join(f"{k} {v:.5g}" for k, v in found.items()), flush=True)


def main():
    parser = argparse.ArgumentParser(usage=__doc__)
    parser.add_argument("--sets", default="disk,user,tap" if os.geteuid() == 0 else "disk,user")
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--time", type=int, default=2)
    parser.add_argument("--folder", default="/dev/shm")
    parser.add_argument("--json")
    parser.add_argument("--tap", action="store_true")
    o = parser.parse_args()
    o.sets = o.sets.split(",")
    bars = figures.read_section("Disks and networks of guests")
    rounds = []
    try:
        bed = find_bed()
        for _ in range(o.runs):
            rounds.append(one_round(bed, o))
            say(rounds[-1])
    except guestbench.Failed as e:
        if o.tap and not rounds and "guestbench is not here" in str(e):
            print(f"TAP version 13\n1..0 # SKIP {e}")
            return 0
        sys.exit(f"iobench.py: {e}")
    found = [figures_of(r) for r in rounds]
    if o.json:
        with open(o.json, "w", encoding="utf-8") as f:
            json.dump({"rounds": rounds, "figures": found}, f, indent=1)
    return figures.judge(bars, found, vmm.Tap() if o.tap else None)


if __name__ == "__main__":
    sys.exit(main())
