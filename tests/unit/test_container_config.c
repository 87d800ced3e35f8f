/* SPDX-License-Identifier: GPL-2.0-or-later */
/* A config.json as structs: what is read, what is refused and how the refusal names the place. */
#include <errno.h>
#include <linux/capability.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/resource.h>
#include <sys/stat.h>

#include "container/config.h"
#include "unit.h"

#define NS "\"namespaces\": [{\"type\": \"mount\"}]"

/* A config with members of its own at the top and of "linux". */
static char *text_of(const char *top, const char *lnx)
{
	struct strbuf b = { 0 };

	strbuf_addf(&b,
		    "{\"ociVersion\": \"1.1.0\", \"root\": {\"path\": \"rootfs\"}, %s%s"
		    "\"linux\": {%s%s}}",
		    top, top[0] ? ", " : "", lnx[0] ? lnx : NS, "");
	return strbuf_take(&b);
}

static struct ct_config *good(const char *top, const char *lnx)
{
	char *text = text_of(top, lnx);
	struct err err = ERR_INIT;
	struct ct_config *c = NULL;

	if (ct_config_parse(str_of(text), &c, &err) < 0)
		fail_msg("%s: %s", text, err_text(&err));
	free(text);
	return c;
}

/* The refusal begins with the place and the text. */
static void bad(int code, const char *begin, const char *top, const char *lnx)
{
	char *text = text_of(top, lnx);
	struct err err = ERR_INIT;
	struct ct_config *c = NULL;

	assert_int_equal(ct_config_parse(str_of(text), &c, &err), code);
	if (!str_starts(str_of(err_text(&err)), str_of(begin)))
		fail_msg("%s: '%s' instead of '%s'", text, err_text(&err), begin);
	assert_null(c);
	free(text);
}

static void test_spec(void **state)
{
	struct err err = ERR_INIT;
	struct ct_config *c = NULL;

	if (ct_config_parse(ct_spec(), &c, &err) < 0)
		fail_msg("%s", err_text(&err));
	assert_string_equal(c->rootfs, "rootfs");
	assert_true(c->is_root_readonly && c->has_process && c->process.has_terminal);
	assert_string_equal(c->process.args.v[0], "sh");
	assert_null(c->process.args.v[c->process.args.n]);
	assert_true(c->ns[CT_NS_PID].is_wanted && !c->ns[CT_NS_USER].is_wanted);
	assert_int_equal(c->nr_mounts, 7);
	assert_int_equal(c->mounts[1].flags, MS_NOSUID | MS_STRICTATIME);
	assert_string_equal(c->mounts[1].data, "mode=755,size=65536k");
	assert_int_equal(c->process.rlimits[0].resource, RLIMIT_NOFILE);
	assert_true(c->process.caps.bounding & 1u << CAP_KILL);
	assert_int_equal(c->masked.n, 10);
	assert_int_equal(c->warnings.n, 0);
	ct_config_free(c);
}

static void test_process(void **state)
{
	struct ct_config *c =
		good("\"process\": {\"args\": [\"a\", \"\"], \"cwd\": \"/\", \"env\": null, "
		     "\"user\": {\"uid\": 5, \"gid\": 6, \"umask\": 18, \"additionalGids\": [7, 8]}, "
		     "\"rlimits\": [{\"type\": \"RLIMIT_CORE\", \"soft\": 0, "
		     "\"hard\": 18446744073709551615}], \"oomScoreAdj\": -5, \"unknown\": [1], "
		     "\"capabilities\": {\"bounding\": [\"CAP_CHOWN\", \"CAP_NO_SUCH\", \"chown\"]}}",
		     "");
	const struct ct_process *p = &c->process;

	assert_true(p->uid == 5 && p->gid == 6 && p->has_umask && p->umask == 022);
	assert_true(p->nr_groups == 2 && p->groups[1] == 8);
	assert_true(p->rlimits[0].soft == 0 && p->rlimits[0].hard == UINT64_MAX);
	assert_true(p->has_oom_score_adj && p->oom_score_adj == -5);
	assert_int_equal(p->caps.bounding, 1 << CAP_CHOWN);
	assert_non_null(strstr(strbuf_cstr(&c->warnings), "'CAP_NO_SUCH'"));
	assert_non_null(strstr(strbuf_cstr(&c->warnings), "'chown'"));
	ct_config_free(c);
}

