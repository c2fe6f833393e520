/* A slot, for the sizes of Debian's library (10,864 and 37,512 bytes; the numbers are of pages):
 *
 *	0		9		     10		     11	      12
 *	head, gap, used | zero ... zero, end | SSL ........................., gap
 *	           `------ session object ---'
 *
 * Of the session object its beginning and its last few bytes are used as long as the peer has shown no certificate. */
#include "tls/memory.h"

#include <stdatomic.h>
#include <sys/mman.h>

#define PAGE         4096u
#define SLOT_SIZE    (64u * 1024)
#define SLOT_COUNT   (256u * 1024) /* 16 GiB of addresses */
#define SESSION_HEAD 576u          /* what is used of the session object in any case */
#define SESSION_TAIL 72u
#define PIECE_MIN    128u /* smaller ones are not worth their head */
#define HOT_MAX      64u  /* free slots of a thread that keep their pages */

/* A part of a gap, taken or free; its bytes follow. */
struct piece {
	uint32_t size; /* with this head */
	uint32_t next; /* the next free one's offset in the slot; 0: none */
	uint64_t spare;
};
static_assert(sizeof(struct piece) == 16, "what follows is aligned");

struct slot {
	uint32_t held;     /* objects in it, and one for its owner */
	uint32_t free;     /* the first free piece's offset */
	bool ssl, session; /* taken */
	bool plain;
	struct slot *next; /* of those that are free */
};

static struct {
	char *base;            /* NULL: there are none */
	_Atomic uint32_t used; /* have been cut so far; each thread takes the next by adding one */
	/* Where things are in a slot. Not changed once base is set. */
	uint32_t ssl_size, session_size, session_at, ssl_at, end;
} slots;

/* A thread's free ones, so that no shard waits for another. One that ends on another thread is free there. */
static _Thread_local struct {
	struct slot *hot, *cold;
	unsigned hot_count;
} mine;

static uint32_t round_up(size_t size, uint32_t to)
{
	return (uint32_t)((size + to - 1) / to * to);
}

/* The place of the session object with which as few pages as can be are used, and as much as can be is left in front of it. */
static uint32_t best_place(uint32_t ssl_size, uint32_t session_size)
{
	uint32_t best = 0, best_pages = UINT32_MAX;

	for (uint32_t at = PAGE - SESSION_HEAD; at >= sizeof(struct slot); at -= 16) {
		uint32_t first = (at + session_size - SESSION_TAIL) / PAGE;
		uint32_t last = (at + session_size + ssl_size - 1) / PAGE;

		if (last - first + 1 < best_pages) {
			best_pages = last - first + 1;
			best = at;
		}
	}
	return best;
}

