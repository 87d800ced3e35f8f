/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef VM_VIRTIO_VSOCK_H
#define VM_VIRTIO_VSOCK_H

#include "vm/virtio/virtio.h"

/*
 * A socket device (virtio 1.2, 5.10): streams between programs of the guest (AF_VSOCK) and of the host, who use Unix
 * sockets. The host connects to a listening socket and says "CONNECT PORT\n", and hears "OK N\n" when the guest has
 * accepted; what the guest connects to at port P of the host (CID 2) is the socket at PATH_P.
 */
enum {
	VSOCK_CONNS = 64,
	VSOCK_BUFFER =
		64
		<< 10, /* bytes of the guest that the host's program has not taken, for each connection */
	VSOCK_RESETS = 64, /* refusals that wait for a buffer of the guest */
	VSOCK_PATH = 96,
	VSOCK_LINE = 24,
};

enum vsock_state {
	VSOCK_FREE,
	VSOCK_SAYS,  /* the host's program has not said its port yet */
	VSOCK_ASKED, /* the guest was asked, or will be */
	VSOCK_OPEN,
};

struct virtio_vsock;

struct vsock_conn {
	struct virtio_vsock *v;
	enum vsock_state state;
	int fd;
	struct io_watch watch; /* of fd, until it hangs up */
	uint32_t guest_port, host_port;
	unsigned int wants; /* packets to be sent to the guest, see vsock.c */

	char line[VSOCK_LINE]; /* "CONNECT ..." */
	unsigned int line_n;

	/* From the guest. */
	uint8_t *buffer; /* VSOCK_BUFFER bytes; while the state is not free */
	uint32_t first, n;
	uint32_t fwd_cnt, told_fwd_cnt; /* bytes taken by the host, and as the guest knows */

	/* To the guest. */
	uint32_t peer_alloc, peer_fwd, sent;
	bool is_readable; /* there is something, or an end */
	bool is_hung;	  /* its program has gone; what it said before is still to be read */
	bool has_ended;	  /* the host's program says no more */
	bool guest_deaf, guest_mute; /* the guest takes no more; says no more */
};

struct virtio_vsock {
	struct virtio_dev dev;
	struct io_watch listener; /* the caller's socket; fd negative: none */
	char path[VSOCK_PATH];	  /* "": the guest cannot connect */
	uint64_t cid;
	uint32_t next_port;
	bool tells_end;		/* that every connection has ended, when there is a buffer for it */
	unsigned int next_conn; /* whose turn it is */
	struct vsock_conn conn[VSOCK_CONNS];
	struct virtq_chain chain;
	struct {
		uint32_t guest_port, host_port;
	} reset[VSOCK_RESETS];
	unsigned int nr_resets;
	uint8_t packet[VSOCK_BUFFER];
	struct iovec iov[VIRTQ_MAX_IOV];
};

struct virtio_vsock_config {
	uint64_t cid;	  /* the guest's: 3 to 2^32 - 2 */
	const char *path; /* of the host's socket; NULL: none */
	int listen_fd;	  /* at @path, the caller's; does not block; negative: none */
};

/* virtio_vsock_init - Returns 0 or negative. virtio_vsock_done() after its transport's end. */
_nodiscard_ int virtio_vsock_init(struct virtio_vsock *v, const struct virtio_vsock_config *cfg,
				  const struct physmem *mem, struct iothread *io, struct err *err);
void virtio_vsock_done(struct virtio_vsock *v);

/* vsock_adopt - a program of the host has connected: @fd, which does not block, is ours from now on. Returns false, with
 * @fd closed, when there are too many. I/O thread, under the device's lock. */
bool vsock_adopt(struct virtio_vsock *v, int fd);

#endif
