#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""Runs guestbench in an Atoll guest, in a QEMU TCG guest and natively (in a chroot), turn by turn,
and prints how many times slower each guest is, and how the figures of docs/promises.md came out.

usage: guestbench.py [--sets boot,micro,app,smp] [--engine E]... [--runs N] [--time S] [--json FILE]
                     [--no-native] [--no-tcg] [--tap] [--bed]

GB_DIR names a built guestbench: vmlinuz, gb-tiny.cpio.gz, gb-full.cpio, root/. Without it, it is
built in the cache from the sources that GUESTBENCH names (default: ../shared/guestbench beside the
checkout); guestbench is not part of this project. ATOLL is the program under test (default
build/atoll), ATOLL_ARGS further options of it.

micro and app run in one guest of 1 CPU and 512 MB, smp in one of 2 CPUs, boot in one that ends at
once. Figures are medians; only ratios within one table mean something, since the machine drifts.
"clock" is the guest's time against the host's between the first and the last line of user space,
"over" the resident memory of the whole process outside of the guest's RAM when the benchmark is
through. --tap says whether the promises are kept, and ends with status 1 when one is broken; --bed
only prints where the built guestbench is.
"""

import argparse
import json
import os
import re
import statistics
import subprocess
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.realpath(__file__)), "..", "guest"))
import figures  # noqa: E402  (the path must be set first)
import vmm  # noqa: E402

SETS = ("boot", "micro", "app", "smp")
BED = ("vmlinuz", "gb-tiny.cpio.gz", "gb-full.cpio", os.path.join("root", "gb.sh"))
MEMORY_MB = 512
SMP_CPUS = 2
# A guest whose memory is looked at must not end meanwhile.
IDLE_S = 2
LIMIT = {"boot": 600, "micro": 1800, "app": 1800, "smp": 900}

# In a mount namespace of its own: what the programs of the benchmark need, and no more.
NATIVE = """
mount -t proc proc "$0/proc" && mount --rbind /dev "$0/dev" && mount -t tmpfs tmp "$0/tmp" &&
exec chroot "$0" /gb.sh "$@"
"""


class Failed(Exception):
    pass


def find_bed():
    """The folder of the built benchmark; raises Failed with the next step."""
    gb = os.environ.get("GB_DIR")
    if gb:
        lacking = [f for f in BED if not os.path.exists(os.path.join(gb, f))]
        if lacking:
            raise Failed(f"GB_DIR must name a built guestbench ({', '.join(BED)}): "
                         f"{gb} has no {lacking[0]}")
        return gb
    source = os.path.realpath(os.environ.get("GUESTBENCH") or
                              os.path.join(vmm.ROOT, "..", "shared", "guestbench"))
    script = os.path.join(source, "build.sh")
    if not os.path.exists(script):
        raise Failed("guestbench is not here: GUESTBENCH must name its source folder (with "
                     "build.sh), or GB_DIR what that built")
    gb = os.path.join(vmm.cache_dir(), "guestbench")
    newest = max(os.path.getmtime(os.path.join(source, f)) for f in os.listdir(source))
    built = [os.path.join(gb, f) for f in BED]
    # vmlinuz is what a package holds: its time says nothing of when it was fetched.
    if all(map(os.path.exists, built)) and os.path.getmtime(built[2]) >= newest:
        return gb
    print(f"building guestbench in {gb}", file=sys.stderr, flush=True)
    log = gb + ".log"
    os.makedirs(gb, exist_ok=True)
    with open(log, "w", encoding="utf-8") as f:
        status = subprocess.run(["bash", script, gb], stdout=f, stderr=f, check=False,
                                env={k: v for k, v in os.environ.items() if k != "DISK"}).returncode
    if status or not all(map(os.path.exists, built)):
        raise Failed(f"guestbench does not build: see {log}")
    return gb


def guest_command(gb, sets, kind, seconds):
    initrd = "gb-full.cpio" if "app" in sets else "gb-tiny.cpio.gz"
    append = f"console=ttyS0 quiet gb.set={','.join(sets)} gb.t={seconds} gb.idle={IDLE_S}"
    if sets == ["boot"]:
        append = "console=ttyS0 quiet gb.set=boot"
    cpus = str(SMP_CPUS if "smp" in sets else 1)
    kernel, initrd = os.path.join(gb, "vmlinuz"), os.path.join(gb, initrd)
    if kind == "tcg":
        return ["qemu-system-x86_64", "-accel", "tcg", "-M", "q35", "-m", str(MEMORY_MB), "-smp",
                cpus, "-nographic", "-nic", "none", "-no-reboot", "-kernel", kernel, "-initrd",
                initrd, "-append", append]
    return [vmm.atoll_path(), "run", "--kernel", kernel, "--initrd", initrd, "--append", append,
            "--memory", f"{MEMORY_MB}M", "--cpus", cpus, "--engine", kind, *vmm.more_args()]


def native_command(gb, sets, seconds):
    cmd = ["unshare", "--mount"]
    if os.geteuid() != 0:
        cmd += ["--map-root-user", "--pid", "--fork"]
    return cmd + ["sh", "-c", NATIVE, os.path.join(gb, "root"), ",".join(sets), str(seconds),
                  str(SMP_CPUS if "smp" in sets else 1)]


def outside_ram_kb(pid):
    """Resident kB of a machine monitor outside of its guest's RAM; None when it is gone. Memory that
    is mapped twice, as translated code is, is there once: Pss, not Rss.

    Ours names its guest RAM; of another's, the data mapping of that size is taken for it.
    """
    maps = []
    try:
        with open(f"/proc/{pid}/smaps", encoding="utf-8", errors="replace") as f:
            for line in f:
                m = re.match(r"([0-9a-f]+)-([0-9a-f]+) (\S+) \S+ \S+ \d+\s*(.*)", line)
                if m:
                    maps.append([(int(m[2], 16) - int(m[1], 16)) >> 10, 0, m[3], m[4]])
                elif line.startswith("Pss:"):
                    maps[-1][1] = int(line.split()[1])
    except OSError:
        return None
    ram = [m for m in maps if "memfd:guest-ram" in m[3]]
    if not ram:
        size = MEMORY_MB << 10
        ram = [m for m in maps if "x" not in m[2] and size * 0.99 <= m[0] <= size * 1.2]
    if not maps or not ram:
        return None
    return sum(m[1] for m in maps) - sum(m[1] for m in ram)


def results_of(r):
    out = {}
    for _, m in r.find_all(r"RESULT (\S+) (\S+) (\S+)"):
        try:
            out[m[1]] = (float(m[2]), m[3])
        except ValueError:
            continue
    return out


def guest_results(r, sets, over_kb):
    out = results_of(r)
    first, last = r.find_all("GB-INIT"), r.find_all("GB-DONE")
    begun, up = out.pop("kernel_to_init", None), r.find(r"GB-UPTIME (\S+)")
    if sets == ["boot"]:
        return {"exec_to_init": (first[0][0] - r.start, "s")}
    out["exec_to_done_smp" if sets == ["smp"] else "exec_to_done"] = (last[0][0] - r.start, "s")
    if begun and up and "micro" in sets:
        out["clock"] = ((float(up[1]) - begun[0] / 1e3) / (last[0][0] - first[0][0]), "guest/host")
    # The applications are what fills an engine's caches.
    if over_kb and "app" in sets:
        out["over"] = (over_kb / 1024, "MB")
    return out


def measure(kind, gb, sets, seconds):
    """One run: {item: (value, unit)}; raises Failed."""
    limit = sum(LIMIT[s] for s in sets)
    over_kb = []
    if kind == "native":
        cmd = native_command(gb, sets, seconds)
        r = vmm.run(cmd, limit)
        whole = r.status == 0
    else:
        def on_line(pid, line):
            if "GB-IDLE" in line:
                over_kb.append(outside_ram_kb(pid))
        r = vmm.run(guest_command(gb, sets, kind, seconds), limit, on_line=on_line)
        whole = r.status == 0 and r.find("GB-INIT") and r.find("GB-DONE")
    wrong = r.find(r"gbench: \S+ rc=")
    if not whole or wrong:
        r.report(f"{kind}: {','.join(sets)} " + (f"failed: {wrong.string}" if wrong else
                                                  "did not come to its end"))
        raise Failed(f"{kind} failed")
    return results_of(r) if kind == "native" else guest_results(r, sets, over_kb and over_kb[0])


def run_round(kinds, gb, groups, seconds, say):
    peers = {k: {} for k in kinds}
    for sets in groups:
        for kind in kinds:
            if kind == "native" and sets == ["boot"]:
                continue
            say(f"{','.join(sets)}: {kind}")
            peers[kind].update(measure(kind, gb, sets, seconds))
    base = peers.get("native") or peers[kinds[0]]
    for kind in kinds:
        lacking = [i for i in base if i not in peers[kind] and i not in figures.EXTRA]
        if lacking:
            raise Failed(f"{kind} has no {', '.join(lacking)}")
    return peers


def medians_of(rounds, kind):
    items = dict.fromkeys(i for peers in rounds for i in peers[kind])
    return {i: (statistics.median(p[kind][i][0] for p in rounds if i in p[kind]),
                next(p[kind][i][1] for p in rounds if i in p[kind])) for i in items}


def print_table(rounds, kinds):
    base = "native" if "native" in kinds else kinds[0]
    others = [k for k in kinds if k != base]
    medians = {k: medians_of(rounds, k) for k in kinds}
    heads = ["item", "unit", base] + others + [f"{k}, x slower" for k in others]
    print("| " + " | ".join(heads) + " |")
    print("|---|---|" + "---:|" * (len(heads) - 2))
    all_ratios = {k: [] for k in others}
    for item in dict.fromkeys(i for k in kinds for i in medians[k]):
        unit = next(medians[k][item][1] for k in kinds if item in medians[k])
        cells = [f"{medians[k][item][0]:.4g}" if item in medians[k] else "" for k in [base] + others]
        for k in others:
            x = figures.median(figures.slowdown(p[base], p[k], item) for p in rounds)
            if x is None or unit == "guest/host":
                cells.append("")
                continue
            if item in figures.items_of([item]):
                all_ratios[k].append(x)
            cells.append(f"{x:.2f}")
        print(f"| {item} | {unit} | " + " | ".join(cells) + " |")
    means = [f"{statistics.geometric_mean(x):.2f}" if x else "" for x in all_ratios.values()]
    if any(means):
        print("| geometric mean, items of 1 CPU without cpuid | | | " +
              " | ".join([""] * len(others) + means) + " |")


def print_verdicts(bars, computed, engine):
    print(f"\n{engine}:")
    for name, bar in bars.items():
        if computed[name][0] is not None:
            print(bar.verdict(*computed[name]))
    unknown = [name for name in bars if computed[name][0] is None]
    if unknown:
        print("not measured: " + ", ".join(unknown))


def print_tap(bars, computed):
    """Of each promised figure, whether the promise is kept; returns the number of broken ones."""
    tap = vmm.Tap()
    for name, bar in bars.items():
        value, note = computed[name]
        if bar.promised is not None:
            tap.line(value is not None and bar.keeps_promise(value), name)
        print(f"# {bar.verdict(value, note)}")
    return tap.done()


def parse_options():
    parser = argparse.ArgumentParser(description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sets", "--set", default="boot,micro,app,smp")
    parser.add_argument("--engine", action="append")
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--time", default="0.3")
    parser.add_argument("--json")
    parser.add_argument("--no-native", action="store_true")
    parser.add_argument("--no-tcg", action="store_true")
    parser.add_argument("--tap", action="store_true")
    parser.add_argument("--bed", action="store_true")
    opts = parser.parse_args()
    chosen = opts.sets.split(",")
    unknown = [s for s in chosen if s not in SETS]
    if unknown:
        parser.error(f"no set '{unknown[0]}': there are {', '.join(SETS)}")
    # A guest each: what runs in one CPU's guest goes together, so that its memory at the end is
    # that of the whole.
    opts.groups = [g for g in ([s for s in names if s in chosen]
                               for names in (["boot"], ["micro", "app"], ["smp"])) if g]
    opts.kinds = [] if opts.no_native or chosen == ["boot"] else ["native"]
    opts.kinds += [] if opts.no_tcg else ["tcg"]
    opts.kinds += opts.engine or [os.environ.get("ATOLL_ENGINE", "dbt")]
    return opts


def main():
    opts = parse_options()
    bars = figures.read_bars()
    if opts.tap and all(bar.promised is None for bar in bars.values()):
        print("TAP version 13\n1..0 # SKIP docs/promises.md promises no figure yet")
        return 0
    try:
        gb = find_bed()
    except Failed as e:
        if opts.tap:
            print(f"TAP version 13\n1..0 # SKIP {e}")
            return 0
        sys.exit(f"guestbench.py: {e}")
    if opts.bed:
        print(gb)
        return 0
    rounds = []
    try:
        for n in range(opts.runs):
            rounds.append(run_round(opts.kinds, gb, opts.groups, opts.time, lambda what: print(
                f"run {n + 1} of {opts.runs}: {what}", file=sys.stderr, flush=True)))
    except Failed as e:
        print(f"guestbench.py: {e}", file=sys.stderr)
        return 1
    engines = [k for k in opts.kinds if k not in ("native", "tcg")]
    computed = {e: figures.compute(rounds, e) for e in engines}
    if opts.json:
        with open(opts.json, "w", encoding="utf-8") as f:
            json.dump({"rounds": rounds, "figures": computed}, f, indent=1)
    if opts.tap:
        return print_tap(bars, computed[engines[0]])
    print_table(rounds, opts.kinds)
    for engine in engines:
        print_verdicts(bars, computed[engine], engine)
    return 0


if __name__ == "__main__":
    sys.exit(main())
