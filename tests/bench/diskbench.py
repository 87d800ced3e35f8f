#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""Times `atoll disk` ($ATOLL, default build/atoll) against qemu-img, turn by turn, and prints ratios and how
the figures of docs/promises.md came out.

usage: diskbench.py [--mib N] [--runs N] [--folder DIR] [--only WORD] [--json FILE] [--tap]

The image is half programs (this host's libraries), a quarter random and a quarter hole. Times are medians of wall
clock and of CPU time (user and system); a ratio below 1 is ours being faster. What is judged is the smaller
of both ratios, because others may use the CPUs meanwhile. A
folder in memory (/dev/shm) shows the programs, one on a disk mostly the disk. --tap says whether the
promises are kept, and ends with status 1 when one is broken.
"""

import argparse
import glob
import json
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.realpath(__file__)), "..", "guest"))
import figures  # noqa: E402  (the path must be set first)
import vmm  # noqa: E402

ATOLL = os.path.realpath(os.environ.get("ATOLL", "build/atoll"))
# name, options of convert, format, can be checked by both
CONVERT = (
    ("raw", [], "raw", False),
    ("qcow2", [], "qcow2", True),
    ("qcow2-2M", ["-o", "cluster_size=2M"], "qcow2", True),
    ("qcow2-extended-l2", ["-o", "extended_l2=on,cluster_size=128K"], "qcow2", True),
    ("qcow2-zlib", ["-c"], "qcow2", True),
    ("qcow2-zstd", ["-c", "-o", "compression_type=zstd"], "qcow2", True),
    ("vhd", [], "vpc", False),
    ("vhdx", [], "vhdx", True),
    ("vmdk", [], "vmdk", True),
    ("vmdk-stream", ["-o", "subformat=streamOptimized"], "vmdk", False),
    ("vdi", [], "vdi", True),
)


def make_raw(path, mib):
    left = mib << 19
    with open(path, "wb") as f:
        for name in sorted(glob.glob("/usr/lib/x86_64-linux-gnu/*.so.*")):
            if left and os.path.isfile(name) and not os.path.islink(name):
                with open(name, "rb") as lib:
                    data = lib.read(left)
                f.write(data)
                left -= len(data)
        f.seek(mib << 19)
        for _ in range(mib // 4):
            f.write(os.urandom(1 << 20))
        f.truncate(mib << 20)


def timed(args):
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    start = time.monotonic()
    subprocess.run(args, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, check=True)
    wall = time.monotonic() - start
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return wall, after.ru_utime - before.ru_utime + after.ru_stime - before.ru_stime


class Bench:
    def __init__(self, o):
        self.o = o
        self.rows = []
        print(f"# {'':28} {'qemu s':>8} {'atoll s':>8} {'ratio':>6}   {'qemu cpu':>8} {'cpu':>8} {'ratio':>6}")

    def pair(self, name, theirs, ours, target=None):
        """Medians of both, alternating; the target is removed before each."""
        if self.o.only and self.o.only not in name:
            for args in (ours,) if target == "t" else ():
                subprocess.run(args, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, check=True)
            return
        times = ([], [])
        for _ in range(self.o.runs):
            for which, args in enumerate((theirs, ours)):
                if target and os.path.exists(target):
                    os.unlink(target)
                times[which].append(timed(args))
        row = {"name": name}
        for which, who in enumerate(("qemu", "atoll")):
            row[who] = statistics.median(t[0] for t in times[which])
            row[who + "_cpu"] = statistics.median(t[1] for t in times[which])
        row["wall_ratio"] = row["atoll"] / row["qemu"]
        row["cpu_ratio"] = row["atoll_cpu"] / max(row["qemu_cpu"], 1e-3)
        row["ratio"] = min(row["wall_ratio"], row["cpu_ratio"])
        print(f"# {name:28} {row['qemu']:8.3f} {row['atoll']:8.3f} {row['wall_ratio']:6.2f}   "
              f"{row['qemu_cpu']:8.3f} {row['atoll_cpu']:8.3f} {row['cpu_ratio']:6.2f}", flush=True)
        self.rows.append(row)

    def both(self, name, *args, target=None):
        self.pair(name, ["qemu-img", *args], [ATOLL, "disk", *args], target)

    def run(self):
        make_raw("a.raw", self.o.mib)
        for name, options, fmt, can_check in CONVERT:
            for old in ("t", "b"):
                if os.path.exists(old):
                    os.unlink(old)
            self.both("to-" + name, "convert", "-f", "raw", "-O", fmt, *options, "a.raw", "t", target="t")
            self.both("from-" + name, "convert", "-f", fmt, "-O", "raw", "t", "b", target="b")
            if can_check:
                self.both("check-" + name, "check", "-f", fmt, "t")
            if fmt in ("raw", "qcow2"):
                self.both("compare-" + name, "compare", "-f", "raw", "-F", fmt, "a.raw", "t")
        for fmt in ("qcow2", "vpc", "vhdx", "vmdk", "vdi"):
            self.both("create-" + ("vhd" if fmt == "vpc" else fmt), "create", "-f", fmt, "c", "100G", target="c")


def judge(bench, tap):
    rows = {row["name"]: row["ratio"] for row in bench.rows}
    bars = figures.read_section("Disk images beside qemu-img")
    status = figures.judge(bars, [rows], vmm.Tap() if tap else None)
    unknown = [name for name in rows if name not in bars]
    if unknown and tap:
        print("# not in docs/promises.md: " + ", ".join(unknown))
    return status


def main():
    parser = argparse.ArgumentParser(usage=__doc__)
    parser.add_argument("--mib", type=int, default=512)
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--folder", default="/dev/shm")
    parser.add_argument("--only", help="only rows whose name has this word")
    parser.add_argument("--json")
    parser.add_argument("--tap", action="store_true")
    o = parser.parse_args()
    if o.json:
        o.json = os.path.abspath(o.json)
    with tempfile.TemporaryDirectory(prefix="diskbench-", dir=o.folder) as work:
        os.chdir(work)
        bench = Bench(o)
        bench.run()
        os.chdir("/")
    if o.json:
        with open(o.json, "w", encoding="utf-8") as f:
            json.dump(bench.rows, f, indent=1)
    return judge(bench, o.tap)


if __name__ == "__main__":
    sys.exit(main())
