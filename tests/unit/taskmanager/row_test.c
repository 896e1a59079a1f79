#include "taskmanager/row.h"

#include <criterion/criterion.h>
#include <criterion/new/assert.h>

#include "base/prng.h"
#include "taskmanager/batch.h"

static struct spec_column columns[] = {{"a", SPEC_INT64, true},   {"b", SPEC_STRING, true},
				       {"c", SPEC_FLOAT64, true}, {"d", SPEC_BYTES, true},
				       {"e", SPEC_BOOL, true},    {"f", SPEC_TIMESTAMP, true}};
static struct spec_schema schema = {6, columns};

static void random_values(struct prng *r, struct row_value v[6], char text[2][300])
{
	for (unsigned i = 0; i < 6; i++)
		v[i] = (struct row_value){.null = prng_chance(r, 200000),
					  .i64 = (int64_t)prng_next(r)};
	v[4].i64 &= 1;
	v[2].f64 = (double)v[2].i64;
	for (unsigned k = 0; k < 2; k++) {
		v[1 + 2 * k].len = (uint32_t)prng_below(r, 300);
		for (unsigned i = 0; i < 300; i++)
			text[k][i] = (char)prng_next(r);
		v[1 + 2 * k].text = text[k];
	}
}

Test(row, what_is_put_is_read)
{
	struct prng r;
	struct row_plan p;
	struct row_value v[6];
	char text[2][300];
	_Alignas(64) unsigned char room[2048];

	prng_init(&r, 1);
	row_plan_init(&p, &schema);
	for (unsigned n = 0; n < 20000; n++) {
		random_values(&r, v, text);
		row_put(&p, v, room);
		const struct row *row = (const void *)room;
		cr_assert(eq(sz, row_bytes(row), row_size(&p, v)));
		cr_assert(row_check(&p, row, row_bytes(row)));
		cr_assert(not(row_check(&p, row, row_bytes(row) - 8)));
		for (unsigned i = 0; i < 6; i++) {
			uint32_t len;
			cr_assert(eq(int, row_null(&p, row, i), v[i].null));
			if (v[i].null)
				continue;
			if (i == 1 || i == 3) {
				const char *t = row_text(row, i, &len);
				cr_assert(eq(u32, len, v[i].len));
				cr_assert(memcmp(t, v[i].text, len) == 0);
			} else {
				cr_assert(eq(i64, row_i64(row, i), v[i].i64));
			}
		}
	}
	row_plan_fini(&p);
}

/* Whatever a peer sends: row_check never lets a reader out of the row. */
Test(row, damaged_rows_are_found_or_harmless)
{
	struct prng r;
	struct row_plan p;
	struct row_value v[6];
	char text[2][300];
	unsigned found = 0;

	prng_init(&r, 2);
	row_plan_init(&p, &schema);
	for (unsigned n = 0; n < 20000; n++) {
		random_values(&r, v, text);
		size_t size = row_size(&p, v);
		unsigned char *room = aligned_alloc(8, size);
		row_put(&p, v, room);
		size_t at = prng_below(&r, size < 64 ? size : 64);
		room[at] = (unsigned char)prng_next(&r);
		const struct row *row = (const void *)room;
		if (!row_check(&p, row, size)) {
			found++;
			free(room);
			continue;
		}
		volatile char sum = 0;
		for (unsigned i = 1; i <= 3; i += 2) {
			uint32_t len;
			if (row_null(&p, row, i))
				continue;
			const char *t = row_text(row, i, &len);
			for (uint32_t k = 0; k < len; k++)
				sum = (char)(sum + t[k]);
		}
		free(room);
	}
	cr_assert(gt(u32, found, 1000));
	row_plan_fini(&p);
}

Test(row, text_rows_equal_general_ones)
{
	struct spec_column c = {"w", SPEC_STRING, false};
	struct spec_schema one = {1, &c};
	struct row_plan p;
	_Alignas(64) unsigned char a[256], b[256];

	row_plan_init(&p, &one);
	for (uint32_t len = 0; len < 40; len++) {
		const char *text = "0123456789012345678901234567890123456789";
		struct row_value v = {.len = len, .text = text};
		memset(a, 1, sizeof(a));
		memset(b, 2, sizeof(b));
		row_put(&p, &v, a);
		row_text_put(b, text, len);
		cr_assert(eq(sz, row_text_size(len), row_size(&p, &v)));
		cr_assert(memcmp(a, b, row_text_size(len)) == 0, "length %u", len);
	}
	row_plan_fini(&p);
}

Test(batch, the_pool_gives_all_and_then_overdrafts)
{
	struct batch_pool *p = batch_pool_create(40);
	struct batch_cache a = {.pool = p}, b = {.pool = p};
	struct batch *held[50];

	for (unsigned i = 0; i < 50; i++) {
		held[i] = batch_get(&a, 100);
		cr_assert(eq(sz, (uintptr_t)held[i]->data % 64, 0));
		memset(held[i]->data, 7, held[i]->capacity + BATCH_SLACK);
	}
	cr_assert(eq(u64, batch_pool_overdrafts(p), 10));
	for (unsigned i = 0; i < 50; i++)
		batch_free(&b, held[i]); /* another thread's cache takes them back */
	struct batch *large = batch_get(&a, ROW_BYTES_MAX);
	cr_assert(large->heap && large->capacity == ROW_BYTES_MAX);
	batch_free(&b, large);
	batch_cache_clear(&a);
	batch_cache_clear(&b);
	cr_assert(eq(u32, batch_pool_free(p), 40));
	batch_pool_destroy(p);
}
