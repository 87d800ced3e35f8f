/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Firmware images: which file, where its bytes go.
 *
 * Code is ROM. Variables are a copy of the package's template: in memory, or in a file of the machine's own, which is
 * locked, because two machines that program one chip would destroy each other's variables. The file is held open from
 * the start, so that the process needs no file system later.
 *
 * The shadow below 1 MiB is a copy in RAM from the first instruction on (see dev/pci_host.c about PAM).
 */
#include "vm/firmware/firmware.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <unistd.h>

#include "base/mem.h"
#include "sys/fd.h"
#include "vm/dev/pflash.h"

enum { ROM_ALIGN = 4096, SHADOW = 128 << 10 };
#define FOUR_GIB UINT64_C(0x100000000)
/* The APICs' and the HPET's addresses are below; code and variables together. */
#define ROM_MAX (UINT64_C(16) << 20)

static const struct {
	const char *name, *code, *package;
} known[] = {
	{ "seabios", "/usr/share/seabios/bios-256k.bin", "seabios" },
	{ "ovmf", "/usr/share/OVMF/OVMF_CODE_4M.fd", "ovmf" },
};

/* "…CODE…" -> "…VARS…"; NULL when the name has no CODE. */
static char *template_of(const char *code)
{
	const char *slash = strrchr(code, '/');
	size_t at = slash ? (size_t)(slash - code) : 0;
	const char *word = strstr(code + at, "CODE");
	char *path;

	if (!word)
		return NULL;
	path = mem_strdup(code);
	memcpy(path + (word - code), "VARS", 4);
	return path;
}

static int check_sizes(const struct firmware *fw, struct err *err)
{
	if (!fw->rom_len || fw->rom_len % ROM_ALIGN)
		return err_set(err, -EINVAL, "'%s' has %zu bytes: firmware is a multiple of 4 KiB",
			       fw->path, fw->rom_len);
	if (fw->vars_len % PFLASH_BLOCK || fw->rom_len + fw->vars_len > ROM_MAX)
		return err_set(err, -EINVAL,
			       "variables of %zu bytes: a multiple of 4 KiB, with the code at most "
			       "16 MiB, is possible",
			       fw->vars_len);
	return 0;
}

/* The machine's own file: its contents, or the template's when it is new. */
static int open_vars(struct firmware *fw, const char *path, struct err *err)
{
	void *data = NULL;
	size_t len = 0;
	int r;

	r = fd_open(path, O_RDWR | O_CREAT, &fw->vars_fd, err);
	if (r < 0)
		return r;
	if (flock(fw->vars_fd, LOCK_EX | LOCK_NB) < 0)
		return errno == EWOULDBLOCK
			       ? err_set(err, -EBUSY, "'%s' is in use by another machine", path)
			       : err_set_errno(err, "lock '%s'", path);
	r = file_read_fd(fw->vars_fd, path, ROM_MAX, &data, &len, err);
	if (r < 0)
		return r;
	if (len && len != fw->vars_len) {
		free(data);
		return err_set(err, -EINVAL,
			       "'%s' has %zu bytes, and the variables of '%s' have %zu", path, len,
			       fw->path, fw->vars_len);
	}
	if (len) {
		memcpy(fw->vars, data, len);
		free(data);
		return 0;
	}
	free(data);
	r = fd_pwrite_full(fw->vars_fd, fw->vars, fw->vars_len, 0);
	return r < 0 ? err_set(err, r, "write '%s': %s", path, strerror(-r)) : 0;
}

static int load_vars(struct firmware *fw, const char *vars, struct err *err)
{
	_cleanup_(mem_freep) char *template = template_of(fw->path);
	void *data;
	int r;

	if (!template)
		return vars ? err_set(err, -EINVAL,
				      "'%s' keeps no variables (its name has no CODE in it)",
				      fw->path)
			    : 0;
	r = file_read(template, ROM_MAX, &data, &fw->vars_len, err);
	if (r == -ENOENT && !vars)
		return 0; /* one that has its own, unwritable */
	if (r < 0)
		return r;
	fw->vars = data;
	return 0;
}

static int load(struct firmware *fw, const char *vars, struct err *err)
{
	void *data;
	int r = file_read(fw->path, ROM_MAX, &data, &fw->rom_len, err);

	if (r < 0)
		return r;
	fw->rom = data;
	r = load_vars(fw, vars, err);
	if (r == 0)
		r = check_sizes(fw, err);
	if (r == 0 && vars)
		r = open_vars(fw, vars, err);
	return r;
}

int firmware_load(const char *what, const char *vars, struct firmware *ret, struct err *err)
{
	struct firmware fw = { .vars_fd = -EBADF };
	const char *package = NULL;
	int r;

	fw.path = mem_strdup(what);
	for (size_t k = 0; k < ARRAY_SIZE(known); k++) {
		if (strcmp(what, known[k].name) != 0)
			continue;
		free(fw.path);
		fw.path = mem_strdup(known[k].code);
		package = known[k].package;
	}
	r = load(&fw, vars, err);
	if (r < 0) {
		firmware_done(&fw);
		if (r == -ENOENT && package)
			return err_wrap(err, r, "firmware (Debian package %s)", package);
		return err_wrap(err, r, "firmware");
	}
	*ret = fw;
	return 0;
}

void firmware_done(struct firmware *fw)
{
	free(take_ptr(&fw->path));
	free(take_ptr(&fw->rom));
	free(take_ptr(&fw->vars));
	fd_closep(&fw->vars_fd);
}

int firmware_map(const struct firmware *fw, struct memory *mem, struct err *err)
{
	return memory_add_rom(mem, FOUR_GIB - fw->rom_len, fw->rom, fw->rom_len, err);
}

uint64_t firmware_vars_gpa(const struct firmware *fw)
{
	return FOUR_GIB - fw->rom_len - fw->vars_len;
}

int firmware_shadow(const struct firmware *fw, const struct physmem *mem, struct err *err)
{
	size_t n = MIN(fw->rom_len, (size_t)SHADOW);

	if (physmem_write(mem, 0x100000 - n, fw->rom + fw->rom_len - n, n) < 0)
		return err_set(err, -EFAULT, "no RAM for the firmware's copy below 1 MiB");
	return 0;
}
