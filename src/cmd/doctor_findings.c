/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What `atoll doctor` looks at. Where it is possible the thing itself is tried rather than a setting read: settings
 * that forbid something are many, and differ between distributions. A new finding is an entry of the table.
 */
#include <cpuid.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <linux/kvm.h>
#include <linux/magic.h>
#include <linux/netfilter/nf_tables.h>
#include <linux/netfilter/nfnetlink.h>
#include <linux/netlink.h>
#include <linux/seccomp.h>
#include <sched.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/statfs.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/attr.h"
#include "base/mem.h"
#include "cmd/doctor.h"
#include "sys/child.h"
#include "sys/fd.h"
#include "sys/proc.h"
#include "sys/sandbox/sandbox.h"
#include "sys/uring.h"

enum { SMALL_FILE = 1 << 16 };

static enum doctor_state say(struct strbuf *detail, enum doctor_state state, const char *words)
{
	strbuf_adds(detail, words);
	return state;
}

static enum doctor_state say_errno(struct strbuf *detail, const char *what)
{
	strbuf_addf(detail, "%s: %s", what, strerror(errno));
	return DOCTOR_MISSING;
}

/* The first line of a file of the kernel, or "" when it is not there. The caller's to free. */
static char *line_of(const char *path)
{
	void *text = NULL;
	size_t n;
	char *s;

	if (file_read(path, SMALL_FILE, &text, &n, NULL) < 0)
		return mem_strdup("");
	s = text;
	s[strcspn(s, "\n")] = 0;
	return s;
}

/* The word in brackets of "always [madvise] never". */
static struct str chosen(const char *line)
{
	const char *open = strchr(line, '['), *close = open ? strchr(open, ']') : NULL;

	return close ? (struct str){ open + 1, (size_t)(close - open - 1) } : STR("");
}

/* --- the machine that this is --------------------------------------------------------------------- */

static enum doctor_state look_memory(struct strbuf *detail)
{
	_cleanup_(mem_freep) void *text = NULL;
	uint64_t total, available;
	size_t n;

	if (file_read("/proc/meminfo", SMALL_FILE, &text, &n, NULL) < 0)
		return say_errno(detail, "/proc/meminfo");
	total = proc_kib(text, "MemTotal:");
	available = proc_kib(text, "MemAvailable:");
	strbuf_addf(detail, "%" PRIu64 " MiB, %" PRIu64 " MiB of them available", total >> 20,
		    available >> 20);
	return available >= UINT64_C(1) << 30 ? DOCTOR_OK : DOCTOR_PARTLY;
}

static enum doctor_state look_cores(struct strbuf *detail)
{
	cpu_set_t set;

	CPU_ZERO(&set);
	if (sched_getaffinity(0, sizeof(set), &set) < 0)
		return say_errno(detail, "sched_getaffinity");
	strbuf_addf(detail, "%d for this process, of %ld", CPU_COUNT(&set),
		    sysconf(_SC_NPROCESSORS_ONLN));
	return CPU_COUNT(&set) > 1 ? DOCTOR_OK : DOCTOR_PARTLY;
}

static enum doctor_state look_time(struct strbuf *detail)
{
	_cleanup_(mem_freep) char *now =
		line_of("/sys/devices/system/clocksource/clocksource0/current_clocksource");
	unsigned int a, b, c, d = 0;
	bool invariant = __get_cpuid(0x80000007, &a, &b, &c, &d) && d & 1u << 8;

	strbuf_addf(detail, "the host's clock is '%s', the TSC %s", *now ? now : "?",
		    invariant ? "runs evenly" : "is not said to run evenly");
	return !strcmp(now, "tsc") && invariant ? DOCTOR_OK : DOCTOR_PARTLY;
}

/* --- engines --------------------------------------------------------------------------------------- */

static bool has_vmx_or_svm(void)
{
	unsigned int a, b, c, d;

	return (__get_cpuid(1, &a, &b, &c, &d) && c & 1u << 5) ||
	       (__get_cpuid(0x80000001, &a, &b, &c, &d) && c & 1u << 2);
}

