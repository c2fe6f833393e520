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
	const char *groups_of; /* initgroups() for this name; NULL: the one group only */
	int input, output;     /* become 0, and 1 and 2 */
};
/* The process id, or -1 with errno: that of fork(), or of what failed in the child before it was the command. Blocks until
 * the command runs. */
pid_t spawn_start(const struct spawn *spawn);
/* From root to this user, for good (all three ids) or for a while (effective ones). false: errno. */
bool become_user(uint32_t uid, uint32_t gid, const char *groups_of, bool for_good);

#endif
