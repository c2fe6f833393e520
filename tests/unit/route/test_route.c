/* Routers, driven by a configuration: what becomes of each address. The expectations are what Exim's -bt and -bv say of the
 * same file, but for the rows marked as ours. */
#define HARNESS_MATCH
#include "route/route.h"

/* Transports are known here by their drivers' names only. */
static const struct conf_driver smtp_driver = {.name = "smtp", .size = sizeof(struct conf_instance)};
static const struct conf_driver file_driver = {.name = "appendfile", .size = sizeof(struct conf_instance)};
static const struct conf_driver *const transport_drivers[] = {&smtp_driver, &file_driver, NULL};
static const struct conf_section transports = {.id = CONF_SECTION_TRANSPORTS,
					       .name = "transports",
					       .drivers = transport_drivers,
					       .head_size = sizeof(struct conf_instance)};

#define HARNESS_MORE_VARIABLES &route_variables,
#define HARNESS_MORE_GROUPS    &route_conf_group,
#define HARNESS_SECTIONS       &route_conf_section, &transports,
#include "../lookup/harness.h"
#include "../match/zone.h"

static const struct zone_record records[] = {
    {"two.mx", DNS_MX, "20 b.host"},
    {"two.mx", DNS_MX, "10 a.host"},
    {"a.host", DNS_A, "198.51.100.1"},
    {"a.host", DNS_AAAA, "2001:db8::1"},
    {"b.host", DNS_A, "198.51.100.2"},
    {"only.a", DNS_A, "198.51.100.3"},
    {"null.mx", DNS_MX, "0 ."},
    {"dead.mx", DNS_MX, "10 nowhere.host"},
    {"fail.mx", DNS_MX, "SERVFAIL"},
    {"self.mx", DNS_MX, "10 me.host"},
    {"self.mx", DNS_MX, "20 b.host"},
    {"me.host", DNS_A, "127.0.0.1"},
    {"second.mx", DNS_MX, "10 a.host"},
    {"second.mx", DNS_MX, "20 me.host"},
    {"second.mx", DNS_MX, "30 b.host"},
    {"ip.mx", DNS_MX, "10 198.51.100.9"},
    {"ignored.mx", DNS_MX, "10 bad.host"},
    {"bad.host", DNS_A, "198.51.100.66"},
    {"_smtp._tcp.srv.mx", DNS_SRV, "1 0 2525 a.host"},
    {"srv.mx", DNS_MX, "10 b.host"},
    {"short.wide.mx", DNS_MX, "10 b.host"},
    {"solo.one.end", DNS_MX, "10 b.host"},
    {"both.one.end", DNS_A, "198.51.100.11"},
    {"both.two.end", DNS_A, "198.51.100.12"},
    {"both", DNS_A, "198.51.100.10"},
    {"second.two.end", DNS_A, "198.51.100.12"},
    {"deep.er.two.end", DNS_A, "198.51.100.12"},
    {"only.a.one.end", DNS_A, "198.51.100.11"},
};
static struct zone zone;

#define CONF                                                                                      \
	"primary_hostname = me.example\nqualify_domain = me.example\nhost_lookup_order = bydns\n" \
	"percent_hack_domains = hack.example\nbegin routers\n"

#define TRANSPORTS \
	"begin transports\nremote:\n driver = smtp\nlocal:\n driver = appendfile\nother:\n driver = appendfile\n"

struct expected {
	const char *address;
	const char *result; /* see describe() */
	enum route_mode mode;
};

static void add_hosts(struct str *out, const struct address *address)
{
	for (const struct host_item *h = address->hosts ? address->hosts->first : NULL; h; h = h->next) {
		str_addc(out, ' ');
		str_add(out, h->name);
		if (h->ip.family) {
			str_addc(out, '[');
			str_add_ip(out, &h->ip);
			str_addc(out, ']');
		}
		if (h->port)
			str_printf(out, ":%u", h->port);
	}
}

