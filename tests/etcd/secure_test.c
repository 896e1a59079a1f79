/* Passwords and certificates, against real members. */
#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "rig.h"

static struct rig rig;
static char ca[96], cert[96], key[96];
static struct world_tls tls = {ca, cert, key};

static void down(void)
{
	rig_fini(&rig);
}

TestSuite(secure, .fini = down, .timeout = 120);

static void with_password(struct ha_config *config)
{
	config->user = "root";
	config->password = "secret";
}

static void with_wrong_password(struct ha_config *config)
{
	config->user = "root";
	config->password = "wrong";
}

static void post(const char *path, const char *body)
{
	char out[512];
	int status;
	rig_post(&rig, 0, path, body, out, sizeof out, &status);
	cr_assert_eq(status, 200, "%s: %s", path, out);
}

static void enable_auth(void)
{
	post("/v3/auth/user/add", "{\"name\":\"root\",\"password\":\"secret\"}");
	post("/v3/auth/role/add", "{\"name\":\"root\"}");
	post("/v3/auth/user/grant", "{\"user\":\"root\",\"role\":\"root\"}");
	post("/v3/auth/enable", "{}");
}

Test(secure, a_password_is_used_and_a_lost_token_is_no_fault)
{
	struct rig_candidate c;
	uint64_t revision = 0;
	rig_init(&rig, 3);
	rig.flags[0] = "--auth-token-ttl=2";
	rig_start(&rig);
	enable_auth();
	rig_candidate(&rig, &c, "jm-1", 0, with_password);
	cr_assert(rig_await_role(&c, HA_LEADING, 20000));
	cr_assert_eq(rig_put(&c, "run/a", "1", &revision), ERR_OK);
	/* idle for longer than a token lives: only the other lane uses its own member's */
	rig_run_for(&rig, 3500);
	cr_assert_eq(rig_put(&c, "run/a", "2", &revision), ERR_OK);
	/* a change of a user makes every token old at once */
	char out[512];
	rig_post(&rig, 0, "/v3/auth/authenticate", "{\"name\":\"root\",\"password\":\"secret\"}",
		 out, sizeof out, NULL);
	cr_assert_eq(rig_put(&c, "run/a", "3", &revision), ERR_OK);
	cr_assert_eq(c.role, HA_LEADING);
	cr_assert_eq(c.suspends, 0);
	rig_candidate_leave(&c);
}

static bool is_denied(void *ctx)
{
	struct ha_status status;
	ha_status(((struct rig_candidate *)ctx)->ha, &status);
	return strstr(status.trouble, "authentication failed") != NULL;
}

Test(secure, a_wrong_password_is_said_clearly)
{
	struct rig_candidate c;
	rig_init(&rig, 1);
	rig_start(&rig);
	enable_auth();
	rig_candidate(&rig, &c, "jm-1", 0, with_wrong_password);
	cr_assert(rig_await(&rig, is_denied, &c, 10000));
	cr_assert_eq(c.role, HA_STARTING);
	rig_candidate_end(&c);
}

static void with_certificate(struct ha_config *config)
{
	config->tls = &tls;
}

static void without_certificate(struct ha_config *config)
{
	static struct world_tls only_ca = {ca, NULL, NULL};
	config->tls = &only_ca;
}

static bool has_trouble(void *ctx)
{
	struct ha_status status;
	ha_status(((struct rig_candidate *)ctx)->ha, &status);
	return status.trouble[0] != 0;
}

Test(secure, client_certificates)
{
	static char f_cert[128], f_key[128], f_ca[128];
	struct rig_candidate c, outsider;
	uint64_t revision = 0;
	rig_init(&rig, 1);
	rig.tls = true;
	rig_shell(&rig, "cd $RIG && exec 2>/dev/null;"
			"openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes "
			"-days 2 -subj /O=test-ca -keyout ca.key -out ca.pem");
	rig_shell(&rig, "cd $RIG && exec 2>/dev/null;"
			"openssl req -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes "
			"-subj /O=weir -keyout node.key -out node.csr &&"
			"echo subjectAltName=IP:127.0.0.1 >ext &&"
			"echo extendedKeyUsage=serverAuth,clientAuth >>ext &&"
			"openssl x509 -req -in node.csr -CA ca.pem -CAkey ca.key -CAcreateserial "
			"-days 2 -extfile ext -out node.pem");
	snprintf(ca, sizeof ca, "%s/ca.pem", rig.dir);
	snprintf(cert, sizeof cert, "%s/node.pem", rig.dir);
	snprintf(key, sizeof key, "%s/node.key", rig.dir);
	snprintf(f_cert, sizeof f_cert, "--cert-file=%s", cert);
	snprintf(f_key, sizeof f_key, "--key-file=%s", key);
	snprintf(f_ca, sizeof f_ca, "--trusted-ca-file=%s", ca);
	rig.flags[0] = f_cert;
	rig.flags[1] = f_key;
	rig.flags[2] = f_ca;
	rig.flags[3] = "--client-cert-auth";
	rig_start(&rig);
	rig_candidate(&rig, &c, "jm-1", 0, with_certificate);
	cr_assert(rig_await_role(&c, HA_LEADING, 20000));
	cr_assert_eq(rig_put(&c, "run/a", "1", &revision), ERR_OK);
	rig_candidate(&rig, &outsider, "jm-2", 0, without_certificate);
	cr_assert(rig_await(&rig, has_trouble, &outsider, 10000));
	cr_assert_eq(outsider.role, HA_STARTING);
	rig_candidate_end(&outsider);
	rig_candidate_leave(&c);
}
