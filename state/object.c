#include "state/object.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#define XXH_INLINE_ALL
#include <xxhash.h>

#include "base/mem.h"

enum {
	HEADER_BYTES = 32,
	BLOCK_HEAD_BYTES = 32,
	BLOCK_HEAD_HASHED = 24,
	STATE_HEAD_BYTES = 16,
	EXTENT_BYTES = 40,
	TRAILER_BYTES = 64,
	TRAILER_HASHED = 48,
	READ_AHEAD = 4 << 20,
	FLAG_KEY_BYTES = 1,
	FLAG_VALUE_BYTES = 2,
	FLAG_LIST = 4
};

static const char header_magic[9] = "WEIRSNAP";
static const char trailer_magic[9] = "PANSRIEW";
static const uint32_t block_magic = 0x4b4c4257; /* "WBLK" */

struct extent {
	uint32_t state, group;
	uint64_t offset, len, rows, hash;
};

/* ---- little-endian fields ---- */

static void put32(char *at, uint32_t v)
{
	for (unsigned i = 0; i < 4; i++)
		at[i] = (char)(v >> 8 * i);
}

static void put64(char *at, uint64_t v)
{
	put32(at, (uint32_t)v);
	put32(at + 4, (uint32_t)(v >> 32));
}

static uint32_t get32(const char *at)
{
	uint32_t v = 0;

	for (unsigned i = 0; i < 4; i++)
		v |= (uint32_t)(unsigned char)at[i] << 8 * i;
	return v;
}

static uint64_t get64(const char *at)
{
	return get32(at) | (uint64_t)get32(at + 4) << 32;
}

static uint64_t block_hash(const char *head, const char *stored, size_t len)
{
	return XXH3_64bits_withSeed(stored, len, XXH3_64bits(head, BLOCK_HEAD_HASHED));
}

/* ---- writing ---- */

struct object_writer {
	struct object_sink *sink; /* borrows */
	uint64_t offset;
	struct object_state *states; /* owns */
	unsigned n_states, states_capacity;
	struct extent *extents; /* owns; the last one is open */
	size_t n_extents, extents_capacity;
	XXH3_state_t *hash; /* owns; of the open extent */
	struct buf scratch;
	struct object_summary summary;
};

static MUST_CHECK enum errc emit(struct object_writer *w, const void *data, size_t len,
				 struct err *e)
{
	enum errc code = w->sink->write(w->sink, data, len, e);

	w->offset += len;
	return code;
}

enum errc object_writer_create(struct object_sink *sink, struct object_writer **out, struct err *e)
{
	struct object_writer *w = mem_alloc(sizeof(*w));
	char header[HEADER_BYTES] = {0};
	enum errc code;

	w->sink = sink;
	w->hash = XXH3_createState();
	assert(w->hash);
	memcpy(header, header_magic, 8);
	put32(header + 8, OBJECT_FORMAT);
	code = emit(w, header, sizeof(header), e);
	if (code)
		object_writer_destroy(w);
	else
		*out = w;
	return code;
}

void object_writer_destroy(struct object_writer *w)
{
	if (!w)
		return;
	XXH3_freeState(w->hash);
	buf_fini(&w->scratch);
	free(w->states);
	free(w->extents);
	free(w);
}

static bool same_layout(const struct block_layout *a, const struct block_layout *b)
{
	return a->key_bytes == b->key_bytes && a->value_bytes == b->value_bytes &&
	       a->value_words == b->value_words && a->list == b->list;
}

static bool same_state(const struct object_state *a, const struct object_state *b)
{
	return same_layout(&a->layout, &b->layout) && a->kind == b->kind &&
	       a->parallelism == b->parallelism && a->max_parallelism == b->max_parallelism;
}

static int find_state(const struct object_state *states, unsigned n, const char *uid,
		      const char *name)
{
	for (unsigned i = 0; i < n; i++)
		if (!strcmp(states[i].uid, uid) && !strcmp(states[i].name, name))
			return (int)i;
	return -1;
}