static enum doctor_state look_kvm(struct strbuf *detail)
{
	_cleanup_(fd_closep) int fd = open("/dev/kvm", O_RDWR | O_CLOEXEC);
	int version;

	if (fd < 0)
		return say_errno(detail, "/dev/kvm");
	version = ioctl(fd, KVM_GET_API_VERSION, 0);
	if (version != KVM_API_VERSION) {
		strbuf_addf(detail, "/dev/kvm speaks version %d, not %d", version, KVM_API_VERSION);
		return DOCTOR_MISSING;
	}
	if (has_vmx_or_svm())
		return say(detail, DOCTOR_OK, "/dev/kvm, by VMX or SVM of the CPU");
	return say(detail, DOCTOR_PARTLY,
		   "/dev/kvm is there, but the CPU shows neither VMX nor SVM: what is behind it "
		   "emulates the guest's kernel, slowly and not completely");
}

/* --- confinement ----------------------------------------------------------------------------------- */

/* What the confinement of a machine does, tried in a child. */
static enum doctor_state look_confinement(struct strbuf *detail)
{
	struct sandbox_report report;
	struct err err = ERR_INIT;
	unsigned int nr = 0;

	if (sandbox_try(&report, &err) < 0) {
		strbuf_adds(detail, err_text(&err));
		return DOCTOR_MISSING;
	}
	for (unsigned int k = 0; k < SANDBOX_NR_PARTS; k++) {
		const struct err *e = &report.part[k];

		nr += !e->code;
		strbuf_addf(detail, "%s%s%s%s", k ? "; " : "",
			    sandbox_part_name((enum sandbox_part)k), e->code ? " NOT: " : "",
			    e->code ? err_text(e) : "");
	}
	return nr == SANDBOX_NR_PARTS ? DOCTOR_OK : nr ? DOCTOR_PARTLY : DOCTOR_MISSING;
}

static enum doctor_state look_seccomp(struct strbuf *detail)
{
	uint32_t action = SECCOMP_RET_TRAP;

	if (syscall(SYS_seccomp, SECCOMP_GET_ACTION_AVAIL, 0, &action) < 0)
		return say_errno(detail, "seccomp");
	return say(detail, DOCTOR_OK, "there");
}

static enum doctor_state look_landlock(struct strbuf *detail)
{
	int version = sandbox_landlock_version();

	if (version < 0) {
		errno = -version;
		return say_errno(detail, "Landlock");
	}
	strbuf_addf(detail, "version %d", version);
	return version >= 4 ? DOCTOR_OK : DOCTOR_PARTLY;
}

/* --- what guests share, and limits ---------------------------------------------------------------- */

/* The folder of our own group in the one hierarchy. */
static bool own_cgroup(struct strbuf *path)
{
	_cleanup_(mem_freep) void *text = NULL;
	static const char *const roots[] = { "/sys/fs/cgroup", "/sys/fs/cgroup/unified" };
	const char *line;
	size_t n;

	if (file_read("/proc/self/cgroup", SMALL_FILE, &text, &n, NULL) < 0)
		return false;
	line = strstr(text, "0::");
	for (size_t k = 0; line && k < ARRAY_SIZE(roots); k++) {
		struct statfs fs;

		if (statfs(roots[k], &fs) < 0 || fs.f_type != CGROUP2_SUPER_MAGIC)
			continue;
		strbuf_addf(path, "%s%.*s", roots[k], (int)strcspn(line + 3, "\n"), line + 3);
		return true;
	}
	return false;
}

static enum doctor_state look_cgroups(struct strbuf *detail)
{
	_cleanup_(strbuf_done) struct strbuf path = { 0 }, file = { 0 };
	_cleanup_(mem_freep) char *controllers = NULL;
	bool enough, writable;

