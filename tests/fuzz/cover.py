#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""How many lines of what it tests does a fuzz target's committed corpus run?

usage: cover.py [--floor PERCENT] [--lines] NAME TARGET CORPUS

TARGET is built by clang with -fprofile-instr-generate -fcoverage-mapping; covers.txt names the
sources. Prints TAP, one case a source; --lines prints which lines are never run.
"""

import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile

HERE = os.path.dirname(os.path.realpath(__file__))
ROOT = os.path.realpath(os.path.join(HERE, "..", ".."))


def llvm(tool):
    return shutil.which(f"{tool}-14") or tool


def sources_of(name):
    with open(os.path.join(HERE, "covers.txt"), encoding="utf-8") as f:
        for line in f:
            key, _, value = line.partition(":")
            if key.strip() == name:
                return value.split()
    return []


def missed_lines(data):
    """Lines whose code was counted and never run, from llvm-cov's segments."""
    missed, current = set(), None
    for line, _, count, has_count, _, *_ in data["segments"]:
        if current is not None:
            missed.update(range(current, line))
        current = line if has_count and count == 0 else None
    return sorted(missed)


def main():
    parser = argparse.ArgumentParser(usage=__doc__)
    parser.add_argument("--floor", type=float, default=80)
    parser.add_argument("--lines", action="store_true")
    parser.add_argument("name")
    parser.add_argument("target")
    parser.add_argument("corpus")
    options = parser.parse_args()
    sources = sources_of(options.name)
    if not sources:
        print(f"1..1\nnot ok 1 - {options.name} has no line in tests/fuzz/covers.txt")
        return 1

    with tempfile.TemporaryDirectory(prefix="fuzz-cover-") as work:
        raw, merged = os.path.join(work, "raw"), os.path.join(work, "merged")
        p = subprocess.run([options.target, "-runs=0", os.path.abspath(options.corpus)], cwd=work,
                           env={**os.environ, "LLVM_PROFILE_FILE": raw}, stdout=subprocess.PIPE,
                           stderr=subprocess.STDOUT, check=False)
        if p.returncode:
            print(p.stdout.decode("utf-8", "replace"))
            print(f"1..1\nnot ok 1 - {options.name} ends with status {p.returncode}")
            return 1
        subprocess.run([llvm("llvm-profdata"), "merge", "-o", merged, raw], check=True)
        out = subprocess.run([llvm("llvm-cov"), "export", f"-instr-profile={merged}",
                              options.target], stdout=subprocess.PIPE, check=True).stdout
    files = {os.path.relpath(os.path.realpath(f["filename"]), ROOT): f
             for f in json.loads(out)["data"][0]["files"]}
    print(f"1..{len(sources)}")
    low = 0
    for n, source in enumerate(sources, 1):
        lines = files[source]["summary"]["lines"] if source in files else {"percent": 0, "count": 0}
        good = lines["percent"] >= options.floor
        low += not good
        print(f"{'ok' if good else 'not ok'} {n} - {source}: {lines['percent']:.0f} % of "
              f"{lines['count']} lines")
        if source in files and (options.lines or not good):
            print(f"# never run: {missed_lines(files[source])}")
    return 1 if low else 0


if __name__ == "__main__":
    sys.exit(main())
