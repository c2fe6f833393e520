/* dmarc_case: a message told in a line (who it says it is from, what was authenticated), judged over a table of records. */
#ifndef TEST_DMARC_CASE_H
#define TEST_DMARC_CASE_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "mailauth/dmarc.h"
#include "zone.h"

struct dmarc_case {
	const char *section; /* why */
	const char *from;    /* with spaces between several */
	const char *spf,
	    *dkim; /* a domain that passed; "!domain": one that could not be checked now; "": nothing */
	const char *status, *used;
	const char *align; /* "sd", "s", "d", "" */
};

struct dmarc_world {
	struct arena arena;
	struct task task;
	struct zone zone;
	struct mailauth_resolver resolver;
	struct slice (*org)(void *, struct arena *, struct slice);
};

static inline void dmarc_world_init(struct dmarc_world *w, const struct zone_row *rows, unsigned count)
{
	arena_init(&w->arena, 0);
	task_init(&w->task, NULL, &w->arena, UINT64_MAX);
	w->zone = (struct zone){.rows = rows, .count = count};
	w->resolver = zone_resolver(&w->zone);
	w->org = NULL;
}

static inline enum mailauth_result dmarc_case_result(const char *domain)
{
	return *domain == '!' ? MAILAUTH_TEMPERROR : *domain ? MAILAUTH_PASS : MAILAUTH_FAIL;
}

static inline struct dmarc_result dmarc_case_judge(struct dmarc_world *w, const struct dmarc_case *c)
{
	struct slice domains[DMARC_FROM_MAX], rest = slice_of(c->from);
	struct dkim_result signature = {.domain = slice_of(c->dkim + (*c->dkim == '!')),
					.result = dmarc_case_result(c->dkim)};
	struct dmarc_query query = {.from = domains,
				    .spf = dmarc_case_result(c->spf),
				    .spf_domain = slice_of(c->spf + (*c->spf == '!')),
				    .dkim = &signature,
				    .dkim_count = 1,
				    .org = w->org};
	struct dmarc_result result;

	while (rest.len && slice_split(&rest, ' ', &domains[query.from_count]))
		query.from_count++;
	assert_int_equal(dmarc_check(&w->task, &w->resolver, &query, &result), OK);
	return result;
}

static inline void dmarc_case_run(struct dmarc_world *w, const struct dmarc_case *c)
{
	struct dmarc_result r = dmarc_case_judge(w, c);
	char align[3] = "";

	if (r.align_spf)
		strcat(align, "s");
	if (r.align_dkim)
		strcat(align, "d");
	if (!slice_eq(dmarc_status_word(r.status), slice_of(c->status)) ||
	    !slice_eq(r.used_domain, slice_of(c->used)) || strcmp(align, c->align) != 0)
		fail_msg("%s: from=%s spf=%s dkim=%s: %.*s at \"%.*s\" aligned \"%s\"", c->section, c->from,
			 c->spf, c->dkim, SLICE_ARG(dmarc_status_word(r.status)), SLICE_ARG(r.used_domain),
			 align);
}

#endif
