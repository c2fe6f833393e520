/* dmarc_history: the file that opendmarc-import reads (dmarc_history_file). A block of lines for each message, written with one
 * append, so that blocks of all shards and processes stay whole:
 *
 *	job, reporter, received, ipaddr, from, mfrom, spf, dkim..., pdomain, policy, rua..., pct, adkim, aspf, p, sp,
 *	align_dkim, align_spf, action, arc, arc_policy
 */
#include <unistd.h>

#include "arc.h"
#include "dmarc.h"
#include "dmarc_state.h"

static unsigned auth_number(enum mailauth_result result)
{
	switch (result) {
	case MAILAUTH_PASS:
		return 0;
	case MAILAUTH_SOFTFAIL:
		return 2;
	case MAILAUTH_NEUTRAL:
		return 3;
	case MAILAUTH_TEMPERROR:
		return 4;
	case MAILAUTH_PERMERROR:
		return 5;
	case MAILAUTH_NONE:
		return 6;
	case MAILAUTH_FAIL:
		return 7;
	case MAILAUTH_POLICY:
		return 8;
	default:
		return 11;
	}
}

/* A value on a line of its own: what a stranger chose must not begin another. */
static void add(struct str *out, const char *name, struct slice value)
{
	str_addz(out, name);
	str_addc(out, ' ');
	for (uint32_t i = 0; i < value.len; i++)
		str_addc(out, value.ptr[i] > ' ' && value.ptr[i] <= '~' ? value.ptr[i] : '_');
	str_addc(out, '\n');
}

static void add_number(struct str *out, const char *name, uint64_t number)
{
	str_printf(out, "%s %llu\n", name, (unsigned long long)number);
}

static void add_dkim(struct str *out, const struct dmarc_state *state)
{
	for (unsigned i = 0; i < state->dkim_count; i++) {
		const struct dkim_result *r = &state->dkim[i];
		struct str line = str_make(out->arena);

		add(&line, "dkim", r->domain.len ? r->domain : SLICE("-"));
		line.len--;
		str_addc(&line, ' ');
		add(&line, "", r->selector.len ? r->selector : SLICE("-"));
		line.len--;
		str_printf(&line, " %u\n", auth_number(r->result));
		/* "dkim DOMAIN  SELECTOR N": the empty name has left one space too many. */
		for (uint32_t k = 0; k + 1 < line.len; k++)
			if (line.ptr[k] != ' ' || line.ptr[k + 1] != ' ')
				str_addc(out, line.ptr[k]);
		str_addc(out, '\n');
	}
}

static void add_addresses(struct str *out, struct slice list)
{
	struct slice item;
	bool any = false;

	while (list.ptr && slice_split(&list, ',', &item)) {
		item = slice_trim(item);
		if (!item.len)
			continue;
		add(out, "rua", item);
		any = true;
	}
	if (!any)
		str_addz(out, "rua -\n");
}

static void add_policy(struct str *out, const struct dmarc_result *r)
{
	bool pass = r->align_spf || r->align_dkim;

	add(out, "pdomain", r->used_domain);
	add_number(out, "policy",
		   pass               ? 15
		   : r->policy == 'r' ? 16
		   : r->policy == 'q' ? 17
		   : r->policy == 'n' ? 18
				      : 14);
	add_addresses(out, r->record.rua);
	add_number(out, "pct", r->record.pct);
	add_number(out, "adkim", (unsigned char)r->record.adkim);
	add_number(out, "aspf", (unsigned char)r->record.aspf);
	add_number(out, "p", (unsigned char)r->record.p);
	add_number(out, "sp", (unsigned char)r->record.sp);
	add_number(out, "align_dkim", r->align_dkim ? 4 : 5);
	add_number(out, "align_spf", r->align_spf ? 4 : 5);
	add_number(out, "action",
		   r->status == DMARC_REJECT       ? 0
		   : r->status == DMARC_QUARANTINE ? 4
		   : r->status == DMARC_TEMPERROR  ? 3
						   : 2);
}

/* Where the message had come from when the set was made, as it says: "" or an address that is one. */
static struct slice set_ip(const struct message *message, const struct arc_set *set, char *text)
{
	const struct mailauth *auth = message->extra[MAILAUTH_EXTRA];
	uint32_t number = set->fields[ARC_AAR], len = 0;
	struct slice field, name = SLICE("smtp.remote-ip=");
	struct ip_addr ip;
	ptrdiff_t at;

