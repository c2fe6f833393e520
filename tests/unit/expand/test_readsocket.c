/* ${readsocket against a peer that answers, answers late, answers too much, or is not there; and header
 * fields. */

#include <pthread.h>
#include <stdatomic.h>
#include <sys/socket.h>
#include <sys/un.h>

#include "harness.h"

/* A peer on a thread: reads until the end of the request (or its first line), then sends what it is told. */
struct peer {
	int fd;
	pthread_t thread;
	unsigned connections;
	const char *answer; /* NULL: nothing, until the other side goes */
	size_t repeat;
	char request[256];
	atomic_bool done;
};

static void *peer_run(void *arg)
{
	struct peer *peer = arg;
	char byte;

	for (unsigned i = 0; i < peer->connections; i++) {
		int fd = accept(peer->fd, NULL, NULL);
		size_t len = 0;
		ssize_t got;

		while ((got = read(fd, &byte, 1)) == 1 && len + 1 < sizeof(peer->request)) {
			peer->request[len++] = byte;
			if (byte == '\n')
				break;
		}
		peer->request[len] = 0;
		if (!peer->answer)
			while (read(fd, &byte, 1) > 0)
				;
		for (size_t n = 0; peer->answer && n < peer->repeat; n++)
			if (send(fd, peer->answer, strlen(peer->answer), MSG_NOSIGNAL) < 0)
				break;
		close(fd);
	}
	atomic_store(&peer->done, true);
	return NULL;
}

static void peer_start(struct peer *peer)
{
	assert_int_equal(pthread_create(&peer->thread, NULL, peer_run, peer), 0);
}

/* Our side closes its streams on the loop, so the loop has to run until the peer has seen that. */
static void peer_stop(struct harness *h, struct peer *peer)
{
	while (!atomic_load(&peer->done))
		assert_int_equal(task_sleep(&h->task, shard_now(h->shard) + NS_PER_MS), OK);
	pthread_join(peer->thread, NULL);
	close(peer->fd);
}

static int listen_unix(char *path)
{
	struct sockaddr_un sun = {.sun_family = AF_UNIX};
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

	snprintf(path, sizeof(sun.sun_path), "/tmp/sluice-expand-%d.sock", (int)getpid());
	memcpy(sun.sun_path, path, strlen(path) + 1);
	unlink(path);
	assert_int_equal(bind(fd, (struct sockaddr *)&sun, sizeof(sun)), 0);
	assert_int_equal(listen(fd, 5), 0);
	return fd;
}

static int listen_tcp(unsigned *port)
{
	struct sockaddr_in sin = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	socklen_t len = sizeof(sin);
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

	assert_int_equal(bind(fd, (struct sockaddr *)&sin, sizeof(sin)), 0);
	assert_int_equal(listen(fd, 5), 0);
	assert_int_equal(getsockname(fd, (struct sockaddr *)&sin, &len), 0);
	*port = ntohs(sin.sin_port);
	return fd;
}

static enum rc ask(struct harness *h, const char *format, const char *path, unsigned port,
		   struct slice *value, struct err *err)
{
	struct slice text =
	    path ? arena_printf(&h->arena, format, path) : arena_printf(&h->arena, format, port);

	*err = err_make(&h->arena);
	return expand_text(&h->scope, text, value, err);
}

