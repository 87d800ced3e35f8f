/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The stubs: small host functions, each around one rewritten instruction.
 *
 *	rdi	struct cpu_state		rsi	memory operand (guest memory or a bounce buffer)
 *	rdx	struct insn: four 16-bit offsets in its imm field name the guest registers
 *
 *	endbr64; (push rdx); load registers, flags, MXCSR; INSTRUCTION; keep flags in rax;
 *	store MXCSR, host's MXCSR again; (pop rdx); store registers; (emms) (vzeroupper); ret
 *
 * x87 instructions get the whole state by FXRSTOR and give it back by FXSAVE instead.
 *
 * The area is one memfd mapped twice, so that no page is ever writable and executable. A stub is complete
 * before its address is told to anybody, and is never changed afterwards.
 *
 * An unmasked SIMD exception of the guest is one of the host: SIGFPE with the program counter in the area.
 * The handler takes the flags out of the saved MXCSR, gives the stub's caller the host's MXCSR back, and
 * goes on at a common exit that returns HOSTOP_ABORTED. A stub that can raise has nothing on its stack but
 * the return address. Signals from elsewhere are passed on to whoever had the handler before.
 */
#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <ucontext.h>
#include <unistd.h>

#include "cpu/interp/hostop.h"

enum { HASH_BITS = 14, HOST_MXCSR = 0x1f80 };

static struct {
	pthread_mutex_t lock;
	uint8_t *rw, *rx;
	uint64_t used;
	int error; /* why the area is not there */
	const uint8_t *abort_exit;
	struct hostop *hash[1 << HASH_BITS];
	struct sigaction before;
} area = { .lock = PTHREAD_MUTEX_INITIALIZER };
static pthread_once_t area_once = PTHREAD_ONCE_INIT;

/* --- emitter --------------------------------------------------------------------------------------- */

struct code {
	uint8_t b[HOSTOP_STUB_MAX];
	unsigned int n;
	bool overflow;
};

static void put(struct code *c, const void *bytes, unsigned int n)
{
	if (c->n + n > sizeof(c->b)) {
		c->overflow = true;
		return;
	}
	memcpy(c->b + c->n, bytes, n);
	c->n += n;
}

#define PUT(c, ...)                                                                                \
	do {                                                                                       \
		const uint8_t put_[] = { __VA_ARGS__ };                                            \
		put(c, put_, sizeof(put_));                                                        \
	} while (0)

static void put32(struct code *c, uint32_t v)
{
	PUT(c, (uint8_t)v, (uint8_t)(v >> 8), (uint8_t)(v >> 16), (uint8_t)(v >> 24));
}

static void insn_ldmxcsr_guest(struct code *c)
{
	PUT(c, 0x0f, 0xae, 0x97); /* ldmxcsr disp32(%rdi) */
	put32(c, offsetof(struct cpu_state, fpu.mxcsr));
}

static void insn_stmxcsr_guest(struct code *c)
{
	PUT(c, 0x0f, 0xae, 0x9f); /* stmxcsr disp32(%rdi) */
	put32(c, offsetof(struct cpu_state, fpu.mxcsr));
}

/* The area begins with the host's MXCSR. @at: where this code will lie in the area. */
static void insn_ldmxcsr_host(struct code *c, uint64_t at)
{
	PUT(c, 0x0f, 0xae, 0x15); /* ldmxcsr disp32(%rip) */
	put32(c, (uint32_t)(0 - (at + c->n + 4)));
}

/* r11 = offset of the guest's register in struct cpu_state */
static void insn_offset(struct code *c, const struct hostop_use *u)
{
	if (u->slot < HOSTOP_SLOTS) {
		/* movzwl disp8(%rdx),%r11d */
		PUT(c, 0x44, 0x0f, 0xb7, 0x5a, (uint8_t)(offsetof(struct insn, imm) + 2 * u->slot));
	} else {
		PUT(c, 0x41, 0xbb); /* mov $imm32,%r11d */
		put32(c, u->fixed);
	}
}

enum { YMM_HI = offsetof(struct cpu_fpu, ymm_hi) - offsetof(struct cpu_fpu, xmm) };

/* Between the host's register and (%rdi,%r11); @store: to memory. */
static void insn_transfer(struct code *c, const struct hostop_use *u, bool vex, bool store)
{
	uint8_t reg = (uint8_t)((u->host & 7) << 3);
	uint8_t to_low = store ? 0x11 : 0x10;

	insn_offset(c, u);
	switch (u->class) {
	case HOSTOP_R64: /* mov */
		PUT(c, u->host >= 8 ? 0x4e : 0x4a, store ? 0x89 : 0x8b, reg | 4, 0x1f);
		break;
	case HOSTOP_MM: /* movq */
		PUT(c, 0x42, 0x0f, store ? 0x7f : 0x6f, reg | 4, 0x1f);
		break;
	default:
		if (!vex) { /* movups */
			PUT(c, 0x42, 0x0f, to_low, reg | 4, 0x1f);
			break;
		}
		PUT(c, 0xc4, 0xa1, 0x78, to_low, reg | 4, 0x1f); /* vmovups %xmm */
		if (store) { /* vextractf128 $1: also zeroes what a 128-bit instruction zeroed */
			PUT(c, 0xc4, 0xa3, 0x7d, 0x19, reg | 0x84, 0x1f);
		} else if (u->class == HOSTOP_YMM) { /* vinsertf128 $1 */
			PUT(c, 0xc4, 0xa3, (uint8_t)((~u->host & 15) << 3 | 5), 0x18, reg | 0x84,
			    0x1f);
		} else {
			break;
		}
		put32(c, YMM_HI);
		PUT(c, 1);
	}
}

