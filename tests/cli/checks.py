# SPDX-License-Identifier: GPL-2.0-or-later
"""What the tests of this folder share: the program, commands that succeed or complain, a raw disk, the loop."""

import os
import random
import subprocess
import sys
import tempfile
import time

sys.path.append(os.path.join(os.path.dirname(os.path.realpath(__file__)), ".."))
from tied import complete, start  # noqa: E402,F401  (the path must be set first)

ATOLL = os.path.realpath(os.environ.get("ATOLL", "build/atoll"))
MIB = 1 << 20


def run(*args, status=0, limit=120):
    """What the command prints; it ends with the status, within the limit of seconds."""
    p = complete(args, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                 stderr=subprocess.PIPE, timeout=limit, check=False)
    assert p.returncode == status, (args, p.returncode, p.stdout.decode(), p.stderr.decode())
    return p.stdout.decode()


def complaint(*args, status=1, limit=120):
    """The one line on standard error of `atoll ARGS`, which ends with the status."""
    p = complete([ATOLL, *args], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                 stderr=subprocess.PIPE, timeout=limit, check=False)
    assert p.returncode == status and p.stderr.count(b"\n") == 1, (args, p)
    return p.stderr.decode()


def make_raw(name="a.raw", size=9 * MIB + 512, seed=1):
    """A file with holes, noise and runs of one octet."""
    rng = random.Random(seed)
    with open(name, "wb") as f:
        for _ in range(60):
            f.seek(rng.randrange(size - 70000))
            n = rng.randrange(1, 70000)
            f.write(rng.randbytes(n) if rng.random() < 0.5 else bytes([rng.randrange(256)]) * n)
        f.truncate(size)
    return name


def run_checks(names, failures=(), begin=lambda folder: None):
    """Runs the functions check_* of `names`, a module's globals(), or those that the command line names, each in a folder
    of its own, begin(folder) first; speaks TAP and returns the exit status. A check may return why it was skipped."""
    checks = [(name[6:], fn) for name, fn in sorted(names.items()) if name.startswith("check_")]
    wanted = sys.argv[1:]
    checks = [c for c in checks if not wanted or c[0] in wanted]
    print(f"1..{len(checks)}")
    failed = 0
    for n, (name, check) in enumerate(checks, 1):
        start = time.monotonic()
        try:
            with tempfile.TemporaryDirectory(prefix="atoll-cli-") as folder:
                begin(folder)
                os.chdir(folder)
                try:
                    skipped = check()
                finally:
                    os.chdir("/")
            print(f"ok {n} - {name}" + (f" # SKIP {skipped}" if skipped else ""), flush=True)
        except (AssertionError, OSError, subprocess.TimeoutExpired, *failures) as e:
            failed += 1
            print(f"not ok {n} - {name}")
            for line in (str(e) or repr(e)).splitlines():
                print(f"# {line}")
        print(f"# {time.monotonic() - start:.1f} s", flush=True)
    return 1 if failed else 0
