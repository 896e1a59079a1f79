/* Child processes: programs by argv[0], joined to their parent by a channel of lines. */
#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "world/sim/sim_impl.h"

enum { EXEC_US = 1500, LINE_US = 30, SIGNAL_KILL = 9 };

/* What parent and child share: the child's process and the two directions of the channel. */
struct sim_kid {
	struct list hook; /* in the parent's children */
	unsigned refs;    /* the parent's, the child's, each line under way */
	struct sim_world *parent, *child;
	struct world_child *c; /* NULL: exited or abandoned */
	size_t line_max;
	uint64_t last_at_us[2]; /* first in, first out */
	char **argv;
	void *ctx;
};

enum kid_message_kind { BIRTH, TO_CHILD, TO_PARENT, EXITED };

struct kid_message {
	struct sim_event event;
	struct sim_kid *kid; /* counted */
	enum kid_message_kind kind;
	char *line;
	size_t len;
	int signal, status;
};

static void kid_unref(struct sim_kid *kid)
{
	if (--kid->refs > 0)
		return;
	for (size_t i = 0; kid->argv[i]; i++)
		free(kid->argv[i]);
	free(kid->argv);
	free(kid);
}

static void message_free(void *arg)
{
	struct kid_message *m = arg;
	kid_unref(m->kid);
	free(m->line);
	free(m);
}

static void drop_event(struct sim_event *e)
{
	message_free(MEM_OWNER(e, struct kid_message, event));
}

/* ---- noticing ---- */

static void begin(struct sim_world *w, struct sim_kid *kid)
{
	w->objects = w->program->start(&w->base, kid->ctx, (const char *const *)kid->argv);
}

static void child_notices(struct sim_world *w, void *arg)
{
	struct kid_message *m = arg;
	if (m->kind == BIRTH)
		begin(w, m->kid);
	else if (w->program->on_line && w->objects)
		w->program->on_line(w->objects, m->line, m->len);
	message_free(m);
}

static void parent_notices(struct sim_world *w, void *arg)
{
	(void)w;
	struct kid_message *m = arg;
	struct sim_kid *kid = m->kid;
	struct world_child *c = kid->c;
	if (c && m->kind == TO_PARENT) {
		c->on_line(c, m->line, m->len);
	} else if (c) {
		list_remove(&kid->hook);
		kid->c = NULL;
		c->impl = NULL;
		kid_unref(kid);
		c->on_exit(c, m->status, m->signal);
	}
	message_free(m);
}

static void arrive(struct sim *s, struct sim_event *e)
{
	(void)s;
	struct kid_message *m = MEM_OWNER(e, struct kid_message, event);
	if (m->kind == BIRTH || m->kind == TO_CHILD)
		sim_enter(m->kid->child, child_notices, message_free, m);
	else
		sim_enter(m->kid->parent, parent_notices, message_free, m);
}

static struct kid_message *post(struct sim_kid *kid, enum kid_message_kind kind, uint64_t delay_us,
				const char *line, size_t len)
{
	struct sim *s = kid->parent->sim;
	struct kid_message *m = mem_alloc(sizeof(*m));
	*m = (struct kid_message){.event = {.run = arrive, .drop = drop_event},
				  .kid = kid,
				  .kind = kind,
				  .line = mem_text_n(line, len),
				  .len = len};
	kid->refs++;
	unsigned way = kind == BIRTH || kind == TO_CHILD ? 0 : 1;
	uint64_t at_us = s->now_us + delay_us;
	if (at_us < kid->last_at_us[way])
		at_us = kid->last_at_us[way];
	kid->last_at_us[way] = at_us;
	sim_schedule(s, &m->event, at_us);
	return m;
}

/* ---- the parent's calls ---- */

static struct sim_program_entry *find_program(struct sim *s, const char *argv0)
{
	list_each (struct sim_program_entry, p, &s->programs, hook) {
		if (strcmp(p->argv0, argv0) == 0)
			return p;
	}
	return NULL;
}

static char **copy_argv(const char *const *argv)
{
	size_t n = 0;
	while (argv[n])
		n++;
	char **copy = mem_array(n + 1, sizeof(*copy));
	for (size_t i = 0; i < n; i++)
		copy[i] = mem_text(argv[i]);
	return copy;
}

