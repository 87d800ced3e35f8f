#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""Writes an initramfs (cpio "newc") from a list, so that device nodes and root's ownership need
no root right and the same input always gives the same bytes.

usage: mkcpio.py [-z] -o OUT < LIST

One entry a line, words separated by blanks, in the order of the archive:
  dir PATH MODE
  file PATH MODE SOURCE
  slink PATH TARGET
  nod PATH MODE c|b MAJOR MINOR
  tree PATH SOURCE            everything below the directory SOURCE, parents excluded
  tar PATH SOURCE             the members of a tar archive, with their owners and devices
An entry that comes again is left out: the first one counts.
Missing parent directories are made with mode 755. Empty lines and lines that begin with # are
skipped. -z compresses with gzip (no time stamp inside).

Source: Linux, Documentation/driver-api/early-userspace/buffer-format.rst.
"""

import gzip
import os
import stat
import sys
import tarfile


class Archive:
    def __init__(self):
        self.parts = []
        self.inode = 0
        self.have = set()

    def entry(self, path, mode, data=b"", rdev=(0, 0), owner=(0, 0)):
        path = path.strip("/")
        if path in ("", ".") or path in self.have:
            return
        parent = os.path.dirname(path)
        if parent and parent not in self.have:
            self.entry(parent, stat.S_IFDIR | 0o755)
        self.have.add(path)
        self.inode += 1
        self.raw(path, self.inode, mode, data, rdev, owner)

    def raw(self, path, inode, mode, data, rdev, owner):
        name = path.encode() + b"\0"
        links = 2 if stat.S_ISDIR(mode) else 1
        fields = (inode, mode, *owner, links, 0, len(data), 0, 0, rdev[0], rdev[1], len(name), 0)
        head = b"070701" + b"".join(b"%08X" % f for f in fields) + name
        self.parts += [head, b"\0" * (-len(head) % 4), data, b"\0" * (-len(data) % 4)]

    def copy(self, path, source):
        st = os.lstat(source)
        if stat.S_ISLNK(st.st_mode):
            self.entry(path, stat.S_IFLNK | 0o777, os.readlink(source).encode())
        elif stat.S_ISDIR(st.st_mode):
            self.entry(path, st.st_mode)
        elif stat.S_ISREG(st.st_mode):
            with open(source, "rb") as f:
                self.entry(path, st.st_mode, f.read())

    def member(self, path, tar, m):
        kind = next((k for is_kind, k in ((m.isdir(), stat.S_IFDIR), (m.isreg(), stat.S_IFREG),
                                          (m.islnk(), stat.S_IFREG), (m.issym(), stat.S_IFLNK),
                                          (m.ischr(), stat.S_IFCHR), (m.isblk(), stat.S_IFBLK),
                                          (m.isfifo(), stat.S_IFIFO)) if is_kind), None)
        if kind is None:
            return
        data = m.linkname.encode() if m.issym() else b""
        if kind == stat.S_IFREG:
            # Of a hard link this is the file that it is another name of: each gets a copy.
            data = tar.extractfile(m).read()
        rdev = (m.devmajor, m.devminor) if m.ischr() or m.isblk() else (0, 0)
        self.entry(path, kind | m.mode, data, rdev, (m.uid, m.gid))

    def finish(self):
        self.raw("TRAILER!!!", 0, 0, b"", (0, 0), (0, 0))
        return self.parts


def add_line(archive, words):
    kind, path = words[0], words[1]
    if kind == "dir" and len(words) == 3:
        archive.entry(path, stat.S_IFDIR | int(words[2], 8))
    elif kind == "file" and len(words) == 4:
        with open(words[3], "rb") as f:
            archive.entry(path, stat.S_IFREG | int(words[2], 8), f.read())
    elif kind == "slink" and len(words) == 3:
        archive.entry(path, stat.S_IFLNK | 0o777, words[2].encode())
    elif kind == "nod" and len(words) == 6 and words[3] in "cb":
        fmt = stat.S_IFCHR if words[3] == "c" else stat.S_IFBLK
        archive.entry(path, fmt | int(words[2], 8), rdev=(int(words[4]), int(words[5])))
    elif kind == "tree" and len(words) == 3:
        for root, dirs, files in os.walk(words[2]):
            dirs.sort()
            for name in sorted(dirs + files):
                source = os.path.join(root, name)
                archive.copy(os.path.join(path, os.path.relpath(source, words[2])), source)
    elif kind == "tar" and len(words) == 3:
        with tarfile.open(words[2]) as tar:
            for m in tar:
                archive.member(os.path.normpath(os.path.join(path, m.name)), tar, m)
    else:
        raise ValueError("not understood")


def main(argv):
    args = argv[1:]
    compress = "-z" in args
    args = [a for a in args if a != "-z"]
    if len(args) != 2 or args[0] != "-o":
        sys.exit(__doc__)
    archive = Archive()
    for number, line in enumerate(sys.stdin, 1):
        words = line.split()
        if not words or words[0].startswith("#"):
            continue
        try:
            add_line(archive, words)
        except (ValueError, IndexError, OSError) as e:
            sys.exit(f"mkcpio.py: line {number}: '{line.strip()}': {e}")
    parts = archive.finish()
    if compress:
        parts = [gzip.compress(b"".join(parts), 6, mtime=0)]
    part = args[1] + ".part"
    with open(part, "wb") as f:
        f.writelines(parts)
    os.replace(part, args[1])


if __name__ == "__main__":
    main(sys.argv)
