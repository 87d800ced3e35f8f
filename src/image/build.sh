#!/bin/sh
# SPDX-License-Identifier: GPL-2.0-or-later
#
# Makes a bootable disk image of a Debian system. mmdebstrap unpacks and configures the packages, and then calls this
# script once more as a hook, in the user namespace where the files belong to whom they shall belong to: so no root rights
# and no loop device are needed. mke2fs and mcopy write file systems into the image, and the boot loader's first
# sector is put there by hand.
#
#	sector 0       GRUB's boot.img, which loads ...
#	1 MiB          BIOS boot partition: GRUB's core.img
#	2 MiB          EFI system partition: the same GRUB for UEFI
#	66 MiB         root, ext4, labelled "root", to the end; grows to the disk's size at the first start
#
# What it needs to know is in the environment: IMAGE (a file that is there), SIZE_MIB, SOURCE_DATE_EPOCH, SEED (of all
# identifiers), PACKAGES (joined by commas), SELF (this script). With SUITE and MIRROR unset, the Debian of the
# host's package sources is taken. "atoll: ..." on standard error says how far it is.
#
# usage: build.sh | build.sh early ROOT | build.sh hook ROOT
set -eu
export LC_ALL=C

bios_lba=2048 esp_lba=4096 esp_mib=64 root_lba=135168

say() {
	echo "atoll: $*" >&2
}

# What apt knows of the first Debian archive: its address and the release's name.
host_sources() {
	# shellcheck disable=SC2016  # apt expands these
	apt-get indextargets --format '$(REPO_URI) $(CODENAME) $(COMPONENT)' \
		'Created-By: Packages' 'Origin: Debian' |
		awk '$2 !~ /-/ && $3 == "main" { print $1, $2; exit }'
}

