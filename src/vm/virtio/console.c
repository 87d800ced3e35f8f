/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The console device. Output is handed to the chardev as it takes it: a chain stays ours until its last byte is
 * taken, so a reader that does not read stops the guest's writer and nobody else. Input waits in a buffer of ours
 * for the guest's, because it comes on the chardev's thread, and only the I/O thread writes guest memory.
 *
 *	guest --out chain--> chardev_write() --no room--> blocked --writable()--> task --> go on
 *	chardev --receive()--> port's buffer --task--> in chains
 *
 * With MULTIPORT a port exists when the guest has said that it is ready; it is told "open" for our end at once, since
 * a chardev is always there, and output of a port that the guest has not opened cannot come. Control messages to the
 * guest are few and known beforehand, so they wait in an array of fixed size; one that finds it full is dropped,
 * which only a guest that gives no buffers and asks again and again can cause.
 */
#include "vm/virtio/console.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "base/bytes.h"
#include "sys/thread.h"
#include "vm/snapshot/state.h"

/* clang-format off */
enum {
	ID_CONSOLE = 3, QUEUE_SIZE = 128,

	F_SIZE = 0, F_MULTIPORT = 1,

	/* Configuration space (5.3.4). */
	C_MAX_PORTS = 4, C_LEN = 12,

	/* Queues (5.3.2): port 0's two, the control's two, then two for each port. */
	Q_CONTROL_IN = 2, Q_CONTROL_OUT = 3,

	/* Control messages (5.3.6.2): port, event, value, text. */
	MSG_PORT = 0, MSG_EVENT = 4, MSG_VALUE = 6, MSG_LEN = 8,
	EV_DEVICE_READY = 0, EV_PORT_ADD = 1, EV_PORT_READY = 3, EV_CONSOLE_PORT = 4,
	EV_OPEN = 6, EV_NAME = 7,

	COPY = 1024,
};
/* clang-format on */

static unsigned int in_queue(const struct virtio_console_port *p)
{
	return p->index ? 2 * p->index + 2 : 0;
}

static unsigned int out_queue(const struct virtio_console_port *p)
{
	return in_queue(p) + 1;
}

static struct virtio_console *console_of(struct virtio_dev *d)
{
	return container_of(d, struct virtio_console, dev);
}

/* --- output -------------------------------------------------------------------------------------------------- */

/* Writes out the port's chain. Returns whether it is done with. */
static bool write_out(struct virtio_console_port *p)
{
	uint8_t buf[COPY];

	while (p->out_off < p->out.out_bytes) {
		uint32_t n = chain_read(&p->out, p->out_off, buf, sizeof(buf));
		ssize_t done = p->cd ? chardev_write(p->cd, buf, n) : (ssize_t)n;

		if (done == -EAGAIN) {
			p->is_blocked = true;
			return false;
		}
		/* Nobody will take it: it is gone. */
		p->out_off += done < 0 ? n : (uint32_t)done;
	}
	return true;
}

static void run_out(struct virtio_console_port *p)
{
	struct virtio_dev *d = &p->con->dev;
	struct virtq *q = &d->q[out_queue(p)];
	unsigned int n = 0;
	bool any = false;

	while (!p->is_blocked) {
		if (!p->out.q) {
			if (!virtio_pop(d, q, &p->out, &n))
				break;
			p->out_off = p->out_skip;
			p->out_skip = 0;
		}
		if (!write_out(p))
			break;
		virtio_push(d, &p->out, 0);
		any = true;
	}
	if (any)
		virtio_signal(d, q);
}

/* --- input --------------------------------------------------------------------------------------------------- */

static uint32_t take_in(struct virtio_console_port *p, uint8_t *buf, uint32_t n)
{
	mutex_guard(&p->in_lock);
	n = MIN(n, p->in_len);
	for (uint32_t k = 0; k < n; k++)
		buf[k] = p->in[(p->in_first + k) % VIRTIO_CONSOLE_BUFFER];
	p->in_first = (p->in_first + n) % VIRTIO_CONSOLE_BUFFER;
	p->in_len -= n;
	return n;
}

