# SPDX-License-Identifier: GPL-2.0-or-later
"""Rules about the tree: which folder may use which, what belongs to what."""

import ast
import os
import re

INCLUDE = re.compile(r'^\s*#\s*include\s+([<"])([^>"]+)[>"]')
SOURCES = ("src/*.c", "src/*.h", "src/*.def", "tests/*.c", "tests/*.h")

# What the C library and Linux bring: folders, and names without one.
SYSTEM_FOLDERS = ("sys/", "linux/", "asm/", "arpa/", "net/", "netinet/", "netpacket/", "bits/")
SYSTEM_HEADERS = set("""
    alloca assert byteswap complex cpuid ctype dirent dlfcn elf endian err errno execinfo fcntl fenv
    float fnmatch ftw getopt glob grp ifaddrs immintrin inttypes iso646 langinfo libgen limits link
    locale malloc math mntent netdb poll pthread pty pwd regex sanitizer sched search semaphore
    setjmp signal spawn stdalign stdarg stdatomic stdbool stddef stdint stdio stdlib stdnoreturn
    string strings syscall syslog termios tgmath threads time uchar ucontext unistd utmp wait wchar
    wctype wordexp x86intrin
    """.split())


def includes(tree, path):
    for n, line in enumerate(tree.lines(path), 1):
        m = INCLUDE.match(line)
        if m:
            yield n, m[1], m[2]


def layers(tree):
    """A folder of src/ includes only what tests/lint/layers.txt allows it.

    The file lists folders bottom to top; a line that names a later folder, or a folder that has no
    line, is a finding, too."""
    where = "tests/lint/layers.txt"
    may = {}
    for n, key, value in tree.table(where):
        if len(key) != 1:
            yield where, n, "not of the form FOLDER: FOLDER..."
            continue
        for below in value.split():
            if below not in may:
                yield where, n, f"{key[0]} names {below}, which is not on an earlier line"
        may[key[0]] = set(value.split()) | {key[0]}
    missing = set()
    for path in tree.match("src/*/*"):
        folder = path.split("/")[1]
        if folder not in may:
            if folder not in missing:
                yield path, 1, f"folder {folder} has no line in {where}"
            missing.add(folder)
            continue
        for n, quote, header in includes(tree, path):
            target = header.split("/")[0]
            if quote == '"' and "/" in header and target in may and target not in may[folder]:
                yield path, n, f"{folder} may not include {target} ({header})"


def include_paths(tree):
    """Own headers are included by their path from src/, in quotes, and exist.

    A header's meaning must not depend on who includes it. The tests' own headers stand beside
    them, or in tests/unit."""
    generated = {p[len("src/"):-len(".in")] for p in tree.match("src/*.h.in")}
    known = {p[len("src/"):] for p in tree.match("src/*.h", "src/*.def", "src/*.inc")} | generated
    for path in tree.match(*SOURCES):
        beside = os.path.dirname(path)
        for n, quote, header in includes(tree, path):
            if quote == "<" and header in known:
                yield path, n, f'own header in angle brackets: write "{header}"'
            elif quote == '"' and header not in known:
                near = {os.path.normpath(f"{folder}/{header}") for folder in (beside, "tests/unit")}
                if not (path.startswith("tests/") and near & set(tree.files)):
                    yield path, n, f'"{header}" is not a path from src/'


def private_headers(tree):
    """A *_priv.h is included only from its own folder and the folders below it."""
    for path in tree.match(*SOURCES):
        for n, _, header in includes(tree, path):
            if not header.endswith("_priv.h"):
                continue
            home = "src/" + os.path.dirname(header)
            if not path.startswith(home + "/") and not path.startswith("tests/"):
                yield path, n, f"{header} is private to {home}"


def third_party(tree):
    """A header that is neither ours, nor the C library's, nor Linux's is included where
    tests/lint/thirdparty.txt says, and nowhere else."""
    homes = {key[0]: value.split() for _, key, value in tree.table("tests/lint/thirdparty.txt")}
    for path in tree.match(*SOURCES):
        for n, quote, header in includes(tree, path):
            if quote == '"' or header.startswith(SYSTEM_FOLDERS):
                continue
            if header.removesuffix(".h") in SYSTEM_HEADERS:
                continue
            prefix = header.split("/")[0] + "/" if "/" in header else header
            allowed = homes.get(prefix)
            if not allowed:
                yield path, n, f"<{header}> is not listed in tests/lint/thirdparty.txt"
            elif not any(path == home or home.endswith("/") and path.startswith(home)
                         for home in allowed):
                yield path, n, f"<{header}> belongs to {' '.join(allowed)}"


