/* The built-in operators, one at a time: rows in, rows out as text. */
#include <criterion/criterion.h>
#include <criterion/new/assert.h>

#include "base/json.h"
#include "base/mem.h"
#include "job/graph.h"
#include "state/hashmap.h"
#include "state/keyed.h"
#include "taskmanager/chain.h"
#include "taskmanager/operators/operators.h"

/* An operator between a queue's end and rows made by hand. */
struct rig {
	struct spec *spec;
	struct row_plan in, out;
	struct spec_schema in_schema;
	struct batch_pool *pool;
	struct batch_cache cache;
	struct chain chain;
	struct queue queue;
	struct batch *batch;
	unsigned op;
};

/* `op` is the JSON of the operator under test; it reads "s", whose schema becomes `schema`. */
static void rig_init(struct rig *r, const struct op_type *type, const char *source, const char *op,
		     struct spec_schema schema)
{
	struct err e = {0};
	json_t *doc;
	char *text = mem_printf("{\"name\":\"t\",\"operators\":[%s,%s,{\"uid\":\"d\",\"type\":"
				"\"sink.discard\",\"inputs\":[\"o\"]}]}",
				source, op);
	struct queue *queues[] = {&r->queue};

	memset(r, 0, sizeof(*r));
	cr_assert(eq(int, json_parse(text, strlen(text), &doc, &e), ERR_OK), "%s", e.text);
	cr_assert(eq(int, spec_parse(doc, &r->spec, &e), ERR_OK), "%s", e.text);
	json_decref(doc);
	free(text);
	r->op = 1;
	r->in_schema = schema.n ? schema : r->spec->operators[0].output;
	row_plan_init(&r->in, &r->in_schema);
	row_plan_init(&r->out, &r->spec->operators[1].output);
	r->pool = batch_pool_create(64);
	r->cache.pool = r->pool;
	queue_init(&r->queue, QUEUE_MAX);
	chain_init(&r->chain, &type, 1, &r->cache);
	chain_edges(&r->chain, 1);
	struct router_config rc = {
		.edge = SPEC_EDGE_FORWARD, .n = 1, .queues = queues, .cache = &r->cache};
	router_init(&r->chain.routers[0], &rc);
	r->chain.links[0].context = (struct op_context){.uid = "o",
							.spec = &r->spec->operators[1],
							.options = r->spec->operators[1].options,
							.input = &r->in,
							.output = &r->out,
							.input_schema = &r->in_schema,
							.parallelism = 1,
							.max_parallelism = 128};
	if (type->keyed) {
		struct backend_range all = {128, 0, 128};
		r->chain.links[0].op->keyed = keyed_create(&hashmap_backend, &all);
	}
	cr_assert(chain_open(&r->chain), "%s", r->chain.err.text);
	cr_assert(chain_start(&r->chain));
	r->batch = batch_get(&r->cache, BATCH_BYTES);
}

static void rig_fini(struct rig *r)
{
	struct keyed *k = r->chain.links[0].op->keyed;

	batch_free(&r->cache, r->batch);
	chain_fini(&r->chain);
	keyed_destroy(k);
	queue_fini(&r->queue, &r->cache);
	batch_cache_clear(&r->cache);
	batch_pool_destroy(r->pool);
	row_plan_fini(&r->in);
	row_plan_fini(&r->out);
	spec_destroy(r->spec);
}

static void row_in(struct rig *r, const struct row_value *v)
{
	row_put(&r->in, v, r->batch->data + r->batch->len);
	r->batch->len += (uint32_t)row_size(&r->in, v);
	r->batch->rows++;
}

static void text_in(struct rig *r, const char *text)
{
	struct row_value v = {.len = (uint32_t)strlen(text), .text = text};

	row_in(r, &v);
}