static void add_address(struct str *out, const struct address *address)
{
	str_add(out, address->full);
	if (address->transport) {
		str_addz(out, " T=");
		str_add(out, ((const struct conf_instance *)address->transport)->name);
	}
	add_hosts(out, address);
}

/* "accept R=router T=transport host[ip]", "children: a@b; c@d T=local", "fail text"... */
static struct slice describe(struct harness *h, enum route_result result, const struct address *address,
			     const struct route_output *out)
{
	static const char *const names[] = {"accept", "decline",   "pass",    "fail",
					    "defer",  "children:", "discard", "freeze"};
	struct str text = str_make(&h->arena);

	str_addz(&text, names[result]);
	if (result == ROUTE_ACCEPT) {
		str_printf(&text, " R=%.*s", SLICE_ARG(address->router->instance.name));
		if (address->transport)
			str_printf(&text, " T=%.*s",
				   SLICE_ARG(((const struct conf_instance *)address->transport)->name));
		add_hosts(&text, address);
		if (address->local_part.len && !slice_starts(address->full, address->local_part))
			str_printf(&text, " L=%.*s", SLICE_ARG(address->local_part));
		if (address->errors_to.ptr)
			str_printf(&text, " E=<%.*s>", SLICE_ARG(address->errors_to));
		if (address->address_data.len)
			str_printf(&text, " D=%.*s", SLICE_ARG(address->address_data));
		LIST_EACH (l, &address->headers_add.list)
			str_printf(&text, " +%.*s",
				   SLICE_ARG(slice_trim(LIST_ITEM(l, struct header, link)->text)));
		if (address->headers_remove.len)
			str_printf(&text, " -%.*s", SLICE_ARG(address->headers_remove));
	}
	LIST_EACH (l, &out->children) {
		str_addc(&text, ' ');
		add_address(&text, LIST_ITEM(l, struct address, link));
		if (l->next != &out->children)
			str_addc(&text, ';');
	}
	if (out->message.len)
		str_printf(&text, " %.*s", SLICE_ARG(out->message));
	if (out->user_message.ptr && out->user_message.len && !slice_eq(out->user_message, out->message))
		str_printf(&text, " (%.*s)", SLICE_ARG(out->user_message));
	return str_slice(&text);
}

static void check(struct harness *h, const struct expected *rows, size_t count)
{
	struct dns_options dns = {
	    .servers = zone.address, .timeout_ms = 1000, .tries = 1, .edns0 = -1, .dnssec_ok = -1};

	dns_configure(h->task.shard, &dns);
	for (size_t i = 0; i < count; i++) {
		struct address *address = address_new(&h->arena, slice_tainted(slice_of(rows[i].address)));
		struct err err = err_make(&h->err_arena);
		struct route_output out;
		enum route_result result;

		h->scope.sender = SLICE("sender@s.example");
		result = route_address(&h->scope, address, rows[i].mode, &out, &err);
		struct slice got = describe(h, result, address, &out), want = with_dir(h, rows[i].result);
		bool same = slice_ends(want, SLICE("*")) ? slice_starts(got, slice_sub(want, 0, want.len - 1))
							 : slice_eq(got, want);
		if (!same) {
			print_error("%s\n\tgives \"%.*s\"\n\twants \"%.*s\"\n", rows[i].address,
				    SLICE_ARG(got), SLICE_ARG(want));
			h->wrong++;
		}
	}
	route_done(h->task.shard);
}

/* ---- dnslookup, ipliteral ---------------------------------------------------------------------------------- */

