/* storage check - what lies in checkpoint storage, what of it nobody needs, and is all there that
 * somebody needs? */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/json.h"
#include "base/mem.h"
#include "cli/cli.h"
#include "cli/client.h"
#include "cli/sweep.h"
#include "cli/table.h"
#include "state/object.h"
#include "state/storage.h"

enum {
	NAMES_MAX = 10 << 20,
	COOKIE_MAX = 4096,
	BATCH = 500, /* removed between two looks at what is needed */
	GROUPS_END = 1 << 16
};

struct orphan {
	char *name;
	struct storage_object is;
	bool young, removed;
};

struct problem {
	char *name; /* of the manifest or object */
	char *manifest;
	char *text;
};

struct check {
	struct cli *cli;
	struct storage *storage;
	struct sweep sweep;
	struct storage_names names;
	struct orphan *orphans;
	struct problem *problems;
	size_t n_orphans, n_problems, n_young, n_removed, count[SWEEP_FOREIGN + 1];
	uint64_t orphan_bytes, removed_bytes, needed_bytes, verified_bytes;
	int64_t now_ms;
	uint64_t grace_ms;
	bool delete, verify;
};

/* ---- what is needed ---- */

static void add_problem(struct check *k, const char *name, const char *manifest, const char *text)
{
	k->problems = mem_resize(k->problems, k->n_problems + 1, sizeof(*k->problems));
	k->problems[k->n_problems++] =
		(struct problem){mem_text(name), mem_text(manifest), mem_text(text)};
}

/* A manifest that is not there or damaged is a problem; storage that does not answer, an error. */
static MUST_CHECK enum errc read_manifest(struct check *k, struct sweep *s, size_t i, bool say,
					  struct err *e)
{
	const char *name = s->pointers[i].manifest;
	struct buf b = {0};
	struct err mine = {0};
	enum errc rc = storage_get(k->storage, name, SWEEP_MANIFEST_MAX, &b, &mine);
	if (rc == ERR_OK) {
		rc = sweep_manifest(s, i, b.data ? b.data : "", b.len, &mine);
		if (rc)
			rc = ERR_CORRUPT;
	}
	buf_fini(&b);
	if (rc == ERR_OK)
		return ERR_OK;
	if (rc != ERR_NOTFOUND && rc != ERR_CORRUPT && rc != ERR_LIMIT) {
		*e = mine;
		return rc;
	}
	if (say)
		add_problem(k, name, name,
			    rc == ERR_NOTFOUND ? "the manifest is missing" : mine.text);
	return ERR_OK;
}

static MUST_CHECK enum errc learn(struct check *k, bool manifests, struct err *e)
{
	json_t *answer;
	enum errc rc =
		client_call(k->cli->client, "GET", "/v1/cluster/references", NULL, &answer, e);
	if (rc)
		return rc;
	struct sweep s;
	rc = sweep_learn(answer, &s, e);
	json_decref(answer);
	if (rc)
		return rc;
	bool first = k->sweep.n_needed == 0 && k->n_problems == 0;
	for (size_t i = 0; i < s.n_pointers && manifests && rc == ERR_OK; i++)
		rc = read_manifest(k, &s, i, first, e);
	if (rc) {
		sweep_fini(&s);
		return rc;
	}
	sweep_ready(&s);
	sweep_fini(&k->sweep);
	k->sweep = s;
	return ERR_OK;
}

/* ---- the storage ---- */

static MUST_CHECK enum errc open_storage(struct check *k, struct err *e)
{
	const struct options *o = k->cli->options;
	const char *url = options_text(o, "storage.url");
	struct storage_config config = {.url = url ? url : k->sweep.storage,
					.endpoint = options_text(o, "s3.endpoint"),
					.region = options_text(o, "s3.region"),
					.ca_file = options_text(o, "s3.caFile"),
					.virtual_host_style =
						options_bool(o, "s3.virtualHostStyle"),
					.credentials_file = options_text(o, "s3.credentialsFile"),
					.profile = options_text(o, "s3.profile")};
	storage_config_env(&config);
	config.write_delay_ms = 0;
	return storage_open(&config, &k->storage, e);
}

