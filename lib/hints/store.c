/* store: opening the environment, judging what is there, and putting aside what cannot be used. LMDB trusts its
 * pages, so that damage may be the end of the process that meets it: after an unclean end a child process looks at
 * every page first. */
#include "store.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define PATH_SIZE     512
#define CHECK_SECONDS 20 /* a child that takes longer has found nothing wrong so far, and that must do */

const char *const hints_db_names[HINTS_DB_COUNT] = {"retry",     "wait", "misc", "callout",
						    "ratelimit", "seen", "tls",  "dmarc"};

void store_unref(struct store *store)
{
	if (!store || atomic_fetch_sub(&store->refs, 1) != 1)
		return;
	mdb_env_close(store->env);
	free(store);
}

static int open_databases(struct store *store)
{
	MDB_txn *txn;
	int rc = mdb_txn_begin(store->env, NULL, 0, &txn);

	if (rc)
		return rc;
	for (int i = 0; !rc && i < HINTS_DB_COUNT; i++)
		rc = mdb_dbi_open(txn, hints_db_names[i], MDB_CREATE, &store->dbi[i]);
	if (rc) {
		mdb_txn_abort(txn);
		return rc;
	}
	return mdb_txn_commit(txn);
}

/* A file that was cut short would kill us with SIGBUS at the first look behind its end. */
static int check_length(struct store *store)
{
	struct stat st;
	MDB_envinfo info;
	MDB_stat stat;
	int fd, rc;

	if ((rc = mdb_env_get_fd(store->env, &fd)) || (rc = mdb_env_info(store->env, &info)) ||
	    (rc = mdb_env_stat(store->env, &stat)))
		return rc;
	if (fstat(fd, &st))
		return errno;
	store->device = st.st_dev;
	store->inode = st.st_ino;
	return (uint64_t)st.st_size < (info.me_last_pgno + 1) * (uint64_t)stat.ms_psize ? MDB_CORRUPTED : 0;
}

/* 0, an errno, or LMDB's own (negative). */
static int try_open(const char *directory, uint64_t size_max, struct store **store_ret)
{
	struct store *store = calloc(1, sizeof(*store));
	int rc;

	if (!store)
		return ENOMEM;
	rc = mdb_env_create(&store->env);
	if (rc) {
		free(store);
		return rc;
	}
	atomic_init(&store->refs, 1);
	rc = mdb_env_set_maxdbs(store->env, HINTS_DB_COUNT + 1);
	if (!rc)
		rc = mdb_env_set_maxreaders(store->env, HINTS_READERS_MAX);
	if (!rc)
		rc = mdb_env_set_mapsize(store->env, size_max);
	/* NOTLS: a read transaction belongs to its shard, not to a thread. NOMETASYNC: a crash may lose the last
	 * batch, but never the order of things. */
	if (!rc)
		rc = mdb_env_open(store->env, directory, MDB_NOTLS | MDB_NOMETASYNC, 0640);
	if (!rc)
		rc = check_length(store);
	if (!rc) {
		int dead;

		rc = mdb_reader_check(store->env, &dead);
	}
	if (!rc)
		rc = open_databases(store);
	if (rc) {
		store_unref(store);
		return rc;
	}
	*store_ret = store;
	return 0;
}

enum rc store_open(const char *directory, uint64_t size_max, struct store **store_ret, struct err *err)
{
	int rc;

	if (mkdir(directory, 0750) && errno != EEXIST)
		return err_os(err, FAIL, 0, "making %s", directory);
	rc = try_open(directory, size_max, store_ret);
	if (!rc)
		return OK;
	/* What LMDB itself calls bad, and what a foreign file may look like to it. */
	if (rc < 0 || rc == EINVAL || rc == EIO)
		return err_set(err, DEFER, "%s: %s", directory, mdb_strerror(rc));
	return err_set(err, FAIL, "%s: %s", directory, mdb_strerror(rc));
}

static int look_at_all(struct store *store)
{
	MDB_txn *txn;
	int rc = mdb_txn_begin(store->env, NULL, MDB_RDONLY, &txn);
	volatile unsigned sum = 0;

	for (int i = 0; !rc && i < HINTS_DB_COUNT; i++) {
		MDB_cursor *cursor;
		MDB_val key, value;

		rc = mdb_cursor_open(txn, store->dbi[i], &cursor);
		if (rc)
			break;
		while (!(rc = mdb_cursor_get(cursor, &key, &value, MDB_NEXT)))
			for (size_t k = 0; k < value.mv_size; k += 4096)
				sum += ((const unsigned char *)value.mv_data)[k];
		mdb_cursor_close(cursor);
		if (rc == MDB_NOTFOUND)
			rc = 0;
	}
	return rc;
}

bool store_check(const char *directory, uint64_t size_max)
{
	pid_t pid = fork();
	int status;

	if (pid < 0)
		return true; /* cannot tell */
	if (pid == 0) {
		struct rlimit no_core = {0, 0};
		struct store *store;

		/* What kills the child is the answer, not news. */
		(void)setrlimit(RLIMIT_CORE, &no_core);
		for (int sig = 1; sig < 32; sig++)
			(void)signal(sig, SIG_DFL);
		(void)signal(SIGALRM, SIG_IGN);
		(void)!freopen("/dev/null", "w", stderr);
		if (try_open(directory, size_max, &store))
			_exit(1);
		(void)signal(SIGALRM, SIG_DFL);
		(void)alarm(CHECK_SECONDS);
		_exit(look_at_all(store) ? 1 : 0);
	}
	while (waitpid(pid, &status, 0) < 0)
		if (errno != EINTR)
			return true;
	return (WIFEXITED(status) && WEXITSTATUS(status) == 0) ||
	       (WIFSIGNALED(status) && WTERMSIG(status) == SIGALRM);
}

static enum rc move_away(const char *directory, const char *name, long long now, struct err *err)
{
	char from[PATH_SIZE], to[PATH_SIZE];

	if (snprintf(from, sizeof(from), "%s/%s", directory, name) >= PATH_SIZE ||
	    snprintf(to, sizeof(to), "%s/%s.bad-%lld", directory, name, now) >= PATH_SIZE)
		return err_set(err, FAIL, "the name of the hints directory is too long");
	if (rename(from, to) && errno != ENOENT)
		return err_os(err, FAIL, 0, "renaming %s", from);
	return OK;
}

enum rc store_set_aside(const char *directory, struct err *err)
{
	long long now = (long long)time(NULL);
	enum rc rc = move_away(directory, "data.mdb", now, err);

	return rc == OK ? move_away(directory, "lock.mdb", now, err) : rc;
}

uint64_t store_bytes_used(const struct store *store, MDB_txn *txn)
{
	uint64_t used = 0;
	MDB_txn *own = NULL;
	MDB_stat stat;

	if (!txn && mdb_txn_begin(store->env, NULL, MDB_RDONLY, &own))
		return 0;
	for (int i = 0; i < HINTS_DB_COUNT; i++)
		if (mdb_stat(txn ? txn : own, store->dbi[i], &stat) == 0)
			used += (stat.ms_branch_pages + stat.ms_leaf_pages + stat.ms_overflow_pages) *
				(uint64_t)stat.ms_psize;
	if (own)
		mdb_txn_abort(own);
	return used;
}

bool store_in_place(const struct store *store, const char *directory)
{
	char path[PATH_SIZE];
	struct stat st;

	if (snprintf(path, sizeof(path), "%s/data.mdb", directory) >= PATH_SIZE)
		return true;
	return stat(path, &st) == 0 && st.st_dev == store->device && st.st_ino == store->inode;
}