#define DNS_CONF                                                                                                           \
	CONF                                                                                                               \
	    "lit:\n driver = ipliteral\n transport = remote\n"                                                             \
	    "wide:\n driver = dnslookup\n domains = short\n widen_domains = none.mx : wide.mx\n transport = remote\n"      \
	    "secondary:\n driver = dnslookup\n domains = second.mx\n check_secondary_mx\n transport = remote\n"            \
	    "srv:\n driver = dnslookup\n domains = srv.mx\n check_srv = smtp\n transport = remote\n"                       \
	    "must:\n driver = dnslookup\n domains = only.a\n local_parts = must\n mx_domains = only.a\n"                   \
	    " cannot_route_message = no MX here\n transport = remote\n no_more\n"                                          \
	    "dns:\n driver = dnslookup\n domains = ! *.local\n transport = remote\n ignore_target_hosts = 198.51.100.66\n" \
	    " self = pass\n no_more\n"                                                                                     \
	    "last:\n driver = accept\n transport = local\n" TRANSPORTS

static void dns_rows(struct harness *h)
{
	static const struct expected rows[] = {
	    {"x@two.mx",
	     "accept R=dns T=remote a.host[2001:db8::1] a.host[198.51.100.1] b.host[198.51.100.2]", 0},
	    {"x@only.a", "accept R=dns T=remote only.a[198.51.100.3]", 0},
	    {"must@only.a", "fail no MX here", 0},
	    {"x@null.mx", "fail an MX or SRV record indicated no SMTP service", 0},
	    {"x@dead.mx", "fail all relevant MX records point to non-existent hosts", 0},
	    {"x@nowhere.example", "fail Unrouteable address", 0},
	    {"x@fail.mx", "defer host lookup for fail.mx did not complete: *", 0},
	    {"x@self.mx", "accept R=last T=local", 0},
	    {"x@second.mx", "accept R=secondary T=remote a.host[2001:db8::1] a.host[198.51.100.1]", 0},
	    {"x@ip.mx", "fail all relevant MX records point to non-existent hosts", 0},
	    {"x@ignored.mx", "fail all relevant MX records point to non-existent hosts", 0},
	    {"x@srv.mx", "accept R=srv T=remote a.host[2001:db8::1]:2525 a.host[198.51.100.1]:2525", 0},
	    {"x@short", "children: x@short.wide.mx", 0},
	    {"x@[198.51.100.77]", "accept R=lit T=remote [198.51.100.77][198.51.100.77]", 0},
	    {"x@[ipv6:2001:db8::7]", "accept R=lit T=remote [ipv6:2001:db8::7][2001:db8::7]", 0},
	    {"x@[127.0.0.1]", "freeze remote host address is the local host", 0},
	    {"x@foo.local", "accept R=last T=local", 0},
	};

	check(h, rows, ARRAY_COUNT(rows));
}

static void test_dns(void **state)
{
	(void)state;
	harness_run(DNS_CONF, NULL, dns_rows);
}

/* ---- The endings of resolv.conf ---------------------------------------------------------------------------- */

#define ENDINGS_CONF                                                                                           \
	CONF                                                                                                   \
	    "no:\n driver = dnslookup\n local_parts = no\n no_qualify_single\n transport = remote\n no_more\n" \
	    "all:\n driver = dnslookup\n local_parts = all\n search_parents\n transport = remote\n no_more\n"  \
	    "one:\n driver = dnslookup\n transport = remote\n no_more\n" TRANSPORTS

static void ending_rows(struct harness *h)
{
	static const struct expected rows[] = {
	    {"x@solo", "children: x@solo.one.end", 0},
	    {"no@solo", "fail Unrouteable address", 0},
	    {"x@both", "children: x@both.one.end",
	     0}, /* a name without a dot is not looked up as it is at first */
	    {"no@both", "accept R=no T=remote both[198.51.100.10]", 0},
	    {"x@second", "fail Unrouteable address", 0}, /* the first ending only */
	    {"all@second", "children: all@second.two.end", 0},
	    {"x@deep.er", "fail Unrouteable address", 0},
	    {"all@deep.er", "children: all@deep.er.two.end", 0},
	    {"all@only.a", "accept R=all T=remote only.a[198.51.100.3]", 0}, /* as it is at first */
	    {"x@fail.mx", "defer host lookup for fail.mx did not complete: *", 0},
	};

	check(h, rows, ARRAY_COUNT(rows));
}

