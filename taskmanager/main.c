/*
 * weir-taskmanager - offers slots to the leader and supervises one worker
 * process per region attempt. With --worker as its first argument it is such a
 * worker (worker.h): only the agent starts it so.
 */
#include <curl/curl.h>
#include <errno.h>
#include <inttypes.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/limits.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/options.h"
#include "base/text.h"
#include "state/blob_offload.h"
#include "state/storage.h"
#include "taskmanager/agent.h"
#include "taskmanager/connectors/connectors.h"
#include "taskmanager/dataport.h"
#include "taskmanager/worker.h"
#include "world/ev.h"

enum { EXIT_USAGE = 2, AGENT_BYTES = 64 << 20 };

static const char *const levels[] = {"error", "warn", "info", "debug", NULL};

static const struct option table[] = {
	{.key = "id",
	 .flag = "--id",
	 .type = OPTION_TEXT,
	 .value = "NAME",
	 .help = "name of this TaskManager; default: host name and process id"},
	{.key = "jobmanagers",
	 .flag = "--jobmanagers",
	 .type = OPTION_LIST,
	 .fallback = "127.0.0.1:6123",
	 .value = "HOST:PORT,...",
	 .help = "cluster addresses of the JobManagers, any of them leads"},
	{.key = "slots",
	 .flag = "--slots",
	 .type = OPTION_U64,
	 .fallback = "1",
	 .min = 1,
	 .max = LIMIT_SLOTS,
	 .help = "how many subtasks of one vertex may run here at once"},
	{.key = "dataListen",
	 .flag = "--data-listen",
	 .type = OPTION_TEXT,
	 .fallback = "127.0.0.1:0",
	 .value = "HOST:PORT",
	 .help = "where other TaskManagers' data comes in; port 0: any free one"},
	{.key = "dataAdvertise",
	 .flag = "--data-advertise",
	 .type = OPTION_TEXT,
	 .value = "HOST",
	 .help = "name or address under which others reach the data port; default: as bound, or the "
		 "host name if bound to every address"},
	{.key = "workDir",
	 .flag = "--work-dir",
	 .type = OPTION_TEXT,
	 .value = "DIR",
	 .help = "scratch space of workers, created if missing"},
	{.key = "localCopies",
	 .flag = "--local-copies",
	 .type = OPTION_BOOL,
	 .fallback = "true",
	 .help = "keep the newest snapshots of this machine's tasks in the work directory, too, and "
		 "restore from there where possible"},
	{.key = "localCopyBytes",
	 .flag = "--local-copy-bytes",
	 .type = OPTION_SIZE,
	 .fallback = "4GiB",
	 .help = "room for them; what does not fit is restored from checkpoint storage"},
	{.key = "filesRoot",
	 .flag = "--files-root",
	 .type = OPTION_TEXT,
	 .fallback = ".",
	 .value = "DIR",
	 .help = "directory below which file sources and sinks may work"},
	{.key = "logDir",
	 .flag = "--log-dir",
	 .type = OPTION_TEXT,
	 .value = "DIR",
	 .help = "directory of log files; default: stderr only"},
	{.key = "logLevel",
	 .flag = "--log-level",
	 .type = OPTION_TEXT,
	 .fallback = "info",
	 .choices = levels,
	 .help = "how much to log"},
	{.key = "metricsInterval",
	 .type = OPTION_DURATION,
	 .fallback = "0ms",
	 .max = 60000,
	 .help = "how often workers log a line of counters; 0ms: never"},
	{.key = "memory",
	 .flag = "--memory",
	 .type = OPTION_SIZE,
	 .help = "memory of all workers together; default: the cgroup's limit, else four fifths of "
		 "the machine's, less 128 MiB"},
	{.key = "s3.endpoint", .type = OPTION_TEXT, .value = "URL", .help = "S3 endpoint"},
	{.key = "s3.region", .type = OPTION_TEXT, .help = "S3 region"},
	{.key = "s3.accessKey", .type = OPTION_TEXT, .help = "S3 access key"},
	{.key = "s3.secretKey", .type = OPTION_TEXT, .secret = true, .help = "S3 secret key"},
	{.key = "s3.sessionToken", .type = OPTION_TEXT, .secret = true, .help = "S3 session token"},
	{.key = "s3.caFile", .type = OPTION_TEXT, .value = "FILE", .help = "CA of the S3 endpoint"},
	{.key = "s3.credentialsFile",
	 .type = OPTION_TEXT,
	 .value = "FILE",
	 .help = "shared credentials file; default ~/.aws/credentials"},
	{.key = "s3.profile", .type = OPTION_TEXT, .help = "profile in that file"},
	{.key = "s3.virtualHostStyle",
	 .type = OPTION_BOOL,
	 .help = "bucket in the host name; default without an endpoint"},
	{.key = "s3.pathStyle",
	 .type = OPTION_BOOL,
	 .help = "bucket in the path, not in the host name; default with an endpoint"},
	{0}};

