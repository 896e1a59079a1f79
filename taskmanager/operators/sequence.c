/*
 * source.sequence: the whole numbers of a range, each once.
 *
 * The range is cut into one piece per subtask at the first start. What is left of each piece is a
 * list item, so that pieces are dealt out anew when the parallelism changes. Rows are laid out
 * directly: this source also measures the engine.
 */
#include <stdlib.h>

#include "base/mem.h"
#include "job/optypes.h"
#include "taskmanager/operators/operators.h"

struct piece {
	int64_t next;
	uint64_t left;
};

struct sequence {
	struct op op;
	struct piece *pieces; /* owns */
	unsigned n, at;
	int64_t keys; /* 0: no key column */
	bool text;
	/* rate: rows that may have been emitted since `since_ms`; 0: no limit */
	uint64_t rate, since_ms, emitted;
};

static struct sequence *self(struct op *o)
{
	return (struct sequence *)(void *)o;
}

static void piece_add(struct sequence *s, struct piece p)
{
	s->pieces = mem_resize(s->pieces, s->n + 1, sizeof(*s->pieces));
	s->pieces[s->n++] = p;
}

static enum errc open_sequence(struct op *o, struct err *e)
{
	const struct op_context *c = o->context;
	struct sequence *s = self(o);
	int64_t from = optype_int(c->spec, "from"), to = optype_int(c->spec, "to");
	uint64_t total = (uint64_t)to - (uint64_t)from + 1;
	const char *type = optype_text(c->spec, "keyType");

	(void)e;
	s->keys = optype_int(c->spec, "keys");
	s->text = type && strcmp(type, "string") == 0;
	uint64_t rate = (uint64_t)optype_int(c->spec, "rateLimit");
	if (rate) {
		s->rate = rate / c->parallelism + (c->subtask < rate % c->parallelism);
		s->rate = s->rate ? s->rate : 1;
	}
	if (c->found)
		return ERR_OK; /* the pieces come from restore() */
	uint64_t share = total / c->parallelism, more = total % c->parallelism;
	uint64_t first = share * c->subtask + (c->subtask < more ? c->subtask : more);
	piece_add(s,
		  (struct piece){(int64_t)((uint64_t)from + first), share + (c->subtask < more)});
	return ERR_OK;
}

static enum errc restore(struct op *o, unsigned list, const void *item, size_t len, struct err *e)
{
	struct piece p;

	(void)list;
	if (len != sizeof(p))
		return err_set(e, ERR_CORRUPT, "source.sequence: a list item of %zu bytes", len);
	memcpy(&p, item, sizeof(p));
	piece_add(self(o), p);
	return ERR_OK;
}

static enum errc snapshot(struct op *o, struct ckpt_id id, struct op_lists *lists, struct err *e)
{
	struct sequence *s = self(o);
	enum errc code = ERR_OK;

	(void)id;
	for (unsigned i = 0; i < s->n && code == ERR_OK; i++)
		code = op_list_add(lists, 0, &s->pieces[i], sizeof(s->pieces[i]), e);
	return code;
}

/* ---- rows ---- */

static const uint64_t header_number = 2;  /* units 2: header and one slot */
static const uint64_t header_int_key = 3; /* header and two slots */

/* The decimal digits of v (below 10^19) into out, left-aligned; returns how many. */
static inline unsigned digits(uint64_t v, char out[24])
{
	char reverse[24];
	unsigned n = 0;

	do {
		reverse[n++] = (char)('0' + v % 10);
		v /= 10;
	} while (v);
	for (unsigned i = 0; i < n; i++)
		out[i] = reverse[n - 1 - i];
	return n;
}

static void rows_number(struct op_out *out, int64_t value, uint32_t n)
{
	for (uint32_t i = 0; i < n; i++) {
		uint64_t *r = op_out_row(out, 16);
		r[0] = header_number;
		r[1] = (uint64_t)value + i;
	}
}

/* key = value modulo keys, never negative; the next key follows from the one before. */
static int64_t key_of(int64_t value, int64_t keys)
{
	int64_t k = value % keys;

	return k < 0 ? k + keys : k;
}

static void rows_int_key(struct op_out *out, int64_t value, int64_t keys, uint32_t n)
{
	int64_t key = key_of(value, keys);

	for (uint32_t i = 0; i < n; i++) {
		uint64_t *r = op_out_row(out, 24);
		r[0] = header_int_key;
		r[1] = (uint64_t)value + i;
		r[2] = (uint64_t)key;
		key = key + 1 == keys ? 0 : key + 1;
	}
}

static void rows_text_key(struct op_out *out, int64_t value, int64_t keys, uint32_t n)
{
	int64_t key = key_of(value, keys);
	char text[24] = {0};
	uint64_t words[3];

	for (uint32_t i = 0; i < n; i++) {
		unsigned len = digits((uint64_t)key, text);
		uint64_t padded = (len + 7) / 8;
		memset(text + len, 0, sizeof(text) - len);
		memcpy(words, text, sizeof(words));
		uint64_t *r = op_out_row(out, 24 + 8 * padded);
		r[0] = 3 + padded;
		r[1] = (uint64_t)value + i;
		r[2] = 24 | (uint64_t)len << 32;
		for (uint64_t w = 0; w < padded; w++)
			r[3 + w] = words[w];
		key = key + 1 == keys ? 0 : key + 1;
	}
}

/* How many rows the rate allows now, at most `budget`. */
static uint32_t allowed(struct sequence *s, uint32_t budget)
{
	uint64_t now;

	if (!s->rate)
		return budget;
	now = op_now_ms(s->op.context);
	if (!s->since_ms || now - s->since_ms > 10000) { /* a pause is not made up for */
		s->since_ms = now;
		s->emitted = 0;
	}
	uint64_t may = (now - s->since_ms) * s->rate / 1000 + 1;
	uint64_t left = may > s->emitted ? may - s->emitted : 0;
	return left < budget ? (uint32_t)left : budget;
}

static enum errc poll_sequence(struct op *o, struct op_out *out, uint32_t budget,
			       struct op_poll *result, struct err *e)
{
	struct sequence *s = self(o);

	(void)e;
	while (s->at < s->n && !s->pieces[s->at].left)
		s->at++;
	if (s->at == s->n) {
		result->state = OP_POLL_END;
		return ERR_OK;
	}
	struct piece *p = &s->pieces[s->at];
	uint32_t n = allowed(s, budget);
	if (n > p->left)
		n = (uint32_t)p->left;
	if (!n) {
		*result = (struct op_poll){.state = OP_POLL_IDLE, .wait_ms = 1, .wait_fd = -1};
		return ERR_OK;
	}
	if (!s->keys)
		rows_number(out, p->next, n);
	else if (s->text)
		rows_text_key(out, p->next, s->keys, n);
	else
		rows_int_key(out, p->next, s->keys, n);
	p->next = (int64_t)((uint64_t)p->next + n);
	p->left -= n;
	s->emitted += n;
	return ERR_OK;
}

static void close_sequence(struct op *o)
{
	free(self(o)->pieces);
}

const struct op_type op_source_sequence = {.name = "source.sequence",
					   .size = sizeof(struct sequence),
					   .source = true,
					   .n_lists = 1,
					   .lists = {OP_LIST_SPLIT},
					   .open = open_sequence,
					   .restore = restore,
					   .poll = poll_sequence,
					   .snapshot = snapshot,
					   .close = close_sequence};
