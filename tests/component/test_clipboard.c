/* SPDX-License-Identifier: GPL-2.0-or-later */
/* A guest's agent at its port of the console device: a driver and an agent that the test plays, and a viewer. */
#include "unit.h"

#include <errno.h>

#include "virtio_driver.h"
#include "vm/clipboard.h"
#include "vm/virtio/console.h"
#include "vm/virtio/pci.h"

enum { OPEN = 6, IN = 0x20000, IN_LEN = 64, OUT = 0x4000, SAID_MAX = 2 << 20 };

struct fixture {
	struct vd v;
	struct virtio_console con;
	struct virtio_pci pci;
	struct clipboard clip;
	char copied[64];
	unsigned int nr_copied;
	uint8_t *said; /* to the agent, without the chunks' headers */
	size_t said_n;
	uint8_t chunk[8];
	size_t chunk_n, chunk_left;
};

static void copied(void *arg, struct str text)
{
	struct fixture *f = arg;

	snprintf(f->copied, sizeof(f->copied), "%.*s", STR_ARG(text));
	f->nr_copied++;
}

static int setup(void **state)
{
	struct fixture *f = calloc(1, sizeof(*f));
	struct virtio_console_config cfg = { .nr_ports = 1 };
	int r;

	*state = f;
	f->said = malloc(SAID_MAX);
	if (vd_bench_init(&f->v) < 0)
		return -1;
	clipboard_init(&f->clip, &f->v.io);
	clipboard_set_copied(&f->clip, copied, f);
	cfg.port[0].cd = &f->clip.cd;
	cfg.port[0].name = AGENT_PORT;
	virtio_console_init(&f->con, &cfg, &f->v.b.memory.phys, &f->v.io);
	r = virtio_pci_init(&f->pci, &f->con.dev, &f->v.b.board, &f->v.pci, VD_DEVFN, 0x078000,
			    NULL);
	if (r < 0 || !vd_probe(&f->v) || !vd_start(&f->v, 2, 4, 32))
		return -1;
	for (unsigned int k = 0; k < 8; k++)
		vd_add(&f->v, 0, &(struct vd_piece){ VD_DATA + IN + IN_LEN * k, IN_LEN, true }, 1,
		       false);
	return 0;
}

static int teardown(void **state)
{
	struct fixture *f = *state;

	virtio_pci_reset(&f->pci);
	virtio_pci_done(&f->pci);
	virtio_console_done(&f->con);
	clipboard_done(&f->clip);
	vd_bench_done(&f->v);
	free(f->said);
	free(f);
	return 0;
}

static void open_port(struct fixture *f, bool is_open)
{
	struct vd_piece p = { VD_DATA + 0x8000, 8, false };
	uint8_t *m = vd_ram(&f->v, p.gpa);

	put_le32(m, 0);
	put_le16(m + 4, OPEN);
	put_le16(m + 6, is_open);
	assert_int_equal(vd_do(&f->v, 3, &p, 1), 0);
	if (is_open)
		f->said_n = f->chunk_n = f->chunk_left = 0;
}

static void take(struct fixture *f, const uint8_t *p, size_t n)
{
	while (n) {
		size_t part = MIN(n, f->chunk_left ? f->chunk_left : 8 - f->chunk_n);

		if (f->chunk_left) {
			assert_true(f->said_n + part <= SAID_MAX);
			memcpy(f->said + f->said_n, p, part);
			f->said_n += part;
			f->chunk_left -= part;
		} else {
			memcpy(f->chunk + f->chunk_n, p, part);
			f->chunk_n += part;
			if (f->chunk_n == 8) {
				f->chunk_n = 0;
				f->chunk_left = get_le32(f->chunk + 4);
			}
		}
		p += part;
		n -= part;
	}
}

/* Reads until nothing more comes. */
static void listen_all(struct fixture *f)
{
	uint32_t len;
	uint16_t id;

	vd_run(&f->v);
	while (vd_used(&f->v, 0, &id, &len)) {
		uint64_t gpa = get_le64(vd_ram(&f->v, f->v.q[0].desc + 16 * (uint64_t)id));

		take(f, vd_ram(&f->v, gpa), len);
		vd_add(&f->v, 0, &(struct vd_piece){ gpa, IN_LEN, true }, 1, false);
		vd_kick(&f->v, 0);
	}
}