	if (!own_cgroup(&path))
		return say(detail, DOCTOR_MISSING, "no cgroups of version 2 are mounted");
	strbuf_addf(&file, "%s/cgroup.controllers", strbuf_cstr(&path));
	controllers = line_of(strbuf_cstr(&file));
	enough = strstr(controllers, "cpu") && strstr(controllers, "memory");
	writable = access(strbuf_cstr(&path), W_OK) == 0;
	strbuf_addf(detail, "%s with controllers '%s', %s", strbuf_cstr(&path), controllers,
		    writable ? "writable" : "not writable");
	if (!writable)
		return DOCTOR_MISSING;
	return enough ? DOCTOR_OK : DOCTOR_PARTLY;
}

static enum doctor_state look_huge_pages(struct strbuf *detail)
{
	_cleanup_(mem_freep) char *all = line_of("/sys/kernel/mm/transparent_hugepage/enabled");
	_cleanup_(mem_freep) char *shmem =
		line_of("/sys/kernel/mm/transparent_hugepage/shmem_enabled");
	struct str a = chosen(all), s = chosen(shmem);

	if (!a.n)
		return say(detail, DOCTOR_MISSING, "the kernel has no transparent huge pages");
	strbuf_addf(detail, "transparent huge pages '%.*s', for the guest's memory '%.*s'",
		    STR_ARG(a), STR_ARG(s));
	return str_eq(s, STR("never")) || str_eq(s, STR("deny")) || !s.n ? DOCTOR_PARTLY
									 : DOCTOR_OK;
}

static enum doctor_state look_ksm(struct strbuf *detail)
{
	_cleanup_(mem_freep) char *run = line_of("/sys/kernel/mm/ksm/run");

	if (!*run)
		return say(detail, DOCTOR_MISSING, "the kernel does not merge equal pages");
	if (*run == '1')
		return say(detail, DOCTOR_OK, "equal pages are merged");
	return say(detail, DOCTOR_PARTLY, "the kernel can merge equal pages, and is not told to");
}

/* --- disks and networks ---------------------------------------------------------------------------- */

static enum doctor_state look_uring(struct strbuf *detail)
{
	struct uring *ring;
	struct err err = ERR_INIT;

	if (uring_new(8, &ring, &err) < 0)
		return say(detail, DOCTOR_MISSING, err_text(&err));
	uring_free(ring);
	return say(detail, DOCTOR_OK, "there");
}

static enum doctor_state look_device(struct strbuf *detail, const char *path)
{
	_cleanup_(fd_closep) int fd = open(path, O_RDWR | O_CLOEXEC);

	if (fd < 0)
		return say_errno(detail, path);
	return say(detail, DOCTOR_OK, path);
}

static enum doctor_state look_tun(struct strbuf *detail)
{
	return look_device(detail, "/dev/net/tun");
}

static enum doctor_state look_vhost(struct strbuf *detail)
{
	return look_device(detail, "/dev/vhost-net");
}

/* Whether the kernel answers what generation its tables have. */
static bool kernel_has_nftables(void)
{
	const struct {
		struct nlmsghdr head;
		struct nfgenmsg body;
	} ask = {
		.head = { .nlmsg_len = sizeof(ask),
			  .nlmsg_type = NFNL_SUBSYS_NFTABLES << 8 | NFT_MSG_GETGEN,
			  .nlmsg_flags = NLM_F_REQUEST },
		.body = { .version = NFNETLINK_V0 },
	};
	_cleanup_(fd_closep) int fd =
		socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, NETLINK_NETFILTER);
	union {
		struct nlmsghdr head;
		char bytes[512]; /* more is cut off */
	} answer;

	return fd >= 0 && send(fd, &ask, sizeof(ask), 0) == (ssize_t)sizeof(ask) &&
	       recv(fd, &answer, sizeof(answer), 0) >= (ssize_t)sizeof(answer.head) &&
	       answer.head.nlmsg_type == (NFNL_SUBSYS_NFTABLES << 8 | NFT_MSG_NEWGEN);
}