static void readsocket_run(struct harness *h)
{
	struct slice value;
	struct err err;
	struct peer peer = {.connections = 3, .answer = "one\ntwo\n", .repeat = 1};
	char path[108];
	unsigned port;

	peer.fd = listen_unix(path);
	peer_start(&peer);
	/* The end of the request is told by closing our half. */
	assert_int_equal(ask(h, "${readsocket{%s}{hello}}", path, 0, &value, &err), OK);
	assert_true(slice_eq(value, SLICE("one\ntwo\n")));
	assert_int_equal(value.taint, TAINTED);
	assert_string_equal(peer.request, "hello");
	assert_int_equal(ask(h, "${readsocket{%s}{hello\\n}{3s:shutdown=no}{,}}", path, 0, &value, &err), OK);
	assert_true(slice_eq(value, SLICE("one,two,")));
	assert_int_equal(ask(h, "${readsocket{%s}{}{3s}{}{failed}}", path, 0, &value, &err), OK);
	assert_true(slice_eq(value, SLICE("one\ntwo\n")));
	peer_stop(h, &peer);
	unlink(path);

	peer = (struct peer){.connections = 1, .answer = "tcp", .repeat = 1};
	peer.fd = listen_tcp(&port);
	peer_start(&peer);
	assert_int_equal(ask(h, "${readsocket{inet:127.0.0.1:%u}{x}}", NULL, port, &value, &err), OK);
	assert_true(slice_eq(value, SLICE("tcp")));
	peer_stop(h, &peer);
	/* Nobody is there any more. */
	assert_int_equal(ask(h, "${readsocket{inet:127.0.0.1:%u}{x}}", NULL, port, &value, &err), FAIL);
	assert_non_null(
	    strstr(arena_cstr(&h->arena, err.text), "failed to connect to any address for 127.0.0.1"));
	assert_int_equal(ask(h, "${readsocket{inet:127.0.0.1:%u}{x}{1s}{}{gone}}", NULL, port, &value, &err),
			 OK);
	assert_true(slice_eq(value, SLICE("gone")));
}

static void test_readsocket(void **state)
{
	(void)state;
	harness_run(HARNESS_CONF, readsocket_run);
}

/* One that never answers is given up after the time that was asked for; one that never stops, after a MiB. */
static void rude_run(struct harness *h)
{
	struct slice value;
	struct err err;
	struct peer peer = {.connections = 1};
	uint64_t before = shard_wall_exact(h->shard);
	unsigned port;

	peer.fd = listen_tcp(&port);
	peer_start(&peer);
	assert_int_equal(
	    ask(h, "${readsocket{inet:127.0.0.1:%u}{x\\n}{1s:shutdown=no}}", NULL, port, &value, &err), FAIL);
	assert_string_equal(arena_cstr(&h->arena, err.text), "socket read timed out");
	assert_true(shard_wall_exact(h->shard) - before < 30 * NS_PER_S);
	peer_stop(h, &peer);

	peer =
	    (struct peer){.connections = 1, .answer = "0123456789abcdef0123456789abcdef", .repeat = 100000};
	peer.fd = listen_tcp(&port);
	peer_start(&peer);
	assert_int_equal(ask(h, "${readsocket{inet:127.0.0.1:%u}{x\\n}{30s}}", NULL, port, &value, &err),
			 FAIL);
	assert_string_equal(arena_cstr(&h->arena, err.text), "the answer is too long");
	peer_stop(h, &peer);
}

static void test_rude(void **state)
{
	(void)state;
	harness_run(HARNESS_CONF, rude_run);
}

/* ---- saslauthd --------------------------------------------------------------------------------------------
 */

/* What the peer says to a user and his password: OK, DEFER, or FAIL for "no". The realm ends in a line end, where the peer
 * stops reading; its request would be cut by the zeros of the lengths. */
static enum rc saslauthd_says(struct harness *h, struct slice answer, struct err *err)
{
	struct peer peer = {.connections = 1, .repeat = 1};
	struct slice value = SLICE_EMPTY;
	char path[108], text[64];
	enum rc rc;

	memcpy(text, answer.ptr, answer.len);
	text[answer.len] = 0;
	peer.answer = text;
	peer.fd = listen_unix(path);
	peer_start(&peer);
	*err = err_make(&h->arena);
	rc = expand_text(&h->scope, SLICE("${if saslauthd{{user}{pass word}{smtp}{realm\\n}}{yes}{no}}"),
			 &value, err);
	peer_stop(h, &peer);
	unlink(path);
	assert_memory_equal(peer.request, "\0\4user\0\11pass word\0\4smtp\0\6realm\n", 31);
	return rc != OK ? rc : slice_eq(value, SLICE("yes")) ? OK : FAIL;
}

