/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A snapshot that somebody has forged: with the right checksums, and wrong in what it says. The first byte of an input chooses:
 * an even one is followed by the sections as they are in a file; an odd one by changes of a good snapshot's sections, each
 * which section (2), where in it (2), how many bytes (1), and the bytes. What is not refused is loaded into a machine with every
 * kind of device that can be saved, which is then used a little, and saved again.
 *
 * 0x42 is followed by what of a header is another one than in a good file, from its version on; 0x44 by the length of a
 * name (1), the name of a base, and the runs of pages of a file that has the good one as its base.
 */
#include <assert.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/bytes.h"
#include "base/crc32c.h"
#include "base/mem.h"
#include "vm/machine_priv.h"
#include "vm/net/net.h"
#include "vm/snapshot/file_priv.h"
#include "vm/snapshot/state.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);

static struct machine *machine;
static struct snapshot base;
static char path[] = "/tmp/atoll-fuzz-snapshot-XXXXXX";

/* The smallest multiboot kernel: a header that says where it goes, and one instruction. */
static void write_kernel(int fd)
{
	uint8_t k[64] = { 0 };
	static const uint32_t words[] = { 0x1badb002, 0x10000,	0u - 0x1badb002u - 0x10000u,
					  0x100000,   0x100000, 0x100040,
					  0x100040,   0x100030 };

	for (unsigned int i = 0; i < ARRAY_SIZE(words); i++)
		put_le32(k + 4 * i, words[i]);
	k[0x30] = 0xf4;
	if (write(fd, k, sizeof(k)) != sizeof(k))
		abort();
}

static void forget(void)
{
	machine_free(machine);
	snapshot_close(&base);
	unlink(path);
}

static void make(void)
{
	static struct net_end end;
	static struct machine_net net = { .end = &end, .mac = { 2 }, .nr_pairs = 2, .packed = true };
	struct machine_config cfg = {
		.kernel = path,
		.memory_bytes = 2 << 20,
		.nr_cpus = 2,
		.engine = CPU_ENGINE_INTERP,
		.nets = &net,
		.nr_nets = 1,
		.nr_consoles = 2,
		.consoles = { { .name = NULL }, { .name = "channel" } },
		.vsock = { .cid = 3, .listen_fd = -1 },
		.rng = true,
		.balloon = MACHINE_BALLOON,
		.watchdog = true,
		.vga = true,
	};
	_cleanup_(strbuf_done) struct strbuf out = { 0 };
	struct machine_save to = { 0 };
	struct err err = ERR_INIT;
	int pair[2], fd = mkstemp(path);

	if (fd < 0 || socketpair(AF_UNIX, SOCK_DGRAM | SOCK_NONBLOCK, 0, pair) < 0)
		abort();
	write_kernel(fd);
	close(fd);
	end = NET_END_INIT;
	end.fd = pair[0];
	if (machine_new(&cfg, &machine, &err) < 0)
		abort();
	fd = open(path, O_RDWR | O_TRUNC | O_CLOEXEC);
	to.fd = fd;
	if (machine_snapshot_save(machine, &to, &out, &err) < 0 ||
	    snapshot_open(path, &base, &err) < 0) {
		fprintf(stderr, "%s\n", err_text(&err));
		abort();
	}
	close(fd);
	atexit(forget);
}

static uint64_t take(const uint8_t **p, size_t *n, unsigned int bytes)
{
	uint64_t v = get_le(*p, (unsigned int)MIN((size_t)bytes, *n));

	*p += MIN((size_t)bytes, *n);
	*n -= MIN((size_t)bytes, *n);
	return v;
}

static void change(struct snapshot *s, const uint8_t *p, size_t n)
{
	while (n) {
		unsigned int which = (unsigned int)take(&p, &n, 2) % s->nr;
		uint64_t off = take(&p, &n, 2), len = take(&p, &n, 1) & 31;
		struct str data = s->section[which].data;

		for (; len && n; len--, off++) {
			uint8_t b = (uint8_t)take(&p, &n, 1);

			if (data.n)
				((char *)(uintptr_t)data.p)[off % data.n] = (char)b;
		}
	}
}

