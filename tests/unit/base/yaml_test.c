#include <criterion/criterion.h>
#include <criterion/new/assert.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/json.h"
#include "base/yaml.h"

static void becomes(const char *yaml, const char *json)
{
	json_t *v = NULL;
	struct err e = {0};
	enum errc rc = yaml_to_json(yaml, strlen(yaml), &v, &e);
	cr_assert(eq(int, rc, ERR_OK), "%s: %s", yaml, e.text);
	char *text = json_text(v);
	cr_expect(eq(str, text, (char *)json), "%s", yaml);
	free(text);
	json_decref(v);
}

static void refused(const char *yaml, const char *why)
{
	json_t *v = NULL;
	struct err e = {0};
	cr_expect(eq(int, yaml_to_json(yaml, strlen(yaml), &v, &e), ERR_INVALID), "%s", yaml);
	cr_expect(eq(ptr, v, NULL));
	cr_expect(ne(ptr, strstr(e.text, why), NULL), "%s: \"%s\" lacks \"%s\"", yaml, e.text, why);
}

Test(yaml, structures)
{
	becomes("name: wordcount\noperators:\n- uid: a\n  inputs: [b, c]\n- {}\n",
		"{\"name\":\"wordcount\",\"operators\":"
		"[{\"uid\":\"a\",\"inputs\":[\"b\",\"c\"]},{}]}");
	becomes("# only a comment\n", "null");
	becomes("", "null");
	becomes("--- 5\n...\n", "5");
	becomes("{\"json\": [1, true, null, \"x\"]}", "{\"json\":[1,true,null,\"x\"]}");
	becomes("text: |\n  two\n  lines\n", "{\"text\":\"two\\nlines\\n\"}");
	becomes("1: a\ntrue: b", "{\"1\":\"a\",\"true\":\"b\"}");
}

Test(yaml, words_stay_words)
{
	static const char *const words[] = {
		"no",         "yes", "on",   "off",   "NO",    "y",    "1:30", "1:30:00",
		"2020-01-01", "10s", "0b11", "1_000", "0o8",   "0xg",  ".",    "-",
		"+",          "e5",  "1e",   "1e+",   "1.2.3", "nUll", "tRue"};
	for (size_t i = 0; i < sizeof(words) / sizeof(words[0]); i++) {
		char yaml[64], json[64];
		snprintf(yaml, sizeof(yaml), "k: %s", words[i]);
		snprintf(json, sizeof(json), "{\"k\":\"%s\"}", words[i]);
		if (strcmp(words[i], "-") != 0)
			becomes(yaml, json);
	}
}

Test(yaml, typed_scalars)
{
	becomes("[null, Null, NULL, ~, ]", "[null,null,null,null]");
	becomes("[true, True, TRUE, false, False, FALSE]", "[true,true,true,false,false,false]");
	becomes("[0, -1, +7, 007, 0o17, 0x1F]", "[0,-1,7,7,15,31]");
	becomes("[9223372036854775807, -9223372036854775808]",
		"[9223372036854775807,-9223372036854775808]");
	becomes("[1.5, -.5, 2., 1e3]", "[1.5,-0.5,2.0,1000.0]");
	becomes("['1', \"true\", !!str 1, '']", "[\"1\",\"true\",\"1\",\"\"]");
}

Test(yaml, what_json_cannot_say_is_refused_with_its_place)
{
	refused("a: 9223372036854775808", "line 1, column 4");
	refused("a: -9223372036854775809", "64 bits");
	refused("[.inf]", "infinity");
	refused("[.nan]", "infinity");
	refused("[1e999]", "too large");
	refused("a: 1\nb: 2\na: 3\n", "line 3, column 1: the key \"a\" is there twice");
	refused("a: &x 1\nb: 2", "line 1, column 4: anchors");
	refused("a: *x", "line 1, column 4: aliases");
	refused("&k a: 1", "anchors");
	refused("a: !!int 1", "tags");
	refused("a: !mine {}", "tags");
	refused("--- 1\n--- 2\n", "second document");
	refused("? [a]\n: 1", "key must be");
	refused("*x : 1", "");
	refused("a: \"\\0\"", "zero byte");
	refused("\"\\0\": 1", "zero byte");
	refused("a: \xff", "malformed YAML");
	refused("a: [1", "malformed YAML at line");
	refused("a: b: c", "line 1");
	refused("\tx: 1", "malformed");
}

Test(yaml, depth_is_bounded)
{
	char text[256];
	memset(text, '[', sizeof(text));
	memset(text + YAML_DEPTH_MAX, ']', YAML_DEPTH_MAX);
	text[2 * YAML_DEPTH_MAX] = '\0';
	json_t *v = NULL;
	cr_assert(eq(int, yaml_to_json(text, strlen(text), &v, NULL), ERR_OK));
	json_decref(v);
	memset(text, '[', YAML_DEPTH_MAX + 1);
	memset(text + YAML_DEPTH_MAX + 1, ']', YAML_DEPTH_MAX + 1);
	text[2 * (YAML_DEPTH_MAX + 1)] = '\0';
	refused(text, "nested too deeply");
}

Test(yaml, the_number_of_values_is_bounded)
{
	struct buf b = {0};
	buf_text(&b, "[");
	for (int i = 1; i < YAML_NODES_MAX; i++)
		buf_text(&b, "1,");
	json_t *v = NULL;
	buf_text(&b, "]");
	cr_assert(eq(int, yaml_to_json(b.data, b.len, &v, NULL), ERR_OK));
	cr_assert(eq(sz, json_array_size(v), YAML_NODES_MAX - 1));
	json_decref(v);
	b.data[b.len - 1] = ' ';
	buf_text(&b, "1]");
	refused(b.data, "too many values");
	buf_fini(&b);
}

static void write_file(char *path, const char *text)
{
	int fd = mkstemps(path, 5);
	cr_assert(fd >= 0);
	cr_assert(eq(int, (int)write(fd, text, strlen(text)), (int)strlen(text)));
	close(fd);
}

Test(yaml, files_by_name_and_content)
{
	char json[] = "/tmp/weir-XXXXXX.json", yaml[] = "/tmp/weir-XXXXXX.yaml";
	json_t *v = NULL;
	struct err e = {0};
	write_file(json, "a: 1");
	write_file(yaml, "{a: 1}");
	cr_assert(eq(int, yaml_read_file(json, 100, &v, &e), ERR_INVALID));
	cr_assert(ne(ptr, strstr(e.text, json), NULL), "%s", e.text);
	cr_assert(ne(ptr, strstr(e.text, "malformed JSON"), NULL), "%s", e.text);
	cr_assert(eq(int, yaml_read_file(yaml, 6, &v, &e), ERR_OK));
	cr_assert(eq(i64, json_integer_value(json_object_get(v, "a")), 1));
	json_decref(v);
	cr_assert(eq(int, yaml_read_file(yaml, 5, &v, &e), ERR_LIMIT));
	cr_assert(ne(ptr, strstr(e.text, "5 bytes"), NULL), "%s", e.text);
	unlink(json);
	unlink(yaml);
	cr_assert(eq(int, yaml_read_file(yaml, 5, &v, &e), ERR_NOTFOUND));
	cr_assert(eq(int, yaml_read_file("/tmp", 5, &v, &e), ERR_IO));
}
