#include "base/options.h"

#include <assert.h>
#include <ctype.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "base/text.h"
#include "base/yaml.h"

enum { CONFIG_BYTES_MAX = 1 << 20, FLAG_COLUMN = 28 };

struct setting {
	const struct option *spec;
	char *env; /* owns: "WEIR_ETCD_ENDPOINTS" */
	enum option_origin origin;
	char *text;      /* owns: the value as it was written; NULL: unset */
	uint64_t number; /* u64, duration (ms), size (bytes) */
	bool truth;
	char **items; /* owns: the list, NULL-ended; NULL while unset */
	unsigned n_items;
};

/* One flag of the command line, kept until file and environment have had their turn. */
struct given {
	unsigned setting;
	char *text;        /* owns */
	const char *where; /* borrows: the argument */
};

struct options {
	struct setting *settings;
	unsigned n;
	const char **args; /* owns the array, borrows the texts */
	unsigned n_args;
	struct given *given;
	unsigned n_given;
	const char *config_path;
	bool help, version;
};

static const char *const no_items[] = {NULL};

/* ---- tables ---- */

struct options *options_create(void)
{
	return mem_alloc(sizeof(struct options));
}

static void clear_value(struct setting *s)
{
	free(s->text);
	for (unsigned i = 0; i < s->n_items; i++)
		free(s->items[i]);
	free(s->items);
	s->text = NULL;
	s->items = NULL;
	s->n_items = 0;
}

void options_destroy(struct options *o)
{
	if (o == NULL)
		return;
	for (unsigned i = 0; i < o->n; i++) {
		clear_value(&o->settings[i]);
		free(o->settings[i].env);
	}
	for (unsigned i = 0; i < o->n_given; i++)
		free(o->given[i].text);
	free(o->settings);
	free(o->given);
	free(o->args);
	free(o);
}

/* "s3.secretKey" -> "WEIR_S3_SECRET_KEY" */
static char *env_name(const char *key)
{
	struct buf b = {0};
	buf_text(&b, "WEIR_");
	for (const char *p = key; *p; p++) {
		unsigned char c = (unsigned char)*p;
		if (isupper(c))
			buf_add(&b, "_", 1);
		char up = isalnum(c) ? (char)toupper(c) : '_';
		buf_add(&b, &up, 1);
	}
	return buf_take(&b, NULL);
}

static struct setting *by_key(const struct options *o, const char *key)
{
	for (unsigned i = 0; i < o->n; i++)
		if (strcmp(o->settings[i].spec->key, key) == 0)
			return &o->settings[i];
	return NULL;
}

static struct setting *by_flag(const struct options *o, const char *flag, size_t len)
{
	for (unsigned i = 0; i < o->n; i++) {
		const char *own = o->settings[i].spec->flag;
		if (own && strlen(own) == len && memcmp(own, flag, len) == 0)
			return &o->settings[i];
	}
	return NULL;
}

void options_add(struct options *o, const struct option *table)
{
	for (; table->key; table++) {
		assert(by_key(o, table->key) == NULL);
		assert(!table->flag || !by_flag(o, table->flag, strlen(table->flag)));
		o->settings = mem_resize(o->settings, o->n + 1, sizeof(*o->settings));
		o->settings[o->n++] = (struct setting){.spec = table, .env = env_name(table->key)};
	}
}

/* ---- "did you mean" ---- */

static void consider(const char *wanted, const char *candidate, const char **best, unsigned *score)
{
	unsigned d = candidate ? text_distance(wanted, candidate) : *score;
	if (d < *score) {
		*score = d;
		*best = candidate;
	}
}

/* A candidate nearer than a third of what was written, or at least two characters away. */
static unsigned near_enough(const char *wanted)
{
	size_t third = strlen(wanted) / 3;
	return third < 3 ? 3 : (unsigned)third + 1;
}

