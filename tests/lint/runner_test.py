#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""The test runner counts right: TAP of all kinds, crashes, time limits, skips."""

import importlib.machinery
import importlib.util
import os
import sys

sys.dont_write_bytecode = True
PATH = os.path.join(os.path.dirname(os.path.realpath(__file__)), "..", "run-suite")
LOADER = importlib.machinery.SourceFileLoader("run_suite", PATH)
SPEC = importlib.util.spec_from_loader("run_suite", LOADER)
run_suite = importlib.util.module_from_spec(SPEC)
LOADER.exec_module(run_suite)


def run(script, protocol="tap", timeout=20):
    return run_suite.run_test(
        {"name": "t", "cmd": ["sh", "-c", script], "workdir": None, "env": {},
         "protocol": protocol, "timeout": timeout}, 1)


def counts(result):
    return result.passed, len(result.failed), len(result.skipped)


# (what, script, (passed, failed, skipped))
TAP = [
    ("all pass", "echo 1..2; echo 'ok 1 - a'; echo ok 2", (2, 0, 0)),
    ("plan at the end", "echo 'ok 1 - a'; echo 1..1", (1, 0, 0)),
    ("one fails", "echo 1..2; echo 'not ok 1 - a'; echo 'ok 2 - b'; exit 1", (1, 1, 0)),
    ("fails, yet exits with 0", "echo 1..1; echo 'not ok 1 - a'", (0, 1, 0)),
    ("passes, yet exits with 1", "echo 1..1; echo 'ok 1 - a'; exit 1", (1, 1, 0)),
    ("a case is missing", "echo 1..2; echo 'ok 1 - a'", (1, 1, 0)),
    ("a case too many", "echo 1..1; echo 'ok 1 - a'; echo 'ok 2 - b'", (2, 1, 0)),
    ("says nothing", "true", (0, 1, 0)),
    ("crashes after the plan", "echo 1..2; echo 'ok 1'; kill -SEGV $$", (1, 1, 0)),
    ("bails out", "echo 1..1; echo 'ok 1 - a'; echo 'Bail out! no memory'", (1, 1, 0)),
    ("skips one", "echo 1..2; echo 'ok 1 - a # SKIP no kvm'; echo 'ok 2 - b'", (1, 0, 1)),
    ("skips one, as cmocka says it", "echo 1..1; echo 'not ok 1 # SKIP test_x'", (0, 0, 1)),
    ("skips all", "echo '1..0 # SKIP no network'", (0, 0, 1)),
    ("diagnostics are not cases", "echo 1..1; echo '# not ok, but'; echo 'ok 1 - a'", (1, 0, 0)),
]


def check_tap():
    for what, script, want in TAP:
        got = counts(run(script))
        assert got == want, f"{what}: {got}, not {want}"


def check_exit_status():
    assert counts(run("exit 0", "exitcode")) == (1, 0, 0)
    assert counts(run("exit 3", "exitcode")) == (0, 1, 0)
    assert counts(run("exit 77", "exitcode")) == (0, 0, 1)
    assert run("kill -ABRT $$", "exitcode").failed == ["killed by SIGABRT"]


def check_time_limit():
    # The child holds the pipe open: the whole group must be ended.
    result = run("echo 1..1; sleep 60 & sleep 60", timeout=1)
    assert result.failed == ["not finished after 1 s"], result.failed
    assert result.seconds < 20


def check_skips_must_be_listed():
    rules = [("t/test_?", "needs a device"), ("boot-*/all", "needs a network")]
    result = run_suite.Result("t")
    result.skipped = [("test_a", "x"), ("test_bb", "y")]
    bad = run_suite.unexpected_skips(result, rules)
    assert len(bad) == 1 and bad[0].startswith("t/test_bb: y"), bad


def check_names():
    result = run("echo 1..2; echo 'ok 1 - a b # SKIP why so'; echo 'not ok 2 - c d'")
    assert result.skipped == [("a b", "why so")], result.skipped
    assert result.failed == ["c d"], result.failed


def main():
    checks = [(name[6:], fn) for name, fn in sorted(globals().items()) if name.startswith("check_")]
    print(f"1..{len(checks)}")
    failed = 0
    for n, (name, check) in enumerate(checks, 1):
        try:
            check()
            print(f"ok {n} - {name}")
        except AssertionError as e:
            failed += 1
            print(f"not ok {n} - {name}\n# {e}")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
