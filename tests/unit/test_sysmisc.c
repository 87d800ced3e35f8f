// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * MSRs, time, CPUID and random numbers as instructions; interrupt flag; descriptor table registers;
 * hypercalls; protection keys; and the instructions that are not there.
 */
#include "guest_insn.h"
#include "cpu/cpu_priv.h"

enum { UD = 6, GP = 13, PF = 14 };

static void test_msrs(void **state)
{
	struct guest *g = start_long(G_CS64, NULL);
	struct cpu_state before = g->st;

	g->st.gpr[CPU_RCX] = UINT64_C(0xffffffffc0000081); /* STAR */
	g->st.gpr[CPU_RAX] = UINT64_C(0xffffffff11223344);
	g->st.gpr[CPU_RDX] = UINT64_C(0xffffffff55667788);
	assert_int_equal(STEP(g, 0x0f, 0x30), NO_FAULT); /* wrmsr */
	assert_int_equal(g->st.star, UINT64_C(0x5566778811223344));
	assert_int_equal(STEP(g, 0x0f, 0x32), NO_FAULT); /* rdmsr */
	assert_int_equal(g->st.gpr[CPU_RAX], 0x11223344);
	assert_int_equal(g->st.gpr[CPU_RDX], 0x55667788);
	/* A canonical address only. */
	g->st.gpr[CPU_RCX] = 0xc0000082;
	assert_int_equal(STEP(g, 0x0f, 0x30), GP);
	g->st = before;
	g->st.gpr[CPU_RCX] = 0x12345;
	assert_int_equal(STEP(g, 0x0f, 0x32), GP);
	guest_free(g);

	g = start_long(G_CS3_64, NULL);
	before = g->st;
	g->st.gpr[CPU_RCX] = 0xc0000081;
	assert_int_equal(STEP(g, 0x0f, 0x32), GP);
	g->st = before;
	assert_int_equal(STEP(g, 0x0f, 0x33), GP); /* rdpmc */
	guest_free(g);
}

/* EFER.NXE off makes the bit reserved: what is cached must go. */
static void test_efer_flushes(void **state)
{
	struct guest *g = start_long(G_CS64, NULL);

	put_le64(g->ram + G_PT + 0x3000 + 5 * 8, 0x5007 | UINT64_C(1) << 63);
	GUEST_CODE(g, G_CODE, 0x8b, 0x1c, 0x25, 0, 0x50, 0, 0, /* mov ebx, [0x5000] */
		   0x0f, 0x30,				       /* wrmsr */
		   0x8b, 0x1c, 0x25, 0, 0x50, 0, 0);
	g->st.gpr[CPU_RCX] = 0xc0000080;
	g->st.gpr[CPU_RAX] = EFER_LME | EFER_SCE;
	g->st.gpr[CPU_RDX] = 0;
	assert_int_equal(guest_run(g, G_HANDLER + PF * 16), CPU_EXIT_DEBUG);
	assert_int_equal(g->st.rip, G_HANDLER + PF * 16);
	assert_int_equal(get_le64(g->ram + g->st.gpr[CPU_RSP]), 9); /* reserved bit */
	assert_int_equal(get_le64(g->ram + g->st.gpr[CPU_RSP] + 8), G_CODE + 9);
	guest_free(g);
}

static void test_time(void **state)
{
	struct guest *g = start_long(G_CS3_64, NULL);
	struct cpu_state before;
	uint64_t first;

	g->st.tsc_aux = 0x1234;
	before = g->st;
	assert_int_equal(STEP(g, 0x0f, 0x31), NO_FAULT); /* rdtsc */
	first = g->st.gpr[CPU_RAX] | g->st.gpr[CPU_RDX] << 32;
	assert_int_equal(STEP(g, 0x0f, 0x01, 0xf9), NO_FAULT); /* rdtscp */
	assert_true((g->st.gpr[CPU_RAX] | g->st.gpr[CPU_RDX] << 32) > first);
	assert_int_equal(g->st.gpr[CPU_RCX], 0x1234);
	assert_int_equal(STEP(g, 0xf3, 0x0f, 0xc7, 0xf8), NO_FAULT); /* rdpid rax */
	assert_int_equal(g->st.gpr[CPU_RAX], 0x1234);
	g->st = before;
	g->st.cr4 |= CR4_TSD;
	before = g->st;
	assert_int_equal(STEP(g, 0x0f, 0x31), GP);
	g->st = before;
	assert_int_equal(STEP(g, 0x0f, 0x01, 0xf9), GP);
	guest_free(g);
}

