/* The mailbox: a stack that any thread pushes onto and the shard takes whole, turned round when it is read,
 * so that mail from one sender arrives in the order it was posted.
 *
 * Who posts wakes the receiver only if it sleeps. The receiver first says that it will sleep, then looks once
 * more; the sender first pushes, then looks whether the receiver sleeps. With both in one total order
 * (seq_cst), at least one of them sees the other. */
#include "shard.h"

void mailbox_init(struct mailbox *box)
{
	atomic_init(&box->head, NULL);
	atomic_init(&box->sleeping, false);
}

static void mailbox_push(struct shard *from, struct shard *to, struct mail *mail)
{
	struct mailbox *box = &to->mailbox;
	struct mail *head = atomic_load_explicit(&box->head, memory_order_relaxed);

	do
		mail->next = head;
	while (!atomic_compare_exchange_weak(&box->head, &head, mail));
	if (atomic_load(&box->sleeping) && atomic_exchange(&box->sleeping, false))
		to->backend->wake(from, to);
}

bool mailbox_sleep(struct mailbox *box)
{
	atomic_store(&box->sleeping, true);
	return !atomic_load(&box->head);
}

void mailbox_awake(struct mailbox *box)
{
	atomic_store_explicit(&box->sleeping, false, memory_order_relaxed);
}

void mailbox_run(struct shard *shard)
{
	struct mail *newest, *oldest = NULL;

	if (!atomic_load_explicit(&shard->mailbox.head, memory_order_relaxed))
		return;
	newest = atomic_exchange(&shard->mailbox.head, NULL);
	while (newest) {
		struct mail *next = newest->next;

		newest->next = oldest;
		oldest = newest;
		newest = next;
	}
	while (oldest) {
		struct mail *mail = oldest;

		oldest = mail->next;
		/* at_peer is cleared on the way home: that is how both directions share one queue. */
		if (mail->at_peer)
			mail->at_peer(mail, shard);
		else
			mail->home(mail, shard);
	}
}

void mail_post(struct shard *from, struct shard *to, struct mail *mail)
{
	ASSERT(mail->at_peer && from == shard_here());
	mail->from = from;
	mailbox_push(from, to, mail);
}

void mail_return(struct mail *mail, struct shard *here)
{
	if (!mail->home)
		return;
	ASSERT(mail->from);
	mail->at_peer = NULL;
	mailbox_push(here, mail->from, mail);
}

void mail_inject(struct shard *to, struct mail *mail)
{
	ASSERT(mail->at_peer);
	mail->from = NULL;
	mailbox_push(NULL, to, mail);
}
