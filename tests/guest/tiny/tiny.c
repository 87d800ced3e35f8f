// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * A guest in a few hundred lines, without a kernel: its command line chooses how it ends the
 * machine, or which part of the machine it maltreats before that. It shows that each way to end
 * has its exit status, and that no value written to any port, configuration register or device
 * page does harm to more than the guest.
 *
 *   hello               says so; debug exit with 0x2a
 *   status=N            debug exit with N
 *   poweroff            ACPI S5 by PM1a
 *   triple              triple fault
 *   reset               reset by the keyboard controller
 *   ports mmio pci      writes and reads of everything there; debug exit with 0
 *   spin                never ends
 *   compute             64-bit work; says at-1 to at-4, and goes on from each when the serial port gets a byte; result-N; S5
 *
 * Interrupts stay off; the interrupt table exists for the non-maskable ones.
 */
#include <stddef.h>
#include <stdint.h>

#define MULTIBOOT_LOADER_MAGIC 0x2badb002u
#define MULTIBOOT_HAS_CMDLINE  (1u << 2)

#define COM1		 0x3f8
#define DEBUG_EXIT	 0xf4
#define PM1A_CONTROL	 0x604
#define I8042_DATA	 0x60
#define I8042_COMMAND	 0x64
#define PCI_ADDRESS	 0xcf8
#define PCI_DATA	 0xcfc
#define RESET_CONTROL	 0xcf9
#define SYSTEM_CONTROL_A 0x92

struct multiboot_info {
	uint32_t flags, mem_lower, mem_upper, boot_device, cmdline;
};

void tiny_main(uint32_t magic, const struct multiboot_info *info);
void interrupt_entry(void);
void triple_fault(void);

/* What compute_long() works on, in this order. */
struct work {
	uint64_t a, b, sum[2], x[2];
	double d[2];
};

void compute_long(struct work *w, uint32_t rounds);

volatile uint32_t nr_interrupts;
static uint64_t idt[256];

static const uint32_t patterns[] = { 0x00000000, 0xffffffff, 0x55555555, 0xaaaaaaaa,
				     0x00000001, 0x80000000, 0x7fff8000 };
#define NR_PATTERNS (sizeof(patterns) / sizeof(patterns[0]))

static inline void outb(uint16_t port, uint8_t v)
{
	__asm__ volatile("outb %0, %1" : : "a"(v), "Nd"(port));
}

static inline void outw(uint16_t port, uint16_t v)
{
	__asm__ volatile("outw %0, %1" : : "a"(v), "Nd"(port));
}

static inline void outl(uint16_t port, uint32_t v)
{
	__asm__ volatile("outl %0, %1" : : "a"(v), "Nd"(port));
}

static inline uint8_t inb(uint16_t port)
{
	uint8_t v;
	__asm__ volatile("inb %1, %0" : "=a"(v) : "Nd"(port));
	return v;
}

static inline uint16_t inw(uint16_t port)
{
	uint16_t v;
	__asm__ volatile("inw %1, %0" : "=a"(v) : "Nd"(port));
	return v;
}

static inline uint32_t inl(uint16_t port)
{
	uint32_t v;
	__asm__ volatile("inl %1, %0" : "=a"(v) : "Nd"(port));
	return v;
}

static void serial_setup(void)
{
	outb(COM1 + 1, 0);
	outb(COM1 + 3, 0x80);
	outb(COM1 + 0, 1);
	outb(COM1 + 1, 0);
	outb(COM1 + 3, 0x03);
	outb(COM1 + 2, 0x07);
	outb(COM1 + 4, 0x03);
}

static void print(const char *s)
{
	for (; *s; s++) {
		while (!(inb(COM1 + 5) & 0x20))
			;
		outb(COM1, (uint8_t)*s);
	}
}

static void debug_exit(uint32_t value)
{
	outl(DEBUG_EXIT, value);
	print("still here after the debug exit\n");
}

static void idt_setup(void)
{
	struct {
		uint16_t limit;
		uint32_t base;
	} __attribute__((packed)) pointer = { sizeof(idt) - 1, (uint32_t)(uintptr_t)idt };
	uint32_t entry = (uint32_t)(uintptr_t)interrupt_entry;

	for (size_t i = 0; i < 256; i++)
		idt[i] = (uint64_t)(entry & 0xffff) | 8u << 16 |
			 (uint64_t)(0x8e00u | (entry & 0xffff0000u)) << 32;
	__asm__ volatile("lidt %0" : : "m"(pointer));
}