static enum errc unknown(const struct options *o, bool flag, const char *name, struct err *e)
{
	const char *best = NULL;
	unsigned score = near_enough(name);
	for (unsigned i = 0; i < o->n; i++)
		consider(name, flag ? o->settings[i].spec->flag : o->settings[i].spec->key, &best,
			 &score);
	if (flag) {
		static const char *const common[] = {"--help", "--version", "--config", "--set"};
		for (unsigned i = 0; i < 4; i++)
			consider(name, common[i], &best, &score);
	}
	return err_set(e, ERR_INVALID, "unknown %s %.80s%s%s%s", flag ? "flag" : "key", name,
		       best ? " (did you mean " : "", best ? best : "", best ? "?)" : "");
}

/* ---- values ---- */

static enum errc parse_bool(const char *text, bool *out, struct err *e)
{
	bool yes = strcmp(text, "true") == 0;
	if (!yes && strcmp(text, "false") != 0)
		return err_set(e, ERR_INVALID, "\"%.40s\" is neither true nor false", text);
	*out = yes;
	return ERR_OK;
}

static enum errc parse_list(struct setting *s, const char *text, struct err *e)
{
	for (const char *p = text; *text; p++) {
		size_t len = strcspn(p, ",");
		if (len == 0)
			return err_set(e, ERR_INVALID, "\"%.60s\" has an empty item", text);
		s->items = mem_resize(s->items, s->n_items + 2, sizeof(*s->items));
		s->items[s->n_items++] = mem_text_n(p, len);
		s->items[s->n_items] = NULL;
		p += len;
		if (*p == '\0')
			break;
	}
	return ERR_OK;
}

static enum errc check_choice(const struct option *spec, const char *text, struct err *e)
{
	if (spec->choices == NULL)
		return ERR_OK;
	struct buf all = {.max = 200};
	for (unsigned i = 0; spec->choices[i]; i++) {
		if (strcmp(spec->choices[i], text) == 0) {
			buf_fini(&all);
			return ERR_OK;
		}
		buf_printf(&all, "%s%s", i ? ", " : "", spec->choices[i]);
	}
	err_set(e, ERR_INVALID, "\"%.40s\" is none of %s", text, all.data ? all.data : "(nothing)");
	buf_fini(&all);
	return ERR_INVALID;
}

static const char *unit_of(enum option_type type)
{
	return type == OPTION_DURATION ? " ms" : type == OPTION_SIZE ? " bytes" : "";
}

static enum errc check_range(const struct option *spec, uint64_t n, struct err *e)
{
	if (n < spec->min)
		return err_set(e, ERR_INVALID, "must be at least %llu%s",
			       (unsigned long long)spec->min, unit_of(spec->type));
	if (spec->max && n > spec->max)
		return err_set(e, ERR_INVALID, "must be at most %llu%s",
			       (unsigned long long)spec->max, unit_of(spec->type));
	return ERR_OK;
}

static enum errc parse_number(struct setting *s, const char *text, struct err *e)
{
	uint64_t n = 0;
	enum errc rc = s->spec->type == OPTION_DURATION ? text_duration_ms(text, &n, e)
		       : s->spec->type == OPTION_SIZE   ? text_size(text, &n, e)
							: text_u64(text, &n, e);
	rc = rc ? rc : check_range(s->spec, n, e);
	s->number = rc ? 0 : n;
	return rc;
}

static enum errc parse_value(struct setting *s, const char *text, struct err *e)
{
	switch (s->spec->type) {
	case OPTION_TEXT:
		return check_choice(s->spec, text, e);
	case OPTION_U64:
	case OPTION_DURATION:
	case OPTION_SIZE:
		return parse_number(s, text, e);
	case OPTION_BOOL:
		return parse_bool(text, &s->truth, e);
	case OPTION_LIST:
		return parse_list(s, text, e);
	}
	return err_set(e, ERR_INVALID, "has no type");
}

static enum errc assign(struct setting *s, const char *text, enum option_origin origin,
			const char *where, struct err *e)
{
	char *copy = mem_text(text); /* `text` may be the value that is replaced */
	clear_value(s);
	s->text = copy;
	s->origin = origin;
	enum errc rc = parse_value(s, copy, e);
	return rc ? err_wrap(e, rc, "%s", where) : ERR_OK;
}

/* ---- the command line ---- */

static void remember(struct options *o, const struct setting *s, const char *text,
		     const char *where)
{
	o->given = mem_resize(o->given, o->n_given + 1, sizeof(*o->given));
	o->given[o->n_given++] = (struct given){
		.setting = (unsigned)(s - o->settings), .text = mem_text(text), .where = where};
}

