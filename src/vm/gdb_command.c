/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The commands of the remote protocol (GDB manual, E.2 to E.5). All-stop: while the guest runs there is no
 * command, and when one vCPU stops all do. What is not known gets the empty reply, by which a debugger
 * learns to do without.
 *
 * Break points are the engine's, not bytes in guest memory: the guest cannot see them, and its code may
 * change under them.
 */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "base/bytes.h"
#include "base/checked.h"
#include "vm/gdb_priv.h"

static bool reply_ok(struct gdb_server *s)
{
	strbuf_adds(&s->reply, "OK");
	return true;
}

static bool reply_error(struct gdb_server *s, unsigned int number)
{
	strbuf_reset(&s->reply);
	strbuf_addf(&s->reply, "E%02x", number);
	return true;
}

static bool starts(const char *p, const char *prefix)
{
	return !strncmp(p, prefix, strlen(prefix));
}

/* --- registers --- */

static bool read_registers(struct gdb_server *s)
{
	struct cpu_state st;
	uint8_t v[GDB_REG_MAX_BYTES];

	s->t->get_state(s->t->arg, s->cpu, &st);
	for (unsigned int i = 0; i < gdb_nr_regs(); i++) {
		gdb_reg_get(&st, i, v);
		gdb_add_hex(&s->reply, v, gdb_reg_size(i));
	}
	return true;
}

static bool write_registers(struct gdb_server *s, const char *p, size_t n)
{
	struct cpu_state st;
	uint8_t v[GDB_REG_MAX_BYTES];
	size_t off = 0;

	s->t->get_state(s->t->arg, s->cpu, &st);
	for (unsigned int i = 0; i < gdb_nr_regs(); i++) {
		if (!gdb_hex_bytes(p + off, n - off, v, gdb_reg_size(i)))
			return reply_error(s, EINVAL);
		gdb_reg_set(&st, i, v);
		off += 2 * gdb_reg_size(i);
	}
	if (s->t->set_state(s->t->arg, s->cpu, &st) < 0)
		return reply_error(s, EINVAL);
	return reply_ok(s);
}

static bool one_register(struct gdb_server *s, const char *p, bool is_write)
{
	uint8_t v[GDB_REG_MAX_BYTES];
	struct cpu_state st;
	uint64_t reg;

	if (!gdb_hex_u64(&p, &reg) || reg >= gdb_nr_regs())
		return reply_error(s, EINVAL);
	s->t->get_state(s->t->arg, s->cpu, &st);
	if (!is_write) {
		gdb_reg_get(&st, (unsigned int)reg, v);
		gdb_add_hex(&s->reply, v, gdb_reg_size((unsigned int)reg));
		return true;
	}
	if (*p != '=' || !gdb_hex_bytes(p + 1, strlen(p + 1), v, gdb_reg_size((unsigned int)reg)))
		return reply_error(s, EINVAL);
	gdb_reg_set(&st, (unsigned int)reg, v);
	if (s->t->set_state(s->t->arg, s->cpu, &st) < 0)
		return reply_error(s, EINVAL);
	return reply_ok(s);
}

/* --- memory --- */

/* "addr,length" */
static bool parse_range(const char **p, uint64_t *addr, uint64_t *len)
{
	if (!gdb_hex_u64(p, addr) || **p != ',')
		return false;
	(*p)++;
	return gdb_hex_u64(p, len);
}

static bool read_memory(struct gdb_server *s, const char *p)
{
	uint8_t buf[GDB_MEMORY_MAX > 2048 ? 2048 : GDB_MEMORY_MAX];
	uint64_t addr, len, done = 0;

	if (!parse_range(&p, &addr, &len))
		return reply_error(s, EINVAL);
	len = MIN(len, (uint64_t)GDB_MEMORY_MAX);
	/* Up to the end of what is mapped: page by page. */
	while (done < len) {
		uint64_t n = MIN(len - done, GUEST_PAGE_SIZE - ((addr + done) & GUEST_PAGE_MASK));

		n = MIN(n, (uint64_t)sizeof(buf));
		if (s->t->read(s->t->arg, s->cpu, addr + done, buf, n) < 0)
			break;
		gdb_add_hex(&s->reply, buf, n);
		done += n;
	}
	if (!done && len)
		return reply_error(s, EFAULT);
	return true;
}

static bool store(struct gdb_server *s, uint64_t addr, const uint8_t *p, uint64_t n)
{
	if (n && s->t->write(s->t->arg, s->cpu, addr, p, n) < 0)
		return reply_error(s, EFAULT);
	return reply_ok(s);
}

