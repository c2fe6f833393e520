/* Input: files and includes, physical lines with their macros replaced, .ifdef and its kin, continuation;
 * what comes out is logical lines. Each step is done in the order that the language defines: macros first,
 * then comments, then inclusions and conditions (both may stand in the middle of a continued line), then
 * continuation. */

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>
#include <fcntl.h>

#include "reader.h"

#define PIPE_SIZE_MAX (4u * 1024 * 1024)

static struct conf_place here(const struct conf_reader *reader)
{
	const struct input_file *file = &reader->files[reader->depth - 1];

	return (struct conf_place){file->name, file->line};
}

/* ---- Opening files ------------------------------------------------------------------------------------ */

/* May this file be believed? Whoever can change it can run commands as root. */
static bool owner_ok(const struct stat *st)
{
	if (st->st_uid != 0 && st->st_uid != geteuid())
		return false;
	if ((st->st_mode & S_IWGRP) && st->st_gid != 0)
		return false;
	return (st->st_mode & S_IWOTH) == 0;
}

/* FAIL: errno says why. */
static enum rc read_all(struct conf_reader *reader, int fd, size_t size, struct slice *ret)
{
	size_t room = size + 1, len = 0;
	char *bytes = arena_bytes(&reader->scratch, room);

	if (!bytes)
		return DEFER;
	while (len < room) {
		ssize_t got = read(fd, bytes + len, room - len);
		if (got < 0 && errno == EINTR)
			continue;
		if (got < 0)
			return FAIL;
		if (got == 0) {
			*ret = slice_make(bytes, len, CLEAN);
			return OK;
		}
		len += (size_t)got;
	}
	errno = EFBIG; /* more than it said to have, or more than a pipe may bring */
	return FAIL;
}

static enum rc file_check(const struct conf_reader *reader, const char *name, const struct stat *st,
			  const struct conf_place *from, struct err *err)
{
	/* A shell's <(command) is a pipe. */
	if (!S_ISREG(st->st_mode) && !(reader->trusted && S_ISFIFO(st->st_mode)))
		return conf_error(err, from, "configuration file %s is not a regular file", name);
	if (!reader->trusted && !owner_ok(st))
		return conf_error(err, from, "configuration file %s has the wrong owner, group, or mode",
				  name);
	if (st->st_size > CONF_FILE_SIZE_MAX)
		return conf_error(err, from, "configuration file %s has more than %u bytes", name,
				  CONF_FILE_SIZE_MAX);
	for (unsigned i = 0; i < reader->depth; i++) {
		if (reader->files[i].dev == st->st_dev && reader->files[i].ino == st->st_ino)
			return conf_error(err, from, "%s includes itself", name);
	}
	return OK;
}

/* err->os is ENOENT when there is no such file. */
enum rc input_open(struct conf_reader *reader, const char *name, const struct conf_place *from,
		   struct err *err)
{
	struct input_file *file;
	struct slice bytes;
	struct stat st;
	enum rc rc;
	int fd, os;

