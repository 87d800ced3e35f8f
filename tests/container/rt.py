#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""The command line of atoll-rt ($ATOLL_RT): its options, its complaints, the config.json it writes."""

import json
import os
import subprocess
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.realpath(__file__)), "..", "cli"))
import checks  # noqa: E402  pylint: disable=wrong-import-position

RT = os.path.realpath(os.environ.get("ATOLL_RT", "build/atoll-rt"))


def rt(*args):
    """(status, standard output, standard error)"""
    p = subprocess.run([RT, *args], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                       stderr=subprocess.PIPE, timeout=60, check=False)
    return p.returncode, p.stdout.decode(), p.stderr.decode()


def check_help():
    status, out, err = rt("--help")
    assert (status, err) == (0, "") and "--root FOLDER" in out and "  spec " in out, (out, err)
    assert rt("help")[1] == out and rt("--root", "/x", "-h")[1] == out
    assert rt("help", "spec") == rt("--root=/x", "spec", "--help")
    assert "\\-\\-root" in rt("help", "--man")[1]
    assert "-l root" in rt("completion", "fish")[1]
    status, out, err = rt()
    assert status == 1 and not out and "Usage:" in err, (status, out, err)


def complete(*words):
    script = """
source /dev/stdin
COMP_WORDS=("$@") COMP_CWORD=$(($# - 1))
_atoll_rt
printf '%s\\n' "${COMPREPLY[@]}"
"""
    p = subprocess.run(["bash", "-c", script, "bash", *words], stdout=subprocess.PIPE,
                       input=rt("completion", "bash")[1].encode(), timeout=60, check=True)
    return p.stdout.decode().split()


def check_completion():
    assert "spec" in complete("atoll-rt", "s") and "--root" in complete("atoll-rt", "--")
    for before in ([], ["--root", "/x"], ["--root", "=", "/x", "--log", "l"]):
        assert "--bundle" in complete("atoll-rt", *before, "spec", "--"), before


def check_complaints():
    for args, text in (
            (["--rooot", "/x", "spec"], "unknown option '--rooot'; did you mean '--root'?"),
            (["--root"], "--root needs a value"),
            (["--log-format", "xml", "spec"], "--log-format: 'xml' is none of text, json"),
            (["spec", "--root", "/x"], "atoll-rt spec: unknown option '--root'"),
            (["spex"], "unknown command 'spex'; did you mean 'spec'?"),
            (["spec", "x"], "unexpected argument 'x'")):
        status, out, err = rt(*args)
        assert status == 1 and not out and text in err and err.count("\n") == 1, (args, err)


def check_spec():
    assert rt("spec") == (0, "", "")
    with open("config.json", encoding="utf-8") as f:
        config = json.load(f)
    assert config["ociVersion"].startswith("1.") and config["root"]["path"] == "rootfs", config
    status, _, err = rt("--log", "log", "--log-format", "json", "spec")
    assert status == 1 and "File exists" in err, err
    status, _, err = rt("--log", "log", "spec", "--bundle", "none")
    assert status == 1 and "none/config.json" in err, err
    with open("log", encoding="utf-8") as f:
        first, second = f.read().splitlines()
    line = json.loads(first)
    assert line["level"] == "error" and "File exists" in line["msg"] and line["time"], line
    assert " error: " in second and "none/config.json" in second, second


def check_features():
    """Whatever it says that it can, the parser takes."""
    features = json.loads(rt("features")[1])
    assert features["ociVersionMin"] == "1.0.0" and set(features["linux"]["namespaces"]) == {
        "cgroup", "ipc", "mount", "network", "pid", "time", "user", "uts"}, features
    words = features["mountOptions"]
    assert len(words) == len(set(words)) and {"ro", "rro", "rprivate", "bind", "rbind", "tmpcopyup"} <= set(words), words
    seccomp = features["linux"]["seccomp"]
    assert "SCMP_ACT_ERRNO" in seccomp["actions"] and "SCMP_CMP_MASKED_EQ" in seccomp["operators"], seccomp
    assert "CAP_CHECKPOINT_RESTORE" in features["linux"]["capabilities"]
    for name in ("checkpoint", "restore"):
        assert "is not there yet" in rt(name, "x")[2]


if __name__ == "__main__":
    sys.exit(checks.run_checks(globals()))