static void test_process_refused(void **state)
{
#define P(members) "\"process\": {\"args\": [\"a\"], \"cwd\": \"/\", " members "}"
	bad(-EINVAL, "process.args: the program", "\"process\": {\"cwd\": \"/\"}", "");
	bad(-EINVAL, "process.args: an array is expected", "\"process\": {\"args\": \"sh\"}", "");
	bad(-EINVAL, "process.args: element 1: a string",
	    "\"process\": {\"args\": [\"a\", 1], \"cwd\": \"/\"}", "");
	bad(-EINVAL, "process.cwd: 'tmp' is not absolute",
	    "\"process\": {\"args\": [\"a\"], \"cwd\": \"tmp\"}", "");
	bad(-EINVAL, "process.user.uid: a whole number from 0",
	    P("\"user\": {\"uid\": 4294967295}"), "");
	bad(-EINVAL, "process.user.additionalGids: element 1",
	    P("\"user\": {\"additionalGids\": [1, -1]}"), "");
	bad(-EINVAL, "process.rlimits[0].type: 'RLIMIT_X' is none of RLIMIT_AS,",
	    P("\"rlimits\": [{\"type\": \"RLIMIT_X\", \"soft\": 1, \"hard\": 1}]"), "");
	bad(-EINVAL, "process.rlimits[0].soft: is above",
	    P("\"rlimits\": [{\"type\": \"RLIMIT_AS\", \"soft\": 2, \"hard\": 1}]"), "");
	bad(-EINVAL, "process.rlimits: one type stands there twice",
	    P("\"rlimits\": [{\"type\": \"RLIMIT_AS\", \"soft\": 1, \"hard\": 1}, "
	      "{\"type\": \"RLIMIT_AS\", \"soft\": 1, \"hard\": 1}]"),
	    "");
	bad(-EINVAL, "process.capabilities.effective: has what",
	    P("\"capabilities\": {\"effective\": [\"CAP_KILL\"]}"), "");
	bad(-EINVAL, "process.noNewPrivileges: true or false", P("\"noNewPrivileges\": 1"), "");
	bad(-EOPNOTSUPP, "process.selinuxLabel: is not supported yet", P("\"selinuxLabel\": \"x\""),
	    "");
}

static void test_mounts(void **state)
{
	struct ct_config *c =
		good("\"mounts\": [{\"destination\": \"/a\", \"source\": \"b\", "
		     "\"options\": [\"rbind\", \"ro\", \"rnosuid\", \"noatime\", \"rslave\"]}, "
		     "{\"destination\": \"t\", \"type\": \"tmpfs\", "
		     "\"options\": [\"size=1k\", \"nosuid\", \"suid\", \"x\"]}]",
		     "");
	const struct ct_mount *m = c->mounts;

	assert_true(m->is_bind && m->is_recursive && !m->type && !m->data[0]);
	assert_int_equal(m->set, MOUNT_ATTR_RDONLY | MOUNT_ATTR_NOATIME);
	assert_int_equal(m->clear, MOUNT_ATTR__ATIME);
	assert_int_equal(m->set_all, MOUNT_ATTR_NOSUID);
	assert_int_equal(m->propagation, MS_SLAVE | MS_REC);
	assert_true(!m[1].is_bind && m[1].flags == 0);
	assert_string_equal(m[1].data, "size=1k,x");
	ct_config_free(c);
	bad(-EINVAL, "mounts[0].destination: is missing", "\"mounts\": [{}]", "");
	bad(-EINVAL, "mounts[0].type: is missing", "\"mounts\": [{\"destination\": \"/\"}]", "");
	bad(-EINVAL, "mounts[1]: an object is expected",
	    "\"mounts\": [{\"destination\": \"/\", \"type\": \"tmpfs\"}, 5]", "");
	bad(-EINVAL, "mounts[0].source: a bind needs one",
	    "\"mounts\": [{\"destination\": \"/\", \"type\": \"bind\"}]", "");
	bad(-EOPNOTSUPP, "mounts[0].options: 'idmap'",
	    "\"mounts\": [{\"destination\": \"/\", \"type\": \"x\", \"options\": [\"idmap\"]}]",
	    "");
}