bool slots_init(size_t ssl_size, size_t session_size)
{
	uint32_t at;
	void *base;

	if (ssl_size < PAGE || session_size < PAGE || ssl_size + session_size > SLOT_SIZE - 2 * PAGE)
		return false;
	slots.ssl_size = round_up(ssl_size, 16);
	slots.session_size = round_up(session_size, 16);
	at = best_place(slots.ssl_size, slots.session_size);
	slots.session_at = at;
	slots.ssl_at = at + slots.session_size;
	slots.end = round_up(slots.ssl_at + slots.ssl_size, PAGE);
	/* One slot more, since it need not begin where a slot should. */
	base = mmap(NULL, (size_t)SLOT_SIZE * (SLOT_COUNT + 1), PROT_READ | PROT_WRITE,
		    MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	if (base == MAP_FAILED)
		return false;
	/* A huge page would fill the holes. */
	(void)madvise(base, (size_t)SLOT_SIZE * (SLOT_COUNT + 1), MADV_NOHUGEPAGE);
	(void)madvise(base, (size_t)SLOT_SIZE * (SLOT_COUNT + 1), MADV_DONTDUMP);
	slots.base = (char *)(((uintptr_t)base + SLOT_SIZE - 1) / SLOT_SIZE * SLOT_SIZE);
	return true;
}

static struct piece *piece_at(struct slot *slot, uint32_t at)
{
	return (struct piece *)((char *)slot + at);
}

static uint32_t piece_place(const struct slot *slot, const struct piece *piece)
{
	return (uint32_t)((const char *)piece - (const char *)slot);
}

/* Among the free ones, in order; neighbours become one. */
static void piece_free(struct slot *slot, struct piece *piece)
{
	uint32_t at = piece_place(slot, piece), *link = &slot->free;
	struct piece *before = NULL;

	while (*link && *link < at) {
		before = piece_at(slot, *link);
		link = &before->next;
	}
	piece->next = *link;
	*link = at;
	if (piece->next == at + piece->size) {
		struct piece *behind = piece_at(slot, piece->next);

		piece->size += behind->size;
		piece->next = behind->next;
	}
	if (before && piece_place(slot, before) + before->size == at) {
		before->size += piece->size;
		before->next = piece->next;
	}
}

static void gap_add(struct slot *slot, uint32_t from, uint32_t to)
{
	struct piece *piece;

	from = round_up(from, 16);
	if (to < from + PIECE_MIN)
		return;
	piece = piece_at(slot, from);
	piece->size = (to - from) / 16 * 16;
	piece_free(slot, piece);
}

static struct slot *slot_find(void)
{
	struct slot *slot = NULL;

	if (!slots.base)
		return NULL;
	if (mine.hot) {
		slot = mine.hot;
		mine.hot = slot->next;
		mine.hot_count--;
	} else if (mine.cold) {
		slot = mine.cold;
		mine.cold = slot->next;
	} else if (slots.used < SLOT_COUNT) {
		uint32_t next = slots.used++;

		if (next < SLOT_COUNT)
			slot = (struct slot *)(slots.base + (size_t)SLOT_SIZE * next);
		else
			slots.used--; /* another thread had the last */
	}
	return slot;
}

struct slot *slot_new_plain(void)
{
	struct slot *slot = slot_find();

	if (!slot)
		return NULL;
	*slot = (struct slot){.held = 1, .plain = true};
	gap_add(slot, sizeof(*slot), SLOT_SIZE);
	return slot;
}

struct slot *slot_new(void)
{
	struct slot *slot = slot_find();

	if (!slot)
		return NULL;
	*slot = (struct slot){.held = 1};
	gap_add(slot, sizeof(*slot), slots.session_at);
	gap_add(slot, slots.ssl_at + slots.ssl_size, slots.end);
	return slot;
}

static void release(struct slot *slot)
{
	if (--slot->held)
		return;
	if (mine.hot_count < HOT_MAX) {
		slot->next = mine.hot;
		mine.hot = slot;
		mine.hot_count++;
		return;
	}
	/* But for the first page, in which the list goes on. */
	(void)madvise((char *)slot + PAGE, SLOT_SIZE - PAGE, MADV_DONTNEED);
	slot->next = mine.cold;
	mine.cold = slot;
}

void slot_free(struct slot *slot)
{
	if (slot)
		release(slot);
}

void slot_drop(struct slot *slot)
{
	if (!slot)
		return;
	slot->held = 1;
	release(slot);
}

static void *piece_take(struct slot *slot, size_t size)
{
	uint32_t need = round_up(size + sizeof(struct piece), 16);

	for (uint32_t *link = &slot->free; *link; link = &piece_at(slot, *link)->next) {
		struct piece *piece = piece_at(slot, *link), *rest;

		if (piece->size < need)
			continue;
		if (piece->size >= need + PIECE_MIN) {
			rest = piece_at(slot, *link + need);
			*rest = (struct piece){.size = piece->size - need, .next = piece->next};
			piece->size = need;
			*link += need;
		} else {
			*link = piece->next;
		}
		slot->held++;
		return piece + 1;
	}
	return NULL;
}

/* Of the small objects those as long as the session are its parts (up to 400 bytes), and the hashes and the keys of both
 * directions (1.1 to 1.3 KiB). What is between is the handshake's, and would be in their way. */
static bool lasts(size_t size)
{
	return (size >= PIECE_MIN && size <= 448) || (size >= 1024 && size <= 1408);
}

void *slot_take(struct slot *slot, size_t size)
{
	if (slot->plain)
		return size && size < SLOT_SIZE / 2 ? piece_take(slot, size) : NULL;
	if (round_up(size, 16) == slots.ssl_size && !slot->ssl) {
		slot->ssl = true;
		slot->held++;
		return (char *)slot + slots.ssl_at;
	}
	if (round_up(size, 16) == slots.session_size && !slot->session) {
		slot->session = true;
		slot->held++;
		return (char *)slot + slots.session_at;
	}
	return lasts(size) ? piece_take(slot, size) : NULL;
}

bool slot_owns(const void *ptr)
{
	return slots.base && (uintptr_t)ptr - (uintptr_t)slots.base < (size_t)SLOT_SIZE * SLOT_COUNT;
}

static uint32_t place_of(const void *ptr)
{
	return (uint32_t)((uintptr_t)ptr % SLOT_SIZE);
}

void slot_give(void *ptr)
{
	uint32_t at = place_of(ptr);
	struct slot *slot = (struct slot *)((char *)ptr - at);

	if (!slot->plain && at == slots.ssl_at)
		slot->ssl = false;
	else if (!slot->plain && at == slots.session_at)
		slot->session = false;
	else
		piece_free(slot, (struct piece *)ptr - 1);
	release(slot);
}

size_t slot_size(const void *ptr)
{
	uint32_t at = place_of(ptr);
	const struct slot *slot = (const struct slot *)((const char *)ptr - at);

	if (!slot->plain && at == slots.ssl_at)
		return slots.ssl_size;
	if (!slot->plain && at == slots.session_at)
		return slots.session_size;
	return ((const struct piece *)ptr)[-1].size - sizeof(struct piece);
}

void slot_trim(struct slot *slot)
{
	static const char zeros[PAGE];
	char *bytes = (char *)slot;

	for (uint32_t at = PAGE; at < slots.end; at += PAGE) {
		uint32_t end = at;

		while (end < slots.end && memcmp(bytes + end, zeros, PAGE) == 0)
			end += PAGE;
		if (end > at)
			(void)madvise(bytes + at, end - at, MADV_DONTNEED);
		at = end;
	}
}
