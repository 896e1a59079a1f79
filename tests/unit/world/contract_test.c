/* The contract on the loop of production; the peer and the children are real processes. */
#include <dirent.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "world/ev.h"

#define CONTRACT_SUITE world_ev
#include "contract.h"

struct impl {
	pid_t peer;
	char peer_address[64];
	char refusing[64];
	struct world_timer check, limit;
	const bool *flag;
	struct harness *hs;
	bool late;
};

/* ---- running ---- */

static void check_fire(struct world_timer *t)
{
	struct impl *m = MEM_OWNER(t, struct impl, check);
	if (*m->flag)
		world_stop(m->hs->w);
	else
		world_timer_arm(m->hs->w, t, world_now_ms(m->hs->w) + 1);
}

static void limit_fire(struct world_timer *t)
{
	struct impl *m = MEM_OWNER(t, struct impl, limit);
	m->late = true;
	world_stop(m->hs->w);
}

static void run(struct harness *hs, const bool *flag, uint64_t ms)
{
	struct impl *m = hs->impl;
	m->flag = flag;
	m->late = false;
	world_timer_arm(hs->w, &m->limit, world_now_ms(hs->w) + ms);
	world_timer_arm(hs->w, &m->check, world_now_ms(hs->w));
	world_ev_run(hs->w);
	world_timer_cancel(hs->w, &m->limit);
	world_timer_cancel(hs->w, &m->check);
}

static void harness_until(struct harness *hs, const bool *flag)
{
	run(hs, flag, 10000);
	cr_assert_not(((struct impl *)hs->impl)->late, "it did not happen");
}

static void harness_for(struct harness *hs, uint64_t ms)
{
	static const bool never = false;
	run(hs, &never, ms);
}

static void harness_open(struct harness *hs)
{
	struct err e;
	struct impl *m = mem_alloc(sizeof(*m));
	m->hs = hs;
	m->check.fire = check_fire;
	m->limit.fire = limit_fire;
	hs->impl = m;
	hs->w = world_ev_create(&e);
	cr_assert_not_null(hs->w);
}

static void harness_close(struct harness *hs)
{
	harness_kill_peer(hs);
	world_ev_destroy(hs->w);
	free(hs->impl);
}

/* ---- the peer: a forked process with a world of its own ---- */

static struct world *peer_world;

static void peer_request(struct world_server *s, struct world_request *r)
{
	(void)s;
	if (strcmp(r->path, "/drop") == 0)
		_exit(0);
	if (strcmp(r->path, "/stream") == 0) {
		world_reply_start(peer_world, r, 200, 1000);
		world_reply_chunk(peer_world, r, "one\n", 4);
	} else if (strcmp(r->path, "/hang") != 0) {
		world_reply(peer_world, r, 200, "{}", 2);
	}
}

static void peer_gone(struct world_server *s, struct world_request *r)
{
	(void)s, (void)r;
}

_Noreturn static void peer_main(int report)
{
	struct err e;
	struct world_server server = {.on_request = peer_request, .on_gone = peer_gone};
	struct world_listen_spec spec = {.address = "127.0.0.1:0", .body_max = 1000};
	peer_world = world_ev_create(&e);
	if (peer_world == NULL || world_listen(peer_world, &server, &spec, &e) != ERR_OK)
		_exit(1);
	if (write(report, server.address, 64) != 64)
		_exit(1);
	world_ev_run(peer_world);
	_exit(0);
}

static const char *harness_peer(struct harness *hs)
{
	struct impl *m = hs->impl;
	int report[2];
	cr_assert_eq(pipe(report), 0);
	m->peer = fork();
	if (m->peer == 0)
		peer_main(report[1]);
	cr_assert_eq(read(report[0], m->peer_address, 64), 64);
	close(report[0]);
	close(report[1]);
	return m->peer_address;
}

static void harness_kill_peer(struct harness *hs)
{
	struct impl *m = hs->impl;
	if (m->peer <= 0)
		return;
	kill(m->peer, SIGKILL);
	waitpid(m->peer, NULL, 0);
	m->peer = 0;
}

