/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The serial port between a guest and an outside that stalls, floods and dies. */
#include <errno.h>

#include "fuzz_dev.h"
#include "vm/chardev.h"
#include "vm/dev/serial16550.h"

static const struct fuzz_window windows[] = {
	{ 0x3f8, 8, false },
};

struct world {
	struct bench b;
	struct chardev cd;
	struct serial16550 uart;
	ssize_t answer; /* what a write gives */
};

static ssize_t wire_write(struct chardev *cd, const void *buf, size_t n)
{
	struct world *w = container_of(cd, struct world, cd);

	return w->answer > 0 ? (ssize_t)MIN((size_t)w->answer, n) : w->answer;
}

static void wire_close(struct chardev *cd)
{
}

static const struct chardev_ops wire_ops = { wire_write, NULL, wire_close };

static void event(void *arg, unsigned int what)
{
	static const ssize_t answers[] = { 1, 5, 16, -EAGAIN, -EPIPE };
	static const uint8_t bytes[64] = "what comes from outside";
	struct world *w = arg;
	size_t n = what >> 2 & 63, took;

	switch (what & 3) {
	case 0:
		took = w->cd.receive(w->cd.port_arg, bytes, n);
		fuzz_must(took <= n && w->uart.rx.n <= SERIAL_FIFO);
		break;
	case 1:
		w->answer = answers[(what >> 2) % ARRAY_SIZE(answers)];
		break;
	default:
		w->cd.writable(w->cd.port_arg);
	}
	fuzz_must(w->uart.tx.n <= SERIAL_FIFO);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
	static struct world w;
	struct fuzz_input in = { data, n };

	w.cd = (struct chardev){ .ops = &wire_ops };
	w.answer = 16;
	fuzz_must(bench_init(&w.b, 0) == 0);
	fuzz_must(serial16550_init(&w.uart, &w.b.board, 0x3f8, 4, &w.cd, NULL) == 0);
	fuzz_steps(&in, &w.b, windows, ARRAY_SIZE(windows), event, &w);
	serial16550_reset(&w.uart);
	fuzz_must(!bench_line(&w.b, 4));
	serial16550_done(&w.uart);
	bench_done(&w.b);
	return 0;
}