/* Push what was put in; everything that comes out, "a,b|c,d|". */
static char *rows_out(struct rig *r)
{
	struct buf b = {0};
	struct batch *batch;

	bool ok = chain_push(&r->chain, r->batch);
	chain_flush(&r->chain);
	r->batch->len = r->batch->rows = 0;
	while ((batch = queue_take(&r->queue)) != NULL) {
		batch_each(batch, row)
		{
			cr_assert(row_check(&r->out, row, row_bytes(row)));
			for (unsigned i = 0; i < r->out.n; i++) {
				uint32_t len;
				buf_text(&b, i ? "," : "");
				if (row_null(&r->out, row, i))
					buf_text(&b, "null");
				else if (r->out.types[i] == SPEC_STRING) {
					const char *t = row_text(row, i, &len);
					buf_add(&b, t, len);
				} else if (r->out.types[i] == SPEC_FLOAT64)
					buf_printf(&b, "%g", row_f64(row, i));
				else
					buf_printf(&b, "%ld", (long)row_i64(row, i));
			}
			buf_text(&b, "|");
		}
		batch_free(&r->cache, batch);
	}
	if (!ok)
		buf_printf(&b, "failed: %s", r->chain.err.text);
	buf_text(&b, "");
	return b.data ? buf_take(&b, NULL) : mem_text("");
}

#define EXPECT_OUT(rig, text)                                                                      \
	do {                                                                                       \
		char *got = rows_out(rig);                                                         \
		cr_expect(eq(str, got, (char *)text));                                             \
		free(got);                                                                         \
	} while (0)

static const char file[] = "{\"uid\":\"s\",\"type\":\"source.file\",\"path\":\"x\"}";

Test(operators, split)
{
	struct rig r;

	rig_init(&r, &op_flatmap_split, file,
		 "{\"uid\":\"o\",\"type\":\"flatmap.split\",\"inputs\":[\"s\"]}",
		 (struct spec_schema){0});
	text_in(&r, "  the quick\tbrown\r\nfox ");
	text_in(&r, "");
	text_in(&r, " \v\f ");
	text_in(&r, "x");
	EXPECT_OUT(&r, "the|quick|brown|fox|x|");
	rig_fini(&r);
}

Test(operators, upper_and_lower)
{
	struct rig r;

	rig_init(&r, &op_map_upper, file,
		 "{\"uid\":\"o\",\"type\":\"map.upper\",\"inputs\":[\"s\"]}",
		 (struct spec_schema){0});
	text_in(&r, "az AZ `{@[ \xc3\xa4");
	EXPECT_OUT(&r, "AZ AZ `{@[ \xc3\xa4|");
	rig_fini(&r);
	rig_init(&r, &op_map_lower, file,
		 "{\"uid\":\"o\",\"type\":\"map.lower\",\"inputs\":[\"s\"]}",
		 (struct spec_schema){0});
	text_in(&r, "az AZ `{@[ \xc3\x84");
	EXPECT_OUT(&r, "az az `{@[ \xc3\x84|");
	rig_fini(&r);
}

Test(operators, filter)
{
	struct rig r;

	rig_init(&r, &op_filter_regex, file,
		 "{\"uid\":\"o\",\"type\":\"filter.regex\",\"inputs\":[\"s\"],\"pattern\":"
		 "\"^a.*b$\"}",
		 (struct spec_schema){0});
	text_in(&r, "a b");
	text_in(&r, "a b "); /* the match must end where the row does */
	text_in(&r, "xa b");
	text_in(&r, "ab");
	EXPECT_OUT(&r, "a b|ab|");
	rig_fini(&r);
	rig_init(&r, &op_filter_regex, file,
		 "{\"uid\":\"o\",\"type\":\"filter.regex\",\"inputs\":[\"s\"],\"pattern\":\"a\","
		 "\"invert\":true}",
		 (struct spec_schema){0});
	text_in(&r, "a");
	text_in(&r, "b");
	EXPECT_OUT(&r, "b|");
	rig_fini(&r);
}

static const char sequence[] =
	"{\"uid\":\"s\",\"type\":\"source.sequence\",\"from\":0,\"to\":9,\"keys\":2%s}";

static const char aggregates[] =
	"{\"uid\":\"o\",\"type\":\"aggregate\",\"inputs\":[\"s\"],\"keyBy\":[\"key\"],"
	"\"aggregates\":[{\"count\":\"*\",\"as\":\"n\"},{\"sum\":\"value\",\"as\":\"sum\"},"
	"{\"min\":\"value\",\"as\":\"min\"},{\"max\":\"value\",\"as\":\"max\"},"
	"{\"avg\":\"value\",\"as\":\"avg\"}]}";