/* A port that was bound a moment ago and is free again. */
static const char *harness_refusing(struct harness *hs)
{
	struct impl *m = hs->impl;
	struct err e;
	struct world_server s = {.on_request = peer_request};
	struct world_listen_spec spec = {.address = "127.0.0.1:0", .body_max = 1};
	static const bool now = true;
	cr_assert_eq(world_listen(hs->w, &s, &spec, &e), ERR_OK);
	snprintf(m->refusing, sizeof(m->refusing), "%s", s.address);
	world_unlisten(hs->w, &s);
	harness_until(hs, &now);
	return m->refusing;
}

/* ---- the child: this program again, see child_main ---- */

static const char *harness_child(struct harness *hs)
{
	(void)hs;
	return "/proc/self/exe";
}

static int open_fds_above_channel(void)
{
	DIR *dir = opendir("/proc/self/fd");
	int n = 0;
	for (struct dirent *d = readdir(dir); d; d = readdir(dir))
		n += d->d_name[0] != '.' && strtol(d->d_name, NULL, 10) > 3 &&
		     strtol(d->d_name, NULL, 10) != dirfd(dir);
	closedir(dir);
	return n;
}

enum { FLOOD_LINES = 600, FLOOD_LINE = 200 };

/* More than one read takes, in one piece, and then the end at once. */
_Noreturn static void flood(void)
{
	static char text[FLOOD_LINES * FLOOD_LINE];
	memset(text, 'x', sizeof(text));
	for (size_t i = FLOOD_LINE - 1; i < sizeof(text); i += FLOOD_LINE)
		text[i] = '\n';
	_exit(write(3, text, sizeof(text)) == (ssize_t)sizeof(text) ? 0 : 9);
}

static void child_line(const char *line)
{
	if (strncmp(line, "echo ", 5) == 0)
		dprintf(3, "%s\n", line + 5);
	else if (strncmp(line, "exit ", 5) == 0)
		_exit((int)strtol(line + 5, NULL, 10));
	else if (strcmp(line, "die") == 0)
		abort();
	else if (strcmp(line, "fds") == 0)
		dprintf(3, "%d\n", open_fds_above_channel());
	else if (strcmp(line, "flood") == 0)
		flood();
}

/* Before Criterion's main: with this argument the program is the child. */
__attribute__((constructor)) static void child_main(int argc, char **argv)
{
	if (argc != 2 || strcmp(argv[1], "--contract-child") != 0)
		return;
	FILE *channel = fdopen(3, "r");
	char line[4096];
	while (fgets(line, sizeof(line), channel)) {
		line[strcspn(line, "\n")] = '\0';
		child_line(line);
	}
	_exit(0);
}

/* ---- what only real processes show ---- */

Test(world_ev, a_child_inherits_no_descriptor)
{
	struct harness hs;
	struct kid k;
	harness_open(&hs);
	int noise = open("/dev/null", O_RDONLY); /* not close-on-exec, on purpose */
	cr_assert_geq(noise, 0);
	kid_start(&hs, &k);
	kid_say(&k, "fds");
	harness_until(&hs, &k.any);
	cr_assert_str_eq(k.lines.data, "0|");
	close(noise);
	world_child_abandon(hs.w, &k.child);
	buf_fini(&k.lines);
	harness_close(&hs);
}

Test(world_ev, all_that_a_child_has_said_comes_before_its_exit)
{
	struct harness hs;
	struct kid k;
	harness_open(&hs);
	kid_start(&hs, &k);
	kid_say(&k, "flood");
	/* Dead, and nothing of it read yet. */
	siginfo_t info;
	cr_assert_eq(waitid(P_PID, (id_t)k.child.pid, &info, WEXITED | WNOWAIT), 0);
	harness_until(&hs, &k.exited);
	cr_assert_eq(k.status, 0);
	cr_assert_eq(k.lines.len, (size_t)FLOOD_LINE * FLOOD_LINES);
	buf_fini(&k.lines);
	harness_close(&hs);
}

