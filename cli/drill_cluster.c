#include "cli/drill_cluster.h"

#include <errno.h>
#include <ftw.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/mem.h"
#include "cli/local_cluster.h"
#include "cli/local_ready.h"

enum { ETCD = 3, JOBMANAGERS = 3, TASKMANAGERS = 3, SLOTS = 2 };

static enum errc make_directory(struct drill_cluster *k, struct err *e)
{
	char files[80];
	snprintf(k->dir, sizeof(k->dir), "/tmp/weir-drill-XXXXXX");
	if (mkdtemp(k->dir) == NULL) {
		k->dir[0] = '\0';
		return err_errno(e, errno, "make a temporary directory");
	}
	snprintf(files, sizeof(files), "%s/files", k->dir);
	if (mkdir(files, 0755) != 0 || chdir(files) != 0)
		return err_errno(e, errno, "make %s", files);
	return ERR_OK;
}

static enum errc start(struct cli *c, struct drill_cluster *k, const bool *stop, struct err *e)
{
	/* Signatures are not checked; without credentials none would be made. */
	const char *env[] = {"AWS_ACCESS_KEY_ID=drill", "AWS_SECRET_ACCESS_KEY=drill",
			     "AWS_REGION=us-east-1", NULL, NULL};
	char url[160];
	snprintf(url, sizeof(url), "AWS_ENDPOINT_URL_S3=http://%s", drill_store_address(k->store));
	env[3] = url;
	struct local_plan plan = {.etcd = ETCD,
				  .jobmanagers = JOBMANAGERS,
				  .taskmanagers = TASKMANAGERS,
				  .slots = SLOTS,
				  .storage = "s3://drill/weir",
				  .cluster = "drill",
				  .env = env,
				  .net = k->net.n ? k->net.name : NULL};
	struct local_cluster *l;
	enum errc rc = local_cluster_plan(k->dir, &plan, &l, e);
	if (rc)
		return rc;
	rc = local_start_all(c, l, true, stop, e);
	local_cluster_close(l);
	return rc;
}

enum errc drill_cluster_start(struct cli *c, bool network, const bool *stop,
			      struct drill_cluster *out, struct err *e)
{
	*out = (struct drill_cluster){0};
	enum errc rc = network ? drill_net_enter(&out->net, JOBMANAGERS, e) : ERR_OK;
	rc = rc ? rc : make_directory(out, e);
	rc = rc ? rc
		: drill_store_create(c->world, network ? "127.77.0.1" : "127.0.0.1", &out->store,
				     e);
	rc = rc ? rc : start(c, out, stop, e);
	if (rc)
		drill_cluster_stop(out, false);
	return rc;
}

static int remove_one(const char *path, const struct stat *st, int type, struct FTW *at)
{
	(void)st;
	(void)type;
	(void)at;
	return remove(path);
}

/* Nothing of it is wanted any more. Asked to leave, they would wait for each other, and for the
 * store, which is not served while this process waits for them. */
static void kill_all(const struct local_cluster *l)
{
	static const enum local_kind kinds[] = {LOCAL_JOBMANAGER, LOCAL_TASKMANAGER, LOCAL_ETCD};
	for (unsigned k = 0; k < 3; k++) {
		json_t *entry;
		size_t i;
		json_array_foreach (local_cluster_entries(l, kinds[k]), i, entry)
			local_entry_signal(entry, SIGKILL);
	}
}

void drill_cluster_stop(struct drill_cluster *k, bool keep)
{
	struct local_cluster *l;
	if (k->dir[0] && local_cluster_open(k->dir, &l, NULL) == ERR_OK) {
		kill_all(l);
		(void)local_cluster_stop(l);
		local_cluster_close(l);
	}
	drill_store_destroy(k->store);
	k->store = NULL;
	drill_net_leave(&k->net);
	if (k->dir[0] && !keep && chdir("/") == 0)
		(void)nftw(k->dir, remove_one, 16, FTW_DEPTH | FTW_PHYS);
}
