#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
#
# Builds the Linux kernel's x86 selftests, 64- and 32-bit, from Debian's linux-source package in the
# cache, and prints the directory with bin/ (the programs) and lib/ (the libraries they load, at
# their paths). Needs gcc-multilib.
set -euo pipefail

# shellcheck source=scripts/lib-fetch.sh
. "$(dirname "$(readlink -f "$0")")/lib-fetch.sh"

if [ "${1:-}" = -q ]; then
	QUIET=1
fi
need gcc make tar xz
dir=$ATOLL_CACHE/x86-selftests
if [ -e "$dir/done" ]; then
	echo "$dir"
	exit 0
fi
echo 'int main(void) { return 0; }' | gcc -m32 -x c -o /dev/null - 2>/dev/null ||
	die "gcc cannot build 32-bit programs: install gcc-multilib"

fetch_deb linux-source-6.1 amd64 '' "$ATOLL_CACHE/linux-source" './usr/src/*'
rm -rf "$dir"
mkdir -p "$dir/src" "$dir/bin" "$dir/lib"
say "unpacking the selftests"
tar -xf "$ATOLL_CACHE"/linux-source/root/usr/src/linux-source-6.1.tar.xz -C "$dir/src" \
	--strip-components=1 --wildcards '*/tools/testing/selftests/x86/*' \
	'*/tools/testing/selftests/*.h' '*/tools/testing/selftests/*.mk' '*/tools/include/*' \
	'*/arch/x86/include/asm/*'
say "building the selftests"
make -C "$dir/src/tools/testing/selftests/x86" -k OUTPUT="$dir/bin" >"$dir/build.log" 2>&1 ||
	{ grep -m 5 error "$dir/build.log" >&2; die "the selftests do not build: see $dir/build.log"; }

# Where a test opens a library by name, ldd does not see it.
{
	printf '%s\n' /lib/x86_64-linux-gnu/libgcc_s.so.1 /usr/lib32/libgcc_s.so.1
	for program in "$dir"/bin/*; do
		ldd "$program" 2>/dev/null | grep -o '/[^ ]*' || true
	done
} | sort -u | while read -r lib; do
	[ -e "$lib" ] || continue
	mkdir -p "$dir/lib/${lib%/*}"
	cp -L "$lib" "$dir/lib/$lib"
done
rm -rf "$dir/src"
touch "$dir/done"
echo "$dir"
