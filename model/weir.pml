/*
 * weir.pml - one job with two subtasks under several leaders, as a model that spin searches whole.
 *
 * What it is about: whether the protocol keeps its promises whatever the order of events. A picture
 * of who writes what (names as in the code; docs/model.md has the table):
 *
 *   Leader(k)  --transaction: predicate + chain-->  the hot document  --recorded = may be said-->
 *   Subtask(s) --snapshot, acknowledgement-------->  Leader(k)
 *   World()    --deletes keys, carries late requests out, works the removal queue off-->
 *
 * What the world may do, at any time
 *  - delete any candidate key (a lease that ended, a wrong verdict of death). Leader k is one
 *    candidacy; its epoch is k. Who queues again is another candidacy;
 *  - pause any leader for a while or for ever: it is the other processes that run;
 *  - leave a transaction's outcome unknown (UNKNOWNS times): it is carried out at any later time, or
 *    never; the leader sends the identical transaction again until the answer is definite;
 *  - let a new leader read documents that are one write old (STALE times);
 *  - deliver a command any number of times, in any order, at any time from when what it repeats was
 *    recorded, by whatever leader, or never. Acknowledgements likewise: they are read off the
 *    subtask. Nobody checks an epoch: that is the harder case;
 *  - crash a subtask (CRASHES), let one end by itself (ORPHANS), make a leader give a healthy
 *    TaskManager up (SUSPICIONS), whose tasks then live on as zombies;
 *  - suspend a leader (SUSPENSIONS): its lease may have passed, it decides nothing until a barrier;
 *  - let the user cancel (CANCELS), and let an ending job run out of patience (IMPATIENCE).
 *
 * Two simplifications that lose no behaviour. A command is enabled by what is recorded, not by a bit
 * that says "sent": every recorded decision may be repeated by anybody for ever. And with the chain
 * on, what a leader remembers is forgotten as soon as another's write makes it stale, because each
 * of its transactions will be refused whatever it holds.
 *
 * Switches, each of which removes one rule (docs/protocol.md names the rules):
 *   NO_CHAIN        a transaction carries only the predicate; an unknown outcome is read back
 *   PER_KEY         with NO_CHAIN: each transaction compares just the key that it changes
 *   NO_RANGE        the predicate lacks "no candidate has a lower create_revision"
 *   CANCEL_FIRST    the old attempt is cancelled before the new one is recorded
 *   FORGET_CAUSE    a new leader takes a worker that it has not heard of yet for a missing one
 *   DEMOTE          a leader that was suspended holds its own deafness against the TaskManagers
 *   RESUME_BLINDLY  a suspended leader goes on without a barrier
 *   ADOPT_GIVEN_UP  a checkpoint that was given up may still be completed
 *   ADOPT_OLDER     completing n gives up nothing: older ones may complete after it
 *   ADOPT_ANY       acknowledgements count for whatever attempt
 *   DELETE_FIRST    files of a checkpoint are removed before giving up is recorded
 *   WORKER_DELETES  a worker removes its object when it has given a checkpoint up by itself
 *   FALL_BACK       an attempt may restore an older checkpoint than the newest completed one
 *   CLOSE_ROLLS     a sink that closes rolls back what it has pre-committed
 *   ABORT_ROLLS     aborting n rolls back the output that was pre-committed at n
 *   COMMIT_EXACT    "complete n" commits exactly n
 *   CANCEL_ROLLS    a terminal cancel rolls back all that is not committed yet
 *   NO_TOMBSTONE    creation compares the absence of the job, not of its tombstone
 *   FINISH_EARLY    FINISHED is recorded when the last checkpoint is complete, without waiting for
 *                   the sinks
 *   END_EARLY       the same for CANCELED
 */