static void test_endings(void **state)
{
	(void)state;
	assert_int_equal(setenv("LOCALDOMAIN", "one.end two.end", 1), 0);
	harness_run(ENDINGS_CONF, NULL, ending_rows);
	unsetenv("LOCALDOMAIN");
}

/* ---- manualroute -------------------------------------------------------------------------------------------- */

#define MANUAL_CONF                                                                                                            \
	CONF                                                                                                                   \
	    "list:\n driver = manualroute\n transport = remote\n"                                                              \
	    " route_list = one.example 198.51.100.5 ; two.example \"<+ 198.51.100.5:2525 + [2001:db8::9]:26 + b.host\" ; \\\n" \
	    "  ^re(\\d+)\\.example$ 198.51.100.$1 ; mx.example two.mx/MX::2500 ; tr.example some.where other ; \\\n"           \
	    "  me.example 127.0.0.1 ; cut.example 198.51.100.5:127.0.0.1:198.51.100.6 ; gone.example nowhere.host ; "          \
	    " file.example lsearch;;@D/never\n"                                                                                \
	    "data:\n driver = manualroute\n domains = *.data.example\n transport = remote\n self = fail\n"                     \
	    " host_find_failed = decline\n"                                                                                    \
	    " route_data = ${if eq{$domain}{bad.data.example}{nowhere.host}{${if eq{$domain}{own.data.example}{127.0.0.1}"     \
	    "{${if eq{$domain}{ok.data.example}{\"<+ 198.51.100.8:27 + b.host\"}{}}}}}}\n"                                     \
	    "keep:\n driver = manualroute\n domains = local.example\n transport = local\n route_list = * a:b\n"                \
	    "last:\n driver = accept\n transport = local\n" TRANSPORTS

static void manual_rows(struct harness *h)
{
	static const struct expected rows[] = {
	    {"x@one.example", "accept R=list T=remote 198.51.100.5[198.51.100.5]", 0},
	    {"x@two.example",
	     "accept R=list T=remote 198.51.100.5[198.51.100.5]:2525 2001:db8::9[2001:db8::9]:26 b.host[198.51.100.2]",
	     0},
	    {"x@re17.example", "accept R=list T=remote 198.51.100.17[198.51.100.17]", 0},
	    {"x@mx.example",
	     "accept R=list T=remote a.host[2001:db8::1]:2500 a.host[198.51.100.1]:2500 b.host[198.51.100.2]:2500",
	     0},
	    {"x@tr.example", "accept R=list T=other some.where", 0},
	    {"x@me.example", "freeze remote host address is the local host", 0},
	    {"x@cut.example", "accept R=list T=remote 198.51.100.5[198.51.100.5]", 0},
	    {"x@gone.example", "freeze lookup of host \"nowhere.host\" failed in list router", 0},
	    {"x@bad.data.example", "accept R=last T=local", 0},
	    {"x@own.data.example", "fail remote host address is the local host", 0},
	    {"x@ok.data.example", "accept R=data T=remote 198.51.100.8[198.51.100.8]:27 b.host[198.51.100.2]",
	     0},
	    {"x@no.data.example", "accept R=last T=local", 0},
	    {"x@local.example", "accept R=keep T=local a:b", 0},
	    {"x%two.mx@hack.example", "children: x@two.mx", 0},
	};

	check(h, rows, ARRAY_COUNT(rows));
}

static void manual_files(struct harness *h)
{
	text_make(h, "never", "x: y\n");
}

static void test_manual(void **state)
{
	(void)state;
	harness_run(MANUAL_CONF, manual_files, manual_rows);
}

/* ---- redirect ----------------------------------------------------------------------------------------------------- */

