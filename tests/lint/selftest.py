#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""The checks check: each rule passes on a small clean tree, and finds what is planted in it."""

import os
import subprocess
import sys
import tempfile

HERE = os.path.dirname(os.path.realpath(__file__))
ROOT = os.path.join(HERE, "..", "..")
SPDX = "SPDX-License-Identifier: GPL-2.0-or-later"

A_C = f"""/* {SPDX} */
/*
 * Adds numbers, so that the checks have something to look at; a file of its own, because it is one.
 */
#include "a/a.h"

#include <stddef.h>

int add(int a, int b)
{{
	return a + b;
}}
"""
A_H = f"""/* {SPDX} */
#ifndef A_A_H
#define A_A_H

/* add - the sum. Thread: any. */
int add(int a, int b);

/*
 * sub - the difference.
 */
int sub(int the_first_number_which_has_a_long_name, int the_second_number_which_has_another_one,
	int scale);
int sub_more(int a);

#endif
"""
CLEAN = {
    "src/base/poison.h": f"/* {SPDX} */\n",
    "src/base/README.md": "# base\n",
    "src/base/metrics.def": 'METRIC(lines, "lines", "lines written")\n',
    "src/a/README.md": "# a\n",
    "src/a/a.c": A_C,
    "src/a/a.h": A_H,
    "src/a/a_priv.h": f"/* {SPDX} */\n",
    "src/b/README.md": "# b\n",
    "src/b/b.c": A_C,
    "scripts/x.sh": f"#!/bin/sh\n# {SPDX}\necho hello\n",
    "tests/unit/meson.build": f"# {SPDX}\nunit_tests = {{\n  'a': [],\n}}\n",
    "tests/unit/test_a.c": f"/* {SPDX} */\n",
    "tests/expected-skips.txt": "boot/cloud: the machine has no network\n",
    "tests/lint/layers.txt": "base:\na: base\nb: base a\n",
    "tests/lint/thirdparty.txt": "Zydis/: src/b/\n",
    "tests/lint/allow.txt": "",
}


def a_c(line):
    return {"src/a/a.c": A_C.replace("#include <stddef.h>", line)}


def a_body(line):
    return {"src/a/a.c": A_C.replace("\treturn a + b;", f"\t{line}\n\treturn a + b;")}


# (rule, files that are planted, part of the finding)
PLANTED = [
    ("layers", a_c('#include "b/b.h"'), "a may not include b"),
    ("layers", {"tests/lint/layers.txt": "base: a\na:\nb:\n"}, "not on an earlier line"),
    ("layers", {"src/c/c.c": A_C}, "folder c has no line"),
    ("include-paths", a_c('#include "a.h"'), "is not a path from src/"),
    ("include-paths", a_c('#include "a/none.h"'), "is not a path from src/"),
    ("include-paths", a_c("#include <a/a.h>"), "angle brackets"),
    ("private", {"src/b/b.c": A_C.replace("a/a.h", "a/a_priv.h")}, "private to src/a"),
    ("third-party", a_c("#include <Zydis/Zydis.h>"), "belongs to src/b/"),
    ("third-party", a_c("#include <curl/curl.h>"), "not listed"),
    ("machine-paths", {"README.md": "see /wo" "rk/project\n"}, "path of a machine"),
    ("machine-paths", a_body('char *p = "/ho' 'me/joe/x";'), "path of a machine"),
    ("registered", {"tests/unit/test_b.c": "\n"}, "'b' is not in tests/unit/meson.build"),
    ("registered", {"tests/fuzz/fuzz_x.c": "\n"}, "no corpus"),
    ("registered", {"tests/fuzz/fuzz_x.c": "\n"}, "not in tests/fuzz/covers.txt"),
    ("expected-skips", {"tests/expected-skips.txt": "boot: why\n"}, "not of the form"),
    ("expected-skips", {"tests/expected-skips.txt": "boot/all\n"}, "not of the form"),
    ("readme", {"src/a/README.md": None}, "is missing"),
    ("metrics", {"src/base/metrics.def": 'METRIC(x, "y", "")\n'}, "without a help text"),
    ("tied", {"tests/guest/a.py": f"# {SPDX}\np = subprocess.Popen(cmd)\n"}, "ends with the test"),
    ("defined-once", {"tests/guest/a.py": f"# {SPDX}\n" + "def check_a():\n    pass\n\n\n" * 2}, "in line 2 already"),
    ("docs", {"src/a/a.h": A_H.replace("int sub_more", "\nint sub_more")}, "sub_more()"),
    ("docs", {"src/a/a.h": A_H.replace("/* add - the sum. Thread: any. */\n", "")}, "add()"),
    ("docs", {"src/a/a.h": A_H.replace("int sub_more(int a);",
                                       "\nstatic inline int twice(int a)\n{\n\treturn 2 * a;\n}")},
     "twice()"),
    ("array-size", a_body("size_t n = sizeof(t) / sizeof(t[0]);"), "use ARRAY_SIZE"),
    ("array-size", a_body("for (int i = 0; i < sizeof(t); i++)"), "bounds a loop"),
    ("opening", {"src/a/a.c": "int x;\n"}, "no SPDX"),
    ("opening", {"src/a/a.c": f"/* {SPDX} */\nint x;\n"}, "does not open with a comment"),
    ("length", {"src/a/a.c": A_C + "/* x */\n" * 1000}, "lines"),
    ("plain-text", {"src/a/a.c": A_C + "int x; \n"}, "white space"),
    ("plain-text", {"src/a/a.c": A_C + "int x;"}, "no newline"),
    ("unfinished", a_body("/* TO" "DO: more */"), "TO" "DO"),
    ("format", {"src/a/a.c": A_C.replace("\treturn a + b;", "    return a+b;")}, "make format"),
    ("shellcheck", {"scripts/x.sh": "#!/bin/sh\ncd $1\n"}, "SC2"),
    ("header-alone", {"src/a/a.h": A_H.replace("int add(int a", "int add(uint8_t a")},
     "does not compile alone with gcc"),
    ("header-alone", {"src/a/a.h": A_H.replace("#ifndef A_A_H", "#if 1").replace(
        "int sub_more(int a);", "struct s { int x; };")}, "alone with clang"),
]

