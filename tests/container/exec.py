#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""`atoll-rt exec` ($ATOLL_RT): one more process in a container, beside what runc makes, and what it must not bring along."""

import difflib
import json
import os
import sys

sys.path[:0] = [os.path.dirname(os.path.realpath(__file__))]
import containers  # noqa: E402  pylint: disable=wrong-import-position
from containers import (ALL_CAPS, CT, bundle, gone, quiet, rt,  # noqa: E402  pylint: disable=wrong-import-position
                        status_of, take_terminal, wait_for)

ME = CT + "exec"
PROBE = """id; hostname; pwd; env | sort; ulimit -Hn; umask; cat /proc/self/cgroup
grep -E '^(Cap|NoNewPrivs|Groups|Seccomp:|Uid|Gid)' /proc/self/status; ls /proc/self/fd | wc -l
for n in cgroup ipc mnt net pid time user uts; do
  test "$(readlink /proc/self/ns/$n)" = "$(readlink /proc/1/ns/$n)" && echo same $n
done; mkdir /tmp/x 2>&1; cat /proc/self/oom_score_adj; awk '{print $7 == 0}' /proc/self/stat"""


def begin(*args, runtime=containers.RT, **more):
    bundle(*args, **more)
    assert quiet("run", "-d", "-b", more.get("name", "bundle"), ME, runtime=runtime) == (0, "")


def end(runtime=containers.RT):
    assert rt("delete", "-f", ME, runtime=runtime)[0] == 0
    gone(ME)


def limited(config):
    config["process"].update(oomScoreAdj=100, user={"uid": 0, "gid": 0, "additionalGids": [9]})
    config["process"]["capabilities"]["inheritable"] = config["process"]["capabilities"]["ambient"]
    config["linux"]["seccomp"] = {"defaultAction": "SCMP_ACT_ALLOW", "syscalls": [
        {"names": ["mkdir"], "action": "SCMP_ACT_ERRNO", "errnoRet": 5}]}


def check_like_runc():
    """The same process in the same container under runc looks the same from inside."""
    process = {"cwd": "/tmp", "args": ["sh", "-c", PROBE], "env": ["PATH=/bin", "A=b"], "noNewPrivileges": True,
               "user": {"uid": 5, "gid": 6, "additionalGids": [7, 8]}, "capabilities": {
                   kind: ["CAP_KILL", "CAP_CHOWN"] for kind in ("bounding", "effective", "permitted", "inheritable")},
               "rlimits": [{"type": "RLIMIT_NOFILE", "soft": 100, "hard": 200}]}
    with open("process.json", "w", encoding="utf-8") as f:
        json.dump(process, f)
    bundle("exec sleep 1000", change=limited)
    seen = {}
    for runtime in (containers.RT, "runc"):
        assert quiet("run", "-d", "-b", "bundle", ME, runtime=runtime) == (0, "")
        seen[runtime] = [rt("exec", *args, runtime=runtime) for args in (
            (ME, "sh", "-c", PROBE), ("--process", "process.json", ME),
            ("-u", "3:4", "-g", "5", "--cwd", "/bin", "-e", "X=y", "-c", "CAP_CHOWN", ME, "sh", "-c", PROBE),
            (ME, "sh", "-c", "exit 7"), (ME, "sh", "-c", "kill -9 $$"))]
        end(runtime)
    for ours, theirs in zip(seen[containers.RT], seen["runc"]):
        assert ours == theirs, "\n".join(difflib.unified_diff(
            "".join(map(str, theirs)).splitlines(), "".join(map(str, ours)).splitlines(), "runc's", "ours", lineterm=""))
    first, _, third, seven, killed = seen[containers.RT]
    assert "mkdir: can't create directory '/tmp/x': Input/output error" in first[1] and first[1].count("same ") == 8, first
    assert "uid=3" in third[1] and "X=y" in third[1], third
    assert (seven[0], killed[0]) == (7, 137), (seven, killed)


def check_refused():
    begin("exec sleep 1000")
    for args, text in (
            ((ME, "none"), "'none': executable file not found in $PATH"),
            ((ME,), "which program?"),
            (("--cwd", "/none", ME, "true"), "process.cwd"),
            (("--cwd", "none", ME, "true"), "is not absolute"),
            (("--user", "x", ME, "true"), "--user"),
            (("--cap", "CAP_X", ME, "true"), "'CAP_X' is unknown"),
            (("--process", "none", ME), "--process: "),
            (("-t", "-d", ME, "true"), "needs --console-socket"),
            ((CT + "none", "true"), "there is no container")):
        status, out, err = rt("exec", *args)
        assert status == 255 and not out and text in err and err.count("\n") == 1, (text, err)
    assert rt("pause", ME)[0] == 0
    assert "is paused" in rt("exec", ME, "true")[2]
    assert rt("resume", ME)[0] == 0 and rt("exec", ME, "true") == (0, "", "")
    assert rt("kill", ME, "KILL")[0] == 0
    wait_for(lambda: status_of(ME) == "stopped", "its end")
    assert "is stopped" in rt("exec", ME, "true")[2]
    end()


