# SPDX-License-Identifier: GPL-2.0-or-later
"""What guestbench's items add up to: the figures that docs/promises.md lists, and the verdicts.

A round holds what was measured turn by turn: {"native": {item: (value, unit)}, "tcg": ..., and one
for each engine}. A figure is computed within each round and the median of the rounds counts, so
that a machine that drifts from round to round shifts all peers alike.
"""

import os
import re
import statistics

PROMISES = os.path.join(os.path.dirname(os.path.realpath(__file__)), "..", "..", "docs",
                        "promises.md")
# A promise is broken when a figure is this much worse than promised.
SLACK = 1.15
# The smallest difference to TCG that counts as being slower: the spread of items between runs.
NOISE = 1.05

# Natively CPUID leaves the host's own virtual machine: every engine is hundreds of times faster.
LEFT_OUT = {"cpuid"}
# What the runner adds to the items of the benchmark.
EXTRA = {"exec_to_init", "exec_to_done", "exec_to_done_smp", "clock", "over", "mem_used_kb"}

CPU = ["coremk", "fib20", "indirect_call", "sh_loop", "perl_loop", "python_loop", "cc1_O2"]
VECTOR = ["daxpy_scalar", "nbody_step", "x87", "sse_saxpy", "sse2_int", "avx2_fma", "ossl_sha256",
          "ossl_aes128gcm", "ossl_chacha", "ossl_rsa2048_sign", "ossl_rsa2048_verify"]
EACH = ["perl_start", "python_start", "sh_c_true", "as", "memcpy4k", "memcpy16M", "memset16M",
        "null_syscall", "stat", "open_close", "signal_self", "fork_exit", "fork_exec", "page_fault",
        "mmap_munmap64k", "pipe_rtt"]
BESIDE_TCG = ["cold_code_page", "smc_patch_call"]
SCALING = ["coremk", "null_syscall", "page_fault"]


def higher_is_better(unit):
    return unit.endswith("/s")


def slowdown(base, other, item):
    """How many times slower `other` is than `base`, or None when one of them has no such item."""
    if item not in base or item not in other:
        return None
    (a, unit), (b, _) = base[item], other[item]
    if a <= 0 or b <= 0:
        return None
    return a / b if higher_is_better(unit) else b / a


def items_of(results):
    """The benchmark's own items, of 1 CPU."""
    return [i for i in results if i not in EXTRA | LEFT_OUT and not i.startswith("smp")]


def ratios(base, other, items):
    """None as soon as one of the items is missing: a mean of the rest would flatter."""
    found = [slowdown(base, other, i) for i in items]
    return None if None in found or not found else found


def mean_of(items):
    def figure(peers, engine):
        found = ratios(peers.get("native", {}), peers[engine], items)
        return found and statistics.geometric_mean(found)
    return figure


def worst_of(items):
    def figure(peers, engine):
        found = ratios(peers.get("native", {}), peers[engine], items)
        return found and max(found)
    return figure


def mean_of_all(peers, engine):
    native = peers.get("native", {})
    items = items_of(native)
    # Without the applications the mean would be that of another benchmark.
    return mean_of(items)(peers, engine) if "cc1_O2" in items and "coremk" in items else None


def one_item(item):
    return lambda peers, engine: slowdown(peers.get("native", {}), peers[engine], item)


def beside_tcg(item):
    return lambda peers, engine: slowdown(peers[engine], peers.get("tcg", {}), item)


def slower_than_tcg(peers, engine):
    """{item: times slower than TCG}; None when not everything was measured."""
    tcg = peers.get("tcg", {})
    items = [i for i in tcg if i not in EXTRA | LEFT_OUT]
    if "cc1_O2" not in items or "coremk" not in items:
        return None
    found = {i: slowdown(tcg, peers[engine], i) for i in items}
    return {i: x for i, x in found.items() if x and x > NOISE}


def value_of(item):
    return lambda peers, engine: peers[engine].get(item, (None,))[0]


def two_against_one(item):
    def figure(peers, engine):
        one, two = (peers[engine].get(f"smp{n}_{item}", (0,))[0] for n in (1, 2))
        return two / one if one > 0 and two > 0 else None
    return figure


