# SPDX-License-Identifier: GPL-2.0-or-later
"""A VNC viewer that only points."""

import socket
import struct


class Viewer:
    """Connected without a password; `size` is the screen's."""

    def __init__(self, port):
        self.s = socket.create_connection(("127.0.0.1", port))
        self.f = self.s.makefile("rb")
        self.s.sendall(self.f.read(12))
        self.f.read(self.f.read(1)[0])
        self.s.sendall(b"\1")
        self.f.read(4)
        self.s.sendall(b"\1")
        self.size = struct.unpack(">HH16x", self.f.read(20))
        self.f.read(struct.unpack(">I", self.f.read(4))[0])

    def point(self, x, y, mask):
        self.s.sendall(struct.pack(">BBHH", 5, mask, x, y))