/* The guest's status flags into the host's: OF by an addition that overflows or not, the others by SAHF. */
static void insn_load_flags(struct code *c)
{
	PUT(c, 0x44, 0x8b, 0x9f); /* mov rflags(%rdi),%r11d */
	put32(c, offsetof(struct cpu_state, rflags));
	PUT(c, 0x44, 0x89, 0xd8,	     /* mov %r11d,%eax */
	    0x88, 0xc4,			     /* mov %al,%ah */
	    0x41, 0xc1, 0xeb, 0x04,	     /* shr $4,%r11d: OF is bit 7 */
	    0x41, 0x81, 0xe3, 0x80, 0, 0, 0, /* and $0x80,%r11d */
	    0x45, 0x00, 0xdb,		     /* add %r11b,%r11b */
	    0x9e);			     /* sahf */
}

static void make_x87(struct code *c, const struct hostop_plan *p, uint64_t at)
{
	PUT(c, 0x48, 0x0f, 0xae, 0x8f); /* fxrstor64 fpu(%rdi) */
	put32(c, offsetof(struct cpu_state, fpu));
	if (p->flags_in)
		insn_load_flags(c);
	put(c, p->bytes, p->len);
	if (p->flags_out)
		PUT(c, 0x9c, 0x58);	/* pushfq; pop %rax */
	PUT(c, 0x48, 0x0f, 0xae, 0x87); /* fxsave64 fpu(%rdi) */
	put32(c, offsetof(struct cpu_state, fpu));
	PUT(c, 0xdb, 0xe3); /* fninit */
	insn_ldmxcsr_host(c, at);
}

static bool uses_fixed_rdx(const struct hostop_plan *p)
{
	for (unsigned int k = 0; k < p->nr_uses; k++)
		if (p->use[k].slot == HOSTOP_SLOTS && p->use[k].class == HOSTOP_R64 &&
		    p->use[k].host == 2)
			return true;
	return false;
}

static void make_vector(struct code *c, const struct hostop_plan *p, uint64_t at)
{
	const struct hostop_use *rdx = NULL;
	bool keep_rdx = uses_fixed_rdx(p), ymm = false, mm = false;

	if (p->flags_in)
		insn_load_flags(c);
	for (unsigned int k = 0; k < p->nr_uses; k++) {
		const struct hostop_use *u = &p->use[k];

		ymm |= p->vex && u->class >= HOSTOP_XMM;
		mm |= u->class == HOSTOP_MM;
		if (keep_rdx && u->slot == HOSTOP_SLOTS && u->class == HOSTOP_R64 && u->host == 2)
			rdx = u; /* last: the other loads need the pointer in it */
		else if (u->load)
			insn_transfer(c, u, p->vex, false);
	}
	if (keep_rdx) {
		PUT(c, 0x52); /* push %rdx */
		insn_transfer(c, rdx, p->vex, false);
	}
	if (p->uses_mxcsr)
		insn_ldmxcsr_guest(c);
	put(c, p->bytes, p->len);
	if (p->flags_out)
		PUT(c, 0x9c, 0x58); /* pushfq; pop %rax */
	if (p->uses_mxcsr) {
		insn_stmxcsr_guest(c);
		insn_ldmxcsr_host(c, at);
	}
	if (keep_rdx)
		PUT(c, 0x5a); /* pop %rdx */
	/* ModRM.reg last: MULX with both results in one register keeps the high half. */
	for (unsigned int k = p->nr_uses; k-- > 0;)
		if (p->use[k].store)
			insn_transfer(c, &p->use[k], p->vex, true);
	if (mm)
		PUT(c, 0x0f, 0x77); /* emms */
	if (ymm)
		PUT(c, 0xc5, 0xf8, 0x77); /* vzeroupper */
}

static int make(struct code *c, const struct hostop_plan *p, uint64_t at)
{
	c->n = 0;
	c->overflow = false;
	PUT(c, 0xf3, 0x0f, 0x1e, 0xfa); /* endbr64 */
	if (p->unit == HOSTOP_X87)
		make_x87(c, p, at);
	else
		make_vector(c, p, at);
	if (!p->flags_out)
		PUT(c, 0x31, 0xc0); /* xor %eax,%eax */
	PUT(c, 0xc3);
	return c->overflow ? -ENOSPC : 0;
}

/* --- the area -------------------------------------------------------------------------------------- */

