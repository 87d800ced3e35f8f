// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * The CPU that a guest sees: an AMD processor of family 0x19, because AMD's page-table and branch
 * behaviour needs the fewest software mitigations in guests (none of which would protect anything in a
 * translated or interpreted machine), with every feature chosen by a table (cpuid_features.def).
 *
 * Sources: AMD APM volume 3, appendix E; Intel SDM volume 2, CPUID (leaves 0xb, 0xd, 0x15, 0x16);
 * Linux, Documentation/virt/kvm/x86/cpuid.rst; the timing leaf 0x40000010 as VMware defined it.
 */
#include "cpu/cpuid.h"

#include <cpuid.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "base/str.h"
#include "cpu/apic.h"
#include "cpu/cpu_priv.h"

enum reg { EAX, EBX, ECX, EDX };
enum source { FIXED, EMUL, HOST };
enum {
	MAX_BASIC = 0x16,
	SIGNATURE = 0x00a00f11, /* family 0x19, model 1, stepping 1 */
	PHYS_BITS_DEFAULT = 40,
	PHYS_BITS_MIN = 36,
	PHYS_BITS_MAX = 52,
	MODEL_HOST = 4,
	CPUID_LEAF_XSAVE = 0xd,
};
#define MAX_EXTENDED UINT32_C(0x80000021)
#define MAX_HYPER    UINT32_C(0x40000010)

/* Hyper-V's leaves. */
enum {
	HV_INTERFACE = 0x31237648, /* "Hv#1" */
	HV_BUILD = 14393,	   /* of Windows Server 2016, whose interface this is a part of */
	HV_VERSION = 10 << 16,
	HV_MAX_CPUS = 64,
	HV_FREQUENCIES_THERE = 1 << 8,
	HV_APIC_BY_MSR = 1 << 3,
	HV_RELAXED_TIMING = 1 << 5,
	HV_NO_AUTO_EOI = 1 << 9,
};
#define MAX_HYPERV UINT32_C(0x40000005)

struct feature {
	const char *name;
	uint32_t leaf, subleaf;
	uint8_t reg, bit, model, source;
};

