/* What etcd's gateway answers, in each shape that is asked for, and the frames of a watch. */
#include "ha/wire.h"
#include "fuzz.h"

#define HEADER                                                                                     \
	"\"header\":{\"cluster_id\":\"1\",\"member_id\":\"2\",\"revision\":\"30\",\"raft_term\":\"4\"}"

const char *const fuzz_seeds[] = {
	"{" HEADER ",\"succeeded\":true,\"responses\":[{\"response_put\":{" HEADER
	"}},{\"response_range\":{" HEADER ",\"kvs\":[{\"key\":\"a2V5\",\"create_revision\":\"3\","
	"\"mod_revision\":\"9\",\"version\":\"2\",\"value\":\"dg==\"}],\"count\":\"1\"}}]}",
	"{" HEADER ",\"kvs\":[{\"key\":\"a2V5\",\"mod_revision\":\"9\"}],\"more\":true}",
	"{" HEADER ",\"ID\":\"77\",\"TTL\":\"5\"}",
	"{\"error\":\"etcdserver: no leader\",\"code\":14,\"message\":\"etcdserver: no leader\"}",
	"{\"result\":{" HEADER ",\"created\":true,\"events\":[{\"type\":\"DELETE\",\"kv\":{\"key\":"
	"\"a2V5\",\"mod_revision\":\"12\"}}]}}",
	NULL};

void fuzz_one(const char *data, size_t size)
{
	struct wire_answer answer;
	struct wire_frame frame;
	for (int shape = ANSWER_TXN; shape <= ANSWER_FRAMES; shape++) {
		if (wire_parse((enum call_answer)shape, data, size, &answer, NULL) == ERR_OK)
			wire_answer_fini(&answer);
	}
	if (wire_parse_frame(data, size, &frame, NULL) == ERR_OK)
		wire_frame_fini(&frame);
}
