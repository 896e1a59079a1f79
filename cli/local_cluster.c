#include "cli/local_cluster.h"

#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <limits.h>
#include <poll.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/json.h"
#include "base/mem.h"
#include "base/text.h"
#include "base/yaml.h"
#include "cli/local_process.h"

enum { RECORD_MAX = 4 << 20, LOCK_WAIT_MS = 60000, STOP_WAIT_MS = 10000, STEP_MS = 10 };

struct local_cluster {
	char *dir; /* owns; absolute */
	int lock;
	json_t *doc; /* owns: the record */
};

static const char *const kind_keys[] = {"etcd", "jobmanagers", "taskmanagers"};

/* Not the world's time: this waits for processes and locks only, in a program of one thread. */
static void step(void)
{
	(void)poll(NULL, 0, STEP_MS);
}

static const char *text_of(const json_t *o, const char *name)
{
	const char *text = json_string_value(json_object_get(o, name));
	return text ? text : "";
}

/* ---- the record ---- */

static enum errc take_lock(struct local_cluster *l, struct err *e)
{
	char *path = mem_printf("%s/local.lock", l->dir);
	l->lock = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0644);
	enum errc rc = l->lock < 0 ? err_errno(e, errno, "open %s", path) : ERR_OK;
	unsigned waited = 0;
	while (rc == ERR_OK && flock(l->lock, LOCK_EX | LOCK_NB) != 0) {
		if (waited >= LOCK_WAIT_MS)
			rc = err_set(e, ERR_UNAVAILABLE, "%s is held by another weir local", path);
		step();
		waited += STEP_MS;
	}
	free(path);
	return rc;
}

static enum errc save(struct local_cluster *l, struct err *e)
{
	char *path = mem_printf("%s/local.json", l->dir);
	char *fresh = mem_printf("%s.new", path);
	enum errc rc = ERR_OK;
	if (json_dump_file(l->doc, fresh, JSON_INDENT(1)) != 0 || rename(fresh, path) != 0)
		rc = err_errno(e, errno, "write %s", path);
	free(path);
	free(fresh);
	return rc;
}

void local_cluster_close(struct local_cluster *l)
{
	if (l == NULL)
		return;
	if (l->lock >= 0)
		close(l->lock);
	json_decref(l->doc);
	free(l->dir);
	free(l);
}

static enum errc open_dir(const char *dir, struct local_cluster **out, struct err *e)
{
	char *real = realpath(dir, NULL);
	if (real == NULL)
		return err_errno(e, errno, "%s", dir);
	struct local_cluster *l = mem_alloc(sizeof(*l));
	l->dir = real;
	l->lock = -1;
	enum errc rc = take_lock(l, e);
	if (rc)
		local_cluster_close(l);
	else
		*out = l;
	return rc;
}

static bool has_record(const struct local_cluster *l)
{
	char *path = mem_printf("%s/local.json", l->dir);
	bool there = access(path, F_OK) == 0;
	free(path);
	return there;
}

enum errc local_cluster_open(const char *dir, struct local_cluster **out, struct err *e)
{
	struct local_cluster *l;
	enum errc rc = open_dir(dir, &l, e);
	if (rc)
		return rc;
	if (!has_record(l)) {
		rc = err_set(e, ERR_NOTFOUND, "%s: no cluster was ever started here", dir);
	} else {
		char *path = mem_printf("%s/local.json", l->dir);
		rc = yaml_read_file(path, RECORD_MAX, &l->doc, e);
		free(path);
	}
	if (rc)
		local_cluster_close(l);
	else
		*out = l;
	return rc;
}

/* ---- what to run ---- */

/* Append formatted arguments: "--id %s" becomes two of them only if written as two calls. */
static void arg(json_t *argv, const char *fmt, ...) PRINTF_LIKE(2, 3);

static void arg(json_t *argv, const char *fmt, ...)
{
	char *text = NULL;
	va_list ap;
	va_start(ap, fmt);
	int n = vasprintf(&text, fmt, ap);
	va_end(ap);
	if (n >= 0)
		json_array_append_new(argv, json_string(text));
	free(text);
}

/* A program that was built with this one: beside it. */
static void program(json_t *argv, const char *name)
{
	char self[PATH_MAX];
	ssize_t n = readlink("/proc/self/exe", self, sizeof(self) - 1);
	self[n > 0 ? n : 0] = '\0';
	char *slash = strrchr(self, '/');
	if (slash)
		arg(argv, "%.*s/%s", (int)(slash - self), self, name);
	else
		arg(argv, "%s", name);
}

