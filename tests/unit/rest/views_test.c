/* The shapes that dashboards and scripts rely on, member by member. */
#include <criterion/criterion.h>
#include <criterion/new/assert.h>
#include <string.h>

#include "base/json.h"
#include "rest/views.h"

static struct graph *a_graph(struct spec **spec)
{
	static const char text[] =
		"{\"name\":\"n\",\"parallelism\":2,\"checkpointing\":{\"interval\":\"10s\"},"
		"\"operators\":[{\"uid\":\"s\",\"type\":\"source.socket\",\"host\":\"h\",\"port\":1},"
		"{\"uid\":\"o\",\"type\":\"sink.print\",\"inputs\":[\"s\"]}]}";
	json_t *doc = json_loads(text, 0, NULL);
	cr_assert(eq(int, spec_parse(doc, spec, NULL), ERR_OK));
	json_decref(doc);
	return graph_create(*spec);
}

/* All of these members, in any order. */
static void has(const json_t *o, const char *const *names)
{
	for (; *names; names++)
		cr_expect(json_object_get(o, *names) != NULL, "%s is missing", *names);
}

static const char *text(const json_t *o, const char *name)
{
	return json_string_value(json_object_get(o, name));
}

static json_int_t number(const json_t *o, const char *name)
{
	cr_expect(0 != json_is_integer(json_object_get(o, name)), "%s is no integer", name);
	return json_integer_value(json_object_get(o, name));
}

static struct view_job a_job(struct graph *g, struct view_vertex *vertices)
{
	static const struct view_stamp stamps[] = {{"CREATED", 100}, {"RUNNING", 150}};
	vertices[0] = (struct view_vertex){.tasks[4] = 1, .start_ms = 150, .end_ms = -1};
	vertices[1] =
		(struct view_vertex){.tasks[4] = 1, .tasks[2] = 1, .start_ms = 150, .end_ms = -1};
	return (struct view_job){.id = "id",
				 .name = "n",
				 .state = "RUNNING",
				 .start_ms = 100,
				 .end_ms = -1,
				 .now_ms = 400,
				 .modified_ms = 150,
				 .tasks = {[4] = 2, [2] = 1},
				 .stamps = stamps,
				 .n_stamps = 2,
				 .graph = g,
				 .vertices = vertices,
				 .detail = "DEPLOYING",
				 .trouble = "",
				 .attempt = 1};
}

Test(views, job_detail)
{
	static const char *const members[] = {
		"jid",        "name",     "isStoppable",   "state",          "job-type",
		"start-time", "end-time", "duration",      "maxParallelism", "now",
		"timestamps", "vertices", "status-counts", "plan",           NULL};
	static const char *const vertex_members[] = {"id",          "slotSharingGroupId",
						     "name",        "maxParallelism",
						     "parallelism", "status",
						     "start-time",  "end-time",
						     "duration",    "tasks",
						     "metrics",     NULL};
	struct spec *spec;
	struct graph *g = a_graph(&spec);
	struct view_vertex vertices[2];
	struct view_job j = a_job(g, vertices);
	json_t *o = view_job(&j);
	has(o, members);
	cr_assert(eq(i64, number(o, "duration"), 300));
	cr_assert(eq(i64, number(o, "end-time"), -1));
	cr_assert(eq(i64, number(json_object_get(o, "timestamps"), "RUNNING"), 150));
	cr_assert(eq(i64, number(json_object_get(o, "status-counts"), "RUNNING"), 2));
	const json_t *list = json_object_get(o, "vertices");
	cr_assert(eq(sz, json_array_size(list), 2));
	has(json_array_get(list, 1), vertex_members);
	cr_assert(eq(str, (char *)text(json_array_get(list, 0), "status"), "RUNNING"));
	cr_assert(eq(str, (char *)text(json_array_get(list, 1), "status"), "DEPLOYING"));
	const json_t *nodes = json_object_get(json_object_get(o, "plan"), "nodes");
	cr_assert(json_object_get(json_array_get(nodes, 0), "inputs") == NULL);
	const json_t *in = json_array_get(json_object_get(json_array_get(nodes, 1), "inputs"), 0);
	cr_assert(eq(str, (char *)text(in, "ship_strategy"), "REBALANCE"));
	cr_assert(eq(str, (char *)text(in, "id"), g->vertices[0].id));
	cr_assert(0 != json_is_false(json_object_get(json_object_get(o, "weir"), "replayable")));
	json_decref(o);
	graph_destroy(g);
	spec_destroy(spec);
}

