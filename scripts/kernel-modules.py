#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""Takes modules out of a kernel's package for a guest's initramfs.

usage: kernel-modules.py [-q] FLAVOR FOLDER NAME...

FLAVOR is one of fetch-kernel.sh's. The modules NAME and what they depend on are put into FOLDER, with a file `order`
that names them in an order in which they can be loaded; guest-init.sh loads what is at /modules. Prints FOLDER.
"""

import lzma
import os
import re
import shutil
import subprocess
import sys
import tarfile

HERE = os.path.dirname(os.path.realpath(__file__))


def package(flavor):
    """The .deb that fetch-kernel.sh left in the cache."""
    kernel = subprocess.run([os.path.join(HERE, "fetch-kernel.sh"), "-q", flavor],
                            stdout=subprocess.PIPE, check=True, text=True).stdout.strip()
    folder = os.path.join(kernel.split("/root/boot/")[0], "deb")
    debs = [name for name in os.listdir(folder) if name.endswith(".deb")]
    if len(debs) != 1:
        sys.exit(f"kernel-modules.py: {folder} does not have one package; remove the cache of '{flavor}'")
    return os.path.join(folder, debs[0])


def plain(name):
    return re.sub(r"\.ko(\.xz)?$", "", os.path.basename(name)).replace("-", "_")


def unpacked(name, data):
    """The guest's insmod knows nothing of compression."""
    return lzma.decompress(data) if name.endswith(".xz") else data


def depends(data):
    """Names that a module's .modinfo section says it needs."""
    m = re.search(rb"\0depends=([^\0]*)\0", data)
    return [n for n in m[1].decode().split(",") if n] if m else []


def modules(deb):
    """{name: (file, its contents)} of every module."""
    with subprocess.Popen(["dpkg-deb", "--fsys-tarfile", deb], stdout=subprocess.PIPE) as p:
        with tarfile.open(fileobj=p.stdout, mode="r|") as tar:
            found = {plain(m.name): (m.name, tar.extractfile(m).read()) for m in tar
                     if m.isfile() and m.name.endswith((".ko", ".ko.xz"))}
        p.stdout.read()
    if p.returncode:
        sys.exit(f"kernel-modules.py: cannot unpack {deb}")
    return found


def main(argv):
    args = [a for a in argv[1:] if a != "-q"]
    if len(args) < 3 or args[0].startswith("-"):
        sys.exit(__doc__)
    flavor, folder, names = args[0], args[1], args[2:]
    found = modules(package(flavor))
    order = []

    def take(name):
        if name in order:
            return
        if name not in found:
            sys.exit(f"kernel-modules.py: kernel '{flavor}' has no module '{name}'")
        found[name] = unpacked(*found[name])
        for other in depends(found[name]):
            take(plain(other))
        order.append(name)

    for name in names:
        take(plain(name))
    shutil.rmtree(folder, ignore_errors=True)
    os.makedirs(folder)
    for name in order:
        with open(os.path.join(folder, f"{name}.ko"), "wb") as f:
            f.write(found[name])
    with open(os.path.join(folder, "order"), "w", encoding="ascii") as f:
        f.writelines(f"{name}.ko\n" for name in order)
    print(folder)


if __name__ == "__main__":
    main(sys.argv)
