#include "taskmanager/worker_inside.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/log.h"
#include "base/mem.h"

enum { BYE_MS = 500 };

/* ---- from other threads ---- */

struct note *worker_note_make(enum note_kind kind)
{
	struct note *n = mem_alloc(sizeof(*n));

	n->kind = kind;
	return n;
}

void worker_note_send(struct worker *w, struct note *n)
{
	pthread_mutex_lock(&w->lock);
	if (w->first)
		w->last->next = n;
	else
		w->first = n;
	w->last = n;
	pthread_mutex_unlock(&w->lock);
	waker_wake(&w->waker);
}

static struct note *note_take(struct worker *w)
{
	pthread_mutex_lock(&w->lock);
	struct note *n = w->first;
	if (n)
		w->first = n->next;
	pthread_mutex_unlock(&w->lock);
	return n;
}

static struct worker *worker_of(struct task_port *p)
{
	return MEM_OWNER(p, struct worker, port);
}

static void port_snapshot(struct task_port *p, struct task *t, struct snapshot_part *part)
{
	(void)t;
	uploader_part(worker_of(p)->uploader, part);
}

static void port_declined(struct task_port *p, struct task *t, uint64_t checkpoint, const char *why)
{
	struct note *n = worker_note_make(NOTE_DECLINED);

	n->task = t;
	n->checkpoint = checkpoint;
	err_set(&n->err, ERR_CANCELED, "%s: %s", t->config.name, why);
	worker_note_send(worker_of(p), n);
}

static void port_at_end(struct task_port *p, struct task *t)
{
	struct note *n = worker_note_make(NOTE_AT_END);

	n->task = t;
	worker_note_send(worker_of(p), n);
}

static void port_committed(struct task_port *p, struct task *t, uint64_t checkpoint)
{
	struct note *n = worker_note_make(NOTE_COMMITTED);

	n->task = t;
	n->checkpoint = checkpoint;
	worker_note_send(worker_of(p), n);
}

const struct task_port worker_port = {port_snapshot, port_declined, port_at_end, port_committed};

void worker_task_opened(void *owner, struct task *t)
{
	struct note *n = worker_note_make(NOTE_OPENED);

	n->task = t;
	worker_note_send(owner, n);
}

void worker_task_ended(void *owner, struct task *t)
{
	struct note *n = worker_note_make(NOTE_ENDED);

	n->task = t;
	worker_note_send(owner, n);
}

void worker_snapshot_done(void *owner, const struct snapshot_result *r)
{
	struct note *n = worker_note_make(NOTE_SNAPSHOT);

	n->snapshot = mem_copy(r, sizeof(*r));
	worker_note_send(owner, n);
}

void worker_link_failed(void *owner, unsigned peer, const struct err *e)
{
	struct worker *w = owner;
	struct note *n = worker_note_make(NOTE_BROKEN);

	err_set(&n->err, ERR_UNAVAILABLE, "data connection to %s (%s): %s", w->d.peers[peer].tm,
		w->d.peers[peer].address, e->text);
	worker_note_send(w, n);
}

/* ---- what the notes say ---- */

static void on_started(struct worker *w)
{
	pthread_join(w->starter, NULL);
	w->starter_started = false;
	if (sm_state(&w->sm) == WORKER_STARTING)
		worker_tasks_start(w);
}

/* Never before `running`: a restored source may be at its end while others still restore. */
static void at_end_check(struct worker *w)
{
	if (sm_state(&w->sm) == WORKER_RUNNING && w->n_at_end == w->n_sources)
		worker_report_plain(w, CONTROL_REPORT_AT_END, 0);
}

/* With where its state came from. */
static void report_running(struct worker *w)
{
	struct control_report_msg m = worker_report_of(w, CONTROL_REPORT_RUNNING);

	if (w->restoring) {
		uint64_t local = atomic_load(&w->restore.tally.local_bytes);
		uint64_t storage = atomic_load(&w->restore.tally.storage_bytes);
		size_t copies = restore_copies(&w->restore);
		log_line(LOG_LEVEL_INFO,
			 "job=%s attempt=%u restored ckpt=%" PRIu64 ": %" PRIu64
			 " bytes from %zu local copies, %" PRIu64 " from storage",
			 w->config.job.hex, w->config.attempt.v, w->restore.checkpoint.v, local,
			 copies, storage);
		m.stats =
			json_pack("{s:I,s:I,s:I}", "localCopies", (json_int_t)copies, "localBytes",
				  (json_int_t)local, "storageBytes", (json_int_t)storage);
	}
	worker_report(w, &m);
	json_decref(m.stats);
}

static void on_opened(struct worker *w)
{
	if (++w->n_opened < w->d.n_tasks || sm_state(&w->sm) != WORKER_STARTING)
		return;
	killpoint_pass(&w->killpoint, "worker-restored");
	sm_move(&w->sm, WORKER_RUNNING, "all tasks run");
	report_running(w);
	at_end_check(w);
	/* Commit what the restored state holds as pre-committed, and what completed since. */
	if (w->restore.checkpoint.v > w->newest.v)
		w->newest = w->restore.checkpoint;
	if (w->newest.v)
		worker_orders_all(w, &(struct task_order){.kind = TASK_COMPLETE,
							  .barrier.checkpoint = w->newest.v});
}

