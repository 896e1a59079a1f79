#include "jobmanager/settings.h"

#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/ids.h"
#include "base/text.h"

const struct option settings_table[] = {
	{.key = "id",
	 .flag = "--id",
	 .type = OPTION_TEXT,
	 .value = "NAME",
	 .help = "name of this JobManager, unique in the cluster; default: the host's name"},
	{.key = "cluster",
	 .flag = "--cluster",
	 .type = OPTION_TEXT,
	 .fallback = "default",
	 .value = "NAME",
	 .help = "name of the cluster: part of every key in etcd"},
	{.key = "etcd.endpoints",
	 .flag = "--etcd",
	 .type = OPTION_LIST,
	 .fallback = "http://127.0.0.1:2379",
	 .value = "URL,...",
	 .help = "members of etcd"},
	{.key = "etcd.prefix",
	 .flag = "--prefix",
	 .type = OPTION_TEXT,
	 .fallback = "weir",
	 .value = "NAME",
	 .help = "first part of every key"},
	{.key = "etcd.dedicated",
	 .flag = "--etcd-dedicated",
	 .type = OPTION_BOOL,
	 .fallback = "false",
	 .help = "etcd is Weir's alone: the leader compacts old revisions"},
	{.key = "etcd.fixed",
	 .flag = "--etcd-fixed",
	 .type = OPTION_BOOL,
	 .fallback = "false",
	 .help = "ask only the members that are given, not those that etcd lists"},
	{.key = "etcd.user", .type = OPTION_TEXT, .help = "user of etcd"},
	{.key = "etcd.password", .type = OPTION_TEXT, .secret = true, .help = "its password"},
	{.key = "etcd.caFile",
	 .type = OPTION_TEXT,
	 .value = "FILE",
	 .help = "CA of https endpoints"},
	{.key = "etcd.certFile",
	 .type = OPTION_TEXT,
	 .value = "FILE",
	 .help = "client certificate"},
	{.key = "etcd.keyFile", .type = OPTION_TEXT, .value = "FILE", .help = "its key"},
	{.key = "lease",
	 .type = OPTION_DURATION,
	 .fallback = "5s",
	 .min = 2000,
	 .max = 60000,
	 .help = "a leader that is silent for so long is replaced"},
	{.key = "listen",
	 .flag = "--listen",
	 .type = OPTION_TEXT,
	 .fallback = "127.0.0.1:8081",
	 .value = "HOST:PORT",
	 .help = "REST for users"},
	{.key = "clusterListen",
	 .flag = "--cluster-listen",
	 .type = OPTION_TEXT,
	 .fallback = "127.0.0.1:6123",
	 .value = "HOST:PORT",
	 .help = "for TaskManagers and other JobManagers"},
	{.key = "advertise",
	 .flag = "--advertise",
	 .type = OPTION_TEXT,
	 .value = "HOST",
	 .help = "host by which others reach this process; default: the one it listens on"},
	{.key = "storage.url",
	 .flag = "--storage",
	 .type = OPTION_TEXT,
	 .value = "URL",
	 .help = "checkpoints: s3://bucket/prefix or file:///directory"},
	{.key = "s3.endpoint",
	 .type = OPTION_TEXT,
	 .value = "URL",
	 .help = "S3 gateway; default: AWS"},
	{.key = "s3.region", .type = OPTION_TEXT, .help = "region; default us-east-1"},
	{.key = "s3.pathStyle",
	 .type = OPTION_BOOL,
	 .fallback = "false",
	 .help = "bucket in the path; implied by an endpoint of one's own"},
	{.key = "s3.virtualHostStyle",
	 .type = OPTION_BOOL,
	 .fallback = "false",
	 .help = "bucket in the host's name, with an endpoint of one's own too"},
	{.key = "s3.caFile", .type = OPTION_TEXT, .value = "FILE", .help = "CA of the gateway"},
	{.key = "s3.accessKey", .type = OPTION_TEXT, .help = "access key"},
	{.key = "s3.secretKey", .type = OPTION_TEXT, .secret = true, .help = "secret key"},
	{.key = "s3.sessionToken", .type = OPTION_TEXT, .secret = true, .help = "session token"},
	{.key = "s3.credentialsFile",
	 .type = OPTION_TEXT,
	 .value = "FILE",
	 .help = "as of the AWS tools; default ~/.aws/credentials"},
	{.key = "s3.profile", .type = OPTION_TEXT, .help = "section of that file"},
	{.key = "heartbeatTimeout",
	 .type = OPTION_DURATION,
	 .fallback = "5s",
	 .min = 1000,
	 .max = 600000,
	 .help = "a TaskManager that is silent for so long is lost"},
	{.key = "reconcileGrace",
	 .type = OPTION_DURATION,
	 .fallback = "5s",
	 .min = 100,
	 .max = 600000,
	 .help = "a new leader waits so long for the TaskManagers of running jobs"},
	{.key = "orphanTimeout",
	 .type = OPTION_DURATION,
	 .fallback = "1min",
	 .min = 1000,
	 .max = 86400000,
	 .help = "tasks that hear of no JobManager for so long stop"},
	{.key = "alignmentLimit",
	 .type = OPTION_DURATION,
	 .fallback = "10s",
	 .min = 100,
	 .max = 600000,
	 .help = "without a leader, a task gives a checkpoint up that holds its channels for so long"},
	{.key = "logDir",
	 .flag = "--log-dir",
	 .type = OPTION_TEXT,
	 .value = "DIR",
	 .help = "also log to DIR/<id>.log (10 MiB, five kept)"},
	{.key = "logLevel",
	 .flag = "--log-level",
	 .type = OPTION_TEXT,
	 .fallback = "info",
	 .value = "LEVEL",
	 .help = "error, warn, info or debug"},
	{.key = NULL}};