/* Would an access of @size bytes at @port end the machine, or mute it? */
static int port_is_spared(uint32_t port, uint32_t size)
{
	static const struct {
		uint16_t first, last;
	} spared[] = {
		{ COM1, COM1 + 7 },
		{ DEBUG_EXIT, DEBUG_EXIT + 3 },
		{ PM1A_CONTROL, PM1A_CONTROL + 1 },
		{ I8042_COMMAND, I8042_COMMAND },
		{ RESET_CONTROL, RESET_CONTROL },
		{ SYSTEM_CONTROL_A, SYSTEM_CONTROL_A },
	};

	for (size_t i = 0; i < sizeof(spared) / sizeof(spared[0]); i++)
		if (port <= spared[i].last && port + size > spared[i].first)
			return 1;
	return 0;
}

static void sweep_ports(void)
{
	for (size_t p = 0; p < NR_PATTERNS; p++) {
		for (uint32_t port = 0; port < 0x10000; port++) {
			if (!port_is_spared(port, 1))
				outb((uint16_t)port, (uint8_t)(patterns[p] ^ port));
			if (!port_is_spared(port, 2))
				outw((uint16_t)port, (uint16_t)patterns[p]);
			if (!port_is_spared(port, 4))
				outl((uint16_t)port, patterns[p]);
			if (port_is_spared(port, 4))
				continue;
			inb((uint16_t)port);
			inw((uint16_t)port);
			inl((uint16_t)port);
		}
	}
	/*
	 * Every command of the keyboard controller, with a parameter, but those that pulse the reset
	 * line (0xf0 and up, bit 0 low) or would move this program by switching A20 off (0xdd).
	 */
	for (uint32_t command = 0; command < 0x100; command++) {
		if ((command >= 0xf0 && !(command & 1)) || command == 0xdd)
			continue;
		outb(I8042_COMMAND, (uint8_t)command);
		outb(I8042_DATA, 0xff);
		inb(I8042_DATA);
		inb(I8042_COMMAND);
	}
}

static void sweep_page(uint32_t base)
{
	for (size_t p = 0; p < NR_PATTERNS; p++) {
		for (uint32_t off = 0; off < 0x1000; off++) {
			volatile uint8_t *b = (volatile uint8_t *)(uintptr_t)(base + off);
			volatile uint16_t *w = (volatile uint16_t *)b;
			volatile uint32_t *l = (volatile uint32_t *)b;

			if ((patterns[p] ^ off) & 1) {
				*b = (uint8_t)patterns[p];
				(void)*b;
			}
			*w = (uint16_t)patterns[p];
			(void)*w;
			*l = patterns[p];
			(void)*l;
		}
	}
}

static void sweep_mmio(void)
{
	static const uint32_t pages[] = {
		0xb0000000, 0xb00f8000, 0xc0000000, 0xe0000000, 0xe00f8000, 0xfea00000, 0xfeb00000,
		0xfec00000, 0xfec01000, 0xfed00000, 0xfed01000, 0xfed1c000, 0xfed40000, 0xfee01000,
		0xfef00000, 0xffc00000, 0xffffe000, 0x000a0000, 0x000c0000, 0xfee00000,
	};

	for (size_t i = 0; i < sizeof(pages) / sizeof(pages[0]); i++)
		sweep_page(pages[i]);
}

static void sweep_pci(void)
{
	for (uint32_t bdf = 0; bdf < 0x200; bdf++) {
		for (uint32_t reg = 0; reg < 0x100; reg += 4) {
			uint32_t address = 0x80000000u | bdf << 8 | reg, was;

			outl(PCI_ADDRESS, address);
			was = inl(PCI_DATA);
			for (size_t p = 0; p < NR_PATTERNS; p++) {
				outl(PCI_DATA, patterns[p]);
				outw(PCI_DATA + 2, (uint16_t)patterns[p]);
				outb(PCI_DATA + 1, (uint8_t)patterns[p]);
				inl(PCI_DATA);
			}
			outl(PCI_DATA, was);
		}
	}
	/* Bits of the address that mean nothing, and addresses that are not enabled. */
	for (uint32_t bit = 0; bit < 32; bit++) {
		outl(PCI_ADDRESS, 1u << bit);
		inl(PCI_DATA);
		outl(PCI_ADDRESS, 0x80000000u | 1u << bit);
		inl(PCI_DATA);
	}
}