def machine_paths(tree):
    """No path of one developer's machine stands in a file."""
    bad = re.compile(r"(^|[^A-Za-z0-9_.])/(?:work|farm|home/[a-z]+)/")
    for path in tree.files:
        if os.path.splitext(path)[1] in (".bin", ".png", ".ico", ".woff2"):
            continue
        if path.startswith("tests/fuzz/corpus/"):
            continue
        for n, line in enumerate(tree.lines(path), 1):
            if bad.search(line):
                yield path, n, f"path of a machine: {line.strip()[:80]}"


def registered(tree):
    """Each unit test, component test and fuzz target is in the list of its folder.

    A test that is not built cannot fail. A fuzz target has a corpus, too, and says what it
    covers."""
    covered = {key[0] for _, key, _ in tree.table("tests/fuzz/covers.txt")}
    kinds = (("unit", "test_"), ("component", "test_"), ("fuzz", "fuzz_"))
    for kind, prefix in kinds:
        build = f"tests/{kind}/meson.build"
        listed = set()
        if build in tree.files:
            listed = set(re.findall(r"^  '([a-z0-9_]+)'\s*:", tree.text(build), re.M))
        for path in tree.match(f"tests/{kind}/{prefix}*.c"):
            name = os.path.basename(path)[len(prefix):-2]
            if name not in listed:
                yield path, 1, f"'{name}' is not in {build}"
            if kind == "fuzz" and not tree.match(f"tests/fuzz/corpus/{name}/*"):
                yield path, 1, f"no corpus in tests/fuzz/corpus/{name}"
            if kind == "fuzz" and name not in covered:
                yield path, 1, f"'{name}' is not in tests/fuzz/covers.txt"


def expected_skips(tree):
    """Each line of tests/expected-skips.txt is TEST/CASE: reason."""
    where = "tests/expected-skips.txt"
    for n, line in enumerate(tree.lines(where) if where in tree.files else [], 1):
        if line.strip() and not line.startswith("#"):
            if not re.match(r"^[^\s/:]+/[^:]+: .{10,}$", line):
                yield where, n, "not of the form TEST/CASE: reason"


def folder_readme(tree):
    """Each folder of src/ opens with a README.md."""
    for folder in sorted({p.split("/")[1] for p in tree.match("src/*/*")}):
        if f"src/{folder}/README.md" not in tree.files:
            yield f"src/{folder}/README.md", 1, "is missing"


def metrics(tree):
    """Each counter of metrics.def says what it counts."""
    for path in tree.match("src/*/metrics.def"):
        for n, line in enumerate(tree.lines(path), 1):
            if line.startswith("METRIC(") and not re.search(r'"[^"]{8,}"\)', line):
                yield path, n, "a counter without a help text"


def tied_processes(tree):
    """A test starts processes in the background by tests/tied.py, so that they end with it, even when it is killed."""
    for path in tree.match("tests/*.py"):
        if path == "tests/tied.py" or path.startswith("tests/lint/"):
            continue
        for n, line in enumerate(tree.lines(path), 1):
            if re.search(r"\bPopen\(|\bos\.(?:fork|spawn|posix_spawn)", line):
                yield path, n, "start() of tests/tied.py starts a process that ends with the test"


def defined_once(tree):
    """A test or function has its name for itself: a second one of the same name would silently take its place."""
    for path in tree.match("*.py"):
        for scope in ast.walk(ast.parse(tree.text(path))):
            if not isinstance(scope, (ast.Module, ast.ClassDef, ast.FunctionDef)):
                continue
            first = {}
            for d in scope.body:
                if not isinstance(d, (ast.FunctionDef, ast.ClassDef)):
                    continue
                if d.name in first:
                    yield path, d.lineno, f"{d.name} is defined in line {first[d.name]} already"
                first.setdefault(d.name, d.lineno)


RULES = {
    "layers": layers,
    "include-paths": include_paths,
    "private": private_headers,
    "third-party": third_party,
    "machine-paths": machine_paths,
    "registered": registered,
    "expected-skips": expected_skips,
    "readme": folder_readme,
    "metrics": metrics,
    "tied": tied_processes,
    "defined-once": defined_once,
}
