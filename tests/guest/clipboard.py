#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""A Debian guest with an X server and SPICE's agent, and viewers that copy and paste.

usage: clipboard.py
"""

import os
import sys
import tempfile

import debian
import vmm
from viewer import Viewer
from vmm import Failed

LIMIT = 240
TEXTS = {
    "short": "Grüße aus dem Gast, 5 €\nzweite Zeile",
    "long": "".join(f"{n} äöü €\n" for n in range(20000)),
}
LATIN1 = "Grüße\nvom Betrachter"
UTF8 = "€ und 日本\nvom zweiten Betrachter"
LARGE = "".join(f"{n} Zeichen ß €\n" for n in range(15000))

GUEST = """
fail() { echo "guest-failed: $*"; cat /tmp/*.log; exit 1; }
wait_for() { i=0; until eval "$1"; do i=$((i + 1)); [ $i -lt 300 ] || fail "$1"; sleep 0.1; done; }
while read -r m; do insmod /modules/$m; done </modules/order
wait_for 'grep -q spice /sys/class/virtio-ports/*/name'
# What udev would do.
mkdir -p /dev/virtio-ports /run/spice-vdagentd /tmp/.X11-unix
port=$(grep -l com.redhat.spice.0 /sys/class/virtio-ports/*/name)
port=$(basename "$(dirname "$port")")
ln -s ../$port /dev/virtio-ports/com.redhat.spice.0
export DISPLAY=:0 NO_AT_BRIDGE=1 G_MESSAGES_DEBUG=
Xvfb :0 -screen 0 640x480x24 >/tmp/x.log 2>&1 &
wait_for '[ -S /tmp/.X11-unix/X0 ]'
touch /tmp/uinput
start_daemon() {
	rm -f /run/spice-vdagentd/*
	spice-vdagentd -x -X -d -d -f -u /tmp/uinput >/tmp/daemon.log 2>&1 &
	daemon=$!
	wait_for '[ -S /run/spice-vdagentd/spice-vdagent-sock ]'
	spice-vdagent -x -d >/tmp/agent.log 2>&1 &
	agent=$!
	# It says so before it listens to X, so that what is copied from now on is seen.
	wait_for 'grep -q "received version" /tmp/agent.log && grep -q "Set max clipboard" /tmp/daemon.log'
}
start_daemon
copy() { xclip -selection clipboard -i "/$1.txt" >/dev/null 2>&1; }
# Whatever is in the clipboard before; an X client that gives nothing must not hold us.
pasted() { timeout 5 xclip -selection clipboard -o 2>/dev/null | cmp -s - "/$1.txt"; }
want() { wait_for "pasted $1"; echo guest-ok: $1; }
echo guest-ready
# Each text is answered by one: two that follow each other at once may be one for the agent.
copy short
echo guest-copied short
want latin1
copy long
echo guest-copied long
want utf8
echo guest-wants large
want large
# Another daemon: the port is closed and opened, and what a viewer had copied is offered again.
kill $agent $daemon
wait $agent $daemon
xclip -selection clipboard -i /dev/null
start_daemon
want large
copy short
echo guest-copied again
want latin1
echo guest-done
"""


def make(tmp):
    """The command of a machine; its files are in the folder `tmp`."""
    tar = debian.tree("clipboard", "kmod", "spice-vdagent", "xclip", "xvfb")
    kernel = vmm.script("fetch-kernel.sh", "generic")
    texts = {"init": debian.INIT % "sh /run.sh", "run.sh": GUEST, "latin1.txt": LATIN1, "utf8.txt": UTF8,
             "large.txt": LARGE, **{f"{name}.txt": text for name, text in TEXTS.items()}}
    modules = os.path.join(tmp, "modules")
    vmm.script("kernel-modules.py", "generic", modules, "virtio_pci", "virtio_console")
    initrd = debian.pack(os.path.join(tmp, "initrd"), tar, texts, {"modules": modules})
    return vmm.command(kernel, initrd, "console=ttyS0 quiet panic=-1", memory="3G",
                       extra=["--name", "first", "--clipboard", "on"])


class Users:
    """What the viewers' users do when the guest says something."""

    def __init__(self, port):
        self.port, self.viewers, self.wrong = port, [], None

    def join(self):
        self.viewers = [Viewer(self.port, utf8) for utf8 in (False, True)]

    def expect(self, text):
        want = [text.encode("latin-1", "replace").decode("latin-1"), text]
        got = [v.pasted() for v in self.viewers]
        if got != want:
            raise OSError(f"pasted is {[t[:40] for t in got]} of {[len(t) for t in got]} characters")

    def heard(self, line):
        if line == "guest-ready":
            self.join()
        elif line in ("guest-copied short", "guest-copied again"):
            self.expect(TEXTS["short"])
            self.viewers[0].cut(LATIN1)
        elif line == "guest-copied long":
            self.expect(TEXTS["long"])
            self.viewers[1].cut(UTF8)
        elif line == "guest-wants large":
            self.viewers[1].cut(LARGE)

    def act(self, _pid, line):
        try:
            if not self.wrong:
                self.heard(line)
        except OSError as e:
            self.wrong = f"at '{line}': {e}"

    def run(self, cmd):
        r = vmm.run([*cmd, "--display", f"vnc=127.0.0.1:{self.port}"], LIMIT, on_line=self.act)
        wrong = self.wrong
        if not wrong and (r.find(debian.COMPLAINTS) or r.find("^guest-failed") or r.timed_out):
            wrong = "the guest did not end well"
        if wrong:
            r.report(wrong)
            raise Failed(wrong)
        return r


def clipboard():
    """Texts go from the guest to all viewers, and from viewers to the guest, also when the agent starts anew."""
    with tempfile.TemporaryDirectory(prefix="clipboard-") as tmp:
        r = Users(vmm.free_port()).run(make(tmp))
        if r.status != 0 or not r.find("^guest-done"):
            r.report("the guest did not end well")
            raise Failed(f"status {r.status}")


if __name__ == "__main__":
    with vmm.own_runtime():
        sys.exit(vmm.run_tests(sys.argv, {"clipboard": clipboard}))
