#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""Help, complaints, man pages and completion of the real program ($ATOLL)."""

import json
import os
import re
import shutil
import subprocess
import sys
import tempfile

import checks
from checks import ATOLL

BASH_COMPLETE = """
source /dev/stdin
shift
COMP_WORDS=("$@") COMP_CWORD=$(($# - 1))
_atoll
printf '%s\\n' "${COMPREPLY[@]}"
"""


def atoll(*args):
    """(status, standard output, standard error)"""
    p = subprocess.run([ATOLL, *args], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                       stderr=subprocess.PIPE, timeout=20, check=False)
    return p.returncode, p.stdout.decode(), p.stderr.decode()


def complete(*words):
    script = atoll("completion", "bash")[1]
    p = subprocess.run(["bash", "-c", BASH_COMPLETE, "bash", "-", *words], input=script.encode(),
                       stdout=subprocess.PIPE, stderr=subprocess.STDOUT, check=False)
    return p.stdout.decode().split()


def check_help():
    status, out, err = atoll("--help")
    assert (status, err) == (0, ""), (status, err)
    assert "  run " in out and "  help " in out, out
    assert atoll("help")[1] == out and atoll("-h")[1] == out
    assert atoll("run", "--help") == atoll("help", "run")
    assert "--memory SIZE" in atoll("run", "-h")[1]


def check_group():
    status, out, err = atoll("disk", "--help")
    assert (status, err) == (0, "") and "  convert " in out, (status, out, err)
    assert atoll("help", "disk")[1] == out
    assert atoll("help", "disk", "info") == atoll("disk", "info", "-h")
    assert "Usage: atoll disk info" in atoll("help", "disk", "info")[1]


def check_machine_disks():
    """What --disk refuses, with what would be right."""
    with tempfile.TemporaryDirectory() as tmp:
        base, over = os.path.join(tmp, "base.raw"), os.path.join(tmp, "over.qcow2")
        with open(base, "wb") as f:
            f.truncate(1 << 20)
        assert atoll("disk", "create", "-b", base, "-F", "raw", over)[0] == 0
        for words, want in (
                (over + ",no-backing", "names a backing file, which is not allowed"),
                (base + ",iops=fast", "iops: "),
                (base + ",bps=1Q", "bps: "),
                (base + ",burst=0", "burst: "),
                (base + ",ops=1", "is none of if=BUS, cdrom, format=F"),
                (base + ",iops", "is none of if=BUS, cdrom, format=F"),
                (base + ",if=floppy", "virtio, sata or ide are possible"),
                (base + ",cdrom", "cdrom is for if=sata and if=ide"),
                (over + ",if=ide,cdrom,format=qcow2", "medium is raw, not qcow2"),
                (base + ",if=ide,queues=2", "for if=virtio, not for if=ide")):
            status, out, err = atoll("run", "--firmware", "seabios", "--disk", words)
            assert status == 1 and out == "" and want in err, (words, status, err)
        status, out, err = atoll("run", "--firmware", "seabios", *(["--disk", base + ",if=ide,readonly"] * 5))
        assert status == 1 and "at most 4 IDE disks" in err, (status, err)


def check_no_command():
    status, out, err = atoll()
    assert status == 1 and out == "" and err.startswith("Usage: atoll"), (status, out, err)


def check_version():
    status, out, err = atoll("--version")
    assert status == 0 and out.startswith("atoll ") and err == "", (status, out, err)


def check_complaints():
    for args, want in (
            (("rnu",), "atoll: unknown command 'rnu'; did you mean 'run'?\n"),
            (("run",), "atoll run: nothing to start: give --disk IMAGE, --kernel FILE or --firmware WHAT\n"),
            (("run", "-k", "x", "--memory", "1"),
             "atoll run: --memory: 1 is not between 2097152 and 549755813888\n"),
            (("run", "-k", "x", "--name", "a/b"),
             "atoll-vm: --name: 'a/b' is not made of up to 64 letters, digits, '.', '_', '-'\n"),
            (("trace",), "atoll trace: --kernel FILE or --disk IMAGE is missing, or the name of a running machine\n"),
            (("trace", "-k", "x", "web"),
             "atoll trace: either what a machine is started with or the name of a running one\n"),
            (("trace", "web"), "atoll trace: nothing called 'web' is running\n"),
            (("stats",), "atoll stats: no machine is running\n"),
            (("stats", "../x"), "atoll stats: the name '../x' is not made of up to 64 letters, "
             "digits, '.', '_', '-'\n"),
            (("completion", "tcsh"), "atoll completion: 'tcsh' is none of bash, zsh, fish\n"),
            (("disk", "inf"), "atoll: unknown command 'disk inf'; did you mean 'disk info'?\n"),
            (("disk", "create", "x"), "atoll disk create: the size is missing: IMAGE SIZE\n"),
            (("disk", "snapshot", "list"),
             "atoll disk snapshot: list|create|apply|delete IMAGE [NAME] is missing\n"),
            (("disk", "info", "/nonexistent"),
             "atoll disk info: open '/nonexistent': No such file or directory\n"),
            (("help", "--men"), "atoll help: unknown option '--men'; did you mean '--man'?\n")):
        status, out, err = atoll(*args)
        assert (status, out, err) == (1, "", want), (args, status, out, err)


