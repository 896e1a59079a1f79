#include "state/keyed.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "state/keyhash.h"

struct keyed {
	struct backend *backend; /* owns */
	struct keyed_state *states[KEYED_STATES_MAX];
	unsigned n;
	struct buf scratch; /* a map or list item being rewritten */
};

/* The handle is the backend's own; the ops travel with the store. */
struct keyed_capture {
	struct backend_capture *impl;
	const struct backend_ops *ops;
};

/* ---- life cycle ---- */

struct keyed *keyed_create(const struct backend_ops *ops, const struct backend_range *range)
{
	struct keyed *k = mem_alloc(sizeof(*k));

	k->backend = ops->create(range);
	return k;
}

static void state_destroy(struct keyed_state *s)
{
	union {
		const char *text;
		char *owned;
	} name = {.text = s->spec.name};

	free(name.owned);
	free(s);
}

void keyed_destroy(struct keyed *k)
{
	if (!k)
		return;
	k->backend->ops->destroy(k->backend);
	for (unsigned i = 0; i < k->n; i++)
		state_destroy(k->states[i]);
	buf_fini(&k->scratch);
	free(k);
}

static bool of_words(enum keyed_kind kind)
{
	return kind == KEYED_VALUE || kind == KEYED_REDUCING;
}

void keyed_layout(const struct keyed_spec *spec, struct block_layout *out)
{
	*out = (struct block_layout){
		.key_bytes = spec->key == KEYED_STRING,
		.value_bytes = !of_words(spec->kind),
		.value_words = of_words(spec->kind) ? (uint16_t)spec->words : 0,
	};
}

static MUST_CHECK enum errc check_spec(const struct keyed *k, const struct keyed_spec *spec,
				       struct err *e)
{
	if (!spec->name[0] || strlen(spec->name) > KEYED_NAME_MAX)
		return err_set(e, ERR_INVALID, "state name \"%s\": 1 to %d bytes", spec->name,
			       KEYED_NAME_MAX);
	if (of_words(spec->kind) && (!spec->words || spec->words > KEYED_WORDS_MAX))
		return err_set(e, ERR_INVALID, "state %s: %u words, not 1 to %d", spec->name,
			       spec->words, KEYED_WORDS_MAX);
	if ((spec->kind == KEYED_REDUCING) != (spec->reduce != NULL))
		return err_set(e, ERR_INVALID, "state %s: a function for reducing state only",
			       spec->name);
	if (k->n == KEYED_STATES_MAX)
		return err_set(e, ERR_LIMIT, "state %s: more than %d states", spec->name,
			       KEYED_STATES_MAX);
	return ERR_OK;
}

static bool same_spec(const struct keyed_spec *a, const struct keyed_spec *b)
{
	return a->kind == b->kind && a->key == b->key &&
	       (!of_words(a->kind) || a->words == b->words);
}

enum errc keyed_open(struct keyed *k, const struct keyed_spec *spec, struct keyed_state **out,
		     struct err *e)
{
	struct keyed_state *s;

	for (unsigned i = 0; i < k->n; i++) {
		if (strcmp(k->states[i]->spec.name, spec->name) != 0)
			continue;
		if (!same_spec(&k->states[i]->spec, spec))
			return err_set(e, ERR_INVALID, "state %s is open with another type",
				       spec->name);
		*out = k->states[i];
		return ERR_OK;
	}
	if (check_spec(k, spec, e))
		return e ? e->code : ERR_INVALID;
	s = mem_alloc(sizeof(*s));
	s->spec = *spec;
	s->spec.name = mem_text(spec->name);
	if (!s->spec.hash)
		s->spec.hash = keyhash_of;
	s->ops = k->backend->ops;
	s->owner = k;
	keyed_layout(spec, &s->layout);
	s->impl = s->ops->open(k->backend, &s->layout, s->spec.hash);
	k->states[k->n++] = s;
	*out = s;
	return ERR_OK;
}

struct backend_sizes keyed_sizes(const struct keyed *k)
{
	return k->backend->ops->sizes(k->backend);
}

unsigned keyed_count(const struct keyed *k)
{
	return k->n;
}

const struct keyed_spec *keyed_spec_at(const struct keyed *k, unsigned state)
{
	assert(state < k->n);
	return &k->states[state]->spec;
}

/* ---- values of words, one key at a time ---- */

const uint64_t *keyed_find(struct keyed_state *s, const struct backend_key *key)
{
	return s->ops->find(s->impl, key);
}

