/* context: contexts by the text of their settings, for as long as their files stay the same. A shard has its own. */
#include "tls/engine.h"

#include <stdio.h>
#include <stdlib.h>

/* Files are looked at once in so many nanoseconds, not for each of a thousand handshakes a second. */
#define LOOK_NS (100 * NS_PER_MS)

struct context_entry {
	struct link used;
	struct slice key; /* the settings as text; heap */
	struct tls_context *context;
	uint64_t looked;    /* when; 0: never */
	uint64_t files;     /* a fingerprint of what the context was made from */
	uint64_t files_bad; /* of what could not be loaded; told once */
	bool making;
	unsigned waiting;
	struct waitq made;
	char problem[512]; /* of the last try, if there is no context */
};

void context_unref(struct tls_context *context)
{
	if (!context || --context->refs)
		return;
	for (unsigned i = 0; i < context->cert_count; i++) {
		struct context_cert *cert = &context->certs[i];

		wolfSSL_CTX_free(cert->ctx);
		if (cert->pem.len)
			free((char *)(uintptr_t)cert->pem.ptr);
		if (cert->proof.len)
			free((char *)(uintptr_t)cert->proof.ptr);
	}
	authorities_done(&context->authorities);
	revoked_done(&context->revoked);
	free(context);
}

const struct context_cert *context_choose(const struct tls_context *context, const struct tls_hello *hello)
{
	/* ECDSA costs us a tenth of RSA, so it goes first where the client can. */
	for (unsigned i = 0; i < context->cert_count; i++)
		if (context->certs[i].ecdsa && hello->ecdsa)
			return &context->certs[i];
	for (unsigned i = 0; i < context->cert_count; i++)
		if (!context->certs[i].ecdsa && hello->rsa)
			return &context->certs[i];
	return &context->certs[0];
}

/* ---- Keys ---- */

static void key_list(struct str *key, struct tls_list list)
{
	for (unsigned i = 0; i < list.count; i++) {
		str_addu(key, list.items[i].len);
		str_addc(key, ' ');
		str_add(key, list.items[i]);
	}
	str_addc(key, '\n');
}

static struct slice key_of(struct arena *arena, const struct tls_settings *s, bool server)
{
	struct str key = str_make(arena);
	const struct slice texts[] = {
	    s->verify_certificates, s->crl, s->ciphers, s->dhparam, s->eccurve, s->name};

	str_addc(&key, server ? 's' : 'c');
	str_addu(&key, (unsigned)s->verify);
	str_addc(&key, ' ');
	key_list(&key, s->certificates);
	key_list(&key, s->privatekeys);
	key_list(&key, s->ocsp_files);
	for (unsigned i = 0; i < ARRAY_COUNT(texts); i++)
		key_list(&key, (struct tls_list){&texts[i], 1});
	return str_slice(&key);
}

/* ---- Files ---- */

static enum rc add_file(struct task *task, struct slice path, uint64_t *files)
{
	char *name;
	struct stat st;
	uint64_t facts[6] = {*files, 1};
	enum rc rc;

	if (slice_starts(path, SLICE("PEM ")) || slice_starts(path, SLICE("DER ")))
		path = slice_ltrim(slice_from(path, 4));
	if (!path.len || path.ptr[0] != '/')
		return OK;
	name = arena_cstr(task->arena, path);
	if (!name)
		return DEFER;
	rc = file_stat(task, name, true, &st, NULL);
	if (rc == CANCELLED)
		return rc;
	if (rc == OK) {
		facts[1] = (uint64_t)st.st_dev;
		facts[2] = (uint64_t)st.st_ino;
		facts[3] = (uint64_t)st.st_size;
		facts[4] = (uint64_t)st.st_mtim.tv_sec;
		facts[5] = (uint64_t)st.st_mtim.tv_nsec;
	}
	*files = hash_slice(slice_make((const char *)facts, sizeof(facts), CLEAN));
	return OK;
}

static enum rc add_files(struct task *task, struct tls_list list, uint64_t *files)
{
	enum rc rc = OK;

	for (unsigned i = 0; i < list.count && rc == OK; i++)
		rc = add_file(task, list.items[i], files);
	return rc;
}

