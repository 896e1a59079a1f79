/* A job specification, as POST /v1/jobs takes it. */
#include <jansson.h>

#include "base/json.h"
#include "fuzz.h"
#include "job/spec.h"

const char *const fuzz_seeds[] = {
	"{\"name\":\"n\",\"parallelism\":4,\"checkpointing\":{\"interval\":\"1s\",\"mode\":"
	"\"exactly-once\",\"timeout\":\"1min\",\"maxConcurrent\":2,\"retained\":3},\"restart\":"
	"{\"strategy\":\"fixed-delay\",\"attempts\":3,\"delay\":\"1s\"},\"slotTimeout\":\"5min\","
	"\"operators\":[{\"uid\":\"a\",\"type\":\"source.file\",\"path\":[\"x\",\"y\"],\"loop\":2},"
	"{\"uid\":\"b\",\"type\":\"flatmap.split\",\"inputs\":[\"a\"]},{\"uid\":\"c\",\"type\":"
	"\"aggregate\",\"inputs\":[\"b\"],\"keyBy\":[\"word\"],\"aggregates\":[{\"count\":\"*\","
	"\"as\":\"n\"}]},{\"uid\":\"d\",\"type\":\"sink.file\",\"inputs\":[\"c\"],\"path\":\"o\","
	"\"rollBytes\":\"1MiB\"}]}",
	"{\"name\":\"n\",\"jobId\":\"0123456789abcdef0123456789abcdef\",\"maxParallelism\":64,"
	"\"restart\":{\"strategy\":\"exponential-delay\",\"jitter\":0.1},\"operators\":[{\"uid\":"
	"\"s\",\"type\":\"source.sequence\",\"from\":-5,\"to\":10,\"keys\":3},{\"uid\":\"f\","
	"\"type\":\"map.upper\",\"inputs\":[\"l\"]},{\"uid\":\"l\",\"type\":\"source.socket\","
	"\"host\":\"h\",\"port\":1},{\"uid\":\"g\",\"type\":\"filter.regex\",\"inputs\":[\"f\"],"
	"\"pattern\":\"^a(b|c)*$\"},{\"uid\":\"p\",\"type\":\"sink.print\",\"inputs\":[\"g\"]},"
	"{\"uid\":\"q\",\"type\":\"sink.discard\",\"inputs\":[\"s\"],\"partitioning\":"
	"\"rebalance\"}]}",
	NULL};

void fuzz_one(const char *data, size_t size)
{
	json_t *document = NULL;
	struct spec *spec = NULL;
	if (json_parse(data, size, &document, NULL) == ERR_OK &&
	    spec_parse(document, &spec, NULL) == ERR_OK)
		spec_destroy(spec);
	json_decref(document);
}
