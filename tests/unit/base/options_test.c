#include <criterion/criterion.h>
#include <criterion/new/assert.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/json.h"
#include "base/mem.h"
#include "base/options.h"
#include "base/yaml.h"

static const char *const levels[] = {"info", "debug", NULL};

static const struct option table[] = {
	{.key = "etcd.endpoints",
	 .flag = "--etcd",
	 .type = OPTION_LIST,
	 .fallback = "http://a,http://b",
	 .value = "URL,...",
	 .help = "the members"},
	{.key = "slots",
	 .flag = "--slots",
	 .type = OPTION_U64,
	 .fallback = "1",
	 .min = 1,
	 .max = 9},
	{.key = "lease",
	 .flag = "--lease",
	 .type = OPTION_DURATION,
	 .fallback = "5s",
	 .max = 60000},
	{.key = "memory", .flag = "--memory", .type = OPTION_SIZE, .min = 1024},
	{.key = "etcd.dedicated",
	 .flag = "--etcd-dedicated",
	 .type = OPTION_BOOL,
	 .fallback = "false"},
	{.key = "logLevel", .flag = "--log-level", .type = OPTION_TEXT, .choices = levels},
	{.key = "s3.secretKey", .type = OPTION_TEXT, .secret = true},
	{0}};

static struct options *o;
static struct err e;

static void setup(void)
{
	e = (struct err){0};
	o = options_create();
	options_add(o, table);
}

static void teardown(void)
{
	options_destroy(o);
	options_destroy(NULL);
}

TestSuite(options, .init = setup, .fini = teardown);

static enum errc load(const char *const *env, int argc, const char *const *argv)
{
	return options_load(o, argc, argv, env, &e);
}

/* LOAD(env, "--flag", ...): as if started with these arguments. */
#define LOAD(env, ...)                                                                             \
	load(env, (int)(sizeof((const char *[]){"prog", __VA_ARGS__}) / sizeof(char *)),           \
	     (const char *[]){"prog", __VA_ARGS__})

static const char *item(const char *key, unsigned i)
{
	unsigned n = 0;
	const char *const *items = options_list(o, key, &n);
	cr_assert(eq(ptr, (void *)items[n], NULL));
	return i < n ? items[i] : NULL;
}

Test(options, defaults)
{
	unsigned n = 99;
	cr_assert(eq(int, load(NULL, 1, (const char *[]){"prog"}), ERR_OK), "%s", e.text);
	cr_assert(eq(str, (char *)item("etcd.endpoints", 1), "http://b"));
	cr_assert(eq(u64, options_u64(o, "slots"), 1));
	cr_assert(eq(u64, options_ms(o, "lease"), 5000));
	cr_assert(eq(u64, options_bytes(o, "memory"), 0));
	cr_assert(not(options_bool(o, "etcd.dedicated")));
	cr_assert(eq(ptr, (void *)options_text(o, "logLevel"), NULL));
	cr_assert(eq(int, options_origin(o, "memory"), OPTION_UNSET));
	cr_assert(eq(int, options_origin(o, "slots"), OPTION_DEFAULT));
	cr_assert(eq(ptr, (void *)options_args(o, &n)[0], NULL));
	cr_assert(eq(uint, n, 0));
}

static char *config_file(const char *text)
{
	static char path[64];
	snprintf(path, sizeof(path), "/tmp/weir-options-XXXXXX.yaml");
	int fd = mkstemps(path, 5);
	cr_assert(fd >= 0);
	cr_assert(eq(int, (int)write(fd, text, strlen(text)), (int)strlen(text)));
	close(fd);
	return path;
}

Test(options, flag_over_environment_over_file_over_default)
{
	char *path = config_file("slots: 2\nlease: 2s\nmemory: 2048\netcd: {dedicated: true}\n");
	static const char *const env[] = {"HOME=/", "WEIR_SLOTS=3", "WEIR_LEASE=3s", NULL};
	enum errc rc = LOAD(env, "--slots", "4", "--config", path);
	unlink(path);
	cr_assert(eq(int, rc, ERR_OK), "%s", e.text);
	cr_assert(eq(u64, options_u64(o, "slots"), 4));
	cr_assert(eq(int, options_origin(o, "slots"), OPTION_FLAG));
	cr_assert(eq(u64, options_ms(o, "lease"), 3000));
	cr_assert(eq(int, options_origin(o, "lease"), OPTION_ENV));
	cr_assert(eq(u64, options_bytes(o, "memory"), 2048));
	cr_assert(eq(int, options_origin(o, "memory"), OPTION_FILE));
	cr_assert(options_bool(o, "etcd.dedicated"));
	cr_assert(eq(int, options_origin(o, "etcd.endpoints"), OPTION_DEFAULT));
}

