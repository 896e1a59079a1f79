/*
 * object - one worker's snapshot: one object in storage, written in one pass.
 *
 *   header | block block block ... | index | trailer (64 bytes)
 *
 * A block holds rows of one state and one key group (list state: one subtask),
 * packed and with its own XXH3-64. The index, at the end since sizes are not
 * known before, names the states (operator uid, state name, layout) and lists
 * the extents: runs of blocks of one state and group, with offset, length, rows
 * and XXH3-64. The trailer finds the index. docs/formats/snapshot-object.md has
 * every byte; format numbers that this code does not know are ERR_INVALID.
 *
 * `checksum`, which travels to the manifest, is the XXH3-64 of the index: as
 * the index holds the checksums of all else, it vouches for the whole object.
 * Whatever is read is checked first; ERR_CORRUPT names object, place and what
 * was expected.
 *
 * Threads: a writer is used by one thread at a time (the snapshot thread; list
 * state that was packed on task threads is added there too), a reader likewise;
 * any number of readers over one object.
 *
 *   writer:  object_writer_create -> object_writer_state (per state)
 *            -> object_writer_block (per block) -> object_writer_finish
 *   reader:  object_reader_open -> object_reader_find -> object_reader_read
 */
#ifndef STATE_OBJECT_H
#define STATE_OBJECT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"
#include "state/block.h"
#include "state/liststate.h"

enum {
	OBJECT_FORMAT = 1,
	OBJECT_NAME_MAX = 64,        /* operator uid, state name */
	OBJECT_STATES_MAX = 1 << 16, /* per object */
	OBJECT_INDEX_MAX = 1 << 30   /* bytes */
};

/* One state of one operator, as the index names it. */
struct object_state {
	char uid[OBJECT_NAME_MAX + 1];
	char name[OBJECT_NAME_MAX + 1];
	struct block_layout layout;
	uint8_t kind;         /* enum keyed_kind; list state: enum liststate_mode */
	uint32_t parallelism; /* of the operator when it was written */
	uint32_t max_parallelism;
};

/* ---- writing ---- */

/* Where the bytes go: storage_put_begin's upload, a file, memory. The first error is the end. */
struct object_sink {
	enum errc (*write)(struct object_sink *s, const void *data, size_t len, struct err *e);
};

struct object_writer;

/* Writes the header. `sink` is borrowed until destroy. */
MUST_CHECK enum errc object_writer_create(struct object_sink *sink, struct object_writer **out,
					  struct err *e);
void object_writer_destroy(
	struct object_writer *w); /* NULL: no-op; unfinished: the object is void */
/* Name a state; *out is its number for blocks. (uid, name) is the same state for all subtasks:
 * naming it again with the same content gives the same number, with other content ERR_INVALID. */
MUST_CHECK enum errc object_writer_state(struct object_writer *w, const struct object_state *state,
					 unsigned *out, struct err *e);
/* Pack and write one block (an empty one: nothing, success). */
MUST_CHECK enum errc object_writer_block(struct object_writer *w, unsigned state,
					 const struct block *b, struct err *e);

struct object_summary {
	uint64_t bytes;    /* of the whole object */
	uint64_t checksum; /* XXH3-64 of the index */
	uint64_t rows;
	uint64_t raw_bytes; /* before packing */
};

/* Index and trailer. Committing the sink is the caller's. */
MUST_CHECK enum errc object_writer_finish(struct object_writer *w, struct object_summary *out,
					  struct err *e);

/* ---- reading ---- */

/* Ranged reads: storage_get_range, a file, memory. Exactly `len` bytes, or an error. */
struct object_source {
	enum errc (*read)(struct object_source *s, uint64_t offset, void *data, size_t len,
			  struct err *e);
	const char *name; /* for errors */
	uint64_t bytes;   /* size of the object, from the manifest */
};

struct object_reader;

/* Reads trailer and index, and compares with the manifest's checksum. `source` is borrowed. */
MUST_CHECK enum errc object_reader_open(struct object_source *source, uint64_t checksum,
					struct object_reader **out, struct err *e);
void object_reader_close(struct object_reader *r); /* NULL: no-op */

unsigned object_reader_count(const struct object_reader *r);
const struct object_state *object_reader_state(const struct object_reader *r, unsigned state);
/* The number of a state, or -1. */
int object_reader_find(const struct object_reader *r, const char *uid, const char *name);
/* Rows of one group (list state: subtask); an upper bound of its keys. */
uint64_t object_reader_rows(const struct object_reader *r, unsigned state, uint32_t group);

struct object_visitor {
	/* One block, borrowed; an error ends the read and is returned. */
	enum errc (*block)(struct object_visitor *v, const struct block *b, struct err *e);
};

/* Visit the blocks of groups [first, end) of a state, one group after another. List state: of
 * subtasks [first, end), in order, items in the order of writing. */
MUST_CHECK enum errc object_reader_read(struct object_reader *r, unsigned state, uint32_t first,
					uint32_t end, struct object_visitor *v, struct err *e);

#endif