static enum doctor_state look_nftables(struct strbuf *detail)
{
	static const char *const argv[] = { "nft", "--version", NULL };
	const struct child_opts nft = { .argv = argv, .in = -1, .out = -1, .err = -1 };
	struct child child = CHILD_INIT;
	bool kernel = kernel_has_nftables(), program = child_start(&nft, &child, NULL) == 0;

	child_done(&child);
	strbuf_addf(detail, "%s, %s", kernel ? "the kernel has them" : "the kernel does not answer",
		    program ? "nft is there" : "no program 'nft' in PATH");
	return kernel && program ? DOCTOR_OK : kernel || program ? DOCTOR_PARTLY : DOCTOR_MISSING;
}

/* --- the table ------------------------------------------------------------------------------------- */

const struct doctor_finding doctor_findings[] = {
	{ "memory", "Memory", look_memory,
	  "A guest of 512 MiB and the disk cache of the host do not fit side by side.",
	  "Stop something, or give guests less (--memory)." },
	{ "cores", "CPUs", look_cores,
	  "A machine's vCPUs, its disks and its network take turns on one CPU.", NULL },
	{ "time", "Time source", look_time,
	  "Guests see time jump when the host moves them between CPUs, and reading it is slower.",
	  "If the hardware can, boot the host with clocksource=tsc." },
	{ "kvm", "Hardware virtualization", look_kvm,
	  "Guests run by binary translation (--engine dbt): a small factor slower than native, "
	  "and nothing else is missing.",
	  "On hardware of your own, enable it in the firmware, load kvm_intel or kvm_amd, and be "
	  "in the group kvm; on a rented machine, ask for nested virtualization." },
	{ "confinement", "Confinement of machines", look_confinement,
	  "A guest that breaks out of its machine has more of its user's rights.",
	  "For namespaces: sysctl user.max_user_namespaces above 0, "
	  "kernel.unprivileged_userns_clone=1 (Debian), "
	  "kernel.apparmor_restrict_unprivileged_userns=0 (Ubuntu); for Landlock: "
	  "the lsm= boot parameter with landlock in it." },
	{ "seccomp", "System call filters", look_seccomp,
	  "A guest that breaks out of its machine may make any system call of its user.",
	  "A kernel with CONFIG_SECCOMP_FILTER." },
	{ "landlock", "Landlock", look_landlock,
	  "Where user namespaces are denied too, only the system call filter keeps a machine from "
	  "the host's files; before version 4, from its network.",
	  "Linux 6.7 or newer, with landlock in the lsm= boot parameter." },
	{ "cgroups", "Control groups (v2)", look_cgroups,
	  "Machines and containers cannot be limited in CPU and memory but by nice and ulimit.",
	  "Boot with cgroup v2 only (systemd.unified_cgroup_hierarchy=1), and delegate a group: "
	  "systemd-run --user --scope -p Delegate=yes." },
	{ "hugepages", "Huge pages", look_huge_pages,
	  "More page faults and misses of the TLB in guests with much memory.",
	  "echo advise > /sys/kernel/mm/transparent_hugepage/shmem_enabled" },
	{ "ksm", "Merging of equal pages (KSM)", look_ksm,
	  "Guests of the same image do not share their memory.",
	  "echo 1 > /sys/kernel/mm/ksm/run" },
	{ "io_uring", "io_uring", look_uring,
	  "Disks are read and written by threads instead, with more switches for each request.",
	  "sysctl kernel.io_uring_disabled=0, or a container runtime that allows it." },
	{ "tun", "TAP devices", look_tun,
	  "Guests reach the network by --net user only, slower and without addresses of their own.",
	  "modprobe tun, and access to /dev/net/tun." },
	{ "vhost", "vhost-net", look_vhost,
	  "A guest's packets go through a thread of the machine instead of the kernel's.",
	  "modprobe vhost_net, and access to /dev/vhost-net." },
	{ "nftables", "nftables", look_nftables,
	  "No address translation and no security groups for guests of a cloud.",
	  "Install nftables, and a kernel with CONFIG_NF_TABLES." },
	{ 0 },
};
