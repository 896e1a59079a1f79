#include "state/storage.h"

#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/mem.h"
#include "base/text.h"
#include "state/storage_impl.h"

/* ---- what both kinds share ---- */

uint64_t storage_clock_ms(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (uint64_t)now.tv_sec * 1000 + (uint64_t)now.tv_nsec / 1000000;
}

void storage_init(struct storage *s, const struct storage_ops *ops, const char *root,
		  const struct storage_config *c)
{
	pthread_condattr_t attr;

	s->ops = ops;
	s->root = mem_text(root);
	s->write_bytes_per_s = c->write_bytes_per_s;
	s->write_delay_ms = c->write_delay_ms;
	pthread_mutex_init(&s->lock, NULL);
	pthread_condattr_init(&attr);
	pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
	pthread_cond_init(&s->wake, &attr);
	pthread_condattr_destroy(&attr);
}

void storage_fini(struct storage *s)
{
	pthread_cond_destroy(&s->wake);
	pthread_mutex_destroy(&s->lock);
	free(s->root);
}

bool storage_cancelled(const struct storage *s)
{
	return __atomic_load_n(&s->cancelled, __ATOMIC_ACQUIRE);
}

static enum errc cancelled(struct err *e)
{
	return err_set(e, ERR_CANCELED, "storage is being closed");
}

enum errc storage_wait(struct storage *s, uint64_t ms, struct err *e)
{
	uint64_t end = storage_clock_ms() + ms;
	struct timespec until = {.tv_sec = (time_t)(end / 1000),
				 .tv_nsec = (long)(end % 1000) * 1000000};

	pthread_mutex_lock(&s->lock);
	while (!s->cancelled && storage_clock_ms() < end)
		pthread_cond_timedwait(&s->wake, &s->lock, &until);
	pthread_mutex_unlock(&s->lock);
	return storage_cancelled(s) ? cancelled(e) : ERR_OK;
}

enum errc storage_names_add(struct storage_names *n, const char *name, size_t max, struct err *e)
{
	if (n->n == max)
		return err_set(e, ERR_LIMIT, "more than %zu objects", max);
	if ((n->n & (n->n - 1)) == 0) /* a power of two: full */
		n->names = mem_resize(n->names, n->n ? 2 * n->n : 1, sizeof(*n->names));
	n->names[n->n++] = mem_text(name);
	return ERR_OK;
}

void storage_names_fini(struct storage_names *n)
{
	for (size_t i = 0; i < n->n; i++)
		free(n->names[i]);
	free(n->names);
	*n = (struct storage_names){0};
}

/* ---- configuration ---- */

static void from_env(const char **field, const char *variable)
{
	if (!*field || !**field)
		*field = getenv(variable);
}

void storage_config_env(struct storage_config *c)
{
	/* A key without its secret, or a token of another pair, would never fit. */
	if (!c->access_key || !*c->access_key) {
		c->access_key = getenv("AWS_ACCESS_KEY_ID");
		c->secret_key = getenv("AWS_SECRET_ACCESS_KEY");
		c->session_token = getenv("AWS_SESSION_TOKEN");
	}
	from_env(&c->region, "AWS_REGION");
	from_env(&c->region, "AWS_DEFAULT_REGION");
	from_env(&c->endpoint, "AWS_ENDPOINT_URL_S3");
	from_env(&c->endpoint, "AWS_ENDPOINT_URL");
	from_env(&c->ca_file, "AWS_CA_BUNDLE");
	from_env(&c->credentials_file, "AWS_SHARED_CREDENTIALS_FILE");
	from_env(&c->profile, "AWS_PROFILE");
	const char *delay = getenv("WEIR_STORAGE_DELAY_MS");
	if (delay && text_u64(delay, &c->write_delay_ms, NULL) != ERR_OK)
		c->write_delay_ms = 0;
}

enum errc storage_open(const struct storage_config *c, struct storage **out, struct err *e)
{
	if (!c->url)
		return err_set(e, ERR_INVALID, "no storage URL");
	if (text_starts(c->url, "file://"))
		return storage_open_file(c, out, e);
	if (text_starts(c->url, "s3://"))
		return storage_open_s3(c, out, e);
	return err_set(e, ERR_INVALID, "storage URL \"%s\": neither file:// nor s3://", c->url);
}

void storage_close(struct storage *s)
{
	if (s)
		s->ops->close(s);
}

const char *storage_root(const struct storage *s)
{
	return s->root;
}

void storage_cancel(struct storage *s)
{
	pthread_mutex_lock(&s->lock);
	__atomic_store_n(&s->cancelled, true, __ATOMIC_RELEASE);
	pthread_cond_broadcast(&s->wake);
	pthread_mutex_unlock(&s->lock);
}

/* ---- names ---- */

static bool part_ok(const char *part, size_t len)
{
	return len && !(len == 1 && part[0] == '.') &&
	       !(len == 2 && part[0] == '.' && part[1] == '.');
}

static MUST_CHECK enum errc check_name(const struct storage *s, const char *name, struct err *e)
{
	const char *part = name;
	bool ok = strlen(name) <= STORAGE_NAME_MAX && !text_starts(name, ".tmp/");

	for (const char *at = name;; at++) {
		if (*at && *at != '/') {
			ok = ok && (unsigned char)*at >= 0x20 && *at != 0x7f;
			continue;
		}
		ok = ok && part_ok(part, (size_t)(at - part));
		part = at + 1;
		if (!*at)
			break;
	}
	if (!ok)
		return err_set(e, ERR_INVALID, "\"%s\" is no name for an object", name);
	return storage_cancelled(s) ? cancelled(e) : ERR_OK;
}

