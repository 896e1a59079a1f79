/*
 * hashmap - the keyed state backend in memory: state/table.h's tables, one per
 * state, under one snapshot number.
 */
#ifndef STATE_HASHMAP_H
#define STATE_HASHMAP_H

#include "state/backend.h"

extern const struct backend_ops hashmap_backend;

#endif