/* It becomes the program: the pid stays. */
static void environment(const struct local_cluster *l, json_t *argv)
{
	const json_t *all = json_object_get(l->doc, "env"), *one;
	size_t i;
	if (json_array_size(all))
		arg(argv, "env");
	json_array_foreach (all, i, one)
		arg(argv, "%s", json_string_value(one));
}

static char *joined(const struct local_cluster *l, enum local_kind kind, const char *prefix,
		    const char *member)
{
	struct buf b = {0};
	json_t *entry;
	size_t i;
	buf_text(&b, "");
	json_array_foreach (local_cluster_entries(l, kind), i, entry)
		buf_printf(&b, "%s%s%s", i ? "," : "", prefix, text_of(entry, member));
	return buf_take(&b, NULL);
}

static void etcd_command(const struct local_cluster *l, json_t *entry)
{
	json_t *argv = json_array();
	const char *name = text_of(entry, "name");
#if defined(__aarch64__)
	arg(argv, "env"); /* Debian's etcd wants this said on arm64 */
	arg(argv, "ETCD_UNSUPPORTED_ARCH=arm64");
#endif
	arg(argv, "etcd");
	arg(argv, "--name=%s", name);
	arg(argv, "--data-dir=%s/%s", l->dir, name);
	arg(argv, "--listen-client-urls=http://%s", text_of(entry, "address"));
	arg(argv, "--advertise-client-urls=http://%s", text_of(entry, "address"));
	arg(argv, "--listen-peer-urls=http://%s", text_of(entry, "peerAddress"));
	arg(argv, "--initial-advertise-peer-urls=http://%s", text_of(entry, "peerAddress"));
	struct buf members = {0};
	json_t *other;
	size_t i;
	json_array_foreach (local_cluster_entries(l, LOCAL_ETCD), i, other)
		buf_printf(&members, "%s%s=http://%s", i ? "," : "", text_of(other, "name"),
			   text_of(other, "peerAddress"));
	arg(argv, "--initial-cluster=%s", members.data);
	buf_fini(&members);
	arg(argv, "--initial-cluster-token=%s", text_of(l->doc, "cluster"));
	arg(argv, "--initial-cluster-state=new");
	arg(argv, "--heartbeat-interval=50");
	arg(argv, "--election-timeout=500");
	json_object_set_new(entry, "argv", argv);
}

static void common_flags(const struct local_cluster *l, json_t *argv, const char *name)
{
	arg(argv, "--id");
	arg(argv, "%s", name);
	arg(argv, "--log-dir");
	arg(argv, "%s/logs", l->dir);
}

static void jobmanager_command(const struct local_cluster *l, json_t *entry)
{
	json_t *argv = json_array();
	char *etcd = joined(l, LOCAL_ETCD, "http://", "address");
	const char *namespace = text_of(entry, "namespace");
	if (namespace[0]) {
		/* It becomes the program: the pid stays. */
		arg(argv, "ip");
		arg(argv, "netns");
		arg(argv, "exec");
		arg(argv, "%s", namespace);
	}
	environment(l, argv);
	program(argv, "weir-jobmanager");
	common_flags(l, argv, text_of(entry, "name"));
	arg(argv, "--etcd");
	arg(argv, "%s", etcd);
	arg(argv, "--listen");
	arg(argv, "%s", text_of(entry, "address"));
	arg(argv, "--cluster-listen");
	arg(argv, "%s", text_of(entry, "clusterAddress"));
	arg(argv, "--storage");
	arg(argv, "%s", text_of(l->doc, "storage"));
	arg(argv, "--cluster");
	arg(argv, "%s", text_of(l->doc, "cluster"));
	arg(argv, "--prefix");
	arg(argv, "weir");
	arg(argv, "--etcd-dedicated");
	free(etcd);
	json_object_set_new(entry, "argv", argv);
}

static void taskmanager_command(const struct local_cluster *l, json_t *entry)
{
	json_t *argv = json_array();
	const char *name = text_of(entry, "name");
	char *jobmanagers = joined(l, LOCAL_JOBMANAGER, "", "clusterAddress");
	environment(l, argv);
	program(argv, "weir-taskmanager");
	common_flags(l, argv, name);
	arg(argv, "--jobmanagers");
	arg(argv, "%s", jobmanagers);
	arg(argv, "--slots");
	arg(argv, "%" JSON_INTEGER_FORMAT, json_integer_value(json_object_get(l->doc, "slots")));
	arg(argv, "--data-listen");
	arg(argv, "127.0.0.1:0");
	arg(argv, "--work-dir");
	arg(argv, "%s/%s", l->dir, name);
	arg(argv, "--files-root");
	arg(argv, "%s", text_of(l->doc, "filesRoot"));
	free(jobmanagers);
	json_object_set_new(entry, "argv", argv);
}