static bool has_in(struct virtio_console_port *p)
{
	mutex_guard(&p->in_lock);
	return p->in_len > 0;
}

static bool take_refused(struct virtio_console_port *p)
{
	bool was;

	mutex_guard(&p->in_lock);
	was = p->is_refused;
	p->is_refused = false;
	return was;
}

static void run_in(struct virtio_console_port *p)
{
	struct virtio_console *con = p->con;
	struct virtio_dev *d = &con->dev;
	struct virtq *q = &d->q[in_queue(p)];
	unsigned int count = 0;
	bool any = false;

	/* Before the guest has opened the port, its driver throws away what comes. */
	if (!p->is_open)
		return;
	while (has_in(p) && virtio_pop(d, q, &con->chain, &count)) {
		uint8_t buf[COPY];
		uint32_t n, done = 0;

		while (done < con->chain.in_bytes &&
		       (n = take_in(p, buf, MIN((uint32_t)COPY, con->chain.in_bytes - done))))
			done += chain_write(&con->chain, done, buf, n);
		virtio_push(d, &con->chain, done);
		any = true;
	}
	if (!any)
		return;
	virtio_signal(d, q);
	if (take_refused(p))
		chardev_can_receive_again(p->cd);
}

static size_t receive(void *arg, const uint8_t *buf, size_t n)
{
	struct virtio_console_port *p = arg;
	size_t m;

	mutex_lock(&p->in_lock);
	m = MIN(n, (size_t)(VIRTIO_CONSOLE_BUFFER - p->in_len));
	for (size_t k = 0; k < m; k++)
		p->in[(p->in_first + p->in_len + k) % VIRTIO_CONSOLE_BUFFER] = buf[k];
	p->in_len += (uint32_t)m;
	p->is_refused = p->is_refused || m < n;
	mutex_unlock(&p->in_lock);
	virtio_again(&p->con->dev, in_queue(p));
	return m;
}

static void writable(void *arg)
{
	struct virtio_console_port *p = arg;

	/* The chardev's thread holds no lock here, and the I/O thread does not wait for it with ours. */
	mutex_lock(&p->con->dev.lock);
	p->is_blocked = false;
	mutex_unlock(&p->con->dev.lock);
	virtio_again(&p->con->dev, out_queue(p));
}

/* --- control ------------------------------------------------------------------------------------------------- */

static void say(struct virtio_console *con, uint32_t port, uint16_t event, uint16_t value,
		const char *text)
{
	size_t n = strlen(text);
	uint8_t *m;

	if (con->nr_messages == ARRAY_SIZE(con->messages))
		return;
	m = con->messages[con->nr_messages];
	put_le32(m + MSG_PORT, port);
	put_le16(m + MSG_EVENT, event);
	put_le16(m + MSG_VALUE, value);
	memcpy(m + MSG_LEN, text, n);
	con->message_len[con->nr_messages++] = (uint8_t)(MSG_LEN + n);
}

static void send_messages(struct virtio_console *con)
{
	struct virtio_dev *d = &con->dev;
	struct virtq *q = &d->q[Q_CONTROL_IN];
	unsigned int sent = 0, n = 0;

	while (sent < con->nr_messages && virtio_pop(d, q, &con->chain, &n)) {
		uint32_t len = con->message_len[sent];

		len = chain_write(&con->chain, 0, con->messages[sent], len);
		virtio_push(d, &con->chain, len);
		sent++;
	}
	if (!sent)
		return;
	con->nr_messages -= sent;
	memmove(con->messages, con->messages[sent], con->nr_messages * sizeof(con->messages[0]));
	memmove(con->message_len, con->message_len + sent, con->nr_messages);
	virtio_signal(d, q);
}

/* Whether the back end goes by who has the port open. */
static bool knows_open(const struct virtio_console_port *p)
{
	return p->cd && p->cd->ops->opened;
}