enum errc object_writer_state(struct object_writer *w, const struct object_state *state,
			      unsigned *out, struct err *e)
{
	int known = find_state(w->states, w->n_states, state->uid, state->name);

	if (known >= 0) {
		if (!same_state(&w->states[known], state))
			return err_set(e, ERR_INVALID,
				       "state %s of %s is in the object with another type",
				       state->name, state->uid);
		*out = (unsigned)known;
		return ERR_OK;
	}
	if (w->n_states == OBJECT_STATES_MAX)
		return err_set(e, ERR_LIMIT, "more than %d states", OBJECT_STATES_MAX);
	if (w->n_states == w->states_capacity) {
		w->states_capacity = w->states_capacity ? 2 * w->states_capacity : 8;
		w->states = mem_resize(w->states, w->states_capacity, sizeof(*w->states));
	}
	w->states[w->n_states] = *state;
	*out = w->n_states++;
	return ERR_OK;
}

static void close_extent(struct object_writer *w)
{
	if (w->n_extents)
		w->extents[w->n_extents - 1].hash = XXH3_64bits_digest(w->hash);
}

/* The extent that a block of this state and group belongs to: the open one, or a new one. */
static struct extent *extent_for(struct object_writer *w, uint32_t state, uint32_t group)
{
	struct extent *last = w->n_extents ? &w->extents[w->n_extents - 1] : NULL;

	if (last && last->state == state && last->group == group)
		return last;
	close_extent(w);
	XXH3_64bits_reset(w->hash);
	if (w->n_extents == w->extents_capacity) {
		w->extents_capacity = w->extents_capacity ? 2 * w->extents_capacity : 64;
		w->extents = mem_resize(w->extents, w->extents_capacity, sizeof(*w->extents));
	}
	last = &w->extents[w->n_extents++];
	*last = (struct extent){.state = state, .group = group, .offset = w->offset};
	return last;
}

enum errc object_writer_block(struct object_writer *w, unsigned state, const struct block *b,
			      struct err *e)
{
	struct extent *x;
	char *head;

	assert(state < w->n_states);
	assert(b->n_words == block_layout_words(&w->states[state].layout));
	if (!b->rows)
		return ERR_OK;
	if (b->rows > BLOCK_ROWS_MAX || b->heap.len > BLOCK_HEAP_BYTES_MAX)
		return err_set(e, ERR_LIMIT, "a block of %u rows and %zu bytes", b->rows,
			       b->heap.len);
	buf_clear(&w->scratch);
	head = buf_reserve(&w->scratch, BLOCK_HEAD_BYTES);
	buf_grew(&w->scratch, BLOCK_HEAD_BYTES);
	block_pack(b, &w->scratch);
	head = w->scratch.data;
	put32(head, block_magic);
	put32(head + 4, (uint32_t)(w->scratch.len - BLOCK_HEAD_BYTES));
	put32(head + 8, b->rows);
	put32(head + 12, (uint32_t)block_raw_bytes(b));
	put32(head + 16, state);
	put32(head + 20, b->group);
	put64(head + 24,
	      block_hash(head, head + BLOCK_HEAD_BYTES, w->scratch.len - BLOCK_HEAD_BYTES));
	x = extent_for(w, state, b->group);
	x->len += w->scratch.len;
	x->rows += b->rows;
	XXH3_64bits_update(w->hash, w->scratch.data, w->scratch.len);
	w->summary.rows += b->rows;
	w->summary.raw_bytes += block_raw_bytes(b);
	return emit(w, w->scratch.data, w->scratch.len, e);
}

static int by_place(const void *left, const void *right)
{
	const struct extent *a = left, *b = right;

	if (a->state != b->state)
		return a->state < b->state ? -1 : 1;
	if (a->group != b->group)
		return a->group < b->group ? -1 : 1;
	return a->offset < b->offset ? -1 : a->offset > b->offset;
}

static void add32(struct buf *b, uint32_t v)
{
	char bytes[4];

	put32(bytes, v);
	buf_add(b, bytes, sizeof(bytes));
}

static void add64(struct buf *b, uint64_t v)
{
	add32(b, (uint32_t)v);
	add32(b, (uint32_t)(v >> 32));
}

