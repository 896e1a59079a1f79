/*
 * node_inside - the node's struct, shared by the files that make it up: node.c
 * (events in, effects out, roles), api.c (user listener), streams.c (cluster
 * listener), probe.c (is a TaskManager dead?), liveness.c (watching those
 * ahead), show.c (what REST shows).
 */
#ifndef JOBMANAGER_NODE_INSIDE_H
#define JOBMANAGER_NODE_INSIDE_H

#include "base/list.h"
#include "jobmanager/history.h"
#include "jobmanager/liveness.h"
#include "jobmanager/node.h"
#include "jobmanager/recover.h"
#include "rest/proxy.h"
#include "rest/router.h"

enum { ADDRESS_BYTES = 128, HOLD_MS = 5000, PULSE_MS = 100 };

enum wait_kind { WAIT_SUBMIT, WAIT_CANCEL, WAIT_REPORTS, WAIT_BARRIER, WAIT_OPENED, WAIT_ACCEPT };

/* A request that waits for the brain, or for a barrier. Embedded nowhere: heap, one list. */
struct waiting {
	struct list hook;
	struct jm_node *node;
	struct world_request *request; /* borrows until it is answered or gone */
	uint64_t token;
	enum wait_kind kind;
	struct job_id job;
	char *body;                      /* submit: with the id in it; owns */
	const struct route_match *match; /* barrier, opened: owns; to be answered again after it */
	struct ha_barrier barrier;
};

/* A command stream, or a liveness stream: open until its client goes or we end it. */
struct stream {
	struct list hook;
	struct world_request *request;
	uint64_t token; /* of the registration; 0: liveness */
};

/* GET leader?after=, held: the asker has lost the leader of `after`. */
struct held {
	struct list hook;
	struct jm_node *node;
	struct world_request *request;
	uint64_t after;
	char voter[NODE_ID_MAX]; /* a TaskManager's id, or a JobManager's instance; "": neither */
	struct world_timer timer;
};

/* A registration that came while nobody leads yet, as far as we know: held until somebody does. */
struct early {
	struct list hook;
	struct jm_node *node;
	struct world_request *request;
	struct world_timer timer;
};

struct leader {
	char id[NODE_ID_MAX];
	char instance[ID_TEXT];
	char user_address[ADDRESS_BYTES], cluster_address[ADDRESS_BYTES];
	uint64_t epoch; /* 0: nobody leads, as far as we know */
	bool self;
};

struct jm_node {
	struct world *w;
	struct jm_node_config config;                                     /* borrows its strings */
	char user_address[ADDRESS_BYTES], cluster_address[ADDRESS_BYTES]; /* as others reach us */
	char instance[ID_TEXT];

	struct ha *ha;
	struct ha_listener listener;
	enum ha_role role;
	struct epoch epoch;   /* ours as leader, with the base; 0: not leading */
	uint64_t raw_epoch;   /* without */
	uint64_t epoch_base;  /* added to every epoch since a restored store was accepted; else 0 */
	bool told;            /* the brain was told that it leads */
	struct leader leader; /* as last seen */

	/* the cluster's identity */
	char cluster_id[ID_TEXT]; /* "": not known yet */
	struct ha_read cluster_read;
	struct ha_txn cluster_txn;
	struct ha_op cluster_op;
	char *cluster_value; /* owns; while the transaction is in flight */
	struct world_timer cluster_retry;
	struct blob_op cookie;
	struct world_timer cookie_retry;
	bool cookie_done;
	struct world_timer storage_later; /* after a takeover: what concerns storage */
	char storage_trouble[256];
	struct jm_doc *docs; /* owns: hot documents, while the identity is being found */
	size_t n_docs;

	struct history history;
	struct recover recover;
	struct list looks;     /* struct look of recover.c */
	struct list questions; /* struct question of references.c */

	struct jm *jm;
	bool stepping;
	unsigned
		moments_sent; /* bits of enum moment: passed by `moments` once commands have left */
	struct world_timer wake, moments;
	struct blob_port *blobs;
	struct list jobs_under_way; /* struct under_way: decisions, reads, blob operations */

	struct world_server user, cluster;
	char epoch_text[24]; /* of our own epoch: named by every answer to users while we lead */
	struct proxy *proxy;
	uint64_t next_token;
	const char
		*body; /* borrows: in place of the body of the request being handled; NULL: none */
	struct list waiting, streams, held, early;
	struct list probes;                    /* struct probe: of probe.c */
	struct world_timer pulse;              /* liveness bytes */
	char liveness_line[LIVENESS_LINE_MAX]; /* as last sent */
	uint64_t liveness_line_ms;             /* when it was last made */
	struct liveness *liveness;

	bool resigning, stepping_down;
	struct ha_resign resign, step_down;
	void (*resigned)(void *ctx);
	void *resigned_ctx;
};

/* node.c */
void node_step(struct jm_node *n, struct jm_event *ev);
bool node_leads(const struct jm_node *n); /* and the brain knows it; SUSPENDED counts */

void node_epoch_base(struct jm_node *n, uint64_t base); /* a standby learnt it */
/* Forget all that was seen of the store, and queue again. Not from within a callback of ha. */
void node_begin_anew(struct jm_node *n);

/* probe.c */
/* Does anybody listen at `address`? Refused: JM_TM_DEAD with this token. Else nothing comes. */
void probe_start(struct jm_node *n, uint64_t token, const char *address);
void probe_fini(struct jm_node *n);

/* api.c */
extern const struct route api_routes[];
void api_on_request(struct world_server *s, struct world_request *r);
void api_on_gone(struct world_server *s, struct world_request *r);
/* A request that the proxy held comes back: we lead now. */
void api_again(void *node, struct world_request *r, const char *body);
/* The brain's answer to a request. */
void api_reply(struct jm_node *n, uint64_t token, enum errc code, const char *text);
/* Jobs may have been opened: answer who waits for that. */
void api_opened(struct jm_node *n);
/* We do not lead any more: what waits for the brain goes to the next leader, or gets a 503. */
void api_not_leading(struct jm_node *n);
void api_fini(struct jm_node *n);

/* streams.c */
extern const struct route cluster_routes[];
void streams_on_request(struct world_server *s, struct world_request *r);
void streams_on_gone(struct world_server *s, struct world_request *r);
void streams_send(struct jm_node *n, uint64_t token, const void *line, size_t len);
void streams_close(struct jm_node *n, uint64_t token);
void streams_close_all(struct jm_node *n, bool liveness_too);
void streams_leader_changed(struct jm_node *n);
void streams_resigning(struct jm_node *n); /* tell those who watch us that it is on purpose */
void streams_fini(struct jm_node *n);

/* waiting requests, api.c */
struct waiting *waiting_add(struct jm_node *n, struct world_request *r, enum wait_kind kind);
void waiting_drop(struct waiting *x);

#endif
