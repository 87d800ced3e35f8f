#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""podman's everyday commands with atoll-rt ($ATOLL_RT) as its runtime: an image of busybox out of an archive, no network."""

import contextlib
import json
import os
import shutil
import subprocess
import sys

sys.path[:0] = [os.path.dirname(os.path.realpath(__file__))]
import containers  # noqa: E402  pylint: disable=wrong-import-position
from containers import RT, wait_for  # noqa: E402  pylint: disable=wrong-import-position

LIMIT = 120


def same(got, wanted):
    assert got == wanted, f"{got!r}, not {wanted!r}"


LOOP = ["sh", "-c", "trap 'echo bye; exit 3' TERM; echo started; while :; do sleep 0.1; done"]


def call(*args):
    """(status, standard output, standard error)"""
    here = os.path.abspath(".")
    p = subprocess.run(
        ["podman", "--root", here + "/root", "--runroot", here + "/run", "--tmpdir", here + "/tmp", "--storage-driver", "vfs",
         "--runtime", RT, "--cgroup-manager", "cgroupfs", "--events-backend", "none", *args],
        timeout=LIMIT, check=False, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    return p.returncode, p.stdout.decode(), p.stderr.decode()


def podman(*args):
    """Standard output of a command that must succeed."""
    status, out, err = call(*args)
    assert status == 0, (args, status, out, err)
    return out


def run(*args):
    return call("run", "--net", "none", "--log-driver", "k8s-file", *args)


def is_used(folder):
    """Whether a process has it on its command line: podman tidies up behind our back."""
    for name in filter(str.isdigit, os.listdir("/proc")):
        with contextlib.suppress(OSError), open(f"/proc/{name}/cmdline", "rb") as f:
            if folder.encode() + b"/" in f.read():
                return True
    return False


@contextlib.contextmanager
def image():
    """The image "box"; no container is left."""
    os.makedirs("rootfs/bin")
    for folder in ("etc", "tmp"):
        os.mkdir("rootfs/" + folder)
    shutil.copy("/bin/busybox", "rootfs/bin")
    for applet in ("sh", "sleep", "ls", "cat", "id", "echo", "true", "tty"):
        os.symlink("busybox", "rootfs/bin/" + applet)
    with open("rootfs/etc/file", "w", encoding="utf-8") as f:
        f.write("text\n")
    subprocess.run(["tar", "-C", "rootfs", "-cf", "box.tar", "."], check=True)
    podman("import", "box.tar", "box")
    try:
        yield
    finally:
        call("rm", "-a", "-f", "-t", "0")
        wait_for(lambda: not is_used(os.getcwd()), "podman's end")


def status_of(name):
    return podman("inspect", name, "--format", "{{.State.Status}}").strip()


@image()
def check_life():
    before = containers.mounts()
    status, _, err = run("-d", "--name", "web", "--memory", "64m", "--pids-limit", "50", "box", *LOOP)
    assert status == 0, err
    wait_for(lambda: podman("logs", "web") == "started\n", "its log")
    same(call("exec", "web", "sh", "-c", "echo in; exit 5")[:2], (5, "in\n"))
    same(podman("exec", "-t", "web", "tty"), "/dev/pts/0\r\n")
    assert podman("exec", "-d", "web", "sleep", "1000")
    same(podman("exec", "-u", "5:6", "-w", "/etc", "-e", "A=b", "web", "sh", "-c", "id -u; cat file; echo $A"), "5\ntext\nb\n")
    same(call("exec", "web", "none")[0], 127)
    assert "web" in podman("ps", "--format", "{{.Names}}")
    wait_for(lambda: "sleep 1000" in podman("top", "web", "args"), "the process of exec")
    stats = json.loads(podman("stats", "--no-stream", "--format", "json", "web"))[0]
    assert int(stats["pids"]) >= 3 and "67.1" in stats["mem_usage"], stats
    podman("update", "--memory", "32m", "--memory-swap", "64m", "web")
    for folder in containers.cgroups("libpod-" + podman("inspect", "web", "--format", "{{.Id}}").strip()):
        for name in ("memory.limit_in_bytes", "memory.max"):
            with contextlib.suppress(FileNotFoundError), open(os.path.join(folder, name), encoding="utf-8") as f:
                same(f.read(), f"{32 << 20}\n")
    podman("pause", "web")
    assert status_of("web") == "paused" and call("exec", "web", "true")[0] != 0
    podman("unpause", "web")
    podman("stop", "web")
    same((status_of("web"), podman("wait", "web")), ("exited", "3\n"))
    same(podman("logs", "web"), "started\nbye\n")
    podman("start", "web")
    podman("restart", "-t", "20", "web")
    assert status_of("web") == "running"
    podman("kill", "web")
    same(podman("wait", "web"), "137\n")
    podman("rm", "web")
    same((podman("ps", "-aq"), containers.mounts()), ("", before))


@image()
def check_run():
    same(run("--rm", "--user", "5:6", "--cap-drop", "all", "--read-only", "--tmpfs", "/tmp", "-e", "A=b", "-w", "/etc", "box",
               "sh", "-c", "id -u; cat file; echo $A > /tmp/x; cat /tmp/x; echo x > /y")[:2], (1, "5\ntext\nb\n"))
    same(run("--rm", "--privileged", "box", "sh", "-c", "exit 4")[0], 4)
    same(run("--rm", "-t", "box", "tty")[:2], (0, "/dev/pts/0\r\n"))
    same(run("--rm", "-v", os.path.abspath("rootfs/etc") + ":/mnt:ro", "box", "cat", "/mnt/file")[:2], (0, "text\n"))
    same(run("--rm", "--tmpfs", "/etc", "box", "cat", "/etc/file")[:2], (0, "text\n"))
    same((run("--rm", "box", "none")[0], run("--rm", "box", "/etc/file")[0]), (127, 126))
    podman("create", "--name", "later", "--net", "none", "box", "echo", "done")
    assert podman("inspect", "later", "--format", "{{.OCIRuntime}}").strip() == RT
    same(podman("start", "-a", "later"), "done\n")
    podman("rm", "-f", "later")
    assert podman("ps", "-aq") == ""


if __name__ == "__main__":
    if not containers.lacking() and not shutil.which("podman"):
        print("1..1\nok 1 - all # SKIP podman is not installed")
        sys.exit(0)
    sys.exit(containers.main(globals()))
