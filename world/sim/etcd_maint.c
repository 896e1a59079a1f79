/* Status, alarms, members: what is asked of a member, not of the store. */
#include <inttypes.h>
#include <string.h>

#include "world/sim/etcd_call.h"

void etcd_run_status(struct etcd_call *k)
{
	etcd_open_answer(k, false, k->view);
	buf_printf(k->out, ",\"version\":\"3.4.23\",\"dbSize\":\"%zu\"",
		   20480 + 256 * k->c->store.n_log);
	if (!etcd_knows_no_leader(k->m) && k->c->leader)
		buf_printf(k->out, ",\"leader\":\"%" PRIu64 "\"", k->c->leader->id);
	buf_printf(k->out,
		   ",\"raftIndex\":\"%" PRIu64 "\",\"raftTerm\":\"%" PRIu64
		   "\",\"raftAppliedIndex\":\"%" PRIu64 "\",\"dbSizeInUse\":\"%zu\"",
		   k->view + 7, k->c->term, k->view + 7, 16384 + 256 * k->c->store.n_log);
	if (etcd_knows_no_leader(k->m))
		buf_text(k->out, ",\"errors\":[\"etcdserver: no leader\"]");
	buf_text(k->out, "}");
}

/* Disarming needs the member that raised the alarm; without it: OK, and nothing happens. */
void etcd_run_alarm(struct etcd_call *k)
{
	const char *action = etcd_text_or(k->body, "action", "GET");
	uint64_t raised_by = k->c->members[0].id;
	bool named = etcd_u64(k->body, "memberID") == raised_by;
	bool show = k->c->nospace;
	if (strcmp(action, "DEACTIVATE") == 0) {
		show = k->c->nospace && named;
		if (named)
			k->c->nospace = false;
	}
	/* The one answer without a header. */
	if (show)
		buf_printf(k->out,
			   "{\"alarms\":[{\"memberID\":\"%" PRIu64 "\",\"alarm\":\"NOSPACE\"}]}",
			   raised_by);
	else
		buf_text(k->out, "{}");
}

void etcd_run_defragment(struct etcd_call *k)
{
	etcd_open_answer(k, false, k->view);
	buf_text(k->out, "}");
}

void etcd_run_members(struct etcd_call *k)
{
	etcd_open_answer(k, false, k->view);
	for (unsigned i = 0; i < k->c->n_members; i++) {
		const struct etcd_member *m = &k->c->members[i];
		buf_printf(k->out,
			   "%s{\"ID\":\"%" PRIu64
			   "\",\"name\":\"%s\",\"peerURLs\":[\"http://%s:2380\"],"
			   "\"clientURLs\":[\"http://%s\"]}",
			   i ? "," : ",\"members\":[", m->id, m->name, m->name, m->address);
	}
	buf_text(k->out, "]}");
}

void etcd_run_authenticate(struct etcd_call *k)
{
	etcd_fail(k, 412, 9, "etcdserver: authentication is not enabled");
}