static void set_open(struct virtio_console_port *p, bool is_open)
{
	struct virtio_console *con = p->con;
	uint32_t bit = UINT32_C(1) << p->index;

	if (knows_open(p)) {
		mutex_lock(&p->in_lock);
		p->in_len = 0;
		mutex_unlock(&p->in_lock);
		chardev_opened(p->cd, is_open);
	}
	p->is_open = is_open;
	if (con->hung & bit && !is_open) {
		con->hung &= ~bit;
		say(con, p->index, EV_OPEN, 1, "");
	}
}

/* What the back end heard is not in a snapshot, so there is another one now: the guest is told that ours has gone, and that there is one
 * again when it has closed its own. At once, it might not see it. */
static void hang_up(struct virtio_console_port *p)
{
	struct virtio_console *con = p->con;
	uint32_t bit = UINT32_C(1) << p->index;

	if (!knows_open(p) || (!p->is_open && !(con->hung & bit)))
		return;
	p->is_open = false;
	p->in_len = p->out_skip = 0;
	con->hung |= bit;
	say(con, p->index, EV_OPEN, 0, "");
}

static void heard(struct virtio_console *con, uint32_t port, uint16_t event, uint16_t value)
{
	struct virtio_console_port *p = &con->port[MIN(port, con->nr_ports - 1)];

	if (event == EV_DEVICE_READY) {
		for (unsigned int k = 0; value == 1 && k < con->nr_ports; k++)
			say(con, k, EV_PORT_ADD, 1, "");
		return;
	}
	if (port >= con->nr_ports)
		return;
	if (event == EV_PORT_READY && value == 1) {
		if (p->is_console)
			say(con, port, EV_CONSOLE_PORT, 1, "");
		if (p->name[0])
			say(con, port, EV_NAME, 1, p->name);
		say(con, port, EV_OPEN, 1, "");
	} else if (event == EV_OPEN) {
		set_open(p, value == 1);
		virtio_again(&con->dev, in_queue(p));
	}
}

static void run_control(struct virtio_console *con)
{
	struct virtio_dev *d = &con->dev;
	struct virtq *q = &d->q[Q_CONTROL_OUT];
	unsigned int n = 0;

	while (virtio_pop(d, q, &con->chain, &n)) {
		uint8_t m[MSG_LEN];
		bool whole = chain_read(&con->chain, 0, m, MSG_LEN) == MSG_LEN;

		virtio_push(d, &con->chain, 0);
		if (whole)
			heard(con, get_le32(m + MSG_PORT), get_le16(m + MSG_EVENT),
			      get_le16(m + MSG_VALUE));
	}
	virtio_signal(d, q);
}

/* --- the device ---------------------------------------------------------------------------------------------- */

static void run(struct virtio_dev *d, uint64_t kicked)
{
	struct virtio_console *con = console_of(d);
	bool multiport = virtio_has(d, F_MULTIPORT);

	if (!virtio_is_running(d))
		return;
	if (multiport && (kicked >> Q_CONTROL_OUT & 1))
		run_control(con);
	if (multiport)
		send_messages(con);
	for (unsigned int k = 0; k < (multiport ? con->nr_ports : 1); k++) {
		struct virtio_console_port *p = &con->port[k];

		if (kicked >> out_queue(p) & 1)
			run_out(p);
		if (kicked >> in_queue(p) & 1)
			run_in(p);
	}
}

static void started(struct virtio_dev *d)
{
	struct virtio_console *con = console_of(d);

	/* Without several ports there is nobody to say so. */
	if (!virtio_has(d, F_MULTIPORT))
		con->port[0].is_open = true;
}

static void reset(struct virtio_dev *d)
{
	struct virtio_console *con = console_of(d);

	con->nr_messages = con->hung = 0;
	for (unsigned int k = 0; k < con->nr_ports; k++) {
		struct virtio_console_port *p = &con->port[k];

		if (p->is_open)
			set_open(p, false);
		p->is_blocked = false;
		p->out_skip = 0;
		if (p->out.q)
			virtio_abandon(d, &p->out);
	}
}