static void add_arg(struct options *o, const char *arg)
{
	o->args = mem_resize(o->args, o->n_args + 2, sizeof(*o->args));
	o->args[o->n_args++] = arg;
	o->args[o->n_args] = NULL;
}

static enum errc remember_set(struct options *o, const char *text, struct err *e)
{
	const char *equals = strchr(text, '=');
	if (equals == NULL)
		return err_set(e, ERR_INVALID, "--set %.60s: must be key=value", text);
	char *key = mem_text_n(text, (size_t)(equals - text));
	const struct setting *s = by_key(o, key);
	enum errc rc = s ? ERR_OK : unknown(o, false, key, e);
	if (s)
		remember(o, s, equals + 1, s->spec->key);
	free(key);
	return rc ? err_wrap(e, rc, "--set") : ERR_OK;
}

/* One flag with its value; *used counts the following arguments that were its value. */
static enum errc flag(struct options *o, const char *arg, const char *next, int *used,
		      struct err *e)
{
	size_t len = strcspn(arg, "=");
	const char *text = arg[len] ? arg + len + 1 : NULL;
	bool set = len == 5 && memcmp(arg, "--set", 5) == 0;
	bool config = len == 8 && memcmp(arg, "--config", 8) == 0;
	const struct setting *s = by_flag(o, arg, len);
	if (s == NULL && !set && !config) {
		char *name = mem_text_n(arg, len);
		enum errc rc = unknown(o, true, name, e);
		free(name);
		return rc;
	}
	if (text == NULL && s && s->spec->type == OPTION_BOOL)
		text = "true";
	if (text == NULL) {
		if (next == NULL)
			return err_set(e, ERR_INVALID, "%.80s: a value must follow", arg);
		text = next;
		*used = 1;
	}
	if (set)
		return remember_set(o, text, e);
	if (config)
		o->config_path = text;
	else
		remember(o, s, text, s->spec->flag);
	return ERR_OK;
}

static enum errc read_arguments(struct options *o, int argc, const char *const *argv, struct err *e)
{
	bool flags = true;
	for (int i = 1; i < argc; i++) {
		const char *arg = argv[i];
		int used = 0;
		enum errc rc = ERR_OK;
		if (!flags || arg[0] != '-' || arg[1] == '\0')
			add_arg(o, arg);
		else if (strcmp(arg, "--") == 0)
			flags = false;
		else if (strcmp(arg, "--help") == 0 || strcmp(arg, "-h") == 0)
			o->help = true;
		else if (strcmp(arg, "--version") == 0)
			o->version = true;
		else
			rc = flag(o, arg, i + 1 < argc ? argv[i + 1] : NULL, &used, e);
		if (rc)
			return rc;
		i += used;
	}
	return ERR_OK;
}

static bool asks_for_help(struct options *o, int argc, const char *const *argv)
{
	for (int i = 1; i < argc && strcmp(argv[i], "--") != 0; i++) {
		o->help = o->help || strcmp(argv[i], "--help") == 0 || strcmp(argv[i], "-h") == 0;
		o->version = o->version || strcmp(argv[i], "--version") == 0;
	}
	return o->help || o->version;
}

/* ---- the file ---- */

static enum errc text_of_list(const json_t *array, struct buf *out, struct err *e)
{
	size_t i;
	json_t *item;
	json_array_foreach (array, i, item) {
		const char *text = json_string_value(item);
		if (text == NULL || strchr(text, ',') || text[0] == '\0')
			return err_set(e, ERR_INVALID, "item %zu: must be a text without commas",
				       i);
		buf_printf(out, "%s%s", i ? "," : "", text);
	}
	return ERR_OK;
}

static enum errc text_of_scalar(const json_t *v, struct buf *out, struct err *e)
{
	switch (json_typeof(v)) {
	case JSON_STRING:
		buf_text(out, json_string_value(v));
		return ERR_OK;
	case JSON_INTEGER:
		buf_printf(out, "%" JSON_INTEGER_FORMAT, json_integer_value(v));
		return ERR_OK;
	case JSON_TRUE:
	case JSON_FALSE:
		buf_text(out, json_is_true(v) ? "true" : "false");
		return ERR_OK;
	case JSON_NULL:
	case JSON_REAL:
	case JSON_ARRAY:
	case JSON_OBJECT:
		break;
	}
	return err_set(e, ERR_INVALID, "must be a text, a whole number, true or false");
}

