#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""A container's whole life, `run` of /bin/true, by atoll-rt and by runc turn by turn, and how the figures of docs/promises.md
came out.

usage: ctbench.py [--runs N] [--each N] [--tap]

The container has namespaces of its own for all but users, a fresh network among them, cgroups, an overlay as its root (mounted
before, as engines do), and the filter that podman gives containers. crun stands beside them where it is installed, without
cgroups, which it does not make on hosts with both versions. Needs root. --tap says whether the promises are kept, and ends with
status 1 when one is broken.
"""

import argparse
import contextlib
import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time

HERE = os.path.dirname(os.path.realpath(__file__))
sys.path[:0] = [os.path.join(HERE, "..", "guest"), os.path.join(HERE, "..", "container")]
import containers  # noqa: E402  (the path must be set first)
import figures  # noqa: E402
import vmm  # noqa: E402

PROFILE = "/usr/share/containers/seccomp.json"
CRUN = ("unshare", "--mount", "sh", "-c", 'mount -t cgroup2 none /sys/fs/cgroup && exec crun --cgroup-manager=disabled "$@"', "crun")


def seccomp():
    """The profile's rules for every container of this architecture, as config.json has them; None: there is none."""
    if not os.path.exists(PROFILE):
        return None
    with open(PROFILE, encoding="utf-8") as f:
        profile = json.load(f)
    rules = [{k: rule[k] for k in ("names", "action", "args", "errnoRet") if rule.get(k)} for rule in profile["syscalls"]
             if not rule.get("excludes") and set(rule.get("includes") or {}) <= {"arches"}
             and "amd64" in (rule.get("includes") or {}).get("arches", ["amd64"])]
    return {"defaultAction": profile["defaultAction"], "defaultErrnoRet": profile.get("defaultErrnoRet", 1),
            "architectures": ["SCMP_ARCH_X86_64", "SCMP_ARCH_X86"], "syscalls": rules}


@contextlib.contextmanager
def bundle():
    """The folder of a bundle whose root is an overlay."""
    with tempfile.TemporaryDirectory(prefix="ctbench-") as folder:
        os.chdir(folder)

        def change(config):
            config["root"].update(path="merged", readonly=False)
            if seccomp():
                config["linux"]["seccomp"] = seccomp()
        containers.bundle("/bin/true", "x", change=change)
        for name in ("upper", "work", "bundle/merged"):
            os.mkdir(name)
        subprocess.run(["mount", "-t", "overlay", "overlay", "-o", "lowerdir=bundle/rootfs,upperdir=upper,workdir=work",
                        "bundle/merged"], check=True)
        try:
            yield folder
        finally:
            subprocess.run(["umount", "bundle/merged"], check=True)
            os.chdir("/")


def milliseconds(command, folder):
    argv = [*command, "--root", folder + "/state", "run", "--bundle", folder + "/bundle", f"ctbench{os.getpid()}"]
    start = time.perf_counter()
    status = subprocess.run(argv, check=False).returncode
    took = (time.perf_counter() - start) * 1000
    if status:
        raise vmm.Failed(f"{argv[0]} ended with status {status}")
    return took


def main():
    parser = argparse.ArgumentParser(usage=__doc__)
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--each", type=int, default=20)
    parser.add_argument("--tap", action="store_true")
    o = parser.parse_args()
    peers = {"atoll-rt": (containers.RT,), "runc": ("runc",)}
    if shutil.which("crun"):
        peers["crun"] = CRUN
    if containers.lacking():
        sys.exit(f"ctbench.py: {containers.lacking()}")
    found = []
    try:
        with bundle() as folder:
            for _ in range(o.runs):
                times = {name: [] for name in peers}
                for _ in range(o.each):
                    for name, command in peers.items():
                        times[name].append(milliseconds(command, folder))
                middle = {name: statistics.median(t) for name, t in times.items()}
                print("# " + ", ".join(f"{name} {middle[name]:.1f} ms (at best {min(times[name]):.1f})" for name in peers),
                      flush=True)
                found.append({"run": middle["runc"] / middle["atoll-rt"]})
    except (vmm.Failed, OSError, subprocess.SubprocessError) as e:
        sys.exit(f"ctbench.py: {e}")
    return figures.judge(figures.read_section("Containers"), found, vmm.Tap() if o.tap else None)


if __name__ == "__main__":
    sys.exit(main())
