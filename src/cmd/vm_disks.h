/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef ATOLL_CMD_VM_DISKS_H
#define ATOLL_CMD_VM_DISKS_H

#include "base/attr.h"
#include "base/err.h"
#include "cmd/table.h"
#include "vm/disk_bus.h"
#include "vm/machine.h"

/* The disks of a machine, from its options. */
enum { VM_DISKS_MAX = 16 };

struct vm_disks;

struct vm_disk {
	struct machine_disk disk; /* released to us, which closes it */
	char *serial, *path;
	enum disk_bus bus;
	bool is_cd;   /* the medium of a CD-ROM drive */
	bool is_ours; /* of struct vm_disks; else it frees itself when it is released */
	struct vm_disks *all;
};

struct vm_disks {
	struct vm_disk *disk[VM_DISKS_MAX];
	unsigned int nr;
	struct machine_disk virtio[VM_DISKS_MAX]; /* those at virtio: of vm_drives_open() */
	unsigned int nr_virtio;
	unsigned int nr_cpus;
	_Atomic int worst; /* of closing */
};

/*
 * vm_disks_open - open what --disk names: "FILE[,if=virtio|sata|ide][,cdrom][,format=F][,readonly][,cache=writeback|none|unsafe]
 * [,discard=unmap|ignore][,serial=S][,queues=N][,packed][,no-backing][,full=wait|report][,LIMIT=N]...", limits as of disk_limits_parse().
 *
 * Without a format, the end of the file's name says it; its content is never asked, because the guest writes it.
 * @nr_cpus: for the number of queues
 * Returns 0, or a negative errno with the story. vm_disks_close() in both cases. Thread: owner.
 */
_nodiscard_ int vm_disks_open(struct vm_disks *v, const struct opt_list *specs,
			      unsigned int nr_cpus, struct err *err);

/*
 * vm_disks_attach - open one more disk, as machine_config.open_disk() wants it.
 *
 * @fd: of the image, taken over. @files: what else it consists of. @arg: struct vm_disks, of which vm_disks_open() was called. @ret: closed when the machine releases it
 * Returns 0; -EINVAL (also: it is not for virtio); -EOPNOTSUPP (@fd is negative). Thread: any.
 */
_nodiscard_ int vm_disks_attach(void *arg, const char *spec, int *fd, struct disk_files *files,
				struct machine_disk *ret, struct err *err);

/*
 * vm_disks_hand_over - open the files of a disk for a machine that is to attach it.
 *
 * @spec: as of --disk
 * @out:  the same with a whole path and the format, for vm_disks_attach(), is appended
 * @ret_fd: -EBADF when it is not a file
 * @files: what else the image consists of; disk_files_done()
 * Returns 0; -EINVAL; those of open(2). Thread: any.
 */
_nodiscard_ int vm_disks_hand_over(const char *spec, struct strbuf *out, int *ret_fd,
				   struct disk_files *files, struct err *err);

/* vm_disks_close - write what is not written yet and close; a failure is told on standard error, and returned.
 * Harmless when nothing is open. Thread: owner, after the machine's end. */
int vm_disks_close(struct vm_disks *v);

#endif
