/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef VM_GDB_PRIV_H
#define VM_GDB_PRIV_H

#include <stddef.h>

#include "base/str.h"
#include "vm/gdb.h"

/*
 * The protocol without its socket: bytes in, bytes out.
 */
enum {
	GDB_PACKET_MAX = 16384, /* bytes between '$' and '#' */
	GDB_MEMORY_MAX = GDB_PACKET_MAX / 2 - 16,
	GDB_MAX_CPUS = 64,
};

struct gdb_break {
	char type; /* '0' to '4' as in Z packets */
	uint64_t addr;
	uint32_t len;
	uint64_t old; /* watch points: what memory held when the guest was resumed */
};

enum gdb_framing { FRAME_IDLE, FRAME_DATA, FRAME_SUM1, FRAME_SUM2 };

struct gdb_server {
	const struct gdb_target *t;
	struct strbuf out; /* to be sent; the shell empties it */

	/* Framing. */
	enum gdb_framing framing;
	char packet[GDB_PACKET_MAX + 1];
	size_t n;
	uint8_t sum, want_sum;
	bool has_spoken; /* a first byte was seen */
	bool no_ack;

	/* Session. */
	bool is_running;
	bool is_closing;	/* detached, killed, or nonsense was received */
	unsigned int cpu;	/* of g, G, p, P, m, M */
	int step_cpu;		/* of c and s; -1: all */
	unsigned int stopped;	/* the vCPU that stopped last */
	unsigned int next_info; /* for qsThreadInfo */
	enum gdb_action last[GDB_MAX_CPUS];
	struct gdb_break breaks[CPU_DEBUG_MAX_BREAKS];
	unsigned int nr_breaks;
	struct strbuf reply; /* of the packet at hand */
	struct strbuf xml;
};

/* gdb_server_init - a debugger connected: the guest is halted. Thread: owner. */
void gdb_server_init(struct gdb_server *s, const struct gdb_target *t);
/* gdb_server_done - the debugger is gone: its break points, too, and the guest runs on. */
void gdb_server_done(struct gdb_server *s);

/* gdb_server_feed - take received bytes; what is to be sent is in s->out afterwards. Returns 0, or
 * -ECONNRESET when the connection is to be closed (after sending). */
_nodiscard_ int gdb_server_feed(struct gdb_server *s, const void *p, size_t n);

/* gdb_server_stopped - a vCPU stopped; every other one is halted, too. Ignored unless running. */
void gdb_server_stopped(struct gdb_server *s, unsigned int cpu);
/* gdb_server_ended - the machine ended. */
void gdb_server_ended(struct gdb_server *s, int status);

/* gdb_command - answer one packet (terminated, n bytes) in s->reply. Returns whether to reply. */
bool gdb_command(struct gdb_server *s, const char *p, size_t n);
/* gdb_stop_reply - the reason of the last stop, appended to s->reply. */
void gdb_stop_reply(struct gdb_server *s);
/* gdb_send - put s->reply into a packet in s->out. */
void gdb_send(struct gdb_server *s);

/* Registers (gdb_regs.c). Sizes in bytes. */
enum { GDB_REG_MAX_BYTES = 16 };
unsigned int gdb_nr_regs(void);
unsigned int gdb_reg_size(unsigned int reg);
/* gdb_reg_get - little-endian bytes of a register. */
void gdb_reg_get(const struct cpu_state *st, unsigned int reg, uint8_t *ret);
/* gdb_reg_set - change it; registers that cannot be written are left alone. */
void gdb_reg_set(struct cpu_state *st, unsigned int reg, const uint8_t *val);
/* gdb_target_xml - the description that gdb asks for. */
void gdb_target_xml(struct strbuf *out);

/* Hexadecimal. gdb_hex_u64 reads digits and moves on; false without any or with more than 16. */
void gdb_add_hex(struct strbuf *b, const void *p, size_t n);
bool gdb_hex_u64(const char **p, uint64_t *ret);
/* gdb_hex_bytes - 2 * n digits. Returns false when there are not as many. */
bool gdb_hex_bytes(const char *p, size_t avail, uint8_t *ret, size_t n);

#endif
