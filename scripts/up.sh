#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
#
# The last step of `make up`: a Debian machine from its own disk, with a network, that one can log in to by SSH. The disk is
# made at the first time (a minute or two) and kept, with what is done to it. On a terminal the user gets the machine's
# console; without one, a command is run in the guest by SSH and the machine is switched off, and the exit status says
# whether all of that worked.
#
# ATOLL names the program (build/atoll), UP_CPUS, UP_MEMORY, UP_ENGINE and UP_PORT (of SSH, on this host) change the
# machine.
set -euo pipefail

here=$(dirname "$(readlink -f "$0")")
export ATOLL=${ATOLL:-$here/../build/atoll}
[ -x "$ATOLL" ] || { echo "up: '$ATOLL' is not built: run 'make' first" >&2; exit 1; }
# shellcheck source=scripts/lib-fetch.sh
. "$here/lib-fetch.sh"
need ssh ssh-keygen

image=$("$here/mkimage.sh")
dir=$ATOLL_CACHE/up
port=${UP_PORT:-2222}
mkdir -p "$dir"
# The disk belongs to an image: another image, another disk.
if [ ! -s "$dir/disk.qcow2" ] || [ "$image" -nt "$dir/disk.qcow2" ]; then
	rm -f "$dir/known_hosts"
	"$ATOLL" disk create -b "$image" -F qcow2 "$dir/disk.qcow2" 16G
fi
[ -s "$dir/key" ] || ssh-keygen -q -t ed25519 -N '' -C atoll-up -f "$dir/key"
cat >"$dir/user-data" <<USER_DATA
#cloud-config
users:
  - name: debian
    shell: /bin/bash
    sudo: ALL=(ALL) NOPASSWD:ALL
    lock_passwd: true
    ssh_authorized_keys: [ "$(cat "$dir/key.pub")" ]
USER_DATA

ssh=(ssh -i "$dir/key" -p "$port" -o IdentitiesOnly=yes -o LogLevel=ERROR
	-o StrictHostKeyChecking=accept-new -o "UserKnownHostsFile=$dir/known_hosts" debian@127.0.0.1)
run=("$ATOLL" run --disk "$dir/disk.qcow2" --cloud-init "$dir/user-data" --name "${UP_NAME:-up}"
	--net "user,hostfwd=tcp:127.0.0.1:$port-:22" --memory "${UP_MEMORY:-1G}" --cpus "${UP_CPUS:-2}"
	--engine "${UP_ENGINE:-auto}")

if [ -t 0 ] && [ -t 1 ]; then
	cat <<GREETING

Starting Debian. As soon as it is up, from another terminal:

  ${ssh[*]}

'sudo poweroff' there switches it off; here, Ctrl-A x does so at once. The same by hand:

  ${run[*]}

GREETING
	exec "${run[@]}"
fi

"${run[@]}" --serial "file:$dir/console" &
machine=$!
trap 'kill $machine 2>/dev/null || true' EXIT
quick=(-o ConnectTimeout=5 -o BatchMode=yes)
for ((n = 0; n < 300; n++)); do
	# shellcheck disable=SC2016  # the guest expands it
	if "${ssh[@]}" "${quick[@]}" \
		'echo "in the guest: $(uname -sr), $(nproc) CPUs, up $(cut -d" " -f1 /proc/uptime) s"' 2>/dev/null; then
		# The connection may end before the command does.
		"${ssh[@]}" "${quick[@]}" 'sudo systemctl --no-block poweroff' 2>/dev/null || true
		timeout 120 tail --pid=$machine -f /dev/null || die "the machine does not switch off"
		trap - EXIT
		wait $machine
		exit
	fi
	kill -0 $machine 2>/dev/null || break
	sleep 1
done
tail -n 20 "$dir/console" >&2 2>/dev/null || true
die "the machine could not be reached by SSH"