static void on_ended(struct worker *w, struct task *t)
{
	exec_join(&w->execs[t->config.index]);
	w->n_ended++;
	if (task_failed(t) && sm_state(&w->sm) != WORKER_ENDING)
		worker_failed(w, task_error(t), t);
	if (w->n_ended < w->d.n_tasks || sm_state(&w->sm) != WORKER_ENDING)
		return;
	exchange_bye(w->d.exchange, BYE_MS);
	worker_end_now(w);
}

static void on_committed(struct worker *w, const struct note *n)
{
	uint64_t least = UINT64_MAX;

	if (n->checkpoint > w->committed[n->task->config.index])
		w->committed[n->task->config.index] = n->checkpoint;
	for (unsigned i = 0; i < w->d.n_tasks; i++)
		least = w->committed[i] < least ? w->committed[i] : least;
	if (least <= w->committed_said || sm_state(&w->sm) == WORKER_FAILED)
		return;
	w->committed_said = least;
	worker_report_plain(w, CONTROL_REPORT_COMMITTED, least);
}

static json_t *object_json(const struct snapshot_result *r)
{
	char checksum[17];

	if (!r->object.bytes)
		return json_null();
	snprintf(checksum, sizeof(checksum), "%016" PRIx64, r->object.checksum);
	return json_pack("{s:s,s:I,s:s}", "path", r->path, "bytes", (json_int_t)r->object.bytes,
			 "checksum", checksum);
}

static void on_snapshot(struct worker *w, const struct snapshot_result *r)
{
	bool ok = r->err.code == ERR_OK;
	struct control_report_msg m =
		worker_report_of(w, ok ? CONTROL_REPORT_ACK : CONTROL_REPORT_DECLINE);

	m.checkpoint.v = r->barrier.checkpoint;
	if (!ok) {
		/* All but what the job itself has made too large is for storage to answer for. */
		m.external = r->err.code != ERR_LIMIT;
		snprintf(m.text, sizeof(m.text), "snapshot: %s", r->err.text);
		log_line(LOG_LEVEL_WARN, "job=%s ckpt=%" PRIu64 " declined: %s", w->config.job.hex,
			 m.checkpoint.v, m.text);
		worker_report(w, &m);
		return;
	}
	worker_metrics_line(w, "acked", m.checkpoint.v, r->sync_ns);
	killpoint_pass(&w->killpoint, "worker-snapshot-stored");
	m.object = object_json(r);
	m.stats = json_pack("{s:I,s:I,s:I,s:I,s:I,s:o}", "syncUs", (json_int_t)(r->sync_ns / 1000),
			    "asyncMs", (json_int_t)r->async_ms, "alignmentMs",
			    (json_int_t)r->align_ms, "bytes", (json_int_t)r->object.bytes,
			    "records", (json_int_t)r->rows, "vertices", worker_vertices_json(w));
	worker_report(w, &m);
	json_decref(m.object);
	json_decref(m.stats);
}

static void on_declined(struct worker *w, const struct note *n)
{
	struct control_report_msg m = worker_report_of(w, CONTROL_REPORT_DECLINE);

	uploader_abort(w->uploader, n->checkpoint);
	m.checkpoint.v = n->checkpoint;
	m.external = true;
	snprintf(m.text, sizeof(m.text), "%s", n->err.text);
	log_line(LOG_LEVEL_WARN, "job=%s ckpt=%" PRIu64 " declined: %s", w->config.job.hex,
		 n->checkpoint, m.text);
	worker_report(w, &m);
}

static void note_run(struct worker *w, struct note *n)
{
	switch (n->kind) {
	case NOTE_STARTED:
		on_started(w);
		break;
	case NOTE_OPENED:
		on_opened(w);
		break;
	case NOTE_ENDED:
		on_ended(w, n->task);
		break;
	case NOTE_SNAPSHOT:
		on_snapshot(w, n->snapshot);
		break;
	case NOTE_DECLINED:
		on_declined(w, n);
		break;
	case NOTE_AT_END:
		w->n_at_end++;
		at_end_check(w);
		break;
	case NOTE_COMMITTED:
		on_committed(w, n);
		break;
	case NOTE_BROKEN:
		worker_failed(w, &n->err, NULL);
		break;
	}
}

void worker_notes_run(struct worker *w)
{
	struct note *n;

	while (!w->over && (n = note_take(w)) != NULL) {
		note_run(w, n);
		free(n->snapshot);
		free(n);
	}
}

void worker_notes_clear(struct worker *w)
{
	struct note *n;

	while ((n = note_take(w)) != NULL) {
		free(n->snapshot);
		free(n);
	}
}

bool worker_notes_wait(struct worker *w)
{
	pthread_mutex_lock(&w->lock);
	bool any = w->first != NULL;
	pthread_mutex_unlock(&w->lock);
	return any;
}