struct taskmanager {
	struct world *w;
	struct options *options;
	struct dataport *dataport;
	struct agent_port port;
	struct agent *agent;
	char id[NODE_ID_MAX];
	char host[64];
	char data_address[128];
	char program[PATH_MAX], files_root[PATH_MAX];
	json_t *settings;
	struct storage *storage;
	struct blob_offload *blobs;
	struct agent_config config;
};

/* ---- storage, to read its cookie ---- */

static struct blob_port *open_storage(void *owner, const char *url, struct err *e)
{
	struct taskmanager *tm = owner;
	const struct options *o = tm->options;
	struct storage_config c = {.url = url,
				   .endpoint = options_text(o, "s3.endpoint"),
				   .region = options_text(o, "s3.region"),
				   .access_key = options_text(o, "s3.accessKey"),
				   .secret_key = options_text(o, "s3.secretKey"),
				   .session_token = options_text(o, "s3.sessionToken"),
				   .ca_file = options_text(o, "s3.caFile"),
				   .credentials_file = options_text(o, "s3.credentialsFile"),
				   .profile = options_text(o, "s3.profile"),
				   .virtual_host_style = options_bool(o, "s3.virtualHostStyle"),
				   .path_style = options_bool(o, "s3.pathStyle")};
	struct storage *fresh = NULL;
	storage_config_env(&c);
	if (tm->storage && strcmp(storage_root(tm->storage), url) == 0)
		return blob_offload_port(tm->blobs);
	if (storage_open(&c, &fresh, e))
		return NULL;
	blob_offload_destroy(tm->blobs);
	/* The one before may still be at work for a cancelled call: it is left to the process. */
	tm->storage = fresh;
	tm->blobs = blob_offload_create(tm->w, fresh);
	return blob_offload_port(tm->blobs);
}

/* ---- the data port behind the agent's narrow view of it ---- */

static int port_open(struct agent_port *p, const struct job_id *job, uint32_t region,
		     struct attempt attempt)
{
	return dataport_open(MEM_OWNER(p, struct taskmanager, port)->dataport, job, region,
			     attempt);
}

static void port_close(struct agent_port *p, const struct job_id *job, uint32_t region,
		       struct attempt attempt)
{
	dataport_close(MEM_OWNER(p, struct taskmanager, port)->dataport, job, region, attempt);
}

/* ---- configuration ---- */

static void default_id(char out[NODE_ID_MAX], const char *host)
{
	snprintf(out, NODE_ID_MAX, "%.40s-%ld", host, (long)getpid());
	for (char *c = out; *c; c++)
		if (!strchr("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789._-",
			    *c))
			*c = '_';
}

static enum errc choose_id(struct taskmanager *tm, struct err *e)
{
	const char *given = options_text(tm->options, "id");
	if (gethostname(tm->host, sizeof(tm->host) - 1) != 0 || !tm->host[0])
		snprintf(tm->host, sizeof(tm->host), "localhost");
	if (!given) {
		default_id(tm->id, tm->host);
		return ERR_OK;
	}
	enum errc rc = node_id_check(given, e);
	if (rc)
		return err_wrap(e, rc, "--id");
	snprintf(tm->id, sizeof(tm->id), "%s", given);
	return ERR_OK;
}

