#include "taskmanager/worker_inside.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/log.h"
#include "base/mem.h"

enum {
	CONNECT_MS = 5000,
	SPINS = 20,
	BUDGET_LEAST_MS = 1000, /* of one storage request with its retries */
	BUDGET_MOST_MS = 30000,
	ATTEMPT_MOST_MS = 10000,
	ATTEMPTS = 100 /* time is what ends it */
};

static enum errc peers_connect(struct worker *w, struct err *e)
{
	for (unsigned i = w->d.me + 1; i < w->d.n_peers; i++) {
		unsigned char bytes[PREFACE_BYTES];
		struct preface p = {.job = w->config.job,
				    .region = w->config.region,
				    .attempt = w->config.attempt,
				    .sender = w->d.me,
				    .receiver = i};
		int fd;
		if (!exchange_uses(w->d.exchange, i))
			continue;
		preface_encode(&p, bytes);
		enum errc code = exchange_connect(w->d.peers[i].address, bytes, sizeof(bytes),
						  CONNECT_MS, &fd, e);
		if (code != ERR_OK)
			return err_wrap(e, ERR_UNAVAILABLE, "data connection to %s",
					w->d.peers[i].tm);
		exchange_attach(w->d.exchange, i, fd);
	}
	return ERR_OK;
}

/* What may block: read the manifest, connect to the peers behind us in the list. */
static void *starter_main(void *arg)
{
	struct worker *w = arg;
	struct note *n = worker_note_make(NOTE_STARTED);
	enum errc code = ERR_OK;

	if (w->restoring) {
		const char *manifest =
			json_string_value(json_object_get(w->restore_json, "manifest"));
		const char *checksum =
			json_string_value(json_object_get(w->restore_json, "checksum"));
		code = manifest ? restore_load(w->storage, w->local, manifest,
					       checksum ? checksum : "", &w->restore, &n->err)
				: err_set(&n->err, ERR_INVALID, "run: restore has no manifest");
	}
	if (code == ERR_OK)
		code = peers_connect(w, &n->err);
	if (code != ERR_OK)
		n->kind = NOTE_BROKEN;
	worker_note_send(w, n);
	return NULL;
}

void worker_start(struct worker *w)
{
	if (pthread_create(&w->starter, NULL, starter_main, w) != 0)
		abort();
	w->starter_started = true;
}

static uint64_t clamp(uint64_t v, uint64_t least, uint64_t most)
{
	return v < least ? least : v > most ? most : v;
}

/* A request that fails is tried again for as long as the checkpoint can still make it; then it is
 * declined with the reason, before the leader's clock ends it without one. */
static void storage_patience(const struct worker *w, struct storage_config *c)
{
	const struct spec_checkpointing *k = &w->d.spec->checkpointing;

	if (!k->enabled)
		return;
	c->budget_ms = clamp(k->timeout_ms / 2, BUDGET_LEAST_MS, BUDGET_MOST_MS);
	c->attempt_ms = clamp(c->budget_ms / 2, BUDGET_LEAST_MS / 2, ATTEMPT_MOST_MS);
	c->attempts = ATTEMPTS;
}

enum errc worker_storage_start(struct worker *w, struct err *e)
{
	struct storage_config c = {
		.url = worker_setting(w, "storage", ""),
		.endpoint = worker_setting(w, "s3Endpoint", NULL),
		.region = worker_setting(w, "s3Region", NULL),
		.path_style = json_is_true(json_object_get(w->settings, "s3PathStyle")),
		.virtual_host_style =
			json_is_true(json_object_get(w->settings, "s3VirtualHostStyle")),
		.ca_file = worker_setting(w, "s3CaFile", NULL),
		.access_key = worker_setting(w, "s3AccessKey", NULL),
		.secret_key = worker_setting(w, "s3SecretKey", NULL),
		.session_token = worker_setting(w, "s3SessionToken", NULL),
		.credentials_file = worker_setting(w, "s3CredentialsFile", NULL),
		.profile = worker_setting(w, "s3Profile", NULL)};

	storage_config_env(&c);
	storage_patience(w, &c);
	return storage_open(&c, &w->storage, e);
}

void worker_local_start(struct worker *w)
{
	const char *dir = worker_setting(w, "workDir", NULL);

	if (dir)
		w->local = local_create(dir, worker_setting_u64(w, "localCopyBytes", 0),
					&w->config.job, w->config.region);
}

void worker_uploader_start(struct worker *w)
{
	const struct deploy_peer *me = &w->d.peers[w->d.me];
	char *folder = mem_printf("jobs/%s", w->config.job.hex);
	char *file = mem_printf("%u-%u-%s-%.8s", w->config.region, w->config.attempt.v, me->tm,
				me->instance);
	struct uploader_config c = {.storage = w->storage,
				    .local = w->local,
				    .n_tasks = w->d.n_tasks,
				    .folder = folder,
				    .file = file,
				    .done = worker_snapshot_done,
				    .owner = w};

	w->uploader = uploader_create(&c);
	free(folder);
	free(file);
}

void worker_sockets_attach(struct worker *w)
{
	for (unsigned i = 0; i < w->n_pending; i++) {
		const struct preface *p = &w->pending[i].preface;
		if (p->sender < w->d.n_peers && p->receiver == w->d.me)
			exchange_attach(w->d.exchange, p->sender, w->pending[i].fd);
		else
			close(w->pending[i].fd);
	}
	w->n_pending = 0;
}

void worker_tasks_start(struct worker *w)
{
	long cores = sysconf(_SC_NPROCESSORS_ONLN);

	w->execs = mem_array(w->d.n_tasks, sizeof(*w->execs));
	w->committed = mem_array(w->d.n_tasks, sizeof(*w->committed));
	for (unsigned i = 0; i < w->d.n_tasks; i++) {
		struct task *t = w->d.tasks[i];
		for (unsigned k = 0; k < t->chain.n; k++) {
			struct op_context *c = &t->chain.links[k].context;
			c->restored = w->restore.checkpoint;
			c->found = w->restoring && restore_find(&w->restore, c->uid);
		}
		w->n_sources += t->source;
		w->execs[i] = (struct exec){.task = t,
					    .spins = cores > (long)w->d.n_tasks + 1 ? SPINS : 0,
					    .restore = w->restoring ? restore_task : NULL,
					    .restore_owner = &w->restore,
					    .opened = worker_task_opened,
					    .ended = worker_task_ended,
					    .owner = w};
	}
	for (unsigned i = 0; i < w->d.n_tasks; i++)
		exec_start(&w->execs[i]);
}