/* M: "addr,length:hex digits", in place: two digits become one byte. */
static bool write_memory_hex(struct gdb_server *s, char *p, const char *end)
{
	const char *q = p;
	uint64_t addr, len;

	if (!parse_range(&q, &addr, &len) || *q != ':')
		return reply_error(s, EINVAL);
	q++;
	if (!gdb_hex_bytes(q, (size_t)(end - q), (uint8_t *)p, len))
		return reply_error(s, EINVAL);
	return store(s, addr, (const uint8_t *)p, len);
}

/* X: "addr,length:binary", where '}' says that the next byte is XORed with 0x20. */
static bool write_memory_binary(struct gdb_server *s, char *p, const char *end)
{
	const char *q = p;
	uint64_t addr, len;
	char *out;

	if (!parse_range(&q, &addr, &len) || *q != ':')
		return reply_error(s, EINVAL);
	q++;
	for (out = p; q < end; q++) {
		if (*q == '}') {
			if (++q == end)
				return reply_error(s, EINVAL);
			*out++ = (char)(*q ^ 0x20);
		} else {
			*out++ = *q;
		}
	}
	if ((uint64_t)(out - p) != len)
		return reply_error(s, EINVAL);
	return store(s, addr, (const uint8_t *)p, len);
}

/* --- break and watch points --- */

static bool watch_value(struct gdb_server *s, const struct gdb_break *b, uint64_t *ret)
{
	uint8_t v[8] = { 0 };

	if (s->t->read(s->t->arg, s->stopped, b->addr, v, MIN(b->len, 8u)) < 0)
		return false;
	*ret = get_le64(v);
	return true;
}

static bool breakpoint(struct gdb_server *s, const char *p, bool insert)
{
	struct gdb_break b = { .type = p[0] };
	uint64_t len;

	if (b.type < '0' || b.type > '4')
		return true; /* not known: empty */
	if (p[1] != ',')
		return reply_error(s, EINVAL);
	p += 2;
	if (!parse_range(&p, &b.addr, &len) || len > 4096)
		return reply_error(s, EINVAL);
	/* For break points the length is a kind that x86 does not need. */
	b.len = b.type <= '1' || !len ? 1 : (uint32_t)len;
	for (unsigned int i = 0; i < s->nr_breaks; i++) {
		const struct gdb_break *o = &s->breaks[i];

		if (o->type != b.type || o->addr != b.addr || o->len != b.len)
			continue;
		if (!insert)
			s->breaks[i] = s->breaks[--s->nr_breaks];
		return reply_ok(s);
	}
	if (insert) {
		if (s->nr_breaks == CPU_DEBUG_MAX_BREAKS)
			return reply_error(s, ENOSPC);
		s->breaks[s->nr_breaks++] = b;
	}
	return reply_ok(s);
}

/* --- running --- */

static void resume(struct gdb_server *s, const enum gdb_action *action)
{
	struct cpu_debug_break breaks[CPU_DEBUG_MAX_BREAKS];

	for (unsigned int i = 0; i < s->nr_breaks; i++) {
		struct gdb_break *b = &s->breaks[i];

		breaks[i] = (struct cpu_debug_break){
			.addr = b->addr,
			.len = b->len,
			.exec = b->type <= '1',
			.read = b->type >= '3',
			.write = b->type == '2' || b->type == '4',
		};
		if (b->type == '2' && !watch_value(s, b, &b->old))
			b->old = 0;
	}
	memcpy(s->last, action, s->t->nr_cpus * sizeof(*action));
	s->is_running = true;
	s->t->resume(s->t->arg, action, breaks, s->nr_breaks);
}

/*
 * Why did it stop? The engine says only that it did. A write watch point shows by a changed value; a read
 * or access watch point is taken for the reason when there was no step and no break point at rip.
 */
void gdb_stop_reply(struct gdb_server *s)
{
	static const char *const names[] = { "watch", "rwatch", "awatch" };
	const struct gdb_break *why = NULL;
	struct cpu_state st;
	uint64_t now, lin;
	bool at_break = s->last[s->stopped] == GDB_STEP;

	s->t->get_state(s->t->arg, s->stopped, &st);
	lin = st.rip + (st.efer & EFER_LMA ? 0 : st.seg[CPU_CS].base);
	for (unsigned int i = 0; i < s->nr_breaks; i++)
		at_break |= s->breaks[i].type <= '1' && s->breaks[i].addr == lin;
	for (unsigned int i = 0; i < s->nr_breaks && !why; i++) {
		const struct gdb_break *b = &s->breaks[i];

		if (b->type == '2' && watch_value(s, b, &now) && now != b->old)
			why = b;
		else if (b->type >= '3' && !at_break)
			why = b;
	}
	strbuf_addf(&s->reply, "T05thread:%x;", s->stopped + 1);
	if (why)
		strbuf_addf(&s->reply, "%s:%llx;", names[why->type - '2'],
			    (unsigned long long)why->addr);
}

