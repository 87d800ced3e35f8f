#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
#
# Fetches a Debian kernel with apt and prints the path of its bzImage. A kernel which is in the
# cache is not looked up again, so this also works without a network; --refresh looks again.
set -euo pipefail

# shellcheck source=scripts/lib-fetch.sh
. "$(dirname "$(readlink -f "$0")")/lib-fetch.sh"

usage()
{
	cat <<USAGE
usage: ${0##*/} [-q] [--refresh] [FLAVOR]

Flavors:
  cloud      Debian's cloud kernel for amd64 (the default)
  generic    Debian's ordinary kernel for amd64
  6.12       the 6.12 kernel for amd64, from the host's suites or else from backports
  6.12-cloud the same, cloud flavor
  686        the i386 kernel without PAE
  686-pae    the i386 kernel with PAE

The cache is \$ATOLL_CACHE, else \$XDG_CACHE_HOME/atoll, else ~/.cache/atoll.
USAGE
}

# A bzImage says "HdrS" at 0x202 and names its version at 0x200 + kernel_version (0x20e).
# Source: the Linux/x86 boot protocol.
check_bzimage()
{
	local file=$1 off
	[ "$(dd if="$file" bs=1 skip=514 count=4 status=none)" = HdrS ] ||
		die "$file is not a bzImage; remove it and try again"
	off=$(od -An -tu2 -j 526 -N 2 "$file")
	say "kernel $(dd if="$file" bs=1 skip=$((off + 512)) count=120 status=none |
		tr '\0' '\n' | head -n 1 | cut -d' ' -f1)"
}

fetch_kernel()
{
	local flavor=$1 dir=$ATOLL_CACHE/kernel/$1
	case $flavor in
	cloud) fetch_deb linux-image-cloud-amd64 amd64 '' "$dir" './boot/*' ;;
	generic) fetch_deb linux-image-amd64 amd64 '' "$dir" './boot/*' ;;
	686 | 686-pae) fetch_deb "linux-image-$flavor" i386 '' "$dir" './boot/*' ;;
	6.12 | 6.12-cloud)
		local package=linux-image-6.12${flavor#6.12}-amd64
		if [ -e "$dir/package" ] || host_apt_has "$package"; then
			fetch_deb "$package" amd64 '' "$dir" './boot/*'
		else
			fetch_deb "linux-image${flavor#6.12}-amd64" amd64 backports "$dir" './boot/*'
		fi
		;;
	*) usage >&2; die "unknown flavor '$flavor'" ;;
	esac
	set -- "$dir"/root/boot/vmlinuz-*
	if [ $# -ne 1 ] || [ ! -f "$1" ]; then
		die "no kernel in $dir; remove it and try again"
	fi
	check_bzimage "$1"
	echo "$1"
}

flavor=
refresh=
while [ $# -gt 0 ]; do
	case $1 in
	-h | --help) usage; exit 0 ;;
	-q) QUIET=1 ;;
	--refresh) refresh=1 ;;
	-*) usage >&2; die "unknown option '$1'" ;;
	*) [ -z "$flavor" ] || die "one flavor at a time"; flavor=$1 ;;
	esac
	shift
done
flavor=${flavor:-cloud}
[ -z "$refresh" ] || rm -rf "${ATOLL_CACHE:?}/kernel/$flavor"
fetch_kernel "$flavor"
