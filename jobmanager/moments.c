#include "jobmanager/moments.h"

static unsigned bit(enum moment moment)
{
	return 1U << moment;
}

const char *moment_name(enum moment moment)
{
	static const char *const names[MOMENT_COUNT] = {
		[MOMENT_JOB] = "leader-job-recorded",
		[MOMENT_PLACEMENT] = "leader-placement-recorded",
		[MOMENT_ATTEMPT] = "leader-attempt-recorded",
		[MOMENT_CHECKPOINT] = "leader-checkpoint-recorded",
		[MOMENT_POINTER] = "leader-pointer-recorded",
		[MOMENT_GIVEN_UP] = "leader-given-up-recorded",
		[MOMENT_CANCEL] = "leader-cancel-recorded",
		[MOMENT_FAIL] = "leader-fail-recorded",
		[MOMENT_TERMINAL] = "leader-terminal-recorded",
		[MOMENT_CLEANUP] = "leader-cleanup-recorded",
		[MOMENT_PREPARED] = "leader-prepared",
		[MOMENT_RUN] = "leader-run-sent",
		[MOMENT_TRIGGERED] = "leader-triggered",
		[MOMENT_COMPLETED] = "leader-complete-sent",
		[MOMENT_ABORTED] = "leader-abort-sent",
		[MOMENT_ENDED] = "leader-end-sent",
	};
	return moment < MOMENT_COUNT ? names[moment] : "?";
}

static unsigned moments_of_regions(const struct doc *before, const struct doc *after)
{
	unsigned found = 0;
	for (unsigned r = 0; r < after->n_regions && r < before->n_regions; r++) {
		const struct doc_region *a = &before->regions[r], *b = &after->regions[r];
		if (b->attempt.v != a->attempt.v)
			found |= bit(MOMENT_ATTEMPT);
		if (b->n_slots && !a->n_slots)
			found |= bit(MOMENT_PLACEMENT);
	}
	return found;
}

unsigned moments_of(const struct doc *before, const struct doc *after, bool created)
{
	if (created)
		return bit(MOMENT_JOB);
	unsigned found = moments_of_regions(before, after);
	if (after->next_checkpoint.v != before->next_checkpoint.v)
		found |= bit(MOMENT_CHECKPOINT);
	if (after->n_completed != before->n_completed)
		found |= bit(MOMENT_POINTER);
	if (after->n_given_up != before->n_given_up)
		found |= bit(MOMENT_GIVEN_UP);
	if (after->desired != before->desired)
		found |= bit(after->desired == DOC_CANCEL ? MOMENT_CANCEL : MOMENT_FAIL);
	if (doc_terminal(after->status))
		found |= bit(MOMENT_TERMINAL);
	return found;
}

unsigned moments_of_command(enum control_command kind)
{
	switch (kind) {
	case CONTROL_PREPARE:
		return bit(MOMENT_PREPARED);
	case CONTROL_RUN:
		return bit(MOMENT_RUN);
	case CONTROL_TRIGGER:
		return bit(MOMENT_TRIGGERED);
	case CONTROL_COMPLETE:
		return bit(MOMENT_COMPLETED);
	case CONTROL_ABORT:
		return bit(MOMENT_ABORTED);
	case CONTROL_FINISH:
	case CONTROL_CANCEL:
		return bit(MOMENT_ENDED);
	case CONTROL_WELCOME:
	case CONTROL_BEAT:
	case CONTROL_UNKNOWN:
	case CONTROL_GOODBYE:
	case CONTROL_COMMAND_COUNT:
		break;
	}
	return 0;
}
