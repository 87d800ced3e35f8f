/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef VM_VIRTIO_NET_H
#define VM_VIRTIO_NET_H

#include "vm/net/net.h"
#include "vm/virtio/virtio.h"

/*
 * A network device (virtio 1.2, 5.1) in front of a net_end: several queue pairs, mergeable buffers, checksum and
 * segmentation offload, control queue with address and VLAN filters, link state.
 */
enum { VIRTIO_NET_PAIRS = 8, VIRTIO_NET_MACS = 64, VIRTIO_NET_MERGE = 64 };

struct virtio_net {
	struct virtio_dev dev;
	struct net_end end; /* closed by the caller */
	struct io_watch watch;
	unsigned int nr_pairs, active_pairs;
	bool is_up; /* link */

	/* What the driver wants to receive. */
	bool promisc, allmulti, nomulti, nouni, nobcast, alluni;
	uint8_t own_mac[6], mac[6];	  /* configured; the driver's */
	uint8_t macs[VIRTIO_NET_MACS][6]; /* unicast and multicast */
	unsigned int nr_macs;
	uint8_t vlans[4096 / 8];
	unsigned int offloads; /* enum net_offload, of the guest */

	uint8_t *message;	 /* NET_PACKET_MAX: what was read last */
	uint32_t rest, rest_end; /* in it: the packets that have not had their turn */
	uint8_t *packet;	 /* in it: the one that is being received */
	uint32_t packet_len;	 /* 0: none waits */
	struct virtq_chain *in;	 /* VIRTIO_NET_MERGE of them */
	struct virtq_chain out;	 /* in flight: the other end had no room for it */
	struct virtq_chain control;
	struct iovec iov[1 + VIRTQ_MAX_IOV]; /* of what is being sent */

	uint64_t nr_dropped_in, nr_dropped_out;
};

struct virtio_net_config {
	struct net_end end;
	uint8_t mac[6];
	unsigned int nr_pairs; /* 1 to VIRTIO_NET_PAIRS */
	bool packed;
};

/* virtio_net_init - returns 0, or what watching the descriptor says. virtio_net_done() after its transport's end. */
_nodiscard_ int virtio_net_init(struct virtio_net *n, const struct virtio_net_config *cfg,
				const struct physmem *mem, struct iothread *io, struct err *err);
void virtio_net_done(struct virtio_net *n);

/* virtio_net_set_link - the cable is in, or out. Thread: any without the device's lock. */
void virtio_net_set_link(struct virtio_net *n, bool is_up);

#endif
