/* arc_parse: ARC sets (RFC 8617 section 4) collected from the header as it arrived. */
#include "arc.h"
#include "scan.h"

struct arc_state *arc_state_of(const struct message *message)
{
	const struct mailauth *auth = message ? message->extra[MAILAUTH_EXTRA] : NULL;

	return auth ? auth->arc : NULL;
}

static const struct slice names[] = {[ARC_AAR] = SLICE_INIT("arc-authentication-results"),
				     [ARC_AMS] = SLICE_INIT("arc-message-signature"),
				     [ARC_AS] = SLICE_INIT("arc-seal")};

enum arc_kind arc_kind_of(struct slice field)
{
	struct slice name;

	/* Most fields have another letter or no hyphen there. */
	if (field.len < 4 || (field.ptr[0] | 0x20) != 'a' || field.ptr[3] != '-')
		return ARC_KINDS;
	name = field_name_of(field);
	for (unsigned kind = 0; kind < ARC_KINDS; kind++)
		if (slice_eq_nocase(name, names[kind]))
			return kind;
	return ARC_KINDS;
}

static struct slice value_of(struct slice field)
{
	struct slice value = slice_from(field, (size_t)scan_colon(field.ptr, field.len) + 1);

	while (value.len && (value.ptr[value.len - 1] == '\n' || value.ptr[value.len - 1] == '\r'))
		value.len--;
	return value;
}

static bool instance_number(struct slice value, unsigned *ret)
{
	uint64_t number;

	if (!value.ptr || !tag_number(value, 2, &number) || number < 1 || number > ARC_INSTANCE_MAX)
		return false;
	*ret = (unsigned)number;
	return true;
}

/* "i=1;" in front of what is otherwise no list of tags (section 4.1.1), comments around each part. */
static bool results_instance(struct slice value, unsigned *ret)
{
	uint32_t digits = 0;

	if (!authres_skip(&value) || !value.len || value.ptr[0] != 'i')
		return false;
	value = slice_from(value, 1);
	if (!authres_skip(&value) || !value.len || value.ptr[0] != '=')
		return false;
	value = slice_from(value, 1);
	if (!authres_skip(&value))
		return false;
	while (digits < value.len && ascii_is_digit(value.ptr[digits]))
		digits++;
	if (!instance_number(slice_sub(value, 0, digits), ret))
		return false;
	value = slice_from(value, digits);
	return authres_skip(&value) && value.len && value.ptr[0] == ';';
}

bool arc_instance_of(struct slice field, enum arc_kind kind, unsigned *ret)
{
	struct err why = err_make(NULL);
	struct tag_list list;

	if (kind == ARC_AAR)
		return results_instance(value_of(field), ret);
	return tag_list_parse(value_of(field), &list, &why) == OK &&
	       instance_number(tag_value(&list, "i"), ret);
}

static bool seal_algorithm(struct slice value, enum dkim_key_type *ret)
{
	*ret = value.ptr && slice_eq(value, SLICE("ed25519-sha256")) ? KEY_ED25519 : KEY_RSA;
	return value.ptr && (*ret == KEY_ED25519 || slice_eq(value, SLICE("rsa-sha256")));
}

/* Section 4.1.3. What is wrong with it matters when the seal is verified. false: no memory. */
static bool parse_seal(struct arena *arena, const struct tag_list *list, uint32_t front,
		       struct arc_seal *seal)
{
	const struct tag *b;
	struct slice t;
	uint64_t time;

	*seal = (struct arc_seal){.domain = SLICE_EMPTY,
				  .selector = SLICE_EMPTY,
				  .cv = SLICE_EMPTY,
				  .signature = SLICE_EMPTY,
				  .algorithm = SLICE_EMPTY,
				  .bad = true};
	if (tag_find(list, "d") && tag_is_domain(tag_value(list, "d"), 2, false))
		seal->domain = tag_value(list, "d");
	if (tag_find(list, "s") && tag_is_domain(tag_value(list, "s"), 1, true))
		seal->selector = tag_value(list, "s");
	if (tag_find(list, "cv"))
		seal->cv = tag_value(list, "cv");
	if (tag_find(list, "a"))
		seal->algorithm = tag_value(list, "a");
	b = tag_find(list, "b");
	t = tag_value(list, "t");
	/* "h" makes it invalid by decree: nobody shall think that a seal covers what it does not. */
	if (!b || !seal->domain.len || !seal->selector.len || !seal->cv.len || tag_find(list, "h") ||
	    !seal_algorithm(tag_value(list, "a"), &seal->key_type) || (t.ptr && !tag_number(t, 12, &time)))
		return true;
	seal->b_start = b->start + front;
	seal->b_end = b->end + front;
	if (!tag_base64(arena, b->value, DKIM_SIGNATURE_MAX, &seal->signature))
		return seal->signature.ptr;
	seal->bad = false;
	return true;
}

