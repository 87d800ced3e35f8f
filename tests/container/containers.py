# SPDX-License-Identifier: GPL-2.0-or-later
"""What the tests of atoll-rt ($ATOLL_RT) share: bundles of busybox, calls of the runtime, what is left of a container."""

import array
import contextlib
import json
import os
import shutil
import socket
import subprocess
import sys
import time

sys.path.append(os.path.join(os.path.dirname(os.path.realpath(__file__)), "..", "cli"))
import checks  # noqa: E402  pylint: disable=wrong-import-position

RT = os.path.realpath(os.environ.get("ATOLL_RT", "build/atoll-rt"))
BUSYBOX = "/bin/busybox"
LIMIT = 60
CT = f"ct{os.getpid()}-"  # two runs of this test share the host's cgroups
ALL_CAPS = ["CAP_SYS_ADMIN", "CAP_SYS_PTRACE", "CAP_DAC_OVERRIDE", "CAP_DAC_READ_SEARCH", "CAP_MKNOD", "CAP_CHOWN"]


def rt(*args, stdin="", runtime=RT, **more):
    """(status, standard output, standard error); the containers' states are in ./state."""
    p = subprocess.run([runtime, "--root", os.path.abspath("state"), *args], timeout=LIMIT, check=False,
                       input=stdin.encode(), stdout=subprocess.PIPE, stderr=subprocess.PIPE, **more)
    return p.returncode, p.stdout.decode(), p.stderr.decode()


def quiet(*args, runtime=RT):
    """A command that makes a process which stays: it must not hold pipes of ours. Returns (status, standard error)."""
    with open("quiet.err", "w+b") as err:
        p = subprocess.run([runtime, "--root", os.path.abspath("state"), *args], timeout=LIMIT, check=False,
                           stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=err)
        err.seek(0)
        return p.returncode, err.read().decode()


def bundle(*args, name="bundle", change=lambda config: None):
    """A bundle whose program is `args`, a shell script when it is one word."""
    root = os.path.join(name, "rootfs")
    os.makedirs(os.path.join(root, "bin"))
    for folder in ("proc", "dev", "sys", "tmp", "etc"):
        os.mkdir(os.path.join(root, folder))
    shutil.copy(BUSYBOX, os.path.join(root, "bin"))
    for applet in subprocess.check_output([BUSYBOX, "--list"]).decode().split():
        if applet != "busybox":
            os.symlink("busybox", os.path.join(root, "bin", applet))
    assert rt("spec", "-b", name) == (0, "", "")
    with open(os.path.join(name, "config.json"), encoding="utf-8") as f:
        config = json.load(f)
    config["process"]["terminal"] = False
    config["process"]["args"] = ["sh", "-c", args[0]] if len(args) == 1 else list(args)
    change(config)
    with open(os.path.join(name, "config.json"), "w", encoding="utf-8") as f:
        json.dump(config, f)
    return config


def status_of(name):
    return json.loads(rt("state", name)[1])["status"]


def wait_for(condition, what):
    end = time.monotonic() + LIMIT
    while not condition():
        assert time.monotonic() < end, what
        time.sleep(0.005)


def cgroups(name):
    """Folders of that name among the host's cgroups."""
    found = []
    for where, folders, _ in os.walk("/sys/fs/cgroup"):
        found += [os.path.join(where, f) for f in folders if f == name]
    return found


def mounts():
    with open("/proc/self/mountinfo", encoding="utf-8") as f:
        return len(f.read().splitlines())


def gone(name):
    assert not cgroups(name), cgroups(name)
    assert not os.path.exists(os.path.join("state", name))


@contextlib.contextmanager
def take_terminal(path):
    """Listens at a console socket; gives a function that reads so many lines of the terminal that comes."""
    server = socket.socket(socket.AF_UNIX)
    server.bind(path)
    server.listen()
    server.settimeout(LIMIT)

    def read_lines(n):
        peer = server.accept()[0]
        _, control, _, _ = peer.recvmsg(100, 100)
        peer.close()
        master = array.array("i", control[0][2][:4])[0]
        text = b""
        try:
            while text.count(b"\n") < n:
                text += os.read(master, 1000)
        except OSError:
            pass  # its program has ended
        os.close(master)
        return text
    with server:
        yield read_lines


def lacking():
    """What this host has not, without which atoll-rt makes no container; None: it has all."""
    if os.geteuid() != 0:
        return "needs root"
    if subprocess.run(["unshare", "--mount", "--net", "true"], stderr=subprocess.DEVNULL, check=False).returncode:
        return "needs the right to make namespaces"
    with open("/proc/self/mountinfo", encoding="utf-8") as f:
        mounted = [line.split() for line in f]
    if not any(w[-3] == "cgroup" and "devices" in w[-1].split(",") and os.access(w[4], os.W_OK) for w in mounted):
        return "needs cgroup v1's controller of devices"
    return None


def main(names):
    """Runs the checks of a test, or skips them all. Returns the exit status."""
    if lacking():
        print(f"1..1\nok 1 - all # SKIP {lacking()}")
        return 0
    return checks.run_checks(names)
