/*
 * The exactly-once promise of sink.file under crashes.
 *
 * A child process plays worker and leader: two sinks write numbered rows, every
 * ROWS_PER_CHECKPOINT rows come a snapshot, the pointer (a file, renamed into
 * place), and the completion; every third checkpoint is given up instead. It
 * is killed at a named moment. Another child then goes on from the pointer, as
 * a next attempt. In the end the visible parts must hold every number once.
 */
#include <criterion/criterion.h>
#include <criterion/new/assert.h>
#include <dirent.h>
#include <fcntl.h>
#include <sys/wait.h>

#include "host.h"

enum { ROWS = 1200, ROWS_PER_CHECKPOINT = 100, SINKS_MAX = 4, CHILD_S = 60 };

static const char JOB[] =
	"{\"name\":\"t\",\"operators\":[{\"uid\":\"in\",\"type\":\"source.file\",\"path\":\"x\"},"
	"{\"uid\":\"out\",\"type\":\"sink.file\",\"inputs\":[\"in\"],\"path\":\"out\",\"format\":"
	"\"tsv\",\"rollBytes\":1024}]}";

/* ---- what the leader keeps: a checkpoint's position and the sinks' lists ---- */

struct stored {
	uint64_t id, row;
	uint32_t sinks;
	struct liststate lists[SINKS_MAX];
};

static void store(const char *dir, uint64_t id, uint64_t row, struct host **sinks, uint32_t n)
{
	char temporary[128], path[128];
	snprintf(temporary, sizeof(temporary), "%s/pointer.new", dir);
	snprintf(path, sizeof(path), "%s/pointer", dir);
	FILE *f = fopen(temporary, "w");
	fwrite(&id, sizeof(id), 1, f);
	fwrite(&row, sizeof(row), 1, f);
	fwrite(&n, sizeof(n), 1, f);
	for (uint32_t s = 0; s < n; s++) {
		const struct liststate *l = &sinks[s]->lists.at[0];
		fwrite(&l->n, sizeof(l->n), 1, f);
		for (size_t i = 0; i < l->n; i++) {
			fwrite(&l->items[i].len, sizeof(size_t), 1, f);
			fwrite(l->items[i].data, l->items[i].len, 1, f);
		}
	}
	if (fclose(f) || rename(temporary, path))
		abort();
}

static bool load(const char *dir, struct stored *out)
{
	char path[128];
	*out = (struct stored){0};
	snprintf(path, sizeof(path), "%s/pointer", dir);
	FILE *f = fopen(path, "r");
	if (!f)
		return false;
	bool ok = fread(&out->id, 8, 1, f) == 1 && fread(&out->row, 8, 1, f) == 1 &&
		  fread(&out->sinks, 4, 1, f) == 1;
	for (uint32_t s = 0; ok && s < out->sinks; s++) {
		size_t n = 0, len = 0;
		char data[256];
		ok = fread(&n, sizeof(n), 1, f) == 1;
		for (size_t i = 0; ok && i < n; i++) {
			ok = fread(&len, sizeof(len), 1, f) == 1 && len <= sizeof(data) &&
			     fread(data, 1, len, f) == len &&
			     liststate_add(&out->lists[s], data, len, NULL) == ERR_OK;
		}
	}
	fclose(f);
	if (!ok)
		abort();
	return true;
}

/* ---- one attempt ---- */

static void must(enum errc rc, struct host *h)
{
	if (rc) {
		fprintf(stderr, "attempt %u: %s\n", h->context.attempt.v, h->err.text);
		_exit(3);
	}
}