/* The mark that binds the root to one cluster. */
static MUST_CHECK enum errc check_mark(struct check *k, struct err *e)
{
	struct buf b = {0};
	json_t *o = NULL;
	const char *id = NULL;
	enum errc rc = storage_get(k->storage, "weir-cluster.json", COOKIE_MAX, &b, e);
	if (rc == ERR_NOTFOUND)
		rc = err_set(
			e, ERR_NOTFOUND,
			"%s has no weir-cluster.json: it is not this cluster's storage, or not "
			"as seen from this host",
			storage_root(k->storage));
	if (rc == ERR_OK)
		rc = json_parse(b.data ? b.data : "", b.len, &o, e);
	if (rc == ERR_OK)
		rc = json_get_text(o, "weir-cluster.json", "clusterId", &id, e);
	if (rc == ERR_OK && strcmp(id, k->sweep.cluster_id) != 0)
		rc = err_set(e, ERR_CONFLICT,
			     "%s belongs to the cluster %.40s, this one is %s: nothing is touched",
			     storage_root(k->storage), id, k->sweep.cluster_id);
	json_decref(o);
	buf_fini(&b);
	return rc;
}

/* ---- orphans ---- */

static bool is_young(const struct check *k, const struct storage_object *o)
{
	return o->written_ms == 0 || k->now_ms - o->written_ms < (int64_t)k->grace_ms;
}

static MUST_CHECK enum errc add_orphan(struct check *k, const char *name, struct err *e)
{
	struct orphan found = {0};
	enum errc rc = storage_look(k->storage, name, &found.is, e);
	if (rc)
		return rc == ERR_NOTFOUND ? ERR_OK : rc; /* the leader removed it meanwhile */
	if ((k->n_orphans & (k->n_orphans - 1)) == 0)
		k->orphans = mem_resize(k->orphans, k->n_orphans ? 2 * k->n_orphans : 1,
					sizeof(*k->orphans));
	found.name = mem_text(name);
	found.young = is_young(k, &found.is);
	k->n_young += found.young;
	k->orphan_bytes += found.young ? 0 : found.is.bytes;
	k->orphans[k->n_orphans++] = found;
	return ERR_OK;
}

static MUST_CHECK enum errc find_orphans(struct check *k, struct err *e)
{
	enum errc rc = ERR_OK;
	for (size_t i = 0; i < k->names.n && rc == ERR_OK; i++) {
		enum sweep_class class = sweep_judge(&k->sweep, k->names.names[i]);
		k->count[class]++;
		if (class == SWEEP_ORPHAN)
			rc = add_orphan(k, k->names.names[i], e);
	}
	return rc;
}

/* From orphans[at] on, at most BATCH that are still orphans; *at moves behind them. */
static size_t next_batch(struct check *k, size_t *at, size_t batch[BATCH])
{
	size_t n = 0;
	for (; *at < k->n_orphans && n < BATCH; ++*at) {
		const struct orphan *o = &k->orphans[*at];
		if (!o->young && sweep_judge(&k->sweep, o->name) == SWEEP_ORPHAN)
			batch[n++] = *at;
	}
	return n;
}

static MUST_CHECK enum errc remove_batch(struct check *k, const size_t batch[BATCH], size_t n,
					 struct err *e)
{
	const char *names[BATCH];
	for (size_t i = 0; i < n; i++)
		names[i] = k->orphans[batch[i]].name;
	enum errc rc = storage_remove(k->storage, names, n, e);
	for (size_t i = 0; i < n && rc == ERR_OK; i++) {
		k->orphans[batch[i]].removed = true;
		k->removed_bytes += k->orphans[batch[i]].is.bytes;
		k->n_removed++;
	}
	return rc;
}

static MUST_CHECK enum errc remove_orphans(struct check *k, struct err *e)
{
	size_t batch[BATCH], at = 0;
	while (at < k->n_orphans) {
		enum errc rc = learn(k, true, e);
		if (rc == ERR_OK && k->sweep.trouble[0])
			rc = err_set(e, ERR_UNAVAILABLE, "nothing is removed now: %s",
				     k->sweep.trouble);
		size_t n = rc == ERR_OK ? next_batch(k, &at, batch) : 0;
		if (rc == ERR_OK && n)
			rc = remove_batch(k, batch, n, e);
		if (rc)
			return rc;
	}
	return ERR_OK;
}

/* ---- is all there that is needed? ---- */

struct whole { /* an object as object.h reads it */
	struct object_source source;
	struct storage *storage;
};