/* One number for all the files as they are now. Parks. */
static enum rc fingerprint(struct task *task, const struct tls_settings *s, uint64_t *files_ret)
{
	const struct slice others[] = {s->verify_certificates, s->crl, s->dhparam};
	uint64_t files = 1;
	enum rc rc = add_files(task, s->certificates, &files);

	if (rc == OK)
		rc = add_files(task, s->privatekeys, &files);
	if (rc == OK)
		rc = add_files(task, s->ocsp_files, &files);
	if (rc == OK)
		rc = add_files(task, (struct tls_list){others, ARRAY_COUNT(others)}, &files);
	*files_ret = files ? files : 1;
	return rc;
}

/* ---- Making ---- */

static struct tls_list copy_list(struct arena *arena, struct tls_list list)
{
	struct slice *items = arena_array(arena, struct slice, list.count ? list.count : 1);

	for (unsigned i = 0; items && i < list.count; i++)
		items[i] = arena_copy(arena, list.items[i]);
	return (struct tls_list){items, items ? list.count : 0};
}

static void job_free(void *arg)
{
	struct context_job *job = arg;

	context_unref(job->context);
	arena_done(&job->arena);
	free(job);
}

static struct context_job *job_new(const struct tls_settings *s, bool server)
{
	struct context_job *job = calloc(1, sizeof(*job)); /* once for a change of files */

	if (!job)
		return NULL;
	arena_init(&job->arena, 4ul * TLS_FILE_MAX);
	job->server = server;
	job->settings = *s;
	job->settings.certificates = copy_list(&job->arena, s->certificates);
	job->settings.privatekeys = copy_list(&job->arena, s->privatekeys);
	job->settings.ocsp_files = copy_list(&job->arena, s->ocsp_files);
	job->settings.alpn = (struct tls_list){NULL, 0};
	job->settings.verify_certificates = arena_copy(&job->arena, s->verify_certificates);
	job->settings.crl = arena_copy(&job->arena, s->crl);
	job->settings.ciphers = arena_copy(&job->arena, s->ciphers);
	job->settings.dhparam = arena_copy(&job->arena, s->dhparam);
	job->settings.eccurve = arena_copy(&job->arena, s->eccurve);
	job->settings.name = arena_copy(&job->arena, s->name);
	return job;
}

static void job_run(void *arg)
{
	context_build(arg);
	library_thread_done();
	arena_pool_done();
}

static void tell(struct tls_shard *here, const struct conf *conf, const char *text)
{
	if (conf)
		log_printf(here->shard, conf, LOG_TO_MAIN | LOG_TO_PANIC, NULL, "%s", text);
}

/* The proofs that are shown from now on. */
static void tell_proofs(struct tls_shard *here, const struct tls_context *context,
			const struct tls_settings *settings)
{
	for (unsigned i = 0; i < context->cert_count && i < settings->certificates.count; i++) {
		const struct context_cert *cert = &context->certs[i];
		struct tls_proof proof = {0, 0};

		if (i >= settings->ocsp_files.count || !settings->ocsp_files.items[i].len)
			continue;
		if (cert->proof.len)
			proof = (struct tls_proof){cert->proof_made, cert->proof_until};
		tls_proof_tell(here->shard, settings->certificates.items[i], &proof);
	}
}

/* A new context in the place of the entry's. FAIL: entry->problem says why, and the old one, if any, is as it was. Parks. */
static enum rc make(struct task *task, struct tls_shard *here, struct context_entry *entry,
		    const struct tls_settings *settings, bool server, const struct conf *conf, uint64_t files)
{
	struct context_job *job = job_new(settings, server);
	struct err err = err_make(task->arena);
	enum rc rc;

	if (!job)
		return DEFER;
	rc = offload_call(task, job_run, job, job_free, &err);
	if (rc != OK)
		return rc;
	if (job->context) {
		context_unref(entry->context);
		entry->context = job->context;
		entry->files = files;
		entry->files_bad = 0;
		job->context = NULL;
		tally_up(&here->metrics->contexts_made);
		tell_proofs(here, entry->context, settings);
		if (job->notes[0])
			tell(here, conf, job->notes);
	} else {
		memcpy(entry->problem, job->problem, sizeof(entry->problem));
		tally_up(&here->metrics->contexts_failed);
		rc = FAIL;
	}
	job_free(job);
	return rc;
}