static void start_sinks(struct host **sinks, const char *root, uint32_t n, uint32_t attempt,
			const struct stored *from)
{
	for (uint32_t s = 0; s < n; s++) {
		struct liststate share = {0};
		sinks[s] = host_create(JOB, "out", root, s, n, attempt);
		if (from->id &&
		    liststate_deal(from->lists, from->sinks, LISTSTATE_UNION, s, n, &share, NULL))
			abort();
		must(host_start(sinks[s], from->id, &share), sinks[s]);
		liststate_fini(&share);
	}
	for (uint32_t s = 0; s < n && from->id; s++)
		must(sinks[s]->op->type->on_complete(sinks[s]->op, (struct ckpt_id){from->id},
						     &sinks[s]->err),
		     sinks[s]);
}

static void checkpoint(struct host **sinks, const char *root, uint32_t n, uint64_t id, uint64_t row,
		       bool leave_after_pointer)
{
	for (uint32_t s = 0; s < n; s++)
		must(host_snapshot(sinks[s], id), sinks[s]);
	bool give_up = id % 3 == 0 && row < ROWS;
	host_moment("before-pointer");
	if (!give_up)
		store(root, id, row, sinks, n);
	host_moment("after-pointer");
	if (leave_after_pointer && !give_up) {
		for (uint32_t s = 0; s < n; s++)
			host_destroy(sinks[s]);
		_exit(9);
	}
	for (uint32_t s = 0; s < n; s++) {
		struct op *o = sinks[s]->op;
		must(give_up ? o->type->on_abort(o, (struct ckpt_id){id}, &sinks[s]->err)
			     : o->type->on_complete(o, (struct ckpt_id){id}, &sinks[s]->err),
		     sinks[s]);
	}
	host_moment("after-complete");
}

static void attempt_run(const char *root, uint32_t attempt, uint32_t n, bool leave)
{
	struct host *sinks[SINKS_MAX];
	struct stored from;
	load(root, &from);
	alarm(CHILD_S);
	start_sinks(sinks, root, n, attempt, &from);
	/* Ids only grow: an attempt begins far above all of its predecessors. */
	uint64_t id = attempt * 1000u;
	for (uint64_t row = from.row; row < ROWS; row++) {
		char text[32];
		snprintf(text, sizeof(text), "%llu", (unsigned long long)row);
		must(host_write_text(sinks[row % n], text), sinks[row % n]);
		if ((row + 1) % ROWS_PER_CHECKPOINT == 0)
			checkpoint(sinks, root, n, ++id, row + 1, leave);
	}
	for (uint32_t s = 0; s < n; s++)
		host_destroy(sinks[s]);
	_exit(0);
}

/* The exit status, or minus the signal. */
static int run(const char *root, uint32_t attempt, uint32_t n, const char *kill, unsigned passes)
{
	pid_t pid = fork();
	if (pid == 0) {
		snprintf(host_world.kill, sizeof(host_world.kill), "%s", kill);
		host_world.passes = passes;
		attempt_run(root, attempt, n, strcmp(kill, "leave") == 0);
	}
	int status = 0;
	if (pid < 0 || waitpid(pid, &status, 0) != pid)
		abort();
	return WIFSIGNALED(status) ? -WTERMSIG(status) : WEXITSTATUS(status);
}

/* ---- the verdict ---- */

static void count_file(const char *dir, const char *name, unsigned *seen)
{
	char path[400], line[64];
	snprintf(path, sizeof(path), "%s/%s", dir, name);
	FILE *f = fopen(path, "r");
	cr_assert(ne(ptr, f, NULL));
	while (fgets(line, sizeof(line), f)) {
		long row = strtol(line, NULL, 10);
		cr_assert(row >= 0 && row < ROWS, "row %s", line);
		seen[row]++;
	}
	fclose(f);
}

static void expect_each_row_once(const char *root, const char *what)
{
	unsigned seen[ROWS] = {0};
	char dir[128];
	snprintf(dir, sizeof(dir), "%s/out", root);
	DIR *d = opendir(dir);
	cr_assert(d != NULL);
	for (struct dirent *entry; (entry = readdir(d));)
		if (entry->d_name[0] != '.')
			count_file(dir, entry->d_name, seen);
	closedir(d);
	for (unsigned i = 0; i < ROWS; i++)
		cr_assert(eq(uint, seen[i], 1), "%s: row %u is there %u times", what, i, seen[i]);
}

