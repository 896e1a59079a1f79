#include "taskmanager/preface.h"

#include <assert.h>
#include <string.h>

static const char MAGIC[8] = {'W', 'E', 'I', 'R', 'D', 'A', 'T', 'A'};

static void put(unsigned char *at, uint32_t value, unsigned bytes)
{
	for (unsigned i = 0; i < bytes; i++)
		at[i] = (unsigned char)(value >> (8 * i));
}

static uint32_t get(const unsigned char *at, unsigned bytes)
{
	uint32_t value = 0;
	for (unsigned i = 0; i < bytes; i++)
		value |= (uint32_t)at[i] << (8 * i);
	return value;
}

void preface_encode(const struct preface *p, unsigned char out[PREFACE_BYTES])
{
	assert(p->region <= UINT16_MAX);
	memset(out, 0, PREFACE_BYTES);
	memcpy(out, MAGIC, sizeof(MAGIC));
	put(out + 8, PREFACE_VERSION, 2);
	put(out + 10, p->region, 2);
	put(out + 12, p->attempt.v, 4);
	memcpy(out + 16, p->job.hex, ID_HEX);
	put(out + 48, p->sender, 4);
	put(out + 52, p->receiver, 4);
}

enum errc preface_decode(const unsigned char in[PREFACE_BYTES], struct preface *out, struct err *e)
{
	if (memcmp(in, MAGIC, sizeof(MAGIC)) != 0)
		return err_set(e, ERR_INVALID, "not a data connection");
	uint32_t version = get(in + 8, 2);
	if (version != PREFACE_VERSION)
		return err_set(e, ERR_INVALID, "data connection of version %u, not %d", version,
			       PREFACE_VERSION);
	if (get(in + 56, 4) || get(in + 60, 4))
		return err_set(e, ERR_INVALID, "the reserved bytes of the preface are not zero");
	struct preface p = {.region = get(in + 10, 2),
			    .attempt = {get(in + 12, 4)},
			    .sender = get(in + 48, 4),
			    .receiver = get(in + 52, 4)};
	char hex[ID_TEXT] = "";
	memcpy(hex, in + 16, ID_HEX);
	enum errc rc = job_id_parse(hex, &p.job, e);
	if (rc)
		return rc;
	*out = p;
	return ERR_OK;
}
