/* Child processes: a pidfd is readable once the child has ended. */
#include "shard.h"

#include <poll.h>
#include <sys/wait.h>

enum rc process_wait(struct task *task, int pidfd, int *status_ret, struct err *err)
{
	siginfo_t si = {0};
	struct op_wait w;
	enum rc rc;

	op_init(&w.op, OP_POLL, pidfd, NULL);
	w.op.flags = POLLIN;
	rc = op_call(task, &w, true);
	if (rc == DEFER)
		return err_os(err, DEFER, ETIMEDOUT, "the child process still runs");
	if (rc != OK)
		return rc;
	if (w.op.result < 0)
		return err_os(err, DEFER, -w.op.result, "poll of a child process");
	if (waitid(P_PIDFD, (id_t)pidfd, &si, WEXITED | WNOHANG))
		return err_os(err, FAIL, 0, "waitid");
	switch (si.si_code) { /* as waitpid() would have put it */
	case CLD_EXITED:
		*status_ret = (si.si_status & 0xff) << 8;
		break;
	case CLD_DUMPED:
		*status_ret = (si.si_status & 0x7f) | 0x80;
		break;
	default:
		*status_ret = si.si_status & 0x7f;
	}
	return OK;
}
