/* Good and bad files: each error's whole text with its line. */

#include "conf_test.h"

#define LINE(n, text) "configuration error in line " #n " of @/f:\n  " text

static const struct {
	const char *text, *error;
} bad[] = {
    /* names */
    {"foo = 1", LINE(1, "main option \"foo\" unknown")},
    {"\n# c\nqualify_domian = a",
     LINE(3, "main option \"qualify_domian\" unknown; did you mean \"qualify_domain\"?")},
    {"qualify_domain = a\nqualify_domain = b", LINE(2, "\"qualify_domain\" option set for the second time")},
    {"auto_thaw = 1s\nauto_unfreeze = 2s", LINE(2, "\"auto_thaw\" option set for the second time")},
    {"not_queue_only\nqueue_only", LINE(2, "\"queue_only\" option set for the second time")},
    {"=x", LINE(1, "option setting expected: =x")},
    {".foo x", LINE(1, "option setting expected: .foo x")},
    {"begin", LINE(1, "main option \"begin\" unknown")},
    {"hide", LINE(1, "main option \"hide\" unknown")},
    {"no_qualify_domain = b", LINE(1, "negation prefix applied to a non-boolean option")},
    {"no_queue_only = b", LINE(1, "extra characters follow boolean option no_queue_only")},
    {"queue_only x", LINE(1, "extra characters follow boolean option queue_only")},
    {"qualify_domain x", LINE(1, "missing '=' after qualify_domain")},
    {"smtp_accept_max", LINE(1, "unexpected end of line (data missing) after smtp_accept_max")},
    /* values */
    {"smtp_accept_max = 12x", LINE(1, "extra characters follow integer value for smtp_accept_max")},
    {"smtp_accept_max = 08", LINE(1, "extra characters follow integer value for smtp_accept_max")},
    {"smtp_accept_max = 5 5", LINE(1, "extra characters follow integer value for smtp_accept_max")},
    {"smtp_accept_max = x", LINE(1, "integer expected for smtp_accept_max")},
    {"smtp_accept_max =", LINE(1, "integer expected for smtp_accept_max")},
    {"smtp_accept_max = 5G", LINE(1, "absolute value of integer \"5G\" is too large (overflow)")},
    {"check_spool_space = 99999999999G",
     LINE(1, "absolute value of integer \"99999999999G\" is too large (overflow)")},
    {"auto_thaw = 1x", LINE(1, "invalid time value for auto_thaw")},
    {"auto_thaw =", LINE(1, "invalid time value for auto_thaw")},
    {"auto_thaw = 5", LINE(1, "invalid time value for auto_thaw")},
    {"auto_thaw = 99999999999w", LINE(1, "invalid time value for auto_thaw")},
    {"delay_warning = 1h:1x", LINE(1, "invalid time value for delay_warning")},
    {"queue_only = maybe", LINE(1, "\"maybe\" is not a valid value for the \"queue_only\" option")},
    {"queue_only = 1", LINE(1, "\"1\" is not a valid value for the \"queue_only\" option")},
    {"deliver_queue_load_max = x", LINE(1, "fixed-point number expected for deliver_queue_load_max")},
    {"deliver_queue_load_max = 1.5x",
     LINE(1, "extra characters follow fixed-point value for deliver_queue_load_max")},
    {"modemask = 9", LINE(1, "octal integer expected for modemask")},
    {"modemask = 07x", LINE(1, "extra characters follow octal integer value for modemask")},
    {"qualify_domain = \"abc", LINE(1, "missing quote at end of string value for qualify_domain")},
    {"qualify_domain = \"", LINE(1, "missing quote at end of string value for qualify_domain")},
    {"qualify_domain = \"abc\\", LINE(1, "missing quote at end of string value for qualify_domain")},
    {"qualify_domain = \"abc\" d", LINE(1, "extra characters follow string value for qualify_domain")},
    {"trusted_users = root:no-such-user", LINE(1, "user no-such-user was not found")},
    {"admin_groups = no-such-group", LINE(1, "group no-such-group was not found")},
    {"exim_user = no-such-user", LINE(1, "user no-such-user was not found")},
    {"trusted_users = $foo",
     LINE(1, "failed to expand trusted_users: \"$foo\" cannot be expanded while the configuration is read")},
    {"a\0b", LINE(1, "the line has a NUL byte")},
    /* what comes out when the section has ended */
    {"localhost_number = x", LINE(1, "localhost_number value is not a number: x")},
    {"\nlocalhost_number = 17", LINE(2, "localhost_number is greater than the maximum allowed value (16)")},
    {"spool_directory = var", LINE(1, "spool_directory \"var\" is not an absolute path")},
    /* a setting's line is its first one */
    {"\nqualify_domain = a \\\n b \\\n c\nsmtp_accept_max = \\\n 12 \\\n x\n",
     LINE(5, "extra characters follow integer value for smtp_accept_max")},
    /* macros */
    {"A = 1\nA = 2", LINE(2, "macro \"A\" is already defined (use \"==\" if you want to redefine it)")},
    {"AB = 1\nXABC = 2",
     LINE(2, "\"XABC\" cannot be defined as a macro because previously defined macro \"AB\" is a substring")},
    {"A == 1", LINE(1, "can't redefine an undefined macro \"A\"")},
    {"Foo bar", LINE(1, "malformed macro definition")},
    {"A", LINE(1, "malformed macro definition")},
    /* conditions and inclusion */
    {"\n.ifdef X\n\n", LINE(2, "unexpected end of configuration file: .endif missing")},
    {".endif", LINE(1, ".endif without matching .ifdef")},
    {".else", LINE(1, ".else without matching .ifdef")},
    {".elifdef X", LINE(1, ".elifdef without matching .ifdef")},
    {".elifndef X", LINE(1, ".elifndef without matching .ifdef")},
    {".ifdefX", LINE(1, "option setting expected: .ifdefX")},
    {"\n.include nosuch",
     LINE(2, "failed to open included configuration file @/nosuch: No such file or directory")},
    {".include", LINE(1, ".include without a file name")},
    {".include_if_exists x", LINE(1, ".include specifies a non-absolute path \"x\"")},
    {".include f", LINE(1, "@/f includes itself")},
    {".include .", LINE(1, "configuration file @/. is not a regular file")},
    /* named lists */
    {"domainlist", LINE(1, "unrecognized configuration line")},
    {"domainlist a", LINE(1, "missing '=' after \"a\"")},
    {"domainlist a b", LINE(1, "missing '=' after \"a\"")},
    {"domainlist a = b\ndomainlist_cache a = c", LINE(2, "duplicate name \"a\" for a named domain list")},
    {"localpartlist a = b\nlocalpartlist a = c", LINE(2, "duplicate name \"a\" for a named local part list")},
    {"domainlist_foo a = b", LINE(1, "main option \"domainlist_foo\" unknown")},
    {"\ndomainlist a = \\\n  BROKEN-\n", LINE(2, "the list is broken")},
    /* sections */
    {"begin foo", LINE(1, "\"foo\" is not a known configuration section name")},
    {"begin router",
     LINE(1, "\"router\" is not a known configuration section name; did you mean \"routers\"?")},
    {"begin  routers foo", LINE(1, "\"routers foo\" is not a known configuration section name")},
    {"begin routers\nbegin acl\nbegin routers",
     LINE(3, "\"routers\" section is repeated in the configuration file")},
    {"begin acl\nbad", LINE(2, "a bad line")},
    {"begin acl\na\nstop\n", LINE(3, "unexpected line in this section: stop")},
    {"begin acl\n.include nosuch\n",
     LINE(2, "failed to open included configuration file @/nosuch: No such file or directory")},
    {"begin acl\nA = 1\nA = 2",
     LINE(3, "macro \"A\" is already defined (use \"==\" if you want to redefine it)")},
    /* drivers */
    {"begin routers\nx:\n", LINE(2, "no driver defined for router \"x\"")},
    {"begin routers\nx:\ndriver = foo", LINE(3, "router x: cannot find router driver \"foo\"")},
    {"begin routers\nx:\ndriver = redirct",
     LINE(3, "router x: cannot find router driver \"redirct\"; did you mean \"redirect\"?")},
    {"begin routers\nx:\ndriver", LINE(3, "unexpected end of line (data missing) after driver")},
    {"begin routers\nx:\ndriver=accept\ndriver=accept", LINE(4, "\"driver\" option set for the second time")},
    {"begin routers\nx:\ndriver=accept\nmore\nno_more", LINE(5, "\"more\" option set for the second time")},
    {"begin routers\nx:\ndriver=accept\nblah = 3", LINE(4, "option \"blah\" unknown")},
    {"begin routers\nx:\ndriver=accept\nallow_fail", LINE(4, "option \"allow_fail\" unknown")},
    {"begin routers\nx:\ndriver=accept\ntrasnport = x",
     LINE(4, "option \"trasnport\" unknown; did you mean \"transport\"?")},
    {"begin routers\nx:\ndriver=accept\nqualify_domain = x", LINE(4, "option \"qualify_domain\" unknown")},
    {"begin routers\nx:\ndriver=accept\nuser = no-such-user", LINE(4, "user no-such-user was not found")},
    {"begin routers\nx:\ndriver=accept\nx:\ndriver=accept", LINE(4, "there are two routers called \"x\"")},
    {"begin routers\n3x:\ndriver=accept", LINE(2, "router name missing")},
    {"begin routers\ndriver=accept", LINE(2, "router name missing")},
    {"begin routers\nx: foo", LINE(2, "extra characters follow driver name x")},
    {"begin routers\nx:\ndriver=accept\nA = 1\nmore", LINE(5, "router name missing")},
    {"begin routers\nx:\ndriver=redirect\n\nbegin acl\n", LINE(2, "x router:\n  data must be given")},
};

