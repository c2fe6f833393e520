/* Pairs of files out and in: whole or not at all, never over somebody's lock, never twice. */
#include "harness.h"

#include <errno.h>
#include <sys/stat.h>
#include <sys/wait.h>

static const char *const ids[] = {"1tABCD-00000000001-0abc", "1tABCD-000001-AB"};

struct world {
	char *spool_directory, *directory;
	struct spool *spool;
	unsigned told, taken;
	enum rc last;
	char last_text[300];
	char journal[100];
};

static void open_it(struct task *task, struct world *w)
{
	struct spool_options options = {
	    .directory = w->spool_directory, .segment_size = 1024 * 1024, .sync = true};
	struct err err = err_make(task->arena);

	must(spool_open(task, &options, NULL, NULL, &w->spool, &err), &err);
}

static char *file_text(const char *directory, const char *name, size_t *len_ret)
{
	static char bytes[1000000];
	char path[400];
	FILE *f;

	snprintf(path, sizeof(path), "%s/%s", directory, name);
	f = fopen(path, "r");
	if (!f)
		return NULL;
	*len_ret = fread(bytes, 1, sizeof(bytes), f);
	fclose(f);
	return bytes;
}

static void write_file(const char *directory, const char *name, const char *text, size_t len)
{
	char path[400];
	FILE *f;

	snprintf(path, sizeof(path), "%s/%s", directory, name);
	f = fopen(path, "w");
	assert_non_null(f);
	assert_int_equal(fwrite(text, 1, len, f), len);
	fclose(f);
}

static bool exists(const char *directory, const char *id, const char *suffix)
{
	char path[400];

	snprintf(path, sizeof(path), "%s/%s%s", directory, id, suffix);
	return access(path, F_OK) == 0;
}

static void write_pair(const char *directory, const char *id, const char *body, size_t body_len)
{
	char text[200], name[50], *data = malloc(body_len + 100);
	int len;

	snprintf(name, sizeof(name), "%s-H", id);
	len = snprintf(text, sizeof(text), "%s-H\nmail 8 8\n<a@b.example>\n1700000000 0\nXX\n0\n\n", id);
	write_file(directory, name, text, (size_t)len);
	snprintf(name, sizeof(name), "%s-D", id);
	len = sprintf(data, "%s-D\n", id);
	memcpy(data + len, body, body_len);
	write_file(directory, name, data, (size_t)len + body_len);
	free(data);
}

static enum rc read_pair(void *arg, struct task *task, const struct spool_pair *pair,
			 struct slice *envelope_ret, uint64_t *received_ret, struct err *err)
{
	struct world *w = arg;

	snprintf(w->journal, sizeof(w->journal), "%.*s", SLICE_ARG(pair->journal));
	if (slice_search(pair->header, SLICE("refuse me")) >= 0)
		return err_set(err, FAIL, "spool format error: as asked");
	*envelope_ret = arena_copy(task->arena, pair->header);
	*received_ret = 1234567;
	return OK;
}

static void told(void *arg, const struct message_id *id, struct spool_entry *entry, enum rc rc,
		 const struct err *err)
{
	struct world *w = arg;

	assert_true((rc == OK) == (entry != NULL));
	if (entry)
		assert_string_equal(entry->id.text, id->text);
	w->told++;
	w->taken += rc == OK;
	w->last = rc;
	snprintf(w->last_text, sizeof(w->last_text), "%.*s", SLICE_ARG(err->text));
}

static void import(struct task *task, struct world *w, const char *directory, bool subdirectories)
{
	struct spool_import how = {.directory = directory,
				   .subdirectories = subdirectories,
				   .arg = w,
				   .read = read_pair,
				   .told = told};
	struct err err = err_make(task->arena);

	w->told = w->taken = 0;
	must(spool_import(task, w->spool, &how, &err), &err);
}

/* ---- Tests -------------------------------------------------------------------------------------------- */