def check_detached():
    """It outlives the command, is in all cgroups, and ends with the container; in one that waits for start, too."""
    bundle("exec sleep 1000")
    assert quiet("create", "-b", "bundle", ME) == (0, "")
    assert quiet("exec", "-d", "--pid-file", "pid", ME, "sleep", "2000") == (0, "")
    with open("pid", encoding="utf-8") as f:
        pid = int(f.read())
    init = json.loads(rt("state", ME)[1])["pid"]
    with open(f"/proc/{pid}/cgroup", encoding="utf-8") as a, open(f"/proc/{init}/cgroup", encoding="utf-8") as b:
        assert a.read() == b.read()
    assert set(json.loads(rt("ps", "-f", "json", ME)[1])) == {pid, init}
    end()
    wait_for(lambda: not os.path.exists(f"/proc/{pid}"), "its end")


def check_terminal():
    begin("exec sleep 1000")
    with take_terminal("console") as read_lines:
        assert quiet("exec", "-d", "-t", "--console-socket", "console", ME, "sh", "-c", "tty; cat /proc/self/uid_map") == (0, "")
        assert read_lines(2).startswith(b"/dev/pts/0\r\n")
    status, out, err = rt("exec", "-t", ME, "sh", "-c", "test -t 0 && read x && echo got $x", stdin="word\n")
    assert status == 0 and "got word\r\n" in out, (out, err)
    end()


def check_user_namespace():
    def change(config):
        config["linux"]["namespaces"] += [{"type": "user"}, {"type": "time"}]
        ids = [{"containerID": 0, "hostID": 100000, "size": 1000}]
        config["linux"].update(uidMappings=ids, gidMappings=ids, timeOffsets={"boottime": {"secs": 1000000000}})
    os.chmod(".", 0o755)
    begin("exec sleep 1000", change=change)
    status, out, err = rt("exec", "-u", "1:2", ME, "sh", "-c", "id -u; cut -d. -f1 /proc/uptime; cat /proc/self/uid_map")
    assert status == 0 and out.split()[0] == "1" and int(out.split()[1]) >= 1000000000, (out, err)
    assert out.split()[2:] == ["0", "100000", "1000"], out
    end()


def check_escape_descriptors():
    """Nothing of the caller or the runtime leads out of the container: not as a descriptor, not as a working folder, not as
    the way to a program."""
    begin("exec sleep 1000")
    secret = os.open("/", os.O_RDONLY)

    def place():
        os.dup2(secret, 9)
        os.closerange(3, 9)
    status, out, err = rt("exec", ME, "sh", "-c", "ls /proc/self/fd | wc -l", preexec_fn=place, close_fds=False)
    assert (status, out) == (0, "4\n"), (out, err)  # the folder that ls reads is one
    for number in range(3, 24):
        for args in (("--cwd", f"/proc/self/fd/{number}"), ("--cwd", f"/proc/self/fd/{number}/../..")):
            status, out, err = rt("exec", *args, ME, "pwd", preexec_fn=place, close_fds=False)
            assert status != 0 and not out, (number, out, err)
        status, out, err = rt("exec", ME, f"/proc/self/fd/{number}/bin/busybox", preexec_fn=place, close_fds=False)
        assert status == 255, (number, out, err)
    # One that was asked for is there, but leads nowhere as a working folder.
    status, out, err = rt("exec", "--preserve-fds", "7", "--cwd", "/proc/self/fd/9", ME, "pwd", preexec_fn=place,
                          close_fds=False)
    assert status == 255 and "is outside of the container" in err, (out, err)
    os.close(secret)
    end()


def check_escape_trace():
    """A process of the container with every right that one can have does not get at one that joins before it is its program:
    it sees the descriptors of its programs only."""
    def change(config):
        config["process"].update(noNewPrivileges=False, capabilities={
            kind: ALL_CAPS for kind in ("bounding", "permitted", "effective", "inheritable", "ambient")})
        config["root"]["readonly"] = False
    begin("while :; do for p in /proc/[0-9]*; do case $p in /proc/1) ;; *) for f in $p/fd/[3-9]* $p/cwd; do "
          "readlink $f; done; esac; done; done 2>/dev/null | grep -v -e '^/$' -e '^/proc' -e pipe: > /tmp/seen", change=change)
    for _ in range(60):
        assert rt("exec", ME, "true") == (0, "", "")
    end()
    with open("bundle/rootfs/tmp/seen", encoding="utf-8") as f:
        seen = set(f.read().split("\n")[:-1])  # the last line was cut off
    # The sockets between it and its parent; nothing with a name.
    assert all(s.startswith(("socket:", "anon_inode:", "/tmp")) for s in seen), seen


if __name__ == "__main__":
    sys.exit(containers.main(globals()))