static enum errc settings_id(const struct options *o, char host[NODE_ID_MAX],
			     struct jm_node_config *out, struct err *e)
{
	const char *id = options_text(o, "id");
	if (id == NULL) {
		if (gethostname(host, NODE_ID_MAX) != 0)
			snprintf(host, NODE_ID_MAX, "jobmanager");
		host[NODE_ID_MAX - 1] = '\0';
		id = host;
	}
	out->ha.id = id;
	enum errc rc = node_id_check(id, e);
	return rc ? err_wrap(e, rc, "--id") : ERR_OK;
}

/* etcd's certificates; a client certificate and its key come together or not at all. */
static enum errc settings_etcd_tls(const struct options *o, struct world_tls *tls,
				   struct ha_config *h, struct err *e)
{
	*tls = (struct world_tls){.ca_file = options_text(o, "etcd.caFile"),
				  .cert_file = options_text(o, "etcd.certFile"),
				  .key_file = options_text(o, "etcd.keyFile")};
	if ((tls->cert_file == NULL) != (tls->key_file == NULL))
		return err_set(e, ERR_INVALID, "etcd.certFile and etcd.keyFile: give both");
	if (tls->ca_file || tls->cert_file)
		h->tls = tls;
	return ERR_OK;
}

static enum errc settings_ha(const struct options *o, struct ha_config *h, struct err *e)
{
	unsigned n;
	const char *const *list = options_list(o, "etcd.endpoints", &n);
	if (n == 0 || n > HA_ENDPOINTS_MAX)
		return err_set(e, ERR_INVALID, "--etcd: from 1 to %d members", HA_ENDPOINTS_MAX);
	for (unsigned i = 0; i < n; i++) {
		if (!text_starts(list[i], "http://") && !text_starts(list[i], "https://"))
			return err_set(e, ERR_INVALID,
				       "--etcd: \"%.80s\" is not http:// or https://", list[i]);
		h->endpoints[i] = list[i];
	}
	h->n_endpoints = n;
	h->prefix = options_text(o, "etcd.prefix");
	h->cluster = options_text(o, "cluster");
	h->user = options_text(o, "etcd.user");
	h->password = options_text(o, "etcd.password");
	h->dedicated = options_bool(o, "etcd.dedicated");
	h->fixed = options_bool(o, "etcd.fixed");
	h->lease_s = (uint32_t)(options_ms(o, "lease") / 1000);
	h->pid = getpid();
	enum errc rc = node_id_check(h->cluster, e);
	if (rc)
		return err_wrap(e, rc, "--cluster");
	rc = node_id_check(h->prefix, e);
	return rc ? err_wrap(e, rc, "--prefix") : ERR_OK;
}

enum errc settings_node(const struct options *o, char host[NODE_ID_MAX], struct world_tls *etcd_tls,
			struct jm_node_config *out, struct err *e)
{
	*out = (struct jm_node_config){0};
	enum errc rc = settings_id(o, host, out, e);
	if (rc == ERR_OK)
		rc = settings_ha(o, &out->ha, e);
	if (rc == ERR_OK)
		rc = settings_etcd_tls(o, etcd_tls, &out->ha, e);
	if (rc)
		return rc;
	out->listen = options_text(o, "listen");
	out->cluster_listen = options_text(o, "clusterListen");
	out->advertise = options_text(o, "advertise");
	out->jm.storage = options_text(o, "storage.url");
	out->jm.heartbeat_timeout_ms = options_ms(o, "heartbeatTimeout");
	out->jm.reconcile_grace_ms = options_ms(o, "reconcileGrace");
	out->jm.orphan_timeout_ms = options_ms(o, "orphanTimeout");
	out->jm.alignment_limit_ms = options_ms(o, "alignmentLimit");
	if (out->jm.storage == NULL)
		return err_set(e, ERR_INVALID,
			       "--storage is missing: s3://bucket/prefix or file:///directory");
	return ERR_OK;
}

void settings_storage(const struct options *o, struct storage_config *out)
{
	*out = (struct storage_config){.url = options_text(o, "storage.url"),
				       .endpoint = options_text(o, "s3.endpoint"),
				       .region = options_text(o, "s3.region"),
				       .path_style = options_bool(o, "s3.pathStyle"),
				       .virtual_host_style = options_bool(o, "s3.virtualHostStyle"),
				       .ca_file = options_text(o, "s3.caFile"),
				       .access_key = options_text(o, "s3.accessKey"),
				       .secret_key = options_text(o, "s3.secretKey"),
				       .session_token = options_text(o, "s3.sessionToken"),
				       .credentials_file = options_text(o, "s3.credentialsFile"),
				       .profile = options_text(o, "s3.profile")};
	storage_config_env(out);
}