static void round_trip_on(struct task *task, void *arg)
{
	struct world *w = arg;
	struct err err = err_make(task->arena);
	static char body[700000], expected[700000];
	char *got;
	size_t len;

	open_it(task, w);
	pattern(body, sizeof(body), 3, 0);
	for (unsigned i = 0; i < ARRAY_COUNT(ids); i++)
		write_pair(w->directory, ids[i], body, i ? 0 : sizeof(body));
	write_file(w->directory, "1tABCD-00000000001-0abc-J", "x@y.example\n", 12);
	write_file(w->directory, "unrelated", "x", 1);
	import(task, w, w->directory, false);
	assert_int_equal(w->told, 2);
	assert_int_equal(w->taken, 2);
	assert_true(!exists(w->directory, ids[0], "-H") && !exists(w->directory, ids[0], "-D") &&
		    !exists(w->directory, ids[0], "-J"));
	assert_true(exists(w->directory, "unrelated", ""));
	spool_close(task, w->spool);
	open_it(task, w);
	for (unsigned i = 0; i < ARRAY_COUNT(ids); i++) {
		struct message_id id;
		struct spool_entry *entry;
		char name[200];
		int head;
		struct stat st;

		assert_true(message_id_parse(slice_of(ids[i]), &id));
		entry = spool_find(w->spool, &id);
		assert_non_null(entry);
		assert_int_equal(entry->received, 1234567);
		assert_int_equal(entry->body_len, i ? 0 : sizeof(body));
		must(spool_export(task, w->spool, entry, w->directory, 0640, &err), &err);
		assert_false(exists(w->directory, "hdr.", ids[i]));
		snprintf(name, sizeof(name), "%s-D", ids[i]);
		got = file_text(w->directory, name, &len);
		head = sprintf(expected, "%s-D\n", ids[i]);
		assert_memory_equal(got, expected, head);
		assert_int_equal(len, (size_t)head + entry->body_len);
		assert_memory_equal(got + head, body, entry->body_len);
		snprintf(name, sizeof(name), "%s/%s-H", w->directory, ids[i]);
		assert_int_equal(stat(name, &st), 0);
		assert_int_equal(st.st_mode & 07777, 0640);
		/* Again: the pair is somebody's now. */
		assert_int_equal(spool_export(task, w->spool, entry, w->directory, 0640, &err), DEFER);
		assert_int_equal(err.os, EEXIST);
		assert_true(exists(w->directory, ids[i], "-H"));
	}
	/* Back into the same spool, as after a crash between storing and removing: taken once. */
	import(task, w, w->directory, false);
	assert_int_equal(w->taken, 2);
	assert_int_equal(spool_count(w->spool), 2);
	assert_false(exists(w->directory, ids[0], "-H"));
	/* A half that an earlier attempt left is no obstacle; a directory that is not there is. */
	write_file(w->directory, "1tABCD-000001-AB-D", "half", 4);
	must(spool_export(task, w->spool, spool_first(w->spool), w->directory, 0600, &err), &err);
	assert_int_equal(spool_export(task, w->spool, spool_first(w->spool), "/nonexistent/x", 0600, &err),
			 DEFER);
	spool_close(task, w->spool);
}

