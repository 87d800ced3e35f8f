#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
#
# Makes a small Debian system of the host's release with some packages more, as a tar archive in the
# cache, and prints the path of it. mkinitramfs.sh and mkcpio.py make guests of it. Needs no root
# right where user namespaces are allowed. An archive which is in the cache is used as it is.
set -euo pipefail

# shellcheck source=scripts/lib-fetch.sh
. "$(dirname "$(readlink -f "$0")")/lib-fetch.sh"

if [ "${1:-}" = -q ]; then
	QUIET=1
	shift
fi
if [ $# -lt 2 ] || [ "$1" = -h ] || [ "$1" = --help ]; then
	echo "usage: ${0##*/} [-q] NAME PACKAGE..." >&2
	exit 2
fi
name=$1
shift
need mmdebstrap flock
packages=$(printf '%s,' "$@")
dir=$ATOLL_CACHE/debian/$name
out=$dir/root.tar
mkdir -p "$dir"
exec 9>"$dir.lock"
flock 9
if [ -s "$out" ] && [ "$(cat "$dir/packages" 2>/dev/null)" = "$packages" ]; then
	echo "$out"
	exit 0
fi
# shellcheck disable=SC2016  # apt expands these
read -r uri codename < <(apt-get indextargets --format '$(REPO_URI) $(CODENAME) $(COMPONENT)' \
	'Created-By: Packages' 'Origin: Debian' |
	awk '$2 !~ /-/ && $3 == "main" { print $1, $2; exit }') ||
	die "the machine's apt sources name no Debian main archive"
say "making a Debian system ($name) of $codename"
# Nobody reads manuals in a test, and each file of an initramfs costs its guest time and memory.
mmdebstrap --variant=minbase --include="${packages%,}" --format=tar \
	--aptopt='Acquire::Languages "none"' \
	--dpkgopt='path-exclude=/usr/share/doc/*' --dpkgopt='path-exclude=/usr/share/man/*' \
	--dpkgopt='path-exclude=/usr/share/locale/*' --dpkgopt='path-exclude=/usr/share/info/*' \
	"$codename" "$out.part" "$uri" >"$dir/log" 2>&1 ||
	{ tail -n 3 "$dir/log" >&2; die "mmdebstrap failed: see $dir/log"; }
mv "$out.part" "$out"
echo "$packages" >"$dir/packages"
say "made $out ($(du -m "$out" | cut -f1) MiB)"
echo "$out"
