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

/* The predicate does not compare that nobody stands before its writer. */
#ifdef WEIR_MUTANT_NO_RANGE_COMPARE
#define MUTANT_NO_RANGE_COMPARE true
#else
#define MUTANT_NO_RANGE_COMPARE false
#endif

/* Who is the first in the queue leads, before its barrier is committed. */
#ifdef WEIR_MUTANT_ACT_BEFORE_BARRIER
#define MUTANT_ACT_BEFORE_BARRIER true
#else
#define MUTANT_ACT_BEFORE_BARRIER false
#endif

/* A new candidacy keeps the epoch of the one before. */
#ifdef WEIR_MUTANT_REQUEUE_KEEPS_EPOCH
#define MUTANT_REQUEUE_KEEPS_EPOCH true
#else
#define MUTANT_REQUEUE_KEEPS_EPOCH false
#endif

/* Silence alone is taken for death. */
#ifdef WEIR_MUTANT_SUSPECT_IS_DEAD
#define MUTANT_SUSPECT_IS_DEAD true
#else
#define MUTANT_SUSPECT_IS_DEAD false
#endif

/* A silent leader is given up without hearing witnesses and other standbys. */
#ifdef WEIR_MUTANT_WITNESSES_IGNORED
#define MUTANT_WITNESSES_IGNORED true
#else
#define MUTANT_WITNESSES_IGNORED false
#endif

/* A silent leader is given up although etcd sees it renew its lease. */
#ifdef WEIR_MUTANT_RENEWAL_IGNORED
#define MUTANT_RENEWAL_IGNORED true
#else
#define MUTANT_RENEWAL_IGNORED false
#endif

/* Leaders are given up without proof one after the other. */
#ifdef WEIR_MUTANT_HOLD_DOWN_IGNORED
#define MUTANT_HOLD_DOWN_IGNORED true
#else
#define MUTANT_HOLD_DOWN_IGNORED false
#endif

/* A process that was stopped itself takes the others for silent. */
#ifdef WEIR_MUTANT_LATENESS_IGNORED
#define MUTANT_LATENESS_IGNORED true
#else
#define MUTANT_LATENESS_IGNORED false
#endif

#endif