#ifndef LEADERS
#define LEADERS 3
#endif
#ifndef ATTEMPTS
#define ATTEMPTS 2
#endif
#ifndef CHECKPOINTS
#define CHECKPOINTS 2
#endif
#ifndef FLIGHTS
#define FLIGHTS 2 /* at once */
#endif
#ifndef UNKNOWNS
#define UNKNOWNS 1
#endif
#ifndef STALE
#define STALE 0
#endif
#ifndef CRASHES
#define CRASHES 1
#endif
#ifndef SUSPICIONS
#define SUSPICIONS 1
#endif
#ifndef ORPHANS
#define ORPHANS 0
#endif
#ifndef SUSPENSIONS
#define SUSPENSIONS 0
#endif
#ifndef CANCELS
#define CANCELS 0
#endif
#ifndef IMPATIENCE
#define IMPATIENCE 0
#endif
#ifndef FINISHES
#define FINISHES 1 /* sources may come to their end */
#endif

#define BIT(c) (1 << (c))
#define HAS(m, c) (((m) >> (c)) & 1)
#define BELOW(c) (BIT(c) - 1)

/* The predicate: our key is there, and none before it. */
#ifdef NO_RANGE
#define LEADS(k) HAS(queue, k)
#else
#define LEADS(k) (HAS(queue, k) && !(queue & BELOW(k)))
#endif
/* The chain: nothing was written since we read or wrote. */
#ifdef NO_CHAIN
#define CHAINED(bit) true
#else
#define CHAINED(bit) (bit)
#endif
#ifdef PER_KEY
#define KEY_FITS(K, A) ((K != RESTART || A == attempt + 1) && (K != BEGIN || A == ids + 1) && (K != COMPLETE || A > newest))
#else
#define KEY_FITS(K, A) true
#endif
#ifdef NO_TOMBSTONE
#define CREATABLE (job == ABSENT || job == ENDED)
#else
#define CREATABLE (job == ABSENT)
#endif
/* Would this transaction be carried out? */
#define ACCEPTED(k, K, A, bit) \
	(LEADS(k) && (K == CREATE -> CREATABLE : (CHAINED(bit) && KEY_FITS(K, A))))

/* status of the job */
#define ABSENT 0
#define RUNS 1
#define CANCELLING 2
#define ENDED 3 /* run/ is deleted, done/ is there */

/* transactions */
#define CREATE 1
#define RESTART 2
#define BEGIN 3
#define COMPLETE 4
#define GIVE_UP 5
#define CANCEL 6
#define END 7

/* modes of a leader */
#define WAITS 0
#define LEADING 1
#define OVER 2
#define IN_DOUBT 3
#define FROZEN 4
#define SUSPENDED 5

/* a subtask of an attempt */
#define NONE 0
#define RUNNING 1
#define DEAD 2

/* output that ended at a checkpoint */
#define PENDING 1
#define COMMITTED 2
#define ROLLED_BACK 3

#define W(a, s) ((a) * 2 + (s))
#define X(s, c) ((s) * 4 + (c))
#define COUNT(m) (HAS(m, 1) + HAS(m, 2) + HAS(m, 3))

/* ---- the store ---- */
byte queue;                      /* candidate keys that exist, by epoch */
byte job, attempt, ids, newest;  /* ids: the highest checkpoint id that was handed out */
byte flights, finals, completed; /* sets of checkpoint ids */
byte removals;                   /* cleanup/ entries: whose files may be removed */
byte restore[4];                 /* of each attempt */
byte under[4];                      /* the attempt that a checkpoint was begun under */
bit cancelled;

/* ---- storage ---- */
byte removed;

/* ---- on the way to the store, outcome unknown to its sender ---- */
byte lateK, lateA, lateB, lateBy; bit lateFresh;

/* ---- leaders ---- */
byte mode[LEADERS];
byte fresh;                      /* who has seen all that is written */
byte mine;                       /* whose request in doubt was carried out, and nothing since */
byte askK[LEADERS], askA[LEADERS], askB[LEADERS];   /* the request in doubt */
byte sawJob[LEADERS], sawAttempt[LEADERS], sawIds[LEADERS], sawNewest[LEADERS], sawFlights[LEADERS];
#if STALE > 0
byte oldJob, oldAttempt, oldIds, oldNewest, oldFlights;
#endif

