/*
 * job_inside - what job.c and job_*.c share. Nobody else includes it.
 */
#ifndef JOBMANAGER_JOB_INSIDE_H
#define JOBMANAGER_JOB_INSIDE_H

#include "jobmanager/job.h"

enum { LOADED_TIMEOUT_MS = 600000 }; /* of a checkpoint, until the specification is read */
enum { RUN_KEY = 0, SPEC_KEY, DONE_KEY, RESOLVE_KEY };
void job_key(const struct job *job, int which, char out[JM_KEY_MAX]);
void cleanup_key(const struct job *job, uint64_t seq, char out[JM_KEY_MAX]);

/* "wordcount/1a2b3c4d" for trace lines; borrowed from `out`. */
enum { JOB_TAG_MAX = SPEC_NAME_MAX + 16 };
const char *job_tag(const struct job *job, char out[JOB_TAG_MAX]);

#define TRACE(job, env, level, fmt, ...)                                                           \
	do {                                                                                       \
		char trace_tag[JOB_TAG_MAX];                                                       \
		effects_trace((env)->fx, (level), "job=%s " fmt, job_tag((job), trace_tag),        \
			      __VA_ARGS__);                                                        \
	} while (0)

void read_key(struct job *job, const struct job_env *env, int which); /* sets `reading` */

bool is_at(const struct doc_tm *at, const struct taskmanager *tm);
/* The recorded attempt in an inventory; NULL: not there. */
const struct control_item *find_item(const struct control_registration *reg, const struct job *job,
				     unsigned r);
void parts_from_doc(struct job *job, unsigned r);
void mark_sinks(struct job *job);
bool part_online(const struct job_part *part);
unsigned job_n_parts(const struct job *job);
/* The number of a part over all regions. */
unsigned job_flat(const struct job *job, unsigned region, unsigned part);
bool job_all_running(const struct job *job);
bool job_all_at_end(const struct job *job);
/* The newest checkpoint that every sink of every region is known to have committed. */
struct ckpt_id job_committed(const struct job *job);

/* The first failure of an attempt counts; later ones are its consequences. */
void region_fail(struct job *job, unsigned region, const struct doc_failure *failure, bool corrupt);
void job_freeze(struct job *job, const struct job_env *env, const char *why);
/* The TaskManager of this part is at fault, not the job. `why` completes "TaskManager tm-1 ...". */
void job_fail_external(struct job *job, const struct job_env *env, unsigned region, unsigned part,
		       const char *why);
void add_leftover(struct job *job, struct taskmanager *tm, uint32_t region, struct attempt attempt);

/* job_life.c: created, found, asked to end, forgotten. */
void job_take_spec(struct job *job, struct spec *spec); /* takes it */
enum job_state job_terminal_state(enum doc_status status);
uint64_t job_back_off_end(const struct doc_region *d, const struct job_env *env);
/* To whoever waits for a cancel, or for the submission. */
void job_answer(struct job *job, const struct job_env *env, bool cancels, enum errc code,
		const char *text);
/* job_decide.c: draft, and ask for it to be recorded. */
void job_decide(struct job *job, const struct job_env *env);
void job_remember_owners(struct job_region *region, const struct doc_region *d);
void job_forget_owners(struct job_region *region);
/* Before places are looked for: what this job holds on each TaskManager. */
void job_count_own(const struct job *job, const struct tms *tms);
void job_say_waiting(struct job *job, const struct job_env *env, uint32_t n_slots,
		     uint64_t free_slots);
/* Could it be, with so many free slots? No, if not. The job has a graph. */
bool job_region_may_be_placed(const struct job *job, unsigned region, uint64_t free_slots);
/* False: there are not enough slots; `trouble` says so. */
bool job_place_region(struct job *job, const struct job_env *env, struct doc *draft,
		      unsigned region);
/* When a last checkpoint that was given up may be tried again; 0: none waits. */
uint64_t job_final_wake_ms(const struct job *job);
/* Its checkpoints are of no use any more: they are queued for removal. */
void draft_discard(struct job *job, struct doc *draft);
void add_cleanup(struct job *job, struct jm_effect *decide);
/* job_ending.c: a job that is to end, and whose output may be in doubt. */
/* Are all sinks known to have committed the newest completed checkpoint of `d`? */
bool job_confirmed(const struct job *job, const struct doc *d);
/* A sink of this region has not confirmed it. */
bool job_region_owes(const struct job *job, unsigned region);
/* What is owed may yet be confirmed: by a worker that runs, or by another attempt. */
bool job_may_be_confirmed(const struct job *job);
/* Some region needs an attempt that only commits, and a place for it. */
bool job_wants_committing(const struct job *job);
/* This region is to be placed, be it only to commit. */
bool job_region_wants_slots(const struct job *job, unsigned region);
bool job_draft_committing(struct job *job, const struct job_env *env, struct doc *draft);
uint64_t job_commit_wake_ms(const struct job *job);
/* job_command.c: send what the recorded document calls for and was not sent. */
void job_command(struct job *job, const struct job_env *env);
/* job_resolve.c: what a job that ended has left in doubt. */
bool job_in_doubt(const struct job *job);
void job_resolve_load(struct job *job);
void job_resolve_tell(struct job *job); /* of a job that ended: `trouble` is what is in doubt */
void job_resolve_registered(struct job *job, struct taskmanager *tm,
			    const struct control_registration *reg);
void job_resolve(struct job *job, const struct job_env *env);
bool job_resolve_refused(struct job *job, const struct job_env *env); /* false: not its decision */
uint64_t job_resolve_wake_ms(const struct job *job);
/* Used by planted bugs only: what must never happen. */
void job_send_cancel(const struct job *job, const struct job_env *env, struct taskmanager *tm,
		     uint32_t region, struct attempt attempt);
void job_send_prepare(const struct job *job, const struct doc *doc, const struct job_env *env,
		      unsigned region, unsigned part, struct taskmanager *tm);

#endif
