// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Hyper-V's synthetic interrupt controller (TLFS chapter 11): sixteen sources a vCPU, each with a vector and a slot for a
 * message in a page of the guest's. Who posts here are the vCPU's timers; there is no bus whose channels would use the
 * event flags, so their page is only cleared and kept.
 *
 * A slot is the guest's while its type is not 0. A message that finds it so is marked as waiting in it, and posted when
 * the guest writes to EOM. The guest may do to the page what it likes at any time: the type alone is read, once.
 *
 * Two threads post, the vCPU's and the timers': under apic_lock.
 */
#include <errno.h>
#include <string.h>

#include "base/bytes.h"
#include "cpu/apic.h"
#include "cpu/pv/hv_priv.h"
#include "sys/thread.h"

enum { SYNIC_VERSION = 1, FIRST_VECTOR = 16 };
enum { SINT_VECTOR = 0xff, SINT_MASKED = 1 << 16, SINT_AUTO_EOI = 1 << 17, SINT_POLLING = 1 << 18 };
enum { MSG_SIZE = 256, OFF_TYPE = 0, OFF_PAYLOAD_SIZE = 4, OFF_FLAGS = 5, OFF_PAYLOAD = 16 };
enum { TIMER_PAYLOAD = 24, FLAG_WAITING = 1 };
#define MSG_TIMER_EXPIRED UINT32_C(0x80000010)

static void auto_eoi_compute(struct cpu *c)
{
	uint32_t map[8] = { 0 };

	for (unsigned int k = 0; k < CPU_HV_SINTS; k++) {
		uint64_t sint = c->st.hv.sint[k] ^ SINT_MASKED;

		if ((sint & SINT_AUTO_EOI) && !(sint & SINT_MASKED))
			map[(sint & SINT_VECTOR) >> 5] |= UINT32_C(1) << (sint & 31);
	}
	memcpy(c->pv.auto_eoi, map, sizeof(map));
}

void hv_synic_loaded(struct cpu *c)
{
	mutex_guard(&c->apic_lock);
	auto_eoi_compute(c);
}

int hv_synic_read(struct cpu *c, uint32_t index, uint64_t *ret)
{
	const struct cpu_hv_state *hv = &c->st.hv;

	switch (index) {
	case HV_MSR_SCONTROL:
		*ret = hv->scontrol;
		return 0;
	case HV_MSR_SVERSION:
		*ret = SYNIC_VERSION;
		return 0;
	case HV_MSR_SIEFP:
		*ret = hv->siefp;
		return 0;
	case HV_MSR_SIMP:
		*ret = hv->simp;
		return 0;
	case HV_MSR_EOM:
		*ret = 0;
		return 0;
	case HV_MSR_SINT0 ... HV_MSR_SINT15:
		/* Until it is written, a source is masked: then a new vCPU's state is zeros. */
		*ret = hv->sint[index - HV_MSR_SINT0] ^ SINT_MASKED;
		return 0;
	default:
		return -EINVAL;
	}
}

/* A page of the controller's is zeros when the guest switches it on. */
static int page_write(struct cpu *c, uint64_t *slot, uint64_t value)
{
	struct pv_place p;

	if (value & HV_PAGE_ENABLE) {
		if (!pv_place_find(c->grp, value & HV_PAGE_ADDRESS, GUEST_PAGE_SIZE, &p))
			return -EINVAL;
		memset(pv_place_hva(&p, 0), 0, GUEST_PAGE_SIZE);
		pv_place_wrote(c->grp, &p, 0, GUEST_PAGE_SIZE);
	}
	mutex_guard(&c->apic_lock);
	*slot = value;
	return 0;
}

static int sint_write(struct cpu *c, unsigned int k, uint64_t value)
{
	if ((value & SINT_VECTOR) < FIRST_VECTOR && !(value & SINT_MASKED))
		return -EINVAL;
	mutex_guard(&c->apic_lock);
	c->st.hv.sint[k] = value ^ SINT_MASKED;
	auto_eoi_compute(c);
	return 0;
}

int hv_synic_write(struct cpu *c, uint32_t index, uint64_t value)
{
	struct cpu_hv_state *hv = &c->st.hv;

	switch (index) {
	case HV_MSR_SCONTROL:
		mutex_lock(&c->apic_lock);
		hv->scontrol = value;
		mutex_unlock(&c->apic_lock);
		return 0;
	case HV_MSR_SIEFP:
		return page_write(c, &hv->siefp, value);
	case HV_MSR_SIMP:
		return page_write(c, &hv->simp, value);
	case HV_MSR_EOM:
		hv_timers_retry(c);
		return 0;
	case HV_MSR_SINT0 ... HV_MSR_SINT15:
		return sint_write(c, index - HV_MSR_SINT0, value);
	default:
		return -EINVAL;
	}
}

int hv_synic_post_locked(struct cpu *c, unsigned int sint, uint32_t timer, uint64_t expired)
{
	const struct cpu_hv_state *hv = &c->st.hv;
	uint64_t how = hv->sint[sint] ^ SINT_MASKED;
	uint8_t payload[TIMER_PAYLOAD] = { 0 };
	struct pv_place p;
	_Atomic uint32_t *type;

	if (!(hv->scontrol & 1) || !(hv->simp & HV_PAGE_ENABLE) ||
	    !pv_place_find(c->grp, (hv->simp & HV_PAGE_ADDRESS) + (uint64_t)sint * MSG_SIZE,
			   MSG_SIZE, &p))
		return HV_POSTED;
	type = pv_place_hva(&p, OFF_TYPE);
	if (atomic_load(type)) {
		atomic_fetch_or((_Atomic uint8_t *)pv_place_hva(&p, OFF_FLAGS), FLAG_WAITING);
		pv_place_wrote(c->grp, &p, OFF_FLAGS, 1);
		/* Taken meanwhile: then nobody has seen the mark. */
		if (atomic_load(type))
			return HV_SLOT_BUSY;
	}
	put_le32(payload, timer);
	put_le64(payload + 8, expired);
	put_le64(payload + 16, hv_now(c));
	memset(pv_place_hva(&p, OFF_PAYLOAD_SIZE), 0, OFF_PAYLOAD - OFF_PAYLOAD_SIZE);
	*(uint8_t *)pv_place_hva(&p, OFF_PAYLOAD_SIZE) = TIMER_PAYLOAD;
	memcpy(pv_place_hva(&p, OFF_PAYLOAD), payload, sizeof(payload));
	atomic_store(type, MSG_TIMER_EXPIRED);
	pv_place_wrote(c->grp, &p, 0, OFF_PAYLOAD + TIMER_PAYLOAD);
	return how & (SINT_MASKED | SINT_POLLING) ? HV_POSTED : (int)(how & SINT_VECTOR);
}
