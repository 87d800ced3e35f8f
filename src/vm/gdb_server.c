/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Framing of the remote protocol: "$packet#sum", acknowledged by '+' or '-' until the debugger says that the
 * line is reliable; a bare 0x03 interrupts.
 *
 *	IDLE --$--> DATA --#--> SUM1 --> SUM2 --> IDLE
 *
 * Anybody on this host may connect, a web page by way of the browser included; so a connection whose first
 * byte no debugger would send is closed, as is one with a packet over the announced size.
 */
#include <errno.h>
#include <string.h>

#include "vm/gdb_priv.h"

static const char hex_digits[] = "0123456789abcdef";

void gdb_add_hex(struct strbuf *b, const void *p, size_t n)
{
	const uint8_t *byte = p;

	for (size_t i = 0; i < n; i++) {
		strbuf_addc(b, hex_digits[byte[i] >> 4]);
		strbuf_addc(b, hex_digits[byte[i] & 0xf]);
	}
}

bool gdb_hex_u64(const char **p, uint64_t *ret)
{
	uint64_t v = 0;
	unsigned int n = 0;

	for (; str_hex_digit(**p) >= 0; n++) {
		v = v << 4 | (uint64_t)str_hex_digit(**p);
		(*p)++;
	}
	*ret = v;
	return n >= 1 && n <= 16;
}

bool gdb_hex_bytes(const char *p, size_t avail, uint8_t *ret, size_t n)
{
	if (avail / 2 < n)
		return false;
	for (size_t i = 0; i < n; i++) {
		int hi = str_hex_digit(p[2 * i]), lo = str_hex_digit(p[2 * i + 1]);

		if (hi < 0 || lo < 0)
			return false;
		ret[i] = (uint8_t)(hi << 4 | lo);
	}
	return true;
}

void gdb_send(struct gdb_server *s)
{
	uint8_t sum = 0;

	for (size_t i = 0; i < s->reply.n; i++)
		sum = (uint8_t)(sum + (uint8_t)s->reply.p[i]);
	strbuf_addc(&s->out, '$');
	strbuf_add(&s->out, strbuf_cstr(&s->reply), s->reply.n);
	strbuf_addc(&s->out, '#');
	gdb_add_hex(&s->out, &sum, 1);
}

static void packet_end(struct gdb_server *s)
{
	if (!s->no_ack) {
		strbuf_addc(&s->out, s->sum == s->want_sum ? '+' : '-');
		if (s->sum != s->want_sum)
			return;
	}
	s->packet[s->n] = 0;
	/* A running guest has a stop reply to give, nothing else. */
	if (s->is_running)
		return;
	strbuf_reset(&s->reply);
	if (gdb_command(s, s->packet, s->n))
		gdb_send(s);
}

static void interrupt(struct gdb_server *s)
{
	if (!s->is_running)
		return;
	s->t->halt(s->t->arg);
	s->is_running = false;
	strbuf_reset(&s->reply);
	strbuf_addf(&s->reply, "T02thread:%x;", s->stopped + 1);
	gdb_send(s);
}

/* Returns false when the connection makes no sense. */
static bool feed_byte(struct gdb_server *s, char c)
{
	int v;

	switch (s->framing) {
	case FRAME_IDLE:
		if (!s->has_spoken && c != '+' && c != '-' && c != '$' && c != 3)
			return false;
		s->has_spoken = true;
		if (c == '$') {
			s->framing = FRAME_DATA;
			s->n = 0;
			s->sum = 0;
		} else if (c == 3) {
			interrupt(s);
		}
		return true;
	case FRAME_DATA:
		if (c == '#') {
			s->framing = FRAME_SUM1;
			return true;
		}
		if (s->n == GDB_PACKET_MAX)
			return false;
		s->packet[s->n++] = c;
		s->sum = (uint8_t)(s->sum + (uint8_t)c);
		return true;
	case FRAME_SUM1:
		v = str_hex_digit(c);
		if (v < 0)
			return false;
		s->want_sum = (uint8_t)(v << 4);
		s->framing = FRAME_SUM2;
		return true;
	case FRAME_SUM2:
		v = str_hex_digit(c);
		if (v < 0)
			return false;
		s->want_sum |= (uint8_t)v;
		s->framing = FRAME_IDLE;
		packet_end(s);
		return true;
	}
	return false;
}

int gdb_server_feed(struct gdb_server *s, const void *p, size_t n)
{
	const char *c = p;

	for (size_t i = 0; i < n && !s->is_closing; i++)
		if (!feed_byte(s, c[i]))
			s->is_closing = true;
	return s->is_closing ? -ECONNRESET : 0;
}

void gdb_server_stopped(struct gdb_server *s, unsigned int cpu)
{
	if (!s->is_running)
		return;
	s->t->halt(s->t->arg);
	s->is_running = false;
	s->stopped = cpu;
	s->cpu = cpu;
	strbuf_reset(&s->reply);
	gdb_stop_reply(s);
	gdb_send(s);
}

void gdb_server_ended(struct gdb_server *s, int status)
{
	if (!s->is_running)
		return;
	strbuf_reset(&s->reply);
	strbuf_addf(&s->reply, "W%02x", (unsigned int)status & 0xff);
	gdb_send(s);
}

void gdb_server_init(struct gdb_server *s, const struct gdb_target *t)
{
	memset(s, 0, sizeof(*s));
	s->t = t;
	s->step_cpu = -1;
	t->halt(t->arg);
}

void gdb_server_done(struct gdb_server *s)
{
	enum gdb_action all[GDB_MAX_CPUS];

	for (unsigned int i = 0; i < GDB_MAX_CPUS; i++)
		all[i] = GDB_CONTINUE;
	if (s->is_running)
		s->t->halt(s->t->arg);
	s->t->resume(s->t->arg, all, NULL, 0);
	strbuf_done(&s->out);
	strbuf_done(&s->reply);
	strbuf_done(&s->xml);
}
