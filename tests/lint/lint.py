#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""Checks of the source text that compilers do not make.

usage: lint.py [--root DIR] [--build DIR] [--list] [RULE]...

Each rule is a function of the tree that yields findings (path, line, text); what it checks and why
is in its docstring. Prints TAP, one case a rule. Findings are allowed in tests/lint/allow.txt or
on the spot by a comment `lint: allow(RULE): reason`.
"""

import argparse
import fnmatch
import os
import re
import subprocess
import sys

import rules_c
import rules_tree

RULES = {**rules_tree.RULES, **rules_c.RULES}


class Tree:
    """The files under version control, with their text read once."""

    def __init__(self, root, build):
        self.root = root
        self.build = build
        self.texts = {}
        p = subprocess.run(["git", "-C", root, "ls-files", "-z", "--cached", "--others",
                            "--exclude-standard"], capture_output=True, check=False)
        names = p.stdout.decode().split("\0") if p.returncode == 0 else self.walk()
        self.files = sorted(n for n in names if n and os.path.isfile(os.path.join(root, n)))

    def walk(self):
        for folder, _, names in os.walk(self.root):
            for name in names:
                yield os.path.relpath(os.path.join(folder, name), self.root)

    def text(self, path):
        if path not in self.texts:
            with open(os.path.join(self.root, path), "rb") as f:
                self.texts[path] = f.read().decode("utf-8", "replace")
        return self.texts[path]

    def lines(self, path):
        return self.text(path).split("\n")

    def match(self, *patterns):
        return [f for f in self.files if any(fnmatch.fnmatchcase(f, p) for p in patterns)]

    def table(self, path):
        """(line number, words before the colon, text after it) of a file of `KEY: VALUE` lines."""
        if path not in self.files:
            return
        for n, line in enumerate(self.lines(path), 1):
            line = line.strip()
            if line and not line.startswith("#"):
                key, _, value = line.partition(":")
                yield n, key.split(), value.strip()


class Allowed:
    def __init__(self, tree):
        self.tree = tree
        self.rules = []
        self.used = set()
        self.broken = []
        for n, key, reason in tree.table("tests/lint/allow.txt"):
            if len(key) != 2 or key[0] not in RULES or not reason:
                self.broken.append(("tests/lint/allow.txt", n, "not of the form RULE PATH: reason"))
            else:
                self.rules.append((n, key[0], key[1]))

    def covers(self, rule, path, line):
        for n, name, pattern in self.rules:
            if name == rule and fnmatch.fnmatchcase(path, pattern):
                self.used.add(n)
                return True
        mark = re.compile(r"lint: allow\(" + re.escape(rule) + r"\): [^\s*]")
        near = self.tree.lines(path)[max(line - 2, 0):line] if path in self.tree.files else []
        return any(mark.search(text) for text in near)

    def unused(self, rule):
        for n, name, pattern in self.rules:
            if name == rule and n not in self.used:
                yield "tests/lint/allow.txt", n, f"allows nothing: {rule} {pattern}"


def main():
    here = os.path.dirname(os.path.realpath(__file__))
    parser = argparse.ArgumentParser(usage=__doc__)
    parser.add_argument("--root", default=os.path.join(here, "..", ".."))
    parser.add_argument("--build", default="", help="a configured build, for generated headers")
    parser.add_argument("--list", action="store_true")
    parser.add_argument("rules", nargs="*", metavar="RULE")
    options = parser.parse_args()
    if options.list:
        for name, rule in RULES.items():
            print(f"{name:14} {rule.__doc__.strip().splitlines()[0]}")
        return 0
    unknown = set(options.rules) - set(RULES)
    if unknown:
        parser.error(f"no such rule: {', '.join(sorted(unknown))}")

    tree = Tree(os.path.realpath(options.root), options.build)
    allowed = Allowed(tree)
    names = options.rules or list(RULES)
    print(f"1..{len(names) + 1}", flush=True)
    bad = 0
    for number, name in enumerate(names, 1):
        findings = [f for f in RULES[name](tree) if not allowed.covers(name, f[0], f[1])]
        findings += allowed.unused(name)
        print(f"{'not ok' if findings else 'ok'} {number} - {name}")
        for path, line, text in findings:
            print(f"# {path}:{line}: {text}")
        bad += bool(findings)
        sys.stdout.flush()
    print(f"{'not ok' if allowed.broken else 'ok'} {len(names) + 1} - allow.txt is readable")
    for path, line, text in allowed.broken:
        print(f"# {path}:{line}: {text}")
    return 1 if bad or allowed.broken else 0


if __name__ == "__main__":
    sys.exit(main())