/* ---- subtasks ---- */
byte worker[8];
byte snapped[2];                 /* objects that are durable, by checkpoint */
byte holds[8];                   /* what the snapshot holds: checkpoint intervals, as a set */
byte output[8];
byte visible[2];                 /* intervals that a reader has seen, by position */
#ifdef CANCEL_FIRST
byte early;
#endif

byte unknowns, crashes, suspicions, orphans, stales, suspensions, cancels, impatience;

#define RESTORABLE (newest == 0 || (HAS(snapped[0], newest) && HAS(snapped[1], newest) && !HAS(removed, newest)))
#define PROMISED(s) (newest == 0 -> 0 : holds[X(s, newest)])
#define OUT(s, c) (!HAS(PROMISED(s), c) || output[X(s, c)] == COMMITTED)
#define CONFIRMED (OUT(0, 1) && OUT(0, 2) && OUT(0, 3) && OUT(1, 1) && OUT(1, 2) && OUT(1, 3))
#define ALL_RUN(a) (worker[W(a, 0)] == RUNNING && worker[W(a, 1)] == RUNNING)
#define ONE_DEAD(a) (worker[W(a, 0)] == DEAD || worker[W(a, 1)] == DEAD)
#define ACKED(c) (HAS(snapped[0], c) && HAS(snapped[1], c))

/* ---- one transaction is carried out ---- */

inline write(K, A, B) {
#if STALE > 0
	oldJob = job; oldAttempt = attempt; oldIds = ids; oldNewest = newest; oldFlights = flights;
#endif
	assert(job != ENDED);                                 /* P1 a job that ended stays ended */
	if
	:: K == CREATE -> job = RUNS; attempt = 1; restore[1] = 0
	:: K == RESTART ->
		assert(A > attempt);                          /* P2 attempts only grow */
		attempt = A; restore[A] = B; removals = removals | flights; flights = 0
	:: K == BEGIN ->
		assert(A > ids);                              /* P3 checkpoint ids only grow */
		ids = A; under[A] = attempt; flights = flights | BIT(A);
		if :: B == 1 -> finals = finals | BIT(A) :: else fi
	:: K == COMPLETE ->
		assert(A > newest);                           /* P4 they complete in order, */
		assert(B == attempt && under[A] == attempt);     /* P5 for the recorded attempt only */
		if :: newest > 0 -> removals = removals | BIT(newest) :: else fi;
#ifndef ADOPT_OLDER
		removals = removals | (flights & BELOW(A)); flights = flights & ~BELOW(A);
#endif
		flights = flights & ~BIT(A); newest = A; completed = completed | BIT(A);
		assert(RESTORABLE)                            /* P6 and can be restored */
	:: K == GIVE_UP -> removals = removals | BIT(A); flights = flights & ~BIT(A)
	:: K == CANCEL -> job = CANCELLING; cancelled = 1; removals = removals | flights; flights = 0
	:: K == END ->
		assert(B == 1 || CONFIRMED);                  /* P12 what is promised is out, or handed over */
		job = ENDED; removals = removals | flights; flights = 0
	fi;
	fresh = 0; lateFresh = 0;
#ifndef NO_CHAIN
	d_forget()
#endif
}

/* What can no longer have an effect is made equal, so that the search does not tell it apart. */
inline forget(k) { sawJob[k] = 0; sawAttempt[k] = 0; sawIds[k] = 0; sawNewest[k] = 0; sawFlights[k] = 0 }
inline d_forget() {
	forget(0);
#if LEADERS > 1
	forget(1);
#endif
#if LEADERS > 2
	forget(2);
#endif
#ifdef NO_TOMBSTONE
	if :: lateK != CREATE -> lateK = 0; lateA = 0; lateB = 0; lateBy = 0 :: else fi
#else
	lateK = 0; lateA = 0; lateB = 0; lateBy = 0
#endif
}
inline see(k) {
	sawJob[k] = job; sawAttempt[k] = attempt; sawIds[k] = ids; sawNewest[k] = newest;
	sawFlights[k] = flights; fresh = fresh | BIT(k)
}
inline settled(k) { askK[k] = 0; askA[k] = 0; askB[k] = 0; mine = mine & ~BIT(k) }
inline over(k) { mode[k] = OVER; forget(k); settled(k); fresh = fresh & ~BIT(k) }