static enum errc assign_json(struct setting *s, const json_t *v, struct err *e)
{
	struct buf text = {0};
	buf_text(&text, "");
	bool list = s->spec->type == OPTION_LIST && json_is_array(v);
	enum errc rc = list ? text_of_list(v, &text, e) : text_of_scalar(v, &text, e);
	if (rc)
		err_wrap(e, rc, "%s", s->spec->key);
	else
		rc = assign(s, text.data, OPTION_FILE, s->spec->key, e);
	buf_fini(&text);
	return rc;
}

/* `at` is the dotted path of `object`, "" at the top. */
static enum errc read_object(struct options *o, const char *at, json_t *object, struct err *e)
{
	const char *name;
	json_t *v;
	enum errc rc = ERR_OK;
	json_object_foreach (object, name, v) {
		char *path = mem_printf("%s%s%s", at, at[0] ? "." : "", name);
		struct setting *s = by_key(o, path);
		if (s)
			rc = assign_json(s, v, e);
		else if (json_is_object(v))
			rc = read_object(o, path, v, e);
		else
			rc = unknown(o, false, path, e);
		free(path);
		if (rc)
			break;
	}
	return rc;
}

static enum errc read_config(struct options *o, struct err *e)
{
	json_t *root;
	enum errc rc = yaml_read_file(o->config_path, CONFIG_BYTES_MAX, &root, e);
	if (rc)
		return err_wrap(e, rc, "configuration");
	if (json_is_object(root))
		rc = read_object(o, "", root, e);
	else if (!json_is_null(root))
		rc = err_set(e, ERR_INVALID, "must be a mapping of keys to values");
	json_decref(root);
	return rc ? err_wrap(e, rc, "configuration: %s", o->config_path) : ERR_OK;
}

/* ---- the environment ---- */

/* NULL if unset; an empty variable counts as unset. */
static const char *variable(const char *const *env, const char *name)
{
	size_t len = strlen(name);
	for (; env && *env; env++)
		if (strncmp(*env, name, len) == 0 && (*env)[len] == '=')
			return (*env)[len + 1] ? *env + len + 1 : NULL;
	return NULL;
}

static enum errc read_env(struct options *o, const char *const *env, struct err *e)
{
	for (unsigned i = 0; i < o->n; i++) {
		struct setting *s = &o->settings[i];
		const char *text = variable(env, s->env);
		enum errc rc = text ? assign(s, text, OPTION_ENV, s->env, e) : ERR_OK;
		if (rc)
			return rc;
	}
	return ERR_OK;
}

/* ---- all together ---- */

static enum errc apply_flags(struct options *o, struct err *e)
{
	for (unsigned i = 0; i < o->n_given; i++) {
		const struct given *g = &o->given[i];
		enum errc rc = assign(&o->settings[g->setting], g->text, OPTION_FLAG, g->where, e);
		if (rc)
			return rc;
	}
	return ERR_OK;
}

static enum errc apply_defaults(struct options *o, struct err *e)
{
	for (unsigned i = 0; i < o->n; i++) {
		struct setting *s = &o->settings[i];
		if (s->text || s->spec->fallback == NULL)
			continue;
		enum errc rc = assign(s, s->spec->fallback, OPTION_DEFAULT, s->spec->key, e);
		if (rc)
			return rc;
	}
	return ERR_OK;
}

enum errc options_load(struct options *o, int argc, const char *const *argv, const char *const *env,
		       struct err *e)
{
	if (asks_for_help(o, argc, argv))
		return ERR_OK;
	enum errc rc = read_arguments(o, argc, argv, e);
	if (rc == ERR_OK && o->config_path == NULL)
		o->config_path = variable(env, "WEIR_CONFIG");
	if (rc == ERR_OK && o->config_path)
		rc = read_config(o, e);
	rc = rc ? rc : read_env(o, env, e);
	rc = rc ? rc : apply_flags(o, e);
	return rc ? rc : apply_defaults(o, e);
}