static void bad_files(void **state)
{
	struct place place;
	struct arena arena;
	char error[1024];
	unsigned wrong = 0;

	(void)state;
	place_make(&place);
	arena_init(&arena, 0);
	for (size_t i = 0; i < ARRAY_COUNT(bad); i++) {
		size_t len = strcmp(bad[i].text, "a") == 0 ? 3 : strlen(bad[i].text);
		struct conf *conf;

		place_write(&place, "f", bad[i].text, len);
		conf = load_file(&place, &arena, NULL, error, sizeof(error));
		if (conf)
			snprintf(error, sizeof(error), "no error");
		conf_unref(conf);
		if (strcmp(error, bad[i].error) != 0) {
			print_error("row %zu: %s\ngot:  %s\nwant: %s\n", i, bad[i].text, error, bad[i].error);
			wrong++;
		}
	}
	assert_int_equal(wrong, 0);
	arena_done(&arena);
	place_remove(&place);
}

/* -bP of the option in the second column has the value in the third. */
static const struct {
	const char *text, *option, *value;
} good[] = {
    {"qualify_domain = x y   \n", "qualify_domain", "qualify_domain = x y"},
    {"  qualify_domain   =   x\r\n", "qualify_domain", "qualify_domain = x"},
    {"qualify_domain =", "qualify_domain", "qualify_domain = "},
    {"qualify_domain=a \\   \n # foo\n  b\\\n", "qualify_domain", "qualify_domain = a b"},
    {"qualify_domain = a\\\n\nqueue_only\n", "qualify_domain", "qualify_domain = a"},
    {"qualify_domain = \"a\\\"b\\101\\x41c\\t \\q\"", "qualify_domain", "qualify_domain = a\"bAAc\\t q"},
    {"qualify_domain = \"abc\\\"", "qualify_domain", "qualify_domain = abc\""},
    {"qualify_domain = \"abc\\0d\"", "qualify_domain", "qualify_domain = abc"},
    {"qualify_domain = a\nhide qualify_recipient = b", "qualify_recipient", "qualify_recipient = b"},
    {"queue_only = YES", "queue_only", "queue_only"},
    {"queue_only =", "queue_only", "queue_only"},
    {"queue_only = no", "queue_only", "no_queue_only"},
    {"no_smtp_enforce_sync", "smtp_enforce_sync", "no_smtp_enforce_sync"},
    {"not_smtp_enforce_sync", "smtp_enforce_sync", "no_smtp_enforce_sync"},
    {"", "smtp_enforce_sync", "smtp_enforce_sync"},
    {"smtp_accept_max=2K", "smtp_accept_max", "smtp_accept_max = 2048"},
    {"smtp_accept_max=0x10", "smtp_accept_max", "smtp_accept_max = 16"},
    {"smtp_accept_max=010", "smtp_accept_max", "smtp_accept_max = 8"},
    {"smtp_accept_max=-5", "smtp_accept_max", "smtp_accept_max = -5"},
    {"check_spool_space=3G", "check_spool_space", "check_spool_space = 3G"},
    {"check_spool_space=2048M", "check_spool_space", "check_spool_space = 2G"},
    {"check_spool_space=1500", "check_spool_space", "check_spool_space = 1500"},
    {"", "check_spool_space", "check_spool_space = 10M"},
    {"auto_thaw=90m", "auto_thaw", "auto_thaw = 1h30m"},
    {"auto_thaw=8d", "auto_thaw", "auto_thaw = 1w1d"},
    {"auto_unfreeze=3s", "auto_thaw", "auto_thaw = 3s"},
    {"auto_unfreeze=3s", "auto_unfreeze", "auto_unfreeze = 3s"},
    {"", "auto_thaw", "auto_thaw = 0s"},
    {"delay_warning = 4h:8h:1d", "delay_warning", "delay_warning = 4h:8h:1d"},
    {"delay_warning = <; 4h;25h", "delay_warning", "delay_warning = 4h:1d1h"},
    {"deliver_queue_load_max = 1.2345", "deliver_queue_load_max", "deliver_queue_load_max = 1.234"},
    {"deliver_queue_load_max = 3.", "deliver_queue_load_max", "deliver_queue_load_max = 3.0"},
    {"deliver_queue_load_max = 0", "deliver_queue_load_max", "deliver_queue_load_max = 0.0"},
    {"", "deliver_queue_load_max", "deliver_queue_load_max ="},
    {"modemask = 77", "modemask", "modemask = 077"},
    {"trusted_users = root : 12345", "trusted_users", "trusted_users = root:12345"},
    {"admin_groups = <; 0; 12345", "admin_groups", "admin_groups = root:12345"},
    {"", "never_users", "never_users ="},
    {"", "errors_reply_to", "errors_reply_to = "},
    /* macros */
    {"A=1\nB=7\nA == B\nqualify_domain=A", "qualify_domain", "qualify_domain = 7"},
    {"A=1\nA == A and more\nqualify_domain=A", "qualify_domain", "qualify_domain = 1 and more"},
    {"A=1\nqualify_domain=b\\\nA = 5", "qualify_domain", "qualify_domain = b1 = 5"},
    {"Qualify = 3\nqualify_domain = xQualify-Qualify", "qualify_domain", "qualify_domain = x3-3"},
    {"ABCD_XYZ = one\nABCD = two\nqualify_domain = ABCD_XYZ ABCD", "qualify_domain",
     "qualify_domain = one two"},
    {"A = x\nB = A\nqualify_domain = B", "qualify_domain", "qualify_domain = x"},
    {"A = B\nB = x\nqualify_domain = A", "qualify_domain", "qualify_domain = x"},
    {"A = xAx\nqualify_domain = A", "qualify_domain", "qualify_domain = xAx"},
    {"EMPTY =\nEMPTY\nHASH = # EMPTY\nHASH foo\nqualify_domain = z", "qualify_domain", "qualify_domain = z"},
    {"A = a \\\n  b\nqualify_domain = A", "qualify_domain", "qualify_domain = a b"},
    {"I = .include_if_exists /nosuch\nI\nqualify_domain = q", "qualify_domain", "qualify_domain = q"},
    /* conditions: true when a macro was replaced in the line, whichever */
    {".ifdef X\nfoo\n.elifndef X\nqualify_domain=a\n.else\nfoo\n.endif", "qualify_domain",
     "qualify_domain = a"},
    {".ifdef\nfoo\n.endif\nX=\n.ifndef Y X\nfoo\n.else\nqualify_domain=b\n.endif", "qualify_domain",
     "qualify_domain = b"},
    {"X=\n.ifdef X\nqualify_domain=c\n.elifdef X\nfoo\n.else\nfoo\n.endif", "qualify_domain",
     "qualify_domain = c"},
    {".ifdef Y\n.ifdef X\n.else\nfoo\n.include /nosuch\n.endif\n.else\nqualify_domain=d\n.endif",
     "qualify_domain", "qualify_domain = d"},
    {"X=\nqualify_domain = a\\\n.ifdef X\nb\\\n.else\nc\\\n.endif # text\n d", "qualify_domain",
     "qualify_domain = abd"},
    {".ifdef _OPT_MAIN_QUEUE_ONLY\nqualify_domain=e\n.endif", "qualify_domain", "qualify_domain = e"},
    {".ifdef _OPT_ROUTERS_HEADERS_ADD\n.ifdef _OPT_ROUTER_REDIRECT_DATA\n.ifdef _DRIVER_ROUTER_ACCEPT\n"
     ".ifdef _HAVE_TLS\nqualify_domain=f\n.endif\n.endif\n.endif\n.endif\n",
     "qualify_domain", "qualify_domain = f"},
    {".ifndef _HAVE_TLS_FROM_THE_FUTURE\n.ifndef _OPT_ROUTER_ACCEPT_DATA\nqualify_domain=g\n.endif\n.endif",
     "qualify_domain", "qualify_domain = g"},
    /* expansion while loading, defaults from others */
    {"primary_hostname=h.example\nspool_directory = /s/$primary_hostname/${qualify_domain}",
     "spool_directory", "spool_directory = /s/h.example/h.example"},
    {"primary_hostname=h.example\nqualify_domain = d.example", "qualify_recipient",
     "qualify_recipient = d.example"},
    /* names that no room has taken yet, older ones, and those without effect */
    {"tls_advertise_hosts = a", "tls_advertise_hosts", "tls_advertise_hosts = a"},
    {"no_prdr_enable", "prdr_enable", "no_prdr_enable"},
    {"", "host_lookup_order", "host_lookup_order = bydns:byaddr"},
    {"acl_data_smtp_prdr = deny", "acl_smtp_data_prdr", "acl_smtp_data_prdr = deny"},
    {"no_gnutls_compat_mode", "gnutls_compat_mode", "no_gnutls_compat_mode"},
    {"test_nothing\n", "queue_only", "no_queue_only"},
    {"no_test_nothing", "queue_only", "no_queue_only"},
    {"test_nothing = x y", "queue_only", "no_queue_only"},
    /* named lists */
    {"domainlist a = b : c\nhostlist_cache a = <; d", "+a", "domainlist a = b : c\nhostlist a = <; d"},
    {"hide localpartlist a = \"b\\x41\"", "+a", "localpartlist a = bA"},
    /* a section that nobody registered is passed over */
    {"begin retry\n* * F,2h,10m\nbegin rewrite\n", "queue_only", "no_queue_only"},
    {"begin ACL\n", "queue_only", "no_queue_only"},
    {"begin routers\nX:\ndriver=accept\nA=1\nB=A\n y2 :\ntransport = tB\n driver = accept\n", "router_list",
     "X\ny2"},
};

