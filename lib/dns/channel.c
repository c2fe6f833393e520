/* channel: c-ares on a shard's reactor. c-ares tells which descriptors it wants watched, we tell it when they
 * are ready and when time has passed. It never sees a descriptor number through an fd_set, which would end at
 * 1024. */

#include "channel.h"

#include <ares.h>
#include <pthread.h>
#include <stdlib.h>

#include "wire.h"

struct channel {
	struct link link; /* in the owner's list */
	struct shard *shard;
	ares_channel ares;
	struct timer timer;  /* c-ares's next time-out; for a retired and idle channel: its end */
	struct link sockets; /* struct channel_socket, a handful: one or two a server */
	unsigned under_way;
	bool retired;
};

struct channel_socket {
	struct link link;
	struct channel *channel;
	struct watch *watch;
	int fd;
};

/* c-ares counts its initialisations without a lock, and shards start at the same time. */
static pthread_once_t library_once = PTHREAD_ONCE_INIT;
static void library_init(void)
{
	(void)ares_library_init(ARES_LIB_INIT_ALL); /* fails only where Windows' libraries are missing */
}

static void channel_rearm(struct channel *channel)
{
	struct timeval tv, *next;
	uint64_t now = shard_now(channel->shard);

	if (channel->retired && channel->under_way == 0) {
		/* Not here and now: c-ares may be on the stack. */
		timer_set(channel->shard, &channel->timer, now);
		return;
	}
	next = ares_timeout(channel->ares, NULL, &tv);
	if (!next) {
		timer_cancel(channel->shard, &channel->timer);
		return;
	}
	/* c-ares rounds down to what it calls now; a millisecond more saves a round that finds nothing due.
	 */
	timer_set(channel->shard, &channel->timer,
		  now + (uint64_t)next->tv_sec * NS_PER_S + (uint64_t)next->tv_usec * 1000 + NS_PER_MS);
}

static void channel_on_timer(struct timer *timer)
{
	struct channel *channel = CONTAINER_OF(timer, struct channel, timer);

	if (channel->retired && channel->under_way == 0) {
		channel_free(channel);
		return;
	}
	ares_process_fd(channel->ares, ARES_SOCKET_BAD, ARES_SOCKET_BAD);
	channel_rearm(channel);
}

static void channel_on_ready(void *arg, int fd, unsigned events)
{
	struct channel *channel = arg;

	ares_process_fd(channel->ares, events & WATCH_READ ? fd : ARES_SOCKET_BAD,
			events & WATCH_WRITE ? fd : ARES_SOCKET_BAD);
	channel_rearm(channel);
}

static void socket_forget(struct channel_socket *socket)
{
	watch_close(socket->watch);
	list_remove(&socket->link);
	free(socket);
}

/* c-ares opened a socket, wants other events of it, or is about to close it (neither event). */
static void channel_on_socket(void *arg, ares_socket_t fd, int readable, int writable)
{
	struct channel *channel = arg;
	struct channel_socket *socket = NULL;
	unsigned events = (readable ? WATCH_READ : 0u) | (writable ? WATCH_WRITE : 0u);

	LIST_EACH (l, &channel->sockets)
		if (LIST_ITEM(l, struct channel_socket, link)->fd == fd)
			socket = LIST_ITEM(l, struct channel_socket, link);
	if (socket && !events) {
		socket_forget(socket);
		return;
	}
	if (!socket && events) {
		/* From the heap: it lives as long as c-ares likes. Without memory the socket goes unwatched,
		 * and its questions end by c-ares's time-out. */
		socket = calloc(1, sizeof(*socket));
		if (!socket)
			return;
		socket->channel = channel;
		socket->fd = fd;
		if (watch_new(channel->shard, fd, channel_on_ready, channel, &socket->watch) != OK) {
			free(socket);
			return;
		}
		list_append(&channel->sockets, &socket->link);
	}
	if (socket)
		watch_set(socket->watch, events);
}

enum rc channel_new(struct shard *shard, const char *servers, unsigned timeout_ms, unsigned tries, bool edns,
		    struct link *channels, struct channel **channel_ret, struct err *err)
{
	struct channel *channel = calloc(1, sizeof(*channel));
	struct ares_options options = {
	    .flags = edns ? ARES_FLAG_EDNS : 0,
	    .timeout = (int)timeout_ms,
	    .tries = (int)tries,
	    .ednspsz = WIRE_UDP_SIZE,
	    .sock_state_cb = channel_on_socket,
	    .sock_state_cb_data = channel,
	};
	int status;

	if (!channel)
		return err_memory(err);
	pthread_once(&library_once, library_init);
	channel->shard = shard;
	list_init(&channel->sockets);
	list_append(channels, &channel->link);
	timer_init(&channel->timer, channel_on_timer);
	/* Without servers of ours this reads resolv.conf: one small local file, once for each channel. */
	status = ares_init_options(&channel->ares, &options,
				   ARES_OPT_FLAGS | ARES_OPT_TIMEOUTMS | ARES_OPT_TRIES | ARES_OPT_EDNSPSZ |
				       ARES_OPT_SOCK_STATE_CB);
	if (status != ARES_SUCCESS) {
		list_remove(&channel->link);
		free(channel);
		return err_set(err, DEFER, "cannot set up name resolution: %s", ares_strerror(status));
	}
	if (servers && (status = ares_set_servers_ports_csv(channel->ares, servers)) != ARES_SUCCESS) {
		channel_free(channel);
		return err_set(err, FAIL, "not a list of name servers: %s", servers);
	}
	*channel_ret = channel;
	return OK;
}

const struct slice *channel_endings(struct channel *channel, struct arena *arena, unsigned *count_ret)
{
	struct ares_options options;
	struct slice *list = NULL;
	int mask = 0;

	*count_ret = 0;
	if (ares_save_options(channel->ares, &options, &mask) != ARES_SUCCESS)
		return NULL;
	if ((mask & ARES_OPT_DOMAINS) && options.ndomains > 0)
		list = arena_array(arena, struct slice, (unsigned)options.ndomains);
	for (int i = 0; list && i < options.ndomains; i++) {
		struct slice copy = arena_copy(arena, slice_of(options.domains[i]));
		if (copy.ptr && copy.len)
			list[(*count_ret)++] = copy;
	}
	ares_destroy_options(&options);
	return list;
}

static void channel_on_answer(void *arg, int status, int timeouts, unsigned char *bytes, int len)
{
	struct channel_query *query = arg;

	(void)timeouts;
	query->channel->under_way--;
	query->done(query, status, bytes, bytes && len > 0 ? (size_t)len : 0);
}

void channel_send(struct channel *channel, struct channel_query *query, const uint8_t *bytes, size_t len)
{
	ASSERT(!channel->retired);
	query->channel = channel;
	channel->under_way++;
	ares_send(channel->ares, bytes, (int)len, channel_on_answer, query);
	channel_rearm(channel);
}

void channel_retire(struct channel *channel)
{
	channel->retired = true;
	channel_rearm(channel);
}

void channel_free(struct channel *channel)
{
	/* No answer may set the timer again from here on. */
	channel->retired = true;
	ares_destroy(channel->ares);
	LIST_EACH (l, &channel->sockets)
		socket_forget(LIST_ITEM(l, struct channel_socket, link));
	timer_cancel(channel->shard, &channel->timer);
	list_remove(&channel->link);
	free(channel);
}

void channel_free_all(struct link *channels)
{
	LIST_EACH (l, channels)
		channel_free(LIST_ITEM(l, struct channel, link));
}
