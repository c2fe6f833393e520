/* lookup: keys to data, from files and databases; one file a type. Whatever waits is asynchronous. Files are mapped
 * and indexed once per change (device, inode, size, mtime), shared by all work of the shard. */
#ifndef LOOKUP_LOOKUP_H
#define LOOKUP_LOOKUP_H

#include "dns/dns.h"
#include "expand/expand.h"

struct lookup_request {
	struct slice file;     /* absolute file name of single-key types; database of some query types */
	struct slice key;      /* the key, or the whole query */
	struct slice options;  /* behind the type: "ret=full", comma-separated; empty: none */
	struct slice defaults; /* for implicit keys */
};
struct lookup_type {
	const char *name;
	bool query;	       /* query style: no file; otherwise single-key */
	bool absolute_file;    /* the file name must be absolute, untainted */
	/* OK: *ret in the task's arena. FAIL: not there. DEFER: could not find out, err says why. May park. */
	enum rc (*find)(struct scope *sc, const struct lookup_type *type, const struct lookup_request *request,
			struct slice *ret, struct err *err);
	/* ${quote_type:...}; NULL: the string as it is. */
	enum rc (*quote)(struct scope *sc, struct slice option, struct slice subject, struct slice *ret,
			 struct err *err);
	size_t arg;	       /* the implementation's own: which member of the family */
};
extern const struct lookup_type *const lookup_types[]; /* NULL-terminated, in alphabetical order */
const struct lookup_type *lookup_type_find(struct slice name);

/* A search type as configurations write it: "lsearch", "partial-lsearch", "partial3(.)-cdb*@", "net24-iplsearch",
 * "lsearch,ret=full". */
struct lookup_spec {
	const struct lookup_type *type;
	int partial;		 /* -1: no; else the number of non-wild components */
	struct slice partial_affix; /* "*." unless given in parentheses */
	bool star, star_at;	 /* "*", "*@" */
	int net;		 /* "net24-": 24; "net-": the whole address, 0; -1: none */
	struct slice options;
};
/* FAIL: err names the unknown type, with the nearest known. */
NODISCARD enum rc lookup_spec_parse(struct slice text, struct lookup_spec *spec_ret, struct err *err);
/* With partial matching and defaults, as the language defines them. In partial matches *affix_ret and *rest_ret (if not
 * NULL) are the wild and the fixed part of the key: $1 and $2. */
NODISCARD enum rc lookup_find(struct scope *sc, const struct lookup_spec *spec, struct slice file, struct slice key,
			      struct slice *ret, struct slice *wild_ret, struct slice *fixed_ret, struct err *err);

extern const struct expand_item *const lookup_items[]; /* ${lookup */
extern const struct conf_group lookup_conf_group;      /* redis_servers, mysql_servers, lookup_open_max, ... */
enum rc lookup_quote(struct scope *sc, struct slice type, struct slice option, struct slice subject, struct slice *ret,
		     struct err *err);
void lookup_done(struct shard *shard);

/* The file's bytes, mapped and kept as long as the shard's cache keeps them and at least until the next park; for
 * other rooms that read administrators' files (redirect, acl). DEFER: cannot be read. */
NODISCARD enum rc file_cached(struct scope *sc, struct slice path, struct slice *bytes_ret, struct err *err);

#endif
