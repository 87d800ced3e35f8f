# SPDX-License-Identifier: GPL-2.0-or-later
"""Rules about the C text itself, and the checks that other programs make."""

import concurrent.futures
import os
import re
import shutil
import subprocess

C_FILES = ("src/*.c", "src/*.h", "tests/*.c", "tests/*.h")
FLAGS = ["-std=gnu17", "-D_GNU_SOURCE", "-include", "base/poison.h", "-Wall", "-Wextra", "-Werror",
         "-Wno-unused-parameter", "-fsyntax-only"]


def run_all(jobs):
    """Runs (key, command, folder) on all CPUs; yields (key, output) of those that fail."""
    def one(job):
        key, cmd, cwd = job
        p = subprocess.run(cmd, cwd=cwd, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                           stderr=subprocess.STDOUT, check=False)
        return key, p.returncode, p.stdout.decode("utf-8", "replace")
    with concurrent.futures.ThreadPoolExecutor(os.cpu_count() or 1) as pool:
        for key, status, output in pool.map(one, jobs):
            if status:
                yield key, output


def first_error(output):
    lines = [line for line in output.splitlines() if "error" in line] or output.splitlines()
    return (lines or ["no message"])[0]


def header_alone(tree):
    """Each header compiles by itself, twice included, with gcc and with clang."""
    paths = ["-I", os.path.join(tree.root, "src")]
    if tree.build:
        paths += ["-I", os.path.join(tree.build, "src")]
    jobs = []
    for path in tree.match("src/*.h"):
        name = path[len("src/"):]
        for compiler in ("gcc", "clang"):
            cmd = [compiler, *FLAGS, *paths, "-include", name, "-include", name, "-x", "c",
                   "/dev/null"]
            jobs.append(((path, compiler), cmd, tree.root))
    for (path, compiler), output in run_all(jobs):
        yield path, 1, f"does not compile alone with {compiler}: {first_error(output)}"


# The last line of a declaration that ends a function's prototype or opens an inline function.
DECLARATION = re.compile(r"^(?!typedef|return|#|\s|/|\}|static struct|static const|extern )"
                         r"[A-Za-z_][\w\s\*]*?\b(\w+)\([^;{]*\)[^;{=]*[;{]?$")


def declarations(lines):
    """(index of the first line, name) of each function declared at the left margin."""
    i = 0
    while i < len(lines):
        line = lines[i]
        start = i
        if not line[:1].isalpha() and not line.startswith("_") or line.startswith("typedef"):
            i += 1
            continue
        text = line
        while text.count("(") > text.count(")") and i + 1 < len(lines):
            i += 1
            text += " " + lines[i].strip()
        # Attributes may follow on a line of their own.
        while i + 1 < len(lines) and re.match(r"^\s+(__attribute__|_\w+_\b)", lines[i + 1]):
            i += 1
            text += " " + lines[i].strip()
        plain = re.sub(r"__attribute__\(\(.*?\)\)\)?|\b_\w+_(\([^)]*\))?", "", text)
        m = DECLARATION.match(plain.strip())
        if m and "=" not in plain.split("(")[0]:
            yield start, m[1]
        i += 1


COMMENT_END = re.compile(r"^(?: \*/| \*.*\*/|/\*.*\*/)\s*$")


def docs(tree):
    """Each function that a public header declares has a comment above it.

    One comment may serve several prototypes that follow each other without an empty line."""
    for path in tree.match("src/*.h"):
        if path.endswith("_priv.h"):
            continue
        lines = tree.lines(path)
        for start, name in declarations(lines):
            above = start - 1
            while above >= 0 and lines[above].strip() and not COMMENT_END.match(lines[above]):
                above -= 1
            if above < 0 or not lines[above].strip():
                yield path, start + 1, f"{name}() has no comment"


