#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""What machines cost beside each other, and how the figures of docs/promises.md came out.

usage: densitybench.py [--runs N] [--machines N] [--tap]

Ten machines with Debian from its disk (what `atoll image build` makes), of 512 MiB each, are started, and looked at when all
have come to their prompt and are idle: with --merge and free pages reported, after the kernel has looked at all their memory three
times; and with neither. What counts is PSS of each machine's process, so what several have counts once. Then one guest fills
300 MiB and frees them, and the clock runs until the host has 90 % of that back. Needs root, to switch KSM on; it is left as it
was. --tap says whether the promises are kept, and ends with status 1 when one is broken.
"""

import argparse
import contextlib
import os
import re
import selectors
import subprocess
import sys
import tempfile
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.realpath(__file__)), "..", "guest"))
import figures  # noqa: E402  (the path must be set first)
import virtio  # noqa: E402
import vmm  # noqa: E402

LIMIT_S = 600
SETTLE_S = 20
AT_ONCE = 2
SCANS = 3
KSM = "/sys/kernel/mm/ksm/"
FAST = {"pages_to_scan": "20000", "sleep_millisecs": "10", "run": "1"}
FREED_MIB = 300
BACK_LIMIT_S = 30


def pss_mib(pid):
    with open(f"/proc/{pid}/smaps_rollup", encoding="ascii") as f:
        return int(re.search(r"^Pss:\s+(\d+) kB", f.read(), re.M)[1]) / 1024


def ksm(name):
    with open(KSM + name, encoding="ascii") as f:
        return f.read().strip()


def ksm_set(name, value):
    with open(KSM + name, "w", encoding="ascii") as f:
        f.write(value)


@contextlib.contextmanager
def merging():
    old = {name: ksm(name) for name in FAST}
    try:
        for name, value in FAST.items():
            ksm_set(name, value)
        yield
    finally:
        for name, value in old.items():
            ksm_set(name, value)


@contextlib.contextmanager
def killed(processes):
    try:
        yield
    finally:
        for p in processes:
            p.kill()
            p.communicate()


def start_all(processes, machines, image, folder, options):
    """The machines, which `processes` gets, started a few at a time; all come to their prompts."""
    end, booting, names = time.monotonic() + LIMIT_S, {}, iter(range(machines))
    with selectors.DefaultSelector() as sel:
        def start():
            n = next(names, None)
            if n is None:
                return
            disk = os.path.join(folder, f"{n}.qcow2")
            subprocess.run([vmm.atoll_path(), "disk", "create", "-b", image, "-F", "qcow2", disk], check=True)
            p = vmm.start([vmm.atoll_path(), "run", "--disk", disk, "--net", "user", "-m", "512M", "-e", "dbt", *options],
                          stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
            processes.append(p)
            booting[p] = b""
            sel.register(p.stdout, selectors.EVENT_READ, p)

        for _ in range(AT_ONCE):
            start()
        while booting:
            if time.monotonic() > end:
                raise vmm.Failed("not every machine came to its prompt")
            for key, _ in sel.select(1):
                p, data = key.data, os.read(key.fd, 65536)
                if not data:
                    raise vmm.Failed(f"a machine ended: {booting[p][-200:]!r}")
                booting[p] = booting[p][-200:] + data
                if b"login:" in booting[p]:
                    sel.unregister(p.stdout)
                    del booting[p]
                    start()


def wait_for_scans():
    last = int(ksm("full_scans")) + SCANS
    end = time.monotonic() + LIMIT_S
    while int(ksm("full_scans")) < last:
        if time.monotonic() > end:
            raise vmm.Failed("the kernel does not come to the end of the memory")
        time.sleep(1)


def cost_mib(machines, image, merged):
    """PSS of all the machines together."""
    with vmm.own_runtime(), tempfile.TemporaryDirectory(prefix="densitybench-") as folder:
        processes = []
        with killed(processes):
            start_all(processes, machines, image, folder, ["--merge", "on"] if merged else ["--balloon", "off"])
            time.sleep(SETTLE_S)
            if merged:
                wait_for_scans()
            return sum(pss_mib(p.pid) for p in processes)


def back_s():
    """Seconds until the host has back what a guest freed."""
    took = []

    def watch(pid, line):
        if line != "guest-freed":
            return
        began, before = time.monotonic(), pss_mib(pid)
        while time.monotonic() < began + BACK_LIMIT_S:
            if pss_mib(pid) < before - 0.9 * FREED_MIB:
                took.append(time.monotonic() - began)
                return
            time.sleep(0.05)

    virtio.guest(["virtio_balloon"], f"""
mkdir -p /full && mount -t tmpfs -o size=400m none /full || fail mount
dd if=/dev/urandom of=/full/file bs=1M count={FREED_MIB} 2>/dev/null || fail fill
rm /full/file
echo guest-freed
sleep {BACK_LIMIT_S}
""", [], memory="512M", on_line=watch)
    if not took:
        raise vmm.Failed(f"what the guest freed did not come back in {BACK_LIMIT_S} s")
    return took[0]


def main():
    parser = argparse.ArgumentParser(usage=__doc__)
    parser.add_argument("--runs", type=int, default=1)
    parser.add_argument("--machines", type=int, default=10)
    parser.add_argument("--tap", action="store_true")
    o = parser.parse_args()
    os.environ["ATOLL_ENGINE"] = "dbt"  # of virtio.guest(), too
    image = vmm.script("mkimage.sh")
    found = []
    try:
        for _ in range(o.runs):
            plain = cost_mib(o.machines, image, False)
            with merging():
                dense = cost_mib(o.machines, image, True)
            back = back_s()
            print(f"# {o.machines} machines: {plain:.0f} MiB, merged {dense:.0f} MiB; {FREED_MIB} MiB that a guest frees are back "
                  f"after {back:.1f} s", flush=True)
            found.append({"merged": 100 * (1 - dense / plain), "give-back-s": back})
    except (vmm.Failed, OSError, subprocess.SubprocessError) as e:
        sys.exit(f"densitybench.py: {e}")
    return figures.judge(figures.read_section("Density"), found, vmm.Tap() if o.tap else None)


if __name__ == "__main__":
    sys.exit(main())
