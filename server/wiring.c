/* wiring: the lists of everything that there is: who owns which options, sections and words. Plain arrays, in an order
 * that can be read; a new room or driver is a line here. */
#include "server.h"

#include "mailauth/mailauth.h"
#include "redis/redis.h"
#include "tls/tls.h"

static const struct variable_table *const variables[] = {
    &expand_variables,    &message_variables, &match_variables, &route_variables,
    &transport_variables, &acl_variables,     &smtp_variables,  &smtp_auth_variables,
    &deliver_variables,   &filter_variables,  &dkim_variables,  &spf_variables,
    &arc_variables,       &srs_variables,     &dmarc_variables, NULL,
};
static const struct expand_item *const *const items[] = {expand_items,   lookup_items, acl_items,
							 mailauth_items, srs_items,    NULL};
static const struct expand_operator *const *const operators[] = {expand_operators, NULL};
static const struct expand_condition *const *const conditions[] = {
    expand_conditions, lookup_conditions, match_conditions, acl_conditions, srs_conditions, NULL};

struct language server_language = {
    .variables = variables,
    .items = items,
    .operators = operators,
    .conditions = conditions,
    .lookup_quote = lookup_quote,
};

static const struct conf_group *const groups[] = {
    &log_conf_group,      &message_conf_group, &expand_conf_group,    &lookup_conf_group, &dns_conf_group,
    &match_conf_group,    &route_conf_group,   &transport_conf_group, &acl_conf_group,    &smtp_conf_group,
    &smtp_tls_conf_group, &deliver_conf_group, &mailauth_conf_group,  &admin_conf_group,  NULL,
};
static const struct conf_section *const sections[] = {
    &acl_conf_section,
    &route_conf_section,
    &transport_conf_section,
    &retry_conf_section,
    &rewrite_conf_section,
    &auth_conf_section,
    NULL,
};

static const struct conf_feature *const features[] = {
    expand_features, lookup_features,  route_features,    transport_features,
    smtp_features,   message_features, mailauth_features, NULL,
};

/* What is counted, in the order in which it is shown. */
const struct metric_table *const server_metric_tables[] = {
    &shard_metric_table,
    &smtp_metric_table,
    &deliver_metric_table,
    &spool_metric_table,
    &hints_metric_table,
    &tls_metric_table,
    NULL,
};

static void macros(struct conf *conf)
{
	conf_feature_macros(conf);
	log_macros(conf);
	lookup_macros(conf);
	language_macros(conf);
	acl_macros(conf);
	smtp_macros(conf);
	mailauth_macros(conf);
}

const struct conf_language server_registry = {
    .groups = groups,
    .sections = sections,
    .named_list = match_named_list,
    .language = &server_language,
    .features = features,
    .macros = macros,
    .expand_early = expand_early,
};

void rooms_leave(struct shard *shard)
{
	smtp_pool_done(shard);
	transport_done(shard);
	route_done(shard);
	match_done(shard);
	lookup_done(shard);
	redis_done(shard);
	mailauth_done(shard);
	dmarc_done(shard);
	expand_done(shard);
	tls_done(shard);
	dns_done(shard);
}