Test(options, every_way_to_write_a_flag)
{
	unsigned n = 0;
	cr_assert(eq(int,
		     LOAD(NULL, "run", "--etcd=x,y,z", "--etcd-dedicated", "--set", "slots=7", "-",
			  "--set=s3.secretKey=a=b", "--slots=8", "--", "--not-a-flag"),
		     ERR_OK),
		  "%s", e.text);
	const char *const *args = options_args(o, &n);
	cr_assert(eq(uint, n, 3));
	cr_assert(eq(str, (char *)args[0], "run"));
	cr_assert(eq(str, (char *)args[1], "-"));
	cr_assert(eq(str, (char *)args[2], "--not-a-flag"));
	cr_assert(eq(str, (char *)item("etcd.endpoints", 2), "z"));
	cr_assert(options_bool(o, "etcd.dedicated"));
	cr_assert(eq(u64, options_u64(o, "slots"), 8), "the last one wins");
	cr_assert(eq(str, (char *)options_text(o, "s3.secretKey"), "a=b"));
}

Test(options, the_environment_of_a_mixed_case_key)
{
	static const char *const env[] = {"WEIR_S3_SECRET_KEY=hidden", "WEIR_LOG_LEVEL=debug",
					  "WEIR_MEMORY=", "WEIR_UNHEARD_OF=1", NULL};
	cr_assert(eq(int, load(env, 1, (const char *[]){"prog"}), ERR_OK), "%s", e.text);
	cr_assert(eq(str, (char *)options_text(o, "s3.secretKey"), "hidden"));
	cr_assert(eq(str, (char *)options_text(o, "logLevel"), "debug"));
	cr_assert(eq(int, options_origin(o, "memory"), OPTION_UNSET), "empty counts as unset");
}

static void complains(enum errc rc, const char *text)
{
	cr_expect(eq(int, rc, ERR_INVALID));
	cr_expect(eq(str, e.text, (char *)text));
}

Test(options, an_unknown_flag_is_named_with_the_nearest)
{
	complains(LOAD(NULL, "--slot", "3"), "unknown flag --slot (did you mean --slots?)");
}

Test(options, an_unknown_flag_far_from_all)
{
	complains(LOAD(NULL, "--frobnicate=3"), "unknown flag --frobnicate");
}

Test(options, an_unknown_key_in_set)
{
	complains(LOAD(NULL, "--set", "etcd.endpoint=x"),
		  "--set: unknown key etcd.endpoint (did you mean etcd.endpoints?)");
}

Test(options, set_without_equals)
{
	complains(LOAD(NULL, "--set", "slots"), "--set slots: must be key=value");
}

Test(options, a_flag_without_its_value)
{
	complains(LOAD(NULL, "--slots"), "--slots: a value must follow");
}

Test(options, a_single_dash)
{
	complains(LOAD(NULL, "-x"), "unknown flag -x");
}

Test(options, ranges_are_inclusive)
{
	complains(LOAD(NULL, "--slots", "10"), "--slots: must be at most 9");
}

Test(options, ranges_below)
{
	complains(LOAD(NULL, "--memory", "1023"), "--memory: must be at least 1024 bytes");
}

Test(options, the_ends_of_ranges_are_in)
{
	cr_assert(
		eq(int, LOAD(NULL, "--slots", "9", "--memory", "1KiB", "--lease", "60s"), ERR_OK));
}

Test(options, a_duration_needs_its_unit)
{
	complains(LOAD(NULL, "--lease", "5"),
		  "--lease: \"5\" is not an integer with a unit (ms, s, min, h, d)");
}

Test(options, choices)
{
	complains(LOAD(NULL, "--log-level", "loud"),
		  "--log-level: \"loud\" is none of info, debug");
}

Test(options, booleans)
{
	complains(LOAD(NULL, "--etcd-dedicated=yes"),
		  "--etcd-dedicated: \"yes\" is neither true nor false");
}

Test(options, empty_items)
{
	complains(LOAD(NULL, "--etcd", "a,,b"), "--etcd: \"a,,b\" has an empty item");
}

Test(options, an_empty_list_is_empty)
{
	cr_assert(eq(int, LOAD(NULL, "--etcd="), ERR_OK));
	cr_assert(eq(ptr, (void *)item("etcd.endpoints", 0), NULL));
}

