/*
 * err - what went wrong, and what the caller may do about it.
 *
 * A code has a class, and the class is the contract: RETRY (safe to repeat),
 * VERIFY (read back before anything else: it may have happened), REJECT (tell
 * who asked), STOP (this process may no longer act). Drivers switch on the
 * class; only the place that knows the case switches on the code.
 *
 * The text reads from the outermost layer to the innermost; err_wrap() puts
 * what a layer was doing in front:
 *   seal checkpoint 7: put manifest: etcd txn: connection reset after send
 *
 * Every function accepts e == NULL: the code alone is then returned.
 */
#ifndef BASE_ERR_H
#define BASE_ERR_H

#define ERR_MAP(X)                                                                                 \
	X(OK, NONE, "ok")                                                                          \
	X(AGAIN, RETRY, "not now; capacity or credit is exhausted")                                \
	X(NOTSENT, RETRY, "the request never left this process")                                   \
	X(UNAVAILABLE, RETRY, "the other side cannot serve it now, and did not carry it out")      \
	X(UNKNOWN, VERIFY, "the request may or may not have happened")                             \
	X(CONFLICT, VERIFY, "somebody else changed it first")                                      \
	X(FENCED, STOP, "a newer leader exists")                                                   \
	X(NOTFOUND, REJECT, "no such object")                                                      \
	X(EXISTS, REJECT, "the object exists already")                                             \
	X(INVALID, REJECT, "the input is not acceptable")                                          \
	X(DENIED, REJECT, "not permitted")                                                         \
	X(LIMIT, REJECT, "a declared limit would be exceeded")                                     \
	X(CORRUPT, STOP, "stored or received data is damaged")                                     \
	X(IO, RETRY, "an input or output operation failed")                                        \
	X(CANCELED, NONE, "the owner gave up on it")

enum errc {
#define X(name, class, text) ERR_##name,
	ERR_MAP(X)
#undef X
		ERR_COUNT
};

enum err_class {
	ERR_CLASS_NONE,
	ERR_CLASS_RETRY,
	ERR_CLASS_VERIFY,
	ERR_CLASS_REJECT,
	ERR_CLASS_STOP
};

enum { ERR_TEXT_MAX = 512 };

struct err {
	enum errc code;
	char text[ERR_TEXT_MAX];
};

#define MUST_CHECK        __attribute__((warn_unused_result))
#define PRINTF_LIKE(f, a) __attribute__((format(printf, f, a)))

/* Record a failure and return its code: `return err_set(e, ERR_LIMIT, ...)`. Never with ERR_OK. */
enum errc err_set(struct err *e, enum errc code, const char *fmt, ...) PRINTF_LIKE(3, 4);

/* Put "what this layer was doing: " in front of the text; returns the code that e holds. */
enum errc err_wrap(struct err *e, enum errc code, const char *fmt, ...) PRINTF_LIKE(3, 4);

/* Record errno `error` as ERR_IO (ERR_NOTFOUND for ENOENT, ERR_DENIED for EACCES and EPERM,
 * ERR_EXISTS for EEXIST) with strerror's text behind the formatted one. */
enum errc err_errno(struct err *e, int error, const char *fmt, ...) PRINTF_LIKE(3, 4);

enum err_class err_class(enum errc code);
const char *err_name(enum errc code); /* "UNKNOWN" */
const char *err_text(enum errc code); /* the sentence of the table */

#endif
