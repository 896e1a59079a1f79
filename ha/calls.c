#include "ha/calls.h"

#include <assert.h>

static const struct call calls[CALL_COUNT] = {
#define X(name, path, changes, fenced, answer, why)                                                \
	[CALL_##name] = {#name, path, changes, fenced, ANSWER_##answer, why},
	CALL_MAP(X)
#undef X
};

const struct call *call_of(enum call_kind kind)
{
	assert((unsigned)kind < CALL_COUNT);
	return &calls[kind];
}
