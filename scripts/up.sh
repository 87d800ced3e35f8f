#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
#
# The last step of `make up`: boots Debian's cloud kernel with a small initramfs. On a terminal the
# user gets the guest's shell; without one the guest prints what it sees and powers off, and the
# exit status says whether all of that worked.
#
# ATOLL names the program (build/atoll), UP_CPUS, UP_MEMORY and UP_ENGINE change the machine.
set -euo pipefail

here=$(dirname "$(readlink -f "$0")")
atoll=${ATOLL:-$here/../build/atoll}
[ -x "$atoll" ] || { echo "up: '$atoll' is not built: run 'make' first" >&2; exit 1; }

kernel=$("$here/fetch-kernel.sh" cloud)
initramfs=$("$here/mkinitramfs.sh")

cmdline="console=ttyS0 quiet"
if [ -t 0 ] && [ -t 1 ]; then
	cat <<GREETING

Starting an unmodified Debian kernel. In the guest: 'exit' or Ctrl-D powers it off;
Ctrl-A x ends the machine from outside. The same by hand:

  $atoll run --kernel $kernel \\
      --initrd $initramfs --append '$cmdline'

GREETING
else
	cmdline="$cmdline atoll.auto"
fi

exec "$atoll" run --kernel "$kernel" --initrd "$initramfs" --append "$cmdline" \
	--memory "${UP_MEMORY:-512M}" --cpus "${UP_CPUS:-1}" --engine "${UP_ENGINE:-auto}"
