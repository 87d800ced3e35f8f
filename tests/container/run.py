#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""Containers of atoll-rt ($ATOLL_RT), made of busybox: their life, what is in them and what is not, and that nothing is left
of them on the host, whoever is killed."""

import hashlib
import json
import os
import random
import shutil
import subprocess
import sys
import time

HERE = os.path.dirname(os.path.realpath(__file__))
sys.path[:0] = [os.path.join(HERE, "..")]
import containers  # noqa: E402  pylint: disable=wrong-import-position
import tied  # noqa: E402  pylint: disable=wrong-import-position
from containers import (ALL_CAPS, CT, LIMIT, RT, bundle, cgroups, gone, mounts, quiet, rt,  # noqa: E402  pylint: disable=wrong-import-position
                        status_of, take_terminal, wait_for)


def check_life():
    bundle("sleep 1000 & exec sleep 1000")
    before = mounts()
    assert quiet("create", "-b", "bundle", "--pid-file", "pid", CT + "life") == (0, "")
    with open("pid", encoding="utf-8") as f:
        pid = int(f.read())
    state = json.loads(rt("state", CT + "life")[1])
    assert (state["status"], state["pid"], state["bundle"]) == ("created", pid, os.path.abspath("bundle"))
    status, _, err = rt("create", "-b", "bundle", CT + "life")
    assert status == 1 and "exists already" in err, err
    assert rt("start", CT + "life") == (0, "", "") and status_of(CT + "life") == "running"
    assert "is running, not created" in rt("start", CT + "life")[2]
    assert rt("list", "-q")[1] == CT + "life\n" and json.loads(rt("list", "-f", "json")[1])[0]["pid"] == pid
    wait_for(lambda: len(json.loads(rt("ps", "-f", "json", CT + "life")[1])) == 2, "its child")
    assert rt("pause", CT + "life")[0] == 0 and status_of(CT + "life") == "paused"
    assert rt("resume", CT + "life")[0] == 0 and status_of(CT + "life") == "running"
    assert "--force ends it" in rt("delete", CT + "life")[2]
    assert "is no signal" in rt("kill", CT + "life", "NONE")[2]
    assert rt("kill", CT + "life", "KILL") == (0, "", "")
    wait_for(lambda: status_of(CT + "life") == "stopped", "its end")
    assert "is not running" in rt("kill", CT + "life")[2]
    assert rt("delete", CT + "life") == (0, "", "")
    assert "there is no container" in rt("state", CT + "life")[2] and rt("delete", "-f", CT + "life")[0] == 0
    gone(CT + "life")
    assert mounts() == before


def check_run():
    config = bundle("cat; echo $$ $(hostname) $(pwd) $FOO $HOME; exit 42", change=lambda c: c["process"].update(
        cwd="/new/folder", env=["PATH=/bin", "FOO=bar"], capabilities={}))
    config["root"]["readonly"] = False
    with open("bundle/config.json", "w", encoding="utf-8") as f:
        json.dump(config, f)
    assert rt("run", "-b", "bundle", CT + "run", stdin="in\n") == (42, "in\n1 atoll /new/folder bar /\n", "")
    gone(CT + "run")
    assert rt("run", "-b", "bundle", "--keep", CT + "run")[0] == 42 and status_of(CT + "run") == "stopped"
    assert rt("delete", CT + "run")[0] == 0
    gone(CT + "run")


def check_signals():
    """What the runtime in the foreground gets, the container gets."""
    bundle("trap 'echo got; exit 7' TERM; echo ready; while :; do sleep 0.01; done")
    with tied.start([RT, "--root", "state", "run", "-b", "bundle", CT + "sig"], stdout=subprocess.PIPE) as p:
        assert p.stdout.readline() == b"ready\n"
        p.terminate()
        assert p.stdout.read() == b"got\n" and p.wait(LIMIT) == 7
    gone(CT + "sig")


PROBE = """id; hostname; pwd; env | sort; ulimit -n; umask
grep -E 'Cap|NoNewPrivs|Groups|Seccomp:' /proc/self/status
cd /dev; ls -l null zero full random urandom tty | awk '{print $1, $3, $4, $5, $6, $NF}'
for f in fd stdin stdout stderr ptmx; do readlink $f; done
awk '$3 !~ /cgroup/ {print $2, $2 ~ /keys|timer_list/ ? "" : $3}' /proc/mounts | sort
touch /x 2>&1; echo > /proc/sys/kernel/panic; cat /proc/kcore | wc -c; ls /proc/self/fd | wc -l; cat /proc/1/comm
ip link | grep -c mtu; cat /proc/self/oom_score_adj"""


def check_like_runc():
    """The same bundle under runc looks the same from inside."""
    def change(config):
        config["process"]["user"] = {"uid": 5, "gid": 6, "additionalGids": [7]}
        config["process"]["oomScoreAdj"] = 100
        config["linux"]["namespaces"].remove({"type": "cgroup"})
        config["linux"]["seccomp"] = {"defaultAction": "SCMP_ACT_ALLOW", "syscalls": [
            {"names": ["mkdir", "no_such_call"], "action": "SCMP_ACT_ERRNO", "errnoRet": 5}]}
    bundle(PROBE + "; mkdir /tmp/x 2>&1", change=change)
    ours, theirs = rt("run", "-b", "bundle", CT + "like"), rt("run", "-b", "bundle", CT + "like", runtime="runc")
    assert "mkdir: can't create directory '/tmp/x': Input/output error" in ours[1], ours
    assert ours == theirs, "\n".join(["ours", ours[1], ours[2], "runc's", theirs[1], theirs[2]])


def check_other_root():
    """A container of the same name below another --root has the same cgroups: it is not touched."""
    bundle("exec sleep 1000")
    assert quiet("run", "-d", "-b", "bundle", CT + "two") == (0, "")
    p = subprocess.run([RT, "--root", "other", "run", "-b", "bundle", CT + "two"], timeout=LIMIT, check=False,
                       stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    assert p.returncode == 1 and b"has processes of somebody else" in p.stderr, p
    assert os.listdir("other") == [] and status_of(CT + "two") == "running"
    assert rt("delete", "-f", CT + "two") == (0, "", "")
    gone(CT + "two")


def check_refused():
    """What cannot be made leaves nothing, and says why."""
    for change, text in (
            (lambda c: c["process"].update(args=["none"]), "'none': executable file not found in $PATH"),
            (lambda c: c["process"].update(args=["/etc"]), "'/etc' is no program"),
            (lambda c: c["root"].update(path="none"), "root.path"),
            (lambda c: c["mounts"].append({"destination": "/x", "type": "none", "source": "x"}), "mounts[7] (/x)"),
            (lambda c: c["mounts"].append({"destination": "/bin", "type": "bind", "source": "/none"}),
             "mounts[7] (/bin): source '/none'"),
            (lambda c: c["process"].update(terminal=True), "process.terminal needs"),
            (lambda c: c.update(hooks={"createRuntime": [{"path": "/bin/false"}]}),
             "hooks.createRuntime[0] (/bin/false): exit status 1"),
            (lambda c: c["linux"]["resources"].update(memory={"limit": 1 << 62, "swap": 5}), "swap: is below"),
            (lambda c: c.update(ociVersion="3"), "ociVersion")):
        bundle("true", change=change)
        status, err = quiet("create", "-b", "bundle", CT + "no")
        assert status == 1 and text in err and err.count("\n") == 1, (text, err)
        gone(CT + "no")
        shutil.rmtree("bundle")
    assert quiet("create", "-b", "missing", CT + "no")[0] == 1
    for name in ("", ".", "..", "a/b", "ä", "x" * 256):
        assert "is no name of a container" in rt("state", name)[2], name


def check_limits():
    bundle("exec sleep 1000", change=lambda c: c["linux"]["resources"].update(
        memory={"limit": 64 << 20}, pids={"limit": 5}, cpu={"shares": 512}))
    assert quiet("run", "-d", "-b", "bundle", CT + "lim") == (0, "")
    values = {}
    for folder in cgroups(CT + "lim"):
        for name in ("memory.limit_in_bytes", "memory.max", "pids.max", "cpu.shares", "cpu.weight", "devices.list"):
            path = os.path.join(folder, name)
            if os.path.exists(path):
                with open(path, encoding="utf-8") as f:
                    values[name] = f.read().strip()
    assert str(64 << 20) in (values.get("memory.limit_in_bytes"), values.get("memory.max")), values
    assert values["pids.max"] == "5" and (values.get("cpu.shares") == "512" or "cpu.weight" in values), values
    assert "a *:* rwm" not in values.get("devices.list", ""), values
    assert rt("delete", "--force", CT + "lim") == (0, "", "")
    gone(CT + "lim")


def check_user_namespace():
    def change(config):
        config["linux"]["namespaces"] += [{"type": "user"}, {"type": "time"}]
        ids = [{"containerID": 0, "hostID": 100000, "size": 1000}]
        config["linux"].update(uidMappings=ids, gidMappings=ids, timeOffsets={"boottime": {"secs": 1000000000}})
    os.chmod(".", 0o755)
    bundle("id -u; cat /proc/self/uid_map; cut -d. -f1 /proc/uptime; echo x > /dev/null; exec sleep 1000", change=change)
    with open("out", "w+b") as out:
        p = subprocess.run([RT, "--root", "state", "run", "-d", "-b", "bundle", CT + "user"], timeout=LIMIT, check=False,
                           stdin=subprocess.DEVNULL, stdout=out, stderr=out)
        assert p.returncode == 0, open("out", encoding="utf-8").read()
        wait_for(lambda: open("out", "rb").read().count(b"\n") >= 3, "its lines")
        out.seek(0)
        text = out.read().decode()
    uid, uid_map, uptime = text.splitlines()[:3]
    assert uid == "0" and uid_map.split() == ["0", "100000", "1000"] and int(uptime) >= 1000000000, text
    pid = json.loads(rt("state", CT + "user")[1])["pid"]
    assert os.stat(f"/proc/{pid}").st_uid == 100000
    assert rt("delete", "-f", CT + "user") == (0, "", "")
    gone(CT + "user")


def check_hooks():
    log = os.path.abspath("hooks.log")

    def hook(name):
        return [{"path": "/bin/sh", "args": ["sh", "-c", f"echo {name} >> {log}; cat >> {log}"], "env": ["PATH=/bin"]}]
    inside = [{"path": "/bin/sh", "args": ["sh", "-c", "cat > /tmp/inside"]}]
    names = ("prestart", "createRuntime", "poststart", "poststop")
    bundle("cat /tmp/inside", change=lambda c: (c.update(
        hooks={**{name: hook(name) for name in names}, "startContainer": inside}), c["root"].update(readonly=False)))
    status, out, err = rt("run", "-b", "bundle", CT + "hook")
    assert status == 0 and json.loads(out)["id"] == CT + "hook", (out, err)
    with open(log, encoding="utf-8") as f:
        lines = f.read().splitlines()
    assert lines[::2] == list(names), lines
    states = [json.loads(line) for line in lines[1::2]]
    assert [s["status"] for s in states] == ["creating", "creating", "running", "stopped"], states
    assert states[0]["pid"] > 1 and states[0]["bundle"] == os.path.abspath("bundle"), states


def check_terminal():
    bundle("tty; test -c /dev/console && stty size", change=lambda c: c["process"].update(
        terminal=True, consoleSize={"height": 33, "width": 44}))
    with take_terminal("console") as read_lines:
        assert quiet("create", "-b", "bundle", "--console-socket", "console", CT + "tty") == (0, "")
        assert rt("start", CT + "tty") == (0, "", "")
        text = read_lines(2)
    assert text.decode().split("\r\n")[:2] == ["/dev/pts/0", "33 44"], text
    wait_for(lambda: status_of(CT + "tty") == "stopped", "its end")
    assert rt("delete", CT + "tty")[0] == 0
    # In the foreground, the caller's standard streams are its terminal.
    shutil.rmtree("bundle")
    bundle("test -t 0 && read x && echo got $x", change=lambda c: c["process"].update(terminal=True))
    status, out, err = rt("run", "-b", "bundle", CT + "tty", stdin="word\n")
    assert status == 0 and "got word\r\n" in out, (out, err)
    gone(CT + "tty")


def check_escape_descriptors():
    """Nothing that the caller or the runtime has open is open in the container, but what was asked for."""
    bundle("ls -l /proc/self/fd | wc -l; cat <&5")
    secret, given = os.open("/", os.O_RDONLY), os.open("given", os.O_RDWR | os.O_CREAT)
    os.write(given, b"yes\n")
    os.lseek(given, 0, os.SEEK_SET)

    def place():
        os.dup2(given, 5)
        os.dup2(secret, 9)
        os.closerange(3, 5)  # what we were called with
    status, out, err = rt("run", "-b", "bundle", CT + "fd", preexec_fn=place, close_fds=False)
    # "total 0", the standard streams, and the folder that ls reads
    assert out == "5\n" and status != 0, (status, out, err)
    status, out, err = rt("run", "-b", "bundle", "--preserve-fds", "3", CT + "fd", preexec_fn=place, close_fds=False)
    assert status == 0 and out.endswith("\nyes\n"), (status, out, err)
    os.close(secret)
    os.close(given)


def check_escape_exe():
    """A process that waits to become a container's program is still the runtime: its file cannot be written through
    /proc/PID/exe by one with every right that a container can have."""
    with open(RT, "rb") as f:
        before = hashlib.sha256(f.read()).hexdigest()
    bundle("exec sleep 1000")
    assert quiet("create", "-b", "bundle", CT + "exe") == (0, "")
    pid = json.loads(rt("state", CT + "exe")[1])["pid"]

    def change(config):
        config["process"].update(noNewPrivileges=False, capabilities={
            kind: ALL_CAPS for kind in ("bounding", "permitted", "effective", "inheritable", "ambient")})
        for ns in config["linux"]["namespaces"]:
            if ns["type"] == "pid":
                ns["path"] = f"/proc/{pid}/ns/pid"
    bundle("exec 3</proc/1/exe; echo x >> /proc/1/exe; echo opened; read go; echo x >> /proc/self/fd/3; cat <&3 | head -c 4; "
           "mount -o remount,rw,bind /proc/self/fd/3; echo x >> /proc/self/fd/3",
           name="attack", change=change)
    with tied.start([RT, "--root", "state", "run", "-b", "attack", CT + "attack"], stdin=subprocess.PIPE,
                          stdout=subprocess.PIPE, stderr=subprocess.PIPE) as p:
        first = p.stdout.readline()
        assert first == b"opened\n", (first, p.stderr.read() if not first else "")
        assert rt("start", CT + "exe") == (0, "", "")  # nobody executes the file any more
        out, err = p.communicate(b"go\n", timeout=LIMIT)
    assert out == b"\x7fELF", out
    assert err.count(b"Read-only file system") + err.count(b"Operation not permitted") + err.count(b"Text file busy") >= 3, err
    with open(RT, "rb") as f:
        assert hashlib.sha256(f.read()).hexdigest() == before
    assert rt("delete", "-f", CT + "exe")[0] == 0


def check_escape_links():
    """Links of the image lead nowhere outside of it."""
    secret = os.path.abspath("secret")
    os.mkdir(secret)
    config = bundle("ls -d /secret-in/made /tmp/up/file")
    root = os.path.abspath("bundle/rootfs")
    os.mkdir(os.path.join(root, "secret-in"))
    os.symlink(secret, os.path.join(root, "out"))          # an absolute path of the host: below the root it is nothing
    os.symlink("/secret-in", os.path.join(root, "in"))
    os.symlink("../" * 20 + "tmp/up", os.path.join(root, "up"))
    config["mounts"] += [{"destination": "/in/made", "type": "tmpfs", "source": "tmpfs"},
                         {"destination": "/tmp/up", "type": "tmpfs", "source": "tmpfs"},
                         {"destination": "/up/file", "type": "bind", "source": "/etc/hostname"}]
    with open("bundle/config.json", "w", encoding="utf-8") as f:
        json.dump(config, f)
    assert rt("run", "-b", "bundle", CT + "link")[1] == "/secret-in/made\n/tmp/up/file\n", rt("run", "-b", "bundle", CT + "link")
    config["mounts"].append({"destination": "/out/x", "type": "tmpfs", "source": "tmpfs"})
    with open("bundle/config.json", "w", encoding="utf-8") as f:
        json.dump(config, f)
    rt("run", "-b", "bundle", CT + "link")
    assert os.listdir(secret) == []
    # /proc by a link would take the masked paths away from where they are.
    config["mounts"].pop()
    os.rmdir(os.path.join(root, "proc"))
    os.symlink("tmp", os.path.join(root, "proc"))
    with open("bundle/config.json", "w", encoding="utf-8") as f:
        json.dump(config, f)
    assert "a link on the way" in rt("run", "-b", "bundle", CT + "link")[2]
    gone(CT + "link")


def check_kill():
    """Whenever the runtime is killed, `delete --force` leaves nothing."""
    bundle("exec sleep 1000")
    before = mounts()
    rng = random.Random(8)
    for _ in range(40):
        command = rng.choice((["create"], ["run", "-d"], ["run"]))
        with tied.start([RT, "--root", "state", *command, "-b", "bundle", CT + "kill"], stdin=subprocess.DEVNULL,
                              stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as p:
            time.sleep(rng.random() * 0.02)
            p.kill()
        assert rt("delete", "--force", CT + "kill")[0] == 0
        gone(CT + "kill")
    assert mounts() == before


if __name__ == "__main__":
    sys.exit(containers.main(globals()))
