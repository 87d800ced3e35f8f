/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Takes random numbers of the kernel without end, each into the next place of a ring whose counter the host finds in a snapshot
 * of this machine. When the kernel says that the machine is a copy, some more follow, and then it prints all from a certain one on.
 *
 *	cloneops FILE	reads the number of the first one that is to be told from standard input
 */
#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/random.h>
#include <unistd.h>

enum { MORE = 64, RING = 1 << 16 };

struct ring {
	uint64_t magic[2];
	volatile uint64_t nr; /* so many were made */
	uint8_t number[RING][16];
};

/* Has the kernel said that the machine is a copy? */
static int is_copy(int kmsg)
{
	char line[1024];
	ssize_t n = read(kmsg, line, sizeof(line) - 1);

	if (n <= 0)
		return 0;
	line[n] = 0;
	return strstr(line, "due to virtual machine fork") != NULL;
}

static void make(struct ring *r)
{
	if (getrandom(r->number[r->nr % RING], 16, 0) != 16)
		abort();
	r->nr++;
}

static void tell(const struct ring *r, uint64_t first)
{
	for (uint64_t k = first; k < r->nr; k++) {
		printf("number %llu ", (unsigned long long)k);
		for (unsigned int i = 0; i < 16; i++)
			printf("%02x", r->number[k % RING][i]);
		printf("\n");
	}
	printf("all-numbers\n");
}

int main(void)
{
	struct ring *r = mmap(NULL, sizeof(*r), PROT_READ | PROT_WRITE,
			      MAP_PRIVATE | MAP_ANONYMOUS | MAP_POPULATE, -1, 0);
	int kmsg = open("/dev/kmsg", O_RDONLY | O_NONBLOCK);
	unsigned long long first;

	if (r == MAP_FAILED || kmsg < 0 || lseek(kmsg, 0, SEEK_END) < 0)
		return 1;
	r->magic[1] = ~UINT64_C(0x6d75626572206e6f);
	r->magic[0] = ~UINT64_C(0x20666f2061206c6f);
	printf("numbers-begin\n");
	fflush(stdout);
	while (!is_copy(kmsg))
		make(r);
	for (unsigned int k = 0; k < MORE; k++)
		make(r);
	printf("a-copy\n");
	fflush(stdout);
	if (scanf("%llu", &first) != 1 || r->nr - first > RING)
		return 1;
	tell(r, first);
	return 0;
}