static void add_state(struct buf *b, const struct object_state *s)
{
	uint32_t uid_len = (uint32_t)strlen(s->uid), name_len = (uint32_t)strlen(s->name);
	uint32_t flags = (s->layout.key_bytes ? FLAG_KEY_BYTES : 0u) |
			 (s->layout.value_bytes ? FLAG_VALUE_BYTES : 0u) |
			 (s->layout.list ? FLAG_LIST : 0u);

	add32(b, uid_len | name_len << 16);
	add32(b, s->kind | flags << 8 | (uint32_t)s->layout.value_words << 16);
	add32(b, s->parallelism);
	add32(b, s->max_parallelism);
	buf_add(b, s->uid, uid_len);
	buf_add(b, s->name, name_len);
}

static void build_index(struct object_writer *w)
{
	struct buf *b = &w->scratch;

	buf_clear(b);
	add32(b, w->n_states);
	add32(b, 0);
	for (unsigned i = 0; i < w->n_states; i++)
		add_state(b, &w->states[i]);
	add64(b, w->n_extents);
	for (size_t i = 0; i < w->n_extents; i++) {
		const struct extent *x = &w->extents[i];

		add32(b, x->state);
		add32(b, x->group);
		add64(b, x->offset);
		add64(b, x->len);
		add64(b, x->rows);
		add64(b, x->hash);
	}
}

enum errc object_writer_finish(struct object_writer *w, struct object_summary *out, struct err *e)
{
	char trailer[TRAILER_BYTES] = {0};
	enum errc code;

	close_extent(w);
	if (w->n_extents)
		qsort(w->extents, w->n_extents, sizeof(*w->extents), by_place);
	build_index(w);
	if (w->scratch.len > OBJECT_INDEX_MAX)
		return err_set(e, ERR_LIMIT, "an index of %zu bytes", w->scratch.len);
	w->summary.checksum = XXH3_64bits(w->scratch.data, w->scratch.len);
	put64(trailer, w->offset);
	put64(trailer + 8, w->scratch.len);
	put64(trailer + 16, w->summary.checksum);
	put64(trailer + 24, w->n_extents);
	put64(trailer + 32, w->summary.rows);
	put32(trailer + 40, OBJECT_FORMAT);
	put64(trailer + TRAILER_HASHED, XXH3_64bits(trailer, TRAILER_HASHED));
	memcpy(trailer + 56, trailer_magic, 8);
	code = emit(w, w->scratch.data, w->scratch.len, e);
	if (!code)
		code = emit(w, trailer, sizeof(trailer), e);
	w->summary.bytes = w->offset;
	if (!code)
		*out = w->summary;
	return code;
}

/* ---- reading: trailer and index ---- */

struct object_reader {
	struct object_source *source; /* borrows */
	struct object_state *states;  /* owns */
	unsigned n_states;
	struct extent *extents; /* owns; by state, group, offset */
	size_t n_extents;
	uint64_t blocks_end; /* where the index begins */
	/* the piece of the object in memory */
	struct buf ahead;
	uint64_t ahead_offset;
	struct block block;
};

static enum errc corrupt(const struct object_reader *r, struct err *e, const char *what,
			 uint64_t offset)
{
	return err_set(e, ERR_CORRUPT, "%s: %s at byte %llu", r->source->name, what,
		       (unsigned long long)offset);
}

struct trailer {
	uint64_t index_offset, index_len, index_hash, n_extents;
};

