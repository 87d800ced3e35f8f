# SPDX-License-Identifier: GPL-2.0-or-later
"""Processes of a test that end when the test does, however that ends: by itself, by Ctrl-C, by a time limit's kill -9.

The kernel kills them (PR_SET_PDEATHSIG) once the thread that started them is no more, so a thread which starts one has to
wait for it. What such a process starts in turn is its own affair: machines tie their helpers to themselves, and a
program that calls another one in its place (env, unshare without --fork) stays tied. tests/lint has a rule that
no test starts a process in the background in another way.
"""

import ctypes
import os
import signal
import subprocess

PR_SET_PDEATHSIG = 1
LIBC = ctypes.CDLL(None, use_errno=True)


def tie(parent):
    """In the new process, before it becomes another program. @parent: who started it, and may have ended meanwhile."""
    if LIBC.prctl(PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0) < 0:
        raise OSError(ctypes.get_errno(), "prctl")
    if os.getppid() != parent:
        os.kill(os.getpid(), signal.SIGKILL)


def start(cmd, **options):
    """As subprocess.Popen."""
    parent = os.getpid()
    return subprocess.Popen(cmd, preexec_fn=lambda: tie(parent), **options)


def complete(cmd, **options):
    """As subprocess.run: for machines, and for drivers that start some."""
    parent = os.getpid()
    return subprocess.run(cmd, preexec_fn=lambda: tie(parent), **options)
