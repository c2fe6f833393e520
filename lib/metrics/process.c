/* process: version, memory, processor time and age of the process, asked of the kernel when somebody reads the metrics. */
#include "process.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <unistd.h>

/* The second number of statm: resident pages. -1: /proc is not there. */
static int64_t resident_bytes(void)
{
	char text[256];
	int fd = open("/proc/self/statm", O_RDONLY | O_CLOEXEC);
	ssize_t got = fd < 0 ? -1 : read(fd, text, sizeof(text) - 1);
	char *second;

	if (fd >= 0)
		close(fd);
	if (got <= 0)
		return -1;
	text[got] = 0;
	second = strchr(text, ' ');
	return second ? strtoll(second, NULL, 10) * sysconf(_SC_PAGESIZE) : -1;
}

static void write_number(struct str *out, const char *name, const char *type, const char *help, double value)
{
	metric_head(out, name, type, help);
	str_printf(out, "%s %.*f\n", name, value == (double)(int64_t)value ? 0 : 3, value);
}

void process_write(unsigned shard_count, struct str *out)
{
	int64_t resident = resident_bytes();
	struct rusage usage;

	metric_head(out, "sluice_build_info", "gauge", "always 1; the label has the version");
	str_addz(out, "sluice_build_info{");
	metric_label(out, "version", slice_of(SLUICE_VERSION));
	str_addz(out, "} 1\n");
	write_number(out, "sluice_shards", "gauge", "threads that serve", shard_count);
	if (resident >= 0)
		write_number(out, "sluice_process_resident_memory_bytes", "gauge",
			     "resident memory of the worker", (double)resident);
	if (getrusage(RUSAGE_SELF, &usage) == 0)
		write_number(out, "sluice_process_cpu_seconds_total", "counter",
			     "processor time of the worker, user and system",
			     (double)(usage.ru_utime.tv_sec + usage.ru_stime.tv_sec) +
				 (double)(usage.ru_utime.tv_usec + usage.ru_stime.tv_usec) / 1e6);
}
