#include "taskmanager/worker.h"

#include <curl/curl.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "base/mem.h"
#include "taskmanager/worker_inside.h"

enum { FD_LINES = 3, FD_SOCKETS = 4, PENDING_MAX = 1024 };

static const struct sm_state states[] = {
	[WORKER_WAITING] = {"WAITING",
			    SM_TO(WORKER_PREPARED) | SM_TO(WORKER_ENDING) | SM_TO(WORKER_FAILED)},
	[WORKER_PREPARED] = {"PREPARED",
			     SM_TO(WORKER_STARTING) | SM_TO(WORKER_ENDING) | SM_TO(WORKER_FAILED)},
	[WORKER_STARTING] = {"STARTING",
			     SM_TO(WORKER_RUNNING) | SM_TO(WORKER_ENDING) | SM_TO(WORKER_FAILED)},
	[WORKER_RUNNING] = {"RUNNING", SM_TO(WORKER_ENDING) | SM_TO(WORKER_FAILED)},
	[WORKER_ENDING] = {"ENDING", 0},
	[WORKER_FAILED] = {"FAILED", SM_TO(WORKER_ENDING)},
};

static const struct sm_table table = {"worker", states, WORKER_STATE_COUNT};

uint64_t worker_clock_ns(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (uint64_t)t.tv_sec * 1000000000 + (uint64_t)t.tv_nsec;
}

const char *worker_setting(const struct worker *w, const char *name, const char *fallback)
{
	const char *text = json_string_value(json_object_get(w->settings, name));

	return text ? text : fallback;
}

uint64_t worker_setting_u64(const struct worker *w, const char *name, uint64_t fallback)
{
	const json_t *v = json_object_get(w->settings, name);

	return json_is_integer(v) && json_integer_value(v) > 0 ? (uint64_t)json_integer_value(v)
							       : fallback;
}

/* ---- the loop ---- */

static void sockets_run(struct worker *w)
{
	struct pending_socket s;

	while (wire_socket(&w->wire, &s.fd, &s.preface)) {
		if (w->n_pending == PENDING_MAX) {
			close(s.fd);
			continue;
		}
		w->pending = mem_resize(w->pending, w->n_pending + 1, sizeof(*w->pending));
		w->pending[w->n_pending++] = s;
	}
	if (w->d.exchange)
		worker_sockets_attach(w);
}

static void loop(struct worker *w)
{
	while (!w->over) {
		struct pollfd p[3] = {{.fd = w->wire.lines, .events = POLLIN},
				      {.fd = w->waker.fd, .events = POLLIN},
				      {.fd = w->wire.sockets, .events = POLLIN}};
		waker_prepare(&w->waker);
		(void)poll(p, 3,
			   worker_notes_wait(w) ? 0
			   : w->metrics_ns      ? (int)(w->metrics_ns / 1000000)
						: -1);
		waker_cancel(&w->waker);
		if (p[1].revents)
			waker_drain(&w->waker);
		worker_metrics_tick(w);
		worker_notes_run(w);
		if (p[2].revents)
			sockets_run(w);
		if (p[0].revents && !w->over) {
			if (!wire_read(&w->wire))
				w->over = true;
			worker_lines_run(w);
		}
	}
}

static void worker_init(struct worker *w, const struct op_type *const more[])
{
	memset(w, 0, sizeof(*w));
	sm_init(&w->sm, &table, WORKER_WAITING);
	waker_init(&w->waker);
	pthread_mutex_init(&w->lock, NULL);
	killpoint_init(&w->killpoint);
	int flags = fcntl(FD_SOCKETS, F_GETFD);
	wire_init(&w->wire, FD_LINES, flags < 0 ? -1 : FD_SOCKETS);
	atomic_store(&w->leader_seen_ns, worker_clock_ns());
	w->port = worker_port;
	w->config = (struct deploy_config){.types = engine_op_types,
					   .more = more,
					   .leader_seen_ns = &w->leader_seen_ns,
					   .killpoint = &w->killpoint,
					   .port = &w->port,
					   .link_failed = worker_link_failed,
					   .owner = w};
}

/* Only when every thread of tasks has ended: else the process just exits. */
static void worker_fini(struct worker *w)
{
	if (w->starter_started || (w->execs && w->n_ended < w->d.n_tasks))
		_exit(w->exit_status);
	if (w->storage)
		storage_cancel(w->storage);
	uploader_destroy(w->uploader);
	deploy_fini(&w->d);
	worker_notes_clear(w);
	for (unsigned i = 0; i < w->n_pending; i++)
		close(w->pending[i].fd);
	storage_close(w->storage);
	restore_fini(&w->restore);
	local_destroy(w->local);
	json_decref(w->settings);
	json_decref(w->restore_json);
	wire_fini(&w->wire);
	waker_fini(&w->waker);
	pthread_mutex_destroy(&w->lock);
	free(w->execs);
	free(w->committed);
	free(w->pending);
}

int worker_main(const struct op_type *const more[], int argc, char **argv)
{
	struct worker *w = aligned_alloc(128, (sizeof(*w) + 127) & ~(size_t)127);

	(void)argc;
	(void)argv;
	if (!w || fcntl(FD_LINES, F_GETFD) < 0) {
		fprintf(stderr, "a worker is started by the agent only: descriptor 3 is missing\n");
		free(w);
		return 1;
	}
	curl_global_init(CURL_GLOBAL_DEFAULT);
	worker_init(w, more);
	loop(w);
	int status = w->exit_status;
	worker_fini(w);
	free(w);
	return status;
}