Test(operators, aggregate_by_number)
{
	struct rig r;
	char source[256];

	snprintf(source, sizeof(source), sequence, "");
	rig_init(&r, &op_aggregate, source, aggregates, (struct spec_schema){0});
	for (int64_t i = 0; i < 5; i++)
		row_in(&r, (const struct row_value[]){{.i64 = 10 * i - 20}, {.i64 = i % 2}});
	EXPECT_OUT(&r, "0,1,-20,-20,-20,-20|1,1,-10,-10,-10,-10|0,2,-20,-20,0,-10|"
		       "1,2,0,-10,10,0|0,3,0,-20,20,0|");
	row_in(&r, (const struct row_value[]){{.i64 = INT64_MAX}, {.i64 = 1}});
	row_in(&r, (const struct row_value[]){{.i64 = 1}, {.i64 = 1}});
	char *got = rows_out(&r);
	cr_expect(strstr(got, "failed: aggregate \"sum\": the result does not fit int64") != NULL,
		  "%s", got);
	free(got);
	rig_fini(&r);
}

Test(operators, aggregate_by_text)
{
	struct rig r;
	char source[256];

	snprintf(source, sizeof(source), sequence, ",\"keyType\":\"string\"");
	rig_init(&r, &op_aggregate, source, aggregates, (struct spec_schema){0});
	const char *keys[] = {"", "a key of more than twelve bytes", "a key of more than twelve",
			      ""};
	for (int64_t i = 0; i < 4; i++)
		row_in(&r,
		       (const struct row_value[]){
			       {.i64 = i}, {.len = (uint32_t)strlen(keys[i]), .text = keys[i]}});
	EXPECT_OUT(&r, ",1,0,0,0,0|a key of more than twelve bytes,1,1,1,1,1|"
		       "a key of more than twelve,1,2,2,2,2|,2,3,0,3,1.5|");
	rig_fini(&r);
}

/* Many keys and windows against a plain array. */
Test(operators, aggregate_agrees_with_an_array)
{
	enum { KEYS = 5000, ROWS = 100000 };
	static int64_t counts[KEYS];
	struct rig r;
	char source[256];
	uint64_t x = 1;

	snprintf(source, sizeof(source), sequence, "");
	rig_init(&r, &op_aggregate, source,
		 "{\"uid\":\"o\",\"type\":\"aggregate\",\"inputs\":[\"s\"],\"keyBy\":[\"key\"],"
		 "\"aggregates\":[{\"count\":\"*\",\"as\":\"n\"}]}",
		 (struct spec_schema){0});
	memset(counts, 0, sizeof(counts));
	for (unsigned n = 0; n < ROWS / 1000; n++) {
		int64_t keys[1000];
		for (unsigned i = 0; i < 1000; i++) {
			x = x * UINT64_C(6364136223846793005) + 1;
			keys[i] = (int64_t)((x >> 33) % KEYS);
			row_in(&r, (const struct row_value[]){{.i64 = 0}, {.i64 = keys[i]}});
		}
		cr_assert(chain_push(&r.chain, r.batch));
		chain_flush(&r.chain);
		r.batch->len = r.batch->rows = 0;
		unsigned at = 0;
		struct batch *b;
		while ((b = queue_take(&r.queue)) != NULL) {
			batch_each(b, row)
			{
				int64_t key = keys[at++];
				cr_assert(eq(i64, row_i64(row, 0), key));
				cr_assert(eq(i64, row_i64(row, 1), ++counts[key]));
			}
			batch_free(&r.cache, b);
		}
		cr_assert(eq(u32, at, 1000));
	}
	rig_fini(&r);
}

static struct spec_column nullable[] = {{"value", SPEC_INT64, true}, {"key", SPEC_INT64, true}};