outer() {
	if [ -z "${SUITE:-}" ] || [ -z "${MIRROR:-}" ]; then
		found=$(host_sources)
		if [ -z "$found" ]; then
			say "error the host's package sources name no Debian archive; say --release and --mirror"
			exit 1
		fi
		MIRROR=${MIRROR:-${found% *}} SUITE=${SUITE:-${found#* }}
	fi
	# shellcheck disable=SC2016  # mmdebstrap's shell expands it
	exec mmdebstrap --variant=minbase --format=null --include="$PACKAGES" \
		--aptopt='Acquire::Languages "none"' --essential-hook='sh "$SELF" early "$1"' \
		--customize-hook='sh "$SELF" hook "$1"' "$SUITE" - "$MIRROR"
}

# uuid NAME: the same for the same seed and name.
uuid() {
	printf '%s %s' "$SEED" "$1" | sha256sum |
		sed -E 's/^(.{8})(.{4}).(.{3}).(.{3})(.{12}).*/\1-\2-4\3-8\4-\5/'
}

# --- what makes a system of packages a machine ------------------------------------------------------

# Before the kernel's package makes its initramfs: with the drivers of virtual machines it is a fifth of the size, which the
# boot loader reads and the kernel unpacks at each start; and what fstab names is in it (fsck).
early() {
	mkdir -p "$root/etc/initramfs-tools/conf.d" "$root/usr/share/initramfs-tools/modules.d"
	printf 'MODULES=list\nCOMPRESS=zstd\nRESUME=none\n' >"$root/etc/initramfs-tools/conf.d/atoll"
	printf '%s\n' virtio_pci virtio_mmio virtio_blk virtio_scsi virtio_net ahci ata_piix sd_mod sr_mod nvme \
		xen_blkfront ext4 crc32c >"$root/usr/share/initramfs-tools/modules.d/atoll"
	printf 'LABEL=root\t/\text4\terrors=remount-ro,x-systemd.growfs\t0 1\nLABEL=EFI\t/boot/efi\tvfat\tumask=0077,nofail\t0 2\n' \
		>"$root/etc/fstab"
}

configure() {
	echo atoll >"$root/etc/hostname"
	printf '127.0.0.1\tlocalhost\n127.0.1.1\tatoll\n::1\t\tlocalhost ip6-localhost\n' >"$root/etc/hosts"
	mkdir -p "$root/boot/efi" "$root/boot/grub"
	# Both are made at the first start: no two machines share them.
	: >"$root/etc/machine-id"
	rm -f "$root"/etc/ssh/ssh_host_*_key* "$root/var/lib/dbus/machine-id"
	mkdir -p "$root/etc/cloud/cloud.cfg.d"
	# Only sources that a machine here has, so that no start waits for a network that asks nobody.
	cat >"$root/etc/cloud/cloud.cfg.d/90_atoll.cfg" <<-'X'
		datasource_list: [ NoCloud, ConfigDrive, None ]
		locale: C.UTF-8
		ssh_genkeytypes: [ ed25519, ecdsa ]
		system_info:
		  network:
		    renderers: [ networkd ]
	X
	# The root partition and its file system take the whole disk.
	mkdir -p "$root/etc/repart.d" "$root/etc/systemd/system/ssh.service.d"
	printf '[Partition]\nType=root\n' >"$root/etc/repart.d/50-root.conf"
	# A machine without a network starts, too.
	mkdir -p "$root/etc/systemd/system/systemd-networkd-wait-online.service.d"
	printf '[Service]\nExecStart=\nExecStart=-/lib/systemd/systemd-networkd-wait-online --any --timeout=10\n' \
		>"$root/etc/systemd/system/systemd-networkd-wait-online.service.d/any.conf"
	# Not every machine has a seed, of which cloud-init would make the keys. RSA keys take a second each, and only clients
	# of before 2014 ask for one.
	key=/etc/ssh/ssh_host_ed25519_key
	printf '[Service]\nExecStartPre=\nExecStartPre=/bin/sh -c "[ -e %s ] || ssh-keygen -q -t ed25519 -N \\"\\" -f %s"\nExecStartPre=/usr/sbin/sshd -t\n' \
		$key $key \
		>"$root/etc/systemd/system/ssh.service.d/keys.conf"
	# Without a seed: DHCP on every Ethernet port.
	cat >"$root/etc/systemd/network/80-dhcp.network" <<-'X'
		[Match]
		Type=ether
		[Network]
		DHCP=yes
	X
	cat >"$root/boot/grub/grub.cfg" <<-'X'
		set timeout=0
		menuentry "Debian" {
			search --no-floppy --label root --set root
			linux /vmlinuz root=LABEL=root ro console=tty0 console=ttyS0,115200
			initrd /initrd.img
		}
	X
	chroot "$root" systemctl -q enable systemd-networkd systemd-resolved
	ln -sf ../run/systemd/resolve/stub-resolv.conf "$root/etc/resolv.conf"
	# Written at build time, and made anew when needed.
	rm -rf "$root"/var/lib/apt/lists/* "$root"/var/cache/apt/*.bin "$root"/var/log/*.log \
		"$root"/var/log/apt "$root"/var/cache/ldconfig/aux-cache
}

# --- boot loaders -----------------------------------------------------------------------------------

modules="ext2 part_gpt part_msdos search search_label normal configfile linux echo test serial terminal
	minicmd ls cat boot reboot halt sleep all_video loadenv"

make_grub() {
	cat >"$root/tmp/early.cfg" <<-'X'
		serial --unit=0 --speed=115200
		terminal_input console serial
		terminal_output console serial
		search --no-floppy --label root --set root
		set prefix=($root)/boot/grub
	X
	# shellcheck disable=SC2086
	chroot "$root" grub-mkimage -O i386-pc -o /tmp/core.img -c /tmp/early.cfg -p /boot/grub \
		biosdisk $modules
	# shellcheck disable=SC2086
	chroot "$root" grub-mkimage -O x86_64-efi -o /tmp/grub.efi -c /tmp/early.cfg -p /boot/grub \
		efi_gop $modules
	mv "$root/tmp/core.img" "$root/tmp/grub.efi" "$work"
	cp "$root/usr/lib/grub/i386-pc/boot.img" "$work"
	rm "$root/tmp/early.cfg"
}

# le BYTES N FILE OFFSET: write a number into a file.
le() {
	n=0
	while [ $n -lt "$1" ]; do
		# shellcheck disable=SC2059  # an octal escape
		printf "\\$(printf %o $(($2 >> (8 * n) & 255)))"
		n=$((n + 1))
	done | dd of="$3" bs=1 seek="$4" conv=notrunc status=none
}

# What grub-bios-setup does to a disk that is attached: boot.img learns where core.img begins (0x5c),
# whose first sector learns where the others are and how many (a list at its end, 0x1f4).
put_grub() {
	sectors=$((($(stat -c %s "$work/core.img") + 511) / 512))
	[ "$sectors" -le $((esp_lba - bios_lba)) ] || { say "GRUB's core is too large"; exit 1; }
	le 8 $bios_lba "$work/boot.img" 92
	le 8 $((bios_lba + 1)) "$work/core.img" 500
	le 2 $((sectors - 1)) "$work/core.img" 508
	dd if="$work/boot.img" of="$IMAGE" bs=1 count=440 conv=notrunc status=none
	dd if="$work/core.img" of="$IMAGE" bs=512 seek=$bios_lba conv=notrunc status=none
}

# --- partitions and file systems --------------------------------------------------------------------

partition() {
	truncate -s 0 "$IMAGE"
	truncate -s "${SIZE_MIB}M" "$IMAGE"
	sfdisk -q --no-reread --no-tell-kernel "$IMAGE" <<-X
		label: gpt
		label-id: $(uuid disk)
		first-lba: 34
		start=$bios_lba, size=$((esp_lba - bios_lba)), type=21686148-6449-6E6F-744E-656564454649, uuid=$(uuid bios), name=bios
		start=$esp_lba, size=$((esp_mib * 2048)), type=C12A7328-F81F-11D2-BA4B-00A0C93EC93B, uuid=$(uuid esp), name=esp
		start=$root_lba, type=4F68BCE3-E8CD-4DB1-96E7-FBCAF984B709, uuid=$(uuid root), name=root
	X
}

put_esp() {
	truncate -s "${esp_mib}M" "$work/esp"
	mkfs.vfat -n EFI -i "$(uuid vfat | cut -c1-8)" --invariant "$work/esp" >/dev/null
	mmd -i "$work/esp" ::EFI ::EFI/BOOT
	touch -d "@$SOURCE_DATE_EPOCH" "$work/grub.efi"
	mcopy -m -i "$work/esp" "$work/grub.efi" ::EFI/BOOT/BOOTX64.EFI
	dd if="$work/esp" of="$IMAGE" bs=1M seek=$((esp_lba / 2048)) conv=notrunc,sparse status=none
}

put_root() {
	# The last 33 sectors are the second partition table's.
	blocks=$(((SIZE_MIB * 2048 - root_lba - 2048) / 8))
	export E2FSPROGS_FAKE_TIME="$SOURCE_DATE_EPOCH"
	# Once more by itself: without what is mounted in it (/proc, /sys).
	mkdir "$work/root"
	mount --bind "$root" "$work/root"
	# mmdebstrap keeps files there while it runs.
	mount -t tmpfs -o mode=1777 tmpfs "$work/root/tmp"
	find "$work/root" -xdev -newermt "@$SOURCE_DATE_EPOCH" -exec touch -h -d "@$SOURCE_DATE_EPOCH" {} +
	mke2fs -q -F -t ext4 -b 4096 -L root -U "$(uuid ext4)" -d "$work/root" \
		-E "offset=$((root_lba * 512)),hash_seed=$(uuid hash),root_owner=0:0,lazy_itable_init=1,lazy_journal_init=1" \
		"$IMAGE" "$blocks"
	umount -R "$work/root"
	same_times
}

# mke2fs copies when a file was changed and read last, which no tool can set. The inodes of a new file system are numbered
# without gaps.
same_times() {
	used=$(dumpe2fs -h "$IMAGE?offset=$((root_lba * 512))" 2>/dev/null |
		awk '/^Inode count:/ { n = $3 } /^Free inodes:/ { print n - $3 }')
	seq 2 "$used" | awk -v t="@$SOURCE_DATE_EPOCH" '{
		print "sif <" $1 "> atime " t; print "sif <" $1 "> ctime " t }' |
		debugfs -w -f - "$IMAGE?offset=$((root_lba * 512))" >"$work/debugfs" 2>&1 || {
		tail -n 3 "$work/debugfs" >&2
		exit 1
	}
}

root=${2:-}
case ${1:-} in
early)
	early
	exit
	;;
hook) ;;
*) outer ;;
esac
work=$(mktemp -d)
trap 'umount -R "$work/root" 2>/dev/null || :; rm -rf --one-file-system "$work"' EXIT
say "stage configuring"
configure
say "stage boot loaders"
make_grub
say "stage partitions"
partition
put_esp
put_grub
say "stage root file system"
put_root
