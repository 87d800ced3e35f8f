// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * x87, MMX, SSE and AVX under the control registers: who may use them, which exception is raised, and what
 * the differential tests against the host CPU (user mode, everything enabled) cannot see. Also the proof that
 * the host's stubs fit into their area.
 */
#include "interp_fixture.h"

#include <signal.h>

#include "cpu/interp/hostop.h"

enum { VECTOR_UD = 6, VECTOR_NM = 7, VECTOR_GP = 13, VECTOR_MF = 16, VECTOR_XM = 19 };

static void begin(struct interp_test *t)
{
	test_reset_state(t);
	for (unsigned int k = 0; k < 16; k++)
		if (k != CPU_RSP)
			t->s.gpr[k] = 0;
	t->s.gpr[CPU_RBX] = DATA;
	t->s.cr4 |= CR4_OSXSAVE;
	t->s.xcr0 = 7;
	t->s.fpu.fcw = 0x37f; /* power-on leaves it otherwise */
	t->s.fpu.fsw = 0;
	t->s.fpu.ftw = 0;
	memset(t->ram + DATA, 0, 4096);
}

/* Runs with control bits changed, and says what vector came. */
#define FAULT_OF(t, cr0_set, cr0_clear, cr4_clear, text)                                           \
	__extension__({                                                                            \
		begin(t);                                                                          \
		(t)->s.cr0 = ((t)->s.cr0 | (cr0_set)) & ~(uint64_t)(cr0_clear);                    \
		(t)->s.cr4 &= ~(uint64_t)(cr4_clear);                                              \
		RUN(t, text);                                                                      \
		(t)->vector;                                                                       \
	})

static void test_available(void **state)
{
	struct interp_test *t = *state;

	assert_int_equal(FAULT_OF(t, 0, 0, 0, "addps xmm1, xmm2"), -1);
	assert_int_equal(FAULT_OF(t, CR0_EM, 0, 0, "addps xmm1, xmm2"), VECTOR_UD);
	assert_int_equal(FAULT_OF(t, CR0_TS, 0, 0, "addps xmm1, xmm2"), VECTOR_NM);
	assert_int_equal(FAULT_OF(t, CR0_EM | CR0_TS, 0, 0, "addps xmm1, xmm2"), VECTOR_UD);
	assert_int_equal(FAULT_OF(t, 0, 0, CR4_OSFXSR, "addps xmm1, xmm2"), VECTOR_UD);
	assert_int_equal(FAULT_OF(t, CR0_TS, 0, 0, "movntps [rbx], xmm2"), VECTOR_NM);
	assert_int_equal(FAULT_OF(t, CR0_EM, 0, 0, "ldmxcsr [rbx]"), VECTOR_UD);
	/* These name no vector register. */
	assert_int_equal(FAULT_OF(t, 0, 0, 0, "cvttsd2si rax, qword ptr [rbx]"), -1);
	assert_int_equal(FAULT_OF(t, CR0_TS, 0, 0, "cvttsd2si rax, qword ptr [rbx]"), VECTOR_NM);
	assert_int_equal(FAULT_OF(t, CR0_EM, 0, 0, "cvtss2si eax, dword ptr [rbx]"), VECTOR_UD);
	assert_int_equal(FAULT_OF(t, 0, 0, CR4_OSFXSR, "cvtsd2si eax, qword ptr [rbx]"), VECTOR_UD);

	assert_int_equal(FAULT_OF(t, 0, 0, 0, "paddb mm1, mm2"), -1);
	assert_int_equal(FAULT_OF(t, CR0_EM, 0, 0, "paddb mm1, mm2"), VECTOR_UD);
	assert_int_equal(FAULT_OF(t, CR0_TS, 0, 0, "emms"), VECTOR_NM);
	assert_int_equal(FAULT_OF(t, 0, 0, CR4_OSFXSR, "paddb mm1, mm2"), -1);
	assert_int_equal(FAULT_OF(t, 0, 0, CR4_OSFXSR, "cvtps2pi mm1, [rbx]"), VECTOR_UD);

	assert_int_equal(FAULT_OF(t, CR0_EM, 0, 0, "fld1"), VECTOR_NM);
	assert_int_equal(FAULT_OF(t, CR0_TS, 0, 0, "fninit"), VECTOR_NM);
	assert_int_equal(FAULT_OF(t, CR0_TS, 0, 0, "fxsave [rbx]"), VECTOR_NM);
	assert_int_equal(FAULT_OF(t, CR0_TS, 0, 0, "fwait"), VECTOR_NM);
	assert_int_equal(FAULT_OF(t, CR0_TS, CR0_MP, 0, "fwait"), -1);
	assert_int_equal(FAULT_OF(t, CR0_EM, 0, 0, "fwait"), -1);

	assert_int_equal(FAULT_OF(t, CR0_TS, 0, 0, "crc32 eax, ebx"), -1);
	assert_int_equal(FAULT_OF(t, CR0_EM, 0, 0, "popcnt eax, ebx"), -1);
}

