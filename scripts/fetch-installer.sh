#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
#
# Fetches the Debian installer that boots from the network (text, amd64) with apt and prints the path
# of the folder that holds its kernel `linux` and its `initrd.gz`. What is in the cache is used as it is.
set -euo pipefail

# shellcheck source=scripts/lib-fetch.sh
. "$(dirname "$(readlink -f "$0")")/lib-fetch.sh"

if [ "${1:-}" = -q ]; then
	QUIET=1
	shift
fi
if [ $# -ne 0 ]; then
	echo "usage: ${0##*/} [-q]" >&2
	exit 2
fi
dir=$ATOLL_CACHE/installer
fetch_deb debian-installer-12-netboot-amd64 amd64 '' "$dir" \
	'./usr/lib/debian-installer/images/*/amd64/text/debian-installer/amd64/linux' \
	'./usr/lib/debian-installer/images/*/amd64/text/debian-installer/amd64/initrd.gz'
set -- "$dir"/root/usr/lib/debian-installer/images/*/amd64/text/debian-installer/amd64
if [ $# -ne 1 ] || [ ! -f "$1/linux" ] || [ ! -f "$1/initrd.gz" ]; then
	die "no installer in $dir; remove it and try again"
fi
# The package is five times as large as what is wanted of it.
rm -rf "$dir/deb"
echo "$1"