static void test_cpuid_and_random(void **state)
{
	struct guest *g = start_long(G_CS3_64, "+rdrand,+rdseed");

	g->st.gpr[CPU_RAX] = UINT64_C(0xffffffff00000000);
	g->st.gpr[CPU_RBX] = UINT64_MAX;
	assert_int_equal(STEP(g, 0x0f, 0xa2), NO_FAULT);
	assert_int_equal(g->st.gpr[CPU_RBX], 0x68747541); /* "Auth" */
	for (unsigned int k = 0; k < 2; k++) {
		g->st.rflags = 2 | RFLAGS_STATUS;
		g->st.gpr[CPU_RAX] = UINT64_MAX;
		assert_int_equal(k ? STEP(g, 0x0f, 0xc7, 0xf8) : STEP(g, 0x0f, 0xc7, 0xf0),
				 NO_FAULT);
		assert_int_equal(g->st.rflags & RFLAGS_STATUS, RFLAGS_CF);
		assert_int_equal(g->st.gpr[CPU_RAX] >> 32, 0);
	}
	guest_free(g);
}

/* The flags after STI or CLI with @rflags, or -1 for #GP. */
static int64_t if_insn(struct guest *g, uint8_t opcode, uint64_t rflags)
{
	struct cpu_state before = g->st;
	int64_t after;
	int vector;

	g->st.rflags = rflags | 2;
	vector = step(g, &opcode, 1);
	after = vector == GP ? -1 : (int64_t)(g->st.rflags & ~UINT64_C(2));
	g->st = before;
	return after;
}

static void test_interrupt_flag(void **state)
{
	enum {
		CLI = 0xfa,
		STI = 0xfb,
		VIF = RFLAGS_VIF,
		VIP = RFLAGS_VIP,
		IF = RFLAGS_IF,
		IOPL = RFLAGS_IOPL,
		VM = RFLAGS_VM
	};
	struct guest *g = start_protected(G_CS3_32);

	assert_int_equal(if_insn(g, CLI, IF), -1);
	assert_int_equal(if_insn(g, STI, 0), -1);
	assert_int_equal(if_insn(g, CLI, IF | IOPL), IOPL);
	assert_int_equal(if_insn(g, STI, IOPL), IF | IOPL);
	g->st.cr4 |= CR4_PVI;
	assert_int_equal(if_insn(g, STI, IF), IF | VIF);
	assert_int_equal(if_insn(g, CLI, IF | VIF), IF);
	assert_int_equal(if_insn(g, STI, IF | VIP), -1);
	assert_int_equal(if_insn(g, CLI, IF | VIP | VIF), IF | VIP);
	guest_free(g);

	g = guest_new(1, NULL);
	guest_v86(g);
	for (unsigned int v = 0; v < 32; v++)
		guest_gate32(g, v, G_CS32, 14, 0);
	assert_int_equal(if_insn(g, STI, VM), -1);
	assert_int_equal(if_insn(g, STI, VM | IOPL), VM | IOPL | IF);
	g->st.cr4 |= CR4_VME;
	assert_int_equal(if_insn(g, STI, VM), VM | VIF);
	assert_int_equal(if_insn(g, CLI, VM | VIF), VM);
	assert_int_equal(if_insn(g, STI, VM | VIP), -1);
	guest_free(g);
}

static void test_descriptor_tables(void **state)
{
	struct guest *g = start_long(G_CS64, NULL);
	struct cpu_state before = g->st;

	g->st.gpr[CPU_RAX] = 0x5000;
	put_le16(g->ram + 0x5000, 0x7f);
	put_le64(g->ram + 0x5002, UINT64_C(0xffff800000001000));
	assert_int_equal(STEP(g, 0x0f, 0x01, 0x18), NO_FAULT); /* lidt [rax] */
	assert_int_equal(g->st.idtr.base, UINT64_C(0xffff800000001000));
	assert_int_equal(g->st.idtr.limit, 0x7f);
	assert_int_equal(STEP(g, 0x0f, 0x01, 0x00), NO_FAULT); /* sgdt [rax] */
	assert_int_equal(get_le16(g->ram + 0x5000), G_GDT_LIMIT);
	assert_int_equal(get_le64(g->ram + 0x5002), G_GDT);
	g->st = before;
	g->st.gpr[CPU_RAX] = 0x5000;
	put_le64(g->ram + 0x5002, UINT64_C(0x0001000000000000));
	assert_int_equal(STEP(g, 0x0f, 0x01, 0x10), GP); /* lgdt */
	guest_free(g);

	/* 16-bit operands: 24 bits of base; the stored one is whole. */
	g = start_protected(G_CS32);
	before = g->st;
	g->st.gpr[CPU_RAX] = 0x5000;
	put_le16(g->ram + 0x5000, 0x55);
	put_le32(g->ram + 0x5002, 0x12345678);
	assert_int_equal(STEP(g, 0x66, 0x0f, 0x01, 0x18), NO_FAULT);
	assert_int_equal(g->st.idtr.base, 0x345678);
	assert_int_equal(STEP(g, 0x0f, 0x01, 0x18), NO_FAULT);
	assert_int_equal(g->st.idtr.base, 0x12345678);
	assert_int_equal(STEP(g, 0x66, 0x0f, 0x01, 0x08), NO_FAULT);
	assert_int_equal(get_le32(g->ram + 0x5002), 0x12345678);
	guest_free(g);

	g = start_long(G_CS3_64, NULL);
	g->st.gpr[CPU_RAX] = 0x5000;
	before = g->st;
	assert_int_equal(STEP(g, 0x0f, 0x01, 0x08), NO_FAULT); /* sidt */
	assert_int_equal(STEP(g, 0x0f, 0x01, 0x10), GP);
	g->st = before;
	g->st.cr4 |= CR4_UMIP;
	assert_int_equal(STEP(g, 0x0f, 0x01, 0x08), GP);
	g->st = before;
	assert_int_equal(STEP(g, 0xf4), GP); /* hlt */
	g->st = before;
	assert_int_equal(STEP(g, 0x0f, 0x09), GP); /* wbinvd */
	guest_free(g);
}