static void entry_free(struct tls_shard *here, struct context_entry *entry)
{
	(void)map_remove(&here->contexts, entry->key);
	list_remove(&entry->used);
	context_unref(entry->context);
	free((char *)(uintptr_t)entry->key.ptr);
	free(entry);
}

static struct context_entry *entry_get(struct tls_shard *here, struct slice key)
{
	struct context_entry *entry = map_get(&here->contexts, key);
	char *bytes;

	if (entry) {
		list_remove(&entry->used);
		list_append(&here->used, &entry->used);
		return entry;
	}
	LIST_EACH (l, &here->used) {
		struct context_entry *old = LIST_ITEM(l, struct context_entry, used);

		if (here->contexts.count < CONTEXT_COUNT_MAX)
			break;
		if (!old->making && !old->waiting)
			entry_free(here, old);
	}
	entry = calloc(1, sizeof(*entry));
	bytes = malloc(key.len + 1ul);
	if (!entry || !bytes) {
		free(entry);
		free(bytes);
		return NULL;
	}
	memcpy(bytes, key.ptr, key.len);
	entry->key = slice_make(bytes, key.len, CLEAN);
	waitq_init(&entry->made);
	if (!map_set(&here->contexts, entry->key, entry)) {
		free(bytes);
		free(entry);
		return NULL;
	}
	list_append(&here->used, &entry->used);
	return entry;
}

static bool proof_over(const struct tls_context *context, int64_t now_s)
{
	for (unsigned i = 0; i < context->cert_count; i++)
		if (context->certs[i].proof.len && context->certs[i].proof_until < now_s)
			return true;
	return false;
}

/* Looks whether the files are still those, and makes a new context if not. Parks. */
static enum rc entry_refresh(struct task *task, struct tls_shard *here, struct context_entry *entry,
			     const struct tls_settings *settings, bool server, const struct conf *conf)
{
	char text[700];
	uint64_t files;
	enum rc rc = fingerprint(task, settings, &files);

	if (rc != OK)
		return rc;
	/* A proof whose time is over is as good as a file that changed. */
	if (entry->context && proof_over(entry->context, (int64_t)(shard_wall(task->shard) / NS_PER_S)))
		entry->files = 0;
	if (entry->context && (files == entry->files || files == entry->files_bad))
		return OK;
	rc = make(task, here, entry, settings, server, conf, files);
	if (rc == FAIL && entry->context) {
		entry->files_bad = files;
		snprintf(text, sizeof(text), "TLS: %s; what was loaded before stays in use", entry->problem);
		tell(here, conf, text);
		return OK;
	}
	return rc;
}

enum rc context_get(struct task *task, const struct tls_settings *settings, bool server,
		    const struct conf *conf, struct tls_context **context_ret, struct err *err)
{
	struct tls_shard *here = tls_shard_here(task->shard);
	struct slice key = key_of(task->arena, settings, server);
	struct context_entry *entry = here && key.ptr ? entry_get(here, key) : NULL;
	enum rc rc = OK;

	if (!entry)
		return err_memory(err);
	/* One makes it, and who has none to go on with waits for that. */
	while (entry->making && !entry->context) {
		entry->waiting++;
		rc = waitq_wait(task, &entry->made);
		entry->waiting--;
		if (rc != OK)
			return err_set(err, rc, "waiting for a TLS context");
	}
	if (!entry->making &&
	    (!entry->looked || shard_now(task->shard) - entry->looked >= (uint64_t)LOOK_NS)) {
		entry->making = true;
		rc = entry_refresh(task, here, entry, settings, server, conf);
		entry->looked = shard_now(task->shard);
		entry->making = false;
		waitq_wake_all(&entry->made);
	}
	if (rc == CANCELLED)
		return rc;
	if (entry->context) {
		entry->context->refs++;
		*context_ret = entry->context;
		return OK;
	}
	if (entry->problem[0])
		return err_set(err, FAIL, "%s", entry->problem);
	return err_set(err, DEFER, "the certificates could not be read");
}

void contexts_done(struct tls_shard *here)
{
	LIST_EACH (l, &here->used)
		entry_free(here, LIST_ITEM(l, struct context_entry, used));
	map_done(&here->contexts);
}
