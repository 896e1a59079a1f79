/* drill_page - the page of drill_report.h. */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "base/buf.h"
#include "base/mem.h"
#include "cli/drill_report.h"
#include "cli/table.h"

enum {
	WIDTH = 1100,
	HEIGHT = 180,
	LEFT = 70,
	TOP = 14,
	BOTTOM = 24,
	POINTS_MAX = 1500,
	TICKS_MAX = 14
};

/* One of the two curves. */
struct curve {
	const char *title, *color;
	int64_t (*of)(const struct drill_sample *s);
	bool rate; /* a sum over a time, not the highest within it */
};

static int64_t rows_of(const struct drill_sample *s)
{
	return s->rows;
}

static int64_t age_of(const struct drill_sample *s)
{
	return s->silent_ms;
}

static int64_t uncommitted_of(const struct drill_sample *s)
{
	return s->uncommitted_ms;
}

static const char page_head[] =
	"<!doctype html><html lang=\"en\"><head><meta charset=\"utf-8\"><title>Weir drill</title>"
	"<style>body{font:14px/1.5 system-ui,sans-serif;max-width:1200px;margin:2em auto;padding:0 "
	"1em;color:#222}"
	"table{border-collapse:collapse;width:100%}td,th{padding:3px 9px;border-bottom:1px solid "
	"#ddd;text-align:right;white-space:nowrap}"
	"th{background:#f4f4f4;white-space:normal;vertical-align:bottom}"
	"td:nth-child(2),td:nth-child(3),td:last-child,th:nth-child(2),"
	"th:nth-child(3),th:last-child{text-align:left}"
	".held{color:#176b2c}.broken{color:#b00020;font-weight:bold}svg{width:100%;height:auto;"
	"margin:.5em 0 1.5em}svg text{font:11px system-ui,sans-serif;fill:#555}</style></head>"
	"<body>";

/* What of it is text from outside. */
static void escaped(struct buf *b, const char *text)
{
	for (; *text; text++)
		switch (*text) {
		case '<':
			buf_text(b, "&lt;");
			break;
		case '&':
			buf_text(b, "&amp;");
			break;
		default:
			buf_add(b, text, 1);
		}
}

/* ---- the plot ---- */

static double x_of(const struct drill_report *r, int64_t at_ms)
{
	double span = r->took_ms > 0 ? (double)r->took_ms : 1;
	double x = LEFT + (double)at_ms / span * (WIDTH - LEFT - 10);
	return x > WIDTH - 10 ? WIDTH - 10 : x;
}

static double y_of(double value, double top)
{
	return TOP + (1 - value / top) * (HEIGHT - TOP - BOTTOM);
}

/* The value of the k-th of `n` equal spans of time: samples come as irregularly as the machine
 * lets them. */
static double value_at(const struct drill_report *r, const struct curve *c, unsigned k, unsigned n,
		       unsigned *at)
{
	int64_t from = r->took_ms * k / n, to = r->took_ms * (k + 1) / n;
	double value = 0;
	for (; *at < r->n_samples && r->samples[*at].at_ms < to; (*at)++) {
		double here = (double)c->of(&r->samples[*at]);
		if (c->rate)
			value += here;
		else if (here > value)
			value = here;
	}
	return c->rate && to > from ? value * 1000 / (double)(to - from) : value;
}

static void marks(struct buf *b, const struct drill_report *r)
{
	for (unsigned i = 0; i < r->n; i++) {
		const struct drill_result *f = &r->results[i];
		double from = x_of(r, f->at_ms), to = x_of(r, f->healed_ms);
		buf_printf(b,
			   "<g><rect x=\"%.1f\" y=\"%d\" width=\"%.1f\" height=\"%d\" "
			   "fill=\"#b00020\" opacity=\".18\"/><line x1=\"%.1f\" x2=\"%.1f\" "
			   "y1=\"%d\" y2=\"%d\" stroke=\"#b00020\"/><title>%s ",
			   from, TOP, to - from > 1 ? to - from : 1, HEIGHT - TOP - BOTTOM, from,
			   from, TOP, HEIGHT - BOTTOM, drill_kind(f->fault)->name);
		escaped(b, f->victim);
		buf_text(b, "</title></g>");
	}
}

/* The smallest of 1, 2, 5, 10, 20, ... that is not below `value`. */
static double round_up(double value)
{
	static const double steps[] = {1, 2, 5};
	for (double unit = 1;; unit *= 10)
		for (int i = 0; i < 3; i++)
			if (unit * steps[i] >= value)
				return unit * steps[i];
}

static void axes(struct buf *b, const struct drill_report *r, double top)
{
	char text[TABLE_CELL_MAX];
	int64_t step = (int64_t)round_up((double)r->took_ms / TICKS_MAX);
	for (int i = 0; i <= 2; i++) {
		double value = top * i / 2;
		buf_printf(b,
			   "<line x1=\"%d\" x2=\"%d\" y1=\"%.1f\" y2=\"%.1f\" stroke=\"#ddd\"/>"
			   "<text x=\"%d\" y=\"%.1f\" text-anchor=\"end\">%.0f</text>",
			   LEFT, WIDTH - 10, y_of(value, top), y_of(value, top), LEFT - 6,
			   y_of(value, top) + 4, value);
	}
	for (int64_t at = 0; at <= r->took_ms; at += step) {
		buf_printf(b, "<text x=\"%.1f\" y=\"%d\" text-anchor=\"middle\">%s</text>",
			   x_of(r, at), HEIGHT - 6, table_duration(at, text));
	}
}

