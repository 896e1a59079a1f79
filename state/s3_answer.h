/*
 * s3_answer - the few elements of an S3 server's XML answers that matter.
 *
 * Parsed by expat: with namespaces and entities as they come, nothing expanded
 * that is not predefined, depth and sizes bounded. Only what is asked for is
 * kept: the text of <Code>, <UploadId>, <ETag>, <NextContinuationToken>,
 * <IsTruncated>, and of each <Key> of a listing or of a failed deletion.
 *
 * Pure. Ownership: the struct is the caller's; zero it before.
 */
#ifndef STATE_S3_ANSWER_H
#define STATE_S3_ANSWER_H

#include <stdbool.h>
#include <stddef.h>

#include "base/err.h"
#include "state/storage.h"

enum { S3_ANSWER_TEXT_MAX = 2048, S3_ANSWER_DEPTH_MAX = 16 };

struct s3_answer {
	char root[64]; /* "Error", "ListBucketResult", ... */
	char code[64]; /* <Code>: of the error, or of the first key that was not deleted */
	char upload_id[1024];
	char next[S3_ANSWER_TEXT_MAX]; /* <NextContinuationToken> */
	bool truncated;
	struct storage_names keys; /* owns */
};

/* ERR_CORRUPT: no well-formed XML, or something in it too long. */
MUST_CHECK enum errc s3_answer_parse(const char *xml, size_t len, struct s3_answer *out,
				     struct err *e);
void s3_answer_fini(struct s3_answer *a);

#endif
