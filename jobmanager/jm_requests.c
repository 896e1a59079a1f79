/* What users ask for: submit, cancel, release, accept the store. */
#include "jobmanager/jm_inside.h"

#include <inttypes.h>
#include <stdio.h>

#include "base/limits.h"

static const char *not_leading(const struct jm *jm)
{
	if (jm->stopped[0])
		return jm->stopped;
	return jm->role == JM_IS_SUSPENDED ? "leadership is suspended: etcd cannot be reached, so "
					     "nothing can be decided now; tasks go on"
					   : "this JobManager does not lead now";
}

void jm_submit(struct jm *jm, const struct jm_event *ev, struct jm_effects *fx)
{
	struct job_env env = jm_env(jm, fx);
	struct job *known = jm_find(jm, &ev->job);
	if (!jm_leads(jm)) {
		effects_reply(fx, ev->token, ERR_UNAVAILABLE, "%s", not_leading(jm));
		return;
	}
	if (known) {
		job_submitted_again(known, &env, ev->token, ev->spec);
		return;
	}
	/* Created again, it would stand in the way of the one that is there. */
	if (quarantine_find(&jm->quarantine, &ev->job)) {
		effects_reply(fx, ev->token, ERR_UNAVAILABLE,
			      "job %s exists, and is not opened yet", ev->job.hex);
		return;
	}
	if (jm_count_jobs(jm, false) >= LIMIT_JOBS) {
		effects_reply(fx, ev->token, ERR_LIMIT, "there are %d jobs already", LIMIT_JOBS);
		return;
	}
	struct spec *spec = NULL;
	struct err e = {0};
	if (spec_parse(ev->spec, &spec, &e) != ERR_OK) {
		effects_reply(fx, ev->token, ERR_INVALID, "%s", e.text);
		return;
	}
	struct job *job = job_create(&env, &ev->job, spec);
	jm_touch(jm, job);
	job_submitted_again(job, &env, ev->token, ev->spec);
	jm_add_job(jm, job);
}

void jm_cancel(struct jm *jm, const struct jm_event *ev, struct jm_effects *fx)
{
	struct job_env env = jm_env(jm, fx);
	struct job *job = jm_find(jm, &ev->job);
	if (!jm_leads(jm)) {
		effects_reply(fx, ev->token, ERR_UNAVAILABLE, "%s", not_leading(jm));
	} else if (quarantine_find(&jm->quarantine, &ev->job)) {
		effects_reply(fx, ev->token, ERR_UNAVAILABLE,
			      "Job %s is not opened: it may be quarantined; release it first",
			      ev->job.hex);
	} else if (!job) {
		bool sure = jm->done_loaded;
		effects_reply(fx, ev->token, sure ? ERR_NOTFOUND : ERR_UNAVAILABLE, "Job %s %s",
			      ev->job.hex, sure ? "not found" : "is not known yet");
	} else {
		job_cancel(job, &env, ev->token);
		jm_touch(jm, job);
	}
}

void jm_release(struct jm *jm, const struct jm_event *ev, struct jm_effects *fx)
{
	bool known = jm_find(jm, &ev->job) || quarantine_find(&jm->quarantine, &ev->job);
	if (!jm_leads(jm))
		effects_reply(fx, ev->token, ERR_UNAVAILABLE, "%s", not_leading(jm));
	else if (quarantine_release(&jm->quarantine, &ev->job))
		effects_reply(fx, ev->token, ERR_OK, "%s", "");
	else
		effects_reply(fx, ev->token, known ? ERR_CONFLICT : ERR_NOTFOUND, "Job %s %s",
			      ev->job.hex, known ? "is not quarantined" : "not found");
}

void jm_ahead(struct jm *jm, const struct jm_event *ev, struct jm_effects *fx)
{
	if (jm->role == JM_IS_FOLLOWING)
		return;
	if (ev->epoch.v > jm->ahead.v)
		jm->ahead = ev->epoch;
	if (jm->stopped[0])
		return;
	snprintf(jm->stopped, sizeof(jm->stopped), "%.180s: the store went back in time",
		 ev->text ? ev->text : "something is ahead of the store");
	effects_trace(fx, LOG_LEVEL_ERROR, "%s; nothing is changed until `weir recover`",
		      jm->stopped);
}

/* What anybody remembers lies below the epochs to come; who has not met one of them speaks of a
 * history that is given up. */
void jm_accept(struct jm *jm, const struct jm_event *ev, struct jm_effects *fx)
{
	if (jm->role != JM_IS_LEADING || jm->accepting)
		effects_reply(fx, ev->token, ERR_UNAVAILABLE, "this JobManager does not lead now");
	else if (!jm->stopped[0])
		effects_reply(fx, ev->token, ERR_CONFLICT,
			      "nothing contradicts the store: there is nothing to accept");
	else {
		jm->accepting = ev->token;
		quarantine_accept(&jm->quarantine, jm->epoch, jm->ahead, jm->wall_ms,
				  jm->config.instance, &jm->next_token, fx);
	}
}

void jm_accepted(struct jm *jm, const struct jm_event *ev, struct jm_effects *fx)
{
	if (!jm->accepting)
		return;
	effects_reply(fx, jm->accepting, ev->code, "%s", ev->text ? ev->text : "");
	jm->accepting = 0;
	if (ev->code == ERR_OK)
		effects_trace(fx, LOG_LEVEL_WARN,
			      "the store is accepted as it is: epochs go on above %" PRIu64,
			      jm->ahead.v > jm->epoch.v ? jm->ahead.v : jm->epoch.v);
}
