/* Before anything runs: can the kernel carry us, and how many CPUs are ours? */
#include "shard.h"

#include <liburing.h>
#include <sched.h>
#include <stdio.h>
#include <sys/utsname.h>

static bool file_number(const char *path, const char *label, long *number_ret)
{
	FILE *f = fopen(path, "re");
	bool found = false;
	char line[256];

	if (!f)
		return false;
	while (!found && fgets(line, sizeof(line), f)) {
		size_t skip = strlen(label);

		found = !strncmp(line, label, skip) && sscanf(line + skip, "%ld", number_ret) == 1;
	}
	fclose(f);
	return found;
}

static enum rc no_permission(struct err *err)
{
	long number;

	if (file_number("/proc/sys/kernel/io_uring_disabled", "", &number) && number)
		return err_set(
		    err, FAIL,
		    "io_uring is switched off by the administrator: kernel.io_uring_disabled is %ld; set it to 0%s, or choose the epoll engine",
		    number, number == 1 ? ", or put this user into the group of kernel.io_uring_group" : "");
	if (file_number("/proc/self/status", "Seccomp:", &number) && number)
		return err_set(
		    err, FAIL,
		    "io_uring is forbidden by the container's seccomp profile, as Docker's and Kubernetes' "
		    "default is: allow io_uring_setup, io_uring_enter and io_uring_register (see config/), or choose the epoll engine");
	return err_set(err, FAIL, "io_uring is not permitted here (EPERM); a security module may forbid it");
}

static enum rc setup_failed(struct err *err, int os)
{
	struct utsname name;

	switch (os) {
	case EPERM:
	case EACCES:
		return no_permission(err);
	case ENOMEM:
		return err_set(
		    err, FAIL,
		    "io_uring gets no memory: the limit on locked memory is too low; raise it (ulimit -l, LimitMEMLOCK=, --ulimit memlock) or grant CAP_IPC_LOCK");
	case ENOSYS:
	case EINVAL:
		if (uname(&name))
			name.release[0] = '\0';
		return err_set(
		    err, FAIL,
		    "this kernel (%s) is too old, or was built without io_uring: Linux 6.1 or newer is needed%s",
		    name.release, os == ENOSYS ? "; some container profiles answer like that too" : "");
	default:
		return err_os(err, FAIL, os, "io_uring_setup");
	}
}

static enum rc check_ops(struct io_uring *ring, struct err *err)
{
	static const struct {
		int op;
		const char *name;
	} needed[] = {
	    {IORING_OP_ACCEPT, "ACCEPT"},     {IORING_OP_RECV, "RECV"},
	    {IORING_OP_SENDMSG, "SENDMSG"},   {IORING_OP_CONNECT, "CONNECT"},
	    {IORING_OP_CLOSE, "CLOSE"},       {IORING_OP_OPENAT, "OPENAT"},
	    {IORING_OP_READV, "READV"},       {IORING_OP_WRITEV, "WRITEV"},
	    {IORING_OP_FSYNC, "FSYNC"},       {IORING_OP_FALLOCATE, "FALLOCATE"},
	    {IORING_OP_STATX, "STATX"},       {IORING_OP_RENAMEAT, "RENAMEAT"},
	    {IORING_OP_UNLINKAT, "UNLINKAT"}, {IORING_OP_LINKAT, "LINKAT"},
	    {IORING_OP_MKDIRAT, "MKDIRAT"},   {IORING_OP_POLL_ADD, "POLL_ADD"},
	    {IORING_OP_MSG_RING, "MSG_RING"}, {IORING_OP_ASYNC_CANCEL, "ASYNC_CANCEL"},
	};
	struct io_uring_probe *probe = io_uring_get_probe_ring(ring);
	enum rc rc = OK;

	if (!probe)
		return err_set(
		    err, FAIL,
		    "io_uring does not tell what it can do: the kernel is older than 6.1, or a profile forbids io_uring_register");
	for (size_t i = 0; i < ARRAY_COUNT(needed) && rc == OK; i++)
		if (!io_uring_opcode_supported(probe, needed[i].op))
			rc = err_set(err, FAIL, "io_uring lacks %s: Linux 6.1 or newer is needed",
				     needed[i].name);
	io_uring_free_probe(probe);
	return rc;
}

enum rc reactor_probe(struct err *err)
{
	struct io_uring_params params = {.flags = IORING_SETUP_SINGLE_ISSUER | IORING_SETUP_DEFER_TASKRUN |
						  IORING_SETUP_SUBMIT_ALL | IORING_SETUP_CLAMP};
	struct io_uring ring;
	enum rc rc;
	int n;

	n = io_uring_queue_init_params(8, &ring, &params);
	if (n < 0)
		return setup_failed(err, -n);
	rc = check_ops(&ring, err);
	io_uring_queue_exit(&ring);
	return rc;
}

/* ---- CPUs ---- */

/* cgroup v2: "max 100000" or "quota period". 0: no limit, or none found. Inside a container the process's own
 * group is the root of what it sees. */
static unsigned quota_cpus(void)
{
	char path[512], line[512], quota[32];
	unsigned long period;
	FILE *f;
	long v1, v1_period;

	snprintf(path, sizeof(path), "/sys/fs/cgroup/cpu.max");
	f = fopen("/proc/self/cgroup", "re");
	while (f && fgets(line, sizeof(line), f))
		if (!strncmp(line, "0::/", 4)) {
			line[strcspn(line, "\n")] = '\0';
			if (snprintf(path, sizeof(path), "/sys/fs/cgroup%s/cpu.max", line + 3) >=
			    (int)sizeof(path))
				path[0] = '\0';
		}
	if (f)
		fclose(f);
	f = fopen(path, "re");
	if (!f)
		f = fopen("/sys/fs/cgroup/cpu.max", "re");
	if (f) {
		bool found = fscanf(f, "%31s %lu", quota, &period) == 2 && strcmp(quota, "max") && period;

		fclose(f);
		return found ? (unsigned)((strtoul(quota, NULL, 10) + period - 1) / period) : 0;
	}
	if (file_number("/sys/fs/cgroup/cpu/cpu.cfs_quota_us", "", &v1) && v1 > 0 &&
	    file_number("/sys/fs/cgroup/cpu/cpu.cfs_period_us", "", &v1_period) && v1_period > 0)
		return (unsigned)((v1 + v1_period - 1) / v1_period);
	return 0;
}

unsigned reactor_cpu_count(void)
{
	unsigned count = 1, quota = quota_cpus();
	cpu_set_t cpus;

	if (!sched_getaffinity(0, sizeof(cpus), &cpus))
		count = (unsigned)CPU_COUNT(&cpus);
	if (quota && quota < count)
		count = quota;
	return count ? count : 1;
}