/* ---- reading ---- */

bool options_help_wanted(const struct options *o)
{
	return o->help;
}

bool options_version_wanted(const struct options *o)
{
	return o->version;
}

const char *const *options_args(const struct options *o, unsigned *out_n)
{
	*out_n = o->n_args;
	return o->args ? o->args : no_items;
}

static const struct setting *need(const struct options *o, const char *key, enum option_type type)
{
	const struct setting *s = by_key(o, key);
	assert(s != NULL);
	assert(s->spec->type == type);
	return s;
}

const char *options_text(const struct options *o, const char *key)
{
	return need(o, key, OPTION_TEXT)->text;
}

uint64_t options_u64(const struct options *o, const char *key)
{
	return need(o, key, OPTION_U64)->number;
}

uint64_t options_ms(const struct options *o, const char *key)
{
	return need(o, key, OPTION_DURATION)->number;
}

uint64_t options_bytes(const struct options *o, const char *key)
{
	return need(o, key, OPTION_SIZE)->number;
}

bool options_bool(const struct options *o, const char *key)
{
	return need(o, key, OPTION_BOOL)->truth;
}

const char *const *options_list(const struct options *o, const char *key, unsigned *out_n)
{
	const struct setting *s = need(o, key, OPTION_LIST);
	*out_n = s->n_items;
	return s->items ? (const char *const *)s->items : no_items;
}

enum option_origin options_origin(const struct options *o, const char *key)
{
	const struct setting *s = by_key(o, key);
	assert(s != NULL);
	return s->origin;
}

const char *option_origin_name(enum option_origin origin)
{
	static const char *const names[] = {"unset", "default", "file", "environment", "flag"};
	return names[origin];
}

/* ---- showing ---- */

json_t *options_json(const struct options *o)
{
	json_t *all = json_array();
	for (unsigned i = 0; i < o->n; i++) {
		const struct setting *s = &o->settings[i];
		const char *shown = s->text && s->spec->secret ? "******" : s->text;
		json_array_append_new(all,
				      json_pack("{s:s, s:s?, s:s}", "key", s->spec->key, "value",
						shown, "origin", option_origin_name(s->origin)));
	}
	return all;
}

static const char *value_word(const struct option *spec)
{
	static const char *const words[] = {"TEXT", "N", "DURATION", "SIZE", "", "ITEM,..."};
	return spec->value ? spec->value : words[spec->type];
}

static void help_line(const char *left, const char *text, struct buf *out)
{
	buf_printf(out, "  %-*s", FLAG_COLUMN - 2, left);
	if (strlen(left) > FLAG_COLUMN - 4)
		buf_printf(out, "\n%*s", FLAG_COLUMN, "");
	buf_printf(out, "%s\n", text);
}

static void help_of(const struct setting *s, struct buf *out)
{
	const struct option *spec = s->spec;
	const char *word = value_word(spec);
	char *left = spec->flag ? mem_printf("%s%s%s", spec->flag, word[0] ? " " : "", word)
				: mem_printf("--set %s=%s", spec->key, word[0] ? word : "true");
	help_line(left, spec->help ? spec->help : "", out);
	buf_printf(out, "%*s(%s%s%s", FLAG_COLUMN, "", spec->flag ? spec->key : "",
		   spec->flag ? ", " : "", s->env);
	if (spec->fallback && spec->fallback[0])
		buf_printf(out, "; default %s", spec->fallback);
	for (unsigned i = 0; spec->choices && spec->choices[i]; i++)
		buf_printf(out, "%s%s", i ? ", " : "; one of ", spec->choices[i]);
	buf_text(out, ")\n");
	free(left);
}

void options_help(const struct options *o, struct buf *out)
{
	for (unsigned i = 0; i < o->n; i++)
		help_of(&o->settings[i], out);
	help_line("--config FILE", "read keys from a YAML or JSON file", out);
	buf_printf(out, "%*s(WEIR_CONFIG)\n", FLAG_COLUMN, "");
	help_line("--set key=value", "set any key", out);
	help_line("--help, -h", "print this text", out);
	help_line("--version", "print the version", out);
}
