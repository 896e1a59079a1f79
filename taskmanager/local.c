#include "taskmanager/local.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include <xxhash.h>

#include "base/log.h"
#include "base/mem.h"
#include "base/text.h"

enum { NAME_BYTES = 256, CHECK_BYTES = 1 << 18 };

/* What is appended to the object's bytes. */
struct seal {
	char magic[8];
	uint64_t hash;
};

static const char magic[8] = {'w', 'e', 'i', 'r', 'c', 'o', 'p', 'y'};

struct local {
	int dir;
	uint64_t max_bytes;
	struct job_id job;
	uint32_t region;
};

struct local_copy {
	struct local *local;
	int fd; /* -1: it failed, and is removed */
	uint64_t bytes;
	XXH3_state_t *hash;
	char name[NAME_BYTES], temporary[NAME_BYTES];
};

/* ---- names ---- */

/* "jobs/J/chk-1/0-1-tm.snap" <-> "jobs!J!chk-1!0-1-tm.snap" */
static bool file_name(const char *object, char out[NAME_BYTES])
{
	size_t len = strlen(object);

	if (len + sizeof(".4294967295") > NAME_BYTES || strchr(object, '!'))
		return false;
	for (size_t i = 0; i <= len; i++)
		out[i] = object[i] == '/' ? '!' : object[i];
	return true;
}

struct owner {
	char job[ID_TEXT];
	uint64_t checkpoint;
	uint32_t region;
};

static bool skip(const char **at, const char *word)
{
	if (!text_starts(*at, word))
		return false;
	*at += strlen(word);
	return true;
}

/* Bytes of `set` up to `end`, which is passed, too. */
static bool token(const char **at, const char *set, char end, char *out, size_t size)
{
	size_t n = strspn(*at, set);

	if (n == 0 || n >= size || (*at)[n] != end)
		return false;
	memcpy(out, *at, n);
	out[n] = '\0';
	*at += n + 1;
	return true;
}

static bool number(const char **at, char end, uint64_t *out)
{
	char digits[24];

	return token(at, "0123456789", end, digits, sizeof(digits)) &&
	       text_u64(digits, out, NULL) == ERR_OK;
}

/* jobs!JOB!chk-ID!REGION-... */
static bool owner_of(const char *file, struct owner *out)
{
	uint64_t region;

	if (!skip(&file, "jobs!") ||
	    !token(&file, "0123456789abcdef", '!', out->job, sizeof(out->job)) ||
	    !skip(&file, "chk-") || !number(&file, '!', &out->checkpoint) ||
	    !number(&file, '-', &region) || region > UINT32_MAX)
		return false;
	out->region = (uint32_t)region;
	return true;
}

static bool ours(const struct local *l, const struct owner *o)
{
	return strcmp(o->job, l->job.hex) == 0 && o->region == l->region;
}

/* ---- the directory ---- */

struct entry {
	char name[NAME_BYTES];
	uint64_t bytes;
	int64_t used_ns;
	bool ours;
	uint64_t checkpoint;
};

struct listing {
	size_t n;
	struct entry *at; /* owns */
	uint64_t bytes;
};

static bool entry_read(const struct local *l, const char *name, struct entry *out)
{
	struct owner o;
	struct stat st;

	if (strlen(name) >= NAME_BYTES || !owner_of(name, &o) ||
	    fstatat(l->dir, name, &st, AT_SYMLINK_NOFOLLOW) != 0 || !S_ISREG(st.st_mode))
		return false;
	*out = (struct entry){.bytes = (uint64_t)st.st_size,
			      .used_ns =
				      st.st_mtim.tv_sec * INT64_C(1000000000) + st.st_mtim.tv_nsec,
			      .ours = ours(l, &o),
			      .checkpoint = o.checkpoint};
	snprintf(out->name, sizeof(out->name), "%s", name);
	return true;
}

