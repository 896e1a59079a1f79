/*
 * stage - a little world around the brain: a store, checkpoint storage and
 * scripted TaskManagers, in virtual time, with everything that is said written
 * down as it happens; and a checker that knows the protocol's rules and
 * watches every effect.
 *
 *   [   0.120s] job=wordcount/aaaaaaaa DEPLOYING -> RUNNING: all its tasks run
 *   [   0.121s]   tm-1 <- trigger ckpt=1 attempt=1
 *
 * The store carries a decision out `3 ms` after it was asked for, storage
 * takes 20 ms, TaskManagers answer within 5 to 15 ms. All of it is
 * deterministic.
 *
 * The checker (stage_violations) holds against the *store*, not against the
 * brain's memory: a command only repeats what is recorded; a pointer's
 * manifest is durable; nothing recorded refers to what is removed; nothing is
 * removed that was not recorded for removal.
 */
#ifndef STORY_STAGE_H
#define STORY_STAGE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/ids.h"
#include "jobmanager/inspect.h"
#include "jobmanager/jm.h"

struct stage;

/* What a TaskManager may be told to hold back until it is released. */
enum stage_hold { HOLD_PREPARED, HOLD_RUNNING, HOLD_ACK, HOLD_COMMITTED, HOLD_COUNT };

struct stage *stage_create(void);
void stage_destroy(struct stage *s);

struct buf *stage_page(struct stage *s); /* the narration; clear it as you read */
uint64_t stage_now(const struct stage *s);
unsigned stage_violations(const struct stage *s);
const struct jm *stage_jm(const struct stage *s); /* NULL: nobody leads */

/* Each line of commands; false: not understood, with the reason on the page. */
bool stage_do(struct stage *s, const char *line);
void stage_run(struct stage *s, uint64_t ms);

#endif