#define REDIRECT_CONF                                                                                                          \
	CONF                                                                                                                   \
	    "aliases:\n driver = redirect\n domains = me.example\n data = ${lookup{$local_part}lsearch{@D/aliases}}\n"         \
	    " file_transport = local\n directory_transport = other\n pipe_transport = local\n allow_fail\n allow_defer\n"      \
	    "skip:\n driver = redirect\n domains = skip.example\n data = ${lookup{$local_part}lsearch{@D/aliases}}\n"          \
	    " skip_syntax_errors\n"                                                                                            \
	    "forbid:\n driver = redirect\n domains = forbid.example\n data = ${lookup{$local_part}lsearch{@D/aliases}}\n"      \
	    " forbid_file\n forbid_pipe\n forbid_include\n forbid_blackhole\n qualify_domain = q.example\n"                    \
	    "file:\n driver = redirect\n domains = file.example\n file = @D/forward.${lookup{$local_part}lsearch{@D/names}}\n" \
	    " qualify_preserve_domain\n modemask = 02\n"                                                                       \
	    "ancestor:\n driver = redirect\n domains = me.example\n local_parts = loop\n data = loop2\n check_ancestor\n"      \
	    "seen:\n driver = accept\n domains = seen.example\n transport = other\n unseen\n"                                  \
	    "last:\n driver = accept\n transport = local\n" TRANSPORTS

static void redirect_files(struct harness *h)
{
	text_make(
	    h, "aliases",
	    "one: a@b.example\nmany: a@b.example, c@d.example, \"quoted local\"@e.example,Joe <joe@f.example> (comment)\n"
	    "bare: someone\nback: \\someone\nself: self\nfile: /var/mail/x\ndir: /var/mail/x/\n"
	    "pipe: \"|/bin/cat -n, more\"\nnull: /dev/null\nnullplus: /dev/null, a@b.example\nhole: :blackhole:\n"
	    "holeplus: a@b.example, :blackhole:\nfail: :fail: gone away\nfailcode: :fail: 551 5.1.6 moved, to elsewhere\n"
	    "failwrong: :fail: 451 4.1.6 moved\ndefer: :defer: later\nunknown: :unknown:\nempty:\n"
	    "include: :include:@D/list, z@z.example\nbadinclude: :include:@D/none\nloopinclude: :include:@D/self\n"
	    "bad: a@b.example, <broken\nhash: a@b.example, # the rest is a comment\n");
	/* The names in it must be absolute. */
	char path[200], line[600];
	FILE *f;

	snprintf(path, sizeof(path), "%s/aliases", h->dir);
	f = fopen(path, "a");
	assert_non_null(f);
	snprintf(line, sizeof(line),
		 "inc: :include:%s/list, z@z.example\nincloop: :include:%s/self\nincnone: :include:%s/none\n",
		 h->dir, h->dir, h->dir);
	assert_int_equal(fwrite(line, 1, strlen(line), f), strlen(line));
	assert_int_equal(fclose(f), 0);
	text_make(h, "list", "# a comment\na@b.example\n\nc@d.example, # another\ne@f.example\n");
	snprintf(line, sizeof(line), ":include:%s/self\n", h->dir);
	text_make(h, "self", line);
	text_make(h, "names",
		  "ok: ok\nfilter: filter\nsieve: sieve\ncomments: comments\nwide: wide\nno: no\n");
	text_make(h, "forward.ok", "one\ntwo@x.example\n");
	text_make(h, "forward.filter", "# Exim filter\ndeliver x\n");
	text_make(h, "forward.sieve", "#Sieve filter\nkeep;\n");
	text_make(h, "forward.comments", "# nothing\n\n");
	text_make(h, "forward.wide", "one\n");
	snprintf(path, sizeof(path), "chmod 0666 %s/forward.wide", h->dir);
	assert_int_equal(system(path), 0);
}