def check_ps():
    status, out, err = atoll("ps")
    assert status == 0 and out.startswith("NAME ") and out.count("\n") == 1, (status, out, err)
    assert atoll("ps", "--json") == (0, "", "")


def findings(*before):
    """What `atoll doctor --json` says, by name; with `before`, a command that runs the rest of its line."""
    out = checks.run(*before, ATOLL, "doctor", "--json")
    lines = [json.loads(line) for line in out.splitlines()]
    assert len({f["name"] for f in lines}) == len(lines), out
    return {f["name"]: f for f in lines}


def check_doctor():
    found = findings()
    text = checks.run(ATOLL, "doctor")
    assert {"kvm", "confinement", "landlock", "cgroups", "ksm", "io_uring"} <= set(found), found
    for name, f in found.items():
        assert f["state"] in ("ok", "partly", "missing") and f["what"] and f["detail"], f
        assert (f["cost"] is None) == (f["state"] == "ok"), f
        assert f" {name} " in text and (f["cost"] or "") in text, (name, text)
    assert int(re.match(r"(\d+) MiB", found["memory"]["detail"])[1]) > 0, found["memory"]
    assert found["kvm"]["state"] == "missing" or os.path.exists("/dev/kvm"), found["kvm"]


def check_doctor_denied():
    """Where the host lets nobody make namespaces, the doctor says so, and what to do."""
    if subprocess.run(["unshare", "-Ur", "true"], check=False).returncode:
        return "no user namespaces here"
    f = findings("unshare", "-Ur", "sh", "-c",
                 'echo 0 > /proc/sys/user/max_user_namespaces; exec "$@"', "sh")["confinement"]
    assert f["state"] == "partly" and "namespaces NOT: make a user namespace" in f["detail"], f
    assert "max_user_namespaces" in f["next"] and "breaks out" in f["cost"], f
    return None


def check_man_pages():
    if not shutil.which("groff"):
        return "groff is not installed"
    for args in ((), ("run",), ("ps",), ("doctor",), ("top",), ("stop",), ("pause",), ("disk", "convert"), ("stats",), ("trace",), ("screenshot",), ("help",), ("completion",)):
        page = atoll("help", "--man", *args)[1]
        p = subprocess.run(["groff", "-man", "-Tascii", "-P-cbou", "-ww"], input=page.encode(),
                           stdout=subprocess.PIPE, stderr=subprocess.PIPE, check=False)
        assert p.returncode == 0 and p.stderr == b"", p.stderr.decode()
        assert "SYNOPSIS" in p.stdout.decode()
    return None


def check_bash_completion():
    for words, want in (
            (("ru",), ["run"]),
            (("run", "--mem"), ["--memory"]),
            (("run", "--engine", "in"), ["interp"]),
            (("run", "--append", ""), []),
            (("completion", ""), ["--help", "bash", "zsh", "fish"]),
            (("disk", "con"), ["convert"]),
            (("disk", "convert", "--out"), ["--output-format"]),
            (("disk", "convert", "-O", "qc"), ["qcow2"]),
            (("disk", "info", "/etc/pass"), ["/etc/passwd"]),
            (("help", "ru"), ["run"]),
            (("run", "--kernel", "/etc/pass"), ["/etc/passwd"])):
        got = complete("atoll", *words)
        assert [g for g in got if g != "/etc/passwd-"] == want, (words, got)


def check_other_completions():
    for shell in ("zsh", "fish"):
        status, out, err = atoll("completion", shell)
        assert status == 0 and "memory" in out and err == "", (shell, err)
        if shutil.which(shell):
            p = subprocess.run([shell, "-n"], input=out.encode(), stderr=subprocess.PIPE,
                               check=False)
            assert p.returncode == 0, p.stderr.decode()


def own_runtime(folder):
    os.environ["ATOLL_RUNTIME_DIR"] = folder


if __name__ == "__main__":
    sys.exit(checks.run_checks(globals(), begin=own_runtime))