static uint64_t *upsert(struct keyed_state *s, const struct backend_key *key, bool *created)
{
	uint64_t *value, made;

	assert(!s->layout.value_bytes);
	if (s->layout.key_bytes)
		keyed_upsert_bytes(s, &key->bytes, &key->hash, 1, &value, &made);
	else
		keyed_upsert_i64(s, &key->number, &key->hash, 1, &value, &made);
	*created = made;
	return value;
}

static void set_all(uint64_t *to, const uint64_t *from, unsigned words)
{
	for (unsigned i = 0; i < words; i++)
		keyed_set(&to[i], from[i]);
}

void keyed_put(struct keyed_state *s, const struct backend_key *key, const uint64_t *value)
{
	bool created;

	set_all(upsert(s, key, &created), value, s->spec.words);
}

void keyed_reduce(struct keyed_state *s, const struct backend_key *key, const uint64_t *value)
{
	bool created;
	uint64_t *acc = upsert(s, key, &created);

	assert(s->spec.kind == KEYED_REDUCING);
	if (created)
		set_all(acc, value, s->spec.words);
	else
		s->spec.reduce(acc, value, s->spec.words);
}

bool keyed_remove(struct keyed_state *s, const struct backend_key *key)
{
	return s->ops->remove(s->impl, key);
}

/* ---- values of bytes ---- */

static MUST_CHECK enum errc check_size(const struct keyed_state *s, uint64_t bytes, struct err *e)
{
	if (bytes > BACKEND_VALUE_BYTES_MAX)
		return err_set(e, ERR_LIMIT, "state %s: a value of %llu bytes, at most %d",
			       s->spec.name, (unsigned long long)bytes, BACKEND_VALUE_BYTES_MAX);
	return ERR_OK;
}

struct backend_bytes keyed_get_bytes(struct keyed_state *s, const struct backend_key *key)
{
	assert(s->layout.value_bytes);
	return s->ops->get(s->impl, key);
}

enum errc keyed_put_bytes(struct keyed_state *s, const struct backend_key *key,
			  struct backend_bytes value, struct err *e)
{
	enum errc code = check_size(s, value.len, e);

	assert(s->spec.kind == KEYED_BYTES);
	if (!code)
		s->ops->put(s->impl, key, value);
	return code;
}

/* ---- lists: a value of [u32 length, bytes] ... ---- */

static void add_u32(struct buf *b, uint32_t v)
{
	buf_add(b, &v, sizeof(v));
}

static uint32_t load_u32(const void *at)
{
	uint32_t v;

	memcpy(&v, at, sizeof(v));
	return v;
}

enum errc keyed_list_add(struct keyed_state *s, const struct backend_key *key,
			 struct backend_bytes item, struct err *e)
{
	struct buf *b = &s->owner->scratch;
	enum errc code;

	assert(s->spec.kind == KEYED_LIST);
	code = check_size(s, (uint64_t)s->ops->get(s->impl, key).len + item.len + 4, e);
	if (code)
		return code;
	buf_clear(b);
	add_u32(b, item.len);
	buf_add(b, item.data, item.len);
	s->ops->append(s->impl, key, (struct backend_bytes){b->data, (uint32_t)b->len});
	return ERR_OK;
}

bool keyed_list_next(struct keyed_state *s, const struct backend_key *key, size_t *at,
		     struct backend_bytes *item)
{
	struct backend_bytes all = keyed_get_bytes(s, key);

	if (*at >= all.len)
		return false;
	item->len = load_u32((const char *)all.data + *at);
	item->data = (const char *)all.data + *at + 4;
	*at += 4 + item->len;
	return true;
}

/* ---- maps: a value of [u32 key length, u32 value length, key, value] ... ---- */

bool keyed_map_next(struct keyed_state *s, const struct backend_key *key, size_t *at,
		    struct backend_bytes *user_key, struct backend_bytes *value)
{
	struct backend_bytes all = keyed_get_bytes(s, key);
	const char *entry;

	assert(s->spec.kind == KEYED_MAP);
	if (*at >= all.len)
		return false;
	entry = (const char *)all.data + *at;
	*user_key = (struct backend_bytes){entry + 8, load_u32(entry)};
	*value = (struct backend_bytes){entry + 8 + user_key->len, load_u32(entry + 4)};
	*at += 8 + user_key->len + value->len;
	return true;
}

static bool same_bytes(struct backend_bytes a, struct backend_bytes b)
{
	return a.len == b.len && (!a.len || !memcmp(a.data, b.data, a.len));
}

struct backend_bytes keyed_map_get(struct keyed_state *s, const struct backend_key *key,
				   struct backend_bytes user_key)
{
	struct backend_bytes k, v;
	size_t at = 0;