/* ---- planning ---- */

static enum errc make_dir(const char *parent, const char *name, struct err *e)
{
	char *path = mem_printf("%s/%s", parent, name);
	enum errc rc = ERR_OK;
	if (mkdir(path, 0755) != 0 && errno != EEXIST)
		rc = err_errno(e, errno, "make directory %s", path);
	free(path);
	return rc;
}

static json_t *add_entry(struct local_cluster *l, enum local_kind kind, const char *stem,
			 unsigned number)
{
	char *name = mem_printf("%s-%u", stem, number);
	json_t *entry = json_pack("{s:s}", "name", name);
	json_array_append_new(json_object_get(l->doc, kind_keys[kind]), entry);
	free(name);
	return entry;
}

static void set_address(json_t *entry, const char *member, const char *host, unsigned port)
{
	char *address = mem_printf("%s:%u", host, port);
	json_object_set_new(entry, member, json_string(address));
	free(address);
}

static void plan_jobmanager(struct local_cluster *l, const struct local_plan *plan, unsigned i,
			    const unsigned *ports)
{
	json_t *entry = add_entry(l, LOCAL_JOBMANAGER, "jm", i + 1);
	char host[32] = "127.0.0.1";
	if (plan->net) {
		char *namespace = mem_printf("%s-%u", plan->net, i + 1);
		json_object_set_new(entry, "namespace", json_string(namespace));
		free(namespace);
		snprintf(host, sizeof(host), "127.77.0.%u", i + 11);
	}
	set_address(entry, "address", host, i == 0 && plan->port ? plan->port : ports[0]);
	set_address(entry, "clusterAddress", host, ports[1]);
}

static void plan_entries(struct local_cluster *l, const struct local_plan *plan,
			 const unsigned *ports)
{
	const char *host = plan->net ? "127.77.0.2" : "127.0.0.1";
	for (unsigned i = 0; i < plan->etcd; i++) {
		json_t *entry = add_entry(l, LOCAL_ETCD, "etcd", i + 1);
		set_address(entry, "address", host, *ports++);
		set_address(entry, "peerAddress", host, *ports++);
	}
	for (unsigned i = 0; i < plan->jobmanagers; i++, ports += 2)
		plan_jobmanager(l, plan, i, ports);
	for (unsigned i = 0; i < plan->taskmanagers; i++)
		add_entry(l, LOCAL_TASKMANAGER, "tm", i + 1);
	json_t *entry;
	size_t k;
	json_array_foreach (local_cluster_entries(l, LOCAL_ETCD), k, entry)
		etcd_command(l, entry);
	json_array_foreach (local_cluster_entries(l, LOCAL_JOBMANAGER), k, entry)
		jobmanager_command(l, entry);
	json_array_foreach (local_cluster_entries(l, LOCAL_TASKMANAGER), k, entry)
		taskmanager_command(l, entry);
}

static enum errc fill(struct local_cluster *l, const struct local_plan *plan, struct err *e)
{
	unsigned ports[2 * (LOCAL_ETCD_MAX + LOCAL_JOBMANAGERS_MAX)];
	char root[PATH_MAX];
	if (getcwd(root, sizeof(root)) == NULL)
		return err_errno(e, errno, "current directory");
	enum errc rc = local_free_ports(2 * (plan->etcd + plan->jobmanagers), ports, e);
	rc = rc ? rc : make_dir(l->dir, "logs", e);
	if (rc == ERR_OK && plan->storage == NULL)
		rc = make_dir(l->dir, "storage", e);
	if (rc)
		return rc;
	char *storage =
		plan->storage ? mem_text(plan->storage) : mem_printf("file://%s/storage", l->dir);
	l->doc = json_pack("{s:s, s:s, s:s, s:s, s:i, s:b, s:[], s:[], s:[]}", "dir", l->dir,
			   "filesRoot", root, "storage", storage, "cluster", plan->cluster, "slots",
			   (int)plan->slots, "temporary", plan->temporary, kind_keys[0],
			   kind_keys[1], kind_keys[2]);
	free(storage);
	if (l->doc == NULL)
		return err_set(e, ERR_INVALID, "the storage URL or a path is not UTF-8");
	json_t *env = json_array();
	for (const char *const *one = plan->env; one && *one; one++)
		json_array_append_new(env, json_string(*one));
	json_object_set_new(l->doc, "env", env);
	plan_entries(l, plan, ports);
	return save(l, e);
}

