#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""What a machine's process could do if a guest took it over, or that of `atoll disk serve` if a client did: its descriptors, mounts, namespaces, capabilities and threads
are those of confined.txt, and where the host denies something, that is said or the machine does not start.

usage: confine.py [NAME]...
"""

import contextlib
import json
import os
import re
import signal
import socket
import ssl
import subprocess
import sys
import tempfile
import time

import vmm
from vmm import Failed

from observe import Machine, TINY, atoll, want

LIST = os.path.join(os.path.dirname(os.path.realpath(__file__)), "confined.txt")
CAPS = ("CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb")


def read_list(**names):
    """[(kind, count, pattern)]; names stand for paths."""
    rows = []
    with open(LIST, encoding="utf-8") as f:
        for line in f:
            line = line.partition("  #")[0].strip()
            if line and not line.startswith("#"):
                kind, count, pattern = line.split(None, 2)
                rows.append((kind, int(count), re.escape(names[pattern]) if pattern in names else pattern))
    return rows


def compare(kind, found, rows):
    """Each of `found` is in the list, as often as it says."""
    left = [[pattern, count] for k, count, pattern in rows if k == kind]
    for what in found:
        row = next((r for r in left if r[1] and re.fullmatch(r[0], what)), None)
        if not row:
            raise Failed(f"{kind}: '{what}' is not in the list, or not so often: {sorted(found)}")
        row[1] -= 1
    missing = [r[0] for r in left if r[1]]
    want(not missing, f"{kind}: the list has {missing}, and there is only {sorted(found)}")


def links(pid):
    folder, found = f"/proc/{pid}/fd", []
    for fd in os.listdir(folder):
        with contextlib.suppress(FileNotFoundError):  # closed since then
            found.append(os.readlink(os.path.join(folder, fd)))
    return found


def lines(path):
    with open(path, encoding="utf-8") as f:
        return f.read().splitlines()


def comm(pid, tid):
    return lines(f"/proc/{pid}/task/{tid}/comm")[0]


def threads(pid):
    """Their names, once each has its own: a thread begins with that of the one which began it."""
    while True:
        names = [comm(pid, t) for t in os.listdir(f"/proc/{pid}/task")]
        if names.count(comm(pid, pid)) == 1:
            return names
        time.sleep(0.05)


def mounts(pid):
    rows = (line.split() for line in lines(f"/proc/{pid}/mountinfo"))
    return [f"{r[4]} {r[r.index('-') + 1]} {r[5]}" for r in rows]


def own_namespaces(pid):
    return [n for n in os.listdir("/proc/self/ns") if not n.endswith("_for_children") and
            os.readlink(f"/proc/self/ns/{n}") != os.readlink(f"/proc/{pid}/ns/{n}")]


def status(pid, keys=CAPS + ("NoNewPrivs",)):
    rows = (line.split(":", 1) for line in lines(f"/proc/{pid}/status"))
    return [f"{key} {value.strip()}" for key, value in rows if key in keys]


def children(pid):
    """The processes that it started, by their names, once each has its own."""
    while True:
        with open(f"/proc/{pid}/task/{pid}/children", encoding="utf-8") as f:
            found = {comm(child, child): child for child in f.read().split()}
        if comm(pid, pid) not in found:
            return found
        time.sleep(0.05)


def everything(folder):
    """Options of a machine with every kind of device, and the paths that they name."""
    disk, share = os.path.join(folder, "d.raw"), os.path.join(folder, "share")
    with open(disk, "wb") as f:
        f.truncate(1 << 20)
    os.mkdir(share)
    return ["--disk", disk + ",format=raw", "--share", f"s={share}", "--net", "user",
            "--vsock", f"cid=3,path={folder}/v", "--serial", f"unix:{folder}/s",
            "--display", "vnc=127.0.0.1:0", "--gdb", str(vmm.free_port()), "--name", "c"], disk


def needs_all():
    """For tests of --sandbox require."""
    for line in atoll("doctor", "--json")[1].splitlines():
        found = json.loads(line)
        if found["name"] in ("confinement", "seccomp") and found["state"] != "ok":
            raise RuntimeError(found["detail"])


def tree():
    needs_all()
    with tempfile.TemporaryDirectory(prefix="confine-") as tmp:
        options, disk = everything(tmp)
        rows = read_list(DISK=disk, KERNEL=os.path.realpath(TINY), SHARE=os.path.join(os.path.realpath(tmp), "share"))
        with Machine(*options, "--sandbox", "require", cpus=2) as m:
            pid = m.p.pid
            helpers = children(pid)
            # The socket of the client that found the machine may be open for a moment.
            sockets = sum(count for kind, count, what in rows if kind == "fd" and what.startswith("socket"))
            while sum(link.startswith("socket:") for link in links(pid)) > sockets:
                time.sleep(0.05)
            found = {"fd": links(pid), "mount": mounts(pid), "ns": own_namespaces(pid),
                     "thread": threads(pid), "child": list(helpers)}
            for name in ("outside", "usernet", "share"):
                found[name + "-fd"] = links(helpers["atoll-" + name])
                found[name + "-status"] = status(helpers["atoll-" + name], ("CapEff", "NoNewPrivs", "Seccomp"))
            for kind, what in found.items():
                compare(kind, what, rows)
            for task in os.listdir(f"/proc/{pid}/task"):
                compare("status", status(task), rows)
            want(not os.listdir(f"/proc/{pid}/root"), "the root is not empty")
            with open(f"/proc/{pid}/limits", encoding="utf-8") as f:
                want(re.search(r"Max core file size +0 +0 ", f.read()), "core files")
            said, ended = m.end()
            want(ended == 128 + signal.SIGTERM, f"status {ended}: {said}")
        left = [n for n in os.listdir(tmp) if n not in ("d.raw", "share")]
        want(not left, f"left behind: {left}")


@contextlib.contextmanager
def serving(folder):
    """An NBD server with one client, whose threads all run."""
    disk, sock = os.path.join(folder, "d.raw"), os.path.join(folder, "s")
    with open(disk, "wb") as f:
        f.truncate(1 << 20)
    cmd = [vmm.atoll_path(), "disk", "serve", "--sandbox", "require", "--listen", "unix:" + sock, disk]
    with vmm.start(cmd, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as p:
        try:
            want(p.stdout.readline(), f"it does not serve: {p.poll() is not None and p.stderr.read()}")
            with socket.socket(socket.AF_UNIX) as s:
                s.connect(sock)
                s.settimeout(60)
                want(s.recv(18, socket.MSG_WAITALL), "no greeting")
                yield p
        finally:
            p.kill()


def server():
    needs_all()
    with tempfile.TemporaryDirectory(prefix="confine-") as tmp, serving(tmp) as p:
        rows = read_list(DISK=os.path.join(tmp, "d.raw"))
        helpers = children(p.pid)
        found = {"nbd-fd": links(p.pid), "mount": mounts(p.pid), "ns": own_namespaces(p.pid),
                 "nbd-thread": threads(p.pid), "nbd-child": list(helpers),
                 "outside-fd": links(helpers["atoll-outside"])}
        for kind, what in found.items():
            compare(kind, what, rows)
        for task in os.listdir(f"/proc/{p.pid}/task"):
            compare("status", status(task), rows)
        want(not os.listdir(f"/proc/{p.pid}/root"), "the root is not empty")
        p.send_signal(signal.SIGTERM)
        said = p.communicate(timeout=60)[1]
        want(p.returncode == 0 and not said, f"status {p.returncode}: {said}")
        want(os.listdir(tmp) == ["d.raw"], "its socket is left behind")


@contextlib.contextmanager
def disk_server(folder, listen, *args):
    """`atoll disk serve`; what it says first."""
    cmd = [vmm.atoll_path(), "disk", "serve", "--listen", listen, *args]
    with vmm.start(cmd, cwd=folder, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as p:
        try:
            uri = p.stdout.readline().strip()
            want(uri, f"{args}: it does not serve: {p.poll() is not None and p.stderr.read()}")
            yield uri
        finally:
            p.kill()
            vmm.check_confined(p.communicate()[1])


def lost_server():
    """A confined process finds the server of its disk again by the process outside, by TCP and by a unix socket; one that
    wants TLS cannot be found so."""
    needs_all()
    with tempfile.TemporaryDirectory(prefix="confine-") as tmp:
        with open(os.path.join(tmp, "d.raw"), "wb") as f:
            f.write(b"\x07" * 65536)
        for listen in (f"tcp:127.9.8.7:{vmm.free_port()}", "unix:in ner"):
            with contextlib.ExitStack() as stack:
                with disk_server(tmp, listen, "--name", "a b", "d.raw") as inner:
                    outer = stack.enter_context(disk_server(tmp, f"unix:{tmp}/outer", "--sandbox", "require", "--reconnect", "60s",
                                                            inner))
                    subprocess.run(["qemu-io", "-f", "raw", outer, "-c", "read -P 7 0 64k"], check=True,
                                   stdout=subprocess.DEVNULL)
                io = stack.enter_context(vmm.start(["qemu-io", "-f", "raw", outer, "-c", "read -P 7 0 64k", "-c", "flush"],
                                                   stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, text=True))
                with disk_server(tmp, listen, "--name", "a b", "d.raw"):
                    said = io.communicate(timeout=60)[0]
                    want(io.returncode == 0 and "read 65536/65536" in said and "fail" not in said, said)
        with open(os.path.join(tmp, "keys"), "w", encoding="utf-8") as f:
            f.write("u:00112233\n")
        with disk_server(tmp, "unix:inner", "--tls-psk", "keys", "d.raw") as inner:
            inner = inner.replace("nbds+unix:///", "nbds+unix://u@/").replace("socket=", f"socket={tmp}/") + f"&tls-psk-file={tmp}/keys"
            status, _, err = atoll("disk", "serve", "--listen", f"unix:{tmp}/outer", "--sandbox", "require", inner)
            want(status == 1 and "a disk is at a server that wants TLS" in err, err)
            with disk_server(tmp, "unix:outer", "--sandbox", "require", "--reconnect", "0s", inner):
                pass


def inherited():
    """What whoever started it left open does not stay open."""
    fd = os.open("/", os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.set_inheritable(fd, True)
        cmd = [vmm.atoll_path(), "run", "-k", TINY, "-a", "spin", "-m", "16M", "--name", "i"]
        with vmm.start(cmd, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, close_fds=False) as p:
            try:
                while os.listdir(f"/proc/{p.pid}/root"):
                    want(p.poll() is None, "the machine does not run")
                    time.sleep(0.05)
                want("/" not in links(p.pid), "an inherited folder is open")
            finally:
                p.send_signal(signal.SIGTERM)
    finally:
        os.close(fd)


def denied():
    """Where users may not make namespaces: said once, or refused."""
    if subprocess.run(["unshare", "-Ur", "true"], check=False).returncode:
        raise RuntimeError("no user namespaces here")
    deny = ["unshare", "-Ur", "sh", "-c", 'echo 0 > /proc/sys/user/max_user_namespaces; exec "$@"', "sh"]
    cmd = [*deny, vmm.atoll_path(), "run", "-k", TINY, "-a", "status=0", "-m", "16M", "--debug-exit"]
    p = vmm.complete(cmd, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False)
    want(p.returncode == 1, f"it does not run: {p}")
    want(p.stderr.count("vm.sandbox") == 1 and "namespaces (make a user namespace: " in p.stderr, p.stderr)
    p = vmm.complete([*cmd, "--sandbox", "require"], stdin=subprocess.DEVNULL, capture_output=True,
                     text=True, check=False)
    want(p.returncode == 1 and "--sandbox require: missing are namespaces (" in p.stderr, f"{p}")


def viewers():
    """What the libraries behind the display do for viewers is allowed: with a wrong password, and with TLS."""
    port = vmm.free_port()
    with tempfile.NamedTemporaryFile("w") as password:
        password.write("secret\n")
        password.flush()
        with Machine("--display", f"vnc=127.0.0.1:{port}", "--vnc-password-file", password.name) as m:
            with socket.create_connection(("127.0.0.1", port)) as s, s.makefile("rwb", 0) as f:
                greet(f, 2)
                f.read(16)
                f.write(bytes(16))  # not what the challenge asks for
                said = f.read(4)
                want(said == b"\0\0\0\1", f"a wrong password: {said}: {m.p.poll() and m.end()}")
            want(m.end()[1] == 128 + signal.SIGTERM, "the end")
    with Machine("--display", f"vnc=127.0.0.1:{port}", "--vnc-tls", "anon") as m:
        with socket.create_connection(("127.0.0.1", port)) as s:
            with s.makefile("rwb", 0) as f:
                greet(f, 19)
                f.read(2)
                f.write(b"\0\2")  # VeNCrypt 0.2
                want(f.read(2) == b"\0\1", "one kind of TLS")
                kind = f.read(4)
                f.write(kind)
                want(f.read(1) == b"\1", "TLS is refused")
            tls = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
            tls.check_hostname, tls.verify_mode = False, ssl.CERT_NONE
            tls.maximum_version = ssl.TLSVersion.TLSv1_2
            tls.set_ciphers("aNULL:@SECLEVEL=0")
            with tls.wrap_socket(s) as inside, inside.makefile("rwb", 0) as f:
                want(f.read(4) == b"\0\0\0\0", "no agreement")
                f.write(b"\1")
                want(len(f.read(24)) == 24, "what the screen is")
        want(m.end()[1] == 128 + signal.SIGTERM, "the end")


def kvm():
    """A machine that began on KVM leaves it and comes back, although it cannot open /dev/kvm any more."""
    needs_all()
    if not os.access("/dev/kvm", os.R_OK | os.W_OK):
        raise RuntimeError("no /dev/kvm here")
    wanted = ["interp", "kvm", "interp"]
    with Machine("--engine-switch", "100ms", "--sandbox", "require", "--name", "k", engine="kvm") as m:
        while wanted:
            want(m.p.poll() is None, "the machine has ended")
            engine = json.loads(atoll("top", "--once", "--json")[1])["machines"][0]["engine"]
            if engine == wanted[0]:
                wanted.pop(0)
        said, ended = m.end()
        want(ended == 128 + signal.SIGTERM, f"status {ended}: {said}")


def greet(f, kind):
    """The beginning of RFB 3.8, with a kind of security."""
    f.write(f.read(12))
    want(kind in f.read(f.read(1)[0]), f"security of kind {kind}")
    f.write(bytes([kind]))


def main():
    tests = [tree, server, lost_server, inherited, denied, viewers, kvm]
    with vmm.own_runtime():
        return vmm.run_tests(sys.argv, {t.__name__: t for t in tests})


if __name__ == "__main__":
    sys.exit(main())
