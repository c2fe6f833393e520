/* show_tools: what this program and its configuration are: -bV, -bP, -bI. */
#include "server.h"

#include <stdio.h>

/* ---- -bV ------------------------------------------------------------------------------------------------------------ */

static void print_names(const char *title, const struct conf *conf, enum conf_section_id id)
{
	const struct conf_driver *const *drivers = NULL;

	for (const struct conf_section *const *s = conf->registry->sections; *s; s++)
		if ((*s)->id == id)
			drivers = (*s)->drivers;
	printf("%s:", title);
	for (; drivers && *drivers; drivers++)
		printf(" %s", (*drivers)->name);
	printf("\n");
}

/* The first line begins as scripts that look for "Exim version 4.98" expect it, since the question behind it is what the
 * configuration may contain. */
int tool_version(const struct conf *conf)
{
	printf("Exim version %s #0 built into sluice %s\n", LANGUAGE_VERSION, SLUICE_VERSION);
	printf("sluice reads and runs configurations of Exim %s; none of Exim's code is in it\n",
	       LANGUAGE_VERSION);
	printf("Support for:");
	for (const struct conf_feature *const *room = conf->registry->features; *room; room++)
		for (const struct conf_feature *f = *room; f->macro || f->word; f++)
			if (f->word)
				printf(" %s", f->word);
	printf("\nLookups (built-in):");
	for (unsigned i = 0; lookup_types[i]; i++)
		if (lookup_type_available(lookup_types[i]))
			printf(" %s", lookup_types[i]->name);
	printf("\n");
	print_names("Authenticators", conf, CONF_SECTION_AUTHENTICATORS);
	print_names("Routers", conf, CONF_SECTION_ROUTERS);
	print_names("Transports", conf, CONF_SECTION_TRANSPORTS);
	say_warnings(conf);
	printf("Configuration file is %s\n", conf->file);
	return 0;
}

/* ---- -bP ------------------------------------------------------------------------------------------------------------ */

static int print_one(const struct command_line *cl, const struct caller *caller, const struct conf *conf,
		     struct slice what, struct arena *arena)
{
	struct str out = str_make(arena);
	struct err err = err_make(arena);

	if (conf_print(conf, what, caller->admin, cl->values_only, &out, &err) != OK) {
		fprintf(stderr, "%.*s\n", SLICE_ARG(err.text));
		return 1;
	}
	if (out.len)
		fwrite(out.ptr, 1, out.len, stdout);
	return 0;
}

/* "router NAME" and its kin are two arguments. */
static bool takes_name(const char *word)
{
	static const char *const words[] = {"router", "transport", "authenticator", "macro"};

	for (unsigned i = 0; i < ARRAY_COUNT(words); i++)
		if (strcmp(word, words[i]) == 0)
			return true;
	return false;
}

int tool_print(const struct command_line *cl, const struct caller *caller, const struct conf *conf)
{
	struct arena arena;
	int status = 0;

	arena_init(&arena, 0);
	if (!cl->operand_count)
		status = print_one(cl, caller, conf, SLICE_EMPTY, &arena);
	for (unsigned i = 0; i < cl->operand_count; i++) {
		struct slice what = slice_of(cl->operands[i]);
		if (takes_name(cl->operands[i]) && i + 1 < cl->operand_count)
			what = arena_printf(&arena, "%s %s", cl->operands[i], cl->operands[i + 1]), i++;
		status |= print_one(cl, caller, conf, what, &arena);
	}
	arena_done(&arena);
	return status;
}

/* ---- -bI ------------------------------------------------------------------------------------------------------------ */

int tool_info(const struct command_line *cl)
{
	static const char usage[] = "-bI: tells one thing about this program, for other programs to read:\n"
				    "  -bI:help   this text\n"
				    "  -bI:dscp   the names of DSCP values\n"
				    "  -bI:sieve  the Sieve extensions, one a line\n";
	static const char *const dscp[] = {
	    "af11", "af12", "af13", "af21",    "af22",     "af23",    "af31",        "af32",       "af33",
	    "af41", "af42", "af43", "cs0",     "cs1",      "cs2",     "cs3",         "cs4",        "cs5",
	    "cs6",  "cs7",  "ef",   "lowcost", "lowdelay", "mincost", "reliability", "throughput",
	};

	if (strcmp(cl->info, "dscp") == 0) {
		for (unsigned i = 0; i < ARRAY_COUNT(dscp); i++)
			puts(dscp[i]);
		return 0;
	}
	if (strcmp(cl->info, "sieve") == 0)
		return 0; /* there are none yet */
	fputs(usage, strcmp(cl->info, "help") == 0 ? stdout : stderr);
	return strcmp(cl->info, "help") == 0 ? 0 : 1;
}