static enum errc wrap(struct storage *s, enum errc code, struct err *e, const char *verb,
		      const char *name)
{
	return code ? err_wrap(e, code, "%s %s/%s", verb, s->root, name) : ERR_OK;
}

/* ---- calls ---- */

enum errc storage_check(struct storage *s, struct err *e)
{
	return wrap(s, s->ops->check(s, e), e, "reach", "");
}

enum errc storage_put(struct storage *s, const char *name, const void *data, size_t len,
		      struct err *e)
{
	enum errc code = check_name(s, name, e);

	if (code == ERR_OK && s->write_delay_ms)
		code = storage_wait(s, s->write_delay_ms, e);
	return code ? code : wrap(s, s->ops->put(s, name, data, len, e), e, "put", name);
}

enum errc storage_get(struct storage *s, const char *name, size_t max, struct buf *out,
		      struct err *e)
{
	enum errc code = check_name(s, name, e);

	return code ? code : wrap(s, s->ops->get(s, name, max, out, e), e, "get", name);
}

enum errc storage_get_range(struct storage *s, const char *name, uint64_t offset, void *data,
			    size_t len, struct err *e)
{
	enum errc code = check_name(s, name, e);

	if (code || !len)
		return code;
	return wrap(s, s->ops->get_range(s, name, offset, data, len, e), e, "get", name);
}

enum errc storage_look(struct storage *s, const char *name, struct storage_object *out,
		       struct err *e)
{
	enum errc code = check_name(s, name, e);

	return code ? code : wrap(s, s->ops->look(s, name, out, e), e, "look at", name);
}

enum errc storage_size(struct storage *s, const char *name, uint64_t *out, struct err *e)
{
	struct storage_object o;
	enum errc code = storage_look(s, name, &o, e);

	if (!code)
		*out = o.bytes;
	return code;
}

enum errc storage_remove(struct storage *s, const char *const names[], size_t n, struct err *e)
{
	for (size_t i = 0; i < n; i++) {
		enum errc code = check_name(s, names[i], e);

		if (code)
			return code;
	}
	for (size_t at = 0; at < n; at += STORAGE_REMOVE_MAX) {
		size_t some = n - at < STORAGE_REMOVE_MAX ? n - at : STORAGE_REMOVE_MAX;
		enum errc code = s->ops->remove(s, names + at, some, e);

		if (code)
			return wrap(s, code, e, "remove", names[at]);
	}
	return ERR_OK;
}

static int by_bytes(const void *a, const void *b)
{
	return strcmp(*(char *const *)a, *(char *const *)b);
}

enum errc storage_list(struct storage *s, const char *prefix, size_t max, struct storage_names *out,
		       struct err *e)
{
	struct storage_names names = {0};
	enum errc code;

	if (storage_cancelled(s))
		return cancelled(e);
	if (strlen(prefix) > STORAGE_NAME_MAX || strstr(prefix, "..") || prefix[0] == '/')
		return err_set(e, ERR_INVALID, "\"%s\" is no prefix of a name", prefix);
	code = s->ops->list(s, prefix, max, &names, e);
	if (code) {
		storage_names_fini(&names);
		return wrap(s, code, e, "list", prefix);
	}
	if (names.n)
		qsort(names.names, names.n, sizeof(*names.names), by_bytes);
	*out = names;
	return ERR_OK;
}

/* ---- streamed upload ---- */

enum errc storage_put_begin(struct storage *s, const char *name, struct storage_upload **out,
			    struct err *e)
{
	enum errc code = check_name(s, name, e);

	if (!code)
		code = wrap(s, s->ops->begin(s, name, out, e), e, "put", name);
	if (code)
		return code;
	(*out)->storage = s;
	(*out)->bytes = 0;
	(*out)->begin_ms = storage_clock_ms();
	return ERR_OK;
}

/* Wait until the bytes written so far are due. */
static MUST_CHECK enum errc pace(struct storage_upload *u, struct err *e)
{
	uint64_t rate = u->storage->write_bytes_per_s;
	uint64_t due_ms, passed_ms;

	if (!rate)
		return storage_cancelled(u->storage) ? cancelled(e) : ERR_OK;
	due_ms = u->bytes / (rate / 1000 ? rate / 1000 : 1);
	passed_ms = storage_clock_ms() - u->begin_ms;
	return due_ms > passed_ms + 5 ? storage_wait(u->storage, due_ms - passed_ms, e) : ERR_OK;
}

enum errc storage_put_write(struct storage_upload *u, const void *data, size_t len, struct err *e)
{
	enum errc code = pace(u, e);

	if (code)
		return code;
	u->bytes += len;
	return u->storage->ops->write(u, data, len, e);
}

enum errc storage_put_commit(struct storage_upload *u, struct err *e)
{
	const struct storage_ops *ops = u->storage->ops;
	enum errc code = storage_wait(u->storage, u->storage->write_delay_ms, e);

	if (code == ERR_OK)
		code = ops->commit(u, e);

	ops->abort(u); /* of what a failed commit has left; of a finished one nothing */
	return code;
}

void storage_put_abort(struct storage_upload *u)
{
	if (u)
		u->storage->ops->abort(u);
}