static void listing_read(const struct local *l, struct listing *out)
{
	int fd = openat(l->dir, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	DIR *d = fd < 0 ? NULL : fdopendir(fd);
	struct entry e;

	*out = (struct listing){0};
	if (!d) {
		if (fd >= 0)
			close(fd);
		return;
	}
	for (struct dirent *next; (next = readdir(d)) != NULL;) {
		if (!entry_read(l, next->d_name, &e))
			continue;
		if ((out->n & (out->n - 1)) == 0)
			out->at = mem_resize(out->at, out->n ? 2 * out->n : 1, sizeof(*out->at));
		out->at[out->n++] = e;
		out->bytes += e.bytes;
	}
	closedir(d);
}

static int longest_unused_first(const void *left, const void *right)
{
	const struct entry *a = left, *b = right;

	return a->used_ns < b->used_ns ? -1 : a->used_ns > b->used_ns;
}

/* Is there room for `more` bytes? Others make way. */
static bool make_room(struct local *l, uint64_t more)
{
	struct listing all;

	listing_read(l, &all);
	if (all.n)
		qsort(all.at, all.n, sizeof(*all.at), longest_unused_first);
	for (size_t i = 0; i < all.n && all.bytes + more > l->max_bytes; i++)
		if (!all.at[i].ours && unlinkat(l->dir, all.at[i].name, 0) == 0)
			all.bytes -= all.at[i].bytes;
	free(all.at);
	return all.bytes + more <= l->max_bytes;
}

/* Removes this region's copies with an id in [from, to]. */
static void remove_ours(struct local *l, uint64_t from, uint64_t to)
{
	struct listing all;

	if (!l)
		return;
	listing_read(l, &all);
	for (size_t i = 0; i < all.n; i++)
		if (all.at[i].ours && all.at[i].checkpoint >= from && all.at[i].checkpoint <= to)
			(void)unlinkat(l->dir, all.at[i].name, 0);
	free(all.at);
}

struct local *local_create(const char *dir, uint64_t max_bytes, const struct job_id *job,
			   uint32_t region)
{
	char *path = mem_printf("%s/copies", dir);
	int fd = -1;

	if (max_bytes && (mkdir(path, 0700) == 0 || errno == EEXIST))
		fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (max_bytes && fd < 0)
		log_line(LOG_LEVEL_WARN, "no local copies of snapshots: %s: %s", path,
			 strerror(errno));
	free(path);
	if (fd < 0)
		return NULL;
	struct local *l = mem_alloc(sizeof(*l));
	*l = (struct local){.dir = fd, .max_bytes = max_bytes, .job = *job, .region = region};
	return l;
}

void local_destroy(struct local *l)
{
	if (!l)
		return;
	close(l->dir);
	free(l);
}

/* ---- making a copy ---- */

static void copy_fail(struct local_copy *c)
{
	if (c->fd < 0)
		return;
	close(c->fd);
	(void)unlinkat(c->local->dir, c->temporary, 0);
	c->fd = -1;
}

static void copy_free(struct local_copy *c)
{
	XXH3_freeState(c->hash);
	free(c);
}

struct local_copy *local_begin(struct local *l, const char *name)
{
	struct local_copy *c;

	if (!l)
		return NULL;
	c = mem_alloc(sizeof(*c));
	*c = (struct local_copy){.local = l, .fd = -1, .hash = XXH3_createState()};
	if (c->hash && file_name(name, c->name)) {
		/* Counted, and removed for room if its writer dies. */
		snprintf(c->temporary, sizeof(c->temporary), "%s.%ld", c->name, (long)getpid());
		c->fd = openat(l->dir, c->temporary, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
	}
	if (c->fd < 0) {
		copy_free(c);
		return NULL;
	}
	XXH3_64bits_reset(c->hash);
	return c;
}

static void put(struct local_copy *c, const void *data, size_t len)
{
	const char *at = data;

	while (c->fd >= 0 && len) {
		ssize_t n = write(c->fd, at, len);
		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0) {
			copy_fail(c);
			return;
		}
		at += n;
		len -= (size_t)n;
	}
}

void local_write(struct local_copy *c, const void *data, size_t len)
{
	if (!c || c->fd < 0)
		return;
	/* Looking is cheap, but not for every few bytes. */
	if (c->bytes / (1 << 20) != (c->bytes + len) / (1 << 20) && !make_room(c->local, len)) {
		copy_fail(c);
		return;
	}
	XXH3_64bits_update(c->hash, data, len);
	put(c, data, len);
	c->bytes += len;
}

void local_commit(struct local_copy *c)
{
	struct seal s;

	if (!c)
		return;
	memcpy(s.magic, magic, sizeof(magic));
	s.hash = XXH3_64bits_digest(c->hash);
	put(c, &s, sizeof(s));
	if (c->fd >= 0 && !make_room(c->local, 0))
		copy_fail(c);
	if (c->fd >= 0) {
		if (renameat(c->local->dir, c->temporary, c->local->dir, c->name) == 0)
			close(c->fd);
		else
			copy_fail(c);
	}
	copy_free(c);
}

void local_abort(struct local_copy *c)
{
	if (!c)
		return;
	copy_fail(c);
	copy_free(c);
}

void local_complete(struct local *l, uint64_t id)
{
	if (id)
		remove_ours(l, 0, id - 1);
}

void local_drop(struct local *l, uint64_t id)
{
	remove_ours(l, id, id);
}

void local_drop_all(struct local *l)
{
	remove_ours(l, 0, UINT64_MAX);
}

/* ---- reading one ---- */

bool local_read(int fd, void *data, size_t len, uint64_t offset)
{
	char *at = data;

	while (len) {
		ssize_t n = pread(fd, at, len, (off_t)offset);
		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			return false;
		at += n;
		offset += (uint64_t)n;
		len -= (size_t)n;
	}
	return true;
}

static bool whole(int fd, uint64_t bytes)
{
	struct stat st;
	struct seal s;

	if (fstat(fd, &st) != 0 || (uint64_t)st.st_size != bytes + sizeof(s))
		return false;
#ifdef WEIR_MUTANT_LOCAL_COPY_UNVERIFIED
	return true;
#endif
	char *data = malloc(CHECK_BYTES);
	XXH3_state_t *hash = XXH3_createState();
	bool good = data && hash && local_read(fd, &s, sizeof(s), bytes);
	if (good)
		XXH3_64bits_reset(hash);
	for (uint64_t at = 0; good && at < bytes;) {
		size_t n = bytes - at < CHECK_BYTES ? (size_t)(bytes - at) : CHECK_BYTES;
		good = local_read(fd, data, n, at);
		if (good)
			XXH3_64bits_update(hash, data, n);
		at += n;
	}
	good = good && memcmp(s.magic, magic, sizeof(magic)) == 0 &&
	       XXH3_64bits_digest(hash) == s.hash;
	XXH3_freeState(hash);
	free(data);
	return good;
}

int local_open_copy(struct local *l, const char *name, uint64_t bytes)
{
	char file[NAME_BYTES];

	if (!l || !file_name(name, file))
		return -1;
	int fd = openat(l->dir, file, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
	if (fd < 0)
		return -1;
	if (whole(fd, bytes)) {
		(void)futimens(fd, NULL); /* used now */
		return fd;
	}
	log_line(LOG_LEVEL_WARN, "the local copy of %s is damaged: removed, storage is read", name);
	close(fd);
	(void)unlinkat(l->dir, file, 0);
	return -1;
}

void local_forget(struct local *l, const char *name)
{
	char file[NAME_BYTES];

	if (l && file_name(name, file))
		(void)unlinkat(l->dir, file, 0);
}
