/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What all virtio devices share: the life that a driver leads them through.
 *
 *	                features                 queues enabled
 *	reset --ACKNOWLEDGE, DRIVER--> --FEATURES_OK--> --DRIVER_OK--> running --bad ring--> NEEDS_RESET
 *	  ^                                                               |                     |
 *	  '------- nothing in flight ---- resetting <---- status = 0 -----+---------------------'
 *
 * A reset may come with requests in flight whose memory the host's kernel is writing to. The status goes on to
 * read as it was until they are done, and drivers wait for it to read 0 (2.4.2, 4.1.4.3.2); so no vCPU waits for
 * a disk, and after the reset nothing is written to the driver's memory. Without requests in flight the reset is
 * done when the write is.
 *
 * A bus may deny a device the driver's memory (PCI's bus master bit): then it does nothing until it may again, and what has been
 * asked of it, by the driver or by the outside, waits. Linux takes the bit away from devices that it leaves to a kernel started by
 * kexec, without a reset; the memory is somebody else's then.
 *
 * What the driver sets counts only in the state in which it may be set: features before FEATURES_OK, a queue's
 * registers before it is enabled. A queue takes its registers over when it is enabled (queue.c).
 */
#include "vm/virtio/virtio.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/bytes.h"
#include "base/checked.h"
#include "base/log.h"
#include "base/mem.h"
#include "sys/thread.h"
#include "vm/snapshot/state.h"

static void run(struct virtio_dev *d, unsigned int batch)
{
	uint64_t kicked;

	mutex_guard(&d->lock);
	/* What is to be done stays marked; virtio_master_changed() comes back to it. */
	if (!virtio_may_access(d) && !d->is_resetting)
		return;
	kicked = atomic_exchange(&d->kicked, 0);
	d->batch = batch;
	d->ops->run(d, virtio_is_running(d) ? kicked : 0);
}

static void run_task(void *arg)
{
	run(arg, VIRTIO_BATCH);
}

void virtio_soon(struct virtio_dev *d)
{
	if (!d->ops->is_quick || !iothread_enter(d->io)) {
		io_task_queue(d->io, &d->task);
		return;
	}
	run(d, VIRTIO_BATCH_HERE);
	iothread_leave(d->io);
}

void virtio_init(struct virtio_dev *d, const struct virtio_ops *ops, const struct physmem *mem,
		 struct iothread *io, unsigned int nr_queues, uint16_t queue_size,
		 uint64_t features)
{
	assert(nr_queues && nr_queues <= VIRTIO_MAX_QUEUES);
	memset(d, 0, sizeof(*d));
	d->ops = ops;
	d->name = ops->name;
	d->io = io;
	d->features = features | VIRTIO_COMMON_FEATURES;
	d->nr_queues = nr_queues;
	d->q = mem_new_n(nr_queues, sizeof(*d->q));
	for (unsigned int n = 0; n < nr_queues; n++)
		virtq_init(&d->q[n], mem, (uint16_t)n, queue_size);
	mutex_init(&d->lock);
	cond_init(&d->idle);
	io_task_init(&d->task, run_task, d);
}

void virtio_done(struct virtio_dev *d)
{
	if (!d->ops)
		return;
	io_task_cancel(d->io, &d->task);
	free(take_ptr(&d->q));
	pthread_cond_destroy(&d->idle);
	pthread_mutex_destroy(&d->lock);
	d->ops = NULL;
}

/* --- reset ------------------------------------------------------------------------------------------------- */

static bool has_in_flight(const struct virtio_dev *d)
{
	for (unsigned int n = 0; n < d->nr_queues; n++)
		if (d->q[n].nr_popped != d->q[n].nr_pushed)
			return true;
	return false;
}

static void finish_reset(struct virtio_dev *d)
{
	if (!d->is_resetting || has_in_flight(d))
		return;
	for (unsigned int n = 0; n < d->nr_queues; n++)
		virtq_reset(&d->q[n]);
	atomic_store(&d->kicked, 0);
	d->accepted = 0;
	d->features_sel = d->accepted_sel = 0;
	d->status = 0;
	d->generation = 0;
	d->is_resetting = false;
	if (d->transport)
		d->transport->reset(d->transport->arg);
	pthread_cond_broadcast(&d->idle);
}

static void start_reset(struct virtio_dev *d)
{
	if (!d->is_resetting) {
		d->is_resetting = true;
		d->ops->reset(d);
		io_task_queue(d->io, &d->task);
	}
	finish_reset(d);
}

void virtio_reset_wait(struct virtio_dev *d)
{
	mutex_guard(&d->lock);
	start_reset(d);
	while (d->is_resetting)
		cond_wait(&d->idle, &d->lock);
}

/* --- registers ----------------------------------------------------------------------------------------------- */