static void redirect_rows(struct harness *h)
{
	static const struct expected rows[] = {
	    {"one@me.example", "children: a@b.example", 0},
	    {"ONE@Me.Example", "children: a@b.example", 0},
	    {"many@me.example",
	     "children: a@b.example; c@d.example; \"quoted local\"@e.example; joe@f.example", 0},
	    {"bare@me.example", "children: someone@me.example", 0},
	    {"self@me.example", "children: self@me.example", 0},
	    {"file@me.example", "children: /var/mail/x T=local", 0},
	    {"dir@me.example", "children: /var/mail/x/ T=other", 0},
	    {"pipe@me.example", "children: |/bin/cat -n, more T=local", 0},
	    {"null@me.example", "discard", 0},
	    {"nullplus@me.example", "children: a@b.example", 0},
	    {"hole@me.example", "discard", 0},
	    {"holeplus@me.example", "discard", 0},
	    {"fail@me.example", "fail gone away", 0},
	    {"failcode@me.example", "fail 551 5.1.6 moved, to elsewhere", 0},
	    {"failwrong@me.example", "fail moved", 0},
	    {"defer@me.example", "defer later", 0},
	    {"unknown@me.example", "accept R=last T=local", 0},
	    {"empty@me.example", "accept R=last T=local", 0},
	    {"nobody@me.example", "accept R=last T=local", 0},
	    {"hash@me.example", "children: a@b.example", 0},
	    {"inc@me.example", "children: a@b.example; c@d.example; e@f.example; z@z.example", 0},
	    {"incloop@me.example", "defer error in redirect data: more than 10 files include each other", 0},
	    {"fail@skip.example", "defer error in redirect data: \":fail:\" is not permitted", 0},
	    {"bad@skip.example", "children: a@b.example", 0},
	    {"file@forbid.example", "defer error in redirect data: file \"/var/mail/x\" is not permitted", 0},
	    {"pipe@forbid.example",
	     "defer error in redirect data: pipe \"|/bin/cat -n, more\" is not permitted", 0},
	    {"inc@forbid.example", "defer error in redirect data: included files not permitted", 0},
	    {"hole@forbid.example", "defer error in redirect data: \":blackhole:\" is not permitted", 0},
	    {"bare@forbid.example", "children: someone@q.example", 0},
	    {"back@forbid.example", "children: someone@forbid.example", 0},
	    {"ok@file.example", "children: one@file.example; two@x.example", 0},
	    {"comments@file.example", "accept R=last T=local", 0},
	    {"no@file.example", "accept R=last T=local", 0},
	    {"filter@file.example", "defer error in filter file: filtering not enabled", 0},
	    {"sieve@file.example", "defer error in filter file: filtering not enabled", 0},
	    {"wide@file.example", "defer bad mode (0666) for @D/forward.wide: 02 bit(s) unexpected", 0},
	    {"x@seen.example", "accept R=seen T=other x@seen.example", 0},
	};

	check(h, rows, ARRAY_COUNT(rows));
}

static void test_redirect(void **state)
{
	(void)state;
	harness_run(REDIRECT_CONF, redirect_files, redirect_rows);
}

/* A child that is its own parent passes the router that made it; the chain of a loop ends. */
static void loop_rows(struct harness *h)
{
	struct err err = err_make(&h->err_arena);
	struct route_output out;
	struct address *address = address_new(&h->arena, SLICE("self@me.example")), *child;

	if (route_address(&h->scope, address, ROUTE_DELIVER, &out, &err) != ROUTE_REROUTED)
		h->wrong++;
	child = LIST_ITEM(out.children.next, struct address, link);
	if (route_address(&h->scope, child, ROUTE_DELIVER, &out, &err) != ROUTE_ACCEPT ||
	    !slice_eq(child->router->instance.name, SLICE("last")))
		h->wrong++;
	if (verify_address(&h->scope, SLICE("self@me.example"), false, NULL, &child, &out, &err) != OK)
		h->wrong++;
	if (verify_address(&h->scope, SLICE("fail@me.example"), false, NULL, &child, &out, &err) != FAIL ||
	    !slice_eq(out.user_message, SLICE("gone away")))
		h->wrong++;
	route_done(h->task.shard);
}