# name: figure in one round of one engine. The names are those of docs/promises.md.
FIGURES = {
    "all-mean": mean_of_all,
    "cpu-mean": mean_of(CPU),
    "cpu-worst": worst_of(CPU),
    "vector-mean": mean_of(VECTOR),
    "vector-worst": worst_of(VECTOR),
    **{i: one_item(i) for i in EACH},
    **{i + "-tcg": beside_tcg(i) for i in BESIDE_TCG},
    "exec-to-init": value_of("exec_to_init"),
    "memory": value_of("over"),
    **{"smp-" + i: two_against_one(i) for i in SCALING},
}
SLOWER = "slower-than-tcg"
BOUND = re.compile(r"^([≤≥])\s*([0-9.]+)$")


class Bar:
    """The must, the aim and the promised number of a figure, from docs/promises.md."""

    def __init__(self, name, cells):
        self.name = name
        self.what, must, aim, promised = cells
        m = BOUND.match(must)
        if not m:
            raise ValueError(f"{name}: '{must}' is no bound")
        self.at_least = m[1] == "≥"
        self.must = float(m[2])
        self.aim = float(BOUND.match(aim)[2]) if BOUND.match(aim) else None
        self.promised = float(promised) if re.fullmatch(r"[0-9.]+", promised) else None

    def meets(self, value, bar):
        return value >= bar if self.at_least else value <= bar

    def keeps_promise(self, value):
        slack = 1 / SLACK if self.at_least else SLACK
        return self.promised is None or self.meets(value, self.promised * slack)

    def verdict(self, value, note=""):
        if value is None:
            return f"{self.name}: not measured"
        sign = "≥" if self.at_least else "≤"
        words = [f"{self.name}: {value:.3g}", f"must {sign} {self.must:g}"]
        if self.aim is not None:
            words.append(f"aim {sign} {self.aim:g}" +
                         (" (met)" if self.meets(value, self.aim) else ""))
        if self.promised is not None:
            words.append(f"promised {self.promised:g}" +
                         ("" if self.keeps_promise(value) else " (BROKEN)"))
        words.append("PASS" if self.meets(value, self.must) else "FAIL")
        return ", ".join(words) + note


def read_bars(path=PROMISES):
    """{name: Bar}, in the document's order; raises ValueError unless it names just the figures."""
    bars = {}
    with open(path, encoding="utf-8") as f:
        for line in f:
            cells = [c.strip() for c in line.strip().strip("|").split("|")]
            name = cells[0].strip("`")
            if len(cells) == 5 and line.startswith("| `") and (name in FIGURES or name == SLOWER):
                bars[name] = Bar(name, cells[1:])
    lacking = [n for n in [*FIGURES, SLOWER] if n not in bars]
    if lacking:
        raise ValueError(f"{os.path.basename(path)} says nothing of {', '.join(lacking)}")
    return bars


def read_section(title, path=PROMISES):
    """{name: Bar} of the table below a heading of the document, in its order."""
    bars, inside = {}, False
    with open(path, encoding="utf-8") as f:
        for line in f:
            if line.startswith("#"):
                inside = line.strip("# \n") == title
            cells = [c.strip() for c in line.strip().strip("|").split("|")]
            if inside and len(cells) == 5 and line.startswith("| `"):
                bars[cells[0].strip("`")] = Bar(cells[0].strip("`"), cells[1:])
    if not bars:
        raise ValueError(f"{os.path.basename(path)} has no table below '{title}'")
    return bars


def median(values):
    values = [v for v in values if v is not None]
    return statistics.median(values) if values else None


def judge(bars, rounds, tap):
    """Prints the verdict on the median of each figure that was measured, to `tap` when it is there; the exit status.
    rounds: [{figure: value}]."""
    for name, bar in bars.items():
        value = median(r.get(name) for r in rounds)
        if value is None:
            continue
        if tap:
            tap.line(bar.keeps_promise(value), name)
        print("# " + bar.verdict(value))
    return tap.done() if tap else 0


def compute(rounds, engine):
    """{figure: (median over the rounds or None, note)}"""
    out = {name: (median(f(peers, engine) for peers in rounds), "") for name, f in FIGURES.items()}
    slower = [s for s in (slower_than_tcg(peers, engine) for peers in rounds) if s is not None]
    if not slower:
        out[SLOWER] = (None, "")
    else:
        # An item counts when it is slower in the median of the rounds.
        names = {i for s in slower for i in s}
        found = {i: statistics.median(s.get(i, 1.0) for s in slower) for i in names}
        found = {i: x for i, x in sorted(found.items()) if x > NOISE}
        note = "".join(f" {i} {x:.2f}x" for i, x in found.items())
        out[SLOWER] = (len(found), " (" + note.strip() + ")" if note else "")
    return out