def array_size(tree):
    """Elements of an array are counted with ARRAY_SIZE.

    sizeof as a count is right until the element is larger than a byte, and no compiler says so."""
    divided = re.compile(r"sizeof\s*\(?\s*(\w[\w.>-]*)\s*\)?\s*/\s*sizeof\s*\(?\s*(?:\*\s*\1\b|\1\[0\])")
    bound = re.compile(r"\bfor\s*\([^;]*;[^;]*[<>]=?\s*sizeof\b")
    for path in tree.match("src/*.c", "src/*.h"):
        for n, line in enumerate(tree.lines(path), 1):
            if divided.search(line):
                yield path, n, "use ARRAY_SIZE"
            elif bound.search(line):
                yield path, n, "sizeof bounds a loop: a number of elements is ARRAY_SIZE"


def opening(tree):
    """Each file says its licence, and a .c file opens with what problem it solves and why so."""
    for path in tree.match("src/*.[ch]", "tests/*.[ch]", "*.py", "*.sh", "*meson.build"):
        if not path.startswith(("src/", "tests/", "scripts/", "meson.build")):
            continue
        head = tree.text(path)[:300]
        if "SPDX-License-Identifier: GPL-2.0-or-later" not in head:
            yield path, 1, "no SPDX-License-Identifier"
        elif path.startswith("src/") and path.endswith(".c"):
            m = re.match(r"(?:/\*|//)[^\n]*SPDX[^\n]*\n\s*/\*(.*?)\*/", tree.text(path), re.S)
            if not m or len(re.sub(r"[\s*]+", " ", m[1])) < 60:
                yield path, 1, "does not open with a comment on what it is for"


def length(tree):
    """A file holds one subject: 1000 lines are too many."""
    for path in tree.match(*C_FILES, "*.py", "*.sh"):
        n = len(tree.lines(path))
        if n > 1000:
            yield path, n, f"{n} lines"


def plain_text(tree):
    """Tabs, line ends and columns: no white space at the end, a newline at the end of the file."""
    for path in tree.match(*C_FILES, "*.py", "*.sh", "*.md", "*.txt", "*meson.build", "Makefile"):
        text = tree.text(path)
        if text and not text.endswith("\n"):
            yield path, text.count("\n") + 1, "no newline at the end"
        for n, line in enumerate(tree.lines(path), 1):
            if line.endswith((" ", "\t", "\r")) and not path.endswith(".md"):
                yield path, n, "white space at the end of the line"


def unfinished(tree):
    """Nothing is left for later in a comment."""
    words = re.compile(r"\b(TO" r"DO|FIX" r"ME|XX" r"X|HA" r"CK)\b")
    for path in tree.match(*C_FILES, "scripts/*", "tests/*.py", "Makefile", "*meson.build"):
        for n, line in enumerate(tree.lines(path), 1):
            m = words.search(line)
            if m:
                yield path, n, f"{m[1]}: do it, or answer with a clear error"


def clang_format(tree):
    """clang-format 14 with .clang-format finds nothing to change."""
    tool = shutil.which("clang-format-14") or "clang-format"
    jobs = [(path, [tool, "--dry-run", "-Werror", "--style=file", path], tree.root)
            for path in tree.match(*C_FILES)]
    for path, output in run_all(jobs):
        m = re.search(r":(\d+):\d+: error", output)
        yield path, int(m[1]) if m else 1, "differs from clang-format; run make format"


def shellcheck(tree):
    """shellcheck finds nothing in shell scripts."""
    scripts = [p for p in tree.match("*.sh", ".ci/run", "tests/cover")
               if re.match(r"#!.*\b(ba)?sh\b|# shellcheck|# SPDX", tree.text(p))]
    jobs = [(p, ["shellcheck", "-x", "-P", "SCRIPTDIR", "-f", "gcc", p], tree.root) for p in scripts]
    for path, output in run_all(jobs):
        for line in output.splitlines():
            m = re.match(r"[^:]+:(\d+):\d+: (.*)", line)
            if m:
                yield path, int(m[1]), m[2]


RULES = {
    "docs": docs,
    "array-size": array_size,
    "opening": opening,
    "length": length,
    "plain-text": plain_text,
    "unfinished": unfinished,
    "format": clang_format,
    "shellcheck": shellcheck,
    "header-alone": header_alone,
}