	if (reader->depth >= CONF_INCLUDE_DEPTH_MAX)
		return conf_error(err, from, "includes are nested deeper than %u files",
				  CONF_INCLUDE_DEPTH_MAX);
	if (reader->opened++ >= CONF_INCLUDES_MAX)
		return conf_error(err, from, "more than %u files are included", CONF_INCLUDES_MAX);
	fd = open(name, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
	if (fd < 0) {
		os = errno;
		(void)conf_error(err, from, "failed to open %sconfiguration file %s: %s",
				 from ? "included " : "", name, strerror(os));
		if (err)
			err->os = os;
		return FAIL;
	}
	rc = fstat(fd, &st) == 0 ? file_check(reader, name, &st, from, err)
				 : conf_error(err, from, "failed to stat configuration file %s", name);
	if (rc == OK) {
		size_t size = S_ISREG(st.st_mode) ? (size_t)st.st_size : PIPE_SIZE_MAX;

		(void)fcntl(fd, F_SETFL, O_RDONLY); /* a file or a pipe it is: now reading may wait */
		rc = read_all(reader, fd, size, &bytes);
		if (rc == FAIL)
			(void)conf_error(err, from, "failed to read configuration file %s: %s", name,
					 strerror(errno));
		else if (rc == DEFER)
			(void)err_memory(err);
	}
	(void)close(fd); /* read only: nothing can be lost */
	if (rc != OK)
		return FAIL;
	file = &reader->files[reader->depth++];
	*file = (struct input_file){.rest = bytes, .dev = st.st_dev, .ino = st.st_ino};
	file->name = arena_cstr(&reader->conf->arena, slice_of(name));
	return file->name ? OK : err_memory(err);
}

static enum rc include(struct conf_reader *reader, struct slice arg, bool if_exists, struct err *err)
{
	struct conf_place place = here(reader);
	struct slice dir, path;
	char *name;
	enum rc rc;

	arg = slice_trim(arg);
	if (arg.len >= 2 && arg.ptr[0] == '"' && arg.ptr[arg.len - 1] == '"')
		arg = slice_sub(arg, 1, arg.len - 2);
	if (arg.len == 0)
		return conf_error(err, &place, ".include without a file name");
	if (arg.ptr[0] != '/' && if_exists)
		return conf_error(err, &place, ".include specifies a non-absolute path \"%.*s\"",
				  SLICE_ARG(arg));
	path = arg;
	if (arg.ptr[0] != '/') {
		dir = slice_of(place.file);
		dir = slice_sub(dir, 0, (size_t)(slice_rfind(dir, '/') + 1));
		path = arena_printf(&reader->scratch, "%.*s%.*s", SLICE_ARG(dir), SLICE_ARG(arg));
	}
	name = path.ptr ? arena_cstr(&reader->scratch, path) : NULL;
	if (!name)
		return err_memory(err);
	rc = input_open(reader, name, &place, err);
	if (rc != OK && if_exists && err->os == ENOENT) {
		err->text = SLICE_EMPTY;
		err->os = 0;
		return OK;
	}
	return rc;
}

/* ---- Conditions --------------------------------------------------------------------------------------- */

static bool lines_count(const struct conf_reader *reader)
{
	return reader->cond_depth == 0 || reader->conds[reader->cond_depth - 1] == COND_ON;
}

static enum rc cond_begin(struct conf_reader *reader, bool on, struct err *err)
{
	struct conf_place place = here(reader);

	if (reader->cond_depth >= CONF_IFDEF_DEPTH_MAX)
		return conf_error(err, &place, ".ifdefs are nested deeper than %u", CONF_IFDEF_DEPTH_MAX);
	reader->conds[reader->cond_depth] = !lines_count(reader) ? COND_SKIPPED : on ? COND_ON : COND_SEEKING;
	reader->cond_places[reader->cond_depth] = place;
	reader->cond_depth++;
	return OK;
}

static void cond_else(struct conf_reader *reader, bool on)
{
	uint8_t *state = &reader->conds[reader->cond_depth - 1];

	if (*state == COND_ON)
		*state = COND_OVER;
	else if (*state == COND_SEEKING && on)
		*state = COND_ON;
}

/* Does the line begin with this directive? */
static bool directive(struct slice line, struct slice word, struct slice *arg_ret)
{
	if (!slice_starts(line, word) || (line.len > word.len && !ascii_is_space(line.ptr[word.len])))
		return false;
	*arg_ret = slice_from(line, word.len);
	return true;
}

/* *taken_ret: it was one. replaced: a macro was replaced in this line, which is all that .ifdef asks. */
static enum rc condition(struct conf_reader *reader, struct slice line, bool replaced, bool *taken_ret,
			 struct err *err)
{
	struct conf_place place = here(reader);
	struct slice arg;