static int64_t hypercall(struct guest *g, uint64_t nr, const uint64_t arg[4])
{
	g->st.gpr[CPU_RAX] = nr;
	g->st.gpr[CPU_RBX] = arg[0];
	g->st.gpr[CPU_RCX] = arg[1];
	g->st.gpr[CPU_RDX] = arg[2];
	g->st.gpr[CPU_RSI] = arg[3];
	assert_int_equal(STEP(g, 0x0f, 0x01, 0xd9), NO_FAULT); /* vmmcall */
	return (int64_t)g->st.gpr[CPU_RAX];
}

static void test_hypercalls(void **state)
{
	static const uint64_t none[4], to_all[] = { UINT64_MAX, UINT64_MAX, 0, 0x4040 },
				       to_nobody[] = { UINT64_MAX, 0, 1000, 0x4040 },
				       far_up[] = { 1, 0, UINT32_MAX, 0x4040 },
				       logical[] = { 1, 0, 0, 0x4840 };
	struct guest *g = guest_new(2, "+kvm-pv-ipi");

	guest_long(g, G_CS64);
	assert_int_equal(hypercall(g, 12345, none), -1000);
	g->st.apic.svr = 0x1ff;
	assert_int_equal(hypercall(g, 10, to_nobody), 0);
	assert_int_equal(hypercall(g, 10, far_up), 0);
	assert_int_equal(hypercall(g, 10, logical), -22);
	/* The second vCPU's APIC is off, as after reset, and takes nothing. */
	assert_int_equal(hypercall(g, 10, to_all), 1);
	assert_int_equal(g->st.apic.irr[2], 1);
	assert_int_equal(STEP(g, 0x0f, 0x01, 0xc1), NO_FAULT); /* vmcall */
	guest_free(g);

	g = start_long(G_CS3_64, NULL);
	assert_int_equal(hypercall(g, 10, none), -1);
	guest_free(g);

	g = start_protected(G_CS32);
	assert_int_equal(hypercall(g, 12345, none), (uint32_t)-1000);
	guest_free(g);
}

static int wrmsr(struct guest *g, uint32_t index, uint64_t value)
{
	g->st.gpr[CPU_RCX] = index;
	g->st.gpr[CPU_RAX] = (uint32_t)value;
	g->st.gpr[CPU_RDX] = value >> 32;
	return STEP(g, 0x0f, 0x30);
}

