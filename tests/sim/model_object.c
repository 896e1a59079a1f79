#include "model_object.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

static void write_sink(const struct model_sink *k, unsigned i, struct buf *out)
{
	buf_printf(out, "sink %u %" PRIu64 " %" PRIu64, i, k->sum, k->count);
	for (unsigned s = 0; s < PARALLELISM_MAX; s++)
		buf_printf(out, " %" PRIu64, k->next[s]);
	buf_text(out, "\n");
	for (unsigned t = 0; t < k->n_txns; t++)
		buf_printf(out, "txn %u %" PRIu32 " %" PRIu64 "\n", i, k->txns[t].attempt,
			   k->txns[t].checkpoint);
}

void model_object_write(const struct model_state *s, struct buf *out)
{
	buf_text(out, "weir-model 1\n");
	for (unsigned i = 0; i < PARALLELISM_MAX; i++) {
		if (s->sources[i].here)
			buf_printf(out, "source %u %" PRIu64 "\n", i, s->sources[i].offset);
		if (s->sinks[i].here)
			write_sink(&s->sinks[i], i, out);
	}
	buf_text(out, "end\n");
}

static bool read_line(struct model_state *s, const char *line)
{
	unsigned i;
	struct model_source source = {.here = true};
	struct model_sink sink = {.here = true};
	struct model_txn txn;
	if (sscanf(line, "source %u %" SCNu64, &i, &source.offset) == 2 && i < PARALLELISM_MAX) {
		s->sources[i] = source;
	} else if (sscanf(line, "sink %u %" SCNu64 " %" SCNu64 " %" SCNu64 " %" SCNu64 " %" SCNu64,
			  &i, &sink.sum, &sink.count, &sink.next[0], &sink.next[1],
			  &sink.next[2]) == 6 &&
		   i < PARALLELISM_MAX) {
		s->sinks[i] = sink;
	} else if (sscanf(line, "txn %u %" SCNu32 " %" SCNu64, &i, &txn.attempt, &txn.checkpoint) ==
			   3 &&
		   i < PARALLELISM_MAX && s->sinks[i].n_txns < TXNS_MAX) {
		s->sinks[i].txns[s->sinks[i].n_txns++] = txn;
	} else {
		return false;
	}
	return true;
}

bool model_object_read(struct model_state *s, const char *bytes, size_t len)
{
	char line[160];
	size_t at = 0;
	for (unsigned n = 0; at < len; n++) {
		const char *nl = memchr(bytes + at, '\n', len - at);
		size_t width = nl ? (size_t)(nl - (bytes + at)) : sizeof(line);
		if (width >= sizeof(line))
			return false;
		memcpy(line, bytes + at, width);
		line[width] = '\0';
		at += width + 1;
		if (strcmp(line, "end") == 0)
			return at == len;
		if (n == 0 ? strcmp(line, "weir-model 1") != 0 : !read_line(s, line))
			return false;
	}
	return false;
}
