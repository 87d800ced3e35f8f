#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""What a container may have ($ATOLL_RT): its limits, set and changed as runc does, and tmpfs with what was beneath."""

import json
import os
import sys

sys.path[:0] = [os.path.dirname(os.path.realpath(__file__))]
import containers  # noqa: E402  pylint: disable=wrong-import-position
from containers import CT, bundle, cgroups, gone, quiet, rt, wait_for  # noqa: E402  pylint: disable=wrong-import-position
from containers import status_of  # noqa: E402  pylint: disable=wrong-import-position

ME = CT + "limit"
FILES = ("memory.limit_in_bytes", "memory.memsw.limit_in_bytes", "memory.soft_limit_in_bytes", "memory.max", "memory.swap.max",
         "memory.low", "pids.max", "cpu.shares", "cpu.weight", "cpu.cfs_quota_us", "cpu.cfs_period_us", "cpu.max", "cpuset.cpus",
         "cpuset.mems", "devices.list")
MIB = 1 << 20


def limits():
    found = {}
    for folder in cgroups(ME):
        for name in FILES:
            path = os.path.join(folder, name)
            if os.path.exists(path):
                with open(path, encoding="utf-8") as f:
                    found[name] = sorted(f.read().split("\n"))
    # runc gives every container /dev/net/tun as well.
    found["devices.list"] = [rule for rule in found.get("devices.list", []) if rule != "c 10:200 rwm"]
    return found


def check_update_like_runc():
    """The same changes by runc end with the same limits; what is not given stays, and so do the rules for devices."""
    with open("limits.json", "w", encoding="utf-8") as f:
        json.dump({"memory": {"limit": 128 * MIB, "swap": 300 * MIB, "reservation": 32 * MIB}, "cpu": {"quota": 20000},
                   "devices": [{"allow": True, "access": "rwm"}]}, f)
    bundle("exec sleep 1000", change=lambda c: c["linux"]["resources"].update(memory={"limit": 16 * MIB}, pids={"limit": 9}))
    seen = {}
    for runtime in (containers.RT, "runc"):
        assert quiet("run", "-d", "-b", "bundle", ME, runtime=runtime) == (0, "")
        seen[runtime] = [limits()]
        for args in (("--memory", "64M", "--memory-swap", "100M"), ("--pids-limit", "33"), ("--resources", "limits.json"),
                     ("--cpu-share", "200", "--cpu-quota", "50000", "--cpu-period", "200000"), ("--cpuset-cpus", "0"),
                     ("--memory", str(8 * MIB), "--memory-swap", str(8 * MIB)), ("--pids-limit", "-1")):
            status, out, err = rt("update", *args, ME, runtime=runtime)
            assert (status, out) == (0, ""), (runtime, args, err)
            seen[runtime].append(limits())
        assert rt("delete", "-f", ME, runtime=runtime)[0] == 0
        gone(ME)
    assert seen[containers.RT] == seen["runc"], seen
    assert len({json.dumps(step) for step in seen["runc"]}) == 8, seen  # each changes something


def check_update_refused():
    bundle("exec sleep 1000")
    assert quiet("run", "-d", "-b", "bundle", ME) == (0, "")
    before = limits()
    for args, stdin, text in (
            (("--memory", "x"), "", "--memory: 'x' is not a size"),
            (("--pids-limit", "-2"), "", "--pids-limit"),
            (("--cpuset-cpus", "999"), "", "write '999' to cpuset.cpus"),
            (("--resources", "-"), "{\"pids\": {\"limit\": \"x\"}}", "--resources: pids.limit"),
            (("--resources", "-"), "{\"blockIO\": {\"weight\": 100}}", "blockIO: is not supported yet"),
            (("--resources", "-"), "[]", "an object is expected"),
            (("--resources", "none"), "", "--resources")):
        status, out, err = rt("update", *args, ME, stdin=stdin)
        assert status == 1 and not out and text in err and err.count("\n") == 1, (text, err)
    assert limits() == before
    assert rt("kill", ME, "KILL")[0] == 0
    wait_for(lambda: status_of(ME) == "stopped", "its end")
    assert "is stopped" in rt("update", "--memory", "64M", ME)[2]
    assert rt("delete", ME) == (0, "", "")
    gone(ME)


def check_tmpcopyup():
    """A tmpfs gets what is beneath; links of the image are copied, not followed."""
    config = bundle("cd /etc; ls -ln | awk '{print $1, $3, $4, $NF}'; cat a/b; readlink out; touch new; id -u; "
                    "touch /tmp/x 2>&1; cat /tmp/y", change=lambda c: c["mounts"].extend(
                        [{"destination": "/etc", "type": "tmpfs", "source": "tmpfs", "options": ["tmpcopyup"]},
                         {"destination": "/tmp", "type": "tmpfs", "source": "tmpfs", "options": ["tmpcopyup", "ro"]}]))
    etc = "bundle/rootfs/etc"
    os.makedirs(etc + "/a")
    for path, text in ((etc + "/a/b", "text\n"), (etc + "/tool", "x"), ("bundle/rootfs/tmp/y", "y\n")):
        with open(path, "w", encoding="utf-8") as f:
            f.write(text)
    os.chown(etc + "/tool", 5, 6)
    os.chmod(etc + "/tool", 0o4751)
    os.symlink(os.path.abspath("secret"), etc + "/out")
    os.mkdir("secret")
    os.mkfifo(etc + "/fifo")
    status, out, err = rt("run", "-b", "bundle", ME)
    assert status == 0, err
    assert out.splitlines()[1:] == [
        "drwxr-xr-x 0 0 a", "lrwxrwxrwx 0 0 " + os.path.abspath("secret"), "-rwsr-x--x 5 6 tool", "text",
        os.path.abspath("secret"), "0", "touch: /tmp/x: Read-only file system", "y"], out
    assert sorted(os.listdir(etc)) == ["a", "fifo", "out", "tool"] and os.listdir("secret") == []
    config["mounts"][-1]["type"] = "proc"
    with open("bundle/config.json", "w", encoding="utf-8") as f:
        json.dump(config, f)
    assert "'tmpcopyup' is for tmpfs" in rt("run", "-b", "bundle", ME)[2]
    gone(ME)


if __name__ == "__main__":
    sys.exit(containers.main(globals()))
