/* dmarc_suffixes: the public suffix list, for those who name one (dmarc_tld_file): libpsl's, read on a helper thread. */
#include <libpsl.h>
#include <stdlib.h>

#include "base/hash.h"
#include "dmarc.h"
#include "dmarc_state.h"

#define LOOK_AGAIN_NS (2 * NS_PER_S)
#define KNOWN_COUNT   256 /* a power of two */

/* The organisational domain is the end of the name. */
struct known {
	uint8_t len, org_len; /* len 0: nothing is here */
	char domain[62];
};
struct dmarc_suffixes {
	psl_ctx_t *psl;
	struct known *
	    known; /* what was asked last, by a hash of the name: the list is searched label by label. KNOWN_COUNT, or NULL */
	char *path;
	struct stat st;
	uint64_t looked_at;
	bool loaded;
	bool looking; /* somebody is at it */
	struct waitq looked;
};

static struct shard_slot slot;

struct loading {
	char *path;
	psl_ctx_t *psl;
};

static void load(void *arg)
{
	struct loading *l = arg;

	l->psl = psl_load_file(l->path);
}

static void loading_free(void *arg)
{
	struct loading *l = arg;

	psl_free(l->psl);
	free(l->path);
	free(l);
}

void dmarc_done(struct shard *shard)
{
	struct dmarc_suffixes *s = shard_slot(shard, &slot);

	if (!s)
		return;
	psl_free(s->psl);
	free(s->known);
	free(s->path);
	free(s);
	shard_slot_set(shard, &slot, NULL);
}

static bool same_file(const struct stat *a, const struct stat *b)
{
	return a->st_dev == b->st_dev && a->st_ino == b->st_ino && a->st_size == b->st_size &&
	       a->st_mtim.tv_sec == b->st_mtim.tv_sec && a->st_mtim.tv_nsec == b->st_mtim.tv_nsec;
}

/* Heap memory: it lives as long as the shard, and there is one. */
static enum rc reload(struct task *task, struct dmarc_suffixes *s, const char *path, const struct stat *st,
		      struct err *err)
{
	struct loading *l = calloc(1, sizeof(*l));
	enum rc rc;

	if (!l || !(l->path = strdup(path))) {
		free(l);
		return err_memory(err);
	}
	rc = offload_call(task, load, l, loading_free, err);
	if (rc != OK)
		return rc;
	/* What others use of the one before, they do not keep. */
	psl_free(s->psl);
	free(s->path);
	free(s->known);
	s->known = calloc(KNOWN_COUNT,
			  sizeof(*s->known)); /* once for each list that is read; without it all goes on */
	s->psl = l->psl;
	s->path = l->path;
	s->st = *st;
	s->loaded = true;
	s->looked_at = shard_now(task->shard);
	free(l);
	return OK;
}

/* Reads the list, if it is not the one that is there. */
static enum rc look(struct task *task, struct dmarc_suffixes *s, const char *name, struct err *err)
{
	struct stat st;
	enum rc rc = file_stat(task, name, true, &st, err);

	if (rc != OK || !s->loaded || strcmp(s->path, name) != 0 || !same_file(&st, &s->st))
		return rc == OK ? reload(task, s, name, &st, err) : rc;
	s->looked_at = shard_now(task->shard);
	return OK;
}

/* One looks for all, since reading takes most of a tenth of a second. Meanwhile the list of before is good for the others, and who has
 * none waits. */
static enum rc look_together(struct task *task, struct dmarc_suffixes *s, const char *name, struct err *err)
{
	bool here = s->loaded && strcmp(s->path, name) == 0;
	enum rc rc = OK;

	while (!here || shard_now(task->shard) - s->looked_at > LOOK_AGAIN_NS) {
		if (s->looking && here)
			return OK;
		if (s->looking) {
			rc = waitq_wait(task, &s->looked);
		} else {
			s->looking = true;
			rc = look(task, s, name, err);
			s->looking = false;
			waitq_wake_all(&s->looked);
		}
		if (rc != OK)
			return rc;
		here = s->loaded && strcmp(s->path, name) == 0;
	}
	return OK;
}

enum rc dmarc_suffixes_get(struct task *task, struct slice path, const struct dmarc_suffixes **ret,
			   struct err *err)
{
	struct dmarc_suffixes *s = shard_slot(task->shard, &slot);
	char *name = arena_cstr(task->arena, path);
	enum rc rc;

	if (!name)
		return err_memory(err);
	if (path.taint)
		return err_set(err, FAIL, "Tainted '%s' (file name for dmarc_tld_file) not permitted", name);
	if (!s) {
		s = calloc(1, sizeof(*s));
		if (!s)
			return err_memory(err);
		waitq_init(&s->looked);
		shard_slot_set(task->shard, &slot, s);
	}
	rc = look_together(task, s, name, err);
	if (rc != OK)
		return rc;
	if (!s->psl)
		return err_set(err, FAIL, "%s is no public suffix list", name);
	*ret = s;
	return OK;
}

struct slice dmarc_suffixes_org(struct arena *arena, const struct dmarc_suffixes *suffixes,
				struct slice domain)
{
	struct known *known = suffixes->known && domain.len && domain.len <= sizeof(known->domain)
				  ? &suffixes->known[hash_slice(domain) % KNOWN_COUNT]
				  : NULL;
	const char *name, *org;
	uint32_t len;

	if (known && known->len == domain.len && memcmp(known->domain, domain.ptr, domain.len) == 0)
		return slice_from(domain, domain.len - known->org_len);
	name = arena_cstr(arena, domain);
	org = name ? psl_registrable_domain(suffixes->psl, name) : NULL;
	if (!org)
		return domain;
	len = (uint32_t)strlen(org);
	if (known && org + len == name + domain.len) {
		known->len = (uint8_t)domain.len;
		known->org_len = (uint8_t)len;
		memcpy(known->domain, domain.ptr, domain.len);
	}
	return slice_make(org, len, TAINTED);
}