/* Thread ids: hexadecimal from 1; -1 is all, 0 any. Returns the vCPU, -1 for all, or -2 for none such. */
static int parse_thread(struct gdb_server *s, const char **p)
{
	uint64_t id;

	if ((*p)[0] == '-' && (*p)[1] == '1') {
		*p += 2;
		return -1;
	}
	if (!gdb_hex_u64(p, &id) || id > s->t->nr_cpus)
		return -2;
	return id ? (int)id - 1 : (int)s->stopped;
}

static bool run(struct gdb_server *s, enum gdb_action what, const char *p)
{
	enum gdb_action action[GDB_MAX_CPUS] = { GDB_STAY };
	struct cpu_state st;
	uint64_t addr;

	if (*p) { /* go on at another address */
		if (!gdb_hex_u64(&p, &addr))
			return reply_error(s, EINVAL);
		s->t->get_state(s->t->arg, s->cpu, &st);
		st.rip = addr;
		if (s->t->set_state(s->t->arg, s->cpu, &st) < 0)
			return reply_error(s, EINVAL);
	}
	for (unsigned int i = 0; i < s->t->nr_cpus; i++)
		if (s->step_cpu < 0 || (unsigned int)s->step_cpu == i)
			action[i] = what;
	/* One vCPU steps; the others stand, or a step would never be one instruction. */
	if (what == GDB_STEP && s->step_cpu < 0) {
		memset(action, 0, sizeof(action));
		action[s->cpu] = GDB_STEP;
	}
	resume(s, action);
	return false;
}

/* vCont;action[:thread]... - the first action that names a thread is its own. */
static bool run_threads(struct gdb_server *s, const char *p)
{
	enum gdb_action action[GDB_MAX_CPUS];
	bool is_set[GDB_MAX_CPUS] = { false }, any = false;
	uint64_t signal;

	for (unsigned int i = 0; i < GDB_MAX_CPUS; i++)
		action[i] = GDB_STAY;
	while (*p == ';') {
		enum gdb_action what = p[1] == 's' || p[1] == 'S' ? GDB_STEP : GDB_CONTINUE;
		int cpu = -1;
		char kind = p[1];

		if (!kind || !strchr("cCsS", kind))
			return reply_error(s, EINVAL);
		p += 2;
		if ((kind == 'C' || kind == 'S') && !gdb_hex_u64(&p, &signal))
			return reply_error(s, EINVAL);
		if (*p == ':') {
			p++;
			cpu = parse_thread(s, &p);
			if (cpu == -2)
				return reply_error(s, EINVAL);
		}
		for (unsigned int i = 0; i < s->t->nr_cpus; i++) {
			if (is_set[i] || (cpu >= 0 && (unsigned int)cpu != i))
				continue;
			is_set[i] = any = true;
			action[i] = what;
		}
	}
	if (*p || !any)
		return reply_error(s, EINVAL);
	resume(s, action);
	return false;
}

/* --- threads and queries --- */

static bool select_thread(struct gdb_server *s, const char *p)
{
	char what = *p++;
	int cpu = parse_thread(s, &p);

	if (cpu == -2 || (what != 'g' && what != 'c'))
		return reply_error(s, EINVAL);
	if (what == 'g')
		s->cpu = cpu < 0 ? s->stopped : (unsigned int)cpu;
	else
		s->step_cpu = cpu;
	return reply_ok(s);
}

static bool thread_list(struct gdb_server *s, bool first)
{
	if (first)
		s->next_info = 0;
	if (s->next_info == s->t->nr_cpus) {
		strbuf_addc(&s->reply, 'l');
		return true;
	}
	strbuf_addc(&s->reply, 'm');
	for (unsigned int i = 0; i < s->t->nr_cpus; i++)
		strbuf_addf(&s->reply, i ? ",%x" : "%x", i + 1);
	s->next_info = s->t->nr_cpus;
	return true;
}

static bool thread_extra(struct gdb_server *s, const char *p)
{
	static const char *const states[] = { "running", "halted", "waits for SIPI", "shut down" };
	struct cpu_state st;
	char text[64];
	int cpu = parse_thread(s, &p);

	if (cpu < 0)
		return reply_error(s, EINVAL);
	s->t->get_state(s->t->arg, (unsigned int)cpu, &st);
	snprintf(text, sizeof(text), "CPU#%d [%s]", cpu,
		 st.ev.mp_state < ARRAY_SIZE(states) ? states[st.ev.mp_state] : "?");
	gdb_add_hex(&s->reply, text, strlen(text));
	return true;
}