/* Nulls are not counted and not added; a null key is a key. */
Test(operators, aggregate_with_nulls)
{
	struct rig r;
	char source[256];

	snprintf(source, sizeof(source), sequence, "");
	rig_init(&r, &op_aggregate, source, aggregates, (struct spec_schema){2, nullable});
	row_in(&r, (const struct row_value[]){{.null = true}, {.null = true}});
	row_in(&r, (const struct row_value[]){{.i64 = 7}, {.null = true}});
	row_in(&r, (const struct row_value[]){{.i64 = 7}, {.i64 = 0}});
	row_in(&r, (const struct row_value[]){{.null = true}, {.i64 = 0}});
	EXPECT_OUT(&r, "null,1,null,null,null,null|null,2,7,7,7,7|0,1,7,7,7,7|0,2,7,7,7,7|");
	rig_fini(&r);
}

Test(operators, aggregate_minimum_of_texts)
{
	struct rig r;

	rig_init(&r, &op_aggregate, file,
		 "{\"uid\":\"o\",\"type\":\"aggregate\",\"inputs\":[\"s\"],\"keyBy\":[\"line\"],"
		 "\"aggregates\":[{\"min\":\"line\",\"as\":\"low\"},{\"max\":\"line\",\"as\":"
		 "\"high\"}]}",
		 (struct spec_schema){0});
	text_in(&r, "b");
	text_in(&r, "");
	text_in(&r, "b");
	EXPECT_OUT(&r, "b,b,b|,,|b,b,b|");
	rig_fini(&r);
}

/* The pieces of all subtasks together are the range, each value once; offsets survive a restart. */
Test(operators, sequence_is_cut_and_restored)
{
	static bool seen[1001];
	struct err e = {0};
	json_t *doc;
	char text[512];
	struct spec *spec;

	snprintf(text, sizeof(text),
		 "{\"name\":\"t\",\"operators\":[{\"uid\":\"s\",\"type\":\"source.sequence\","
		 "\"from\":-500,\"to\":500},{\"uid\":\"d\",\"type\":\"sink.discard\",\"inputs\":"
		 "[\"s\"]}]}");
	cr_assert(eq(int, json_parse(text, strlen(text), &doc, &e), ERR_OK));
	cr_assert(eq(int, spec_parse(doc, &spec, &e), ERR_OK), "%s", e.text);
	memset(seen, 0, sizeof(seen));
	for (unsigned i = 0; i < 7; i++) {
		struct op_lists lists = {.n = 1};
		struct batch_pool *pool = batch_pool_create(64);
		for (unsigned life = 0; life < 2; life++) {
			const struct op_type *type = &op_source_sequence;
			struct batch_cache cache = {.pool = pool};
			struct queue q, *queues[] = {&q};
			struct chain c;
			struct op_poll p;
			queue_init(&q, QUEUE_MAX);
			chain_init(&c, &type, 1, &cache);
			chain_edges(&c, 1);
			struct router_config rc = {.edge = SPEC_EDGE_FORWARD,
						   .n = 1,
						   .queues = queues,
						   .cache = &cache};
			router_init(&c.routers[0], &rc);
			c.links[0].context = (struct op_context){.spec = &spec->operators[0],
								 .subtask = i,
								 .parallelism = 7,
								 .found = life > 0};
			cr_assert(chain_open(&c));
			for (size_t k = 0; life && k < lists.at[0].n; k++)
				cr_assert(eq(int,
					     type->restore(c.links[0].op, 0,
							   lists.at[0].items[k].data,
							   lists.at[0].items[k].len, &e),
					     ERR_OK));
			do
				cr_assert(chain_poll(&c, 50, &p));
			while (life && p.state == OP_POLL_MORE);
			if (!life)
				cr_assert(eq(int,
					     type->snapshot(c.links[0].op, (struct ckpt_id){1},
							    &lists, &e),
					     ERR_OK));
			chain_flush(&c);
			struct batch *b;
			while ((b = queue_take(&q)) != NULL) {
				batch_each(b, row)
				{
					int64_t v = row_i64(row, 0) + 500;
					cr_assert(v >= 0 && v <= 1000 && !seen[v], "%ld", (long)v);
					seen[v] = true;
				}
				batch_free(&cache, b);
			}
			chain_fini(&c);
			batch_cache_clear(&cache);
		}
		liststate_fini(&lists.at[0]);
		batch_pool_destroy(pool);
	}
	for (unsigned i = 0; i <= 1000; i++)
		cr_assert(seen[i], "%u", i);
	spec_destroy(spec);
	json_decref(doc);
}