static void test_available_avx(void **state)
{
	struct interp_test *t = *state;

	if (!__builtin_cpu_supports("avx2"))
		skip();
	assert_int_equal(FAULT_OF(t, 0, 0, 0, "vaddps ymm1, ymm2, ymm3"), -1);
	assert_int_equal(FAULT_OF(t, CR0_EM, 0, 0, "vaddps ymm1, ymm2, ymm3"), -1);
	assert_int_equal(FAULT_OF(t, CR0_TS, 0, 0, "vaddps ymm1, ymm2, ymm3"), VECTOR_NM);
	assert_int_equal(FAULT_OF(t, 0, 0, CR4_OSXSAVE, "vzeroupper"), VECTOR_UD);
	assert_int_equal(FAULT_OF(t, CR0_TS, 0, 0, "vcvttss2si eax, dword ptr [rbx]"), VECTOR_NM);
	assert_int_equal(FAULT_OF(t, 0, 0, CR4_OSXSAVE, "vcvtsd2si rax, qword ptr [rbx]"),
			 VECTOR_UD);
	assert_int_equal(FAULT_OF(t, 0, 0, CR4_OSXSAVE, "xsave [rbx]"), VECTOR_UD);
	begin(t);
	t->s.xcr0 = 3;
	RUN(t, "vaddps xmm1, xmm2, xmm3");
	assert_fault(t, VECTOR_UD);
	begin(t);
	t->s.xcr0 = 3;
	RUN(t, "andn eax, ebx, ecx");
	assert_no_fault(t);
}

static struct sigaction host_sigfpe; /* the stubs' handler: cmocka puts its own over it */

static void test_simd_exception(void **state)
{
	struct interp_test *t = *state;

	sigaction(SIGFPE, &host_sigfpe, NULL);
	for (int enabled = 0; enabled < 2; enabled++) {
		begin(t);
		if (!enabled)
			t->s.cr4 &= ~(uint64_t)CR4_OSXMMEXCPT;
		t->s.fpu.mxcsr = 0x1f80 & ~(1u << 9); /* division by zero */
		memset(t->s.fpu.xmm, 0, sizeof(t->s.fpu.xmm));
		put_le32(t->s.fpu.xmm[1], 0x3f800000);
		RUN(t, "nop; divss xmm1, xmm2");
		assert_fault(t, enabled ? VECTOR_XM : VECTOR_UD);
		assert_int_equal(t->fault_rip, CODE + 1);
		assert_int_equal(t->s.fpu.mxcsr, 0x1f84 & ~(1u << 9));
		assert_int_equal(get_le32(t->s.fpu.xmm[1]), 0x3f800000);
	}
	/* The host's own rounding and flags are what they were. */
	assert_int_equal(__builtin_ia32_stmxcsr() & 0xffc0, 0x1f80);
}

static void test_x87_exception(void **state)
{
	struct interp_test *t = *state;

	begin(t);
	t->s.fpu.fcw = 0x37f & ~4;
	RUN(t, "fld1; fldz; .byte 0xde, 0xf9; nop; fnstsw ax; fwait");
	assert_fault(t, VECTOR_MF);
	assert_int_equal(t->s.gpr[CPU_RAX] & 0x84, 0x84);
	assert_int_equal(t->fault_rip, CODE + 9);
	assert_int_equal(t->s.fpu.fip, CODE + 4); /* ours, never an address of the host */
	assert_int_equal(t->s.fpu.fcs, SEL_CODE64);
	/* Without CR0.NE it is as if IGNNE# were held: the next instruction runs. */
	begin(t);
	t->s.cr0 &= ~(uint64_t)CR0_NE;
	t->s.fpu.fcw = 0x37f & ~4;
	RUN(t, "fld1; fldz; .byte 0xde, 0xf9; fldpi; fstp qword ptr [rbx]; fwait");
	assert_no_fault(t);
	assert_int_equal(get_le64(t->ram + DATA), UINT64_C(0x400921fb54442d18));
	assert_int_equal(t->s.fpu.fsw & 0x84, 0x84);
}

static void test_mmio_operand(void **state)
{
	struct interp_test *t = *state;

	begin(t);
	t->s.gpr[CPU_RBX] = 2 * RAM_SIZE;
	t->mmio_reads = t->mmio_writes = 0;
	t->mmio_value = UINT64_C(0x1122334455667788);
	RUN(t, "movups xmm1, [rbx]; paddb mm1, [rbx]; fld qword ptr [rbx]; movaps [rbx], xmm1");
	assert_no_fault(t);
	assert_int_equal(t->mmio_reads, 4);
	assert_int_equal(t->mmio_writes, 2);
	assert_int_equal(get_le64(t->s.fpu.xmm[1] + 8), UINT64_C(0x1122334455667788));
}

static void test_store_into_code(void **state)
{
	struct interp_test *t = *state;

	begin(t);
	/* mov eax, 1 becomes mov eax, 0x11111111 before it runs, after it has run once */
	memset(t->s.fpu.xmm[3], 0x11, 16);
	RUN(t,
	    "xor ecx, ecx; 2: nop; 3: mov eax, 1; test ecx, ecx; jnz 4f; inc ecx; lea rdx, [rip + 3b]; "
	    "inc rdx; movd [rdx], xmm3; jmp 2b; 4: nop");
	assert_no_fault(t);
	assert_int_equal(t->s.gpr[CPU_RAX], 0x11111111);
}