static enum errc whole_read(struct object_source *s, uint64_t offset, void *data, size_t len,
			    struct err *e)
{
	struct whole *w = MEM_OWNER(s, struct whole, source);
	return storage_get_range(w->storage, s->name, offset, data, len, e);
}

static enum errc seen(struct object_visitor *v, const struct block *b, struct err *e)
{
	(void)v, (void)b, (void)e;
	return ERR_OK;
}

/* Reads all of it: every extent has a checksum, which the index vouches for. */
static MUST_CHECK enum errc verify(struct check *k, const struct sweep_object *o, struct err *e)
{
	struct whole w = {.source = {.read = whole_read, .name = o->name, .bytes = o->bytes},
			  .storage = k->storage};
	struct object_visitor visitor = {.block = seen};
	struct object_reader *r = NULL;
	enum errc rc = object_reader_open(&w.source, o->checksum, &r, e);
	for (unsigned i = 0; rc == ERR_OK && i < object_reader_count(r); i++)
		rc = object_reader_read(r, i, 0, GROUPS_END, &visitor, e);
	object_reader_close(r);
	k->verified_bytes += rc == ERR_OK ? o->bytes : 0;
	return rc;
}

static MUST_CHECK enum errc check_object(struct check *k, const struct sweep_object *o,
					 struct err *e)
{
	const char *manifest = k->sweep.pointers[o->pointer].manifest;
	struct storage_object is;
	struct err mine = {0};
	enum errc rc = storage_look(k->storage, o->name, &is, &mine);
	if (rc == ERR_OK && is.bytes != o->bytes)
		rc = err_set(&mine, ERR_CORRUPT,
			     "it has %" PRIu64 " bytes, its manifest says %" PRIu64, is.bytes,
			     o->bytes);
	if (rc == ERR_OK && k->verify)
		rc = verify(k, o, &mine);
	if (rc == ERR_NOTFOUND)
		add_problem(k, o->name, manifest, "the object is missing");
	else if (rc == ERR_CORRUPT || rc == ERR_LIMIT || rc == ERR_INVALID)
		add_problem(k, o->name, manifest, mine.text);
	else if (rc != ERR_OK) {
		*e = mine;
		return rc;
	}
	k->needed_bytes += o->bytes;
	return ERR_OK;
}

/* The leader goes on meanwhile: what is not needed any more was removed, not lost. */
static void drop_settled(struct check *k)
{
	size_t kept = 0;
	for (size_t i = 0; i < k->n_problems; i++) {
		struct problem *p = &k->problems[i];
		if (sweep_points_to(&k->sweep, p->manifest)) {
			k->problems[kept++] = *p;
			continue;
		}
		free(p->name);
		free(p->manifest);
		free(p->text);
	}
	k->n_problems = kept;
}

static MUST_CHECK enum errc check_needed(struct check *k, struct err *e)
{
	enum errc rc = ERR_OK;
	for (size_t i = 0; i < k->sweep.n_needed && rc == ERR_OK; i++)
		rc = check_object(k, &k->sweep.needed[i], e);
	if (rc == ERR_OK && k->n_problems) {
		rc = learn(k, false, e);
		if (rc == ERR_OK)
			drop_settled(k);
	}
	return rc;
}

/* ---- the answer ---- */

static json_t *orphan_json(const struct check *k, const struct orphan *o)
{
	return json_pack("{s:s, s:I, s:I, s:s, s:b, s:b}", "name", o->name, "bytes",
			 (json_int_t)o->is.bytes, "ageMs",
			 (json_int_t)(o->is.written_ms ? k->now_ms - o->is.written_ms : -1), "why",
			 sweep_why(&k->sweep, o->name), "young", o->young, "removed", o->removed);
}