static void test_loop(void **state)
{
	(void)state;
	harness_run(REDIRECT_CONF, redirect_files, loop_rows);
}

/* ---- generic options ------------------------------------------------------------------------------------------------ */

#define GENERIC_CONF                                                                                                                   \
	CONF                                                                                                                           \
	    "prefix:\n driver = accept\n local_part_prefix = real- : *+\n local_part_suffix = -x : _*\n"                               \
	    " local_part_suffix_optional\n transport = local\n address_data = $local_part_prefix|$local_part_suffix\n"                 \
	    "user:\n driver = accept\n check_local_user\n domains = users.example\n transport = local\n"                               \
	    " address_data = $home\n"                                                                                                  \
	    "data:\n driver = accept\n domains = data.example\n address_data = ${if !eq{$local_part}{no}{D$local_part}fail}\n"         \
	    " set = r_a = 1 ; r_b = $r_a$local_part\n errors_to = ${if eq{$local_part}{empty}{}{x@unroutable.example}}\n"              \
	    " headers_add = X-A: $local_part\\nX-C: d\n headers_add = X-B: $r_b\n headers_remove = X-R : X-$local_part\n"              \
	    " transport = local\n"                                                                                                     \
	    "case:\n driver = accept\n domains = case.example\n caseful_local_part\n local_parts = +caseful : Joe\n"                   \
	    " transport = local\n"                                                                                                     \
	    "files:\n driver = accept\n domains = files.example\n require_files = @D/there:!@D/${if eq{$local_part}{n}{there}{not}}\n" \
	    " transport = local\n no_more\n"                                                                                           \
	    "senders:\n driver = accept\n domains = senders.example\n senders = *@s.example\n transport = local\n"                     \
	    "cond:\n driver = accept\n domains = cond.example\n condition = yes\n condition = ${if eq{$local_part}{b}{no}{any}}\n"     \
	    " transport = local\n no_more\n"                                                                                           \
	    "broken:\n driver = accept\n domains = broken.example\n condition = ${nosuch}\n transport = local\n"                       \
	    "passing:\n driver = manualroute\n domains = pass.example\n self = pass\n pass_router = target\n no_more\n"                \
	    " route_list = * 127.0.0.1\n transport = remote\n"                                                                         \
	    "verifyonly:\n driver = accept\n domains = v.example\n verify_only\n"                                                      \
	    "noverify:\n driver = accept\n domains = v.example\n no_verify\n transport = local\n"                                      \
	    "forced:\n driver = accept\n domains = forced.example\n fail_verify_sender\n transport = local\n"                          \
	    "dynamic:\n driver = accept\n domains = dyn.example\n transport = ${if eq{$local_part}{o}{other}{nosuch}}\n"               \
	    "target:\n driver = accept\n domains = pass.example : verify.example\n transport = other\n" TRANSPORTS

static void generic_files(struct harness *h)
{
	text_make(h, "there", "x");
}