/* A decision: carried out and answered; or its outcome is unknown, and it is on its way. */
inline decide(k, K, A, B) {
	if
	:: ACCEPTED(k, K, A, HAS(fresh, k)) -> write(K, A, B); mine = 0; see(k)
	:: !ACCEPTED(k, K, A, HAS(fresh, k)) ->
		if
		:: LEADS(k) -> assert(stales > 0 || K == CREATE); mode[k] = FROZEN; forget(k)  /* P13 no false alarm */
		:: else -> over(k)
		fi
	:: unknowns < UNKNOWNS && (lateK == 0 || !LEADS(lateBy)) -> unknowns++;
		lateK = K; lateA = A; lateB = B; lateBy = k; lateFresh = HAS(fresh, k);
		askK[k] = K; askA[k] = A; askB[k] = B; mode[k] = IN_DOUBT
	fi
}

#ifdef ADOPT_GIVEN_UP
#define ADOPTABLE(k, c) (HAS(sawFlights[k], c) || ((c) <= sawIds[k] && (c) > sawNewest[k] && under[c] == sawAttempt[k]))
#elif defined(ADOPT_ANY)
#define ADOPTABLE(k, c) ((c) <= sawIds[k] && (c) > sawNewest[k])
#else
#define ADOPTABLE(k, c) HAS(sawFlights[k], c)
#endif
#define FINAL_DONE(k) HAS(finals, sawNewest[k])
#define FINAL_FLIES(k) (finals & sawFlights[k])

#ifdef FORGET_CAUSE
#define LOOKS_GONE(k) (worker[W(sawAttempt[k], 0)] != DEAD)
#elif defined(DEMOTE)
#define LOOKS_GONE(k) (suspensions > 0)
#else
#define LOOKS_GONE(k) false
#endif

#ifdef CANCEL_FIRST
#define EARLY(k) early = early | BIT(sawAttempt[k]);
#else
#define EARLY(k)
#endif
#ifdef FINISH_EARLY
#define MAY_FINISH true
#else
#define MAY_FINISH CONFIRMED
#endif
#ifdef END_EARLY
#define MAY_END true
#else
#define MAY_END CONFIRMED
#endif

#define ON(k) mode[k] == LEADING

#define ON_FLIGHT(k, c) \
	:: atomic { ON(k) && sawJob[k] == RUNS && ADOPTABLE(k, c) && ACKED(c) -> decide(k, COMPLETE, c, sawAttempt[k]) } \
	:: atomic { ON(k) && HAS(sawFlights[k], c) -> FIRST(c) decide(k, GIVE_UP, c, 0) }
#ifdef DELETE_FIRST
#define FIRST(c) removed = removed | BIT(c); assert(RESTORABLE);
#else
#define FIRST(c)
#endif

