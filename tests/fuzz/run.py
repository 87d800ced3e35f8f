#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""Runs one fuzz target over its corpus and then on new inputs for some time.

usage: run.py [--seconds N] [--keep] TARGET CORPUS

What is found is thrown away at the end, so that a test run leaves the tree as it was; with --keep
the inputs that reach new code are merged into CORPUS, and a crash is left in the working folder.
"""

import argparse
import os
import subprocess
import sys
import tempfile

# A hostile input may make a parser refuse, not make it slow or large.
LIMITS = ["-timeout=10", "-rss_limit_mb=2048", "-malloc_limit_mb=1024", "-max_len=65536"]


def main():
    parser = argparse.ArgumentParser(usage=__doc__)
    parser.add_argument("--seconds", type=int, default=5)
    parser.add_argument("--keep", action="store_true")
    parser.add_argument("target")
    parser.add_argument("corpus")
    options = parser.parse_args()
    # Committed inputs first, then what else the target finds from there.
    os.makedirs(options.corpus, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="fuzz-") as work:
        found = os.path.join(work, "found")
        os.mkdir(found)
        crash = os.path.join(os.getcwd() if options.keep else work, "crash-")
        status = subprocess.call(
            [options.target, *LIMITS, f"-max_total_time={options.seconds}",
             f"-artifact_prefix={crash}", "-print_final_stats=1", found, options.corpus])
        if status:
            for name in sorted(os.listdir(work)):
                if name.startswith("crash-"):
                    with open(os.path.join(work, name), "rb") as f:
                        print(f"input ({name}): {f.read(4096).hex()}")
        elif options.keep:
            status = subprocess.call([options.target, "-merge=1", options.corpus, found])
    return status


if __name__ == "__main__":
    sys.exit(main())