static void test_linux(void **state)
{
	struct ct_config *c =
		good("\"hostname\": \"h\"",
		     "\"namespaces\": [{\"type\": \"mount\"}, {\"type\": \"uts\"}, "
		     "{\"type\": \"network\", \"path\": \"/run/n\"}, {\"type\": \"user\"}], "
		     "\"uidMappings\": [{\"containerID\": 0, \"hostID\": 1000, \"size\": 10}], "
		     "\"gidMappings\": [{\"containerID\": 0, \"hostID\": 1000, \"size\": 10}], "
		     "\"devices\": [{\"path\": \"/dev/f\", \"type\": \"c\", \"major\": 10, "
		     "\"minor\": 229, \"fileMode\": 8630}], \"rootfsPropagation\": \"rslave\", "
		     "\"sysctl\": {\"net/ipv4/conf/eth0.1/forwarding\": \"1\"}, "
		     "\"resources\": {\"memory\": {\"limit\": -1, \"swap\": 9007199254740991}, "
		     "\"devices\": [{\"allow\": false}, {\"allow\": true, \"type\": \"c\", "
		     "\"major\": 1, \"access\": \"rm\"}], \"unified\": {\"memory.high\": \"5\"}}");
	const struct ct_resources *res = &c->resources;

	assert_string_equal(c->ns[CT_NS_NETWORK].path, "/run/n");
	assert_int_equal(c->uid_maps.v[0].host_id, 1000);
	assert_true(c->devices[0].type == S_IFCHR && c->devices[0].mode == 0666);
	assert_int_equal(c->root_propagation, MS_SLAVE | MS_REC);
	assert_string_equal(c->sysctl.v[0].key, "net.ipv4.conf.eth0/1.forwarding");
	assert_true(res->memory.is_given && res->memory.value == -1);
	assert_int_equal(res->memory_swap.value, 9007199254740991);
	assert_true(res->devices[0].type == 'a' && res->devices[0].major == -1);
	assert_string_equal(res->devices[1].access, "rm");
	assert_string_equal(res->unified.v[0].value, "5");
	ct_config_free(c);
}

static void test_linux_refused(void **state)
{
	bad(-EINVAL, "linux.namespaces[0].type: 'none' is none of user, pid,", "",
	    "\"namespaces\": [{\"type\": \"none\"}]");
	bad(-EINVAL, "linux.namespaces[1].type: 'pid' stands there twice", "",
	    "\"namespaces\": [{\"type\": \"pid\"}, {\"type\": \"pid\"}]");
	bad(-EINVAL, "linux.namespaces[0].path: 'n' is not absolute", "",
	    "\"namespaces\": [{\"type\": \"pid\", \"path\": \"n\"}]");
	bad(-EOPNOTSUPP, "linux.namespaces: a container without a mount", "", "\"namespaces\": []");
	bad(-EINVAL, "linux.uidMappings: a new user namespace needs", "",
	    "\"namespaces\": [{\"type\": \"mount\"}, {\"type\": \"user\"}]");
	bad(-EINVAL, "linux.uidMappings[0].size: 2 is 0 or reaches past", "",
	    NS ", \"uidMappings\": [{\"containerID\": 4294967294, \"hostID\": 0, \"size\": 2}]");
	bad(-EINVAL, "linux.sysctl: 'kernel.panic' would change the host", "",
	    NS ", \"sysctl\": {\"kernel.panic\": \"1\"}");
	bad(-EINVAL, "linux.sysctl: 'net.x' would change the host", "",
	    NS ", \"sysctl\": {\"net.x\": \"1\"}");
	bad(-EINVAL, "linux.sysctl: 'net...x' is no name", "",
	    NS ", \"sysctl\": {\"net...x\": \"1\"}");
	bad(-EINVAL, "linux.devices[0].type: 'x' is none", "",
	    NS ", \"devices\": [{\"path\": \"/d\", \"type\": \"x\"}]");
	bad(-EINVAL, "linux.devices[0]: major and minor", "",
	    NS ", \"devices\": [{\"path\": \"/d\", \"type\": \"b\", \"major\": 1}]");
	bad(-EINVAL, "linux.resources.devices[0].access: 'q'", "",
	    NS ", \"resources\": {\"devices\": [{\"access\": \"q\"}]}");
	bad(-EOPNOTSUPP, "linux.resources.hugepageLimits: is not", "",
	    NS ", \"resources\": {\"hugepageLimits\": [{}]}");
	bad(-EINVAL, "linux.resources.unified: '../x' is no file", "",
	    NS ", \"resources\": {\"unified\": {\"../x\": \"1\"}}");
	bad(-EINVAL, "linux.timeOffsets: needs a new time namespace", "",
	    NS ", \"timeOffsets\": {\"monotonic\": {\"secs\": 1}}");
	bad(-EINVAL, "hostname: needs a uts namespace", "\"hostname\": \"h\"", "");
	bad(-EINVAL, "hooks.prestart[0].path: 'x' is not absolute",
	    "\"hooks\": {\"prestart\": [{\"path\": \"x\"}]}", "");
}

