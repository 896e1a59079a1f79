#include "cli/sweep.h"

#include <stdlib.h>
#include <string.h>
#include <xxhash.h>

#include "base/json.h"
#include "base/mem.h"
#include "base/text.h"

enum { JOBS_MAX = 1 << 20, POINTERS_MAX = 1 << 20, OBJECTS_MAX = 1 << 24 };

/* ---- the leader's answer ---- */

static MUST_CHECK enum errc learn_pointer(struct sweep *s, const struct sweep_job *job,
					  const json_t *o, struct err *e)
{
	const char *manifest, *checksum;
	uint64_t id;
	enum errc rc = json_get_u64(o, "checkpoints[]", "id", &id, e);
	if (rc == ERR_OK)
		rc = json_get_text(o, "checkpoints[]", "manifest", &manifest, e);
	if (rc == ERR_OK)
		rc = json_get_text(o, "checkpoints[]", "checksum", &checksum, e);
	if (rc)
		return rc;
	if (s->n_pointers == POINTERS_MAX || strlen(checksum) >= sizeof(s->pointers->checksum))
		return err_set(e, ERR_LIMIT, "checkpoints: too many, or a checksum too long");
	if (sweep_points_to(s, manifest)) /* in done/ and in resolve/ */
		return ERR_OK;
	s->pointers = mem_resize(s->pointers, s->n_pointers + 1, sizeof(*s->pointers));
	struct sweep_pointer *p = &s->pointers[s->n_pointers++];
	*p = (struct sweep_pointer){.job = job->id, .id = id, .manifest = mem_text(manifest)};
	memcpy(p->checksum, checksum, strlen(checksum) + 1);
	return ERR_OK;
}

static MUST_CHECK enum errc learn_job(struct sweep *s, const json_t *o, struct err *e)
{
	struct sweep_job job = {0};
	const char *id;
	json_t *list, *pointer;
	size_t i;
	enum errc rc = json_get_text(o, "jobs[]", "job", &id, e);
	if (rc == ERR_OK)
		rc = job_id_parse(id, &job.id, e);
	if (rc == ERR_OK)
		rc = json_get_bool_or(o, "jobs[]", "readable", false, &job.readable, e);
	if (rc == ERR_OK && job.readable)
		rc = json_get_u64(o, "jobs[]", "open", &job.open, e);
	if (rc == ERR_OK && job.readable)
		rc = json_need(o, "jobs[]", "checkpoints", &list, e);
	if (rc)
		return rc;
	s->jobs[s->n_jobs++] = job;
	if (!job.readable)
		return ERR_OK;
	json_array_foreach (list, i, pointer) {
		rc = learn_pointer(s, &job, pointer, e);
		if (rc)
			return rc;
	}
	return ERR_OK;
}

static int by_job(const void *a, const void *b)
{
	const struct sweep_job *x = a, *y = b;
	return strcmp(x->id.hex, y->id.hex);
}

static MUST_CHECK enum errc learn_all(const json_t *answer, struct sweep *s, struct err *e)
{
	const char *cluster, *storage, *trouble;
	struct job_id id;
	json_t *jobs, *job;
	size_t i;
	enum errc rc = json_get_text(answer, "", "clusterId", &cluster, e);
	if (rc == ERR_OK)
		rc = job_id_parse(cluster, &id, e);
	if (rc == ERR_OK)
		rc = json_get_text(answer, "", "storage", &storage, e);
	if (rc == ERR_OK)
		rc = json_get_text(answer, "", "trouble", &trouble, e);
	if (rc == ERR_OK)
		rc = json_need(answer, "", "jobs", &jobs, e);
	if (rc)
		return rc;
	if (!json_is_array(jobs) || json_array_size(jobs) > JOBS_MAX)
		return err_set(e, ERR_LIMIT, "jobs: no list, or too long");
	memcpy(s->cluster_id, id.hex, sizeof(s->cluster_id));
	s->storage = mem_text(storage);
	s->trouble = mem_text(trouble);
	s->jobs = mem_array(json_array_size(jobs) + 1, sizeof(*s->jobs));
	json_array_foreach (jobs, i, job) {
		rc = learn_job(s, job, e);
		if (rc)
			return rc;
	}
	qsort(s->jobs, s->n_jobs, sizeof(*s->jobs), by_job);
	return ERR_OK;
}

enum errc sweep_learn(const json_t *answer, struct sweep *out, struct err *e)
{
	struct sweep s = {0};
	enum errc rc = learn_all(answer, &s, e);
	if (rc) {
		sweep_fini(&s);
		return err_wrap(e, rc, "what is needed in storage");
	}
	*out = s;
	return ERR_OK;
}

void sweep_fini(struct sweep *s)
{
	for (size_t i = 0; i < s->n_pointers; i++)
		free(s->pointers[i].manifest);
	for (size_t i = 0; i < s->n_needed; i++)
		free(s->needed[i].name);
	free(s->pointers);
	free(s->needed);
	free(s->jobs);
	free(s->storage);
	free(s->trouble);
	*s = (struct sweep){0};
}

/* ---- manifests ---- */

