/*
 * s3_credentials - access key, secret and token: from the configuration, else
 * from the shared credentials file (~/.aws/credentials: [profile] sections of
 * aws_access_key_id, aws_secret_access_key, aws_session_token lines).
 *
 * Errors name the file, the profile and what is missing, never a value.
 * Private to state/. Ownership: the caller frees; *out_token may be NULL.
 */
#ifndef STATE_S3_CREDENTIALS_H
#define STATE_S3_CREDENTIALS_H

#include "base/err.h"
#include "state/storage.h"

MUST_CHECK enum errc s3_credentials(const struct storage_config *c, char **out_access_key,
				    char **out_secret_key, char **out_token, struct err *e);

#endif
