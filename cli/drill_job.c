#include "cli/drill_job.h"

#include <stdio.h>

#include "cli/client.h"
#include "world/world.h"

static json_t *document(const struct drill_job *j, uint64_t rate)
{
	json_t *source = json_pack("{s:s, s:s, s:i, s:I, s:i, s:I}", "uid", "numbers", "type",
				   "source.sequence", "from", 0, "to", (json_int_t)j->records - 1,
				   "keys", DRILL_KEYS, "rateLimit", (json_int_t)rate);
	json_t *counts = json_pack("{s:s, s:s, s:[s], s:[s], s:[{s:s, s:s}]}", "uid", "counts",
				   "type", "aggregate", "inputs", "numbers", "keyBy", "key",
				   "aggregates", "count", "*", "as", "n");
	json_t *print = json_pack("{s:s, s:s, s:[s]}", "uid", "print", "type", "sink.print",
				  "inputs", "counts");
	json_t *out = json_pack("{s:s, s:s, s:[s], s:s, s:s, s:s}", "uid", "out", "type",
				"sink.file", "inputs", "counts", "path", j->output, "format", "tsv",
				"semantics", "exactly-once");
	return json_pack("{s:s, s:s, s:i, s:i, s:{s:s, s:s}, s:[o, o, o, o]}", "name", "drill",
			 "jobId", j->id.hex, "parallelism", 2, "maxParallelism", 128,
			 "checkpointing", "interval", "500ms", "timeout", "30s", "operators",
			 source, counts, print, out);
}

enum errc drill_job_submit(struct cli *c, uint64_t records, uint64_t rate, struct drill_job *out,
			   struct err *e)
{
	*out = (struct drill_job){.records = records};
	job_id_make(world_rand64(c->world), world_rand64(c->world), &out->id);
	snprintf(out->output, sizeof(out->output), "drill-%.8s", out->id.hex);
	json_t *spec = document(out, rate);
	enum errc rc = client_call(c->client, "POST", "/v1/jobs", spec, NULL, e);
	json_decref(spec);
	return rc ? err_wrap(e, rc, "the drill's job") : ERR_OK;
}