static void plot(struct buf *b, const struct drill_report *r, const struct curve *c)
{
	unsigned n = r->n_samples < POINTS_MAX ? r->n_samples : POINTS_MAX, at = 0;
	double *values = mem_array(n + 1, sizeof(*values)), top = 1;
	/* Two samples to a span, so that none is empty. */
	n = n > 1 ? n / 2 : n;
	for (unsigned i = 0; i < n; i++) {
		values[i] = value_at(r, c, i, n, &at);
		top = values[i] > top ? values[i] : top;
	}
	top = round_up(top);
	buf_printf(b, "<h3>%s</h3><svg viewBox=\"0 0 %d %d\">", c->title, WIDTH, HEIGHT);
	axes(b, r, top);
	marks(b, r);
	buf_printf(b, "<polyline fill=\"none\" stroke=\"%s\" stroke-width=\"1.2\" points=\"",
		   c->color);
	for (unsigned i = 0; i < n; i++)
		buf_printf(b, "%.1f,%.1f ", x_of(r, r->took_ms * i / n), y_of(values[i], top));
	buf_text(b, "\"/></svg>");
	free(values);
}

/* ---- the table ---- */

static void cell_ms(struct buf *b, int64_t ms)
{
	char text[TABLE_CELL_MAX];
	buf_printf(b, "<td>%s</td>", table_duration(ms, text));
}

static void row(struct buf *b, const struct drill_result *f)
{
	char why[DRILL_WHY_MAX];
	bool held = drill_judge(f, why);
	buf_text(b, "<tr>");
	cell_ms(b, f->at_ms);
	buf_printf(b, "<td>%s</td><td>", drill_kind(f->fault)->name);
	escaped(b, f->victim);
	buf_text(b, "</td>");
	cell_ms(b, f->detected_ms);
	cell_ms(b, f->commanding_ms);
	cell_ms(b, f->recovered_ms);
	cell_ms(b, f->gap_ms);
	buf_printf(b, "<td>%u</td><td>%u</td><td class=\"%s\">%s", f->tasks_restarted,
		   f->checkpoints_lost, held ? "held" : "broken", held ? "held" : "BROKEN: ");
	escaped(b, why);
	buf_text(b, "</td></tr>");
}

static void table(struct buf *b, const struct drill_report *r)
{
	buf_text(b, "<table><tr><th>at</th><th>fault</th><th>struck</th><th>detected after</th>"
		    "<th>next leader commanding after</th><th>as before after</th>"
		    "<th>longest gap in the output</th><th>tasks restarted</th>"
		    "<th>checkpoints lost</th><th>verdict</th></tr>");
	for (unsigned i = 0; i < r->n; i++)
		row(b, &r->results[i]);
	buf_text(b, "</table>");
}

static void summary(struct buf *b, const struct drill_report *r)
{
	char when[TABLE_CELL_MAX], took[TABLE_CELL_MAX];
	unsigned broken = drill_report_broken(r);
	buf_text(b, "<h1>Drill: ");
	escaped(b, r->scenario);
	buf_printf(b, "</h1><p>%s UTC, %u %s in %s", table_time(r->started_wall_ms, when), r->n,
		   r->n == 1 ? "fault" : "faults", table_duration(r->took_ms, took));
	if (r->seeded)
		buf_printf(b, ", seed %" PRIu64, r->seed);
	if (r->totals.counted)
		buf_printf(b,
			   ". Of %" PRId64 " records %" PRId64 " were lost and %" PRId64 " doubled",
			   r->totals.expected, r->totals.lost, r->totals.doubled);
	else
		buf_text(b, ". The records of the output were not counted");
	if (broken)
		buf_printf(b, ".</p><p class=\"broken\">%u promises broken.", broken);
	else
		buf_text(b, ".</p><p class=\"held\">All promises held.");
	if (r->trouble) {
		buf_text(b, " The drill did not come to its end: ");
		escaped(b, r->trouble);
	}
	buf_text(b, "</p>");
}

static const struct curve curves[] = {
	{"Records written per second", "#1f5fa8", rows_of, true},
	{"Age of the last output, ms", "#a85f1f", age_of, false},
	{"Age of the last committed output, ms", "#5f1fa8", uncommitted_of, false}};

enum { AGE = 1 }; /* of curves[] */

/* Nothing but the commits was seen: one curve says it all. */
static bool same_ages(const struct drill_report *r)
{
	for (unsigned i = 0; i < r->n_samples; i++)
		if (age_of(&r->samples[i]) != uncommitted_of(&r->samples[i]))
			return false;
	return true;
}

enum errc drill_report_page(const struct drill_report *r, const char *dir, struct err *e)
{
	struct buf b = {0};
	if (mkdir(dir, 0755) != 0 && errno != EEXIST)
		return err_errno(e, errno, "make %s", dir);
	buf_text(&b, page_head);
	summary(&b, r);
	for (unsigned i = 0; i < sizeof(curves) / sizeof(curves[0]) && r->sees_output; i++)
		if (i != AGE || !same_ages(r))
			plot(&b, r, &curves[i]);
	if (!r->sees_output)
		buf_text(&b, "<p>No output was watched: --output names its directory.</p>");
	table(&b, r);
	buf_text(&b, "</body></html>\n");
	char *path = mem_printf("%s/index.html", dir);
	FILE *f = fopen(path, "we");
	enum errc rc = ERR_OK;
	if (f == NULL || fwrite(b.data, 1, b.len, f) != b.len)
		rc = err_errno(e, errno, "write %s", path);
	if (f && fclose(f) != 0 && rc == ERR_OK)
		rc = err_errno(e, errno, "write %s", path);
	free(path);
	buf_fini(&b);
	return rc;
}