/* What others are told: the bound address, with a name in place of "every address". */
static void choose_address(struct taskmanager *tm)
{
	const char *bound = dataport_address(tm->dataport);
	const char *name = options_text(tm->options, "dataAdvertise");
	const char *port = strrchr(bound, ':');
	if (!name && (text_starts(bound, "0.0.0.0:") || text_starts(bound, "[::]:")))
		name = tm->host;
	if (name)
		snprintf(tm->data_address, sizeof(tm->data_address), "%.100s%s", name, port);
	else
		snprintf(tm->data_address, sizeof(tm->data_address), "%s", bound);
}

static uint64_t read_number(const char *path)
{
	char text[32] = "";
	uint64_t v = 0;
	FILE *f = fopen(path, "r");
	if (!f)
		return 0;
	if (fgets(text, sizeof(text), f))
		text[strcspn(text, "\n")] = '\0';
	fclose(f);
	return text_u64(text, &v, NULL) ? 0 : v; /* "max": no limit */
}

static uint64_t slot_bytes(const struct options *o)
{
	uint64_t all = options_bytes(o, "memory");
	if (!all) {
		uint64_t limit = read_number("/sys/fs/cgroup/memory.max");
		uint64_t machine =
			(uint64_t)sysconf(_SC_PHYS_PAGES) * (uint64_t)sysconf(_SC_PAGESIZE) / 5 * 4;
		all = limit && limit < machine ? limit : machine;
		all = all > 4 * (uint64_t)AGENT_BYTES ? all - 2 * (uint64_t)AGENT_BYTES : all / 2;
	}
	return all / options_u64(o, "slots");
}

static json_t *worker_settings(const struct taskmanager *tm)
{
	static const char *const passed[][2] = {{"s3.endpoint", "s3Endpoint"},
						{"s3.region", "s3Region"},
						{"s3.accessKey", "s3AccessKey"},
						{"s3.secretKey", "s3SecretKey"},
						{"s3.sessionToken", "s3SessionToken"},
						{"s3.caFile", "s3CaFile"},
						{"s3.credentialsFile", "s3CredentialsFile"},
						{"s3.profile", "s3Profile"}};
	const struct options *o = tm->options;
	json_t *s = json_object();
	json_object_set_new(s, "filesRoot", json_string(tm->files_root));
	json_object_set_new(s, "logLevel", json_string(options_text(o, "logLevel")));
	json_object_set_new(s, "metricsMs",
			    json_integer((json_int_t)options_ms(o, "metricsInterval")));
	if (options_text(o, "workDir"))
		json_object_set_new(s, "workDir", json_string(options_text(o, "workDir")));
	if (options_text(o, "workDir") && options_bool(o, "localCopies"))
		json_object_set_new(s, "localCopyBytes",
				    json_integer((json_int_t)options_bytes(o, "localCopyBytes")));
	for (size_t i = 0; i < sizeof(passed) / sizeof(passed[0]); i++)
		if (options_text(o, passed[i][0]))
			json_object_set_new(s, passed[i][1],
					    json_string(options_text(o, passed[i][0])));
	if (options_origin(o, "s3.virtualHostStyle") != OPTION_UNSET)
		json_object_set_new(s, "s3VirtualHostStyle",
				    json_boolean(options_bool(o, "s3.virtualHostStyle")));
	if (options_origin(o, "s3.pathStyle") != OPTION_UNSET)
		json_object_set_new(s, "s3PathStyle",
				    json_boolean(options_bool(o, "s3.pathStyle")));
	return s;
}

static enum errc make_dir(const char *path, struct err *e)
{
	if (path && mkdir(path, 0777) != 0 && errno != EEXIST)
		return err_errno(e, errno, "make the directory %s", path);
	return ERR_OK;
}

static enum errc configure(struct taskmanager *tm, struct err *e)
{
	const struct options *o = tm->options;
	ssize_t n = readlink("/proc/self/exe", tm->program, sizeof(tm->program) - 1);
	enum log_level level = LOG_LEVEL_INFO;
	enum errc rc = choose_id(tm, e);
	if (!rc && n <= 0)
		rc = err_errno(e, errno, "find this program");
	if (!rc)
		rc = make_dir(options_text(o, "workDir"), e);
	if (!rc && !realpath(options_text(o, "filesRoot"), tm->files_root))
		rc = err_errno(e, errno, "files root %s", options_text(o, "filesRoot"));
	if (!rc)
		rc = log_level_parse(options_text(o, "logLevel"), &level, e);
	if (!rc)
		rc = make_dir(options_text(o, "logDir"), e);
	if (!rc)
		rc = log_open(tm->id, options_text(o, "logDir"), level, e);
	if (!rc)
		rc = dataport_create(options_text(o, "dataListen"), &tm->dataport, e);
	return rc;
}