/* qXfer:features:read:target.xml:offset,length */
static bool transfer_features(struct gdb_server *s, const char *p)
{
	uint64_t off, len;

	if (!starts(p, "target.xml:"))
		return reply_error(s, 0);
	p += strlen("target.xml:");
	if (!parse_range(&p, &off, &len))
		return reply_error(s, EINVAL);
	if (!s->xml.n)
		gdb_target_xml(&s->xml);
	if (off > s->xml.n)
		return reply_error(s, EINVAL);
	len = MIN(len, (uint64_t)GDB_PACKET_MAX - 4);
	len = MIN(len, (uint64_t)s->xml.n - off);
	strbuf_addc(&s->reply, off + len < s->xml.n ? 'm' : 'l');
	for (uint64_t i = off; i < off + len; i++) {
		char c = s->xml.p[i];

		if (strchr("}#$*", c)) {
			strbuf_addc(&s->reply, '}');
			c ^= 0x20;
		}
		strbuf_addc(&s->reply, c);
	}
	return true;
}

static bool query(struct gdb_server *s, const char *p)
{
	if (starts(p, "qSupported")) {
		strbuf_addf(&s->reply,
			    "PacketSize=%x;qXfer:features:read+;vContSupported+;QStartNoAckMode+",
			    GDB_PACKET_MAX);
		return true;
	}
	if (starts(p, "qXfer:features:read:"))
		return transfer_features(s, p + strlen("qXfer:features:read:"));
	if (starts(p, "qThreadExtraInfo,"))
		return thread_extra(s, p + strlen("qThreadExtraInfo,"));
	if (!strcmp(p, "qfThreadInfo"))
		return thread_list(s, true);
	if (!strcmp(p, "qsThreadInfo"))
		return thread_list(s, false);
	if (!strcmp(p, "qC")) {
		strbuf_addf(&s->reply, "QC%x", s->cpu + 1);
		return true;
	}
	if (starts(p, "qAttached")) {
		strbuf_addc(&s->reply, '1');
		return true;
	}
	if (!strcmp(p, "QStartNoAckMode")) {
		s->no_ack = true;
		return reply_ok(s);
	}
	return true;
}

static bool verbose(struct gdb_server *s, const char *p)
{
	if (!strcmp(p, "vCont?")) {
		strbuf_adds(&s->reply, "vCont;c;C;s;S");
		return true;
	}
	if (starts(p, "vCont;"))
		return run_threads(s, p + strlen("vCont"));
	if (starts(p, "vKill")) {
		s->is_closing = true;
		s->t->kill(s->t->arg);
		return reply_ok(s);
	}
	return true;
}

bool gdb_command(struct gdb_server *s, const char *p, size_t n)
{
	char *args = s->packet + 1;
	const char *end = s->packet + n;
	uint64_t number;

	switch (*p) {
	case '?':
		gdb_stop_reply(s);
		return true;
	case 'g':
		return read_registers(s);
	case 'G':
		return write_registers(s, args, n - 1);
	case 'p':
		return one_register(s, args, false);
	case 'P':
		return one_register(s, args, true);
	case 'm':
		return read_memory(s, args);
	case 'M':
		return write_memory_hex(s, args, end);
	case 'X':
		return write_memory_binary(s, args, end);
	case 'Z':
		return breakpoint(s, args, true);
	case 'z':
		return breakpoint(s, args, false);
	case 'c':
		return run(s, GDB_CONTINUE, args);
	case 's':
		return run(s, GDB_STEP, args);
	case 'C': /* signals mean nothing to a machine */
	case 'S':
		p++;
		if (!gdb_hex_u64(&p, &number))
			return reply_error(s, EINVAL);
		return run(s, s->packet[0] == 'S' ? GDB_STEP : GDB_CONTINUE, *p == ';' ? p + 1 : p);
	case 'H':
		return select_thread(s, args);
	case 'T':
		p++;
		return parse_thread(s, &p) >= 0 ? reply_ok(s) : reply_error(s, EINVAL);
	case 'q':
	case 'Q':
		return query(s, p);
	case 'v':
		return verbose(s, p);
	case 'D':
		s->is_closing = true;
		return reply_ok(s);
	case 'k':
		s->is_closing = true;
		s->t->kill(s->t->arg);
		return false;
	default:
		return true;
	}
}