static void print_hex(uint64_t v)
{
	char s[17];

	for (int i = 0; i < 16; i++)
		s[i] = "0123456789abcdef"[v >> (60 - 4 * i) & 15];
	s[16] = 0;
	print(s);
}

static struct work work_of(uint64_t seed)
{
	return (struct work){ .a = seed, .b = ~seed, .x = { seed, 3 }, .d = { 1.25, 0.5 } };
}

static int same_work(const struct work *p, const struct work *q)
{
	return p->a == q->a && p->b == q->b && p->sum[0] == q->sum[0] && p->sum[1] == q->sum[1] &&
	       p->x[0] == q->x[0] && p->x[1] == q->x[1];
}

/*
 * A chain of results in four parts. Between two of them the same work is done again and again, and what comes out of it is
 * looked at: so whenever the machine is stopped and goes on elsewhere, it is in the midst of something that is noticed.
 */
static void compute(void)
{
	enum { ROUNDS = 100000 };
	struct work chain = work_of(0x9e3779b97f4a7c15), first = work_of(77), w;

	compute_long(&first, ROUNDS);
	for (int part = 1; part <= 4; part++) {
		const char at[] = { 'a', 't', '-', (char)('0' + part), '\n', 0 };

		compute_long(&chain, ROUNDS);
		print(at);
		do {
			w = work_of(77);
			compute_long(&w, ROUNDS);
			if (!same_work(&w, &first))
				print("wrong\n");
		} while (!(inb(COM1 + 5) & 1));
		inb(COM1);
	}
	print("result-");
	print_hex(chain.a ^ chain.sum[0]);
	print_hex(chain.b ^ chain.x[1]);
	print("\n");
}

/* Sleep type 0 is S5 on QEMU's i440FX and on Atoll's board; then the others. */
static void power_off(void)
{
	for (uint16_t type = 0; type < 8; type++)
		outw(PM1A_CONTROL, (uint16_t)(0x2000 | type << 10));
	print("still here after the power-off\n");
}

/* The word of the command line that begins with @name, past the name; NULL when there is none. */
static const char *find_word(const char *s, const char *name)
{
	while (*s) {
		const char *p = s, *q = name;

		while (*q && *p == *q)
			p++, q++;
		if (!*q && (q[-1] == '=' || *p == ' ' || *p == 0))
			return p;
		while (*s && *s != ' ')
			s++;
		while (*s == ' ')
			s++;
	}
	return NULL;
}

static uint32_t parse(const char *s)
{
	uint32_t v = 0;

	for (; *s >= '0' && *s <= '9'; s++)
		v = v * 10 + (uint32_t)(*s - '0');
	return v;
}

void tiny_main(uint32_t magic, const struct multiboot_info *info)
{
	const char *cmdline = "", *value;

	serial_setup();
	idt_setup();
	if (magic != MULTIBOOT_LOADER_MAGIC) {
		print("not entered by a multiboot loader\n");
		debug_exit(0x7e);
	}
	if (info->flags & MULTIBOOT_HAS_CMDLINE)
		cmdline = (const char *)(uintptr_t)info->cmdline;
	print("tiny: ");
	print(cmdline);
	print("\n");

	if (find_word(cmdline, "hello")) {
		debug_exit(0x2a);
	} else if ((value = find_word(cmdline, "status="))) {
		debug_exit(parse(value));
	} else if (find_word(cmdline, "poweroff")) {
		power_off();
	} else if (find_word(cmdline, "compute")) {
		compute();
		power_off();
	} else if (find_word(cmdline, "triple")) {
		triple_fault();
	} else if (find_word(cmdline, "reset")) {
		outb(I8042_COMMAND, 0xfe);
		for (;;)
			__asm__ volatile("pause");
	} else if (find_word(cmdline, "ports")) {
		sweep_ports();
		serial_setup();
		print("tiny: ports done\n");
		debug_exit(0);
	} else if (find_word(cmdline, "mmio")) {
		sweep_mmio();
		print("tiny: mmio done\n");
		debug_exit(0);
	} else if (find_word(cmdline, "pci")) {
		sweep_pci();
		print("tiny: pci done\n");
		debug_exit(0);
	} else if (find_word(cmdline, "spin")) {
		for (;;)
			__asm__ volatile("pause");
	} else {
		print("tiny: nothing to do\n");
		debug_exit(0x7f);
	}
}