Test(world_ev, a_descriptor_can_be_passed)
{
	struct harness hs;
	struct err e;
	int pair[2];
	char got[6] = "";
	harness_open(&hs);
	cr_assert_eq(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair), 0);
	const char *argv[] = {"/bin/sh", "-c", "printf $WORD >&4", NULL};
	const char *env[] = {"WORD=hello", NULL};
	struct world_spawn_spec spec = {
		.argv = argv, .env = env, .pass_fd = pair[1], .line_max = 10};
	struct kid k = {.hs = &hs, .child = {.on_line = kid_line, .on_exit = kid_exit}};
	cr_assert_eq(world_spawn(hs.w, &k.child, &spec, &e), ERR_OK);
	harness_until(&hs, &k.exited);
	cr_assert_eq(k.status, 0);
	cr_assert_eq(read(pair[0], got, 5), 5);
	cr_assert_str_eq(got, "hello");
	close(pair[0]);
	close(pair[1]);
	harness_close(&hs);
}

static void on_term(void *ctx, int signal)
{
	*(bool *)ctx = signal == SIGTERM;
}

Test(world_ev, signals_come_on_the_loop)
{
	struct harness hs;
	bool got = false;
	harness_open(&hs);
	world_ev_on_signals(hs.w, on_term, &got);
	raise(SIGTERM);
	cr_assert_not(got);
	harness_until(&hs, &got);
	harness_close(&hs);
}

Test(world_ev, a_kill_point_kills_at_its_nth_hit)
{
	int status;
	pid_t pid = fork();
	if (pid == 0) {
		struct err e;
		setenv("WEIR_KILL_POINT", "here:3", 1);
		struct world *w = world_ev_create(&e);
		world_kill_point(w, "here");
		world_kill_point(w, "there");
		world_kill_point(w, "here");
		if (getenv("NEVER"))
			_exit(1);
		world_kill_point(w, "here");
		_exit(2);
	}
	waitpid(pid, &status, 0);
	cr_assert(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL);
}

Test(world_ev, a_stream_above_its_high_water_mark_is_hung_up)
{
	struct harness hs;
	struct site site;
	struct call c = {0};
	char url[256];
	static char megabyte[1 << 20];
	harness_open(&hs);
	site_open(&hs, &site, OWN_ADDRESS);
	struct world_http_spec spec = call_spec(url, sizeof(url), site.server.address, "/");
	spec.stream = true;
	call_start(&hs, &c, &spec);
	harness_until(&hs, &site.got);
	world_reply_start(hs.w, site.held, 200, 3 << 20);
	for (int i = 0; i < 10; i++)
		world_reply_chunk(hs.w, site.held, megabyte, sizeof(megabyte));
	cr_assert_not(site.gone, "no callback runs inside the call");
	harness_until(&hs, &site.gone);
	harness_until(&hs, &c.ended);
	cr_assert_eq(c.code, ERR_UNKNOWN);
	buf_fini(&c.text);
	world_unlisten(hs.w, &site.server);
	harness_close(&hs);
}