static MUST_CHECK enum errc read_trailer(struct object_reader *r, struct trailer *t, struct err *e)
{
	char at[TRAILER_BYTES];
	uint64_t offset = r->source->bytes - TRAILER_BYTES;
	enum errc code;

	if (r->source->bytes < HEADER_BYTES + TRAILER_BYTES)
		return corrupt(r, e, "too short to be a snapshot object, it ends",
			       r->source->bytes);
	code = r->source->read(r->source, offset, at, sizeof(at), e);
	if (code)
		return err_wrap(e, code, "%s: trailer", r->source->name);
	if (memcmp(at + 56, trailer_magic, 8) != 0 ||
	    get64(at + TRAILER_HASHED) != XXH3_64bits(at, TRAILER_HASHED))
		return corrupt(r, e, "the trailer is damaged", offset);
	if (get32(at + 40) != OBJECT_FORMAT)
		return err_set(e, ERR_INVALID, "%s: format %u, this program knows %d",
			       r->source->name, get32(at + 40), OBJECT_FORMAT);
	*t = (struct trailer){get64(at), get64(at + 8), get64(at + 16), get64(at + 24)};
	if (t->index_offset < HEADER_BYTES || t->index_offset > offset ||
	    t->index_len != offset - t->index_offset || t->index_len > OBJECT_INDEX_MAX)
		return corrupt(r, e, "the trailer does not fit the object", offset);
	return ERR_OK;
}

struct input {
	const char *at;
	size_t left;
};

static const char *take(struct input *in, size_t n)
{
	const char *at = in->at;

	if (in->left < n)
		return NULL;
	in->at += n;
	in->left -= n;
	return at;
}

static bool parse_state(struct input *in, struct object_state *s)
{
	const char *head = take(in, STATE_HEAD_BYTES), *uid, *name;
	uint32_t uid_len, name_len, kind;

	if (!head)
		return false;
	uid_len = get32(head) & UINT16_MAX;
	name_len = get32(head) >> 16;
	kind = get32(head + 4);
	if (uid_len > OBJECT_NAME_MAX || name_len > OBJECT_NAME_MAX)
		return false;
	uid = take(in, uid_len);
	name = take(in, name_len);
	if (!uid || !name)
		return false;
	memcpy(s->uid, uid, uid_len);
	memcpy(s->name, name, name_len);
	s->kind = (uint8_t)kind;
	s->layout.key_bytes = kind >> 8 & FLAG_KEY_BYTES;
	s->layout.value_bytes = kind >> 8 & FLAG_VALUE_BYTES;
	s->layout.list = kind >> 8 & FLAG_LIST;
	s->layout.value_words = (uint16_t)(kind >> 16);
	s->parallelism = get32(head + 8);
	s->max_parallelism = get32(head + 12);
	return block_layout_words(&s->layout) <= BLOCK_WORDS_MAX;
}

static bool parse_extent(const struct object_reader *r, const char *at, struct extent *x)
{
	*x = (struct extent){.state = get32(at),
			     .group = get32(at + 4),
			     .offset = get64(at + 8),
			     .len = get64(at + 16),
			     .rows = get64(at + 24),
			     .hash = get64(at + 32)};
	return x->state < r->n_states && x->offset >= HEADER_BYTES && x->offset <= r->blocks_end &&
	       x->len <= r->blocks_end - x->offset;
}

/* The index is checked by its hash already: what does not parse was written by something else. */
static bool parse_index(struct object_reader *r, struct input in, uint64_t n_extents)
{
	const char *head = take(&in, 8);

	if (!head || get32(head) > OBJECT_STATES_MAX || get32(head) > in.left / STATE_HEAD_BYTES)
		return false;
	r->n_states = get32(head);
	r->states = mem_array(r->n_states ? r->n_states : 1, sizeof(*r->states));
	for (unsigned i = 0; i < r->n_states; i++)
		if (!parse_state(&in, &r->states[i]))
			return false;
	head = take(&in, 8);
	if (!head || get64(head) != n_extents || in.left % EXTENT_BYTES != 0 ||
	    in.left / EXTENT_BYTES != n_extents)
		return false;
	r->n_extents = n_extents;
	r->extents = mem_array(n_extents ? n_extents : 1, sizeof(*r->extents));
	for (size_t i = 0; i < n_extents; i++) {
		head = take(&in, EXTENT_BYTES);
		if (!head || !parse_extent(r, head, &r->extents[i]))
			return false;
		if (i && by_place(&r->extents[i - 1], &r->extents[i]) >= 0)
			return false;
	}
	return true;
}