Test(views, job_lists_have_nothing_of_our_own)
{
	struct spec *spec;
	struct graph *g = a_graph(&spec);
	struct view_vertex vertices[2];
	struct view_job j = a_job(g, vertices);
	json_t *o = view_jobs(&j, 1);
	const json_t *row = json_array_get(json_object_get(o, "jobs"), 0);
	cr_assert(eq(sz, json_object_size(row), 8));
	const json_t *tasks = json_object_get(row, "tasks");
	cr_assert(eq(sz, json_object_size(tasks), 11));
	cr_assert(eq(i64, number(tasks, "total"), 3));
	cr_assert(eq(i64, number(tasks, "running"), 2));
	json_decref(o);
	o = view_job_ids(&j, 1);
	row = json_array_get(json_object_get(o, "jobs"), 0);
	cr_assert(eq(sz, json_object_size(row), 2));
	cr_assert(eq(str, (char *)text(row, "status"), "RUNNING"));
	json_decref(o);
	graph_destroy(g);
	spec_destroy(spec);
}

Test(views, a_job_whose_specification_is_gone_is_shown_all_the_same)
{
	struct view_job j = {
		.id = "id", .name = "n", .state = "FINISHED", .detail = "", .trouble = ""};
	json_t *o = view_job(&j);
	cr_assert(eq(sz, json_array_size(json_object_get(o, "vertices")), 0));
	cr_assert(eq(i64, number(o, "maxParallelism"), -1));
	json_decref(o);
	json_decref(view_plan(&j));
	o = view_job_config(&j);
	json_decref(o);
}

Test(views, checkpoints)
{
	const struct view_checkpoint history[] = {{.id = 4,
						   .status = VIEW_IN_PROGRESS,
						   .trigger_ms = 900,
						   .ack_ms = -1,
						   .end_ms = -1,
						   .parts = 2,
						   .acked = 1},
						  {.id = 3,
						   .status = VIEW_COMPLETED,
						   .trigger_ms = 500,
						   .ack_ms = 530,
						   .end_ms = 540,
						   .bytes = 300,
						   .path = "file:///x/3"},
						  {.id = 2,
						   .status = VIEW_FAILED,
						   .trigger_ms = 300,
						   .ack_ms = -1,
						   .end_ms = 350,
						   .failure = "timeout"},
						  {.id = 1,
						   .status = VIEW_COMPLETED,
						   .trigger_ms = 100,
						   .ack_ms = 110,
						   .end_ms = 120,
						   .bytes = 100,
						   .path = "file:///x/1"}};
	const struct view_checkpoints c = {.total = 4,
					   .in_progress = 1,
					   .completed = 2,
					   .failed = 1,
					   .history = history,
					   .n = 4,
					   .now_ms = 1000,
					   .restored_path = ""};
	json_t *o = view_checkpoints(&c);
	const json_t *latest = json_object_get(o, "latest");
	cr_assert(eq(i64, number(json_object_get(latest, "completed"), "id"), 3));
	cr_assert(eq(str, (char *)text(json_object_get(latest, "completed"), "external_path"),
		     "file:///x/3"));
	cr_assert(eq(str, (char *)text(json_object_get(latest, "failed"), "failure_message"),
		     "timeout"));
	cr_assert(0 != json_is_null(json_object_get(latest, "savepoint")));
	cr_assert(0 != json_is_null(json_object_get(latest, "restored")));
	const json_t *first = json_array_get(json_object_get(o, "history"), 0);
	cr_assert(eq(str, (char *)text(first, "status"), "IN_PROGRESS"));
	cr_assert(eq(str, (char *)text(first, "className"), "in_progress"));
	cr_assert(eq(i64, number(first, "end_to_end_duration"), 100));
	const json_t *sizes = json_object_get(json_object_get(o, "summary"), "state_size");
	cr_assert(eq(i64, number(sizes, "min"), 100));
	cr_assert(eq(i64, number(sizes, "max"), 300));
	cr_assert(eq(i64, number(sizes, "avg"), 200));
	json_decref(o);
}

