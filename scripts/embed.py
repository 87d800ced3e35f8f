#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""Puts the bytes of a file in place of @DATA@ of a header, for programs that carry it.

usage: embed.py HEADER.in FILE OUT
"""

import sys


def main():
    template, source, out = sys.argv[1:]
    with open(source, "rb") as f:
        data = f.read()
    with open(template, encoding="utf-8") as f:
        text = f.read()
    lines = [", ".join(str(b) for b in data[i:i + 24]) for i in range(0, len(data), 24)]
    with open(out, "w", encoding="utf-8") as f:
        f.write(text.replace("@DATA@", ",\n".join(lines)))


if __name__ == "__main__":
    main()