/* What a machine with Hyper-V's interface shows; and what INIT and reset leave of it. */
static void test_hyperv(void **state)
{
	enum {
		OS_ID = 0x40000000,
		HYPERCALL,
		STIMER0_CONFIG = 0x400000b0,
		SYSTEM_TIME = 0x4b564d01
	};
	struct guest *g = start_long(G_CS64, "+hyperv");
	struct cpu_state before = g->st;

	g->st.gpr[CPU_RAX] = 0x40000000;
	assert_int_equal(STEP(g, 0x0f, 0xa2), NO_FAULT);  /* cpuid */
	assert_int_equal(g->st.gpr[CPU_RBX], 0x7263694d); /* "Micr" */
	assert_int_equal(g->st.gpr[CPU_RAX], 0x40000005);
	g->st.gpr[CPU_RAX] = 0x40000001;
	assert_int_equal(STEP(g, 0x0f, 0xa2), NO_FAULT);
	assert_int_equal(g->st.gpr[CPU_RAX], 0x31237648); /* "Hv#1" */
	assert_int_equal(wrmsr(g, SYSTEM_TIME, 0), GP);	  /* KVM's */
	g->st = before;
	assert_int_equal(STEP(g, 0x0f, 0x01, 0xd9), UD); /* vmmcall: not switched on */
	g->st = before;
	assert_int_equal(wrmsr(g, OS_ID, 0x1234), NO_FAULT);
	assert_int_equal(wrmsr(g, HYPERCALL, 0x5001), NO_FAULT);
	assert_int_equal(wrmsr(g, STIMER0_CONFIG, 0x1418), NO_FAULT);
	g->st.gpr[CPU_RCX] = 0x777;
	assert_int_equal(STEP(g, 0x0f, 0x01, 0xd9), NO_FAULT);
	assert_int_equal(g->st.gpr[CPU_RAX], 2); /* unknown */
	assert_int_equal(g->ram[0x5000], 0x0f);

	cpu_set_state(g->cpu, &g->st);
	cpu_reset(g->cpu, true);
	cpu_get_state(g->cpu, &g->st);
	assert_int_equal(g->st.hv.guest_os_id, 0x1234);
	assert_int_equal(g->st.hv.hypercall, 0x5001);
	assert_int_equal(g->st.hv.timer[0].config, 0);
	cpu_group_reset(g->grp);
	cpu_get_state(g->cpu, &g->st);
	assert_int_equal(g->st.hv.guest_os_id, 0);
	assert_int_equal(g->st.hv.hypercall, 0);
	guest_free(g);
}

static void test_protection_keys(void **state)
{
	struct guest *g = start_long(G_CS64, "+pku");
	struct cpu_state before = g->st;

	assert_int_equal(STEP(g, 0x0f, 0x01, 0xee), UD); /* rdpkru without CR4.PKE */
	before.cr4 |= CR4_PKE;
	g->st = before;
	g->st.gpr[CPU_RAX] = 0x1234;
	g->st.gpr[CPU_RCX] = g->st.gpr[CPU_RDX] = 0;
	assert_int_equal(STEP(g, 0x0f, 0x01, 0xef), NO_FAULT); /* wrpkru */
	assert_int_equal(g->st.pkru, 0x1234);
	g->st.gpr[CPU_RAX] = 0;
	assert_int_equal(STEP(g, 0x0f, 0x01, 0xee), NO_FAULT);
	assert_int_equal(g->st.gpr[CPU_RAX], 0x1234);
	g->st.gpr[CPU_RDX] = 1;
	assert_int_equal(STEP(g, 0x0f, 0x01, 0xef), GP);
	g->st = before;
	g->st.gpr[CPU_RCX] = 1;
	assert_int_equal(STEP(g, 0x0f, 0x01, 0xee), GP);
	guest_free(g);
}

static void test_not_there(void **state)
{
	static const uint8_t code[][3] = {
		{ 0x0f, 0x01, 0xd8 }, /* vmrun */ { 0x0f, 0x01, 0xdc },	   /* stgi */
		{ 0x0f, 0x01, 0xdd }, /* clgi */ { 0x0f, 0x01, 0xdf },	   /* invlpga */
		{ 0x0f, 0x01, 0xc2 }, /* vmlaunch */ { 0x0f, 0x01, 0xc4 }, /* vmxoff */
		{ 0x0f, 0xc7, 0x30 }, /* vmptrld */ { 0x0f, 0x78, 0xc0 },  /* vmread */
		{ 0x0f, 0xaa, 0x90 }, /* rsm */ { 0x0f, 0x37, 0x90 },	   /* getsec */
		{ 0x0f, 0x01, 0xc8 }, /* monitor */ { 0x0f, 0x01, 0xc9 },  /* mwait */
		{ 0x0f, 0x01, 0xfd }, /* rdpru */ { 0x0f, 0x01, 0xf8 },	   /* swapgs, see below */
	};
	struct guest *g = start_long(G_CS64, NULL);
	struct cpu_state before = g->st;

	for (unsigned int k = 0; k < ARRAY_SIZE(code); k++) {
		int vector;

		g->st = before;
		vector = step(g, code[k], 3);
		/* The last shows that the others are not refused for a reason they share. */
		assert_int_equal(vector, k + 1 < ARRAY_SIZE(code) ? UD : NO_FAULT);
	}
	guest_free(g);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_msrs),
		cmocka_unit_test(test_efer_flushes),
		cmocka_unit_test(test_time),
		cmocka_unit_test(test_cpuid_and_random),
		cmocka_unit_test(test_interrupt_flag),
		cmocka_unit_test(test_descriptor_tables),
		cmocka_unit_test(test_hypercalls),
		cmocka_unit_test(test_hyperv),
		cmocka_unit_test(test_protection_keys),
		cmocka_unit_test(test_not_there),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