	while (keyed_map_next(s, key, &at, &k, &v))
		if (same_bytes(k, user_key))
			return v;
	return (struct backend_bytes){NULL, 0};
}

/* The map of `key` without `user_key`, into the scratch buffer; was it there? */
static bool map_without(struct keyed_state *s, const struct backend_key *key,
			struct backend_bytes user_key)
{
	struct buf *b = &s->owner->scratch;
	struct backend_bytes k, v;
	size_t at = 0;
	bool found = false;

	buf_clear(b);
	while (keyed_map_next(s, key, &at, &k, &v)) {
		if (same_bytes(k, user_key)) {
			found = true;
			continue;
		}
		add_u32(b, k.len);
		add_u32(b, v.len);
		buf_add(b, k.data, k.len);
		buf_add(b, v.data, v.len);
	}
	return found;
}

enum errc keyed_map_put(struct keyed_state *s, const struct backend_key *key,
			struct backend_bytes user_key, struct backend_bytes value, struct err *e)
{
	struct buf *b = &s->owner->scratch;
	enum errc code;

	map_without(s, key, user_key);
	code = check_size(s, (uint64_t)b->len + 8 + user_key.len + value.len, e);
	if (code)
		return code;
	add_u32(b, user_key.len);
	add_u32(b, value.len);
	buf_add(b, user_key.data, user_key.len);
	buf_add(b, value.data, value.len);
	s->ops->put(s->impl, key, (struct backend_bytes){b->data, (uint32_t)b->len});
	return ERR_OK;
}

bool keyed_map_remove(struct keyed_state *s, const struct backend_key *key,
		      struct backend_bytes user_key)
{
	struct buf *b = &s->owner->scratch;

	if (!map_without(s, key, user_key))
		return false;
	if (b->len)
		s->ops->put(s->impl, key, (struct backend_bytes){b->data, (uint32_t)b->len});
	else
		s->ops->remove(s->impl, key); /* an empty map is no map */
	return true;
}

/* ---- capture and restore ---- */

enum errc keyed_capture_begin(struct keyed *k, struct keyed_capture **out, struct err *e)
{
	struct backend_capture *impl = k->backend->ops->capture_begin(k->backend);
	struct keyed_capture *c;

	if (!impl)
		return err_set(e, ERR_AGAIN, "the snapshot before is still being captured");
	c = mem_alloc(sizeof(*c));
	*c = (struct keyed_capture){.impl = impl, .ops = k->backend->ops};
	*out = c;
	return ERR_OK;
}

bool keyed_capture_next(struct keyed_capture *c, unsigned *out_state, struct block *out)
{
	return c->ops->capture_next(c->impl, out_state, out);
}

void keyed_capture_end(struct keyed_capture *c)
{
	c->ops->capture_end(c->impl);
	free(c);
}

void keyed_poll(struct keyed *k)
{
	k->backend->ops->poll(k->backend);
}

void keyed_reserve(struct keyed_state *s, uint32_t group, uint64_t rows)
{
	s->ops->reserve(s->impl, group, rows);
}

/* Lists and maps have lengths inside, which are followed without looking later on. */
static bool well_formed(const struct keyed_state *s, const char *at, uint64_t len)
{
	unsigned head = s->spec.kind == KEYED_MAP ? 8 : 4;

	while (len) {
		uint64_t need = head;

		if (len < head)
			return false;
		need += load_u32(at);
		if (head == 8)
			need += load_u32(at + 4);
		if (len < need)
			return false;
		at += need;
		len -= need;
	}
	return true;
}

static MUST_CHECK enum errc check_values(const struct keyed_state *s, const struct block *rows,
					 struct err *e)
{
	const char *heap = rows->heap.data;

	if (s->spec.kind != KEYED_LIST && s->spec.kind != KEYED_MAP)
		return ERR_OK;
	for (uint32_t i = 0; i < rows->rows; i++) {
		const uint64_t *row = rows->words + (size_t)i * rows->n_words;

		heap += s->layout.key_bytes ? row[0] : 0;
		if (!well_formed(s, heap, row[1]))
			return err_set(e, ERR_CORRUPT, "a list or map with wrong lengths inside");
		heap += row[1];
	}
	return ERR_OK;
}

enum errc keyed_restore(struct keyed_state *s, const struct block *rows, struct err *e)
{
	enum errc code;

	assert(rows->n_words == block_layout_words(&s->layout));
	code = check_values(s, rows, e);
	if (!code)
		code = s->ops->restore(s->impl, rows, e);
	return code ? err_wrap(e, code, "state %s", s->spec.name) : ERR_OK;
}
