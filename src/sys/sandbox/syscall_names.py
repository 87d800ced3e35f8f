#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""Puts the names of the system calls, as <asm/unistd.h> has them, in place of @NAMES@ of a header.

usage: syscall_names.py HEADER.in OUT COMPILER...
"""

import re
import subprocess
import sys


def main():
    template, out, *compiler = sys.argv[1:]
    text = subprocess.run([*compiler, "-E", "-dM", "-x", "c", "-"], input="#include <asm/unistd.h>\n",
                          capture_output=True, text=True, check=True).stdout
    calls = {int(n): name for name, n in re.findall(r"^#define __NR_(\w+) (\d+)$", text, re.M)}
    with open(template, encoding="utf-8") as f:
        header = f.read()
    with open(out, "w", encoding="utf-8") as f:
        f.write(header.replace("@NAMES@", "\n".join(f'\t[{n}] = "{name}",' for n, name in sorted(calls.items()))))


if __name__ == "__main__":
    main()
