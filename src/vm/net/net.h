/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef VM_NET_NET_H
#define VM_NET_NET_H

#include <errno.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/uio.h>

#include "base/attr.h"
#include "base/err.h"
#include "base/str.h"

/*
 * The other end of a network device: a descriptor on which each read and write is one packet, made of a header as in
 * virtio 1.2, 5.1.6 (12 bytes, little-endian) and an Ethernet frame. A tap device speaks that, and so do two machines
 * that share a socket, and our user-mode helper. So there is one data path, and a back end is how to get the
 * descriptor.
 *
 * Waking the reader costs more than a packet of the usual 1.5 KB, so a message through a socket may hold several
 * packets (a tap's do not): the word where a driver finds its number of buffers is then the length of the packet,
 * header included, behind which the next one starts; it is 0 in the last one.
 */
enum {
	NET_HDR = 12,
	NET_FRAME_MIN = 14,
	NET_PACKET_MAX = NET_HDR + 65535 + 18,

	/* The header. */
	NET_H_FLAGS = 0,
	NET_H_GSO_TYPE = 1,
	NET_H_LEN = 2,
	NET_H_GSO_SIZE = 4,
	NET_H_CSUM_START = 6,
	NET_H_CSUM_OFFSET = 8,
	NET_H_BUFFERS = 10, /* a driver's; between ends: */
	NET_H_NEXT = 10,
	NET_NEEDS_CSUM = 1,
	NET_DATA_VALID = 2,
	NET_GSO_NONE = 0,
};

/* What the receiving side can finish itself: else the other end must. */
enum net_offload {
	NET_CSUM = 1 << 0,
	NET_TSO4 = 1 << 1,
	NET_TSO6 = 1 << 2,
	NET_ECN = 1 << 3,
};

struct net_end {
	int fd;	     /* non-blocking; net_end_close() */
	int pcap_fd; /* negative: no capture */
	bool is_tap;
	unsigned int takes; /* enum net_offload that the other end finishes */
};

#define NET_END_INIT                                                                               \
	(struct net_end)                                                                           \
	{                                                                                          \
		.fd = -EBADF, .pcap_fd = -EBADF                                                    \
	}

/* net_end_close - close what is open. */
void net_end_close(struct net_end *end);

/* net_open_tap - a tap device, which is made when it is not there and we may. Returns 0; -EPERM, -EBUSY, others of
 * the tun driver. */
_nodiscard_ int net_open_tap(const char *name, struct net_end *ret, struct err *err);

/* net_open_socket - a Unix socket (SOCK_SEQPACKET) to another machine: wait there for it, or go to it. The one that
 * waits does so before its guest starts. Returns 0; -EADDRINUSE, -ECONNREFUSED and others. */
_nodiscard_ int net_open_socket(const char *path, bool listen, struct net_end *ret,
				struct err *err);

/* net_pair - two ends that lead to each other. Returns 0, or what socketpair() says. */
_nodiscard_ int net_pair(struct net_end *a, struct net_end *b, struct err *err);

/*
 * net_open_fd - an end that somebody else has opened: a tap, or a socket as of net_open_socket().
 *
 * @fd: taken over on success. Returns 0; those of fcntl(2).
 */
_nodiscard_ int net_open_fd(int *fd, bool is_tap, struct net_end *ret, struct err *err);

/* net_parse_mac - "52:54:00:12:34:56" as six bytes. Returns 0; -EINVAL (not an address, or one of a group). Thread: any. */
_nodiscard_ int net_parse_mac(struct str v, uint8_t *mac, struct err *err);

/* net_set_offloads - what our side's guest finishes itself; a tap does the rest. */
void net_set_offloads(struct net_end *end, unsigned int offloads);

/* net_capture - write packets to a file in pcap's format (nanoseconds, Ethernet). Returns 0, or what open says. */
_nodiscard_ int net_capture(struct net_end *end, const char *path, struct err *err);

/* net_captured - one frame passed; does nothing without a capture. Thread: one at a time. */
void net_captured(struct net_end *end, const struct iovec *iov, unsigned int nr);

/*
 * net_finish_csum - compute the checksum that a header says is missing.
 *
 * @hdr: NET_HDR bytes; afterwards says that nothing is missing
 * @frame: its @len bytes
 * Returns 0; -EINVAL (the places are not in the frame; nothing is changed).
 */
_nodiscard_ int net_finish_csum(uint8_t *hdr, uint8_t *frame, uint32_t len);

#endif