static void settle(struct virtio_dev *d)
{
	struct virtio_console *con = console_of(d);

	for (unsigned int k = 0; k < con->nr_ports; k++) {
		struct virtio_console_port *p = &con->port[k];

		if (p->out.q)
			p->out_skip = p->out_off;
		virtio_unpop(d, &p->out);
	}
}

static void restored(struct virtio_dev *d)
{
	struct virtio_console *con = console_of(d);

	put_le32(d->config + C_MAX_PORTS, con->nr_ports);
	for (unsigned int k = 0; k < con->nr_ports; k++)
		hang_up(&con->port[k]);
}

/* How much there is comes before what: bytes may arrive meanwhile. */
static const struct state_field port_fields[] = {
	STATE_BOOL(struct virtio_console_port, is_open),
	STATE_MAX(struct virtio_console_port, in_first, VIRTIO_CONSOLE_BUFFER - 1),
	STATE_MAX(struct virtio_console_port, in_len, VIRTIO_CONSOLE_BUFFER),
	STATE_BYTES(struct virtio_console_port, in),
	STATE_ANY(struct virtio_console_port, out_skip),
};

static const struct state_desc port_state = {
	.name = "port",
	.version = 1,
	STATE_NO_LOCK,
	STATE_TABLE(struct virtio_console_port, port_fields),
};

static const struct state_field fields[] = {
	STATE_STRUCT(struct virtio_console, port, &port_state),
	STATE_BYTES(struct virtio_console, messages),
	STATE_ARRAY(struct virtio_console, message_len, MSG_LEN + VIRTIO_CONSOLE_NAME),
	STATE_MAX(struct virtio_console, nr_messages,
		  ARRAY_SIZE(((struct virtio_console *)NULL)->messages)),
	STATE_SINCE(2, struct virtio_console, hung, (1u << VIRTIO_CONSOLE_PORTS) - 1),
};

static const struct state_desc console_state = {
	.name = "console",
	.version = 2,
	STATE_LOCK(struct virtio_console, dev.lock),
	STATE_TABLE(struct virtio_console, fields),
};

static const struct virtio_ops console_ops = { .name = "virtio-console",
					       .id = ID_CONSOLE,
					       .run = run,
					       .started = started,
					       .reset = reset,
					       .settle = settle,
					       .restored = restored,
					       .state = &console_state };

void virtio_console_init(struct virtio_console *con, const struct virtio_console_config *cfg,
			 const struct physmem *mem, struct iothread *io)
{
	unsigned int queues = 2 * cfg->nr_ports + 2;

	memset(con, 0, sizeof(*con));
	virtio_init(&con->dev, &console_ops, mem, io, queues, QUEUE_SIZE,
		    UINT64_C(1) << F_MULTIPORT);
	put_le32(con->dev.config + C_MAX_PORTS, cfg->nr_ports);
	con->dev.config_len = C_LEN;
	con->nr_ports = cfg->nr_ports;
	for (unsigned int k = 0; k < cfg->nr_ports; k++) {
		struct virtio_console_port *p = &con->port[k];

		p->con = con;
		p->index = k;
		p->cd = cfg->port[k].cd;
		p->is_console = !cfg->port[k].name;
		if (cfg->port[k].name)
			snprintf(p->name, sizeof(p->name), "%s", cfg->port[k].name);
		mutex_init(&p->in_lock);
		if (!p->cd)
			continue;
		chardev_set_receiver(p->cd, receive, p);
		chardev_set_writable(p->cd, writable);
	}
}

void virtio_console_done(struct virtio_console *con)
{
	if (!con->nr_ports)
		return;
	for (unsigned int k = 0; k < con->nr_ports; k++) {
		struct virtio_console_port *p = &con->port[k];

		if (p->cd) {
			chardev_set_receiver(p->cd, NULL, NULL);
			chardev_set_writable(p->cd, NULL);
		}
		pthread_mutex_destroy(&p->in_lock);
	}
	virtio_done(&con->dev);
	con->nr_ports = 0;
}
