#include "rest/traffic.h"

#include "base/limits.h"

enum { MEMBERS = 5 };

void traffic_add(struct traffic *to, const struct traffic *more)
{
	to->read_records += more->read_records;
	to->read_bytes += more->read_bytes;
	to->write_records += more->write_records;
	to->write_bytes += more->write_bytes;
}

void traffic_put(json_t *list, unsigned vertex, const struct traffic *t)
{
	json_array_append_new(list,
			      json_pack("[i, I, I, I, I]", (int)vertex, (json_int_t)t->read_records,
					(json_int_t)t->read_bytes, (json_int_t)t->write_records,
					(json_int_t)t->write_bytes));
}

bool traffic_get(const json_t *list, size_t i, unsigned *vertex, struct traffic *out)
{
	const json_t *entry = json_array_get(list, i);
	uint64_t n[MEMBERS];
	if (json_array_size(entry) != MEMBERS)
		return false;
	for (size_t k = 0; k < MEMBERS; k++) {
		const json_t *value = json_array_get(entry, k);
		if (!json_is_integer(value) || json_integer_value(value) < 0)
			return false;
		n[k] = (uint64_t)json_integer_value(value);
	}
	if (n[0] >= LIMIT_OPERATORS)
		return false;
	*vertex = (unsigned)n[0];
	*out = (struct traffic){n[1], n[2], n[3], n[4]};
	return true;
}