static MUST_CHECK enum errc read_index(struct object_reader *r, const struct trailer *t,
				       uint64_t checksum, struct err *e)
{
	char *data = malloc(t->index_len ? t->index_len : 1);
	enum errc code;

	if (!data)
		return err_set(e, ERR_LIMIT, "%s: no memory for an index of %llu bytes",
			       r->source->name, (unsigned long long)t->index_len);
	r->blocks_end = t->index_offset;
	code = r->source->read(r->source, t->index_offset, data, t->index_len, e);
	if (code)
		code = err_wrap(e, code, "%s: index", r->source->name);
	else if (XXH3_64bits(data, t->index_len) != t->index_hash)
		code = corrupt(r, e, "the index does not have its checksum,", t->index_offset);
	else if (t->index_hash != checksum)
		code = err_set(e, ERR_CORRUPT,
			       "%s: checksum %016llx, the manifest says %016llx: another object",
			       r->source->name, (unsigned long long)t->index_hash,
			       (unsigned long long)checksum);
	else if (!parse_index(r, (struct input){data, t->index_len}, t->n_extents))
		code = corrupt(r, e, "the index is malformed,", t->index_offset);
	free(data);
	return code;
}

static MUST_CHECK enum errc read_header(struct object_reader *r, struct err *e)
{
	char at[HEADER_BYTES];
	enum errc code = r->source->read(r->source, 0, at, sizeof(at), e);

	if (code)
		return err_wrap(e, code, "%s: header", r->source->name);
	if (memcmp(at, header_magic, 8) != 0 || get32(at + 8) != OBJECT_FORMAT)
		return corrupt(r, e, "the header is damaged", 0);
	return ERR_OK;
}

enum errc object_reader_open(struct object_source *source, uint64_t checksum,
			     struct object_reader **out, struct err *e)
{
	struct object_reader *r = mem_alloc(sizeof(*r));
	struct trailer t = {0};
	enum errc code;

	r->source = source;
	code = read_trailer(r, &t, e);
	if (!code)
		code = read_index(r, &t, checksum, e);
	if (!code)
		code = read_header(r, e);
	if (code)
		object_reader_close(r);
	else
		*out = r;
	return code;
}

void object_reader_close(struct object_reader *r)
{
	if (!r)
		return;
	free(r->states);
	free(r->extents);
	buf_fini(&r->ahead);
	block_fini(&r->block);
	free(r);
}

unsigned object_reader_count(const struct object_reader *r)
{
	return r->n_states;
}

const struct object_state *object_reader_state(const struct object_reader *r, unsigned state)
{
	assert(state < r->n_states);
	return &r->states[state];
}

int object_reader_find(const struct object_reader *r, const char *uid, const char *name)
{
	return find_state(r->states, r->n_states, uid, name);
}

/* The first extent at or behind (state, group). */
static size_t extent_at(const struct object_reader *r, uint32_t state, uint32_t group)
{
	size_t low = 0, high = r->n_extents;

	while (low < high) {
		size_t mid = low + (high - low) / 2;
		const struct extent *x = &r->extents[mid];

		if (x->state < state || (x->state == state && x->group < group))
			low = mid + 1;
		else
			high = mid;
	}
	return low;
}

uint64_t object_reader_rows(const struct object_reader *r, unsigned state, uint32_t group)
{
	uint64_t rows = 0;

	for (size_t i = extent_at(r, state, group); i < r->n_extents; i++) {
		const struct extent *x = &r->extents[i];

		if (x->state != state || x->group != group)
			break;
		rows += x->rows;
	}
	return rows;
}

/* ---- reading: blocks ---- */

/* Bytes [offset, offset + len) in memory; reads ahead up to `run_end`, the end of the wanted. */
static MUST_CHECK enum errc fetch(struct object_reader *r, uint64_t offset, size_t len,
				  uint64_t run_end, const char **out, struct err *e)
{
	uint64_t have_end = r->ahead_offset + r->ahead.len;
	size_t want = len;
	enum errc code;
	void *to;

	if (offset < r->ahead_offset || offset + len > have_end) {
		if (want < READ_AHEAD)
			want = run_end - offset < READ_AHEAD ? (size_t)(run_end - offset)
							     : READ_AHEAD;
		buf_clear(&r->ahead);
		to = buf_reserve(&r->ahead, want);
		code = r->source->read(r->source, offset, to, want, e);
		if (code)
			return err_wrap(e, code, "%s: bytes %llu to %llu", r->source->name,
					(unsigned long long)offset,
					(unsigned long long)(offset + want));
		buf_grew(&r->ahead, want);
		r->ahead_offset = offset;
	}
	*out = r->ahead.data + (offset - r->ahead_offset);
	return ERR_OK;
}