	if (number >= auth->field_count)
		return SLICE_EMPTY;
	field = auth->fields[number];
	at = slice_search(field, name);
	if (at < 0)
		return SLICE_EMPTY;
	field = slice_from(field, (size_t)at + name.len);
	if (field.len && *field.ptr == '"')
		field = slice_from(field, 1);
	while (len < field.len &&
	       (hex_digit(field.ptr[len]) >= 0 || field.ptr[len] == '.' || field.ptr[len] == ':'))
		len++;
	return ip_parse(slice_sub(field, 0, len), &ip) ? ip_format(&ip, text) : SLICE_EMPTY;
}

/* The oldest first. Domains and selectors were checked to be such: nothing in them ends a string. */
static void add_arc(struct str *out, const struct scope *sc)
{
	const struct arc_state *state = arc_state_of(sc->message);
	struct arc_result arc;

	if (!arc_result_get(sc->message, &arc) || !arc.count) {
		str_addz(out, "arc 6\narc_policy 1 json:[]\n");
		return;
	}
	str_printf(out, "arc %u\narc_policy %d json:[", auth_number(arc.result),
		   arc.result == MAILAUTH_PASS ? 0 : 2);
	for (unsigned i = 1, listed = 0; i <= arc.count; i++) {
		const struct arc_set *set = state->sets[i];
		char ip[IP_TEXT_MAX];

		if (!set || !set->seal.domain.len || !set->seal.selector.len)
			continue;
		str_printf(out, "%s{\"i\":%u,\"d\":\"%.*s\",\"s\":\"%.*s\",\"ip\":\"%.*s\"}",
			   listed++ ? "," : "", i, SLICE_ARG(set->seal.domain), SLICE_ARG(set->seal.selector),
			   SLICE_ARG(set_ip(sc->message, set, ip)));
	}
	str_addz(out, "]\n");
}

static void make_block(struct str *out, const struct scope *sc, const struct dmarc_state *state)
{
	char ip[IP_TEXT_MAX];
	struct slice sender = scope_sender(sc);
	ptrdiff_t at = slice_rfind(sender, '@');

	add(out, "job", slice_of(sc->message->id.text));
	add(out, "reporter", conf_main(sc->conf)->primary_hostname);
	add_number(out, "received", shard_wall(sc->task->shard) / NS_PER_S);
	add(out, "ipaddr", ip_format(&sc->client->ip, ip));
	add(out, "from", state->result.from);
	add(out, "mfrom", at >= 0 ? slice_from(sender, (size_t)at + 1) : state->spf_domain);
	if (state->spf != MAILAUTH_UNKNOWN)
		add_number(out, "spf", auth_number(state->spf));
	add_dkim(out, state);
	add_policy(out, &state->result);
	add_arc(out, sc);
}

enum rc dmarc_history_write(struct scope *sc, const struct dmarc_state *state, struct err *err)
{
	struct str out = str_make(sc->task->arena);
	struct slice path = SLICE_EMPTY;
	const char *name;
	struct iovec iov;
	int fd;
	enum rc rc = expand_option(sc, mailauth_options(sc->conf)->dmarc_history_file, &path, err);

	if (rc == OK && !path.len)
		return OK;
	if (rc == OK && path.taint)
		rc = err_set(err, FAIL, "Tainted '%.*s' (file name for dmarc_history_file) not permitted",
			     SLICE_ARG(path));
	name = rc == OK ? arena_cstr(sc->task->arena, path) : NULL;
	make_block(&out, sc, state);
	if (rc == OK && (!name || out.failed))
		rc = err_memory(err);
	if (rc == OK)
		rc = file_open(sc->task, name, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0640, &fd, err);
	if (rc == OK) {
		iov = (struct iovec){(void *)(uintptr_t)out.ptr, out.len};
		rc = file_writev(sc->task, fd, &iov, 1, UINT64_MAX, err);
		(void)close(fd);
	}
	if (rc != OK && rc != CANCELLED)
		log_printf(sc->task->shard, sc->conf, LOG_TO_MAIN | LOG_TO_PANIC, &sc->message->id,
			   "DMARC: cannot write to the history file: %.*s", SLICE_ARG(err->text));
	return rc;
}
