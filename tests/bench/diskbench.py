#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""Times `atoll disk` ($ATOLL, default build/atoll) against qemu-img, turn by turn, and prints ratios.

usage: diskbench.py [--mib N] [--runs N] [--folder DIR] [--json FILE]

The image is half a pattern, a quarter random and a quarter hole. Times are medians of wall clock and of CPU
time (user and system); a ratio below 1 is ours being faster. A folder in memory (/dev/shm) shows the
programs, one on a disk mostly the disk.
"""

import argparse
import json
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time

ATOLL = os.path.realpath(os.environ.get("ATOLL", "build/atoll"))
CONVERT = (
    ("raw", [], "raw"),
    ("qcow2", [], "qcow2"),
    ("qcow2 2M", ["-o", "cluster_size=2M"], "qcow2"),
    ("qcow2 extended L2", ["-o", "extended_l2=on,cluster_size=128K"], "qcow2"),
    ("qcow2 zlib", ["-c"], "qcow2"),
    ("qcow2 zstd", ["-c", "-o", "compression_type=zstd"], "qcow2"),
)


def make_raw(path, mib):
    pattern = bytes((i * 7 + (i >> 8)) & 255 for i in range(1 << 20))
    with open(path, "wb") as f:
        for i in range(mib // 2):
            f.write(pattern[i % 4096:] + pattern[:i % 4096])
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


def pair(name, theirs, ours, runs, target=None):
    """Medians of both, alternating; the target is removed before each."""
    times = ([], [])
    for _ in range(runs):
        for which, args in enumerate((theirs, ours)):
            if target and os.path.exists(target):
                os.unlink(target)
            times[which].append(timed(args))
    row = {"name": name}
    for which, who in enumerate(("qemu", "atoll")):
        row[who] = statistics.median(t[0] for t in times[which])
        row[who + "_cpu"] = statistics.median(t[1] for t in times[which])
    print(f"{name:28} {row['qemu']:8.3f} {row['atoll']:8.3f} {row['atoll'] / row['qemu']:6.2f}   "
          f"{row['qemu_cpu']:8.3f} {row['atoll_cpu']:8.3f} {row['atoll_cpu'] / max(row['qemu_cpu'], 1e-3):6.2f}",
          flush=True)
    return row


def main():
    parser = argparse.ArgumentParser(usage=__doc__)
    parser.add_argument("--mib", type=int, default=512)
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--folder", default="/dev/shm")
    parser.add_argument("--json")
    o = parser.parse_args()
    rows = []
    print(f"{'':28} {'qemu s':>8} {'atoll s':>8} {'ratio':>6}   {'qemu cpu':>8} {'cpu':>8} {'ratio':>6}")
    with tempfile.TemporaryDirectory(prefix="diskbench-", dir=o.folder) as work:
        os.chdir(work)
        make_raw("a.raw", o.mib)
        for name, options, fmt in CONVERT:
            args = ["convert", "-f", "raw", "-O", fmt, *options, "a.raw", "t"]
            rows.append(pair("to " + name, ["qemu-img", *args], [ATOLL, "disk", *args], o.runs, "t"))
            src = ["convert", "-f", fmt, "-O", "raw"]
            rows.append(pair("from " + name, ["qemu-img", *src, "t", "b"],
                             [ATOLL, "disk", *src, "t", "b"], o.runs, "b"))
            if fmt != "raw":
                rows.append(pair("check " + name, ["qemu-img", "check", "-f", fmt, "t"],
                                 [ATOLL, "disk", "check", "-f", fmt, "t"], o.runs))
            rows.append(pair("compare " + name,
                             ["qemu-img", "compare", "-f", "raw", "-F", fmt, "a.raw", "t"],
                             [ATOLL, "disk", "compare", "-f", "raw", "-F", fmt, "a.raw", "t"], o.runs))
            os.unlink("b")
        args = ["create", "-f", "qcow2", "t", "1T"]
        rows.append(pair("create 1T", ["qemu-img", *args], [ATOLL, "disk", *args], o.runs, "t"))
        os.chdir("/")
    if o.json:
        with open(o.json, "w", encoding="utf-8") as f:
            json.dump(rows, f, indent=1)
    return 0


if __name__ == "__main__":
    sys.exit(main())