static const struct feature features[] = {
#define CPUID_FEATURE(symbol, name, leaf, subleaf, reg, bit, model, source)                        \
	[CPUID_##symbol] = { name, leaf, subleaf, reg, bit, model, source },
#include "cpu/cpuid_features.def"
#undef CPUID_FEATURE
};

/* What makes no sense without something else; checked from top to bottom after all choices. */
static const struct {
	uint8_t feature, needs;
} dependencies[] = {
	{ CPUID_XSAVEC, CPUID_XSAVE },
	{ CPUID_AVX, CPUID_XSAVE },
	{ CPUID_XSAVEOPT, CPUID_XSAVE },
	{ CPUID_AVX2, CPUID_AVX },
	{ CPUID_FMA, CPUID_AVX },
	{ CPUID_F16C, CPUID_AVX },
	{ CPUID_LM, CPUID_PAE },
	{ CPUID_PDPE1GB, CPUID_LM },
	{ CPUID_LA57, CPUID_LM },
	{ CPUID_PCID, CPUID_LM },
	{ CPUID_TSC_DEADLINE, CPUID_TSC },
	{ CPUID_TSC_ADJUST, CPUID_TSC },
	{ CPUID_RDTSCP, CPUID_TSC },
	{ CPUID_INVARIANT_TSC, CPUID_TSC },
	{ CPUID_KVM_CLOCK_OLD, CPUID_HYPERVISOR },
	{ CPUID_KVM_CLOCK, CPUID_HYPERVISOR },
	{ CPUID_KVM_CLOCK_STABLE, CPUID_KVM_CLOCK },
	{ CPUID_KVM_NOP_IO_DELAY, CPUID_HYPERVISOR },
	{ CPUID_KVM_EOI, CPUID_HYPERVISOR },
	{ CPUID_KVM_STEAL_TIME, CPUID_HYPERVISOR },
	{ CPUID_KVM_TLB_FLUSH, CPUID_KVM_STEAL_TIME },
	{ CPUID_KVM_IPI, CPUID_HYPERVISOR },
	{ CPUID_KVM_POLL_CONTROL, CPUID_HYPERVISOR },
	{ CPUID_HYPERV, CPUID_HYPERVISOR },
	{ CPUID_HV_TIME, CPUID_HYPERV },
	{ CPUID_HV_SYNIC, CPUID_HYPERV },
	{ CPUID_HV_STIMER, CPUID_HV_TIME },
	{ CPUID_HV_STIMER_DIRECT, CPUID_HV_STIMER },
	{ CPUID_HV_APIC, CPUID_HYPERV },
	{ CPUID_HV_VPINDEX, CPUID_HYPERV },
	{ CPUID_HV_REFERENCE_TSC, CPUID_HYPERV },
	{ CPUID_HV_FREQUENCIES, CPUID_HYPERV },
	{ CPUID_HV_IPI, CPUID_HYPERV },
};

static void feature_put(struct cpu_cpuid *id, unsigned int f, bool on)
{
	uint64_t bit = UINT64_C(1) << (f % 64);

	if (on)
		id->features[f / 64] |= bit;
	else
		id->features[f / 64] &= ~bit;
}

static bool host_has(const struct feature *f)
{
	uint32_t r[4];

	return __get_cpuid_count(f->leaf, f->subleaf, &r[EAX], &r[EBX], &r[ECX], &r[EDX]) &&
	       (r[f->reg] >> f->bit & 1);
}

static bool is_allowed(const struct cpuid_limit *limit, unsigned int f)
{
	return !limit || (limit->features[f / 64] >> (f % 64) & 1);
}

struct cpuid_place cpuid_place(enum cpu_feature f)
{
	const struct feature *d = &features[f];

	return (struct cpuid_place){ d->leaf, d->subleaf, d->reg, d->bit };
}

int cpuid_fits(const struct cpu_cpuid *id, const struct cpuid_limit *limit, struct err *err)
{
	char names[160] = "";
	size_t n = 0;

	for (unsigned int f = 0; f < CPUID_NR_FEATURES; f++)
		if (cpuid_has(id, f) && !is_allowed(limit, f) && n < sizeof(names))
			n += (size_t)snprintf(names + n, sizeof(names) - n, ",-%s",
					      features[f].name);
	if (n)
		return err_set(err, -EOPNOTSUPP,
			       "%s does not have all CPU features of this guest; start it with --cpu "
			       "MODEL%s%s",
			       limit->who, names, n < sizeof(names) ? "" : "...");
	if (id->phys_bits > limit->phys_bits)
		return err_set(err, -EOPNOTSUPP,
			       "%s has %u bits of a physical address, this guest's CPU %u; start it with "
			       "--cpu MODEL,phys-bits=%u",
			       limit->who, limit->phys_bits, id->phys_bits, limit->phys_bits);
	return 0;
}

static int features_by_model(struct cpu_cpuid *id, const char *model,
			     const struct cpuid_limit *limit, struct err *err)
{
	static const char *const names[] = { "", "baseline", "v2", "v3", "host" };
	unsigned int level = 0;

	for (unsigned int k = 1; k < ARRAY_SIZE(names); k++)
		if (strcmp(model, names[k]) == 0)
			level = k;
	if (!level)
		return err_set(err, -EINVAL, "CPU model '%s' is unknown: baseline, v2, v3 or host",
			       model);

	for (unsigned int f = 0; f < CPUID_NR_FEATURES; f++) {
		bool wanted = features[f].model <= level;

		if (wanted && features[f].source == HOST && !host_has(&features[f])) {
			if (level < MODEL_HOST)
				return err_set(err, -EOPNOTSUPP,
					       "CPU model '%s' needs '%s', which this host lacks; a lower "
					       "model or 'host' works",
					       model, features[f].name);
			wanted = false;
		}
		feature_put(id, f, wanted && is_allowed(limit, f));
	}
	return 0;
}

static int feature_change(struct cpu_cpuid *id, struct str word, const struct cpuid_limit *limit,
			  struct err *err)
{
	struct str name = { word.p + 1, word.n - 1 };
	bool on = word.p[0] == '+';

	for (unsigned int f = 0; f < CPUID_NR_FEATURES; f++) {
		if (strlen(features[f].name) != name.n ||
		    memcmp(features[f].name, name.p, name.n) != 0)
			continue;
		if (features[f].source == FIXED)
			return err_set(err, -EINVAL, "CPU feature '%s' cannot be changed",
				       features[f].name);
		if (on && features[f].source == HOST && !host_has(&features[f]))
			return err_set(err, -EOPNOTSUPP,
				       "CPU feature '%s' is not in this host's CPU",
				       features[f].name);
		if (on && !is_allowed(limit, f))
			return err_set(err, -EOPNOTSUPP, "CPU feature '%s': %s does not have it",
				       features[f].name, limit->who);
		feature_put(id, f, on);
		return 0;
	}
	return err_set(err, -EINVAL,
		       "CPU feature '%.*s' is unknown; names are those of /proc/cpuinfo, for example "
		       "+x2apic,-pcid",
		       (int)name.n, name.p);
}

static int features_by_words(struct cpu_cpuid *id, const char *text,
			     const struct cpuid_limit *limit, struct err *err)
{
	static const char phys_bits[] = "phys-bits=";
	struct str rest = { text, strlen(text) }, word;

	while (str_cut(&rest, ',', &word)) {
		if (word.n > sizeof(phys_bits) - 1 &&
		    memcmp(word.p, phys_bits, sizeof(phys_bits) - 1) == 0) {
			struct str number = { word.p + sizeof(phys_bits) - 1,
					      word.n - (sizeof(phys_bits) - 1) };
			uint64_t bits;
			int r = str_parse_u64(number, PHYS_BITS_MIN, PHYS_BITS_MAX, &bits, err);

			if (r < 0)
				return err_wrap(err, r, "phys-bits");
			id->phys_bits = (uint8_t)bits;
			continue;
		}
		if (word.n < 2 || (word.p[0] != '+' && word.p[0] != '-'))
			return err_set(err, -EINVAL,
				       "CPU feature '%.*s': write +name or -name, separated by commas",
				       (int)word.n, word.p);
		int r = feature_change(id, word, limit, err);

		if (r < 0)
			return r;
	}
	return 0;
}

/* A model that every host has, and each feature that is otherwise. */
void cpuid_text(const struct cpu_cpuid *id, struct strbuf *out)
{
	strbuf_adds(out, "baseline");
	for (unsigned int f = 0; f < CPUID_NR_FEATURES; f++)
		if (features[f].source != FIXED && cpuid_has(id, f) != (features[f].model <= 1))
			strbuf_addf(out, ",%c%s", cpuid_has(id, f) ? '+' : '-', features[f].name);
	strbuf_addf(out, ",phys-bits=%u", id->phys_bits);
}

static uint32_t *leaf_reg(struct cpu_cpuid *id, uint32_t leaf, uint32_t subleaf, bool has_subleaf)
{
	for (unsigned int k = 0; k < id->nr; k++)
		if (id->leaf[k].leaf == leaf &&
		    (!id->leaf[k].has_subleaf || id->leaf[k].subleaf == subleaf))
			return id->leaf[k].reg;
	id->leaf[id->nr] =
		(struct cpuid_leaf){ .leaf = leaf, .subleaf = subleaf, .has_subleaf = has_subleaf };
	return id->leaf[id->nr++].reg;
}

static void leaf_set(struct cpu_cpuid *id, uint32_t leaf, uint32_t a, uint32_t b, uint32_t c,
		     uint32_t d)
{
	uint32_t *r = leaf_reg(id, leaf, 0, false);

	r[EAX] = a;
	r[EBX] = b;
	r[ECX] = c;
	r[EDX] = d;
}

static void subleaf_set(struct cpu_cpuid *id, uint32_t leaf, uint32_t subleaf, uint32_t a,
			uint32_t b, uint32_t c, uint32_t d)
{
	uint32_t *r = leaf_reg(id, leaf, subleaf, true);

	r[EAX] = a;
	r[EBX] = b;
	r[ECX] = c;
	r[EDX] = d;
}

/* Twelve characters of a vendor in EBX, @second, @third. */
static void leaf_vendor(struct cpu_cpuid *id, uint32_t leaf, uint32_t max, const char text[12],
			enum reg second, enum reg third)
{
	uint32_t *r = leaf_reg(id, leaf, 0, false);

	r[EAX] = max;
	memcpy(&r[EBX], text, 4);
	memcpy(&r[second], text + 4, 4);
	memcpy(&r[third], text + 8, 4);
}

static unsigned int bits_for(unsigned int n)
{
	unsigned int bits = 0;

	while ((1u << bits) < n)
		bits++;
	return bits;
}

/* Bytes of a standard XSAVE area with these components. */
static uint32_t xsave_size(uint64_t xcr0)
{
	if (xcr0 & XCR0_PKRU)
		return XSAVE_PKRU + XSAVE_PKRU_SIZE;
	return XSAVE_YMM + (xcr0 & XCR0_AVX ? XSAVE_YMM_SIZE : 0);
}

static uint32_t xsave_size_compact(uint64_t xcr0)
{
	return XSAVE_YMM + (xcr0 & XCR0_AVX ? XSAVE_YMM_SIZE : 0) +
	       (xcr0 & XCR0_PKRU ? XSAVE_PKRU_SIZE : 0);
}

/* One thread a core, one package; all cores in one L3 complex. */
static void leaves_topology(struct cpu_cpuid *id, unsigned int nr_cpus)
{
	unsigned int bits = bits_for(nr_cpus);

	subleaf_set(id, 0xb, 0, 0, 1, 0x100, 0);	  /* SMT level: one thread */
	subleaf_set(id, 0xb, 1, bits, nr_cpus, 0x201, 0); /* core level */
	if (nr_cpus > 1) {
		leaf_reg(id, 1, 0, false)[EDX] |= 1u << 28; /* HTT: several logical processors */
		leaf_reg(id, 0x80000001, 0, false)[ECX] |= 1u << 1; /* CmpLegacy: they are cores */
	}
	leaf_reg(id, 0x80000008, 0, false)[ECX] |= (nr_cpus - 1) | bits << 12;
	leaf_set(id, 0x8000001e, 0, 0, 0, 0);
	/* L1D 32K 8-way, L1I 32K 8-way, L2 512K 8-way, L3 16M 16-way; 64-byte lines. */
	subleaf_set(id, 0x8000001d, 0, 0x121, 7u << 22 | 63, 63, 0);
	subleaf_set(id, 0x8000001d, 1, 0x122, 7u << 22 | 63, 63, 0);
	subleaf_set(id, 0x8000001d, 2, 0x143, 7u << 22 | 63, 1023, 2);
	subleaf_set(id, 0x8000001d, 3, 0x163 | (nr_cpus - 1) << 14, 15u << 22 | 63, 16383, 1);
	leaf_set(id, 0x80000005, 0xff40ff40, 0xff40ff40, 0x20080140, 0x20080140);
	leaf_set(id, 0x80000006, 0x48006400, 0x68006400, 0x02006140, 0x00809140);
}

static void leaves_text(struct cpu_cpuid *id)
{
	char name[48] = "Atoll virtual CPU";

	for (unsigned int k = 0; k < 3; k++)
		memcpy(leaf_reg(id, 0x80000002 + k, 0, false), name + (size_t)16 * k, 16);
}

/* Source: TLFS chapter 2. */
static void leaves_hyperv(struct cpu_cpuid *id)
{
	uint32_t there = cpuid_has(id, CPUID_HV_FREQUENCIES) ? HV_FREQUENCIES_THERE : 0;
	uint32_t better = HV_RELAXED_TIMING | HV_NO_AUTO_EOI;

	if (cpuid_has(id, CPUID_HV_APIC))
		better |= HV_APIC_BY_MSR;
	leaf_vendor(id, 0x40000000, MAX_HYPERV, "Microsoft Hv", ECX, EDX);
	leaf_set(id, 0x40000001, HV_INTERFACE, 0, 0, 0);
	leaf_set(id, 0x40000002, HV_BUILD, HV_VERSION, 0, 0);
	leaf_set(id, 0x40000003, 0, 0, 0, there);
	leaf_set(id, 0x40000004, better, UINT32_MAX, 0, 0); /* spin without telling us */
	leaf_set(id, 0x40000005, HV_MAX_CPUS, HV_MAX_CPUS, 0, 0);
}

static void leaves_fixed(struct cpu_cpuid *id, unsigned int nr_cpus, uint64_t tsc_khz)
{
	uint32_t mhz = (uint32_t)(tsc_khz / 1000);

	leaf_vendor(id, 0, MAX_BASIC, "AuthenticAMD", EDX, ECX);
	leaf_set(id, 1, SIGNATURE, nr_cpus << 16 | 8u << 8, 0, 0);
	leaf_set(id, 5, 0, 0, 0, 0);
	leaf_set(id, 6, 0, 0, 0, 0);
	subleaf_set(id, 7, 0, 0, 0, 0, 0);
	if (cpuid_has(id, CPUID_XSAVE)) {
		uint64_t xcr0 = id->xcr0_allowed;

		subleaf_set(id, CPUID_LEAF_XSAVE, 0, (uint32_t)xcr0, XSAVE_YMM, xsave_size(xcr0),
			    0);
		subleaf_set(id, CPUID_LEAF_XSAVE, 1, 0, 0, 0, 0);
		if (xcr0 & XCR0_AVX)
			subleaf_set(id, CPUID_LEAF_XSAVE, 2, XSAVE_YMM_SIZE, XSAVE_YMM, 0, 0);
		if (xcr0 & XCR0_PKRU)
			subleaf_set(id, CPUID_LEAF_XSAVE, 9, XSAVE_PKRU_SIZE, XSAVE_PKRU, 0, 0);
	}
	/* The crystal, and TSC = crystal * EBX / EAX. Linux takes it for the APIC timer's clock, too. */
	leaf_set(id, 0x15, (uint32_t)(APIC_TIMER_HZ / 1000), (uint32_t)tsc_khz,
		 (uint32_t)APIC_TIMER_HZ, 0);
	leaf_set(id, 0x16, mhz, mhz, 100, 0);
	leaf_vendor(id, 0x80000000, MAX_EXTENDED, "AuthenticAMD", EDX, ECX);
	leaf_set(id, 0x80000001, SIGNATURE, 0, 0, 0);
	leaf_set(id, 0x80000007, 0, 0, 0, 0);
	leaf_set(id, 0x80000008, (id->phys_bits | (cpuid_has(id, CPUID_LA57) ? 57u : 48u) << 8), 0,
		 0, 0);
	leaf_set(id, 0x80000021, 0, 0, 0, 0);
	leaves_text(id);
	if (cpuid_has(id, CPUID_HYPERV)) {
		leaves_hyperv(id);
	} else if (cpuid_has(id, CPUID_HYPERVISOR)) {
		leaf_vendor(id, 0x40000000, MAX_HYPER, "KVMKVMKVM\0\0\0", ECX, EDX);
		leaf_set(id, 0x40000001, 0, 0, 0, 0);
		leaf_set(id, 0x40000010, (uint32_t)tsc_khz, (uint32_t)(APIC_TIMER_HZ / 1000), 0, 0);
	}
}

static void leaves_features(struct cpu_cpuid *id)
{
	for (unsigned int f = 0; f < CPUID_NR_FEATURES; f++) {
		const struct feature *d = &features[f];

		if (cpuid_has(id, f))
			leaf_reg(id, d->leaf, d->subleaf, d->subleaf != 0)[d->reg] |= 1u << d->bit;
	}
	/* AMD repeats the low feature bits of leaf 1 in the extended leaf. */
	leaf_reg(id, 0x80000001, 0, false)[EDX] |= leaf_reg(id, 1, 0, false)[EDX] & 0x0183f3ff;
}

static void allowed_bits(struct cpu_cpuid *id)
{
	static const struct {
		uint32_t bits;
		uint8_t feature;
	} cr4[] = {
		{ CR4_VME | CR4_PVI, CPUID_VME },
		{ CR4_TSD, CPUID_TSC },
		{ CR4_DE, CPUID_DE },
		{ CR4_PSE, CPUID_PSE },
		{ CR4_PAE, CPUID_PAE },
		{ CR4_MCE, CPUID_MCE },
		{ CR4_PGE, CPUID_PGE },
		{ CR4_OSFXSR, CPUID_FXSR },
		{ CR4_OSXMMEXCPT, CPUID_SSE },
		{ CR4_UMIP, CPUID_UMIP },
		{ CR4_LA57, CPUID_LA57 },
		{ CR4_FSGSBASE, CPUID_FSGSBASE },
		{ CR4_PCIDE, CPUID_PCID },
		{ CR4_OSXSAVE, CPUID_XSAVE },
		{ CR4_SMEP, CPUID_SMEP },
		{ CR4_SMAP, CPUID_SMAP },
		{ CR4_PKE, CPUID_PKU },
		{ CR4_PKS, CPUID_PKS },
	};
	static const struct {
		uint32_t bits;
		uint8_t feature;
	} efer[] = {
		{ EFER_SCE, CPUID_SYSCALL },
		{ EFER_LME | EFER_LMA, CPUID_LM },
		{ EFER_NXE, CPUID_NX },
		{ EFER_AUTOIBRS, CPUID_AUTOIBRS },
	};

	id->cr4_allowed = CR4_PCE;
	for (unsigned int k = 0; k < ARRAY_SIZE(cr4); k++)
		if (cpuid_has(id, cr4[k].feature))
			id->cr4_allowed |= cr4[k].bits;
	id->efer_allowed = 0;
	for (unsigned int k = 0; k < ARRAY_SIZE(efer); k++)
		if (cpuid_has(id, efer[k].feature))
			id->efer_allowed |= efer[k].bits;
	id->xcr0_allowed = XCR0_X87;
	if (cpuid_has(id, CPUID_XSAVE))
		id->xcr0_allowed |= XCR0_SSE | (cpuid_has(id, CPUID_AVX) ? XCR0_AVX : 0) |
				    (cpuid_has(id, CPUID_PKU) ? XCR0_PKRU : 0);
}

int cpuid_build(struct cpu_cpuid *ret, const char *model, const char *text, unsigned int nr_cpus,
		uint64_t tsc_khz, const struct cpuid_limit *limit, struct err *err)
{
	struct cpu_cpuid id = { .phys_bits = PHYS_BITS_DEFAULT };
	int r;

	if (limit)
		id.phys_bits = MIN(id.phys_bits, limit->phys_bits);
	r = features_by_model(&id, model, limit, err);
	if (r == 0 && text)
		r = features_by_words(&id, text, limit, err);
	if (r < 0)
		return r;
	if (limit && id.phys_bits > limit->phys_bits)
		return err_set(err, -EOPNOTSUPP, "phys-bits=%u: %s has %u", id.phys_bits,
			       limit->who, limit->phys_bits);
	for (unsigned int k = 0; k < ARRAY_SIZE(dependencies); k++)
		if (!cpuid_has(&id, dependencies[k].needs))
			feature_put(&id, dependencies[k].feature, false);
	if (cpuid_has(&id, CPUID_HYPERV)) /* a guest would see both, and none whole */
		for (unsigned int f = CPUID_KVM_CLOCK_OLD; f <= CPUID_KVM_CLOCK_STABLE; f++)
			feature_put(&id, f, false);
	allowed_bits(&id);
	leaves_fixed(&id, nr_cpus, tsc_khz);
	leaves_features(&id);
	leaves_topology(&id, nr_cpus);
	*ret = id;
	return 0;
}

void cpuid_get(const struct cpu_cpuid *id, uint32_t leaf, uint32_t subleaf, uint32_t ret[4])
{
	memset(ret, 0, sizeof(uint32_t) * 4);
	for (unsigned int k = 0; k < id->nr; k++) {
		const struct cpuid_leaf *l = &id->leaf[k];

		if (l->leaf == leaf && (!l->has_subleaf || l->subleaf == subleaf)) {
			memcpy(ret, l->reg, sizeof(l->reg));
			return;
		}
	}
}

void cpuid_exec(const struct cpu *c, uint32_t leaf, uint32_t subleaf, uint32_t ret[4])
{
	uint32_t apic_id = c->index;

	cpuid_get(&c->grp->cpuid, leaf, subleaf, ret);
	switch (leaf) {
	case 1:
		ret[EBX] |= apic_id << 24;
		if (c->st.cr4 & CR4_OSXSAVE)
			ret[ECX] |= 1u << 27;
		if (!(c->st.apic.base & APIC_BASE_ENABLE))
			ret[EDX] &= ~(1u << 9);
		break;
	case 7:
		if (subleaf == 0 && (c->st.cr4 & CR4_PKE))
			ret[ECX] |= 1u << 4; /* OSPKE */
		break;
	case 0xb:
		ret[ECX] = (ret[ECX] & ~0xffu) | (subleaf & 0xff);
		ret[EDX] = apic_id;
		break;
	case CPUID_LEAF_XSAVE:
		if (subleaf == 0)
			ret[EBX] = xsave_size(c->st.xcr0);
		if (subleaf == 1 && cpuid_has(&c->grp->cpuid, CPUID_XSAVEC))
			ret[EBX] = xsave_size_compact(c->st.xcr0);
		break;
	case 0x80000001:
		if (!(c->st.apic.base & APIC_BASE_ENABLE))
			ret[EDX] &= ~(1u << 9);
		break;
	case 0x8000001e:
		ret[EAX] = apic_id;
		ret[EBX] = apic_id; /* one thread a core: the core's number */
		break;
	default:
		break;
	}
}
