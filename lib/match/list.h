/* list: compiled lists and what matches them. Private to the room. */
#ifndef MATCH_LIST_H
#define MATCH_LIST_H

#include "match/match.h"
#include "set.h"

/* enum conf_list_kind, and the plain list of patterns. */
#define LIST_STRING LIST_KIND_COUNT
#define LIST_KINDS  (LIST_KIND_COUNT + 1)
/* Lists in lists: names, files, lookups whose results are lists. */
#define LIST_DEPTH_MAX 20
#define LIST_STACK_MIN (24u * 1024)

enum entry_kind {
	ENTRY_SET,       /* a run of literals */
	ENTRY_NETS,      /* a run of addresses and networks */
	ENTRY_ANY,       /* "*" of host lists */
	ENTRY_EMPTY,     /* "" of host and address lists */
	ENTRY_SUFFIX,    /* "*abc" */
	ENTRY_REGEX,     /* "^abc" */
	ENTRY_SELF,      /* "@" of domain lists */
	ENTRY_SELF_IP,   /* "@[]" */
	ENTRY_MX,        /* "@mx_any", "@mx_primary", "@mx_secondary", with "/ignore=" */
	ENTRY_HOST_NAME, /* a host's name, which stands for its addresses, or "@" */
	ENTRY_HOST_TEXT, /* what cannot be a name: compared with the client's names */
	ENTRY_NAMED,     /* "+name" */
	ENTRY_FLAG,      /* "+caseful", "+include_unknown" ... */
	ENTRY_LOOKUP,    /* "type;file or query" */
	ENTRY_AT_LOOKUP, /* "@@type;file" of address lists */
	ENTRY_FILE,      /* "/absolute/path" */
	ENTRY_ADDRESS,   /* "local@domain" where either is a pattern */
	ENTRY_BAD,       /* text says why */
};
enum entry_flag {
	FLAG_CASEFUL,
	FLAG_INCLUDE_UNKNOWN,
	FLAG_IGNORE_UNKNOWN,
	FLAG_INCLUDE_DEFER,
	FLAG_IGNORE_DEFER
};
enum mx_which { MX_ANY, MX_PRIMARY, MX_SECONDARY };

struct compiled;
struct entry {
	enum entry_kind kind;
	bool negated;
	uint32_t first;    /* the number of its item, or of its run's first, in the list */
	struct slice text; /* the item, without "!"; ENTRY_BAD: the mistake */
	union {
		struct set set;
		struct {
			struct net_set set;
			struct slice *lines; /* by index; NULL: not in a file */
			uint32_t count;
		} nets;
		const struct regex *regex; /* without regard to case; NULL: compiled when it is needed */
		enum entry_flag flag;
		struct {
			struct lookup_spec spec;
			struct slice rest;
		} lookup;
		struct {
			enum mx_which which;
			const struct compiled *ignore; /* a host list; NULL: none */
		} mx;
		struct {
			struct slice local; /* without the "*" */
			bool star;
			bool bare;                     /* there was no "@": any local part */
			const struct compiled *domain; /* one item */
		} address;
	};
};
struct compiled {
	unsigned kind;
	uint32_t count;
	struct entry *entries;
	bool ends_negated; /* an implied "*" at the end */
	bool one;          /* the text is one item */
	bool in_file;      /* lines of a file: no value goes to "the list ends negated", no names, no files */
	struct slice text;
	uint32_t item_count;
	uint32_t taint;                    /* of the text */
	const struct lookup_type *missing; /* the first type in it that is not built in; NULL: none */
};
struct match_list {
	unsigned kind;
	struct slice text;
	const char *option;                /* whose value it is; NULL: no option's */
	bool item;                         /* one item: match_item() */
	const struct expansion *expansion; /* evaluated at each use; NULL: compiled is what the list is */
	const struct compiled *compiled;
};

enum {
	COMPILE_REGEX = 1 /* at once, into the arena */,
	COMPILE_FILE = 2 /* lines */,
	COMPILE_ONE = 4,    /* the text is one item */
	COMPILE_PATTERN = 8 /* no hash tables: match_item() wants to know what matched which part */
};
/* The text is borrowed. NULL: no memory. */
const struct compiled *list_compile(struct arena *arena, unsigned kind, struct slice text, unsigned flags);
extern const struct text_file_kind list_file_kinds[LIST_KINDS];
struct list_file {
	struct arena arena;
	const struct compiled *compiled;
};

