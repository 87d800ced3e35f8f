#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""How a machine ends, and that nothing a guest, a file or a command line says ends it by a crash.

usage: exit_status.py [NAME]...

TINY_GUEST names the guest of tests/guest/tiny/. A hostile file or argument must be refused with
status 1 and a sentence that says what was wrong, within seconds.
"""

import os
import random
import subprocess
import sys
import tempfile

import vmm

TINY = os.environ.get("TINY_GUEST", os.path.join(vmm.ROOT, "build", "tests", "guest", "tiny.elf"))
LIMIT = 60
BIG_FILE = None
SEED = int(os.environ.get("SEED", "1"))


def tiny(words, until=None, no_reboot=True, limit=LIMIT, **kw):
    cmd = vmm.command(TINY, append=words, memory=kw.pop("memory", "64M"), debug_exit=True, **kw)
    if not no_reboot:
        cmd = [c for c in cmd if c not in ("--no-reboot", "-no-reboot")]
    return vmm.run(cmd, limit, until=until)


def expect(r, status, pattern=None):
    if r.timed_out:
        return r, "did not end"
    if r.status != status:
        return r, f"status {r.status}, not {status}"
    if pattern and not r.find(pattern):
        return r, f"nothing printed matches '{pattern}'"
    return r, None


def tiny_tests():
    tests = {
        "hello": lambda: expect(tiny("hello"), 0x2a << 1 | 1, r"^tiny: .*hello"),
        "debug-exit-0": lambda: expect(tiny("status=0"), 1),
        "debug-exit-1": lambda: expect(tiny("status=1"), 3),
        "debug-exit-127": lambda: expect(tiny("status=127"), 255),
        "poweroff": lambda: expect(tiny("poweroff"), 0),
        "smp-hello": lambda: expect(tiny("hello", cpus=4), 0x2a << 1 | 1),
        "ports": lambda: expect(tiny("ports", limit=300), 1, "tiny: ports done"),
        "mmio": lambda: expect(tiny("mmio", limit=300), 1, "tiny: mmio done"),
        "pci": lambda: expect(tiny("pci", limit=300), 1, "tiny: pci done"),
    }
    if not vmm.is_qemu():
        tests.update({
            "triple-fault": lambda: expect(tiny("triple"), 1, r"(?i)triple fault"),
            "reset-no-reboot": lambda: expect(tiny("reset"), 0),
            "reset-reboots": reboots,
            "stopped": stopped,
        })
    return tests


def reboots():
    """Without --no-reboot a reset starts the guest again: its greeting comes more than once."""
    r = tiny("reset", no_reboot=False, limit=20, until=None)
    n = len(r.find_all(r"^tiny: .*reset"))
    return r, None if r.timed_out and n >= 3 else f"the guest greeted {n} times, and should go on"


def stopped():
    """SIGTERM ends a machine whose guest does not."""
    cmd = vmm.command(TINY, append="spin", memory="64M")
    p = vmm.start(cmd, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                  stderr=subprocess.STDOUT, text=True)
    r = vmm.Run(cmd)
    r.lines.append((0, p.stdout.readline().rstrip()))
    p.terminate()
    try:
        out, _ = p.communicate(timeout=10)
        r.lines += [(0, line) for line in out.splitlines()]
        r.status = p.returncode
    except subprocess.TimeoutExpired:
        p.kill()
        p.wait()
        return r, "SIGTERM does not end it"
    return r, None if "spin" in r.lines[0][1] else "the guest said nothing"


def refused(args, pattern=r"\w+ \w+"):
    """A command line that must be refused: status 1, and a sentence on standard error."""
    cmd = [vmm.atoll_path(), "run", *args]
    r = vmm.run(cmd, 20)
    if r.status == 1 and not any(line.strip() for _, line in r.lines):
        return r, "refused without a word"
    return expect(r, 1, pattern)


def big_file():
    """A sparse file of 8 MiB that lives as long as this process."""
    global BIG_FILE
    BIG_FILE = tempfile.NamedTemporaryFile(prefix="initrd-")
    BIG_FILE.truncate(8 << 20)
    return BIG_FILE.name


def argument_tests():
    ok = ["--kernel", TINY]
    cases = {
        "no-kernel": ([], r"kernel"),
        "kernel-not-there": (["--kernel", "/nonexistent/vmlinuz"], r"/nonexistent/vmlinuz"),
        "kernel-is-a-directory": (["--kernel", "/"], r"'?/'?"),
        "kernel-is-empty": (["--kernel", "/dev/null"], r"/dev/null"),
        "initrd-not-there": (ok + ["--initrd", "/nonexistent/initrd"], r"/nonexistent/initrd"),
        "memory-0": (ok + ["--memory", "0"], r"memory"),
        "memory-word": (ok + ["--memory", "lots"], r"memory"),
        "memory-negative": (ok + ["--memory", "-5M"], r"memory"),
        "memory-overflow": (ok + ["--memory", "99999999999999999999G"], r"memory"),
        "memory-huge": (ok + ["--memory", "1000000G"], r"memory"),
        "cpus-0": (ok + ["--cpus", "0"], r"cpus"),
        "cpus-65": (ok + ["--cpus", "65"], r"cpus"),
        "cpu-model": (ok + ["--cpu", "no-such-model"], r"no-such-model"),
        "cpu-feature": (ok + ["--cpu", "baseline,+no-such-feature"], r"no-such-feature"),
        "engine": (ok + ["--engine", "steam"], r"steam"),
        "serial": (ok + ["--serial", "carrier-pigeon:7"], r"carrier-pigeon"),
        "clipboard": (ok + ["--display", "vga", "--clipboard", "on"], r"--clipboard on without"),
        "clipboard-and-consoles": (ok + ["--display", "vnc=127.0.0.1:0", "--clipboard", "on"] + ["--console", "none"] * 8,
                                   r"at most 7"),
        "gdb-port": (ok + ["--gdb", "70000"], r"gdb"),
        "unknown-option": (ok + ["--kernal", "x"], r"kernal"),
        "long-command-line": (ok + ["--append", "x" * 100000], r"command line|append"),
        "initrd-larger-than-memory": (ok + ["--memory", "4M", "--initrd", big_file()],
                                      r"memory|fit|room|large"),
    }
    return {"refuse-" + name: (lambda a=a, p=p: refused(a, p)) for name, (a, p) in cases.items()}


def hostile_kernels():
    """Truncated and damaged kernels: each run is refused or starts some guest, but never crashes."""
    rng = random.Random(SEED)
    sources = [TINY]
    try:
        sources.append(vmm.script("fetch-kernel.sh", "cloud"))
    except RuntimeError as e:
        print(f"# only the tiny guest is damaged: {e}")
    print(f"# SEED={SEED}")
    with tempfile.TemporaryDirectory() as tmp:
        path = os.path.join(tmp, "kernel")
        for source in sources:
            with open(source, "rb") as f:
                good = f.read()
            sizes = [0, 1, 2, 16, 51, 52, 63, 64, 511, 512, 0x202, 0x206, 0x250, 1024, 4095, 4096,
                     len(good) // 2, len(good) - 1]
            cases = [(f"cut to {n}", good[:n]) for n in sizes if n < len(good)]
            for i in range(60):
                bad = bytearray(good)
                # The headers: of ELF and multiboot at the start, of bzImage at 0x1f1.
                span = 0x300 if i % 2 else 0x80
                for _ in range(rng.randint(1, 8)):
                    bad[rng.randrange(span)] = rng.choice([0, 1, 0x7f, 0x80, 0xff, rng.randrange(256)])
                cases.append((f"damage {i}", bytes(bad)))
            for name, data in cases:
                with open(path, "wb") as f:
                    f.write(data)
                cmd = vmm.command(path, append="hello", memory="64M", debug_exit=True)
                r = vmm.run(cmd, 2)
                if not r.timed_out and (r.status is None or r.status < 0 or
                                        (r.status == 1 and not r.lines)):
                    return r, f"{os.path.basename(source)}, {name}: crashed or said nothing"
                if r.find(r"AddressSanitizer|runtime error"):
                    return r, f"{os.path.basename(source)}, {name}: sanitizer"
    return r, None


def main(argv):
    tests = tiny_tests()
    if not vmm.is_qemu():
        tests.update(argument_tests())
        tests["hostile-kernels"] = hostile_kernels
    return vmm.run_tests(argv, tests, None if os.path.exists(TINY) else f"{TINY} is not built")


if __name__ == "__main__":
    sys.exit(main(sys.argv))