proctype Leader(byte k) {
end:	do
	/* the queue: the barrier reads every hot document as of a committed write of our own */
	:: d_step { mode[k] == WAITS && LEADS(k) -> mode[k] = LEADING; see(k) }
#if STALE > 0
	:: d_step { mode[k] == WAITS && LEADS(k) && stales < STALE && job != ABSENT -> stales++; mode[k] = LEADING;
		sawJob[k] = oldJob; sawAttempt[k] = oldAttempt; sawIds[k] = oldIds; sawNewest[k] = oldNewest;
		sawFlights[k] = oldFlights }
#endif
	:: d_step { mode[k] != OVER && !LEADS(k) && !HAS(queue, k) -> over(k) }

	/* an unknown outcome: the identical transaction again, until the answer is definite */
#ifdef NO_CHAIN
	:: d_step { mode[k] == IN_DOUBT && LEADS(k) -> settled(k); see(k); mode[k] = LEADING }
#else
	:: d_step { mode[k] == IN_DOUBT && HAS(mine, k) -> settled(k); see(k); mode[k] = LEADING }
	:: d_step { mode[k] == IN_DOUBT && !HAS(mine, k) && ACCEPTED(k, askK[k], askA[k], HAS(fresh, k)) ->
		write(askK[k], askA[k], askB[k]); mine = 0; settled(k); see(k); mode[k] = LEADING }
	:: d_step { mode[k] == IN_DOUBT && !HAS(mine, k) && LEADS(k) && !ACCEPTED(k, askK[k], askA[k], HAS(fresh, k)) ->
		assert(stales > 0); settled(k); mode[k] = FROZEN; forget(k) }
#endif

	/* the deadline of the lease has passed */
#if SUSPENSIONS > 0
	:: d_step { ON(k) && suspensions < SUSPENSIONS -> suspensions++; mode[k] = SUSPENDED }
#ifdef RESUME_BLINDLY
	:: d_step { mode[k] == SUSPENDED -> assert(HAS(fresh, k) || stales > 0); mode[k] = LEADING }
#else
	:: d_step { mode[k] == SUSPENDED && LEADS(k) ->
		assert(HAS(fresh, k) || stales > 0);          /* P14 what it remembers is still true */
		mode[k] = LEADING }
#endif
#endif

	/* decisions */
	:: atomic { ON(k) && sawJob[k] == ABSENT && (HAS(fresh, k) || LEADS(k)) -> decide(k, CREATE, 0, 0) }
	:: atomic { ON(k) && sawJob[k] == RUNS && sawAttempt[k] < ATTEMPTS &&
		(ONE_DEAD(sawAttempt[k]) || LOOKS_GONE(k) || (suspicions < SUSPICIONS && ALL_RUN(sawAttempt[k]))) ->
		if
		:: ONE_DEAD(sawAttempt[k]) -> skip
		:: !ONE_DEAD(sawAttempt[k]) && suspicions < SUSPICIONS && ALL_RUN(sawAttempt[k]) -> suspicions++
		:: !ONE_DEAD(sawAttempt[k]) && LOOKS_GONE(k) -> assert(false)   /* P11 a restart has a cause */
		fi;
		EARLY(k)
#ifdef FALL_BACK
		if
		:: sawNewest[k] > 0 -> decide(k, RESTART, sawAttempt[k] + 1, sawNewest[k] - 1)
		:: decide(k, RESTART, sawAttempt[k] + 1, sawNewest[k])
		fi
#else
		decide(k, RESTART, sawAttempt[k] + 1, sawNewest[k])
#endif
		}
	:: atomic { ON(k) && sawJob[k] == RUNS && sawIds[k] < CHECKPOINTS && COUNT(sawFlights[k]) < FLIGHTS &&
		ALL_RUN(sawAttempt[k]) && !FINAL_DONE(k) && !FINAL_FLIES(k) -> decide(k, BEGIN, sawIds[k] + 1, 0) }
#if FINISHES > 0
	:: atomic { ON(k) && sawJob[k] == RUNS && sawIds[k] < CHECKPOINTS && COUNT(sawFlights[k]) < FLIGHTS &&
		ALL_RUN(sawAttempt[k]) && !FINAL_DONE(k) && !FINAL_FLIES(k) -> decide(k, BEGIN, sawIds[k] + 1, 1) }
	:: atomic { ON(k) && sawJob[k] == RUNS && FINAL_DONE(k) && ALL_RUN(sawAttempt[k]) && MAY_FINISH -> decide(k, END, 0, 0) }
#endif
	ON_FLIGHT(k, 1)
#if CHECKPOINTS > 1
	ON_FLIGHT(k, 2)
#endif
#if CHECKPOINTS > 2
	ON_FLIGHT(k, 3)
#endif
#if CANCELS > 0
	:: atomic { ON(k) && sawJob[k] == RUNS && cancels < CANCELS -> cancels++; decide(k, CANCEL, 0, 0) }
	/* who was to commit is dead: another attempt, which only commits */
	:: atomic { ON(k) && sawJob[k] == CANCELLING && sawAttempt[k] < ATTEMPTS && ONE_DEAD(sawAttempt[k]) && !CONFIRMED ->
		decide(k, RESTART, sawAttempt[k] + 1, sawNewest[k]) }
	:: atomic { ON(k) && sawJob[k] == CANCELLING && MAY_END -> decide(k, END, 0, 0) }
	:: atomic { ON(k) && sawJob[k] == CANCELLING && impatience < IMPATIENCE -> impatience++; decide(k, END, 0, 1) }
#endif
	od
}