static void test_seccomp(void **state)
{
	struct ct_config *c =
		good("", NS ", \"seccomp\": {\"defaultAction\": \"SCMP_ACT_ERRNO\", "
			    "\"defaultErrnoRet\": 38, \"architectures\": [\"SCMP_ARCH_X86_64\"], "
			    "\"syscalls\": [{\"names\": [\"read\", \"write\"], "
			    "\"action\": \"SCMP_ACT_KILL\", \"args\": [{\"index\": 1, "
			    "\"value\": 2, \"op\": \"SCMP_CMP_EQ\"}]}]}");

	assert_true(c->seccomp.is_wanted && c->seccomp.by_default.number == 38);
	assert_int_equal(c->seccomp.rules[0].action.what, CT_SECCOMP_KILL_THREAD);
	assert_int_equal(c->seccomp.rules[0].args[0].value, 2);
	ct_config_free(c);
	bad(-EINVAL, "linux.seccomp.defaultAction: is missing", "", NS ", \"seccomp\": {}");
	bad(-EINVAL, "linux.seccomp.defaultAction: 'X' is none of SCMP_ACT_KILL_THREAD", "",
	    NS ", \"seccomp\": {\"defaultAction\": \"X\"}");
	bad(-EINVAL, "linux.seccomp.syscalls[0].names: is missing", "",
	    NS ", \"seccomp\": {\"defaultAction\": \"SCMP_ACT_ALLOW\", "
	       "\"syscalls\": [{\"action\": \"SCMP_ACT_LOG\"}]}");
	bad(-EOPNOTSUPP, "linux.seccomp.defaultAction: SCMP_ACT_NOTIFY", "",
	    NS ", \"seccomp\": {\"defaultAction\": \"SCMP_ACT_NOTIFY\"}");
}

static void test_whole(void **state)
{
	static const struct {
		const char *text, *begin;
		int code;
	} texts[] = {
		{ "", "JSON: byte 0", -EINVAL },
		{ "[]", ": an object is expected", -EINVAL },
		{ "{}", "ociVersion: is missing", -EINVAL },
		{ "{\"ociVersion\": \"2.0.0\"}", "ociVersion: '2.0.0' is not 1.x", -EOPNOTSUPP },
		{ "{\"ociVersion\": \"1.0.0\"}", "root.path: is missing", -EINVAL },
	};
	struct ct_config *c = NULL;
	struct err err = ERR_INIT;

	for (size_t i = 0; i < ARRAY_SIZE(texts); i++) {
		assert_int_equal(ct_config_parse(str_of(texts[i].text), &c, &err), texts[i].code);
		if (!str_starts(str_of(err_text(&err)), str_of(texts[i].begin)))
			fail_msg("'%s'", err_text(&err));
	}
	assert_int_equal(ct_process_parse(STR("{\"args\": [\"ls\"], \"cwd\": \"/\"}"), &c, &err),
			 0);
	assert_true(c->has_process && !strcmp(c->process.args.v[0], "ls"));
	ct_config_free(c);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_spec),
		cmocka_unit_test(test_process),
		cmocka_unit_test(test_process_refused),
		cmocka_unit_test(test_mounts),
		cmocka_unit_test(test_linux),
		cmocka_unit_test(test_linux_refused),
		cmocka_unit_test(test_seccomp),
		cmocka_unit_test(test_whole),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
