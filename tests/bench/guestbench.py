#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""Runs guestbench in an Atoll guest, in a QEMU TCG guest and natively, turn by turn, and prints
how many times slower each guest is.

usage: guestbench.py [--set boot|micro] [--engine E]... [--runs N] [--json FILE] [--no-native]
                     [--no-tcg]

GB_DIR names a built guestbench, which is not part of this project: vmlinuz, gb-tiny.cpio.gz and the
static program gbench. ATOLL is the program under test (default build/atoll). Figures are medians;
only ratios within one table mean something, since the machine drifts. "clock" is the guest's time
against the host's between the first and the last line of user space.
"""

import argparse
import json
import os
import statistics
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.realpath(__file__)), "..", "guest"))
import vmm  # noqa: E402  (the path must be set first)

LIMIT = {"boot": 600, "micro": 1800}
MEMORY = "512M"


def guest_command(gb, which, kind):
    append = f"console=ttyS0 quiet gb.set={which}"
    kernel, initrd = os.path.join(gb, "vmlinuz"), os.path.join(gb, "gb-tiny.cpio.gz")
    if kind == "tcg":
        return ["qemu-system-x86_64", "-accel", "tcg", "-M", "q35", "-m", MEMORY, "-nographic",
                "-nic", "none", "-no-reboot", "-kernel", kernel, "-initrd", initrd,
                "-append", append]
    return [vmm.atoll_path(), "run", "--kernel", kernel, "--initrd", initrd, "--append", append,
            "--memory", MEMORY, "--engine", kind]


def higher_is_better(unit):
    return unit.endswith("/s")


def results_of(r, is_guest):
    out = {}
    for _, m in r.find_all(r"RESULT (\S+) (\S+) (\S+)"):
        try:
            out[m[1]] = (float(m[2]), m[3])
        except ValueError:
            continue
    if not is_guest:
        return out
    first, last = r.find_all("GB-INIT"), r.find_all("GB-DONE")
    begun, up = r.find(r"RESULT kernel_to_init (\S+) (\S+)"), r.find(r"GB-UPTIME (\S+)")
    if first and last:
        out["exec_to_init"] = (first[0][0] - r.start, "s")
        out["exec_to_done"] = (last[0][0] - r.start, "s")
    if begun and up and last:
        scale = {"s": 1.0, "ms": 1e-3, "us": 1e-6, "ns": 1e-9}.get(begun[2], 1e-3)
        guest = float(up[1]) - float(begun[1]) * scale
        out["clock"] = (guest / (last[0][0] - first[0][0]), "guest/host")
    return out


def measure(kind, gb, which):
    """One run; returns {item: (value, unit)}, or raises RuntimeError."""
    if kind == "native":
        r = vmm.run([os.path.join(gb, "gbench"), "-t", "0.3", "all"], LIMIT[which])
        return results_of(r, False)
    r = vmm.run(guest_command(gb, which, kind), LIMIT[which])
    if not r.find("GB-DONE") or r.status != 0:
        r.report(f"{kind}: {which} did not come to GB-DONE and power-off")
        raise RuntimeError(kind)
    return results_of(r, True)


def print_table(medians, kinds):
    base = "native" if "native" in kinds else kinds[0]
    others = [k for k in kinds if k != base]
    print(f"| item | unit | {base} | " + " | ".join(others) + " | " +
          " | ".join(f"{k}, x slower" for k in others) + " |")
    print("|---|---|---:|" + "---:|" * (2 * len(others)))
    ratios = {k: [] for k in others}
    items = list(dict.fromkeys(i for k in kinds for i in medians[k]))
    for item in items:
        unit = next(medians[k][item][1] for k in kinds if item in medians[k])
        cells = []
        for k in [base] + others:
            cells.append(f"{medians[k][item][0]:.4g}" if item in medians[k] else "")
        for k in others:
            if item not in medians[k] or item not in medians[base] or unit == "guest/host":
                cells.append("")
                continue
            a, b = medians[k][item][0], medians[base][item][0]
            if a <= 0 or b <= 0:
                cells.append("")
                continue
            ratios[k].append(b / a if higher_is_better(unit) else a / b)
            cells.append(f"{ratios[k][-1]:.2f}")
        print(f"| {item} | {unit} | " + " | ".join(cells) + " |")
    means = [f"{statistics.geometric_mean(ratios[k]):.2f}" if ratios[k] else "" for k in others]
    print("| geometric mean | | | " + " | ".join([""] * len(others) + means) + " |")


def main():
    parser = argparse.ArgumentParser(description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--set", default="micro", choices=sorted(LIMIT))
    parser.add_argument("--engine", action="append")
    parser.add_argument("--runs", type=int, default=1)
    parser.add_argument("--json")
    parser.add_argument("--no-native", action="store_true")
    parser.add_argument("--no-tcg", action="store_true")
    opts = parser.parse_args()
    gb = os.environ.get("GB_DIR")
    if not gb or not os.path.exists(os.path.join(gb, "gb-tiny.cpio.gz")):
        sys.exit("guestbench.py: GB_DIR must name a folder with a built guestbench (vmlinuz, gb-tiny.cpio.gz, gbench)")
    kinds = [] if opts.no_native or opts.set == "boot" else ["native"]
    kinds += [] if opts.no_tcg else ["tcg"]
    kinds += opts.engine or ["interp"]
    runs = {k: [] for k in kinds}
    for n in range(opts.runs):
        for kind in kinds:
            print(f"run {n + 1} of {opts.runs}: {kind}", file=sys.stderr, flush=True)
            try:
                runs[kind].append(measure(kind, gb, opts.set))
            except RuntimeError:
                return 1
    medians = {k: {item: (statistics.median(r[item][0] for r in rs if item in r), unit)
                   for r0 in rs for item, (_, unit) in r0.items()} for k, rs in runs.items()}
    if opts.json:
        with open(opts.json, "w", encoding="utf-8") as f:
            json.dump(medians, f, indent=1)
    print_table(medians, kinds)
    return 0


if __name__ == "__main__":
    sys.exit(main())
