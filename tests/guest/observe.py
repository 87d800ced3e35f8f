#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""Looking at running machines: atoll ps, stats and trace on the tiny guest, the control socket's bounds, what a killed
machine and a killed test leave behind, and the names for perf.

usage: observe.py [NAME]...
"""

import glob
import json
import os
import select
import signal
import socket
import subprocess
import sys
import time

import vmm
from vmm import Failed

TINY = os.environ.get("TINY_GUEST", os.path.join(vmm.ROOT, "build", "tests", "guest", "tiny.elf"))
LIMIT = 60


def want(true, what):
    if not true:
        raise Failed(what)


def atoll(*args):
    """(status, standard output, standard error)"""
    p = vmm.complete([vmm.atoll_path(), *args], stdin=subprocess.DEVNULL, capture_output=True,
                     text=True, timeout=LIMIT, check=False)
    return p.returncode, p.stdout, p.stderr


def ps():
    """{name: what ps tells of it}"""
    status, out, err = atoll("ps", "--json")
    want(status == 0 and not err, f"ps: {status} {err}")
    return {m["name"]: m for m in map(json.loads, out.splitlines())}


class Machine:
    """A machine of the tiny guest that never ends by itself."""

    is_attacked = False

    def __init__(self, *extra, engine=None, words="spin", cpus=1):
        cmd = [vmm.atoll_path(), "run", "-k", TINY, "-a", words, "-m", "16M", "-c", str(cpus),
               "--engine", engine or vmm.engine(), "--debug-exit", *extra]
        self.p = vmm.start(cmd, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
                           stderr=subprocess.PIPE, text=True)
        self.name = extra[extra.index("--name") + 1] if "--name" in extra else str(self.p.pid)
        end = time.monotonic() + LIMIT
        while self.name not in ps():
            if self.p.poll() is not None or time.monotonic() > end:
                self.p.kill()
                raise Failed("the machine is not listed: " + self.p.communicate()[1])
            time.sleep(0.05)

    def __enter__(self):
        return self

    def __exit__(self, kind, *args):
        self.p.kill()
        said = self.p.communicate()[1]
        if not kind and not self.is_attacked:
            vmm.check_confined(said)

    def end(self, sig=signal.SIGTERM):
        self.p.send_signal(sig)
        return self.p.communicate(timeout=LIMIT)[1], self.p.returncode

    def dial(self):
        s = socket.socket(socket.AF_UNIX)  # blocking: waits for a place in the queue
        s.connect(os.path.join(os.environ["ATOLL_RUNTIME_DIR"], self.name + ".sock"))
        s.settimeout(LIMIT)
        return s


def sockets():
    return glob.glob(os.path.join(os.environ["ATOLL_RUNTIME_DIR"], "*.sock"))


def listed():
    with Machine("--name", "web", cpus=2) as m, Machine() as other:
        got = ps()
        want(set(got) == {"web", other.name}, f"ps: {got}")
        web = got["web"]
        want((web["pid"], web["engine"], web["vcpus"], web["memory_bytes"], web["kernel"]) ==
             (m.p.pid, vmm.engine(), 2, 16 << 20, TINY), f"ps: {web}")
        want(atoll("stats")[2] == "atoll stats: several machines are running, name one of "
             f"{other.name}, web\n", "stats without a name")
        status, _, err = atoll("run", "-k", TINY, "--name", "web")
        want((status, err) == (1, "atoll-vm: 'web' is running already\n"), f"second: {err}")
        other.end()
        want(m.name in atoll("ps")[1], "ps as text")
        want(m.end()[1] == 128 + signal.SIGTERM, "status")
    want(not sockets() and not ps(), "sockets remain")


def killed():
    with Machine("--name", "dead") as m:
        m.end(signal.SIGKILL)
        want(len(sockets()) == 1, "a killed machine cannot remove its socket")
        status, _, err = atoll("stats", "dead")
        want((status, err) == (1, "atoll stats: nothing called 'dead' is running\n"), err)
        want(not sockets(), "the dead socket remains")
    # Its name is free again at once, also when nobody has looked meanwhile.
    with Machine("--name", "dead") as m:
        m.end(signal.SIGKILL)
    with Machine("--name", "dead"):
        want("dead" in ps(), "the second one")


def killed_test():
    """A test that is killed leaves no machine behind, and nothing beside one."""
    driver = ("import observe, vmm; vmm.run(vmm.command(observe.TINY, append='spin', extra=['--net', 'user']), observe.LIMIT, "
              "on_line=lambda pid, line: print(pid, flush=True))")
    with vmm.start([sys.executable, "-c", driver], cwd=os.path.dirname(os.path.realpath(__file__)), stdin=subprocess.DEVNULL,
                   stdout=subprocess.PIPE, text=True) as p:
        machine = int(p.stdout.readline())
        with open(f"/proc/{machine}/task/{machine}/children", encoding="ascii") as f:
            ids = [machine, *map(int, f.read().split())]
        want(len(ids) == 3, f"the machine, and what is beside it: {ids}")
        ends = [os.pidfd_open(pid) for pid in ids]
        p.kill()
        for pid, end in zip(ids, ends):
            want(select.select([end], [], [], LIMIT)[0], f"process {pid} goes on without its test")
            os.close(end)


def live_stats():
    with Machine("--name", "s") as m:
        first, second = (json.loads(atoll("stats", "--json", "s")[1]) for _ in range(2))
        want(second["host_ns"] > first["host_ns"] and second["engine"] == vmm.engine(), "JSON")
        want(set(first["cpu"]) == set(second["cpu"]) and "tlb_misses_read" in first["cpu"], "names")
        text = atoll("stats")[1]
        want("\nevents\n" in text and "engine " + vmm.engine() in text, text)
        p = subprocess.run(["timeout", "2", vmm.atoll_path(), "stats", "-w", "-i", "300ms"],
                           capture_output=True, text=True, check=False)
        want(p.stdout.count("\nevents\n") >= 3 and "/s  " in p.stdout, "watch: " + p.stdout)
        want("time of the vCPUs' threads" in p.stdout, "samples: " + p.stdout)
        err, _ = m.end()
        want(err == "", f"the machine said {err}")


def top():
    """What two machines cost: one computes, one is paused."""
    with Machine("--name", "busy") as busy, Machine("--name", "idle") as idle:
        want(atoll("pause", "idle")[0] == 0, "pause")
        p = subprocess.run(["timeout", "3", vmm.atoll_path(), "top", "--json", "-i", "500ms"],
                           capture_output=True, text=True, check=False)
        looks = [{m["name"]: m for m in json.loads(line)["machines"]} for line in p.stdout.splitlines()]
        want(len(looks) >= 2 and not p.stderr, f"top: {p}")
        first, last = looks[0], looks[-1]
        want(set(last) == {"busy", "idle"} and last["busy"]["pid"] == busy.p.pid, f"top: {last}")
        want(last["busy"]["cpu_ns"] > first["busy"]["cpu_ns"], f"CPU time: {first} {last}")
        want(last["idle"]["cpu_permille"] * 2 < last["busy"]["cpu_permille"], f"CPU: {last}")
        for m in last.values():
            want((m["memory_bytes"], m["engine"]) == (16 << 20, vmm.engine()), f"top: {m}")
            want(0 < m["real_bytes"] < 256 << 20, f"memory: {m}")
        want((last["idle"]["state"], last["busy"]["state"]) == ("paused", "running"), f"top: {last}")
        status, text, err = atoll("top", "--once")
        want(status == 0 and not err and "2 machines: " in text, text + err)
        idle.end()


def hostile_clients():
    with Machine("--name", "h") as m:
        # More of them than are served, half-sent requests, one that does not read its answers.
        crowd = [m.dial() for _ in range(20)]
        for s in crowd[:4]:
            s.sendall(b'{"do":')
        greedy = crowd[4]
        greedy.setblocking(False)
        try:
            while True:
                greedy.send(b'{"do":"stats"}\n' * 200)
        except BlockingIOError:
            pass
        endless = crowd[5]
        try:
            endless.sendall(b"x" * 100000)
        except OSError:
            pass
        for s in crowd:
            s.close()
        s = m.dial()
        s.sendall(b'{"do":"stats"}\n{"do":"nothing"}\n[1]\n{"do":"info"}\n')
        answers = b""
        while answers.count(b"\n") < 4:
            part = s.recv(65536)
            want(part, f"closed: {answers}")
            answers += part
        kinds = [list(json.loads(a))[0] for a in answers.splitlines()]
        want(kinds == ["ok", "error", "error", "ok"], f"answers: {answers}")
        s.close()
        want(m.p.poll() is None, "the machine ended")
        with open(f"/proc/{m.p.pid}/status", encoding="ascii") as f:
            rss_kb = int(f.read().split("VmRSS:")[1].split()[0])
        want(rss_kb < 300000, f"{rss_kb} KiB")


def trace():
    status, _, err = atoll("trace", "-k", TINY, "-a", "hello", "--debug-exit", "--json", "--top", "1000")
    want(status == 0x2a << 1 | 1, f"status {status}: {err}")
    got = json.loads(err)
    want(got["nr_blocks"] > 10 and got["insns_executed"] > 100 and got["nr_left_out"] == 0, err[:300])
    insns = [i for b in got["blocks"] for i in b["insns"]]
    want(any(i["class"] == "privileged" and i["text"].startswith("out") for i in insns), "no OUT")
    want(all(i["host"] for b in got["blocks"] for i in b["insns"] if i["class"] != "innocuous"),
         "no host code beside an instruction")
    status, _, err = atoll("trace", "-k", TINY, "-a", "hello", "--debug-exit", "--top", "2")
    want(err.count("\n#") == 2 and " | " in err, err)
    with Machine("--name", "t", engine="dbt"):
        status, out, err = atoll("trace", "t", "--for", "300ms", "--top", "1")
        want(status == 0 and "\n#1  0x" in out and " times" in out, out + err)
        code = json.loads(atoll("stats", "--json", "t")[1])["code_cache"]
        want("insns" not in code, "counting goes on after its client")
    with Machine("--name", "i", engine="interp"):
        status, out, err = atoll("trace", "i")
        want((status, out) == (1, "") and "only 'dbt' does" in err, err)


def perf_map():
    with Machine("--perf-map", engine="dbt") as m:
        path = f"/tmp/perf-{m.p.pid}.map"
        end = time.monotonic() + LIMIT
        while not os.path.exists(path) and time.monotonic() < end:
            time.sleep(0.05)
        time.sleep(0.1)
        with open(path, encoding="ascii") as f:
            lines = f.read().splitlines()
        os.unlink(path)
        want(lines and all(len(line.split()) == 3 and line.split()[2].startswith("guest_")
                           for line in lines), f"{lines[:3]}")


def engine_switch():
    cmd = [vmm.atoll_path(), "run", "-k", TINY, "-a", "ports", "--debug-exit", "-e", "interp",
           "--engine-switch", "5ms"]
    p = vmm.complete(cmd, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=LIMIT,
                     check=False)
    want(p.returncode == 1, f"status {p.returncode}: {p.stderr}")


def main():
    tests = [listed, killed, killed_test, live_stats, top, hostile_clients, trace, perf_map, engine_switch]
    if sys.argv[1:]:
        tests = [t for t in tests if t.__name__ in sys.argv[1:]]
    why = "they are Atoll's" if vmm.is_qemu() else vmm.missing()
    if why:
        print(f"1..0 # SKIP {why}")
        return 0
    print(f"1..{len(tests)}", flush=True)
    failed = 0
    for n, test in enumerate(tests, 1):
        with vmm.own_runtime():
            try:
                test()
                print(f"ok {n} - {test.__name__}", flush=True)
            except (Failed, OSError, ValueError, subprocess.TimeoutExpired) as e:
                failed += 1
                print(f"not ok {n} - {test.__name__}")
                for line in str(e).splitlines():
                    print(f"# {line}")
                sys.stdout.flush()
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
