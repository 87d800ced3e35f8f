#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
#
# Makes a bootable Debian disk by `atoll image build`, in the cache, and prints the path of it. One that is there is used
# as it is, unless how images are built has changed since. It is to be the backing file of others: who starts it changes
# it.
#
# ATOLL names the program (build/atoll).
set -euo pipefail

here=$(dirname "$(readlink -f "$0")")
# shellcheck source=scripts/lib-fetch.sh
. "$here/lib-fetch.sh"

if [ "${1:-}" = -q ]; then
	QUIET=1
	shift
fi
if [ $# -gt 0 ]; then
	echo "usage: ${0##*/} [-q]" >&2
	exit 2
fi
need flock sha256sum
atoll=${ATOLL:-$here/../build/atoll}
dir=$ATOLL_CACHE/image
out=$dir/debian.qcow2
made_by=$(cat "$here/../src/image/build.sh" "$here/../src/image/build.c" | sha256sum)
mkdir -p "$dir"
exec 9>"$dir.lock"
flock 9
if [ -s "$out" ] && [ "$(cat "$dir/made-by" 2>/dev/null)" = "$made_by" ]; then
	echo "$out"
	exit 0
fi
say "making a Debian disk"
"$atoll" image build --size 4G --date 2026-01-01 "$out" || die "no Debian disk could be made"
echo "$made_by" >"$dir/made-by"
say "made $out ($(du -m "$out" | cut -f1) MiB)"
echo "$out"
