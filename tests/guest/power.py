#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""The buttons of a running machine: stop, reset, pause, resume.

usage: power.py [NAME]...
"""

import json
import os
import subprocess
import sys
import threading
import time

import observe
import pc
import vmm
from observe import Failed, Machine, atoll, ps, want

LIMIT = 60


def ended(m, status):
    try:
        got = m.p.wait(timeout=LIMIT)
    except subprocess.TimeoutExpired:
        raise Failed("it did not end") from None
    want(got == status, f"the machine's status is {got}, not {status}")


def forced():
    with Machine("--name", "m") as m:
        status, out, err = atoll("stop", "--force", "--json", "m")
        want(m.p.poll() is not None, "it was told to have ended before it had")
        want((status, err) == (0, "") and
             json.loads(out) == {"name": "m", "state": "off", "forced": True}, (status, out, err))
        ended(m, 0)


def ignored():
    """A guest that does not know of its power button."""
    with Machine("--name", "m") as m:
        status, out, err = atoll("stop", "--timeout", "300ms", "m")
        want((status, out) == (2, "") and "still running" in err and "--force" in err, (status, out, err))
        want("m" in ps(), "it has ended")
        status, out, err = atoll("stop", "--timeout", "300ms", "--force", "m")
        want((status, out, err) == (0, "", ""), (status, out, err))
        ended(m, 0)


def reset():
    with Machine("--name", "m") as m:
        for n in range(1, 4):
            status, out, err = atoll("reset", "--json", "m")
            want((status, err) == (0, "") and json.loads(out) == {"name": "m", "state": "running"},
                 (status, out, err))
            end = time.monotonic() + LIMIT
            while ps()["m"]["resets"] < n:
                want(time.monotonic() < end, "it was not reset")
                time.sleep(0.02)
        m.end()
    with Machine("--name", "m", "--no-reboot") as m:
        want(atoll("reset", "m") == (0, "", ""), "reset with --no-reboot")
        ended(m, 0)


def runs(name):
    """Whether its vCPU has been given processor time between two looks."""
    def ticks():
        with open(f"/proc/{ps()[name]['pid']}/stat", encoding="ascii") as f:
            return int(f.read().rsplit(")", 1)[1].split()[11])
    first, end = ticks(), time.monotonic() + 2
    while time.monotonic() < end:
        if ticks() > first + 10:
            return True
        time.sleep(0.02)
    return False


def pause():
    with Machine("--name", "m", cpus=2) as m:
        want(runs("m"), "it does not run")
        status, out, err = atoll("pause", "--json", "m")
        want((status, err) == (0, "") and json.loads(out) == {"name": "m", "state": "paused"}, (status, out, err))
        want(ps()["m"]["state"] == "paused" and "paused" in atoll("ps")[1], "ps")
        want(not runs("m"), "it runs while it is paused")
        want(atoll("pause", "m") == (1, "", "atoll pause: it is paused already\n"), "twice")
        status, _, err = atoll("stop", "m")
        want(status == 1 and "resume it first" in err, err)
        # A reset and an end work without a resume.
        want(atoll("reset", "m")[0] == 0, "reset")
        want(not runs("m"), "a reset lets it go on")
        want(atoll("resume", "m") == (0, "", ""), "resume")
        want(runs("m"), "it does not run again")
        want(atoll("resume", "m") == (1, "", "atoll resume: it is not paused\n"), "resume twice")
        want(atoll("pause", "m")[0] == 0 and atoll("stop", "-f", "m")[0] == 0, "stop of a paused one")
        ended(m, 0)


def cpus():
    """What a guest that knows nothing of it cannot notice: the number, its limits, and a reset."""
    with Machine("--name", "m", "--max-cpus", "3") as m:
        want(atoll("cpus", "m") == (0, "1 of 3\n", ""), "look")
        status, out, err = atoll("cpus", "--json", "m", "3")
        want((status, err) == (0, "") and json.loads(out) == {"vcpus": 3, "vcpus_max": 3}, (status, out, err))
        want((ps()["m"]["vcpus"], ps()["m"]["vcpus_max"]) == (3, 3), "ps")
        status, _, err = atoll("cpus", "m", "4")
        want(status == 1 and "from 1 to 3 are possible" in err, err)
        want(atoll("cpus", "m", "0")[0] == 1, "none at all")
        want(atoll("cpus", "m", "1")[1] == "3 of 3\n", "it does not let go")
        want(atoll("reset", "m")[0] == 0, "reset")
        end = time.monotonic() + LIMIT
        while ps()["m"]["vcpus"] != 1:
            want(time.monotonic() < end, "a reset does not give the number of the start again")
            time.sleep(0.02)
        want(runs("m"), "it does not run after the reset")
        m.end()
    status, _, err = atoll("run", "-k", observe.TINY, "--cpus", "4", "--max-cpus", "2")
    want(status == 1 and "from the 4 of the start" in err, err)


def nobody():
    for cmd in ("stop", "reset", "pause", "resume", "cpus"):
        want(atoll(cmd, "nobody") == (1, "", f"atoll {cmd}: nothing called 'nobody' is running\n"), cmd)


def button():
    """Linux notices the button, powers off, and then `stop` comes back."""
    said = []

    def act(_pid, line):
        if line == "guest-listens":
            threading.Thread(target=lambda: said.append(atoll("stop", "--json", "pc"))).start()

    r = pc.guest("cloud", ["button", "evdev"], """
device=$(grep -l "Power Button" /sys/class/input/event*/device/name | sed 's,/sys/class/input/,,; s,/.*,,')
[ "$device" ] || fail no power button
exec 3</dev/input/$device
echo guest-listens
want key "$(head -c 24 <&3 | hexdump -v -e '24/1 "%02x" "\\n"' | cut -c 33-)" 0100740001000000
""", on_line=act)
    pc.ended_well(r)
    want(r.find("guest-ok: key"), "no event of the button")
    end = time.monotonic() + LIMIT
    while not said and time.monotonic() < end:
        time.sleep(0.02)
    want(said and said[0][0] == 0 and json.loads(said[0][1]) == {"name": "pc", "state": "off", "forced": False}, said)


TESTS = {
    "forced": forced,
    "ignored": ignored,
    "reset": reset,
    "pause": pause,
    "cpus": cpus,
    "nobody": nobody,
    "button": button,
}


if __name__ == "__main__":
    with vmm.own_runtime():
        sys.exit(vmm.run_tests(sys.argv, TESTS, None if os.path.exists(observe.TINY) else f"{observe.TINY} is not built"))
