/* hosts: what the host itself says about names and addresses: /etc/hosts and whatever nsswitch.conf names.
 * The C library can only be asked by a thread that may block, so this goes through the offload pool. */

#include "dns.h"

#include <errno.h>
#include <netdb.h>
#include <stdio.h>
#include <stdlib.h>

#include "wire.h"

/* Addresses, or names, that are kept of one answer. */
#define HOSTS_COUNT_MAX 64

/* Of the heap: the helper thread may still be writing when nobody waits any more. */
struct hosts_call {
	char name[WIRE_NAME_MAX * 4];
	struct ip_addr ip;
	int status; /* EAI_... */
	char canonical[NI_MAXHOST];
	unsigned count;
	union {
		struct ip_addr ips[HOSTS_COUNT_MAX];
		char *names[HOSTS_COUNT_MAX]; /* each from strdup() */
	};
};

static void call_by_name(void *arg)
{
	struct hosts_call *call = arg;
	struct addrinfo hints = {
	    .ai_family = AF_UNSPEC, .ai_socktype = SOCK_STREAM, .ai_flags = AI_CANONNAME};
	struct addrinfo *list = NULL;

	call->status = getaddrinfo(call->name, NULL, &hints, &list);
	if (call->status != 0)
		return;
	for (struct addrinfo *a = list; a && call->count < HOSTS_COUNT_MAX; a = a->ai_next) {
		struct ip_addr ip = ip_from_sockaddr(a->ai_addr);
		if (a->ai_canonname)
			snprintf(call->canonical, sizeof(call->canonical), "%s", a->ai_canonname);
		ip.port = 0;
		if (ip.family != 0)
			call->ips[call->count++] = ip;
	}
	freeaddrinfo(list);
}

static void names_add(struct hosts_call *call, const char *name)
{
	if (call->count < HOSTS_COUNT_MAX && (call->names[call->count] = strdup(name)))
		call->count++;
}

static void call_by_address(void *arg)
{
	struct hosts_call *call = arg;
	struct hostent host, *found = NULL;
	char room[8192];
	int rc, why = 0;

	rc = gethostbyaddr_r(call->ip.bytes, call->ip.family == 4 ? 4 : 16,
			     call->ip.family == 4 ? AF_INET : AF_INET6, &host, room, sizeof(room), &found,
			     &why);
	if (rc == ERANGE || (rc != 0 && why == TRY_AGAIN)) {
		call->status = EAI_AGAIN;
		return;
	}
	if (!found) {
		call->status = why == TRY_AGAIN || why == NO_RECOVERY ? EAI_AGAIN : EAI_NONAME;
		return;
	}
	names_add(call, found->h_name);
	for (char **alias = found->h_aliases; alias && *alias; alias++)
		names_add(call, *alias);
}

static void call_free(void *arg)
{
	free(arg);
}

static void call_free_names(void *arg)
{
	struct hosts_call *call = arg;

	for (unsigned i = 0; i < call->count; i++)
		free(call->names[i]);
	free(call);
}

/* A definite no, as against a name service that could not say. */
static bool status_is_no(int status)
{
	return status == EAI_NONAME || status == EAI_NODATA || status == EAI_ADDRFAMILY;
}

enum rc dns_hosts_file(struct task *task, struct slice name, struct dns_answer *answer_ret, struct err *err)
{
	struct dns_answer answer = {.canonical = SLICE_EMPTY};
	struct hosts_call *call;
	enum rc rc;

	if (name.len == 0 || name.len >= sizeof(call->name) || slice_find(name, '\0') >= 0) {
		*answer_ret = (struct dns_answer){.nxdomain = true, .canonical = SLICE_EMPTY};
		return err_set(err, FAIL, "not a host name");
	}
	call = calloc(1, sizeof(*call));
	if (!call)
		return err_memory(err);
	memcpy(call->name, name.ptr, name.len);
	rc = offload_call(task, call_by_name, call, call_free, err);
	if (rc != OK)
		return rc; /* the pool frees */
	if (call->status != 0) {
		answer.nxdomain = call->status == EAI_NONAME;
		rc = status_is_no(call->status) ? FAIL : DEFER;
		if (rc == FAIL)
			*answer_ret = answer;
		rc = err_set(err, rc, "%.*s: %s", SLICE_ARG(name), gai_strerror(call->status));
		goto out;
	}
	answer.canonical = arena_copy(task->arena, slice_tainted(slice_of(call->canonical)));
	answer.records = arena_array(task->arena, struct dns_record, call->count ? call->count : 1);
	if (!answer.canonical.ptr || !answer.records) {
		rc = err_memory(err);
		goto out;
	}
	for (unsigned i = 0; i < call->count; i++)
		answer.records[answer.count++] = (struct dns_record){
		    .ip = call->ips[i], .name = SLICE_EMPTY, .text = SLICE_EMPTY, .soa_mailbox = SLICE_EMPTY};
	*answer_ret = answer;
	rc = answer.count > 0 ? OK : FAIL;
out:
	call_free(call);
	return rc;
}

enum rc dns_hosts_by_address(struct task *task, const struct ip_addr *ip, struct dns_answer *answer_ret,
			     struct err *err)
{
	struct dns_answer answer = {.canonical = SLICE_EMPTY};
	struct hosts_call *call = calloc(1, sizeof(*call));
	enum rc rc;

	if (!call)
		return err_memory(err);
	call->ip = *ip;
	rc = offload_call(task, call_by_address, call, call_free_names, err);
	if (rc != OK)
		return rc;
	if (call->status != 0) {
		answer.nxdomain = true;
		rc = status_is_no(call->status) ? FAIL : DEFER;
		if (rc == FAIL)
			*answer_ret = answer;
		rc = err_set(err, rc, "%s", gai_strerror(call->status));
		goto out;
	}
	answer.records = arena_array(task->arena, struct dns_record, call->count ? call->count : 1);
	for (unsigned i = 0; answer.records && i < call->count; i++) {
		struct slice text = arena_copy(task->arena, slice_tainted(slice_of(call->names[i])));
		if (!text.ptr)
			answer.records = NULL;
		else
			answer.records[answer.count++] = (struct dns_record){
			    .name = text, .text = SLICE_EMPTY, .soa_mailbox = SLICE_EMPTY};
	}
	if (!answer.records) {
		rc = err_memory(err);
		goto out;
	}
	*answer_ret = answer;
	rc = answer.count > 0 ? OK : FAIL;
out:
	call_free_names(call);
	return rc;
}