static bool head_fits(const char *head, const struct extent *x, uint64_t left)
{
	return get32(head) == block_magic && get32(head + 4) <= left - BLOCK_HEAD_BYTES &&
	       get32(head + 16) == x->state && get32(head + 20) == x->group;
}

/* The block at `offset` of extent x into r->block; *out_len is its length in the object. */
static MUST_CHECK enum errc read_block(struct object_reader *r, const struct extent *x,
				       uint64_t offset, uint64_t run_end, const char **out,
				       size_t *out_len, struct err *e)
{
	uint64_t left = x->offset + x->len - offset;
	const char *head;
	size_t stored;
	enum errc code;

	if (left < BLOCK_HEAD_BYTES)
		return corrupt(r, e, "an extent ends within a block", offset);
	code = fetch(r, offset, BLOCK_HEAD_BYTES, run_end, &head, e);
	if (code)
		return code;
	if (!head_fits(head, x, left))
		return corrupt(r, e, "a block's head is damaged", offset);
	stored = get32(head + 4);
	code = fetch(r, offset, BLOCK_HEAD_BYTES + stored, run_end, &head, e);
	if (code)
		return code;
	if (get64(head + 24) != block_hash(head, head + BLOCK_HEAD_BYTES, stored))
		return corrupt(r, e, "a block does not have its checksum,", offset);
	code = block_unpack(head + BLOCK_HEAD_BYTES, stored, &r->states[x->state].layout, x->group,
			    get32(head + 8), &r->block, e);
	if (code)
		return err_wrap(e, code, "%s: block at byte %llu", r->source->name,
				(unsigned long long)offset);
	*out = head;
	*out_len = BLOCK_HEAD_BYTES + stored;
	return ERR_OK;
}

static MUST_CHECK enum errc read_extent(struct object_reader *r, const struct extent *x,
					uint64_t run_end, XXH3_state_t *hash,
					struct object_visitor *v, struct err *e)
{
	uint64_t offset = x->offset, rows = 0;

	XXH3_64bits_reset(hash);
	while (offset < x->offset + x->len) {
		const char *bytes = NULL;
		size_t len = 0;
		enum errc code = read_block(r, x, offset, run_end, &bytes, &len, e);

		if (code)
			return code;
		XXH3_64bits_update(hash, bytes, len);
		rows += r->block.rows;
		offset += len;
		code = v->block(v, &r->block, e);
		if (code)
			return err_wrap(e, code, "%s: operator %s, state %s", r->source->name,
					r->states[x->state].uid, r->states[x->state].name);
	}
	if (rows != x->rows || XXH3_64bits_digest(hash) != x->hash)
		return corrupt(r, e, "an extent is not what the index says", x->offset);
	return ERR_OK;
}

/* Where the run of extents that lie behind one another, beginning with i, ends. */
static uint64_t run_end_of(const struct object_reader *r, size_t i, size_t end)
{
	uint64_t at = r->extents[i].offset + r->extents[i].len;

	while (++i < end && r->extents[i].offset == at)
		at += r->extents[i].len;
	return at;
}

enum errc object_reader_read(struct object_reader *r, unsigned state, uint32_t first, uint32_t end,
			     struct object_visitor *v, struct err *e)
{
	size_t from = extent_at(r, state, first), to = extent_at(r, state, end);
	XXH3_state_t *hash = XXH3_createState();
	enum errc code = ERR_OK;

	assert(hash && state < r->n_states && first <= end);
	for (size_t i = from; !code && i < to; i++)
		code = read_extent(r, &r->extents[i], run_end_of(r, i, to), hash, v, e);
	XXH3_freeState(hash);
	return code;
}