static unsigned left_over(const char *root)
{
	char dir[160];
	unsigned n = 0;
	snprintf(dir, sizeof(dir), "%s/out/.weir/%032x", root, 7);
	DIR *d = opendir(dir);
	cr_assert(d != NULL);
	for (struct dirent *entry; (entry = readdir(d));)
		n += strchr(entry->d_name, '-') != NULL;
	closedir(d);
	return n;
}

static const char *const points[] = {"sink-precommit",
				     "before-pointer",
				     "after-pointer",
				     "sink-commit-before-ledger",
				     "sink-commit-after-ledger",
				     "sink-commit-after-rename",
				     "after-complete"};

Test(sink_crash, one_kill_at_every_moment)
{
	for (size_t p = 0; p < sizeof(points) / sizeof(points[0]); p++) {
		for (unsigned passes = 1; passes <= 7; passes += 2) {
			char root[64], what[96];
			host_temp(root);
			snprintf(what, sizeof(what), "%s:%u", points[p], passes);
			cr_assert(eq(int, run(root, 1, 2, points[p], passes), -SIGKILL), "%s",
				  what);
			cr_assert(eq(int, run(root, 2, 2, "", 0), 0), "%s", what);
			expect_each_row_once(root, what);
			cr_assert(eq(uint, left_over(root), 0), "%s", what);
			host_remove(root);
		}
	}
}

Test(sink_crash, kill_again_while_recovering, .timeout = 100)
{
	for (size_t p = 0; p < sizeof(points) / sizeof(points[0]); p++) {
		for (size_t q = 0; q < sizeof(points) / sizeof(points[0]); q++) {
			char root[64], what[128];
			host_temp(root);
			snprintf(what, sizeof(what), "%s then %s", points[p], points[q]);
			cr_assert(eq(int, run(root, 1, 2, points[p], 4), -SIGKILL), "%s", what);
			cr_assert(eq(int, run(root, 2, 2, points[q], 1), -SIGKILL), "%s", what);
			cr_assert(eq(int, run(root, 3, 2, "", 0), 0), "%s", what);
			expect_each_row_once(root, what);
			host_remove(root);
		}
	}
}

/* An attempt that is told nothing any more closes in order, with a completed checkpoint behind it
 * whose completion it never heard of. */
Test(sink_crash, close_after_a_pointer_that_was_not_told)
{
	char root[64];
	host_temp(root);
	cr_assert(eq(int, run(root, 1, 2, "leave", 0), 9));
	cr_assert(eq(int, run(root, 2, 2, "leave", 0), 9));
	cr_assert(eq(int, run(root, 3, 2, "", 0), 0));
	expect_each_row_once(root, "closed");
	host_remove(root);
}

/* Fewer and more subtasks than those that pre-committed. */
Test(sink_crash, rescaled)
{
	static const uint32_t to[] = {1, 2, 3, 4};
	for (unsigned i = 0; i < 4; i++) {
		for (uint32_t from = 1; from <= 4; from++) {
			char root[64];
			host_temp(root);
			cr_assert(eq(int, run(root, 1, from, "after-pointer", 1), -SIGKILL));
			cr_assert(eq(int, run(root, 2, to[i], "sink-precommit", to[i] + 1),
				     -SIGKILL));
			cr_assert(eq(int, run(root, 3, from, "", 0), 0));
			expect_each_row_once(root, "rescaled");
			cr_assert(eq(uint, left_over(root), 0));
			host_remove(root);
		}
	}
}

/* A run without any failure leaves nothing but the parts. */
Test(sink_crash, none)
{
	char root[64];
	host_temp(root);
	cr_assert(eq(int, run(root, 1, 2, "", 0), 0));
	expect_each_row_once(root, "none");
	cr_assert(eq(uint, left_over(root), 0));
	host_remove(root);
}