enum errc local_cluster_plan(const char *dir, const struct local_plan *plan,
			     struct local_cluster **out, struct err *e)
{
	struct local_cluster *l;
	if (mkdir(dir, 0755) != 0 && errno != EEXIST)
		return err_errno(e, errno, "make directory %s", dir);
	enum errc rc = open_dir(dir, &l, e);
	if (rc)
		return rc;
	rc = has_record(l) ? err_set(e, ERR_EXISTS, "%s: has a cluster already", dir)
			   : fill(l, plan, e);
	if (rc)
		local_cluster_close(l);
	else
		*out = l;
	return rc;
}

enum errc local_cluster_add_taskmanager(struct local_cluster *l, const char **out_name,
					struct err *e)
{
	size_t n = json_array_size(local_cluster_entries(l, LOCAL_TASKMANAGER));
	if (n >= LOCAL_TASKMANAGERS_MAX)
		return err_set(e, ERR_LIMIT, "at most %d TaskManagers", LOCAL_TASKMANAGERS_MAX);
	json_t *entry = add_entry(l, LOCAL_TASKMANAGER, "tm", (unsigned)n + 1);
	taskmanager_command(l, entry);
	*out_name = text_of(entry, "name");
	return save(l, e);
}

/* ---- entries ---- */

const json_t *local_cluster_entries(const struct local_cluster *l, enum local_kind kind)
{
	return json_object_get(l->doc, kind_keys[kind]);
}

json_t *local_cluster_find(const struct local_cluster *l, const char *name,
			   enum local_kind *out_kind)
{
	for (int kind = LOCAL_ETCD; kind <= LOCAL_TASKMANAGER; kind++) {
		json_t *entry;
		size_t i;
		json_array_foreach (local_cluster_entries(l, (enum local_kind)kind), i, entry)
			if (strcmp(text_of(entry, "name"), name) == 0) {
				*out_kind = (enum local_kind)kind;
				return entry;
			}
	}
	return NULL;
}

static struct local_process process_of(const json_t *entry)
{
	return (struct local_process){
		.pid = (int)json_integer_value(json_object_get(entry, "pid")),
		.start = (uint64_t)json_integer_value(json_object_get(entry, "start"))};
}

bool local_entry_alive(const json_t *entry)
{
	struct local_process p = process_of(entry);
	return local_process_alive(&p);
}

void local_entry_signal(const json_t *entry, int signal)
{
	struct local_process p = process_of(entry);
	local_process_signal(&p, signal);
}

const char *local_cluster_files_root(const struct local_cluster *l)
{
	return text_of(l->doc, "filesRoot");
}

const char *local_cluster_dir(const struct local_cluster *l)
{
	return l->dir;
}

static unsigned signal_kind(const struct local_cluster *l, enum local_kind kind, int signal)
{
	unsigned alive = 0;
	json_t *entry;
	size_t i;
	json_array_foreach (local_cluster_entries(l, kind), i, entry) {
		struct local_process p = process_of(entry);
		if (!local_process_alive(&p))
			continue;
		alive++;
		if (signal)
			local_process_signal(&p, signal);
	}
	return alive;
}

bool local_cluster_any_alive(const struct local_cluster *l)
{
	return signal_kind(l, LOCAL_ETCD, 0) + signal_kind(l, LOCAL_JOBMANAGER, 0) +
		       signal_kind(l, LOCAL_TASKMANAGER, 0) >
	       0;
}

/* ---- starting ---- */

static char *log_of(const struct local_cluster *l, const json_t *entry)
{
	return mem_printf("%s/logs/%s.out", l->dir, text_of(entry, "name"));
}