/* The compiled form of a text that is known only now, from the shard's cache. Give it back with
 * list_cache_put(). */
struct cached_list {
	struct link lru;
	struct arena arena;
	struct slice text;
	struct map *map; /* that it is in */
	const struct compiled *compiled;
	uint32_t refs;
	bool current;
};
NODISCARD enum rc list_cache_get(struct shard *shard, unsigned kind, struct slice text,
				 struct cached_list **ret, struct err *err);
void list_cache_put(struct cached_list *list);

/* What is being matched. */
struct matching {
	struct scope *sc;
	struct err *err;
	unsigned kind;
	struct slice subject;       /* as given; of addresses the domain is in lower case */
	struct slice subject_lower; /* for regular expressions and lookups without regard to case */
	struct slice local, domain; /* of addresses */
	bool caseful;               /* local parts, strings */
	const struct ip_addr *ip;   /* of hosts; family 0: no host */
	struct slice host_name;     /* known name; ptr NULL: not known */
	bool client;                /* the host is the scope's client: its name can be looked up */
	bool no_names;              /* match_ip: names are never looked up */
	bool item;                  /* match_item(): domains are compared with case, numbers are set */
	struct slice given;         /* item: the whole address, $0 */
	unsigned number;            /* item: the next of $1, $2... */
	struct slice value;         /* of the match; ptr NULL: none */
	unsigned in_file;           /* the items are lines of a file */
	bool in_address;            /* the list belongs to an item of an address list: sets no numbers */
	unsigned depth;
	const char *option;     /* whose list it is, for who is told; NULL: it has no name */
	struct list_tale *tale; /* of the list that is told; NULL: nobody listens */
	uint32_t hit;           /* of a run: which item matched */
	struct slice unknown;   /* why an item could not be decided; ptr NULL: none so far */
};
/* OK, FAIL, DEFER, CANCELLED. */
enum rc list_match(struct matching *m, const struct compiled *list);
/* Without the rule about a negated last item: *decided says whether some entry matched (or could not be
 * asked). */
enum rc list_decide(struct matching *m, const struct compiled *list, bool *decided);
/* The same as list_match() for a text that is known only now; unexpanded. */
enum rc list_match_text(struct matching *m, struct slice text);

/* ---- Kinds of entries that have a file of their own ------------------------------------- */

/* What a host entry may answer besides: the name or address that it needs does not exist. */
#define RC_UNKNOWN ((enum rc)(CANCELLED + 1))
enum rc host_entry_match(struct matching *m, const struct entry *entry);
enum rc mx_entry_match(struct matching *m, const struct entry *entry);
enum rc address_entry_match(struct matching *m, const struct entry *entry);
enum rc at_lookup_match(struct matching *m, const struct entry *entry);
/* match_item(): $0, and the parts behind it. */
void numbers_begin(struct matching *m);
void number_add(struct matching *m, struct slice part);
/* Pattern entries (suffix, regex, literal, lookup) against this subject. */
enum rc pattern_entry_match(struct matching *m, const struct entry *entry, struct slice subject);

/* Has this name that address? By DNS and by the host's own idea. Parks. FAIL: no; *exists_ret: it has any at
 * all. */
enum rc host_name_has_ip(struct scope *sc, struct slice name, const struct ip_addr *ip, bool *exists_ret,
			 struct err *err);
/* By DNS only: for names that strangers choose. *secure_ret: DNSSEC proves it. */
enum rc host_name_in_dns(struct scope *sc, struct slice name, const struct ip_addr *ip, bool *secure_ret,
			 struct err *err);
/* The names of an address that lead back to it, in the order of host_lookup_order; in the arena, in lower
 * case. *secure_ret, unless NULL: DNSSEC proves them. FAIL: none. Parks. */
enum rc host_names_find(struct scope *sc, struct arena *arena, const struct ip_addr *ip,
			struct slice **names_ret, unsigned *count_ret, bool *secure_ret, struct err *err);

#endif
