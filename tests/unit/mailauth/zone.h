/* zone: a table of records as the resolver of tests. A name that no row has, or has a name below, does not exist; a row with the type "DEFER" makes
 * every question for its name a SERVFAIL, one with "DEFER-TXT" those for TXT. CNAMEs are followed. */
#ifndef TEST_ZONE_H
#define TEST_ZONE_H

#include <stdio.h>
#include <stdlib.h>

#include "mailauth/mailauth.h"

struct zone_row {
	const char *name, *type, *data;
};
struct zone {
	const struct zone_row *rows;
	unsigned count;
	unsigned questions; /* that were asked */
	unsigned ahead;
	struct task *cancel; /* cancelled by the question number cancel_at */
	unsigned cancel_at;
};

static const char *zone_type(enum dns_type type)
{
	switch (type) {
	case DNS_A:
		return "A";
	case DNS_AAAA:
		return "AAAA";
	case DNS_MX:
		return "MX";
	case DNS_PTR:
		return "PTR";
	case DNS_TXT:
		return "TXT";
	default:
		return "?";
	}
}

static inline void zone_record(struct arena *arena, enum dns_type type, const char *data,
			       struct dns_record *r)
{
	char *end;

	*r = (struct dns_record){.ttl_s = 60, .name = SLICE_EMPTY, .text = SLICE_EMPTY};
	switch (type) {
	case DNS_A:
	case DNS_AAAA:
		if (!ip_parse(slice_of(data), &r->ip) && type == DNS_AAAA)
			r->ip.family = 6;
		break;
	case DNS_MX:
		r->preference = (uint16_t)strtoul(data, &end, 10);
		r->name = slice_tainted(slice_of(*end ? end + 1 : end));
		if (slice_eq(r->name, SLICE(".")))
			r->name = SLICE_EMPTY;
		break;
	case DNS_PTR:
		r->name = slice_tainted(slice_of(data));
		break;
	default:
		/* "|" stands between the strings of a record, the byte 0x1f for a NUL. */
		{
			struct str text = str_make(arena);
			for (; *data; data++)
				if (*data != '|')
					str_addc(&text, *data == '\x1f' ? '\0' : *data);
			r->text = slice_tainted(str_slice(&text));
		}
	}
}

static inline enum rc zone_query(struct task *task, void *arg, struct slice name, enum dns_type type,
				 struct dns_answer *answer_ret, struct err *err)
{
	struct zone *zone = arg;
	bool exists = false, moved;
	unsigned hops = 0;

	*answer_ret =
	    (struct dns_answer){.records = arena_array(task->arena, struct dns_record, zone->count + 1),
				.canonical = SLICE_EMPTY};
	if (++zone->questions == zone->cancel_at)
		task->cancelled = true;
	if (task->cancelled)
		return CANCELLED;
	if (name.len && name.ptr[name.len - 1] == '.')
		name.len--;
	do {
		moved = false;
		for (unsigned i = 0; i < zone->count && !moved; i++) {
			const struct zone_row *row = &zone->rows[i];
			struct slice owner = slice_of(row->name);
			exists |= owner.len > name.len && owner.ptr[owner.len - name.len - 1] == '.' &&
				  slice_ends_nocase(owner, name);
			if (!slice_eq_nocase(owner, name))
				continue;
			exists = true;
			if (strncmp(row->type, "DEFER", 5) == 0 &&
			    (!row->type[5] || strcmp(row->type + 6, zone_type(type)) == 0))
				return err_set(err, DEFER, "%s lookup of %.*s: server failure",
					       zone_type(type), SLICE_ARG(name));
			if (strcmp(row->type, "CNAME") == 0) {
				name = slice_of(row->data);
				moved = ++hops < 8;
				exists = false;
				continue;
			}
			if (strcmp(row->type, zone_type(type)) == 0)
				zone_record(task->arena, type, row->data,
					    &answer_ret->records[answer_ret->count++]);
		}
	} while (moved);
	answer_ret->nxdomain = !exists;
	if (!answer_ret->count)
		return err_set(err, FAIL, "%.*s: nothing", SLICE_ARG(name));
	return OK;
}

static inline void zone_ahead(struct task *task, void *arg, struct slice name, enum dns_type type)
{
	struct zone *zone = arg;

	(void)task;
	(void)name;
	(void)type;
	zone->ahead++;
}

static inline struct mailauth_resolver zone_resolver(struct zone *zone)
{
	return (struct mailauth_resolver){.query = zone_query, .prefetch = zone_ahead, .arg = zone};
}

#endif