/* The next message that the agent has read; returns the length of its body. */
static uint32_t hear(struct fixture *f, uint32_t type)
{
	uint32_t n;

	listen_all(f);
	assert_true(f->said_n >= 20);
	assert_int_equal(get_le32(f->said + 4), type);
	n = get_le32(f->said + 16);
	assert_true(f->said_n >= 20 + n);
	return n;
}

static void heard(struct fixture *f, uint32_t n)
{
	f->said_n -= 20 + n;
	memmove(f->said, f->said + 20 + n, f->said_n);
}

static void say(struct fixture *f, uint32_t type, const void *body, uint32_t n)
{
	struct vd_piece p = { VD_DATA + OUT, 28 + n, false };
	uint8_t *m = vd_ram(&f->v, p.gpa);

	memset(m, 0, 28);
	put_le32(m, 1);
	put_le32(m + 4, 20 + n);
	put_le32(m + 8, 1);
	put_le32(m + 12, type);
	put_le32(m + 24, n);
	memcpy(m + 28, body, n);
	assert_int_equal(vd_do(&f->v, 1, &p, 1), 0);
}

static void greet(struct fixture *f)
{
	open_port(f, true);
	assert_int_equal(hear(f, 6), 8);
	heard(f, 8);
	say(f, 6, "\0\0\0\0\x60\0\0\0", 8); /* by demand, selections */
}

static void test_both_ways(void **state)
{
	struct fixture *f = *state;
	uint32_t n;

	clipboard_offer(&f->clip, STR("there before the agent"));
	greet(f);
	heard(f, hear(f, 7));
	say(f, 8, "\0\0\0\0\1\0\0\0", 8);
	n = hear(f, 4);
	assert_int_equal(n, 8 + 22);
	assert_memory_equal(f->said + 28, "there before the agent", 22);
	heard(f, n);
	say(f, 7, "\0\0\0\0\1\0\0\0", 8);
	heard(f, hear(f, 8));
	say(f, 4, "\0\0\0\0\1\0\0\0guest's", 15);
	assert_string_equal(f->copied, "guest's");
	assert_int_equal(f->nr_copied, 1);
	listen_all(f);
	assert_int_equal(f->said_n, 0);
}

/* More than the port takes at once; the guest reads when it likes, or closes and begins anew. */
static void test_large(void **state)
{
	struct fixture *f = *state;
	char *text = malloc(AGENT_TEXT_MAX);
	uint32_t n;

	for (unsigned int k = 0; k < AGENT_TEXT_MAX; k++)
		text[k] = (char)('a' + k % 23);
	greet(f);
	clipboard_offer(&f->clip, (struct str){ text, AGENT_TEXT_MAX });
	heard(f, hear(f, 7));
	say(f, 8, "\0\0\0\0\1\0\0\0", 8);
	open_port(f, false);
	listen_all(f); /* what is in its buffers already */
	greet(f);
	heard(f, hear(f, 7));
	say(f, 8, "\0\0\0\0\1\0\0\0", 8);
	n = hear(f, 4);
	assert_int_equal(n, 8 + AGENT_TEXT_MAX);
	assert_memory_equal(f->said + 28, text, AGENT_TEXT_MAX);
	heard(f, n);
	assert_int_equal(f->said_n, 0);
	free(text);
}

static void test_hostile(void **state)
{
	struct fixture *f = *state;
	struct vd_piece p = { VD_DATA + OUT, 4096, false };

	greet(f);
	memset(vd_ram(&f->v, p.gpa), 1, p.len);
	for (int k = 0; k < 100; k++)
		assert_int_equal(vd_do(&f->v, 1, &p, 1), 0);
	listen_all(f);
	assert_int_equal(f->nr_copied, 0);
	vd_set_status(&f->v, 0);
	clipboard_offer(&f->clip, STR("to nobody"));
	vd_run(&f->v);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_both_ways, setup, teardown),
		cmocka_unit_test_setup_teardown(test_large, setup, teardown),
		cmocka_unit_test_setup_teardown(test_hostile, setup, teardown),
	};

	return cmocka_run_group_tests_name("clipboard", tests, NULL, NULL);
}