Test(options, a_bad_variable_is_named)
{
	static const char *const env[] = {"WEIR_SLOTS=many", NULL};
	complains(load(env, 1, (const char *[]){"prog"}),
		  "WEIR_SLOTS: \"many\" is not a whole number");
}

static void file_complains(const char *text, const char *why)
{
	char *path = config_file(text);
	enum errc rc = LOAD(NULL, "--config", path);
	unlink(path);
	cr_expect(eq(int, rc, ERR_INVALID), "%s", text);
	cr_expect(ne(ptr, strstr(e.text, path), NULL), "%s", e.text);
	cr_expect(ne(ptr, strstr(e.text, why), NULL), "\"%s\" lacks \"%s\"", e.text, why);
}

Test(options, files_are_strict)
{
	file_complains("etcd:\n  endpoint: [x]\n",
		       "unknown key etcd.endpoint (did you mean etcd.endpoints?)");
	file_complains("slots: many\n", "slots: \"many\" is not a whole number");
	file_complains("slots: [1]\n", "slots: must be a text");
	file_complains("etcd.endpoints: [1]\n", "etcd.endpoints: item 0: must be a text");
	file_complains("- slots\n", "must be a mapping");
	file_complains("slots: 1\nslots: 2\n", "line 2, column 1");
	file_complains("memory: 1.5\n", "memory: must be a text");
}

Test(options, a_file_may_be_empty_nested_or_dotted)
{
	char *path = config_file("etcd:\n  endpoints: [p, q]\ns3.secretKey: x\n");
	cr_assert(eq(int, LOAD(NULL, "--config", path), ERR_OK), "%s", e.text);
	unlink(path);
	cr_assert(eq(str, (char *)item("etcd.endpoints", 1), "q"));
	path = config_file("# nothing\n");
	struct options *other = options_create();
	options_add(other, table);
	const char *env[] = {mem_printf("WEIR_CONFIG=%s", path), NULL};
	cr_assert(eq(int, options_load(other, 1, (const char *[]){"prog"}, env, &e), ERR_OK));
	unlink(path);
	options_destroy(other);
	free((char *)(uintptr_t)env[0]);
}

Test(options, listed_values_have_origins_and_no_secrets)
{
	cr_assert(eq(int, LOAD(NULL, "--set", "s3.secretKey=hush", "--slots", "2"), ERR_OK));
	json_t *all = options_json(o);
	char *text = json_text(all);
	cr_assert(eq(ptr, strstr(text, "hush"), NULL));
	cr_assert(ne(ptr,
		     strstr(text,
			    "{\"key\":\"s3.secretKey\",\"value\":\"******\",\"origin\":\"flag\"}"),
		     NULL),
		  "%s", text);
	cr_assert(ne(ptr, strstr(text, "{\"key\":\"slots\",\"value\":\"2\",\"origin\":\"flag\"}"),
		     NULL),
		  "%s", text);
	cr_assert(ne(ptr, strstr(text, "{\"key\":\"memory\",\"value\":null,\"origin\":\"unset\"}"),
		     NULL),
		  "%s", text);
	cr_assert(eq(sz, json_array_size(all), 7));
	free(text);
	json_decref(all);
}

Test(options, help_wins_over_errors_and_names_everything)
{
	cr_assert(eq(int, LOAD(NULL, "--nonsense", "--help"), ERR_OK));
	cr_assert(options_help_wanted(o));
	cr_assert(not(options_version_wanted(o)));
	struct buf b = {0};
	options_help(o, &b);
	static const char *const words[] = {"--etcd URL,...",
					    "the members",
					    "WEIR_ETCD_ENDPOINTS",
					    "default http://a,http://b",
					    "--lease DURATION",
					    "--etcd-dedicated",
					    "--set s3.secretKey=TEXT",
					    "one of info, debug",
					    "--config FILE"};
	for (size_t i = 0; i < sizeof(words) / sizeof(words[0]); i++)
		cr_expect(ne(ptr, strstr(b.data, words[i]), NULL), "%s lacks %s", b.data, words[i]);
	buf_fini(&b);
}

Test(options, help_behind_two_dashes_is_an_argument)
{
	cr_assert(eq(int, LOAD(NULL, "--", "--help"), ERR_OK));
	cr_assert(not(options_help_wanted(o)));
}

Test(options, version)
{
	cr_assert(eq(int, LOAD(NULL, "--version"), ERR_OK));
	cr_assert(options_version_wanted(o));
}

Test(options, asking_for_a_key_that_is_in_no_table_is_a_bug, .signal = SIGABRT)
{
	(void)options_text(o, "nowhere");
}
