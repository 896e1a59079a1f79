/*
 * mutant - planted bugs, one per build, to prove that the tests can fail.
 *
 * Each switch removes one rule of the protocol. They are compiled in by
 * -DWEIR_MUTANT_<NAME>, for tests only; a normal build has none of them.
 */
#ifndef HA_MUTANT_H
#define HA_MUTANT_H

#include <stdbool.h>

/* A decision does not compare that its writer still leads. */
#ifdef WEIR_MUTANT_PREDICATE_DROPPED
#define MUTANT_PREDICATE_DROPPED true
#else
#define MUTANT_PREDICATE_DROPPED false
#endif

/* A decision does not compare the revision of its chain. */
#ifdef WEIR_MUTANT_CHAIN_DROPPED
#define MUTANT_CHAIN_DROPPED true
#else
#define MUTANT_CHAIN_DROPPED false
#endif

/* The lease is counted from the answer to a renewal, not from its sending. */
#ifdef WEIR_MUTANT_LEASE_FROM_REPLY
#define MUTANT_LEASE_FROM_REPLY true
#else
#define MUTANT_LEASE_FROM_REPLY false
#endif

/* A decision of unknown outcome is reported as not carried out. */
#ifdef WEIR_MUTANT_UNKNOWN_AS_FAILED
#define MUTANT_UNKNOWN_AS_FAILED true
#else
#define MUTANT_UNKNOWN_AS_FAILED false
#endif

#endif