static void print_json(const struct check *k)
{
	json_t *orphans = json_array(), *problems = json_array();
	for (size_t i = 0; i < k->n_orphans; i++)
		json_array_append_new(orphans, orphan_json(k, &k->orphans[i]));
	for (size_t i = 0; i < k->n_problems; i++)
		json_array_append_new(problems,
				      json_pack("{s:s, s:s, s:s}", "name", k->problems[i].name,
						"manifest", k->problems[i].manifest, "problem",
						k->problems[i].text));
	cli_print_json(json_pack(
		"{s:s, s:s, s:s, s:{s:I, s:I, s:I, s:I, s:I}, s:I, s:I, s:b, s:I, s:I, s:o, s:o}",
		"storage", storage_root(k->storage), "clusterId", k->sweep.cluster_id, "trouble",
		k->sweep.trouble, "objects", "needed", (json_int_t)k->count[SWEEP_NEEDED], "open",
		(json_int_t)k->count[SWEEP_OPEN], "unsure", (json_int_t)k->count[SWEEP_UNSURE],
		"orphans", (json_int_t)k->count[SWEEP_ORPHAN], "foreign",
		(json_int_t)k->count[SWEEP_FOREIGN], "neededBytes", (json_int_t)k->needed_bytes,
		"orphanBytes", (json_int_t)k->orphan_bytes, "verified", k->verify, "removed",
		(json_int_t)k->n_removed, "removedBytes", (json_int_t)k->removed_bytes, "orphans",
		orphans, "problems", problems));
}

static void print_orphans(const struct check *k)
{
	struct table t = {0};
	char size[TABLE_CELL_MAX], age[TABLE_CELL_MAX];
	table_row(&t, k->delete ? "REMOVED" : "WOULD BE REMOVED", "SIZE", "AGE", "WHY", NULL);
	for (size_t i = 0; i < k->n_orphans; i++) {
		const struct orphan *o = &k->orphans[i];
		if (o->young || (k->delete &&!o->removed))
			continue;
		table_row(&t, o->name, table_bytes((int64_t)o->is.bytes, size),
			  table_duration(k->now_ms - o->is.written_ms, age),
			  sweep_why(&k->sweep, o->name), NULL);
	}
	table_print(&t);
}

static void print_counts(const struct check *k)
{
	char needed[TABLE_CELL_MAX], orphans[TABLE_CELL_MAX], grace[TABLE_CELL_MAX];
	size_t old = k->n_orphans - k->n_young;
	printf("%s, of cluster %s\n%zu objects: %zu needed (%s)", storage_root(k->storage),
	       k->sweep.cluster_id, k->names.n, k->count[SWEEP_NEEDED],
	       table_bytes((int64_t)k->needed_bytes, needed));
	if (k->count[SWEEP_OPEN])
		printf(", %zu of checkpoints in flight", k->count[SWEEP_OPEN]);
	if (k->count[SWEEP_UNSURE])
		printf(", %zu that nothing is known about", k->count[SWEEP_UNSURE]);
	if (k->count[SWEEP_FOREIGN])
		printf(", %zu that are not Weir's", k->count[SWEEP_FOREIGN]);
	printf(", %zu that nobody needs (%s)", old, table_bytes((int64_t)k->orphan_bytes, orphans));
	if (k->n_young)
		printf(", %zu more that are younger than %s", k->n_young,
		       table_duration((int64_t)k->grace_ms, grace));
	puts("");
	if (k->n_problems == 0)
		printf("all that is needed is there%s\n",
		       k->verify ? ", and every checksum is right" : "");
}

static void print_human(const struct check *k)
{
	size_t old = k->n_orphans - k->n_young;
	print_counts(k);
	for (size_t i = 0; i < k->n_problems; i++)
		printf("DAMAGED  %s: %s\n", k->problems[i].name, k->problems[i].text);
	if (old)
		print_orphans(k);
	if (old && !k->delete)
		puts("nothing was removed: add --delete");
	if (k->sweep.trouble[0])
		printf("nothing may be removed now: %s\n", k->sweep.trouble);
}

static MUST_CHECK enum errc run_check(struct check *k, struct err *e)
{
	enum errc rc = learn(k, false, e); /* where it is, and whose */
	if (rc == ERR_OK)
		rc = open_storage(k, e);
	if (rc == ERR_OK)
		rc = check_mark(k, e);
	if (rc == ERR_OK)
		rc = storage_list(k->storage, "jobs/", NAMES_MAX, &k->names, e);
	if (rc == ERR_OK)
		rc = learn(k, true, e); /* after the list: see sweep.h */
	if (rc == ERR_OK)
		rc = find_orphans(k, e);
	if (rc == ERR_OK)
		rc = check_needed(k, e);
	if (rc == ERR_OK && k->delete)
		rc = remove_orphans(k, e);
	return rc;
}