proctype World() {
	byte d_k, d_a, d_b, d_by;
end:	do
	:: d_step { lateK != 0 ->
		if
		:: ACCEPTED(lateBy, lateK, lateA, lateFresh) ->
			d_k = lateK; d_a = lateA; d_b = lateB; d_by = lateBy;
			write(d_k, d_a, d_b); mine = BIT(d_by)
		:: else
		fi;
		lateK = 0; lateA = 0; lateB = 0; lateBy = 0; lateFresh = 0; d_k = 0; d_a = 0; d_b = 0; d_by = 0 }
	:: d_step { HAS(queue, 0) -> queue = queue & ~1 }
#if LEADERS > 1
	:: d_step { HAS(queue, 1) -> queue = queue & ~2 }
#endif
#if LEADERS > 2
	:: d_step { HAS(queue, 2) -> queue = queue & ~4 }
#endif
	/* whoever ever read the removal queue works it off, whenever */
	:: d_step { (removals & ~removed) != 0 -> removed = removed | removals; assert(RESTORABLE || job == ENDED) }
	od
}


/* ---- subtasks ---- */

#define OWN(a, s) ((snapped[s] & 2) * (under[1] == (a)) | (snapped[s] & 4) * (under[2] == (a)) | (snapped[s] & 8) * (under[3] == (a)))
#define RESTORED(a, s) (restore[a] == 0 -> 0 : holds[X(s, restore[a])])
#define STATE(a, s) (RESTORED(a, s) | OWN(a, s))

inline publish(s, c) {
	if
	:: output[X(s, c)] == PENDING ->
		assert(!HAS(visible[s], COUNT(holds[X(s, c)])));      /* P7 nothing twice */
		visible[s] = visible[s] | BIT(COUNT(holds[X(s, c)]));
		output[X(s, c)] = COMMITTED
	:: output[X(s, c)] == COMMITTED
	:: else -> assert(false)                                      /* P8 promised, and rolled back: lost */
	fi
}
inline publish_all(s, set, n) {
	d_c = 1;
	do :: d_c <= n -> if :: HAS(set, d_c) -> publish(s, d_c) :: else fi; d_c++ :: else -> break od; d_c = 0
}
/* A later attempt has restored: what earlier ones pre-committed and its state does not hold goes. */
inline sweep(a, s, set) {
	d_c = 1;
	do
	:: d_c <= CHECKPOINTS ->
		if :: under[d_c] != 0 && under[d_c] < a && !HAS(set, d_c) && output[X(s, d_c)] == PENDING -> output[X(s, d_c)] = ROLLED_BACK :: else fi;
		d_c++
	:: else -> break
	od; d_c = 0
}
inline all_out(s, c) {
	d_c = 1;
	do :: d_c <= c -> assert(!HAS(holds[X(s, c)], d_c) || output[X(s, d_c)] == COMMITTED); d_c++ :: else -> break od; d_c = 0   /* P9 nothing stays behind */
}
inline close_sink(a, s) {
#ifdef CLOSE_ROLLS
	d_c = 1;
	do :: d_c <= CHECKPOINTS -> if :: under[d_c] == a && output[X(s, d_c)] == PENDING -> output[X(s, d_c)] = ROLLED_BACK :: else fi; d_c++ :: else -> break od; d_c = 0
#else
	skip
#endif
}
/* The job was cancelled for good: its workers roll back what no completed checkpoint holds. */
#ifdef CANCEL_ROLLS
#define LEFT_OVER(c) true
#else
#define LEFT_OVER(c) ((c) > newest)
#endif
inline discard(a, s) {
	d_c = 1;
	do
	:: d_c <= CHECKPOINTS ->
		if
		:: HAS(STATE(a, s), d_c) && output[X(s, d_c)] == PENDING && LEFT_OVER(d_c) ->
			assert(!HAS(PROMISED(s), d_c));               /* P8 again */
			output[X(s, d_c)] = ROLLED_BACK
		:: else
		fi;
		d_c++
	:: else -> break
	od; d_c = 0
}

