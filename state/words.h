/*
 * words - how the task thread writes and the snapshot thread reads the same
 * words of 8 bytes without waiting for one another. Private to state/.
 *
 * Relaxed atomic accesses plus explicit fences: the machine code of plain loads
 * and stores. ThreadSanitizer does not model fences; in its builds the
 * accesses themselves acquire and release, and the fences vanish.
 *
 * STATE_STEP() marks the points between which the other thread may run; a test
 * defines it to run the reader there.
 */
#ifndef STATE_WORDS_H
#define STATE_WORDS_H

#include <stdint.h>

#if defined(__SANITIZE_THREAD__)
#define WORDS_NO_FENCES 1
#elif defined(__has_feature)
#if __has_feature(thread_sanitizer)
#define WORDS_NO_FENCES 1
#endif
#endif

#ifdef WORDS_NO_FENCES
#define WORDS_LOAD  __ATOMIC_ACQUIRE
#define WORDS_STORE __ATOMIC_RELEASE
static inline void words_fence_acquire(void)
{
}
static inline void words_fence_release(void)
{
}
#else
#define WORDS_LOAD  __ATOMIC_RELAXED
#define WORDS_STORE __ATOMIC_RELAXED
static inline void words_fence_acquire(void)
{
	__atomic_thread_fence(__ATOMIC_ACQUIRE);
}
static inline void words_fence_release(void)
{
	__atomic_thread_fence(__ATOMIC_RELEASE);
}
#endif

#ifndef STATE_STEP
#define STATE_STEP() ((void)0)
#endif

static inline uint64_t word_load(const uint64_t *p)
{
	return __atomic_load_n(p, WORDS_LOAD);
}

static inline void word_store(uint64_t *p, uint64_t v)
{
	__atomic_store_n(p, v, WORDS_STORE);
}

#endif