static void pass_on(int sig, siginfo_t *info, void *context)
{
	if (area.before.sa_flags & SA_SIGINFO) {
		area.before.sa_sigaction(sig, info, context);
	} else if (area.before.sa_handler != SIG_DFL && area.before.sa_handler != SIG_IGN) {
		area.before.sa_handler(sig);
	} else {
		/* Not ours and nobody else's: the instruction faults again and ends the process. */
		struct sigaction dfl = { .sa_handler = SIG_DFL };

		sigaction(sig, &dfl, NULL);
	}
}

static void on_sigfpe(int sig, siginfo_t *info, void *context)
{
	ucontext_t *uc = context;
	uint64_t pc = (uint64_t)uc->uc_mcontext.gregs[REG_RIP];
	struct cpu_state *st;

	if (info->si_code <= 0 || pc - (uintptr_t)area.rx >= HOSTOP_AREA_SIZE) {
		pass_on(sig, info, context);
		return;
	}
	st = (struct cpu_state *)uc->uc_mcontext.gregs[REG_RDI];
	st->fpu.mxcsr = uc->uc_mcontext.fpregs->mxcsr;
	uc->uc_mcontext.fpregs->mxcsr = HOST_MXCSR;
	uc->uc_mcontext.gregs[REG_RIP] = (greg_t)(uintptr_t)area.abort_exit;
}

static int area_map(void)
{
	int fd = memfd_create("hostop", MFD_CLOEXEC), r = 0;
	void *rw, *rx;

	if (fd < 0)
		return -errno;
	if (ftruncate(fd, (off_t)HOSTOP_AREA_SIZE) < 0) {
		r = -errno;
		close(fd);
		return r;
	}
	rw = mmap(NULL, HOSTOP_AREA_SIZE, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	rx = mmap(NULL, HOSTOP_AREA_SIZE, PROT_READ | PROT_EXEC, MAP_SHARED, fd, 0);
	if (rw == MAP_FAILED || rx == MAP_FAILED) {
		r = -errno;
		if (rw != MAP_FAILED)
			munmap(rw, HOSTOP_AREA_SIZE);
		if (rx != MAP_FAILED)
			munmap(rx, HOSTOP_AREA_SIZE);
	} else {
		area.rw = rw;
		area.rx = rx;
	}
	close(fd);
	return r;
}

static void area_start(void)
{
	struct sigaction sa = { .sa_sigaction = on_sigfpe, .sa_flags = SA_SIGINFO | SA_ONSTACK };
	struct code c = { .n = 0 };

	area.error = area_map();
	if (area.error < 0)
		return;
	put32(&c, HOST_MXCSR);
	area.abort_exit = area.rx + c.n;
	PUT(&c, 0x0f, 0x77,				     /* emms */
	    0x48, 0xc7, 0xc0, 0xff, 0xff, 0xff, 0xff, 0xc3); /* mov $-1,%rax; ret */
	memcpy(area.rw, c.b, c.n);
	area.used = 64;
	if (sigaction(SIGFPE, &sa, &area.before) < 0)
		area.error = -errno;
}

static unsigned int hash_of(const struct hostop_plan *p)
{
	uint32_t h = 2166136261u;

	for (unsigned int k = 0; k < p->len; k++)
		h = (h ^ p->bytes[k]) * 16777619u;
	return (h ^ h >> HASH_BITS) & ((1u << HASH_BITS) - 1);
}

int hostop_start(struct err *err)
{
	pthread_once(&area_once, area_start);
	if (area.error < 0)
		return err_set(err, area.error, "memory for host instructions: %s",
			       strerror(-area.error));
	return 0;
}

int hostop_stub(const struct hostop_plan *p, const struct hostop **ret)
{
	struct hostop **head, *h;
	struct code c;
	int r;

	pthread_once(&area_once, area_start);
	if (area.error < 0)
		return area.error;

	pthread_mutex_lock(&area.lock);
	head = &area.hash[hash_of(p)];
	for (h = *head; h; h = h->next)
		if (h->plan.len == p->len && !memcmp(h->plan.bytes, p->bytes, p->len))
			break;
	r = h ? 0 : make(&c, p, area.used);
	if (!h && r == 0) {
		h = area.used + c.n <= HOSTOP_AREA_SIZE ? malloc(sizeof(*h)) : NULL;
		if (!h) {
			r = area.used + c.n <= HOSTOP_AREA_SIZE ? -ENOMEM : -ENOSPC;
		} else {
			memcpy(area.rw + area.used, c.b, c.n);
			h->plan = *p;
			/* The standard leaves object to function pointers open; POSIX does not. */
			memcpy(&h->entry, &(const uint8_t *){ area.rx + area.used },
			       sizeof(h->entry));
			area.used = (area.used + c.n + 15) & ~UINT64_C(15);
			h->next = *head;
			*head = h;
		}
	}
	pthread_mutex_unlock(&area.lock);
	if (r == 0)
		*ret = h;
	return r;
}

uint64_t hostop_stub_bytes(void)
{
	uint64_t n;

	pthread_mutex_lock(&area.lock);
	n = area.used;
	pthread_mutex_unlock(&area.lock);
	return n;
}
