/* mail: operators on addresses, domains, IP addresses and lists. */

#include <stdlib.h>

#include "items.h"
#include "tree.h"

#define ADDRESS_FLAGS \
	(ADDRESS_ALLOW_EMPTY | ADDRESS_ALLOW_UNQUALIFIED | ADDRESS_ALLOW_LITERAL | ADDRESS_ALLOW_UTF8)

/* ---- Addresses --------------------------------------------------------------------------------------------
 */

/* A local part may always be beyond ASCII. A domain may if the message, or the configuration, allows it. */
static bool domain_permitted(const struct scope *sc, struct slice domain)
{
	const struct message_options *options = conf_group(sc->conf, CONF_MESSAGE);

	if ((sc->message && sc->message->smtputf8) || (options && options->allow_utf8_domains))
		return true;
	for (uint32_t i = 0; i < domain.len; i++)
		if ((unsigned char)domain.ptr[i] >= 0x80)
			return false;
	return true;
}

static enum rc address_part(struct scope *sc, struct slice subject, size_t part, struct slice *ret,
			    struct err *err)
{
	struct err ignored = err_make(NULL);
	struct address_parts parts;
	enum rc rc = address_parse(sc->task->arena, subject, ADDRESS_FLAGS, &parts, &ignored);

	if (rc == DEFER)
		return err_memory(err);
	if (rc == OK && domain_permitted(sc, parts.domain))
		*ret = *(struct slice *)((char *)&parts + part);
	else
		*ret = SLICE_EMPTY; /* not an address: so the language has it */
	if (!ret->ptr)
		*ret = SLICE_EMPTY;
	ret->taint |= subject.taint;
	return OK;
}

enum rc op_address(struct scope *sc, struct slice arg, struct slice subject, struct slice *ret,
		   struct err *err)
{
	(void)arg;
	return address_part(sc, subject, offsetof(struct address_parts, full), ret, err);
}

enum rc op_domain(struct scope *sc, struct slice arg, struct slice subject, struct slice *ret,
		  struct err *err)
{
	(void)arg;
	return address_part(sc, subject, offsetof(struct address_parts, domain), ret, err);
}

enum rc op_local_part(struct scope *sc, struct slice arg, struct slice subject, struct slice *ret,
		      struct err *err)
{
	(void)arg;
	return address_part(sc, subject, offsetof(struct address_parts, local_part), ret, err);
}

enum rc op_addresses(struct scope *sc, struct slice arg, struct slice subject, struct slice *ret,
		     struct err *err)
{
	struct str out = str_make(sc->task->arena);
	struct slice rest = slice_ltrim(subject);
	struct address_parts parts;
	char separator = ':';
	unsigned count = 0;
	enum rc rc;

	(void)arg;
	if (rest.len && rest.ptr[0] == '>') {
		if (rest.len == 1)
			return err_set(err, FAIL, "output separator missing in expanding ${addresses:%.*s}",
				       SLICE_ARG(subject));
		separator = rest.ptr[1];
		rest = slice_from(rest, 2);
	}
	out.taint = subject.taint;
	for (;;) {
		struct err skipped = err_make(sc->task->arena);

		rc = address_next(sc->task->arena, &rest, ADDRESS_FLAGS, &parts, &skipped);
		if (rc == DEFER)
			return err_memory(err);
		if (rc == FAIL && skipped.text.len == 0)
			break;
		if (rc == OK && parts.full.len && domain_permitted(sc, parts.domain))
			list_add(&out, &count, separator, parts.full);
	}
	return str_result(&out, ret, err);
}

enum rc op_quote_local_part(struct scope *sc, struct slice arg, struct slice subject, struct slice *ret,
			    struct err *err)
{
	struct str str = str_make(sc->task->arena);
	bool needed = subject.len == 0;

	(void)arg;
	for (uint32_t i = 0; i < subject.len && !needed; i++) {
		char c = subject.ptr[i];

		if (c == '.')
			needed = i == 0 || i + 1 == subject.len;
		else
			needed = !ascii_is_alnum(c) && (!c || !strchr("!#$%&'*+-/=?^_`{|}~", c));
	}
	if (!needed) {
		*ret = subject;
		return OK;
	}
	quoted_add(&str, subject);
	return str_result(&str, ret, err);
}

/* ---- Internationalised names ------------------------------------------------------------------------------
 */

static enum rc alabel(struct scope *sc, struct slice subject, bool to_ascii, struct slice *ret,
		      struct err *err)
{
	enum rc rc = to_ascii ? domain_to_ascii(sc->task->arena, subject, ret, err)
			      : domain_to_utf8(sc->task->arena, subject, ret, err);

	if (rc == OK)
		ret->taint |= subject.taint;
	return rc;
}

enum rc op_domain_to_alabel(struct scope *sc, struct slice arg, struct slice subject, struct slice *ret,
			    struct err *err)
{
	(void)arg;
	return alabel(sc, subject, true, ret, err);
}