static void check_printed(const struct place *place, struct conf *conf, struct arena *arena, size_t row)
{
	struct str str = str_make(arena);
	struct err err = err_make(arena);
	struct slice got;

	(void)place;
	if (conf_print(conf, slice_of(good[row].option), true, false, &str, &err) != OK)
		fail_msg("row %zu: %.*s", row, SLICE_ARG(err.text));
	got = slice_sub(str_slice(&str), 0, str.len - 1);
	if (!slice_eq(got, slice_of(good[row].value)))
		fail_msg("row %zu: %s\ngot:  %.*s\nwant: %s", row, good[row].text, SLICE_ARG(got),
			 good[row].value);
}

static void good_files(void **state)
{
	struct place place;
	struct arena arena;
	char error[1024];

	(void)state;
	place_make(&place);
	arena_init(&arena, 0);
	for (size_t i = 0; i < ARRAY_COUNT(good); i++) {
		struct conf *conf;

		place_write(&place, "f", good[i].text, strlen(good[i].text));
		conf = load_file(&place, &arena, NULL, error, sizeof(error));
		if (!conf)
			fail_msg("row %zu: %s\n%s", i, good[i].text, error);
		check_printed(&place, conf, &arena, i);
		conf_unref(conf);
	}
	arena_done(&arena);
	place_remove(&place);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(bad_files),
	    cmocka_unit_test(good_files),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
