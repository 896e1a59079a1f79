/*
 * weir-jobmanager: settings, storage, one node, signals.
 *
 * Exit codes: 0 stopped as asked; 1 could not start (one line on stderr says
 * why); 2 wrong usage. What may heal is not an exit: an etcd or a storage that
 * cannot be reached is said once and tried again.
 */
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/log.h"
#include "base/mem.h"
#include "jobmanager/node.h"
#include "jobmanager/settings.h"
#include "state/blob_offload.h"
#include "state/storage.h"
#include "world/ev.h"

enum { EXIT_START = 1, EXIT_USAGE = 2, STORAGE_PATIENCE_MS = 500, ETCD_PATIENCE_MS = 1500 };

struct program {
	struct world *w;
	struct options *options;
	char host[NODE_ID_MAX];
	struct world_tls etcd_tls;
	struct jm_node_config config;
	json_t *settings;
	struct storage *storage;
	struct blob_offload *blobs;
	struct jm_node *node;
	struct world_work check; /* of the storage, off the loop */
	struct err check_err;
	struct world_timer patience;
	bool stopping;
	int exit_code;
};

/* ---- stop: hand leadership over first ---- */

static void handed_over(void *ctx)
{
	struct program *p = ctx;
	world_stop(p->w);
}

static void hand_over(struct program *p)
{
	p->stopping = true;
	jm_node_resign(p->node, handed_over, p);
}

static void on_signal(void *ctx, int signal)
{
	struct program *p = ctx;
	if (p->stopping || p->node == NULL) {
		world_stop(p->w); /* asked twice: at once */
		return;
	}
	log_line(LOG_LEVEL_INFO, "%s: handing over", signal == SIGTERM ? "SIGTERM" : "SIGINT");
	hand_over(p);
}

/* Cannot start, or should not have. */
static void fail(struct program *p, const struct err *e)
{
	log_line(LOG_LEVEL_ERROR, "%s", e->text);
	p->exit_code = EXIT_START;
	if (p->node)
		hand_over(p);
	else
		world_stop(p->w);
}

/* ---- start: the storage is looked at first, but does not hold us up for long ---- */

static void etcd_patience(struct world_timer *t)
{
	struct program *p = MEM_OWNER(t, struct program, patience);
	if (p->node && jm_node_role(p->node) == HA_STARTING)
		log_line(LOG_LEVEL_WARN, "etcd does not answer (%s); trying again",
			 p->config.ha.endpoints[0]);
}

static void start_node(struct program *p)
{
	struct err e = {0};
	world_timer_cancel(p->w, &p->patience);
	if (p->node || p->stopping)
		return;
	p->node = jm_node_create(p->w, &p->config, blob_offload_port(p->blobs), &e);
	if (p->node == NULL) {
		fail(p, &e);
		return;
	}
	log_line(LOG_LEVEL_INFO, "jobmanager %s: users at %s, cluster at %s, storage %s",
		 p->config.ha.id, jm_node_user_address(p->node), jm_node_cluster_address(p->node),
		 storage_root(p->storage));
	p->patience.fire = etcd_patience;
	world_timer_arm(p->w, &p->patience, world_now_ms(p->w) + ETCD_PATIENCE_MS);
}

static void storage_patience(struct world_timer *t)
{
	start_node(MEM_OWNER(t, struct program, patience));
}

static void check_run(struct world_work *k)
{
	struct program *p = MEM_OWNER(k, struct program, check);
	(void)!storage_check(p->storage, &p->check_err);
}

/* Wrong credentials and a missing bucket do not heal by themselves; anything else may. */
static void check_done(struct world_work *k)
{
	struct program *p = MEM_OWNER(k, struct program, check);
	enum errc code = p->check_err.code;
	if (code == ERR_DENIED || code == ERR_INVALID) {
		err_wrap(&p->check_err, code, "storage %s", p->config.jm.storage);
		fail(p, &p->check_err);
		return;
	}
	if (code != ERR_OK)
		log_line(LOG_LEVEL_WARN, "%s; trying again", p->check_err.text);
	start_node(p);
}

static void start(struct program *p)
{
	p->check.run = check_run;
	p->check.done = check_done;
	world_offload(p->w, &p->check);
	p->patience.fire = storage_patience;
	world_timer_arm(p->w, &p->patience, world_now_ms(p->w) + STORAGE_PATIENCE_MS);
}

/* ---- the program ---- */

static int usage(const struct options *o)
{
	struct buf text = {0};
	buf_text(&text,
		 "Usage: weir-jobmanager [FLAGS]\n\nRuns one JobManager: election, scheduling, "
		 "checkpoints, REST.\nRun 2 or 3: one leads, the others take over.\n\n");
	options_help(o, &text);
	fputs(text.data, stdout);
	buf_fini(&text);
	return 0;
}

static enum errc open_all(struct program *p, struct err *e)
{
	struct storage_config storage;
	enum log_level level;
	enum errc rc = settings_node(p->options, p->host, &p->etcd_tls, &p->config, e);
	if (rc == ERR_OK)
		rc = log_level_parse(options_text(p->options, "logLevel"), &level, e);
	if (rc == ERR_OK)
		rc = log_open(p->config.ha.id, options_text(p->options, "logDir"), level, e);
	if (rc)
		return rc;
	p->w = world_ev_create(e);
	if (p->w == NULL)
		return e->code;
	settings_storage(p->options, &storage);
	rc = storage_open(&storage, &p->storage, e);
	if (rc)
		return err_wrap(e, rc, "storage");
	p->blobs = blob_offload_create(p->w, p->storage);
	p->settings = options_json(p->options);
	p->config.settings = p->settings;
	return ERR_OK;
}

static void close_all(struct program *p)
{
	if (p->storage)
		storage_cancel(p->storage);
	if (p->w)
		world_timer_cancel(p->w, &p->patience);
	jm_node_destroy(p->node);
	blob_offload_destroy(p->blobs);
	world_ev_destroy(p->w);
	storage_close(p->storage);
	json_decref(p->settings);
	options_destroy(p->options);
	log_close();
}

int main(int argc, char **argv)
{
	extern char **environ;
	struct program p = {.options = options_create()};
	struct err e = {0};
	options_add(p.options, settings_table);
	enum errc rc = options_load(p.options, argc, (const char *const *)argv,
				    (const char *const *)environ, &e);
	if (options_help_wanted(p.options)) {
		usage(p.options);
		options_destroy(p.options);
		return 0;
	}
	if (options_version_wanted(p.options)) {
		puts("weir-jobmanager " WEIR_VERSION);
		options_destroy(p.options);
		return 0;
	}
	if (rc == ERR_OK)
		rc = open_all(&p, &e);
	if (rc) {
		fprintf(stderr, "weir-jobmanager: %s\n", e.text);
		close_all(&p);
		return EXIT_USAGE;
	}
	world_ev_on_signals(p.w, on_signal, &p);
	start(&p);
	world_ev_run(p.w);
	close_all(&p);
	return p.exit_code;
}