/* A client that sends its next requests before the first is answered, on one connection. */
Test(world_ev, pipelined_requests_wait_for_a_hanging_one)
{
	struct harness hs;
	struct site site;
	struct world_ev_fd f = {0};
	char text[4096] = "";
	harness_open(&hs);
	site_open(&hs, &site, OWN_ADDRESS);
	const char *port = strrchr(site.server.address, ':') + 1;
	struct sockaddr_in a = {.sin_family = AF_INET,
				.sin_port = htons((uint16_t)strtoul(port, NULL, 10)),
				.sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	f.fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	cr_assert_eq(connect(f.fd, (struct sockaddr *)&a, sizeof(a)), 0);
	dprintf(f.fd, "GET /1 HTTP/1.1\r\nHost: a\r\n\r\n");
	harness_until(&hs, &site.got);
	dprintf(f.fd, "GET /2 HTTP/1.1\r\nHost: a\r\n\r\nGET /3 HTTP/1.1\r\nHost: a\r\n\r\n");
	harness_for(&hs, 50);
	cr_assert_str_eq(site.path, "/1");
	site.answers = true;
	site.got = false;
	world_reply(hs.w, site.held, 200, "first", 5);
	harness_until(&hs, &site.got);
	harness_for(&hs, 50);
	cr_assert_str_eq(site.path, "/3");
	cr_assert_gt(recv(f.fd, text, sizeof(text) - 1, MSG_DONTWAIT), 0);
	cr_assert_not_null(strstr(text, "first"));
	close(f.fd);
	world_unlisten(hs.w, &site.server);
	harness_close(&hs);
}

/* ---- TLS ---- */

static void make_certificate(const char *dir)
{
	char command[1024];
	snprintf(command, sizeof(command),
		 "cd %s && openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes "
		 "-keyout key.pem -out cert.pem -days 2 -subj /O=weir "
		 "-addext subjectAltName=IP:127.0.0.1 2>/dev/null",
		 dir);
	cr_assert_eq(system(command), 0);
}

struct tls_files {
	char dir[64], cert[96], key[96];
};

static void tls_files_open(struct tls_files *t)
{
	snprintf(t->dir, sizeof(t->dir), "/tmp/weir-tls-XXXXXX");
	cr_assert_not_null(mkdtemp(t->dir));
	make_certificate(t->dir);
	snprintf(t->cert, sizeof(t->cert), "%s/cert.pem", t->dir);
	snprintf(t->key, sizeof(t->key), "%s/key.pem", t->dir);
}

static void tls_files_close(struct tls_files *t)
{
	unlink(t->cert);
	unlink(t->key);
	rmdir(t->dir);
}

static void tls_call(struct harness *hs, struct site *site, const struct world_tls *tls,
		     struct call *c)
{
	char url[256];
	snprintf(url, sizeof(url), "https://%s/x", site->server.address);
	struct world_http_spec spec = {.method = "POST",
				       .url = url,
				       .body = "{}",
				       .body_len = 2,
				       .reply_max = 1000,
				       .timeout_ms = 5000,
				       .tls = tls};
	call_start(hs, c, &spec);
	harness_until(hs, &c->ended);
}

Test(world_ev, tls_with_certificates_on_both_sides)
{
	struct harness hs;
	struct err e;
	struct tls_files files;
	tls_files_open(&files);
	struct world_tls both = {
		.ca_file = files.cert, .cert_file = files.cert, .key_file = files.key};
	struct world_tls only_ca = {.ca_file = files.cert};
	struct site site = {.hs = &hs,
			    .server = {.on_request = site_request, .on_gone = site_gone},
			    .answers = true};
	struct call good = {0}, untrusted = {0}, nameless = {0};
	harness_open(&hs);
	struct world_listen_spec spec = {.address = OWN_ADDRESS, .body_max = 1000, .tls = &both};
	cr_assert_eq(world_listen(hs.w, &site.server, &spec, &e), ERR_OK, "%s", e.text);
	tls_call(&hs, &site, &both, &good);
	cr_assert_str_eq(good.text.data, "{\"ok\":true}");
	call_check(&good, ERR_OK, NET_OK);
	/* The server is not trusted: nothing was sent. */
	site.got = false;
	tls_call(&hs, &site, NULL, &untrusted);
	call_check(&untrusted, ERR_NOTSENT, NET_TLS);
	/* The client shows no certificate: TLS 1.3 tells it late, but no handler ever runs. */
	tls_call(&hs, &site, &only_ca, &nameless);
	cr_assert(nameless.code == ERR_UNKNOWN || nameless.code == ERR_NOTSENT);
	cr_assert_not(site.got);
	buf_fini(&nameless.text);
	world_unlisten(hs.w, &site.server);
	harness_close(&hs);
	tls_files_close(&files);
}

Test(world_ev, a_certificate_that_cannot_be_read_is_an_error)
{
	struct harness hs;
	struct err e;
	struct world_tls tls = {.cert_file = "/nowhere/cert.pem", .key_file = "/nowhere/key.pem"};
	struct site site = {.hs = &hs, .server = {.on_request = site_request}};
	struct world_listen_spec spec = {.address = OWN_ADDRESS, .body_max = 10, .tls = &tls};
	harness_open(&hs);
	cr_assert_eq(world_listen(hs.w, &site.server, &spec, &e), ERR_INVALID);
	cr_assert_not_null(strstr(e.text, "/nowhere/cert.pem"));
	harness_close(&hs);
}

static int listen_plainly(char url[64])
{
	struct sockaddr_in a = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	socklen_t len = sizeof(a);
	int listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	cr_assert_eq(bind(listener, (struct sockaddr *)&a, sizeof(a)), 0);
	cr_assert_eq(listen(listener, 5), 0);
	getsockname(listener, (struct sockaddr *)&a, &len);
	snprintf(url, 64, "http://127.0.0.1:%u/", (unsigned)ntohs(a.sin_port));
	return listener;
}

static void answer_plainly(int con)
{
	char request[512];
	cr_assert_gt(recv(con, request, sizeof(request), 0), 0);
	dprintf(con, "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok");
}

/* A server that closes the kept connection just as the next request is sent on it, perhaps because
 * it is gone: libcurl alone would send that request again. And what befell that one must not befall
 * the one after it. */
static void one_is_dropped(const char *method, bool reset, bool gone)
{
	struct harness hs;
	char url[64], request[512];
	struct call first = {0}, second = {0}, third = {0};
	harness_open(&hs);
	int listener = listen_plainly(url);
	struct world_http_spec spec = {.method = method,
				       .url = url,
				       .body = method[0] == 'P' ? "body" : NULL,
				       .body_len = method[0] == 'P' ? 4 : 0,
				       .reply_max = 1000,
				       .timeout_ms = 3000};
	call_start(&hs, &first, &spec);
	harness_for(&hs, 50);
	int con = accept4(listener, NULL, NULL, SOCK_CLOEXEC);
	answer_plainly(con);
	harness_until(&hs, &first.ended);
	call_check(&first, ERR_OK, NET_OK);
	call_start(&hs, &second, &spec);
	harness_for(&hs, 50);
	cr_assert_gt(recv(con, request, sizeof(request), MSG_DONTWAIT), 0,
		     "on the kept connection");
	struct linger linger = {.l_onoff = reset};
	setsockopt(con, SOL_SOCKET, SO_LINGER, &linger, sizeof(linger));
	if (gone)
		close(listener);
	close(con); /* read, perhaps carried out, not answered */
	harness_until(&hs, &second.ended);
	cr_assert_eq(second.code, ERR_UNKNOWN);
	/* libcurl may have connected again, but nothing of the request went out. */
	if (gone)
		listener = listen_plainly(url);
	int again = accept4(listener, NULL, NULL, SOCK_CLOEXEC);
	cr_assert(again < 0 || recv(again, request, sizeof(request), 0) == 0);
	if (again >= 0)
		close(again);
	call_start(&hs, &third, &spec);
	harness_for(&hs, 50);
	con = accept4(listener, NULL, NULL, SOCK_CLOEXEC);
	cr_assert_geq(con, 0, "the next request was not even sent");
	answer_plainly(con);
	harness_until(&hs, &third.ended);
	call_check(&third, ERR_OK, NET_OK);
	close(con);
	buf_fini(&second.text);
	close(listener);
	harness_close(&hs);
}

Test(world_ev, a_request_is_never_sent_twice)
{
	for (int i = 0; i < 4; i++) {
		one_is_dropped("GET", i & 1, i & 2);
		one_is_dropped("POST", i & 1, i & 2);
	}
}

Test(world_ev, an_address_that_is_none_is_refused)
{
	static const char *const bad[] = {"127.0.0.1",    "127.0.0.1:",     "127.0.0.1:99999",
					  "127.0.0.1:-1", "127.0.0.1:http", "256.0.0.1:0"};
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		struct harness hs;
		struct world_server server = {0};
		struct err e = {0};
		harness_open(&hs);
		cr_assert_eq(world_listen(hs.w, &server,
					  &(struct world_listen_spec){.address = bad[i],
								      .body_max = 1000},
					  &e),
			     ERR_INVALID, "%s", bad[i]);
		harness_close(&hs);
	}
}