enum errc sim_spawn(struct world *base, struct world_child *c, const struct world_spawn_spec *spec,
		    struct err *e)
{
	struct sim_world *w = sim_world_of(base);
	struct sim_program_entry *p = find_program(w->sim, spec->argv[0]);
	if (w->dead || w->dying)
		return err_set(e, ERR_IO, "this process is dead");
	if (p == NULL)
		return err_set(e, ERR_NOTFOUND, "start %s: no such program", spec->argv[0]);
	struct sim_kid *kid = mem_alloc(sizeof(*kid));
	*kid = (struct sim_kid){.refs = 2, /* the parent's and the child's */
				.parent = w,
				.c = c,
				.line_max = spec->line_max,
				.argv = copy_argv(spec->argv),
				.ctx = p->ctx};
	kid->child = sim_world_new(w->node, p->program, kid);
	list_append(&w->children, &kid->hook);
	c->pid = (int)w->node->next_pid++;
	c->impl = kid;
	post(kid, BIRTH, EXEC_US, "", 0);
	return ERR_OK;
}

void sim_child_send(struct world *w, struct world_child *c, const char *line, size_t len)
{
	struct sim_kid *kid = c->impl;
	if (kid == NULL || sim_world_of(w)->dead || sim_world_of(w)->dying)
		return;
	post(kid, TO_CHILD, LINE_US, line, len);
}

struct signal_event {
	struct sim_event event;
	struct sim_world *target;
	int signal;
};

static void drop_signal(struct sim_event *e)
{
	free(MEM_OWNER(e, struct signal_event, event));
}

static void take_signal(struct sim *s, struct sim_event *e)
{
	(void)s;
	struct signal_event *sig = MEM_OWNER(e, struct signal_event, event);
	struct sim_world *target = sig->target;
	int signal = sig->signal;
	free(sig);
	sim_world_kill(target, 0, signal);
}

/* Every signal is deadly here: programs in the simulator handle none. */
static void post_signal(struct sim_world *target, int signal)
{
	struct signal_event *sig = mem_alloc(sizeof(*sig));
	*sig = (struct signal_event){.event = {.run = take_signal, .drop = drop_signal},
				     .target = target,
				     .signal = signal};
	sim_schedule(target->sim, &sig->event, target->sim->now_us);
}

void sim_child_kill(struct world *w, struct world_child *c, int signal)
{
	struct sim_kid *kid = c->impl;
	if (kid && signal != 0 && !sim_world_of(w)->dead)
		post_signal(kid->child, signal);
}

static void let_go(struct sim_kid *kid)
{
	list_remove(&kid->hook);
	kid->c->impl = NULL;
	kid->c = NULL;
	kid_unref(kid);
}

void sim_child_abandon(struct world *w, struct world_child *c)
{
	struct sim_kid *kid = c->impl;
	if (kid == NULL || sim_world_of(w)->dead)
		return;
	struct sim_world *child = kid->child;
	let_go(kid);
	post_signal(child, SIGNAL_KILL);
}

/* ---- the child's calls ---- */

void sim_say(struct world *base, const char *line, size_t len)
{
	struct sim_world *w = sim_world_of(base);
	if (w->dead || w->dying || w->kid == NULL)
		return;
	assert(len <= w->kid->line_max);
	post(w->kid, TO_PARENT, LINE_US, line, len);
}

void sim_children_died(struct sim_world *w)
{
	while (!list_empty(&w->children)) {
		struct sim_kid *kid = MEM_OWNER(w->children.next, struct sim_kid, hook);
		struct sim_world *child = kid->child;
		let_go(kid);
		sim_world_kill(child, 0, SIGNAL_KILL);
	}
	if (w->kid == NULL)
		return;
	struct sim_kid *kid = w->kid;
	w->kid = NULL;
	if (kid->c) {
		struct kid_message *m = post(kid, EXITED, LINE_US, "", 0);
		m->signal = w->exit_signal;
		m->status = w->exit_status;
	}
	kid_unref(kid);
}