static void saslauthd_run(struct harness *h)
{
	struct err err;
	struct slice value;

	assert_int_equal(saslauthd_says(h, SLICE("xxOK fine"), &err), OK);
	assert_int_equal(saslauthd_says(h, SLICE("xxNO"), &err), FAIL);
	assert_int_equal(err.text.len, 0);
	/* Neither is an answer. */
	assert_int_equal(saslauthd_says(h, SLICE("xxMAYBE"), &err), DEFER);
	assert_int_equal(saslauthd_says(h, SLICE("xxO"), &err), DEFER);
	assert_int_equal(saslauthd_says(h, SLICE(""), &err), DEFER);
	assert_string_equal(arena_cstr(&h->arena, err.text), "saslauthd gave no answer");
	/* Nobody is there. */
	assert_int_equal(expand_text(&h->scope, SLICE("${if saslauthd{{user}{pass}}}"), &value, &err), DEFER);
	assert_non_null(strstr(arena_cstr(&h->arena, err.text), "cannot connect to saslauthd daemon"));
	h->scope.value = arena_printf(&h->arena, "%05000d", 1);
	assert_int_equal(expand_text(&h->scope, SLICE("${if saslauthd{{$value}{pass}}}"), &value, &err),
			 FAIL);
}

static void test_saslauthd(void **state)
{
	char conf[1024];

	(void)state;
	snprintf(conf, sizeof(conf), "%ssaslauthd_socket = /tmp/sluice-expand-%d.sock\n", HARNESS_CONF,
		 (int)getpid());
	harness_run(conf, saslauthd_run);
}

/* ---- Header fields ----------------------------------------------------------------------------------------
 */

static void headers_run(struct harness *h)
{
	static const struct {
		const char *text, *result;
	} cases[] = {
	    {"$h_subject:", "caf\xc3\xa9"},
	    {"$rh_subject:", " =?utf-8?q?caf=C3=A9?=\n"},
	    {"$header_X-A: y", "1\n2 y"},
	    {"$h_x-a y", "1\n2 y"},
	    {"$h_to:", "a@b,\nc@d"},
	    {"$lh_x-a:", " 1: 2"},
	    {"$h_nosuch:", ""},
	    {"${if def:h_subject:{y}{n}}", "y"},
	    {"${if def:h_nosuch:{y}{n}}", "n"},
	    {"${if def:header_to:{y}{n}}", "y"},
	    {"${if def:h_to {y}{n}}", "y"},
	    {"${map{<\\n $h_x-a:}{<$item>}}", "<1>\n<2>"},
	};
	struct message *message = message_new(h->conf, 0);
	struct slice value;
	struct err err = err_make(&h->arena);
	uint32_t used;

	assert_int_equal(
	    header_block_parse(&message->arena,
			       SLICE("Subject: =?utf-8?q?caf=C3=A9?=\nX-A: 1\nTo: a@b\nX-A: 2\nTo: c@d\n\n"),
			       &message->headers, &used, &err),
	    OK);
	h->scope.message = message;
	for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
		assert_int_equal(expand_text(&h->scope, slice_of(cases[i].text), &value, &err), OK);
		if (!slice_eq(value, slice_of(cases[i].result)))
			fail_msg("%s gives \"%.*s\"", cases[i].text, SLICE_ARG(value));
	}
	h->scope.message = NULL;
	message_unref(message);
}

static void test_headers(void **state)
{
	(void)state;
	harness_run(HARNESS_CONF, headers_run);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(test_readsocket),
	    cmocka_unit_test(test_rude),
	    cmocka_unit_test(test_saslauthd),
	    cmocka_unit_test(test_headers),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
