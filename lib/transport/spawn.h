/* Starting a command with given ids, directory and descriptors: for helper threads of ours and for the privileged helper. */
#ifndef TRANSPORT_SPAWN_H
#define TRANSPORT_SPAWN_H

#include <sys/types.h>
#include <stdbool.h>
#include <stdint.h>

struct spawn {
	char *const *argv, *const *envp;
	const char *directory;
	mode_t umask;
	bool switch_ids;
	uint32_t uid, gid;
	const uint32_t *groups; /* all of them, the one above too; group_count 0: that one only */
	uint32_t group_count;
	int input, output; /* become 0, and 1 and 2 */
};
/* The process id, or -1 with errno: that of fork(), or of what failed in the child before it was the command. Blocks until
 * the command runs. */
pid_t spawn_start(const struct spawn *spawn);
/* From root to this user, for good (all three ids) or for a while (effective ones). false: errno. */
bool become_user(uint32_t uid, uint32_t gid, const uint32_t *groups, uint32_t group_count, bool for_good);

#endif
