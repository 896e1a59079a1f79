/*
 * sim_net - HTTP between nodes at the level of messages: what its parts share.
 * Private to world/sim/sim_{net,link,client,server}.c; the picture is in sim_net.c.
 */
#ifndef WORLD_SIM_SIM_NET_H
#define WORLD_SIM_SIM_NET_H

#include "world/sim/sim_impl.h"

enum message_kind { SYN, ACCEPT, REFUSE, REQUEST, HANGUP, REPLY, HEAD, CHUNK, END, RESET };

enum direction { TO_SERVER, TO_CLIENT };

struct net_headers {
	char **names, **values;
	unsigned n;
};

struct net_listener {
	struct list hook; /* in its process's listeners */
	struct sim_world *w;
	struct world_server *s;
	unsigned port;
	size_t body_max;
};

struct net_kept {
	struct list hook; /* in the client's kept */
	struct sim_world *server;
	unsigned port, n;
};

struct net_exchange {
	struct sim *sim;
	unsigned refs;
	struct sim_world *cw, *sw; /* sw: NULL before it is accepted */
	struct sim_node *to;       /* NULL: the name is not known */
	unsigned port;
	uint64_t last_at_us[2]; /* first in, first out */
	/* the client's end */
	struct list client_hook; /* in cw->exchanges */
	struct world_http *h;    /* NULL: ended or cancelled */
	struct world_timer timer;
	uint64_t timeout_ms;
	size_t reply_max;
	bool stream, fresh, sent, lost_after;
	int status;
	struct net_headers reply_headers;
	struct buf reply;
	/* the server's end */
	struct list conn_hook; /* in sw->conns */
	struct net_listener *listener;
	struct world_request r;
	bool open;    /* handed to the server and not answered */
	bool severed; /* nothing that the server sends arrives any more */
	size_t unread, high_water;
	/* the request */
	char *method, *path, *query, *body;
	size_t body_len;
	struct net_headers headers;
};

struct net_message {
	struct sim_event event;
	struct list held_hook;  /* in s->held while its link is cut */
	struct net_exchange *x; /* counted */
	enum message_kind kind;
	enum direction direction;
	bool local; /* within one kernel: no link to cross */
	uint64_t held_at_us;
	enum net_cause cause;
	int status;
	struct net_headers headers;
	char *data;
	size_t len;
};

/* sim_net.c */
void net_headers_add(struct net_headers *hs, const char *name, const char *value);
void net_headers_fini(struct net_headers *hs);
const char *net_headers_find(const struct net_headers *hs, const char *name);
void net_unref(struct net_exchange *x);
void net_link_server(struct net_exchange *x, struct sim_world *sw);
void net_unlink_server(struct net_exchange *x);
void net_message_free(struct net_message *m);
struct net_message *net_message_new(struct net_exchange *x, enum message_kind kind,
				    enum direction direction);
void net_post(struct net_message *m);
void net_send_bare(struct net_exchange *x, enum message_kind kind, enum direction direction);
void net_send_reset(struct net_exchange *x, enum net_cause cause);
void net_send_data(struct net_exchange *x, enum message_kind kind, const void *data, size_t len);

/* sim_link.c */
uint64_t net_delay_us(struct sim *s, const struct sim_node *from, const struct sim_node *to);
const struct sim_node *net_sender(const struct net_message *m);
const struct sim_node *net_receiver(const struct net_message *m);

/* sim_client.c */
void net_kept_drop(struct net_kept *k);
void net_client_notice(struct net_exchange *x, struct net_message *m);
void net_client_forget(struct net_exchange *x);

/* sim_server.c */
void net_server_notice(struct net_exchange *x, struct net_message *m);
struct net_listener *net_find_on_node(struct sim_node *n, unsigned port);
bool net_is_silent(struct world *w);
void net_close_conns(struct sim_world *w, const struct net_listener *only);

#endif