static MUST_CHECK enum errc add_needed(struct sweep *s, unsigned pointer, const json_t *o,
				       struct err *e)
{
	const char *path, *checksum;
	int64_t bytes;
	uint64_t sum;
	enum errc rc = json_get_text(o, "objects[]", "path", &path, e);
	if (rc == ERR_OK)
		rc = json_get_i64(o, "objects[]", "bytes", 1, INT64_MAX, &bytes, e);
	if (rc == ERR_OK)
		rc = json_get_text(o, "objects[]", "checksum", &checksum, e);
	if (rc)
		return rc;
	if (!text_hex64(checksum, &sum))
		return err_set(e, ERR_CORRUPT, "objects[].checksum: not 16 hexadecimal digits");
	if (s->n_needed == OBJECTS_MAX)
		return err_set(e, ERR_LIMIT, "objects: too many");
	if ((s->n_needed & (s->n_needed - 1)) == 0) /* a power of two: full */
		s->needed = mem_resize(s->needed, s->n_needed ? 2 * s->n_needed : 1,
				       sizeof(*s->needed));
	s->needed[s->n_needed++] =
		(struct sweep_object){mem_text(path), (uint64_t)bytes, sum, pointer};
	return ERR_OK;
}

enum errc sweep_manifest(struct sweep *s, size_t i, const char *bytes, size_t len, struct err *e)
{
	struct sweep_pointer *p = &s->pointers[i];
	json_t *doc = NULL, *objects = NULL, *o;
	uint64_t want = 0;
	size_t k;
	if (p->checksum[0] && (!text_hex64(p->checksum, &want) || XXH3_64bits(bytes, len) != want))
		return err_set(e, ERR_CORRUPT, "its checksum is not %s", p->checksum);
	enum errc rc = json_parse(bytes, len, &doc, e);
	if (rc == ERR_OK)
		rc = json_need(doc, "", "objects", &objects, e);
	json_array_foreach (objects, k, o) {
		if (rc == ERR_OK && !json_is_null(o))
			rc = add_needed(s, (unsigned)i, o, e);
	}
	p->read = rc == ERR_OK;
	json_decref(doc);
	return rc;
}

static int by_name(const void *a, const void *b)
{
	const struct sweep_object *x = a, *y = b;
	return strcmp(x->name, y->name);
}

void sweep_ready(struct sweep *s)
{
	if (s->n_needed)
		qsort(s->needed, s->n_needed, sizeof(*s->needed), by_name);
}

/* ---- judging ---- */

bool sweep_points_to(const struct sweep *s, const char *manifest)
{
	for (size_t i = 0; i < s->n_pointers; i++)
		if (strcmp(s->pointers[i].manifest, manifest) == 0)
			return true;
	return false;
}

/* "jobs/<32 digits>/chk-<number>/<one part>" */
static bool parse_name(const char *name, struct job_id *job, uint64_t *id)
{
	char text[ID_TEXT], number[24];
	if (!text_starts(name, "jobs/") || strlen(name) < 5 + ID_HEX + 6)
		return false;
	memcpy(text, name + 5, ID_HEX);
	text[ID_HEX] = '\0';
	const char *rest = name + 5 + ID_HEX;
	if (job_id_parse(text, job, NULL) != ERR_OK || !text_starts(rest, "/chk-"))
		return false;
	rest += 5;
	size_t digits = strcspn(rest, "/");
	if (digits == 0 || digits >= sizeof(number) || rest[digits] != '/' ||
	    rest[digits + 1] == '\0' || strchr(rest + digits + 1, '/') != NULL)
		return false;
	memcpy(number, rest, digits);
	number[digits] = '\0';
	return text_u64(number, id, NULL) == ERR_OK;
}

/* Where the entries of a job begin; n_jobs: it has none. */
static size_t find_job(const struct sweep *s, const struct job_id *id)
{
	size_t low = 0, high = s->n_jobs;
	while (low < high) {
		size_t mid = low + (high - low) / 2;
		if (strcmp(s->jobs[mid].id.hex, id->hex) < 0)
			low = mid + 1;
		else
			high = mid;
	}
	return low < s->n_jobs && job_id_equal(&s->jobs[low].id, id) ? low : s->n_jobs;
}

static bool is_needed(const struct sweep *s, const char *name)
{
	struct sweep_object key = {.name = (char *)(uintptr_t)name};
	return sweep_points_to(s, name) ||
	       (s->n_needed && bsearch(&key, s->needed, s->n_needed, sizeof(key), by_name) != NULL);
}

/* The manifest of this checkpoint is needed, and was not understood. */
static bool in_the_dark(const struct sweep *s, const struct job_id *job, uint64_t id)
{
	for (size_t i = 0; i < s->n_pointers; i++)
		if (job_id_equal(&s->pointers[i].job, job) && s->pointers[i].id == id &&
		    !s->pointers[i].read)
			return true;
	return false;
}

enum sweep_class sweep_judge(const struct sweep *s, const char *name)
{
	struct job_id job;
	uint64_t id;
	if (is_needed(s, name))
		return SWEEP_NEEDED;
	if (!parse_name(name, &job, &id))
		return SWEEP_FOREIGN;
	for (size_t i = find_job(s, &job); i < s->n_jobs && job_id_equal(&s->jobs[i].id, &job);
	     i++) {
		if (!s->jobs[i].readable)
			return SWEEP_UNSURE;
		if (id >= s->jobs[i].open)
			return SWEEP_OPEN;
	}
	return in_the_dark(s, &job, id) ? SWEEP_UNSURE : SWEEP_ORPHAN;
}

const char *sweep_why(const struct sweep *s, const char *name)
{
	struct job_id job;
	uint64_t id;
	if (!parse_name(name, &job, &id) || find_job(s, &job) == s->n_jobs)
		return "its job is gone";
	for (size_t i = 0; i < s->n_pointers; i++)
		if (job_id_equal(&s->pointers[i].job, &job) && s->pointers[i].id == id)
			return "its checkpoint does without it";
	return "its checkpoint is not kept";
}