	*taken_ret = true;
	if (directive(line, SLICE(".ifdef"), &arg))
		return cond_begin(reader, replaced, err);
	if (directive(line, SLICE(".ifndef"), &arg))
		return cond_begin(reader, !replaced, err);
	*taken_ret = directive(line, SLICE(".elifdef"), &arg) || directive(line, SLICE(".elifndef"), &arg) ||
		     directive(line, SLICE(".else"), &arg) || directive(line, SLICE(".endif"), &arg);
	if (!*taken_ret)
		return OK;
	if (reader->cond_depth == 0)
		return conf_error(err, &place, "%.*s without matching .ifdef", (int)(line.len - arg.len),
				  line.ptr);
	if (line.ptr[2] == 'n')
		reader->cond_depth--;
	else if (directive(line, SLICE(".elifdef"), &arg))
		cond_else(reader, replaced);
	else if (directive(line, SLICE(".elifndef"), &arg))
		cond_else(reader, !replaced);
	else
		cond_else(reader, true);
	return OK;
}

/* ---- Physical lines ----------------------------------------------------------------------------------- */

enum step { STEP_LINE, STEP_SKIP, STEP_END, STEP_FAULT };

/* One physical line, trimmed, macros replaced; whatever is no text for the logical line is dealt with here.
 */
static enum step physical_line(struct conf_reader *reader, bool at_start, struct slice *line_ret)
{
	struct err *err = &reader->fault;
	struct input_file *file;
	struct conf_place place;
	struct slice line, arg;
	bool replaced, taken;

	if (reader->depth == 0)
		return STEP_END;
	file = &reader->files[reader->depth - 1];
	if (file->rest.len == 0) {
		reader->depth--;
		return STEP_SKIP;
	}
	(void)slice_split(&file->rest, '\n', &line); /* there is some: checked above */
	if (!file->rest.ptr)
		file->rest = SLICE_EMPTY;
	file->line++;
	place = here(reader);
	if (++reader->lines > CONF_LINES_MAX) {
		(void)conf_error(err, &place, "more than %u lines", CONF_LINES_MAX);
		return STEP_FAULT;
	}
	line = slice_trim(line);
	if (memchr(line.ptr, 0, line.len)) {
		(void)conf_error(err, &place, "the line has a NUL byte");
		return STEP_FAULT;
	}
	if (line.len > 0 && line.ptr[0] == '#')
		return STEP_SKIP;
	if (!lines_count(reader) && (line.len == 0 || line.ptr[0] != '.'))
		return STEP_SKIP;
	arena_clear(&reader->expanding);
	line = macro_expand(&reader->state->macros, &reader->expanding, line, at_start, &replaced);
	if (!line.ptr) {
		(void)conf_error(err, &place, "the line is too long after its macros have been replaced");
		return STEP_FAULT;
	}
	line = slice_trim(line);
	if (line.len > 0 && line.ptr[0] == '#')
		return STEP_SKIP;
	if (line.len > 0 && line.ptr[0] == '.') {
		if (condition(reader, line, replaced, &taken, err) != OK)
			return STEP_FAULT;
		if (taken || !lines_count(reader))
			return STEP_SKIP;
		if (directive(line, SLICE(".include"), &arg))
			return include(reader, arg, false, err) == OK ? STEP_SKIP : STEP_FAULT;
		if (directive(line, SLICE(".include_if_exists"), &arg))
			return include(reader, arg, true, err) == OK ? STEP_SKIP : STEP_FAULT;
	}
	if (at_start && replaced && line.len == 0)
		return STEP_SKIP;
	*line_ret = line;
	return STEP_LINE;
}

/* ---- Logical lines ------------------------------------------------------------------------------------ */

static enum rc fault(struct conf_reader *reader)
{
	reader->failed = true;
	return FAIL;
}

static enum rc end_of_files(struct conf_reader *reader)
{
	if (reader->cond_depth > 0) {
		(void)conf_error(&reader->fault, &reader->cond_places[reader->cond_depth - 1],
				 "unexpected end of configuration file: .endif missing");
		return fault(reader);
	}
	return FAIL;
}

static enum rc remember_source(struct conf_reader *reader, const struct conf_line *line)
{
	struct conf_source *source = arena_make(&reader->conf->arena, struct conf_source);

