/* drop_root: see drop_root.c */
#ifndef SERVER_DROP_ROOT_H
#define SERVER_DROP_ROOT_H

#include <stdbool.h>

struct conf;
/* Users' own ids are reached through the helper from then on. false: told on standard error. */
bool drop_root(const struct conf *conf);
/* The same for a moment, of a command that stays root: what it makes in between is exim_user's. No helper thread may open files
 * meanwhile. false: errno tells. */
bool root_pause(const struct conf *conf);
bool root_resume(void);
/* Before that: the spool's directory, exim_user's. false: told on standard error. */
bool make_spool_directory(const struct conf *conf, const char *path);

#endif
