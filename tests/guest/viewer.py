# SPDX-License-Identifier: GPL-2.0-or-later
"""A VNC viewer that points, cuts and pastes, and looks at nothing."""

import socket
import struct
import zlib

RAW, EXTENDED_CLIPBOARD = 0, 0xc0a1e5ce
# Of the extended clipboard: a format, and what a message does with it.
TEXT, CAPS, REQUEST, PEEK, NOTIFY, PROVIDE = 1, 1 << 24, 1 << 25, 1 << 26, 1 << 27, 1 << 28


class Viewer:
    """Connected without a password; `size` is the screen's. With `utf8` it knows the extended clipboard."""

    def __init__(self, port, utf8=None, limit_s=60):
        self.s = socket.create_connection(("127.0.0.1", port))
        self.s.settimeout(limit_s)
        self.f = self.s.makefile("rb")
        self.s.sendall(self.f.read(12))
        self.f.read(self.f.read(1)[0])
        self.s.sendall(b"\1")
        self.f.read(4)
        self.s.sendall(b"\1")
        self.size = struct.unpack(">HH16x", self.f.read(20))
        self.f.read(struct.unpack(">I", self.f.read(4))[0])
        self.utf8 = utf8
        if utf8 is not None:
            known = [RAW, EXTENDED_CLIPBOARD] if utf8 else [RAW]
            self.s.sendall(struct.pack(f">BxH{len(known)}I", 2, len(known), *known))
        if utf8:
            # We say what we can when the server has; it may send us texts of any size.
            n, flags = self._cut_head()
            assert n == 8 and flags & CAPS, (n, hex(flags))
            self.f.read(4)
            self._extended(struct.pack(">II", CAPS | REQUEST | PEEK | NOTIFY | PROVIDE | TEXT, 1 << 24))

    def point(self, x, y, mask):
        self.s.sendall(struct.pack(">BBHH", 5, mask, x, y))

    def _extended(self, data):
        self.s.sendall(struct.pack(">Bxxxi", 6, -len(data)) + data)

    def _cut_head(self):
        """(length, flags) of the next message, which must be about a clipboard; flags: None for a plain one."""
        head = self.f.read(8)
        if len(head) < 8:
            raise OSError("the server has gone")
        kind, n = struct.unpack(">Bxxxi", head)
        if kind != 3:
            raise OSError(f"a message of type {kind}")
        return (n, None) if n >= 0 else (-n, struct.unpack(">I", self.f.read(4))[0])

    def cut(self, text):
        """The viewer's user has copied this."""
        if self.utf8:
            data = text.replace("\n", "\r\n").encode() + b"\0"
            z = zlib.compressobj()
            packed = z.compress(struct.pack(">I", len(data)) + data) + z.flush(zlib.Z_SYNC_FLUSH)
            self._extended(struct.pack(">I", PROVIDE | TEXT) + packed)
        else:
            data = text.encode("latin-1")
            self.s.sendall(struct.pack(">BxxxI", 6, len(data)) + data)

    def pasted(self):
        """Waits for the next text of the server's."""
        n, flags = self._cut_head()
        if flags is None:
            return self.f.read(n).decode("latin-1")
        assert flags == PROVIDE | TEXT, hex(flags)
        data = zlib.decompress(self.f.read(n - 4))
        assert struct.unpack(">I", data[:4])[0] == len(data) - 4 and data[-1] == 0
        return data[4:-1].decode().replace("\r\n", "\n")