static void set_broken(struct arc_state *arc, struct slice reason)
{
	arc->collected_bad = true;
	arc->reason = reason.ptr ? reason : SLICE("collecting headers");
}

static struct arc_set *set_of(struct arena *arena, struct arc_state *arc, unsigned instance)
{
	struct arc_set *set = arc->sets[instance];

	if (set)
		return set;
	set = arc->sets[instance] = arena_make(arena, struct arc_set);
	for (unsigned which = 0; set && which < ARC_KINDS; which++)
		set->fields[which] = UINT32_MAX;
	return set;
}

static enum rc parse_message(struct arena *arena, struct dkim_state *dkim, struct slice field,
			     const struct tag_list *list, uint32_t front, struct arc_set *set,
			     struct err *err)
{
	struct dkim_signature *s = set->message = arena_make(arena, struct dkim_signature);
	enum rc rc;

	if (!s)
		return err_memory(err);
	rc = dkim_signature_read(arena, field, list, front, true, s, err);
	s->field = set->fields[ARC_AMS];
	if (rc == OK) {
		s->body = body_hashes_want(arena, &dkim->body, s->body_relaxed, s->hash_kind,
					   s->has_length ? s->length : UINT64_MAX);
		if (!s->body)
			s->reason = REASON_WORK;
	}
	return rc == DEFER ? DEFER : OK;
}

static enum rc collect(struct arena *arena, struct dkim_state *dkim, struct arc_state *arc, uint32_t number,
		       struct slice field, enum arc_kind kind, struct err *err)
{
	struct slice value = value_of(field);
	uint32_t front = (uint32_t)(value.ptr - field.ptr);
	struct err why = err_make(NULL);
	struct tag_list list;
	struct arc_set *set;
	unsigned instance;

	/* Each field is taken apart once. */
	if (kind == ARC_AAR ? !results_instance(value, &instance)
			    : tag_list_parse(value, &list, &why) != OK ||
				  !instance_number(tag_value(&list, "i"), &instance)) {
		set_broken(arc, arena_printf(arena, "collecting headers: %.*s without a good i=",
					     SLICE_ARG(names[kind])));
		return OK;
	}
	set = set_of(arena, arc, instance);
	if (!set)
		return err_memory(err);
	if (set->fields[kind] != UINT32_MAX) {
		set_broken(arc, arena_printf(arena, "collecting headers: two of %.*s with i=%u",
					     SLICE_ARG(names[kind]), instance));
		return OK;
	}
	set->fields[kind] = number;
	if (instance > arc->count)
		arc->count = instance;
	if (kind == ARC_AS && !parse_seal(arena, &list, front, &set->seal))
		return err_memory(err);
	return kind == ARC_AMS ? parse_message(arena, dkim, field, &list, front, set, err) : OK;
}

static struct arc_state *state_make(struct arena *arena)
{
	struct arc_state *arc = arena_make(arena, struct arc_state);

	if (!arc)
		return NULL;
	arc->reason = arc->domains = SLICE_EMPTY;
	arc->sets = arena_array(arena, struct arc_set *, ARC_INSTANCE_MAX + 1);
	return arc->sets ? arc : NULL;
}

enum rc arc_header_done(struct message *message, struct dkim_state *dkim, struct err *err)
{
	struct mailauth *auth = message->extra[MAILAUTH_EXTRA];
	unsigned fields = 0;

	for (uint32_t i = 0; i < auth->field_count; i++) {
		enum arc_kind kind = arc_kind_of(auth->fields[i]);
		enum rc rc;

		if (kind == ARC_KINDS)
			continue;
		if (!auth->arc && !(auth->arc = state_make(&message->arena)))
			return err_memory(err);
		if (++fields > ARC_FIELDS_MAX) {
			set_broken(auth->arc, SLICE("collecting headers: too many"));
			break;
		}
		rc = collect(&message->arena, dkim, auth->arc, i, auth->fields[i], kind, err);
		if (rc != OK)
			return rc;
	}
	return OK;
}
