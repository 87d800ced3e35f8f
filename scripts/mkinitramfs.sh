#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
#
# Builds the small guest's initramfs: Debian's static busybox and guest-init.sh as /init. Needs no
# root right. Prints the path of the archive.
set -euo pipefail

here=$(dirname "$(readlink -f "$0")")
# shellcheck source=scripts/lib-fetch.sh
. "$here/lib-fetch.sh"

usage()
{
	cat <<USAGE
usage: ${0##*/} [-q] [-o FILE] [--arch amd64|i386] [--add SOURCE:PATH]...

  -o FILE            where to write; default: in the cache, made again when its inputs changed
  --arch ARCH        architecture of busybox (amd64)
  --add SOURCE:PATH  a file, or everything below a directory, of the host at PATH in the guest
USAGE
}

out=
arch=amd64
extra=()
while [ $# -gt 0 ]; do
	case $1 in
	-h | --help) usage; exit 0 ;;
	-q) QUIET=1 ;;
	-o) out=${2:?}; shift ;;
	--arch) arch=${2:?}; shift ;;
	--add) extra+=("${2:?}"); shift ;;
	*) usage >&2; die "unknown argument '$1'" ;;
	esac
	shift
done
case $arch in
amd64 | i386) ;;
*) die "no guest user space for architecture '$arch'" ;;
esac
[ -n "$out" ] || [ ${#extra[@]} -eq 0 ] || die "--add needs -o"
need python3

# The host's own busybox will do if it needs no libraries and has the architecture.
busybox=$(command -v busybox || true)
if [ "$arch" != "$(dpkg --print-architecture)" ] || [ -z "$busybox" ] ||
	readelf -l "$busybox" 2>/dev/null | grep -q INTERP; then
	fetch_deb busybox-static "$arch" '' "$ATOLL_CACHE/busybox-$arch" ./bin/busybox
	busybox=$ATOLL_CACHE/busybox-$arch/root/bin/busybox
fi

out=${out:-$ATOLL_CACHE/initramfs-$arch.cpio.gz}
if [ ${#extra[@]} -eq 0 ] && [ -s "$out" ] && [ "$out" -nt "$busybox" ] &&
	[ "$out" -nt "$here/guest-init.sh" ] && [ "$out" -nt "$here/mkcpio.py" ] &&
	[ "$out" -nt "$here/mkinitramfs.sh" ]; then
	echo "$out"
	exit 0
fi

mkdir -p "$(dirname "$out")"
{
	for dir in bin sbin usr/bin usr/sbin proc sys dev etc tmp run; do
		echo "dir $dir 755"
	done
	echo "dir root 700"
	echo "nod dev/console 600 c 5 1"
	echo "nod dev/null 666 c 1 3"
	echo "file bin/busybox 755 $busybox"
	echo "slink bin/sh busybox"
	echo "file init 755 $here/guest-init.sh"
	for item in ${extra[@]+"${extra[@]}"}; do
		source=${item%%:*}
		path=${item#*:}
		if [ -d "$source" ]; then
			echo "dir $path 755"
			echo "tree $path $source"
		else
			echo "file $path $([ -x "$source" ] && echo 755 || echo 644) $source"
		fi
	done
} | python3 "$here/mkcpio.py" -z -o "$out"
say "built $out ($(du -k "$out" | cut -f1) KiB)"
echo "$out"
