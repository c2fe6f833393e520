/* The offload pool: a few threads per shard, started when first needed, for what can only block. A call is a
 * job on the heap, since the caller may leave before it has run; rare enough for that.
 *
 * The pool is shared between its threads and the shard, and freed by whoever leaves last: a thread inside a
 * call that never returns must not keep the shard from ending. */
#include "shard.h"

#include <pthread.h>
#include <signal.h>

#define THREADS_MAX  8
#define QUEUE_MAX    256
#define THREAD_STACK (256u * 1024)

struct job {
	struct mail mail; /* at_peer: job_home */
	struct job *next;
	void (*f)(void *arg);
	void *arg;
	void (*free_arg)(void *arg);
	struct task_wait *caller; /* the shard's; NULL once the caller has left */
};

struct offload {
	pthread_mutex_t lock;
	pthread_cond_t more;
	struct shard *shard; /* NULL: gone */
	struct job *first, **last;
	unsigned queued, threads, idle, users;
};

static void job_free(struct job *job)
{
	if (job->free_arg)
		job->free_arg(job->arg);
	free(job);
}

/* Called with the lock held, which it gives up. */
static void pool_leave(struct offload *pool)
{
	bool last = --pool->users == 0;

	pthread_mutex_unlock(&pool->lock);
	if (!last)
		return;
	pthread_cond_destroy(&pool->more);
	pthread_mutex_destroy(&pool->lock);
	free(pool);
}

/* On the shard, after f has run. */
static void job_home(struct mail *mail, struct shard *here)
{
	struct job *job = CONTAINER_OF(mail, struct job, mail);

	(void)here;
	if (job->caller)
		task_wake(job->caller, OK); /* and it frees */
	else
		job_free(job);
}

static void *thread_run(void *arg)
{
	struct offload *pool = arg;

	pthread_mutex_lock(&pool->lock);
	while (pool->shard) {
		struct job *job = pool->first;

		if (!job) {
			pool->idle++;
			pthread_cond_wait(&pool->more, &pool->lock);
			pool->idle--;
			continue;
		}
		pool->first = job->next;
		if (!pool->first)
			pool->last = &pool->first;
		pool->queued--;
		pthread_mutex_unlock(&pool->lock);
		job->f(job->arg);
		pthread_mutex_lock(&pool->lock);
		if (pool->shard)
			mail_inject(pool->shard, &job->mail);
		else
			job_free(job);
	}
	pool_leave(pool);
	return NULL;
}

static bool thread_start(struct offload *pool)
{
	sigset_t all, before;
	pthread_attr_t attr;
	pthread_t thread;
	int rc;

	pthread_attr_init(&attr);
	pthread_attr_setdetachstate(&attr, PTHREAD_CREATE_DETACHED);
	pthread_attr_setstacksize(&attr, THREAD_STACK > STACK_SIZE ? THREAD_STACK : STACK_SIZE);
	sigfillset(&all);
	pthread_sigmask(SIG_BLOCK, &all, &before); /* signals are for the threads that expect them */
	rc = pthread_create(&thread, &attr, thread_run, pool);
	/* Thread-local memory of libraries comes out of the stack, too, and one may want more of it than that. */
	if (rc == EINVAL && pthread_attr_setstacksize(&attr, 16 * THREAD_STACK) == 0)
		rc = pthread_create(&thread, &attr, thread_run, pool);
	pthread_sigmask(SIG_SETMASK, &before, NULL);
	pthread_attr_destroy(&attr);
	return !rc;
}

static struct offload *pool_of(struct shard *shard)
{
	struct offload *pool = shard->offload;

	if (pool)
		return pool;
	pool = calloc(1, sizeof(*pool));
	if (!pool)
		return NULL;
	pthread_mutex_init(&pool->lock, NULL);
	pthread_cond_init(&pool->more, NULL);
	pool->shard = shard;
	pool->last = &pool->first;
	pool->users = 1;
	shard->offload = pool;
	return pool;
}

static bool pool_add(struct offload *pool, struct job *job)
{
	bool added = false;

	pthread_mutex_lock(&pool->lock);
	if (pool->idle <= pool->queued && pool->threads < THREADS_MAX && thread_start(pool)) {
		pool->threads++;
		pool->users++;
	}
	if (pool->threads && pool->queued < QUEUE_MAX) {
		*pool->last = job;
		pool->last = &job->next;
		pool->queued++;
		pthread_cond_signal(&pool->more);
		added = true;
	}
	pthread_mutex_unlock(&pool->lock);
	return added;
}

enum rc offload_call(struct task *task, void (*f)(void *arg), void *arg, void (*free_arg)(void *arg),
		     struct err *err)
{
	struct shard *shard = task->shard;
	struct offload *pool;
	struct task_wait wait;
	struct job *job;
	enum rc rc;

	if (task->cancelled || !(job = calloc(1, sizeof(*job)))) {
		rc = task->cancelled ? CANCELLED : err_memory(err);
		if (free_arg)
			free_arg(arg);
		return rc;
	}
	*job =
	    (struct job){.mail.at_peer = job_home, .f = f, .arg = arg, .free_arg = free_arg, .caller = &wait};
	if (shard->backend->no_threads) {
		f(arg);
		free(job);
		return OK;
	}
	pool = pool_of(shard);
	if (!pool || !pool_add(pool, job)) {
		job_free(job);
		return err_set(err, DEFER, "too many calls wait for a helper thread");
	}
	rc = task_park(task, &wait, NULL, false);
	if (rc == OK) {
		free(job);
		return OK;
	}
	job->caller = NULL; /* job_home() frees */
	if (rc == DEFER)
		return err_os(err, DEFER, ETIMEDOUT, "a helper thread has not finished");
	return rc;
}

void offload_done(struct shard *shard)
{
	struct offload *pool = shard->offload;

	if (!pool)
		return;
	shard->offload = NULL;
	pthread_mutex_lock(&pool->lock);
	pool->shard = NULL;
	while (pool->first) {
		struct job *job = pool->first;

		pool->first = job->next;
		job_free(job);
	}
	pthread_cond_broadcast(&pool->more);
	pool_leave(pool);
	/* What had come home, but was not read any more. */
	for (struct mail *mail = atomic_exchange(&shard->mailbox.head, NULL), *next; mail; mail = next) {
		next = mail->next;
		if (mail->at_peer == job_home)
			job_free(CONTAINER_OF(mail, struct job, mail));
	}
}
