#include "taskmanager/keyplan.h"

#include <assert.h>
#include <stdlib.h>

#define XXH_INLINE_ALL
#include <xxhash.h>

#include "base/mem.h"
#include "state/keyhash.h"

enum { SHORT_TEXT = 26, LAID_OUT = 32 };

void key_plan_init(struct key_plan *p, const struct spec_schema *schema, const struct row_plan *row,
		   const unsigned *columns, unsigned n)
{
	assert(n > 0);
	*p = (struct key_plan){.kind = KEY_CANONICAL,
			       .n = n,
			       .columns = mem_copy(columns, n * sizeof(*columns)),
			       .row = row};
	const struct spec_column *c = &schema->columns[columns[0]];
	if (n > 1 || c->nullable)
		return;
	if (c->type == SPEC_INT64)
		p->kind = KEY_INT64;
	else if (c->type == SPEC_STRING)
		p->kind = KEY_TEXT;
}

void key_plan_fini(struct key_plan *p)
{
	free(p->columns);
	*p = (struct key_plan){0};
}

/* ---- canonical bytes ---- */

static enum keyhash_type type_byte(enum spec_type t)
{
	switch (t) {
	case SPEC_BOOL:
		return KEYHASH_BOOL;
	case SPEC_INT64:
		return KEYHASH_INT64;
	case SPEC_FLOAT64:
		return KEYHASH_FLOAT64;
	case SPEC_STRING:
		return KEYHASH_STRING;
	case SPEC_BYTES:
		return KEYHASH_BYTES;
	case SPEC_TIMESTAMP:
		return KEYHASH_TIMESTAMP;
	}
	abort();
}

/* -0.0 as 0.0, and one NaN. */
static uint64_t canonical_double(double d)
{
	uint64_t bits;

	if (d != d)
		return UINT64_C(0x7ff8000000000000);
	d += 0.0;
	memcpy(&bits, &d, sizeof(bits));
	return bits;
}

static void canonical_column(const struct row_plan *p, const struct row *r, unsigned c,
			     struct buf *out)
{
	unsigned char type = (unsigned char)type_byte(p->types[c]);
	uint64_t word = r->slot[c];
	uint32_t len;

	if (row_null(p, r, c)) {
		type = KEYHASH_NULL;
		buf_add(out, &type, 1);
		return;
	}
	buf_add(out, &type, 1);
	switch (p->types[c]) {
	case SPEC_BOOL:
		buf_add(out, &word, 1);
		break;
	case SPEC_INT64:
	case SPEC_TIMESTAMP:
		buf_add(out, &word, 8);
		break;
	case SPEC_FLOAT64:
		word = canonical_double(row_f64(r, c));
		buf_add(out, &word, 8);
		break;
	case SPEC_STRING:
	case SPEC_BYTES: {
		const char *text = row_text(r, c, &len);
		buf_add(out, &len, 4);
		buf_add(out, text, len);
		break;
	}
	}
}

void key_canonical(const struct key_plan *p, const struct row *r, struct buf *out)
{
	for (unsigned i = 0; i < p->n; i++)
		canonical_column(p->row, r, p->columns[i], out);
}

/* ---- hashes ---- */

static void hash_int64(const struct row *const *rows, unsigned n, unsigned column, uint64_t *out)
{
	unsigned char laid[KEY_WINDOW][16];

	for (unsigned i = 0; i < n; i++) {
		laid[i][0] = KEYHASH_INT64;
		memcpy(&laid[i][1], &rows[i]->slot[column], 8);
	}
	for (unsigned i = 0; i < n; i++)
		out[i] = XXH3_64bits(laid[i], 9);
}

static uint64_t hash_long_text(const char *text, uint32_t len)
{
	unsigned char small[240];
	unsigned char head[5] = {KEYHASH_STRING};
	XXH3_state_t state;

	memcpy(head + 1, &len, 4);
	if (len <= sizeof(small) - sizeof(head)) {
		memcpy(small, head, sizeof(head));
		if (len)
			memcpy(small + sizeof(head), text, len);
		return XXH3_64bits(small, sizeof(head) + len);
	}
	XXH3_64bits_reset(&state);
	XXH3_64bits_update(&state, head, sizeof(head));
	XXH3_64bits_update(&state, text, len);
	return XXH3_64bits_digest(&state);
}

static void hash_text(const struct row *const *rows, unsigned n, unsigned column, uint64_t *out)
{
	unsigned char laid[KEY_WINDOW][LAID_OUT + 8];
	uint32_t lens[KEY_WINDOW];

	for (unsigned i = 0; i < n; i++) {
		const char *text = row_text(rows[i], column, &lens[i]);
		uint64_t head = (uint64_t)lens[i] << 8 | KEYHASH_STRING;
		if (lens[i] > SHORT_TEXT)
			continue;
		memcpy(laid[i], &head, 8);
		memcpy(laid[i] + 5, text, 26); /* more than the text: slack is behind each row */
	}
	for (unsigned i = 0; i < n; i++) {
		if (lens[i] <= SHORT_TEXT)
			out[i] = XXH3_64bits(laid[i], 5 + lens[i]);
		else
			out[i] = hash_long_text(row_text(rows[i], column, &lens[i]), lens[i]);
	}
}

static void hash_canonical(const struct key_plan *p, const struct row *const *rows, unsigned n,
			   uint64_t *out)
{
	struct buf b = {0};

	for (unsigned i = 0; i < n; i++) {
		buf_clear(&b);
		key_canonical(p, rows[i], &b);
		out[i] = XXH3_64bits(b.data, b.len);
	}
	buf_fini(&b);
}

void key_hash_window(const struct key_plan *p, const struct row *const *rows, unsigned n,
		     uint64_t *out)
{
	assert(n <= KEY_WINDOW);
	switch (p->kind) {
	case KEY_INT64:
		hash_int64(rows, n, p->columns[0], out);
		break;
	case KEY_TEXT:
		hash_text(rows, n, p->columns[0], out);
		break;
	case KEY_CANONICAL:
		hash_canonical(p, rows, n, out);
		break;
	}
}

uint64_t key_hash(const struct key_plan *p, const struct row *r)
{
	uint64_t hash;

	key_hash_window(p, &r, 1, &hash);
	return hash;
}

uint64_t key_hash_of_text(const struct backend_key *key)
{
	return hash_long_text(key->bytes.data, key->bytes.len);
}
