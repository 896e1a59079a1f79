#include "taskmanager/connectors/ranges.h"

#include <string.h>

enum { RANGE_VERSION = 1, RANGE_NUMBERS = 7, RANGE_FIXED = 4 + RANGE_NUMBERS * 8 };

uint32_t ranges_count(uint64_t size, uint32_t parallelism, uint32_t max_parallelism)
{
	uint64_t n = size / RANGE_PIECE_BYTES;
	if (n > UINT64_C(4) * parallelism)
		n = UINT64_C(4) * parallelism;
	if (n > max_parallelism)
		n = max_parallelism;
	if (n < parallelism)
		n = parallelism;
	return (uint32_t)(n > size ? size : n);
}

uint64_t ranges_bound(uint64_t size, uint32_t n, uint32_t k)
{
	return size / n * k + size % n * k / n;
}

void range_rewind(struct range *r)
{
	r->pos = r->start;
	r->fresh = true;
}

/* version, fresh, length of the path (2), seven numbers, the path: little-endian */
void range_encode(const struct range *r, struct buf *out)
{
	size_t path_len = strlen(r->path);
	unsigned char head[RANGE_FIXED] = {RANGE_VERSION, r->fresh, (unsigned char)path_len,
					   (unsigned char)(path_len >> 8)};
	const uint64_t numbers[RANGE_NUMBERS] = {
		r->size, (uint64_t)r->mtime_ns, r->inode, r->start, r->end, r->round, r->pos};
	for (unsigned i = 0; i < RANGE_NUMBERS; i++)
		for (unsigned b = 0; b < 8; b++)
			head[4 + 8 * i + b] = (unsigned char)(numbers[i] >> (8 * b));
	buf_add(out, head, sizeof(head));
	buf_add(out, r->path, path_len);
}

enum errc range_decode(const void *item, size_t len, struct range *out, struct err *e)
{
	const unsigned char *at = item;
	uint64_t n[RANGE_NUMBERS] = {0};
	struct range r = {0};
	if (len < RANGE_FIXED || at[0] != RANGE_VERSION || at[1] > 1)
		return err_set(e, ERR_CORRUPT, "a file range of the checkpoint cannot be read");
	size_t path_len = at[2] | (size_t)at[3] << 8;
	if (path_len == 0 || path_len >= RANGE_PATH_MAX || len != RANGE_FIXED + path_len)
		return err_set(e, ERR_CORRUPT, "a file range of the checkpoint has no path");
	for (unsigned i = 0; i < RANGE_NUMBERS; i++)
		for (unsigned b = 0; b < 8; b++)
			n[i] |= (uint64_t)at[4 + 8 * i + b] << (8 * b);
	memcpy(r.path, at + RANGE_FIXED, path_len);
	r.size = n[0];
	r.mtime_ns = (int64_t)n[1];
	r.inode = n[2];
	r.start = n[3];
	r.end = n[4];
	r.round = n[5];
	r.pos = n[6];
	r.fresh = at[1];
	if (r.start >= r.end || r.end > r.size || r.pos < r.start || r.pos > r.size)
		return err_set(e, ERR_CORRUPT, "a file range of the checkpoint is out of bounds");
	*out = r;
	return ERR_OK;
}
