/* lookup: keys to data, from files and databases; one file a type. Whatever waits is asynchronous. Text files
 * are read into memory and indexed once per change (device, inode, size, times), shared by all work of the
 * shard; databases (cdb, LMDB) are read page by page. Nothing is mapped: a file that somebody truncates would
 * kill the process. */
#ifndef LOOKUP_LOOKUP_H
#define LOOKUP_LOOKUP_H

#include "dns/dns.h"
#include "expand/expand.h"
#include "lookup/nets.h"

/* What may become of an answer; see lookup_results_clear(). */
enum lookup_keep {
	LOOKUP_KEEP,
	LOOKUP_KEEP_NOT,
	LOOKUP_FORGET, /* data was changed: nor what the type said before */
};
struct lookup_request {
	struct slice file;      /* absolute file name of single-key types; database of some query types */
	struct slice key;       /* the key, or the whole query */
	struct slice options;   /* behind the type: "ret=full", comma-separated; empty: none */
	struct slice defaults;  /* for implicit keys */
	enum lookup_keep *keep; /* for types whose answers are kept; NULL: this one is not */
};
struct lookup_type {
	const char *name;
	/* Known by its name only: why, and what does instead. NULL: it is built in. */
	const char *missing;
	bool kept;   /* its answers are kept for as long as a message is worked on */
	bool query;  /* query style: no file; otherwise single-key */
	bool echoes; /* what it returns is the key or a part of it, and as tainted */
	/* OK: *ret in the task's arena. FAIL: not there. DEFER: could not find out, err says why. May park.
	 */
	enum rc (*find)(struct scope *sc, const struct lookup_type *type,
			const struct lookup_request *request, struct slice *ret, struct err *err);
	/* ${quote_type:...}; NULL: the string as it is. */
	enum rc (*quote)(struct scope *sc, struct slice option, struct slice subject, struct slice *ret,
			 struct err *err);
};
extern const struct lookup_type *const lookup_types[]; /* NULL-terminated, in alphabetical order */
const struct lookup_type *lookup_type_find(struct slice name);

/* A search type as configurations write it: "lsearch", "partial-lsearch", "partial3(.)-cdb*@",
 * "net24-iplsearch", "lsearch,ret=full". */
struct lookup_spec {
	const struct lookup_type *type;
	int partial;                /* -1: no; else the number of non-wild components */
	struct slice partial_affix; /* "*." unless given in parentheses */
	bool star, star_at;         /* "*", "*@" */
	int net;                    /* "net24-": 24; "net-": the whole address, 0; -1: none */
	struct slice options;
};
/* FAIL: err says why, in the language's words. */
NODISCARD enum rc lookup_spec_parse(struct slice text, struct lookup_spec *spec_ret, struct err *err);
/* With partial matching and defaults, as the language defines them. In partial matches *wild_ret and
 * *fixed_ret (if not NULL) are the wild and the fixed part of the key: $1 and $2; ptr NULL: unset. file is
 * empty for query types, whose key is the whole query. OK: *ret is clean (unless the type echoes), in the task's arena.
 * Parks. */
NODISCARD enum rc lookup_find(struct scope *sc, const struct lookup_spec *spec, struct slice file,
			      struct slice key, struct slice *ret, struct slice *wild_ret,
			      struct slice *fixed_ret, struct err *err);

extern const struct expand_item *const lookup_items[];           /* ${lookup */
extern const struct expand_condition *const lookup_conditions[]; /* ldapauth */
extern const struct conf_feature lookup_features[];
extern const struct conf_group dns_conf_group; /* dns_retrans, dns_retry, dns_use_edns0, dns_dnssec_ok */
/* The shard's questions to the DNS are asked as this snapshot says: at its start, and after a reload. */
void lookup_dns_configure(struct shard *shard, const struct conf *conf);
/* dns_query() with what the configuration says of questions: a name that dns_check_names_pattern does not know is not asked
 * for (FAIL, nxdomain), and what took longer than slow_lookup_log is logged. */
NODISCARD enum rc lookup_dns_query(struct scope *sc, struct slice name, enum dns_type type,
				   struct dns_answer *answer_ret, struct err *err);
extern const struct conf_group lookup_conf_group; /* redis_servers, mysql_servers, lookup_open_max, ... */
enum rc lookup_quote(struct scope *sc, struct slice type, struct slice option, struct slice subject,
		     struct slice *ret, struct err *err);
/* false: known by its name only; a file that names it is refused, and whoever asks it all the same gets DEFER. */
bool lookup_type_available(const struct lookup_type *type);
/* Says why a type is not available; returns rc. */
enum rc lookup_type_missing(const struct lookup_type *type, enum rc rc, struct err *err);
/* The predefined macros of the types that are built in (_HAVE_LOOKUP_...); for conf_language.macros. */
void lookup_macros(struct conf *conf);
void lookup_done(struct shard *shard);
/* sc->lookup_results is the owner's place for what lookups found, which begins as NULL and is made when it is needed. Ends
 * it: when the message is over, or a part of the work on it (chapter "File and database lookups", section 8). */
void lookup_results_clear(struct lookup_results **results);

/* ---- Administrators' files -------------------------------------------------------------- */

/* One version of a text file, in the shard's cache. It stays as it is as long as somebody holds it, whatever
 * becomes of the file meanwhile. */
struct text_file {
	struct slice path;
	struct slice bytes; /* clean: an administrator wrote them */
	const void *built;  /* what the kind's build() made of them; NULL without build() */
	uint64_t serial;    /* a new one for each version read, unique in the shard */
	uint32_t refs;
};
/* What is made of a file when it is read: an index, a compiled list. */
struct text_file_kind {
	const char *name; /* as the errors of the language say: "linear search" */
	/* On a helper thread for all but small files: touches nothing of the shard. *built_ret from the heap;
	 * its size in bytes in *cost_ret. FAIL: the file is not what it should be; DEFER: no memory. */
	enum rc (*build)(struct slice bytes, void **built_ret, size_t *cost_ret);
	void (*free)(void *built);
};
#define TEXT_FILE_SIZE_MAX (1024u * 1024 * 1024)
/* The present version of the file, to be given back with text_file_put(). Parks. A change is noticed by the
 * next use that begins more than a millisecond after it. DEFER: cannot be read; FAIL is never returned. */
NODISCARD enum rc text_file_get(struct task *task, struct slice path, const struct text_file_kind *kind,
				struct text_file **file_ret, struct err *err);
void text_file_put(struct shard *shard, struct text_file *file); /* NULL is fine */

/* The file's bytes as the shard's cache keeps them, valid until the next park; for other rooms that read
 * administrators' files (redirect, acl). A tainted path is refused. DEFER: cannot be read. */
NODISCARD enum rc file_cached(struct scope *sc, struct slice path, struct slice *bytes_ret, struct err *err);

#endif
