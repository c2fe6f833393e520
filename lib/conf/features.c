/* The _HAVE_... macros and their kin: which systems a file may count on. Each room tells of its own through the registry;
 * lookups, options, drivers and words of the language tell of themselves through the tables that register them. */

#include "reader.h"

void conf_feature_macros(struct conf *conf)
{
	if (!conf->registry->features)
		return;
	for (const struct conf_feature *const *room = conf->registry->features; *room; room++)
		for (const struct conf_feature *f = *room; f->macro || f->word; f++)
			if (f->macro)
				conf_macro(conf, f->macro);
}
