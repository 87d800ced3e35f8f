/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef VM_CONTROL_H
#define VM_CONTROL_H

#include "base/attr.h"
#include "base/err.h"
#include "vm/stats.h"

/*
 * The control socket: what a running machine tells about itself, and the little that it can be told to do.
 *
 * A request is one line, a JSON object; so is its answer. Requests of one connection are served one after the
 * other. Members that are not named here are ignored.
 *
 *	{"do": "info"}
 *	{"do": "stats", "text": bool}
 *	{"do": "count", "on": bool}	until the connection ends
 *	{"do": "trace", "text": bool, "top": 1 to 1000, "address": "0x..."}
 *	{"do": "screen", "text": bool}	characters of a text mode, or a PNG file in base64
 *	{"do": "balloon", "text": bool, "bytes": number, "auto": true}	bytes: what the guest shall keep of its memory;
 *								auto: what the host's memory demands
 *	{"do": "power", "what": "button", "off", "reset", "pause" or "resume"}	the answer is {"state": ...} as in info
 *	{"do": "disks"}	chain of images, limits, job and state of each
 *	{"do": "disk", "disk": number, "what": one of
 *		"snapshot", "file": path, "name": how it names the present top	descriptors: the new image, that top
 *		"commit", "top": path, "base": path, "bps": number	all of them optional; paths as "disks" tells them
 *		"stream", "base": path, "bps": number
 *			and of both, "name": how the image above the base will name it	descriptors: the base; of a commit for
 *			writing, and so the image above "top"
 *		"backup", "file": path, "format": text, "bitmap": text, "increment": bool, "bps": number	a descriptor: the
 *			target, which is called "file"; the last three are optional
 *		"cancel"; "speed", "bps": number	of the job
 *		"limit", "limits": "iops=100,bps=10M"	what is not named stays
 *		"resize", "size": number, "shrink": bool
 *		"retry"}	what waits for space
 *	{"do": "snapshot", "what": "save", "disks": [name...], "base": digits, "base_name": name}	the machine as a whole, or
 *		what has changed since that save (snapshot_ref_text(), and the file's name; both optional); the answer says what was written, and
 *		the disks' backups go on	descriptors: an empty file; for each disk that is written to, an empty qcow2 image
 *	{"do": "cpus", "n": 1 to vcpus_max}	plug in, or ask to be given back; without "n" only look
 *	{"do": "devices"}	name, kind, slot, state ("attached", "leaving") and what is behind it
 *	{"do": "attach", "disk": string, "files": [string]}	as of --disk, with a path that starts with / and its format;
 *		descriptors: the image, and those of "files": what it names, in whatever order, by disk_files_note()
 *	{"do": "attach", "net": {"mac": string, "queues": number, "packed": bool, "tap": bool, "pcap": bool}}	descriptors:
 *		the network's end and, when "pcap", the capture's. The answers of both have name and slot
 *	{"do": "detach", "name": string}	it is "leaving" until the guest lets it go
 *	{"do": "console", "port": 0 to 3}	after its answer, the connection is that serial port's: what the port
 *						has said lately and says from now on, and what is typed
 *
 * A machine can open nothing (sys/sandbox/README.md). Where a request needs a file, whoever asks opens it and sends the
 * descriptor with the request (SCM_RIGHTS), in the order that the request wants; at most 16. What it does not use is closed.
 *
 *	{"ok": value}			"text": true makes the value a string for people
 *	{"error": "sentence", "code": "EINVAL"}
 */
struct machine;
struct control;

/*
 * control_new - serve a listening socket on a thread of its own.
 *
 * @listen_fd: the caller's, stays open until control_free()
 * @name:      what the machine is called; copied
 * Returns 0; -EAGAIN. @ret: control_free(). Thread: owner.
 */
_nodiscard_ int control_new(struct machine *m, int listen_fd, const char *name,
			    struct control **ret, struct err *err);

/* control_free - end the connections and the thread. NULL is fine. Thread: owner. */
void control_free(struct control *c);

#endif