enum errc local_cluster_start(struct local_cluster *l, json_t *entry, bool tied, struct err *e)
{
	const char *name = text_of(entry, "name");
	if (local_entry_alive(entry))
		return err_set(e, ERR_CONFLICT, "%s runs already", name);
	const json_t *words = json_object_get(entry, "argv");
	size_t n = json_array_size(words);
	if (n == 0)
		return err_set(e, ERR_CORRUPT, "%s/local.json: %s has no command line", l->dir,
			       name);
	const char **argv = mem_array(n + 1, sizeof(*argv));
	for (size_t i = 0; i < n; i++)
		argv[i] = json_string_value(json_array_get(words, i));
	char *log = log_of(l, entry);
	struct local_process p = {0};
	enum errc rc = local_process_start(argv, log, tied, &p, e);
	if (rc == ERR_NOTFOUND && strcmp(argv[0], "etcd") == 0)
		err_set(e, rc, "etcd is not installed (Debian: apt-get install etcd-server)");
	free(log);
	free(argv);
	if (rc)
		return err_wrap(e, rc, "%s", name);
	json_object_set_new(entry, "pid", json_integer(p.pid));
	json_object_set_new(entry, "start", json_integer((json_int_t)p.start));
	return save(l, e);
}

char *local_cluster_last_words(const struct local_cluster *l, const json_t *entry)
{
	char text[2049] = "";
	char *path = log_of(l, entry);
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	free(path);
	if (fd < 0)
		return mem_text("");
	off_t end = lseek(fd, 0, SEEK_END);
	off_t from = end > 2048 ? end - 2048 : 0;
	ssize_t n = end < 0 ? 0 : pread(fd, text, 2048, from);
	close(fd);
	text[n > 0 ? n : 0] = '\0';
	/* Whole lines, the last five of them. */
	size_t lines = 0, at = strlen(text);
	while (at > 0 && lines < 6)
		lines += text[--at] == '\n';
	return mem_text(lines == 6 ? text + at + 1 : text);
}

/* ---- stopping ---- */

static void stop_kinds(const struct local_cluster *l, enum local_kind a, enum local_kind b)
{
	unsigned waited = 0;
	while (signal_kind(l, a, 0) + signal_kind(l, b, 0) > 0) {
		if (waited >= STOP_WAIT_MS) {
			(void)signal_kind(l, a, SIGKILL);
			(void)signal_kind(l, b, SIGKILL);
		}
		if (waited >= 2 * STOP_WAIT_MS)
			break; /* in the kernel, uninterruptible: nothing more can be done */
		step();
		waited += STEP_MS;
	}
}

static int remove_one(const char *path, const struct stat *st, int type, struct FTW *at)
{
	(void)st;
	(void)type;
	(void)at;
	return remove(path);
}

unsigned local_cluster_stop(struct local_cluster *l)
{
	/* JobManagers first: nobody then mistakes the TaskManagers' end for a failure. */
	unsigned n = signal_kind(l, LOCAL_JOBMANAGER, SIGTERM);
	n += signal_kind(l, LOCAL_TASKMANAGER, SIGTERM);
	stop_kinds(l, LOCAL_JOBMANAGER, LOCAL_TASKMANAGER);
	n += signal_kind(l, LOCAL_ETCD, SIGTERM);
	stop_kinds(l, LOCAL_ETCD, LOCAL_ETCD);
	if (json_is_true(json_object_get(l->doc, "temporary")))
		(void)nftw(l->dir, remove_one, 16, FTW_DEPTH | FTW_PHYS);
	return n;
}

/* ---- showing ---- */

static json_t *shown(const json_t *entry, const char *id)
{
	json_t *o = json_pack("{s:s, s:O?, s:b}", id, text_of(entry, "name"), "pid",
			      json_object_get(entry, "pid"), "alive", local_entry_alive(entry));
	static const char *const members[] = {"address", "clusterAddress"};
	for (unsigned i = 0; i < 2; i++)
		if (json_object_get(entry, members[i]))
			json_object_set(o, members[i], json_object_get(entry, members[i]));
	return o;
}

json_t *local_cluster_json(const struct local_cluster *l)
{
	json_t *all = json_pack("{s:s, s:s, s:s, s:[]}", "dir", l->dir, "storage",
				text_of(l->doc, "storage"), "cluster", text_of(l->doc, "cluster"),
				"rest");
	for (int kind = LOCAL_ETCD; kind <= LOCAL_TASKMANAGER; kind++) {
		json_t *list = json_array(), *entry;
		size_t i;
		json_array_foreach (local_cluster_entries(l, (enum local_kind)kind), i, entry) {
			json_array_append_new(list,
					      shown(entry, kind == LOCAL_ETCD ? "name" : "id"));
			if (kind == LOCAL_JOBMANAGER)
				json_array_append(json_object_get(all, "rest"),
						  json_object_get(entry, "address"));
		}
		json_object_set_new(all, kind_keys[kind], list);
	}
	return all;
}