static void kick_all(struct virtio_dev *d)
{
	atomic_fetch_or(&d->kicked, UINT64_MAX >> (64 - d->nr_queues));
	io_task_queue(d->io, &d->task);
}

void virtio_kick(struct virtio_dev *d, unsigned int n)
{
	if (n >= d->nr_queues)
		return;
	atomic_fetch_add_explicit(&d->nr_kicks, 1, memory_order_relaxed);
	if (!(atomic_fetch_or(&d->kicked, UINT64_C(1) << n) >> n & 1))
		virtio_soon(d);
}

/* Callbacks run under the lock, and ask for the flag there: whoever has had the lock after it was cleared has waited for the
 * last of them. */
void virtio_master_changed(struct virtio_dev *d)
{
	mutex_guard(&d->lock);
	if (virtio_may_access(d))
		kick_all(d);
}

uint8_t virtio_status(struct virtio_dev *d)
{
	mutex_guard(&d->lock);
	return d->status;
}

static bool features_fit(const struct virtio_dev *d)
{
	if (d->accepted & ~d->features || !virtio_has(d, VIRTIO_F_VERSION_1))
		return false;
	return !d->ops->accepts || d->ops->accepts(d, d->accepted);
}

static void start(struct virtio_dev *d)
{
	for (unsigned int n = 0; n < d->nr_queues; n++)
		if (d->q[n].broken)
			virtio_fail(d, d->q[n].broken);
	if (!virtio_is_running(d))
		return;
	if (d->ops->started)
		d->ops->started(d);
	kick_all(d); /* what the driver made available before */
}

void virtio_set_status(struct virtio_dev *d, uint8_t status)
{
	uint8_t old;

	mutex_guard(&d->lock);
	if (!status) {
		start_reset(d);
		return;
	}
	if (d->is_resetting)
		return;
	old = d->status;
	/* NEEDS_RESET is ours; nothing is taken back but by a reset. */
	status = (uint8_t)(old | (status & ~VIRTIO_NEEDS_RESET));
	if ((status & ~old & VIRTIO_FEATURES_OK) && !features_fit(d))
		status &= (uint8_t)~VIRTIO_FEATURES_OK;
	if (!(status & VIRTIO_FEATURES_OK))
		status &= (uint8_t)~VIRTIO_DRIVER_OK;
	d->status = status;
	if (status & ~old & VIRTIO_DRIVER_OK)
		start(d);
}

uint32_t virtio_reg_read(struct virtio_dev *d, enum virtio_reg reg)
{
	mutex_guard(&d->lock);
	switch (reg) {
	case VIRTIO_REG_FEATURES_SEL:
		return d->features_sel;
	case VIRTIO_REG_FEATURES:
		return d->features_sel < 2 ? (uint32_t)(d->features >> 32 * d->features_sel) : 0;
	case VIRTIO_REG_ACCEPTED_SEL:
		return d->accepted_sel;
	case VIRTIO_REG_ACCEPTED:
		return d->accepted_sel < 2 ? (uint32_t)(d->accepted >> 32 * d->accepted_sel) : 0;
	case VIRTIO_REG_GENERATION:
		return d->generation;
	}
	return 0;
}

void virtio_reg_write(struct virtio_dev *d, enum virtio_reg reg, uint32_t value)
{
	mutex_guard(&d->lock);
	if (d->is_resetting)
		return;
	if (reg == VIRTIO_REG_FEATURES_SEL)
		d->features_sel = value;
	else if (reg == VIRTIO_REG_ACCEPTED_SEL)
		d->accepted_sel = value;
	else if (reg == VIRTIO_REG_ACCEPTED && d->accepted_sel < 2 &&
		 !(d->status & VIRTIO_FEATURES_OK))
		put_le32((uint8_t *)&d->accepted + 4 * (size_t)d->accepted_sel, value);
}

static uint64_t *queue_address(struct virtq *q, enum virtio_queue_reg reg)
{
	switch (reg) {
	case VIRTIO_QUEUE_DESC:
	case VIRTIO_QUEUE_DESC_HIGH:
		return &q->desc;
	case VIRTIO_QUEUE_DRIVER:
	case VIRTIO_QUEUE_DRIVER_HIGH:
		return &q->driver;
	default:
		return &q->device;
	}
}

static bool is_high(enum virtio_queue_reg reg)
{
	return reg == VIRTIO_QUEUE_DESC_HIGH || reg == VIRTIO_QUEUE_DRIVER_HIGH ||
	       reg == VIRTIO_QUEUE_DEVICE_HIGH;
}