static void bad_pairs_on(struct task *task, void *arg)
{
	struct world *w = arg;
	struct spool_import how = {.directory = "/nonexistent", .arg = w, .read = read_pair, .told = told};
	struct err err = err_make(task->arena);
	char text[100];
	pid_t pid;
	int ready[2], go[2], status;
	char c;

	open_it(task, w);
	assert_int_equal(spool_import(task, w->spool, &how, &err), FAIL);

	write_pair(w->directory, ids[0], "body", 4);
	write_file(w->directory, "1tABCD-00000000001-0abc-H", "1tABCD-00000000001-0abc-H\nx",
		   27); /* cut off */
	import(task, w, w->directory, false);
	assert_int_equal(w->last, FAIL);
	assert_true(exists(w->directory, ids[0], "-H") && exists(w->directory, ids[0], "-D"));

	memcpy(text, "1tABCD-00000000001-0abc-H\nx\n", 28);
	memset(text + 28, 0, 60); /* what a crashed file system leaves */
	write_file(w->directory, "1tABCD-00000000001-0abc-H", text, 88);
	import(task, w, w->directory, false);
	assert_int_equal(w->last, FAIL);
	write_file(w->directory, "1tABCD-00000000001-0abc-H", "", 0);
	import(task, w, w->directory, false);
	assert_int_equal(w->last, FAIL);
	write_file(w->directory, "1tABCD-00000000001-0abc-H", "1tABCD-00000000001-0abd-H\nx\n", 28);
	import(task, w, w->directory, false);
	assert_int_equal(w->last, FAIL);
	write_file(w->directory, "1tABCD-00000000001-0abc-H", "1tABCD-00000000001-0abc-H\nrefuse me\n", 36);
	import(task, w, w->directory, false);
	assert_int_equal(w->last, FAIL);
	assert_non_null(strstr(w->last_text, "as asked"));

	write_pair(w->directory, ids[0], "body", 4);
	write_file(w->directory, "1tABCD-00000000001-0abc-D", "1tABCD-00000000001-0abd-D\nbody", 30);
	import(task, w, w->directory, false);
	assert_int_equal(w->last, FAIL);
	write_file(w->directory, "1tABCD-00000000001-0abc-D", "1tABC", 5);
	import(task, w, w->directory, false);
	assert_int_equal(w->last, FAIL);
	snprintf(text, sizeof(text), "%s/1tABCD-00000000001-0abc-D", w->directory);
	assert_int_equal(unlink(text), 0);
	import(task, w, w->directory, false);
	assert_int_equal(w->last, DEFER); /* half a pair: the other half may be on its way */
	assert_int_equal(symlink("/etc/passwd", text), 0);
	import(task, w, w->directory, false);
	assert_int_equal(w->told, 1);
	assert_int_equal(w->taken, 0);
	assert_int_equal(unlink(text), 0);

	/* Another process works on it. */
	write_pair(w->directory, ids[0], "body", 4);
	assert_int_equal(pipe(ready) | pipe(go), 0);
	pid = fork();
	if (pid == 0) {
		struct flock lock = {.l_type = F_WRLCK, .l_whence = SEEK_SET, .l_len = 26};
		int fd = open(text, O_RDWR);

		if (fcntl(fd, F_SETLK, &lock) || write(ready[1], "x", 1) != 1 || read(go[0], &c, 1) != 1)
			_exit(1);
		_exit(0);
	}
	assert_int_equal(read(ready[0], &c, 1), 1);
	import(task, w, w->directory, false);
	assert_int_equal(w->last, DEFER);
	assert_int_equal(spool_count(w->spool), 0);
	assert_int_equal(write(go[1], "x", 1), 1);
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_int_equal(status, 0);
	import(task, w, w->directory, false);
	assert_int_equal(w->last, OK);
	assert_int_equal(spool_count(w->spool), 1);
	spool_close(task, w->spool);
}

static void subdirectories_on(struct task *task, void *arg)
{
	struct world *w = arg;
	char path[400];

	open_it(task, w);
	for (unsigned i = 0; i < 3; i++) {
		char id[30];

		snprintf(path, sizeof(path), "%s/%c", w->directory, "aZ3"[i]);
		assert_int_equal(mkdir(path, 0700), 0);
		snprintf(id, sizeof(id), "1tABC%c-00000000001-0abc", "aZ3"[i]);
		write_pair(path, id, "b", 1);
	}
	write_file(w->directory, "q", "no directory", 12);
	import(task, w, w->directory, false);
	assert_int_equal(w->told, 0);
	import(task, w, w->directory, true);
	assert_int_equal(w->taken, 3);
	assert_int_equal(spool_count(w->spool), 3);
	spool_close(task, w->spool);
}

static int set_up(void **state)
{
	struct world *w = calloc(1, sizeof(*w));

	w->spool_directory = new_directory();
	w->directory = new_directory();
	*state = w;
	return 0;
}

static int tear_down(void **state)
{
	struct world *w = *state;

	remove_directory(w->spool_directory);
	remove_directory(w->directory);
	free(w);
	return 0;
}

static void round_trip(void **state)
{
	run_on(0, 1, round_trip_on, *state);
}

static void bad_pairs(void **state)
{
	run_on(0, 1, bad_pairs_on, *state);
}

static void subdirectories(void **state)
{
	run_on(0, 1, subdirectories_on, *state);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test_setup_teardown(round_trip, set_up, tear_down),
	    cmocka_unit_test_setup_teardown(bad_pairs, set_up, tear_down),
	    cmocka_unit_test_setup_teardown(subdirectories, set_up, tear_down),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