static void check_fini(struct check *k)
{
	for (size_t i = 0; i < k->n_orphans; i++)
		free(k->orphans[i].name);
	for (size_t i = 0; i < k->n_problems; i++) {
		free(k->problems[i].name);
		free(k->problems[i].manifest);
		free(k->problems[i].text);
	}
	free(k->orphans);
	free(k->problems);
	storage_names_fini(&k->names);
	sweep_fini(&k->sweep);
	storage_close(k->storage);
}

static int storage(struct cli *c)
{
	struct err e = {0};
	if (strcmp(c->args[0], "check") != 0) {
		err_set(&e, ERR_INVALID, "storage %.40s: only `check` is known", c->args[0]);
		(void)cli_fail(&e);
		return CLI_USAGE;
	}
	struct check k = {.cli = c,
			  .now_ms = world_wall_ms(c->world),
			  .grace_ms = options_ms(c->options, "storage.olderThan"),
			  .delete = options_bool(c->options, "storage.delete"),
			  .verify = options_bool(c->options, "storage.verify")};
	int status = CLI_OK;
	if (run_check(&k, &e))
		status = cli_fail(&e);
	else if (k.n_problems)
		status = CLI_FAILED;
	if (k.storage && (status == CLI_OK || k.n_problems || k.n_removed)) {
		if (c->json)
			print_json(&k);
		else
			print_human(&k);
	}
	check_fini(&k);
	return status;
}

static const struct option storage_options[] = {
	{.key = "storage.delete",
	 .flag = "--delete",
	 .type = OPTION_BOOL,
	 .fallback = "false",
	 .help = "remove what nobody needs; without it, only say what that is"},
	{.key = "storage.olderThan",
	 .flag = "--older-than",
	 .type = OPTION_DURATION,
	 .fallback = "1d",
	 .help = "leave alone what was written since"},
	{.key = "storage.verify",
	 .flag = "--verify",
	 .type = OPTION_BOOL,
	 .fallback = "false",
	 .help = "read all that is needed, and compare every checksum"},
	{.key = "storage.url",
	 .flag = "--storage",
	 .type = OPTION_TEXT,
	 .value = "URL",
	 .help = "the storage, as seen from here; default: what the leader says"},
	{.key = "s3.endpoint",
	 .flag = "--s3-endpoint",
	 .type = OPTION_TEXT,
	 .value = "URL",
	 .help = "S3 gateway; default: AWS_ENDPOINT_URL, then AWS"},
	{.key = "s3.region", .type = OPTION_TEXT, .help = "region; default us-east-1"},
	{.key = "s3.virtualHostStyle",
	 .type = OPTION_BOOL,
	 .fallback = "false",
	 .help = "bucket in the host's name, with an endpoint of one's own too"},
	{.key = "s3.caFile", .type = OPTION_TEXT, .value = "FILE", .help = "CA of the gateway"},
	{.key = "s3.credentialsFile",
	 .type = OPTION_TEXT,
	 .value = "FILE",
	 .help = "as of the AWS tools; default ~/.aws/credentials"},
	{.key = "s3.profile", .type = OPTION_TEXT, .help = "section of that file"},
	{.key = NULL}};

const struct command storage_commands[] = {
	{.name = "storage",
	 .args = "check",
	 .args_min = 1,
	 .args_max = 1,
	 .summary = "what lies in the checkpoint storage: damaged, or needed by nobody",
	 .run = storage,
	 .options = storage_options,
	 .help = "Asks the leader which checkpoints are kept or in flight, reads their manifests, "
		 "and compares\nthem with what lies in the storage. Says what is missing or "
		 "damaged (status 1), and what nobody\nneeds: left over from uploads that came too "
		 "late, from killed processes, from jobs that ended\nmore than a week ago. With "
		 "--delete that is removed, if it is older than a day and etcd, asked\nagain, still "
		 "does not need it. May run beside running jobs at any time.\n\n"
		 "The storage is read from here: credentials come from AWS_ACCESS_KEY_ID and "
		 "AWS_SECRET_ACCESS_KEY,\nor from a file, as for a JobManager.\n\n"
		 "  weir storage check\n"
		 "  weir storage check --verify\n"
		 "  weir storage check --delete --older-than 2h\n"
		 "  weir storage check --json | jq .orphanBytes\n"},
	{0}};