#ifdef CANCEL_FIRST
#define MAY_STOP(a) ((a) < attempt || job == ENDED || HAS(early, a))
#else
#define MAY_STOP(a) ((a) < attempt || job == ENDED)
#endif

#define ON_ATTEMPT(a) \
	:: d_step { worker[W(a, s)] == NONE && job != ABSENT && (a) <= attempt -> \
		if \
		:: restore[a] != 0 && (HAS(removed, restore[a]) || !HAS(snapped[s], restore[a])) -> \
			assert(a < attempt || job == ENDED);          /* P6 the recorded attempt can be restored */ \
			worker[W(a, s)] = DEAD \
		:: else -> \
			d_m = (restore[a] == 0 -> 0 : holds[X(s, restore[a])]); \
			publish_all(s, d_m, restore[a]); sweep(a, s, d_m); d_m = 0; \
			worker[W(a, s)] = RUNNING \
		fi } \
	:: d_step { worker[W(a, s)] == RUNNING && MAY_STOP(a) -> \
		assert(a < attempt || job == ENDED);                  /* P10 no command ends what is recorded to run */ \
		if :: job == ENDED && cancelled -> discard(a, s) :: else -> close_sink(a, s) fi; \
		worker[W(a, s)] = DEAD } \
	:: d_step { worker[W(a, s)] == RUNNING && orphans < ORPHANS -> orphans++; close_sink(a, s); worker[W(a, s)] = DEAD } \
	:: d_step { worker[W(a, s)] == RUNNING && crashes < CRASHES -> crashes++; worker[W(a, s)] = DEAD }

#define GIVEN_UP(c) ((c) <= ids && !HAS(flights, c) && !HAS(completed, c))
#ifdef ABORT_ROLLS
#define ON_ABORT(c) :: d_step { GIVEN_UP(c) && under[c] != 0 && worker[W(under[c], s)] == RUNNING && HAS(snapped[s], c) && output[X(s, c)] == PENDING -> output[X(s, c)] = ROLLED_BACK }
#elif defined(WORKER_DELETES)
#define ON_ABORT(c) :: d_step { under[c] != 0 && worker[W(under[c], s)] == RUNNING && HAS(snapped[s], c) && output[X(s, c)] == PENDING && !HAS(removed, c) -> removed = removed | BIT(c); assert(RESTORABLE) }
#else
#define ON_ABORT(c)
#endif
#ifdef COMMIT_EXACT
#define COMMIT(c) publish(s, c)
#else
#define COMMIT(c) publish_all(s, holds[X(s, c)], c)
#endif

#define ON_CHECKPOINT(c) \
	:: d_step { (c) <= ids && under[c] != 0 && worker[W(under[c], s)] == RUNNING && (snapped[s] >> (c)) == 0 -> \
		holds[X(s, c)] = STATE(under[c], s) | BIT(c); snapped[s] = snapped[s] | BIT(c); output[X(s, c)] = PENDING } \
	:: d_step { HAS(completed, c) && worker[W(under[c], s)] == RUNNING && HAS(snapped[s], c) && output[X(s, c)] != COMMITTED -> \
		COMMIT(c); all_out(s, c) } \
	ON_ABORT(c)

proctype Subtask(byte s) {
	byte d_c, d_m;
end:	do
	ON_ATTEMPT(1)
#if ATTEMPTS > 1
	ON_ATTEMPT(2)
#endif
#if ATTEMPTS > 2
	ON_ATTEMPT(3)
#endif
	ON_CHECKPOINT(1)
#if CHECKPOINTS > 1
	ON_CHECKPOINT(2)
#endif
#if CHECKPOINTS > 2
	ON_CHECKPOINT(3)
#endif
	od
}

init {
	atomic {
		queue = BIT(LEADERS) - 1;
		run World(); run Leader(0);
#if LEADERS > 1
		run Leader(1);
#endif
#if LEADERS > 2
		run Leader(2);
#endif
		run Subtask(0); run Subtask(1)
	}
}