/* ---- the loop ---- */

static void stopped(void *owner)
{
	world_stop(((struct taskmanager *)owner)->w);
}

static void on_signal(void *ctx, int signal)
{
	(void)signal;
	agent_stop(((struct taskmanager *)ctx)->agent);
}

static enum errc serve(struct taskmanager *tm, struct err *e)
{
	const struct options *o = tm->options;
	const char *argv[] = {tm->program, "--worker", NULL};
	unsigned n = 0;
	const char *const *jobmanagers = options_list(o, "jobmanagers", &n);
	if (n == 0 || n > AGENT_PEERS_MAX)
		return err_set(e, ERR_INVALID, "--jobmanagers: 1 to %d addresses", AGENT_PEERS_MAX);
	choose_address(tm);
	tm->port = (struct agent_port){.open = port_open, .close = port_close};
	tm->settings = worker_settings(tm);
	tm->config = (struct agent_config){.id = tm->id,
					   .jobmanagers = jobmanagers,
					   .n_jobmanagers = n,
					   .slots = (uint32_t)options_u64(o, "slots"),
					   .pid = getpid(),
					   .data_address = tm->data_address,
					   .rest_host = tm->host,
					   .port = &tm->port,
					   .worker_argv = argv,
					   .log_dir = options_text(o, "logDir"),
					   .worker_settings = tm->settings,
					   .slot_bytes = slot_bytes(o),
					   .storage = open_storage,
					   .owner = tm,
					   .stopped = stopped};
	tm->w = world_ev_create(e);
	if (!tm->w)
		return ERR_IO;
	log_line(LOG_LEVEL_INFO, "TaskManager %s offers %u slots, data at %s", tm->id,
		 tm->config.slots, tm->data_address);
	tm->agent = agent_create(tm->w, &tm->config);
	world_ev_on_signals(tm->w, on_signal, tm);
	world_ev_run(tm->w);
	agent_destroy(tm->agent);
	blob_offload_destroy(tm->blobs);
	world_ev_destroy(tm->w);
	return ERR_OK;
}

static int run(struct taskmanager *tm, int argc, char **argv, char **env)
{
	struct err e = {0};
	struct buf help = {0};
	tm->options = options_create();
	options_add(tm->options, table);
	enum errc rc = options_load(tm->options, argc, (const char *const *)argv,
				    (const char *const *)env, &e);
	if (!rc && options_help_wanted(tm->options)) {
		options_help(tm->options, &help);
		printf("weir-taskmanager: offers slots to a Weir cluster and runs its tasks\n\n%s",
		       help.data ? help.data : "");
		buf_fini(&help);
		return EXIT_SUCCESS;
	}
	if (!rc && options_version_wanted(tm->options)) {
		printf("weir-taskmanager %s\n", WEIR_VERSION);
		return EXIT_SUCCESS;
	}
	if (rc) {
		fprintf(stderr, "weir-taskmanager: %s\n", e.text);
		return EXIT_USAGE;
	}
	rc = configure(tm, &e);
	if (!rc)
		rc = serve(tm, &e);
	if (rc)
		fprintf(stderr, "weir-taskmanager: %s\n", e.text);
	return rc ? EXIT_FAILURE : EXIT_SUCCESS;
}

int main(int argc, char **argv, char **env)
{
	if (argc > 1 && strcmp(argv[1], "--worker") == 0)
		return worker_main(connector_op_types, argc - 1, argv + 1);
	struct taskmanager tm = {0};
	curl_global_init(CURL_GLOBAL_DEFAULT);
	int status = run(&tm, argc, argv, env);
	dataport_destroy(tm.dataport);
	storage_close(tm.storage);
	json_decref(tm.settings);
	options_destroy(tm.options);
	log_close();
	curl_global_cleanup();
	return status;
}