uint32_t virtio_queue_read(struct virtio_dev *d, unsigned int n, enum virtio_queue_reg reg)
{
	struct virtq *q = d->q + n;

	if (n >= d->nr_queues)
		return 0;
	mutex_guard(&d->lock);
	switch (reg) {
	case VIRTIO_QUEUE_MAX_SIZE:
		return q->max_size;
	case VIRTIO_QUEUE_SIZE:
		return q->size;
	case VIRTIO_QUEUE_VECTOR:
		return q->vector;
	case VIRTIO_QUEUE_ENABLE:
		return q->is_enabled;
	default:
		return (uint32_t)(*queue_address(q, reg) >> (is_high(reg) ? 32 : 0));
	}
}

/* Features decide what kind of ring it is, so they come first (3.1.1). */
static void enable_queue(struct virtio_dev *d, struct virtq *q)
{
	if (!(d->status & VIRTIO_FEATURES_OK))
		return;
	/* What is wrong with it is told when the driver says that it is done, or now if it has. */
	if (virtq_enable(q, d->accepted) < 0 && (d->status & VIRTIO_DRIVER_OK))
		virtio_fail(d, q->broken);
}

void virtio_queue_write(struct virtio_dev *d, unsigned int n, enum virtio_queue_reg reg,
			uint32_t value)
{
	struct virtq *q = d->q + n;

	if (n >= d->nr_queues)
		return;
	mutex_guard(&d->lock);
	if (d->is_resetting)
		return;
	if (reg == VIRTIO_QUEUE_VECTOR) {
		q->vector = (uint16_t)value;
		return;
	}
	if (q->is_enabled)
		return;
	switch (reg) {
	case VIRTIO_QUEUE_SIZE:
		q->size = (uint16_t)value;
		break;
	case VIRTIO_QUEUE_ENABLE:
		if (value == 1)
			enable_queue(d, q);
		break;
	case VIRTIO_QUEUE_MAX_SIZE:
	case VIRTIO_QUEUE_VECTOR:
		break;
	default:
		put_le32((uint8_t *)queue_address(q, reg) + (is_high(reg) ? 4 : 0), value);
		break;
	}
}

uint64_t virtio_config_read(struct virtio_dev *d, uint64_t off, unsigned int size)
{
	uint8_t bytes[8] = { 0 };

	mutex_guard(&d->lock);
	if (off < d->config_len)
		memcpy(bytes, d->config + off, MIN((uint64_t)size, d->config_len - off));
	return get_le64(bytes);
}

void virtio_config_write(struct virtio_dev *d, uint64_t off, unsigned int size, uint64_t value)
{
	mutex_guard(&d->lock);
	if (d->is_resetting || !range_ok(off, size, d->config_len))
		return;
	for (unsigned int k = 0; k < size; k++) {
		uint8_t mask = d->config_wmask[off + k], *c = &d->config[off + k];

		*c = (uint8_t)((*c & ~mask) | ((uint8_t)(value >> (8 * k)) & mask));
	}
	if (d->ops->config_written)
		d->ops->config_written(d, (unsigned int)off, size);
}

/* --- for devices --------------------------------------------------------------------------------------------- */

/* Looks that find nothing count as well: a ring whose parts overlap may promise a chain for ever. */
bool virtio_pop(struct virtio_dev *d, struct virtq *q, struct virtq_chain *c, unsigned int *n)
{
	if (!*n && virtio_may_access(d))
		virtq_kicks_off(q);
	while (virtio_is_running(d) && virtio_may_access(d)) {
		int r;

		if (*n >= d->batch) {
			virtio_again(d, q->index);
			return false;
		}
		++*n;
		r = virtq_pop(q, c);
		if (r < 0)
			virtio_fail(d, q->broken);
		d->nr_chains += r > 0;
		if (r > 0)
			return true;
		if (r < 0 || !virtq_kicks_on(q))
			return false;
		virtq_kicks_off(q);
	}
	return false;
}

void virtio_abandon(struct virtio_dev *d, struct virtq_chain *c)
{
	virtq_abandon(c->q, c);
	finish_reset(d);
}

void virtio_push_all(struct virtio_dev *d, struct virtq_chain *c, const uint32_t *written,
		     unsigned int nr)
{
	bool is_running = virtio_is_running(d);

	for (unsigned int k = 0; k < nr; k++) {
		if (!is_running) {
			virtio_abandon(d, &c[k]);
			continue;
		}
		d->nr_bytes_out += c[k].out_bytes;
		d->nr_bytes_in += written[k];
	}
	if (is_running)
		virtq_push(c->q, c, written, nr);
}

void virtio_push(struct virtio_dev *d, struct virtq_chain *c, uint32_t written)
{
	virtio_push_all(d, c, &written, 1);
}

void virtio_signal(struct virtio_dev *d, struct virtq *q)
{
	if (!virtio_is_running(d) || !virtq_wants_interrupt(q))
		return;
	d->nr_interrupts++;
	if (d->transport)
		d->transport->queue_interrupt(d->transport->arg, q);
}

