/*
 * stage_inside - what the stage consists of, for its own files: stage.c (what is said, time,
 * leaders), stage_store.c, stage_check.c, stage_effects.c, stage_tms.c; stage_do.c uses it all.
 */
#ifndef STORY_STAGE_INSIDE_H
#define STORY_STAGE_INSIDE_H

#include "jobmanager/doc.h"
#include "rest/control.h"
#include "stage.h"

enum { TMS_MAX = 16, ITEMS_MAX = 64, JOBS_MAX = 16, DECIDE_MS = 3, BLOB_MS = 20, TM_MS = 1 };

#define WALL_ZERO INT64_C(1700000000000)

struct record {
	char *key, *value;
	uint64_t revision;
};

struct player { /* a TaskManager */
	char id[NODE_ID_MAX], instance[ID_TEXT], cookie[ID_TEXT];
	unsigned births;
	uint32_t slots;
	bool before; /* of the version before: counts only with what it acknowledged */
	bool alive, silent, online, away;
	bool refuses;                                       /* its data port: a probe is refused */
	uint64_t registration, stream, report_seq, highest; /* epoch */
	bool hold[HOLD_COUNT];
	unsigned n_items;
	struct control_item items[ITEMS_MAX];
};

enum pending_kind { P_EFFECT, P_COMMAND, P_REPORT, P_BEAT, P_REGISTER, P_DEAD };

struct pending {
	uint64_t at, seq;
	enum pending_kind kind;
	unsigned life;           /* of the leader (effects) */
	struct jm_effect effect; /* owns: effects and commands */
	struct player *tm;
	char instance[ID_TEXT];
	uint64_t registration;
	bool left;                        /* command: it arrives although its leader died */
	uint64_t token;                   /* dead: the stream's */
	struct control_report_msg report; /* owns */
	struct pending *next;
};

struct stage {
	struct buf page;
	uint64_t now, seq, next_stream, next_request, revision, epoch;
	unsigned life, violations;
	char kill_at[64];   /* the moment at which the leader dies, once; "" none */
	char poison[64];    /* the moment at which every leader dies */
	bool dying;         /* it has come */
	uint64_t led_epoch; /* of the leader before */
	bool crashed;       /* it did not hand over */
	bool storage_down, store_held, nospace, suspended, quiet, show_commands;
	struct jm *jm;
	struct pending *queue; /* owns; ascending (at, seq) */
	struct record *store;
	size_t n_store;
	struct record *backup; /* owns */
	size_t n_backup;
	uint64_t backup_revision;
	char **blobs;
	size_t n_blobs;
	struct player tms[TMS_MAX];
	unsigned n_tms;
	char names[JOBS_MAX][64];
	unsigned n_names;
};

/* stage.c */
void stage_say(struct stage *s, const char *fmt, ...) PRINTF_LIKE(2, 3);
void stage_violate(struct stage *s, const char *fmt, ...) PRINTF_LIKE(2, 3);
struct pending *stage_later(struct stage *s, enum pending_kind kind, uint64_t ms);
void stage_pending_destroy(struct pending *p);
bool stage_tick(struct stage *s, uint64_t until);
void stage_leader_start(struct stage *s, bool suspended);
void stage_leader_kill(struct stage *s, bool lost);

/* stage_store.c */
struct record *stage_find(const struct stage *s, const char *key);
void stage_put(struct stage *s, const char *key, const char *value);
void stage_erase(struct stage *s, const char *key);
bool stage_stored_doc(const struct stage *s, const char *folder, const struct job_id *job,
		      struct doc *out);
bool stage_blob_there(const struct stage *s, const char *name);
void stage_free_backup(struct stage *s);
void stage_backup(struct stage *s);
void stage_restore(struct stage *s);

/* stage_check.c */
void stage_check_pointers(struct stage *s, const struct doc *d);
void stage_check_remove(struct stage *s, const char *prefix);
void stage_check_command(struct stage *s, const struct player *tm,
			 const struct control_command_msg *m);

/* stage_effects.c */
void stage_end_read(struct stage *s, const struct jm_effect *e, struct jm_event *ev);
void stage_free_docs(const struct jm_event *ev);
void stage_end_effect(struct stage *s, const struct pending *p);
void stage_dispatch(struct stage *s, struct jm_event *ev);

/* stage_tms.c */
struct player *stage_by_stream(struct stage *s, uint64_t stream);
void stage_plan_register(struct stage *s, struct player *tm, uint64_t ms);
void stage_drop_item(struct player *tm, struct control_item *item);
struct pending *stage_plan_report(struct stage *s, struct player *tm, enum control_report kind,
				  const struct control_item *item, uint64_t ms);
void stage_take_command(struct stage *s, struct player *tm, const struct control_command_msg *m);
void stage_narrate_command(struct stage *s, const struct player *tm,
			   const struct control_command_msg *m);
void stage_give_report(struct stage *s, struct pending *p);
void stage_register_late(struct stage *s, const struct player *tm);
void stage_register(struct stage *s, struct player *tm);
void stage_give_beat(struct stage *s, struct pending *p);
void stage_birth(struct stage *s, struct player *tm);
void stage_death(struct stage *s, struct player *tm);

#endif