static void test_state_images(void **state)
{
	struct interp_test *t = *state;

	begin(t);
	RUN(t,
	    "fld1; fldpi; movq xmm5, rbx; fxsave64 [rbx]; fninit; xorps xmm5, xmm5; fxrstor64 [rbx]");
	assert_no_fault(t);
	assert_int_equal(t->s.fpu.ftw, 0xc0);
	assert_int_equal(get_le64(t->s.fpu.xmm[5]), DATA);
	assert_int_equal(get_le32(t->ram + DATA + 28), 0xffff); /* MXCSR_MASK */
	begin(t);
	put_le32(t->ram + DATA + 24, 0x21f80); /* misaligned-SSE mode: not offered */
	RUN(t, "fxrstor64 [rbx]");
	assert_fault(t, VECTOR_GP);
	begin(t);
	RUN(t, "mov eax, 7; fxsave [rbx + 8]");
	assert_fault(t, VECTOR_GP);
}

/* --- how many stubs there can be ------------------------------------------------------------------- */

struct sweep {
	ZydisDecoder decoder;
	struct cpu *cpu;
	unsigned int encodings;
	uint64_t bytes; /* that all values of their immediates would need */
};

static void sweep_one(struct sweep *w, const uint8_t *bytes)
{
	struct dec d = { .bytes = bytes, .mode = CPU_MODE_64, .c = w->cpu };
	struct hostop_plan plan;
	const struct hostop *h;
	uint16_t slots[HOSTOP_SLOTS];
	uint64_t before = hostop_stub_bytes(), n;

	if (!ZYAN_SUCCESS(ZydisDecoderDecodeFull(&w->decoder, bytes, 15, &d.zi, d.op)) ||
	    hostop_encode(&d, &plan, slots) < 0 || hostop_stub(&plan, &h) < 0)
		return;
	n = hostop_stub_bytes() - before;
	if (!n)
		return;
	w->encodings++;
	w->bytes += n * (d.zi.raw.imm[1].size ? 4096 : d.zi.raw.imm[0].size ? 256 : 1);
}

static void sweep_modrm(struct sweep *w, uint8_t *bytes, unsigned int len)
{
	memset(bytes + len, 0, 8);
	for (unsigned int m = 0; m < 256; m += m < 0xc0 ? 8 : 1) {
		bytes[len] = (uint8_t)(m < 0x40 ? m : m < 0xc0 ? 0xb8 : m);
		sweep_one(w, bytes);
	}
}

static void test_stubs_fit(void **state)
{
	static const uint8_t prefix[] = { 0, 0x66, 0xf2, 0xf3 };
	static const uint8_t escape[][3] = {
		{ 0 }, { 1, 0x0f }, { 2, 0x0f, 0x38 }, { 2, 0x0f, 0x3a }
	};
	struct interp_test *t = *state;
	struct sweep w = { .cpu = t->cpu };
	uint8_t b[24] = { 0 };

	ZydisDecoderInit(&w.decoder, ZYDIS_MACHINE_MODE_LONG_64, ZYDIS_STACK_WIDTH_64);
	for (unsigned int k = 0; k < 4 * 256 * 4 * 2; k++) {
		const uint8_t *e = escape[k >> 11];
		unsigned int n = 0;

		if (prefix[k >> 1 & 3])
			b[n++] = prefix[k >> 1 & 3];
		if (k & 1)
			b[n++] = 0x48;
		memcpy(b + n, e + 1, e[0]);
		n += e[0];
		b[n++] = (uint8_t)(k >> 3);
		sweep_modrm(&w, b, n);
	}
	for (unsigned int k = 0; k < 3 * 256 * 16 * 2; k++) {
		b[0] = 0xc4;
		b[1] = (uint8_t)(0xe1 + k / (256 * 32));
		b[2] = (uint8_t)((k & 8) << 4 | (k & 16 ? 0x78 : 0x70) | (k & 7));
		b[3] = (uint8_t)(k >> 5);
		sweep_modrm(&w, b, 4);
	}
	print_message("%u encodings, %llu bytes of stubs at most\n", w.encodings,
		      (unsigned long long)w.bytes);
	assert_true(w.encodings > 1000);
	assert_true(w.bytes < HOSTOP_AREA_SIZE);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_available),      cmocka_unit_test(test_available_avx),
		cmocka_unit_test(test_simd_exception), cmocka_unit_test(test_x87_exception),
		cmocka_unit_test(test_mmio_operand),   cmocka_unit_test(test_store_into_code),
		cmocka_unit_test(test_state_images),   cmocka_unit_test(test_stubs_fit),
	};

	if (hostop_start(NULL) < 0)
		return 1;
	sigaction(SIGFPE, NULL, &host_sigfpe);
	return cmocka_run_group_tests(tests, test_setup, test_teardown);
}
