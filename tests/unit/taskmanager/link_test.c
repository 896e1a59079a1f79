/* Two links over a socket pair, pumped by hand, and what a link does with a bad peer. */
#include "taskmanager/link.h"

#include <criterion/criterion.h>
#include <criterion/new/assert.h>
#include <fcntl.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/prng.h"

enum { CHANNELS = 3, BATCHES = 3000, CREDITS = 4 };

struct side {
	struct batch_cache cache;
	struct link link;
	struct queue queues[CHANNELS];
	struct waker waker;
};

static void side_init(struct side *s, struct batch_pool *pool, bool sends, int fd)
{
	memset(s, 0, sizeof(*s));
	s->cache.pool = pool;
	waker_init(&s->waker);
	link_init(&s->link, &s->cache, CREDITS);
	for (unsigned i = 0; i < CHANNELS; i++) {
		queue_init(&s->queues[i], sends ? 4 : CREDITS + 8);
		if (sends)
			link_add_out(&s->link, &s->queues[i], &s->waker);
		else
			link_add_in(&s->link, &s->queues[i], &s->waker);
	}
	link_prepare(&s->link);
	fcntl(fd, F_SETFL, O_NONBLOCK);
	link_start(&s->link, fd);
}

static void side_fini(struct side *s)
{
	link_fini(&s->link);
	for (unsigned i = 0; i < CHANNELS; i++)
		queue_fini(&s->queues[i], &s->cache);
	batch_cache_clear(&s->cache);
	waker_fini(&s->waker);
}

static void pump(struct side *s)
{
	bool progress;
	struct err e = {0};

	s->link.stuck = false;
	cr_assert(eq(int, link_send(&s->link, &progress, &e), ERR_OK), "%s", e.text);
	cr_assert(eq(int, link_receive(&s->link, &progress, &e), ERR_OK), "%s", e.text);
}

/* Batch n of a channel: n % 7 == 6 is a barrier, else bytes that tell n. */
static struct batch *batch_made(struct side *s, uint32_t n, struct prng *r)
{
	if (n % 7 == 6)
		return batch_control(BATCH_BARRIER, &(struct batch_barrier){.checkpoint = n});
	struct batch *b = batch_get(&s->cache, 8);
	b->len = 8 + 8 * (uint32_t)prng_below(r, prng_chance(r, 300000) ? 4000 : 10);
	b->rows = 1;
	for (uint32_t i = 0; i < b->len; i += 4)
		memcpy(b->data + i, &n, 4);
	return b;
}

static void batch_checked(const struct batch *b, uint32_t n)
{
	uint32_t got;

	if (n % 7 == 6) {
		cr_assert(eq(int, b->kind, BATCH_BARRIER));
		cr_assert(eq(u64, batch_barrier(b)->checkpoint, n));
		return;
	}
	cr_assert(eq(int, b->kind, BATCH_DATA));
	for (uint32_t i = 0; i < b->len; i += 4) {
		memcpy(&got, b->data + i, 4);
		cr_assert(eq(u32, got, n));
	}
}

Test(link, every_channel_keeps_its_order_and_its_credit)
{
	static struct side a, b;
	struct batch_pool *pool = batch_pool_create(256);
	uint32_t put[CHANNELS] = {0}, got[CHANNELS] = {0};
	struct prng r;
	int fd[2];

	prng_init(&r, 11);
	socketpair(AF_UNIX, SOCK_STREAM, 0, fd);
	side_init(&a, pool, true, fd[0]);
	side_init(&b, pool, false, fd[1]);
	while (got[0] + got[1] + got[2] < CHANNELS * BATCHES) {
		unsigned c = (unsigned)prng_below(&r, CHANNELS);
		if (put[c] < BATCHES && !queue_stuck(&a.queues[c]))
			queue_offer(&a.queues[c], batch_made(&a, put[c]++, &r));
		queue_flush(&a.queues[c]);
		if (prng_chance(&r, 500000))
			pump(&a);
		if (prng_chance(&r, 500000))
			pump(&b);
		c = (unsigned)prng_below(&r, CHANNELS);
		if (c == 1 && prng_chance(&r, 900000))
			continue; /* a slow task: its channel alone runs out of credit */
		struct batch *taken = queue_take(&b.queues[c]);
		if (taken) {
			batch_checked(taken, got[c]++);
			batch_free(&b.cache, taken);
		}
	}
	link_bye(&a.link);
	pump(&a);
	side_fini(&a);
	bool progress;
	struct err e = {0};
	for (unsigned i = 0; i < 10; i++)
		cr_assert(eq(int, link_receive(&b.link, &progress, &e), ERR_OK), "%s", e.text);
	cr_assert(eq(int, b.link.fd, -1), "closed after BYE");
	side_fini(&b);
	batch_pool_destroy(pool);
}

/* What a link says to bytes that a peer should not send. */
static void refused(const struct batch_frame *frames, unsigned n, const char *why)
{
	static struct side b;
	struct batch_pool *pool = batch_pool_create(64);
	struct err e = {0};
	bool progress;
	int fd[2];
	enum errc code = ERR_OK;

	socketpair(AF_UNIX, SOCK_STREAM, 0, fd);
	side_init(&b, pool, false, fd[1]);
	for (unsigned i = 0; i < n; i++) {
		char zero[64] = {0};
		cr_assert(eq(sz, write(fd[0], &frames[i], 16), 16));
		if (frames[i].length <= sizeof(zero) && frames[i].length)
			cr_assert(ne(sz, write(fd[0], zero, frames[i].length), 0));
	}
	for (unsigned i = 0; i < 10 && code == ERR_OK; i++)
		code = link_receive(&b.link, &progress, &e);
	cr_expect(eq(int, code, ERR_UNAVAILABLE));
	cr_expect(strstr(e.text, why) != NULL, "\"%s\" instead of \"%s\"", e.text, why);
	close(fd[0]);
	side_fini(&b);
	batch_pool_destroy(pool);
}

Test(link, refuses_what_breaks_the_protocol)
{
	struct batch_frame f = {.length = 16, .kind = BATCH_DATA, .sequence = 2};

	refused(&f, 1, "missing");
	f.sequence = 1;
	f.channel = CHANNELS;
	refused(&f, 1, "unknown channel");
	f.channel = 0;
	f.length = ROW_BYTES_MAX + 8;
	refused(&f, 1, "impossible length");
	f.length = 12;
	refused(&f, 1, "impossible length");
	f.kind = 77;
	refused(&f, 1, "unknown kind");
	f.kind = BATCH_CREDIT;
	refused(&f, 1, "bad credit");
	f.kind = BATCH_BARRIER;
	refused(&f, 1, "bad barrier");
	struct batch_frame many[CREDITS + 1];
	for (unsigned i = 0; i <= CREDITS; i++)
		many[i] = (struct batch_frame){.length = 16, .kind = BATCH_DATA, .sequence = i + 1};
	refused(many, CREDITS + 1, "without credit");
}

Test(link, an_end_without_bye_is_a_failure)
{
	static struct side b;
	struct batch_pool *pool = batch_pool_create(64);
	struct err e = {0};
	bool progress;
	int fd[2];

	socketpair(AF_UNIX, SOCK_STREAM, 0, fd);
	side_init(&b, pool, false, fd[1]);
	close(fd[0]);
	cr_assert(eq(int, link_receive(&b.link, &progress, &e), ERR_UNAVAILABLE));
	side_fini(&b);
	batch_pool_destroy(pool);
}