ALLOWED = [
    # Marked on the line above; the same mark without a reason; a line of allow.txt.
    ("array-size", a_body("/* lint: allow(array-size): bytes */\n\tx = sizeof(t) / sizeof(t[0]);"),
     None),
    ("array-size", a_body("/* lint: allow(array-size): */\n\tx = sizeof(t) / sizeof(t[0]);"),
     "use ARRAY_SIZE"),
    ("array-size", {**a_body("x = sizeof(t) / sizeof(t[0]);"),
                    "tests/lint/allow.txt": "array-size src/a/*: they are bytes\n"}, None),
    ("array-size", {"tests/lint/allow.txt": "array-size src/a/*: they are bytes\n"},
     "allows nothing"),
    ("array-size", {"tests/lint/allow.txt": "array-size src/a/*:\n"}, "not of the form"),
]


def write_tree(root, planted):
    files = {**CLEAN, **planted}
    with open(os.path.join(ROOT, ".clang-format"), encoding="utf-8") as f:
        files[".clang-format"] = f.read()
    for path, text in files.items():
        if text is not None:
            full = os.path.join(root, path)
            os.makedirs(os.path.dirname(full), exist_ok=True)
            with open(full, "w", encoding="utf-8") as f:
                f.write(text)


def lint(rule, planted):
    """(passed, output)"""
    with tempfile.TemporaryDirectory(prefix="lint-") as root:
        write_tree(root, planted)
        p = subprocess.run([sys.executable, os.path.join(HERE, "lint.py"), "--root", root, rule],
                           stdout=subprocess.PIPE, stderr=subprocess.STDOUT, check=False)
    return p.returncode == 0, p.stdout.decode()


def main():
    rules = subprocess.run([sys.executable, os.path.join(HERE, "lint.py"), "--list"],
                           stdout=subprocess.PIPE, check=True).stdout.decode().split("\n")
    rules = [line.split()[0] for line in rules if line]
    cases = [(rule, {}, None, f"{rule}: clean") for rule in rules]
    cases += [(rule, planted, want, f"{rule}: {want or 'allowed'}")
              for rule, planted, want in PLANTED + ALLOWED]
    missing = set(rules) - {rule for rule, _, _ in PLANTED}
    print(f"1..{len(cases) + 1}")
    bad = 0
    for n, (rule, planted, want, name) in enumerate(cases, 1):
        passed, output = lint(rule, planted)
        good = passed if want is None else not passed and want in output
        print(f"{'ok' if good else 'not ok'} {n} - {name}")
        if not good:
            bad += 1
            for line in output.splitlines():
                print(f"# {line}")
    print(f"{'not ok' if missing else 'ok'} {len(cases) + 1} - each rule has a planted violation")
    for rule in sorted(missing):
        print(f"# {rule} has none")
    return 1 if bad or missing else 0


if __name__ == "__main__":
    sys.exit(main())