enum rc op_domain_from_alabel(struct scope *sc, struct slice arg, struct slice subject, struct slice *ret,
			      struct err *err)
{
	(void)arg;
	return alabel(sc, subject, false, ret, err);
}

/* ---- IP addresses -----------------------------------------------------------------------------------------
 */

/* All 16 bytes, IPv4 as mapped. */
static void ip_bytes(const struct ip_addr *ip, uint8_t *bytes)
{
	memset(bytes, 0, 16);
	if (ip->family == 6) {
		memcpy(bytes, ip->bytes, 16);
		return;
	}
	bytes[10] = bytes[11] = 0xff;
	memcpy(bytes + 12, ip->bytes, 4);
}

static enum rc not_an_ip(struct slice subject, struct err *err)
{
	return err_set(err, FAIL, "\"%.*s\" is not an IP address", SLICE_ARG(subject));
}

/* The longest run of zero groups (the first of equals, even a single one) as "::". Not RFC 5952's text: a
 * mapped address stays in hexadecimal, as users of ${ipv6norm: get it. */
static void groups_write(struct str *str, const uint8_t *bytes)
{
	unsigned best = 8, best_len = 0, run = 0;

	for (unsigned i = 0; i < 8; i++) {
		run = bytes[2 * i] || bytes[2 * i + 1] ? 0 : run + 1;
		if (run > best_len) {
			best_len = run;
			best = i + 1 - run;
		}
	}
	for (unsigned i = 0; i < 8; i++) {
		if (i == best) {
			str_addz(str, i + best_len == 8 ? "::" : ":");
			i += best_len - 1;
			continue;
		}
		str_printf(str, i ? ":%x" : "%x", bytes[2 * i] << 8 | bytes[2 * i + 1]);
	}
}

/* "%eth0" behind an IPv6 address says nothing about the address. */
static bool ip_parse_zone(struct slice text, struct ip_addr *ip_ret)
{
	ptrdiff_t zone = slice_find(text, '%');

	return ip_parse(zone > 0 && slice_find(text, ':') >= 0 ? slice_sub(text, 0, (size_t)zone) : text,
			ip_ret);
}

/* The sixteen bytes of an address (IPv4: mapped), in another form. */
static enum rc ip_rewritten(struct scope *sc, struct slice subject,
			    void (*write)(struct str *str, const uint8_t *bytes), struct slice *ret,
			    struct err *err)
{
	struct str str = str_make(sc->task->arena);
	struct ip_addr ip;
	uint8_t bytes[16];

	if (!ip_parse_zone(subject, &ip))
		return not_an_ip(subject, err);
	ip_bytes(&ip, bytes);
	write(&str, bytes);
	str.taint = subject.taint;
	return str_result(&str, ret, err);
}

enum rc op_ipv6norm(struct scope *sc, struct slice arg, struct slice subject, struct slice *ret,
		    struct err *err)
{
	(void)arg;
	return ip_rewritten(sc, subject, groups_write, ret, err);
}

static void groups_write_full(struct str *str, const uint8_t *bytes, char separator)
{
	for (unsigned i = 0; i < 8; i++) {
		if (i)
			str_addc(str, separator);
		str_printf(str, "%02x%02x", bytes[2 * i], bytes[2 * i + 1]);
	}
}

static void groups_write_colons(struct str *str, const uint8_t *bytes)
{
	groups_write_full(str, bytes, ':');
}

enum rc op_ipv6denorm(struct scope *sc, struct slice arg, struct slice subject, struct slice *ret,
		      struct err *err)
{
	(void)arg;
	return ip_rewritten(sc, subject, groups_write_colons, ret, err);
}

enum rc op_mask(struct scope *sc, struct slice arg, struct slice subject, struct slice *ret, struct err *err)
{
	struct str str = str_make(sc->task->arena);
	ptrdiff_t slash = slice_find(subject, '/');
	struct slice address = slash < 0 ? subject : slice_sub(subject, 0, (size_t)slash);
	struct ip_addr ip;
	uint64_t bits;
	unsigned size;

	if (!ip_parse(address, &ip))
		return not_an_ip(subject, err);
	/* A mapped address that was written as one of IPv6 has a mask of IPv6. */
	if (ip.family == 4 && slice_find(address, ':') >= 0) {
		uint8_t bytes[16];

		ip_bytes(&ip, bytes);
		memcpy(ip.bytes, bytes, sizeof(bytes));
		ip.family = 6;
	}
	if (slash < 0)
		return err_set(err, FAIL, "missing mask value in \"%.*s\"", SLICE_ARG(subject));
	if (!parse_u64(slice_from(subject, (size_t)slash + 1), &bits))
		return not_an_ip(subject, err);
	size = ip.family == 4 ? 4 : 16;
	if (bits > size * 8)
		return err_set(err, FAIL, "mask value too big in \"%.*s\"", SLICE_ARG(subject));
	for (unsigned i = 0; i < size; i++) {
		unsigned keep = bits > 8 * i ? (unsigned)bits - 8 * i : 0;

		if (keep < 8)
			ip.bytes[i] &= (uint8_t)(0xff00 >> keep);
	}
	/* Dots in IPv6: a colon would end the key of an lsearch file. */
	if (ip.family == 4)
		str_add_ip(&str, &ip);
	else if (slice_eq(arg, SLICE("n")))
		groups_write(&str, ip.bytes);
	else
		groups_write_full(&str, ip.bytes, '.');
	str_printf(&str, "/%u", (unsigned)bits);
	str.taint = subject.taint;
	return str_result(&str, ret, err);
}

