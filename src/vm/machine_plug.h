/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef VM_MACHINE_PLUG_H
#define VM_MACHINE_PLUG_H

#include "base/attr.h"
#include "base/err.h"
#include "base/str.h"

struct disk_files;
struct machine;
struct machine_net;

/*
 * machine_attach_disk, machine_attach_net - one more device for a running guest, by ACPI hot plug. A guest that is not told
 * (paused, without ACPI) finds it at its next start.
 *
 * @spec: as the owner's open_disk() takes it
 * @fd:   the image's file, ours from now on; negative: it is none
 * @files: what else the image consists of; of the list, files are taken
 * @net:  its end's descriptors are ours from now on, also when it fails
 * @out:  a JSON object is appended: name, slot
 * Returns 0; -EOPNOTSUPP (nobody opens disks); -ENOSPC (no free slot); what open_disk() says. Thread: the control socket's.
 */
_nodiscard_ int machine_attach_disk(struct machine *m, const char *spec, int fd,
				    struct disk_files *files, struct strbuf *out, struct err *err);
_nodiscard_ int machine_attach_net(struct machine *m, const struct machine_net *net,
				   struct strbuf *out, struct err *err);

/*
 * machine_detach - ask the guest to let a device go. It is "leaving" then, until the guest does, at a reset at the latest.
 *
 * @name: as machine_devices() tells; those of the start can go as well
 * Returns 0; -ENODEV; -EBUSY (a disk's job is running). Thread: the control socket's.
 */
_nodiscard_ int machine_detach(struct machine *m, const char *name, struct err *err);

/*
 * machine_plug_same - are the devices those that the machine was started with, as its options say?
 *
 * Returns 0, or -EOPNOTSUPP with one that came or went. Thread: one that holds m->control.
 */
_nodiscard_ int machine_plug_same(const struct machine *m, struct err *err);

/* machine_devices - append a JSON array of the devices that can be detached: name, kind, slot, state, and the file of a disk
 * or the address of a network device. Thread: any. */
void machine_devices(struct machine *m, struct strbuf *out);

#endif
