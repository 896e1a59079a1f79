#include "jobmanager/effects.h"

#include <assert.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include "base/buf.h"
#include "base/mem.h"

struct jm_effect *effects_add(struct jm_effects *fx, enum jm_effect_kind kind)
{
	if (fx->n == fx->capacity) {
		fx->capacity = fx->capacity ? 2 * fx->capacity : 16;
		fx->at = mem_resize(fx->at, fx->capacity, sizeof(fx->at[0]));
	}
	struct jm_effect *effect = &fx->at[fx->n++];
	memset(effect, 0, sizeof(*effect));
	effect->kind = kind;
	return effect;
}

void effects_op(struct jm_effect *decide, const char *key, char *value)
{
	assert(decide->kind == JM_DECIDE && decide->n_ops < JM_OPS_MAX);
	decide->ops = mem_resize(decide->ops, decide->n_ops + 1, sizeof(decide->ops[0]));
	decide->ops[decide->n_ops++] = (struct jm_op){
		.key = mem_text(key),
		.value = value,
		.len = value ? strlen(value) : 0,
	};
}

static char *vtext(const char *fmt, va_list args) __attribute__((format(printf, 1, 0)));
static char *vtext(const char *fmt, va_list args)
{
	char *text = NULL;
	if (vasprintf(&text, fmt, args) < 0)
		abort();
	return text;
}

void effects_reply(struct jm_effects *fx, uint64_t token, enum errc code, const char *fmt, ...)
{
	struct jm_effect *effect = effects_add(fx, JM_REPLY);
	effect->token = token;
	effect->code = code;
	va_list args;
	va_start(args, fmt);
	effect->text = vtext(fmt, args);
	va_end(args);
}

void effects_trace(struct jm_effects *fx, enum log_level level, const char *fmt, ...)
{
	struct jm_effect *effect = effects_add(fx, JM_TRACE);
	effect->level = level;
	va_list args;
	va_start(args, fmt);
	effect->text = vtext(fmt, args);
	va_end(args);
}

static void effect_fini(struct jm_effect *effect)
{
	for (unsigned i = 0; i < effect->n_ops; i++) {
		free(effect->ops[i].key);
		free(effect->ops[i].value);
	}
	free(effect->ops);
	if (effect->command)
		control_command_fini(effect->command);
	free(effect->command);
	free(effect->data);
	free(effect->text);
}

void jm_effects_clear(struct jm_effects *fx)
{
	for (size_t i = 0; i < fx->n; i++)
		effect_fini(&fx->at[i]);
	free(fx->at);
	*fx = (struct jm_effects){0};
}