enum rc op_reverse_ip(struct scope *sc, struct slice arg, struct slice subject, struct slice *ret,
		      struct err *err)
{
	struct str str = str_make(sc->task->arena);
	struct ip_addr ip;
	unsigned bits;

	(void)arg;
	if (!ip_parse_zone(subject, &ip) && !cidr_parse(subject, &ip, &bits))
		return err_set(err, FAIL, "reverse_ip() not given an IP address [%.*s]", SLICE_ARG(subject));
	if (ip.family == 4)
		str_printf(&str, "%u.%u.%u.%u", ip.bytes[3], ip.bytes[2], ip.bytes[1], ip.bytes[0]);
	for (unsigned i = 16; ip.family == 6 && i-- > 0;)
		str_printf(&str, i == 15 ? "%x.%x" : ".%x.%x", ip.bytes[i] & 15, ip.bytes[i] >> 4);
	str.taint = subject.taint;
	return str_result(&str, ret, err);
}

/* ---- Lists ------------------------------------------------------------------------------------------------
 */

enum rc op_listcount(struct scope *sc, struct slice arg, struct slice subject, struct slice *ret,
		     struct err *err)
{
	struct slice item;
	unsigned count = 0;
	char separator = 0;

	(void)arg;
	while (list_next(sc->task->arena, &subject, &separator, &item))
		count++;
	*ret = arena_printf(sc->task->arena, "%u", count);
	return ret->ptr ? OK : err_memory(err);
}

/* Named lists inside are put in their place; so deep, no deeper: lists may name each other. */
#define NAMED_DEPTH_MAX 20

static enum rc named_list_add(struct scope *sc, struct str *out, unsigned *count,
			      const struct conf_named_list *list, unsigned depth, struct err *err)
{
	struct slice rest = list->text, item;
	char separator = 0;
	enum rc rc = OK;

	if (depth > NAMED_DEPTH_MAX)
		return err_set(err, FAIL, "named lists are nested too deeply at \"%.*s\"",
			       SLICE_ARG(list->name));
	while (rc == OK && list_next(sc->task->arena, &rest, &separator, &item)) {
		const struct conf_named_list *inner = NULL;

		if (!item.ptr)
			return err_memory(err);
		if (item.len && item.ptr[0] == '+')
			inner = conf_named_list(sc->conf, list->kind, slice_from(item, 1));
		if (inner) {
			rc = named_list_add(sc, out, count, inner, depth + 1, err);
			continue;
		}
		if (*count)
			str_addz(out, " : ");
		(*count)++;
		for (uint32_t i = 0; i < item.len; i++) {
			if (item.ptr[i] == ':')
				str_addc(out, ':');
			str_addc(out, item.ptr[i]);
		}
	}
	return rc;
}

enum rc op_listnamed(struct scope *sc, struct slice arg, struct slice subject, struct slice *ret,
		     struct err *err)
{
	static const struct {
		char letter;
		enum conf_list_kind kind;
		const char *name;
	} kinds[] = {{'a', LIST_ADDRESS, "address "},
		     {'d', LIST_DOMAIN, "domain "},
		     {'h', LIST_HOST, "host "},
		     {'l', LIST_LOCAL_PART, "localpart "}};
	const struct conf_named_list *list = NULL;
	struct str out = str_make(sc->task->arena);
	const char *of = "";
	unsigned count = 0;
	enum rc rc;

	if (arg.len > 1 || (arg.len && !memchr("adhl", arg.ptr[0], 4)))
		return err_set(err, FAIL, "bad suffix on \"list\" operator");
	if (subject.len && subject.ptr[0] == '+')
		subject = slice_from(subject, 1);
	for (unsigned i = 0; i < 4 && !list; i++) {
		if (arg.len && arg.ptr[0] != kinds[i].letter)
			continue;
		list = conf_named_list(sc->conf, kinds[i].kind, subject);
		of = arg.len ? kinds[i].name : "";
	}
	if (!list)
		return err_set(err, FAIL, "\"%.*s\" is not a %s%snamed list", SLICE_ARG(subject), of, "");
	rc = named_list_add(sc, &out, &count, list, 0, err);
	return rc == OK ? str_result(&out, ret, err) : rc;
}