	if (!source) {
		(void)err_memory(&reader->fault);
		return fault(reader);
	}
	source->line = *line;
	if (reader->state->source_last)
		reader->state->source_last->next = source;
	else
		reader->state->source_first = source;
	reader->state->source_last = source;
	return OK;
}

enum rc input_line(struct conf_reader *reader, struct conf_line *line_ret)
{
	struct str str = str_make(&reader->conf->arena);
	struct conf_line line = {.text = SLICE_EMPTY};
	struct slice part;
	bool started = false, more = true;

	while (more) {
		enum step step = physical_line(reader, !started, &part);

		if (step == STEP_FAULT)
			return fault(reader);
		if (step == STEP_END) {
			/* A backslash on the very last line continues nothing. */
			if (!started || str.len == 0)
				return end_of_files(reader);
			break;
		}
		if (step == STEP_SKIP || (!started && part.len == 0))
			continue;
		if (!started)
			line.place = here(reader);
		more = part.len > 0 && part.ptr[part.len - 1] == '\\';
		if (!started && !more)
			str.failed = (line.text = arena_copy(&reader->conf->arena, part)).ptr == NULL;
		else
			str_add(&str, slice_sub(part, 0, part.len - more));
		started = true;
		if (str.failed || str.len > CONF_LINE_SIZE_MAX) {
			(void)conf_error(&reader->fault, &line.place, "the line is too long");
			return fault(reader);
		}
		if (!more && line.text.len == 0 && slice_trim(str_slice(&str)).len == 0) {
			str_clear(&str); /* a continued nothing: as if it were blank */
			started = false;
			more = true;
		}
	}
	if (line.text.len == 0)
		line.text = slice_rtrim(str_slice(&str));
	if (remember_source(reader, &line) != OK)
		return FAIL;
	*line_ret = line;
	return OK;
}

/* ---- Lines of a section -------------------------------------------------------------------------------- */

/* "begin NAME": the end of the present section. */
static bool begins_section(struct slice text, struct slice *name_ret)
{
	if (!slice_starts_nocase(text, SLICE("begin")) || text.len < 6 || !ascii_is_space(text.ptr[5]))
		return false;
	*name_ret = slice_trim(slice_from(text, 5));
	return true;
}

enum rc conf_next_line(struct conf_reader *reader, struct conf_line *line_ret, struct err *err)
{
	(void)err; /* faults of the files are kept in the reader: see the door */
	if (reader->unread) {
		reader->unread = false;
		*line_ret = reader->line;
		return OK;
	}
	if (reader->section_over)
		return FAIL;
	if (input_line(reader, &reader->line) != OK) {
		reader->section_over = true;
		reader->next_section.ptr = NULL;
		return FAIL;
	}
	if (begins_section(reader->line.text, &reader->next_section)) {
		reader->section_over = true;
		reader->section_place = reader->line.place;
		return FAIL;
	}
	*line_ret = reader->line;
	return OK;
}

void conf_unread_line(struct conf_reader *reader)
{
	ASSERT(!reader->unread);
	reader->unread = true;
}

struct conf *conf_reader_conf(struct conf_reader *reader)
{
	return reader->conf;
}

bool conf_line_is_macro(const struct conf_line *line)
{
	return macro_is_definition(line->text);
}

enum rc conf_define_macro(struct conf_reader *reader, const struct conf_line *line, struct err *err)
{
	return macro_define(reader->conf, &reader->state->macros, line->text, &line->place, err);
}