Test(views, checkpoint_configuration)
{
	struct spec *spec;
	struct graph *g = a_graph(&spec);
	json_t *o = view_checkpoints_config(spec, "file:///x");
	cr_assert(eq(str, (char *)text(o, "mode"), "exactly_once"));
	cr_assert(eq(i64, number(o, "interval"), 10000));
	cr_assert(eq(i64, number(o, "timeout"), 600000));
	cr_assert(eq(str, (char *)text(o, "checkpoint_storage"), "file:///x"));
	json_decref(o);
	graph_destroy(g);
	spec_destroy(spec);
}

Test(views, exceptions_are_cut_and_say_so)
{
	const struct view_failure failures[] = {
		{.ms = 2, .name = "b", .text = "b", .task = "t (1/2)", .tm = "tm", .endpoint = "h"},
		{.ms = 1,
		 .name = "a",
		 .text = "a",
		 .task = "",
		 .tm = "",
		 .endpoint = "",
		 .external = true}};
	json_t *o = view_exceptions(failures, 2, 1);
	const json_t *h = json_object_get(o, "exceptionHistory");
	cr_assert(0 != json_is_true(json_object_get(h, "truncated")));
	cr_assert(eq(sz, json_array_size(json_object_get(h, "entries")), 1));
	json_decref(o);
	o = view_exceptions(failures, 2, 20);
	h = json_object_get(o, "exceptionHistory");
	cr_assert(0 != json_is_false(json_object_get(h, "truncated")));
	const json_t *second = json_array_get(json_object_get(h, "entries"), 1);
	cr_assert(json_object_get(second, "taskName") == NULL);
	cr_assert(eq(str, (char *)text(json_object_get(second, "failureLabels"), "cause"),
		     "external"));
	json_decref(o);
}

Test(views, the_dashboard_needs_features)
{
	json_t *o = view_config();
	cr_assert(0 != json_is_object(json_object_get(o, "features")));
	json_decref(o);
}

Test(views, the_cluster_names_its_leader)
{
	const struct view_member members[] = {{.id = "a",
					       .instance = "1",
					       .rest = "r",
					       .cluster = "c",
					       .leader = true,
					       .revision = 9},
					      {.id = "b",
					       .instance = "2",
					       .rest = "r",
					       .cluster = "c",
					       .self = true,
					       .revision = 10}};
	struct view_cluster c = {.cluster = "x",
				 .prefix = "weir",
				 .id = "b",
				 .instance = "2",
				 .role = "standby",
				 .epoch = 9,
				 .members = members,
				 .n_members = 2,
				 .trouble = "",
				 .endpoint = "",
				 .storage = "",
				 .storage_trouble = ""};
	json_t *o = view_cluster(&c);
	cr_assert(eq(str, (char *)text(json_object_get(o, "leader"), "id"), "a"));
	cr_assert(eq(i64, number(o, "epoch"), 9));
	json_decref(o);
	c.n_members = 0;
	o = view_cluster(&c);
	cr_assert(0 != json_is_null(json_object_get(o, "leader")));
	json_decref(o);
}