void virtio_again(struct virtio_dev *d, unsigned int n)
{
	atomic_fetch_or(&d->kicked, UINT64_C(1) << n);
	io_task_queue(d->io, &d->task);
}

void virtio_config_changed(struct virtio_dev *d)
{
	d->generation++;
	if (d->transport && (d->status & VIRTIO_DRIVER_OK) && !d->is_resetting)
		d->transport->config_interrupt(d->transport->arg);
}

void virtio_fail(struct virtio_dev *d, const char *why)
{
	bool was_ok = d->status & VIRTIO_DRIVER_OK;

	if (d->status & VIRTIO_NEEDS_RESET)
		return;
	d->status |= VIRTIO_NEEDS_RESET;
	d->nr_broken++;
	log_warn("virtio.broken", kv_str("device", d->name), kv_str("why", why));
	if (was_ok && d->transport)
		d->transport->config_interrupt(d->transport->arg);
}

void virtio_print_stats(struct virtio_dev *d, bool json, struct strbuf *out)
{
	static const char *const names[] = { "kicks",	 "chains",     "bytes_out",
					     "bytes_in", "interrupts", "broken" };
	uint64_t n[ARRAY_SIZE(names)];

	mutex_lock(&d->lock);
	n[0] = atomic_load(&d->nr_kicks);
	n[1] = d->nr_chains;
	n[2] = d->nr_bytes_out;
	n[3] = d->nr_bytes_in;
	n[4] = d->nr_interrupts;
	n[5] = d->nr_broken;
	mutex_unlock(&d->lock);
	if (!json) {
		strbuf_addf(out, "  %-16s", d->name);
		for (size_t k = 0; k < ARRAY_SIZE(names); k++)
			strbuf_addf(out, " %14llu", (unsigned long long)n[k]);
		strbuf_addc(out, '\n');
		return;
	}
	strbuf_adds(out, "{\"name\":");
	strbuf_add_json(out, str_of(d->name));
	for (size_t k = 0; k < ARRAY_SIZE(names); k++)
		strbuf_addf(out, ",\"%s\":%llu", names[k], (unsigned long long)n[k]);
	strbuf_addc(out, '}');
}

/* --- state --------------------------------------------------------------------------------------- */

void virtio_unpop(struct virtio_dev *d, struct virtq_chain *c)
{
	if (c->q)
		virtq_unpop(c->q, c);
}

int virtio_settle(struct virtio_dev *d, struct err *err)
{
	mutex_guard(&d->lock);
	if (d->ops->unsaved)
		return err_set(err, -EOPNOTSUPP, "%s: %s", d->name, d->ops->unsaved);
	if (d->ops->settle)
		d->ops->settle(d);
	finish_reset(d);
	if (has_in_flight(d) && !virtio_may_access(d))
		return err_set(err, -EBUSY,
			       "%s has requests that it cannot answer, because the guest has "
			       "taken its bus master bit away",
			       d->name);
	if (has_in_flight(d))
		return err_set(err, -EBUSY, "%s is busy with requests that do not end", d->name);
	return 0;
}

void virtio_unsettle(struct virtio_dev *d)
{
	kick_all(d);
}

static const struct state_field fields[] = {
	STATE_ANY(struct virtio_dev, accepted),	    STATE_ANY(struct virtio_dev, features_sel),
	STATE_ANY(struct virtio_dev, accepted_sel), STATE_ANY(struct virtio_dev, status),
	STATE_ANY(struct virtio_dev, generation),   STATE_BYTES(struct virtio_dev, config),
};

static int check(const void *next, const void *present, uint64_t now_ns, struct err *err)
{
	const struct virtio_dev *n = next, *p = present;

	if (n->accepted & ~p->features)
		return err_set(err, -EINVAL,
			       "its driver uses features 0x%llx, which this device does not have",
			       (unsigned long long)(n->accepted & ~p->features));
	if ((n->status & VIRTIO_FEATURES_OK) && p->ops->accepts && !p->ops->accepts(p, n->accepted))
		return err_set(err, -EINVAL, "its driver uses features 0x%llx, which need others",
			       (unsigned long long)n->accepted);
	return 0;
}

static void loaded(void *obj)
{
	struct virtio_dev *d = obj;

	mutex_lock(&d->lock);
	if (d->ops->restored)
		d->ops->restored(d);
	mutex_unlock(&d->lock);
	virtio_unsettle(d);
}

const struct state_desc virtio_dev_state = {
	.name = "virtio",
	.version = 1,
	STATE_LOCK(struct virtio_dev, lock),
	STATE_TABLE(struct virtio_dev, fields),
	.check = check,
	.loaded = loaded,
};
