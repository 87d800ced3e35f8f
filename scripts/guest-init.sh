#!/bin/busybox sh
# shellcheck shell=dash disable=SC2013
# SPDX-License-Identifier: GPL-2.0-or-later
#
# /init of the small guest. Words on the kernel's command line choose what it does:
#   (none)              a shell on the console; the machine powers off when it ends
#   atoll.auto          prints what the guest sees of its machine
#   atoll.clock=SECONDS prints its clock about once a second for so long
#   atoll.run=PATH      runs a program and prints its exit status
#   atoll.end=WORD      poweroff (the default), reboot or halt

/bin/busybox mount -t proc proc /proc
/bin/busybox mount -t sysfs sys /sys
/bin/busybox mount -t devtmpfs dev /dev
/bin/busybox --install -s
export PATH=/bin:/sbin:/usr/bin:/usr/sbin HOME=/root TERM=linux
mkdir -p /dev/pts /dev/shm
mount -t devpts devpts /dev/pts
mount -t tmpfs tmp /tmp
hostname atoll

# Drivers that the kernel has as modules, in an order in which they can be loaded; MODULE.NAME=VALUE on the command line
# is a parameter.
if [ -f /modules/order ]; then
	while read -r module; do
		parameters=''
		for word in $(cat /proc/cmdline); do
			case $word in
			"${module%%.*}".*) parameters="$parameters ${word#*.}" ;;
			esac
		done
		# shellcheck disable=SC2086 # words
		insmod "/modules/$module" $parameters
	done </modules/order
fi

auto='' clock='' run='' end=poweroff
for word in $(cat /proc/cmdline); do
	case $word in
	atoll.auto) auto=1 ;;
	atoll.clock=*) clock=${word#*=} ;;
	atoll.run=*) run=${word#*=} ;;
	atoll.end=*) end=${word#*=} ;;
	esac
done

facts()
{
	echo "atoll-guest: kernel $(uname -r) $(uname -m)"
	echo "atoll-guest: cpus $(grep -c '^processor' /proc/cpuinfo)"
	echo "atoll-guest: cpu $(sed -n 's/^model name[^:]*: //p' /proc/cpuinfo | head -n 1)"
	echo "atoll-guest: memory $(awk '/^MemTotal/ { print int($2 / 1024) }' /proc/meminfo) MiB"
	echo "atoll-guest: clock $(cat /sys/devices/system/clocksource/clocksource0/current_clocksource)"
	echo "atoll-guest: date $(date +%s)"
	echo "atoll-guest: uptime $(cut -d' ' -f1 /proc/uptime)"
}

# Waits for the moment at which the 10 ms display of the uptime changes, then prints it: the line
# leaves the guest within a loop's time of that moment.
clock_line()
{
	local was now rest
	read -r was rest </proc/uptime
	now=$was
	while [ "$now" = "$was" ]; do
		read -r now rest </proc/uptime
	done
	echo "atoll-clock: $now"
}

if [ -n "$auto" ]; then
	facts
fi
if [ -n "$clock" ]; then
	i=0
	while [ "$i" -le "$clock" ]; do
		clock_line
		sleep 0.9
		i=$((i + 1))
	done
fi
if [ -n "$run" ]; then
	$run
	echo "atoll-guest: exit status $?"
fi
if [ -z "$auto$clock$run" ]; then
	echo
	echo "A $(uname -m) guest with Linux $(uname -r), $(grep -c '^processor' /proc/cpuinfo) CPU(s)."
	echo "Leave the shell with 'exit' or Ctrl-D: the machine powers off."
	echo
	cd /root || cd /
	setsid cttyhack sh -l
fi
echo "atoll-guest: $end"
sync
case $end in
halt) halt -f ;;
reboot) reboot -f ;;
*) poweroff -f ;;
esac
# The order takes a moment to arrive; a PID 1 that ends would be a panic.
while :; do
	sleep 60
done