/* A little of everything that a guest could do next. */
static void use(struct machine *m)
{
	struct strbuf text = { 0 };
	struct picture picture;

	while (iothread_run(&m->virtio.io))
		;
	timerq_run_due(&m->timers);
	for (uint16_t port = 0; port < 0x400; port++) {
		(void)bus_read(m->pio, port, 1);
		if (port != 0x64 && port != 0x92) /* which reset */
			bus_write(m->pio, port, 1, 0x55);
	}
	for (uint16_t bdf = 0; bdf < 256; bdf++)
		for (uint16_t off = 0; off < 256; off += 4)
			pci_config_write(&m->pci, bdf, off, 4,
					 pci_config_read(&m->pci, bdf, off, 4));
	for (uint64_t off = 0; off < 0x200; off += 8)
		bus_write(m->mmio, HPET_BASE + off, 8, bus_read(m->mmio, HPET_BASE + off, 8));
	for (uint64_t a = 0xa0000; a < 0xc0000; a += 4093)
		bus_write(m->mmio, a, 1, bus_read(m->mmio, a, 1));
	vga_picture(&m->vga, &picture);
	picture_text(&picture, &text);
	strbuf_done(&text);
	for (unsigned int i = 0; i < MACHINE_VIRTIO_MAX; i++)
		for (unsigned int q = 0;
		     m->virtio.unit[i] && q < m->virtio.unit[i]->pci.dev->nr_queues; q++)
			virtio_kick(m->virtio.unit[i]->pci.dev, q);
	while (iothread_run(&m->virtio.io))
		;
	timerq_run_due(&m->timers);
	i8259_ack(&m->pic);
	atomic_store(&m->request, 0);
}

static void try_header(const uint8_t *data, size_t n)
{
	static uint8_t h[SNAPSHOT_HEADER];
	struct snapshot s = { .fd = -EBADF };
	uint64_t bytes = base.sections_off + base.sections_bytes;
	struct err err = ERR_INIT;

	if (pread(base.fd, h, sizeof(h), 0) != sizeof(h))
		abort();
	memcpy(h + H_VERSION, data, MIN(n, sizeof(h) - H_VERSION - 4));
	put_le32(h + H_SUM, crc32c(0, h, H_SUM));
	if (snapshot_parse_header(h, bytes, &s, &err) == 0)
		assert(s.memory_bytes == base.memory_bytes);
	else
		assert(err_text(&err)[0]);
}

static void add_section(struct strbuf *out, const char *name, const uint8_t *p, size_t n)
{
	uint8_t head[S_HEADER] = { 0 };

	snprintf((char *)head, SNAPSHOT_NAME, "%s", name);
	put_le16(head + S_VERSION, 1);
	put_le32(head + S_BYTES, (uint32_t)n);
	strbuf_add(out, head, sizeof(head));
	strbuf_add(out, p, n);
	while (out->n % 8)
		strbuf_addc(out, 0);
}

static void try_base(const uint8_t *data, size_t n)
{
	size_t name = n ? MIN((size_t)*data, n - 1) : 0;
	_cleanup_(strbuf_done) struct strbuf text = { 0 };
	struct snapshot s = base, below = base;
	struct err err = ERR_INIT;

	strbuf_add(&text, base.text, base.sections_bytes);
	add_section(&text, "base", data + 1, name);
	add_section(&text, "pages", data + 1 + name, n ? n - 1 - name : 0);
	s.section = NULL;
	s.has_base = true;
	s.base = &below;
	s.sections_sum = crc32c(0, text.p, text.n);
	if (snapshot_parse_sections((const uint8_t *)text.p, text.n, &s, &err) < 0)
		abort();
	if (snapshot_parse_base(&s, &err) < 0) {
		assert(err_text(&err)[0]);
	} else if (machine_snapshot_load(machine, &s, &err) < 0) {
		fprintf(stderr, "%s\n", err_text(&err));
		abort();
	} else {
		use(machine);
		if (machine_snapshot_load(machine, &base, &err) < 0)
			abort();
	}
	free(s.section);
	free(s.extent);
	free(s.base_name);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
	_cleanup_(mem_freep) uint8_t *text = NULL;
	struct snapshot s;
	struct err err = ERR_INIT;
	bool is_ok;
	int r = 0;

	if (!machine)
		make();
	if (!n)
		return 0;
	if (*data == 0x42 || *data == 0x44) {
		*data == 0x42 ? try_header(data + 1, n - 1) : try_base(data + 1, n - 1);
		return 0;
	}
	s = base;
	s.section = NULL;
	s.sections_bytes = *data & 1 ? base.sections_bytes : n - 1;
	text = malloc(MAX(s.sections_bytes, UINT64_C(1)));
	memcpy(text, *data & 1 ? base.text : data + 1, s.sections_bytes);
	s.sections_sum = crc32c(0, text, s.sections_bytes);
	r = snapshot_parse_sections(text, s.sections_bytes, &s, &err);
	if (*data & 1)
		assert(r == 0);
	if (r == 0 && (*data & 1))
		change(&s, data + 1, n - 1);
	is_ok = r == 0 && machine_snapshot_load(machine, &s, &err) == 0;
	assert(is_ok || err_text(&err)[0]);
	free(s.section);
	if (!is_ok)
		return 0;
	use(machine);
	/* Back to something good, which always can be loaded. */
	if (machine_snapshot_load(machine, &base, &err) < 0)
		abort();
	return 0;
}
