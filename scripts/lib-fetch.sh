# SPDX-License-Identifier: GPL-2.0-or-later
# shellcheck shell=bash
#
# Fetches Debian packages for guests without touching the host's dpkg: sourced by fetch-kernel.sh
# and mkinitramfs.sh, not run.
#
# The machine's own apt sources say where packages come from. When apt already knows the package
# (the usual case after `make deps`) its lists are used as they are; for another architecture, or
# for a suite that is not configured, apt runs on a private state directory in the cache, so no
# root right is needed and nothing on the host changes.

QUIET=${QUIET:-}
ATOLL_CACHE=${ATOLL_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/atoll}
# A private list is read again after this many minutes.
LISTS_FRESH_MIN=720

say()
{
	[ -n "$QUIET" ] || echo "$*" >&2
}

die()
{
	echo "${0##*/}: $*" >&2
	exit 1
}

need()
{
	local tool
	for tool; do
		command -v "$tool" >/dev/null || die "'$tool' is not installed (see apt-packages.txt)"
	done
}

# Sets the array apt_opts for packages of architecture $1 out of suite $2 ('' for the suites that
# the host has), on a private state directory.
private_apt()
{
	local arch=$1 suite=$2 dir uri codename component
	dir=$ATOLL_CACHE/apt/$arch${suite:+-$suite}
	mkdir -p "$dir/lists/partial" "$dir/cache/archives/partial" "$dir/parts"
	: >"$dir/status"
	apt_opts=(-o "APT::Architecture=$arch" -o "APT::Architectures=$arch"
		-o "Dir::State=$dir" -o "Dir::State::lists=$dir/lists" -o "Dir::State::status=$dir/status"
		-o "Dir::Cache=$dir/cache" -o APT::Sandbox::User=
		-o Acquire::Languages=none -o Acquire::IndexTargets::deb::Contents-deb::DefaultEnabled=false)
	if [ -n "$suite" ]; then
		# The mirror which has the host's main component also has the sibling suite.
		# shellcheck disable=SC2016  # apt expands these
		read -r uri codename component < <(apt-get indextargets \
			--format '$(REPO_URI) $(CODENAME) $(COMPONENT)' 'Created-By: Packages' 'Origin: Debian' |
			awk '$2 !~ /-/ && $3 == "main" { print; exit }') ||
			die "the machine's apt sources name no Debian main archive"
		say "adding $codename-$suite to a private list of sources"
		echo "deb [signed-by=/usr/share/keyrings/debian-archive-keyring.gpg] $uri" \
			"$codename-$suite $component" >"$dir/sources.list"
		apt_opts+=(-o "Dir::Etc::sourcelist=$dir/sources.list" -o "Dir::Etc::sourceparts=$dir/parts"
			-o "APT::Default-Release=$codename-$suite")
	fi
	if [ -z "$(find "$dir/updated" -mmin "-$LISTS_FRESH_MIN" 2>/dev/null)" ]; then
		say "reading package lists for $arch${suite:+ ($suite)}"
		# One list that apt refuses (a mirror in the middle of its update, say) leaves the others
		# usable, each checked by its own signature: whether they are enough shows when the
		# package is looked up.
		if apt-get "${apt_opts[@]}" -q update >"$dir/update.log" 2>&1; then
			touch "$dir/updated"
		else
			say "apt could not read every list, going on with the rest:"
			grep '^E: Failed' "$dir/update.log" | cut -c1-160 >&2 || true
		fi
	fi
}

apt_has()
{
	apt-cache "${apt_opts[@]}" show --no-all-versions "$1" >/dev/null 2>&1
}

# Does the machine's own apt know package $1?
host_apt_has()
{
	local -a apt_opts=()
	apt_has "$1"
}

# Follows a meta package ($1) to the package that holds the files.
apt_resolve()
{
	local dep
	dep=$(apt-cache "${apt_opts[@]}" depends --important "$1" |
		awk -v re="^(linux-image|linux-source)-[0-9]" '$1 == "Depends:" && $2 ~ re { print $2; exit }')
	echo "${dep:-$1}"
}

# Leaves the .deb of package $1 in directory $2 and prints its path.
apt_download()
{
	local out=$2
	( cd "$out" && rm -f ./*.deb
	if [ -t 2 ] && [ -z "$QUIET" ]; then
		apt-get "${apt_opts[@]}" -o APT::Sandbox::User= download "$1" >&2
	else
		apt-get "${apt_opts[@]}" -o APT::Sandbox::User= -q download "$1" >"$out/download.log" 2>&1 ||
			{ tail -n 5 "$out/download.log" >&2; exit 1; }
		rm -f "$out/download.log"
	fi ) || die "cannot download package '$1'"
	set -- "$out"/*.deb
	[ -f "$1" ] || die "apt left no package in $out"
	echo "$1"
}

# Fetches package $1 for architecture $2 (suite $3 or ''), and unpacks the members that match the
# tar patterns $5... (all when there are none) into directory $4, at once or not at all.
fetch_deb()
{
	local package=$1 arch=$2 suite=$3 dest=$4 tmp deb
	local -a apt_opts=()
	shift 4
	need apt-get apt-cache dpkg-deb tar flock
	mkdir -p "${dest%/*}"
	exec 9>"$dest.lock"
	flock 9
	if [ -e "$dest/package" ]; then
		exec 9>&-
		return 0
	fi
	if [ "$arch" != "$(dpkg --print-architecture)" ] || [ -n "$suite" ] || ! apt_has "$package"; then
		private_apt "$arch" "$suite"
	fi
	apt_has "$package" || die "no package '$package' for $arch in the machine's apt sources"
	package=$(apt_resolve "$package")
	tmp=$(mktemp -d "$dest.XXXXXX")
	# shellcheck disable=SC2064  # the value of now is meant
	trap "rm -rf '$tmp'" EXIT
	say "fetching $package ($arch)"
	mkdir "$tmp/deb" "$tmp/root"
	deb=$(apt_download "$package" "$tmp/deb")
	if [ $# -eq 0 ]; then
		dpkg-deb -x "$deb" "$tmp/root"
	else
		dpkg-deb --fsys-tarfile "$deb" | tar -x -C "$tmp/root" --wildcards "$@"
	fi || die "cannot unpack $deb"
	dpkg-deb -f "$deb" Package Version Architecture >"$tmp/package"
	chmod 755 "$tmp"
	rm -rf "$dest"
	mv "$tmp" "$dest"
	trap - EXIT
	exec 9>&-
}