static void generic_rows(struct harness *h)
{
	static const struct expected rows[] = {
	    {"real-joe@p.example", "accept R=prefix T=local L=joe D=real-|", 0},
	    {"REAL-joe-x@p.example", "accept R=prefix T=local L=joe D=real-|-x", 0},
	    {"a+b+joe_s_t@p.example", "accept R=prefix T=local L=joe D=a+b+|_s_t", 0},
	    {"joe@p.example", "fail Unrouteable address", 0},
	    {"root@users.example", "accept R=user T=local D=/root", 0},
	    {"nosuchuser@users.example", "fail Unrouteable address", 0},
	    {"a/b@users.example", "fail Unrouteable address", 0},
	    {"joe@data.example", "accept R=data T=local D=Djoe +X-A: joe\nX-C: d +X-B: 1joe -X-R:X-joe", 0},
	    {"empty@data.example",
	     "accept R=data T=local E=<> D=Dempty +X-A: empty\nX-C: d +X-B: 1empty -X-R:X-empty", 0},
	    {"no@data.example", "fail Unrouteable address", 0},
	    {"Joe@case.example", "accept R=case T=local L=Joe", 0},
	    {"joe@case.example", "fail Unrouteable address", 0},
	    {"y@files.example", "accept R=files T=local", 0},
	    {"n@files.example", "fail Unrouteable address", 0},
	    {"x@senders.example", "accept R=senders T=local", 0},
	    {"a@cond.example", "accept R=cond T=local", 0},
	    {"b@cond.example", "fail Unrouteable address", 0},
	    {"x@pass.example", "accept R=target T=other", 0},
	    {"x@v.example", "accept R=noverify T=local", ROUTE_DELIVER},
	    {"x@v.example", "accept R=verifyonly", ROUTE_VERIFY_RECIPIENT},
	    {"x@forced.example", "fail forced router forced verify failure", ROUTE_VERIFY_SENDER},
	    {"x@forced.example", "accept R=forced T=local", ROUTE_VERIFY_RECIPIENT},
	    {"o@dyn.example", "accept R=dynamic T=other", 0},
	    {"p@dyn.example", "defer transport \"nosuch\" not found in dynamic router", 0},
	};

	check(h, rows, ARRAY_COUNT(rows));
}

static void test_generic(void **state)
{
	(void)state;
	harness_run(GENERIC_CONF, generic_files, generic_rows);
}

/* ---- what is refused when the file is read ----------------------------------------------------------------------------- */

static void test_refused(void **state)
{
	static const struct {
		const char *text, *says;
	} rows[] = {
	    {"r:\n driver = nosuch\n", "cannot find router driver"},
	    {"r:\n driver = accept\n nosuch = 1\n", "option \"nosuch\" unknown"},
	    {"r:\n driver = redirect\n", "one of \"file\" or \"data\" must be specified"},
	    {"r:\n driver = redirect\n data = x\n file = y\n", "mutually exclusive"},
	    {"r:\n driver = redirect\n data = x\n one_time\n unseen\n", "unseen"},
	    {"r:\n driver = redirect\n data = x\n allow_filter\n", "check_local_user"},
	    {"r:\n driver = manualroute\n transport = remote\n", "route_list or route_data"},
	    {"r:\n driver = manualroute\n transport = remote\n route_list = * a\n host_find_failed = what\n",
	     "host_find_failed"},
	    {"r:\n driver = accept\n transport = nosuch\n", "transport \"nosuch\" not found"},
	    {"r:\n driver = accept\n transport = local\n pass_router = nosuch\n",
	     "not found for \"pass_router\""},
	    {"r:\n driver = accept\n transport = local\n self = what\n", "not valid for the self option"},
	    {"r:\n driver = accept\n transport = local\n fallback_hosts = a::b\n", "malformed port"},
	    {"r:\n driver = queryprogram\n command = /x\n", "command_user must be specified"},
	    {"r:\n driver = queryprogram\n command_user = root\n", "a command specification is required"},
	    {"r:\n driver = iplookup\n hosts = a\n", "a port must be specified"},
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_COUNT(rows); i++) {
		char *text = NULL;

		assert_true(asprintf(&text, "%s%s%s", CONF, rows[i].text, TRANSPORTS) > 0);
		harness_refused(text, rows[i].says);
		free(text);
	}
}

static int start(void **state)
{
	(void)state;
	zone_start(&zone, records, ARRAY_COUNT(records));
	return 0;
}

static int stop(void **state)
{
	(void)state;
	zone_stop(&zone);
	return 0;
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(test_dns),      cmocka_unit_test(test_endings), cmocka_unit_test(test_manual),
	    cmocka_unit_test(test_redirect), cmocka_unit_test(test_loop),    cmocka_unit_test(test_generic),
	    cmocka_unit_test(test_refused),
	};

	return cmocka_run_group_tests(tests, start, stop);
}
