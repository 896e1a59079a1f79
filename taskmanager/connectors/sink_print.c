/*
 * sink.print - each row as one line on the worker's standard output, behind the
 * number of its subtask (from 1) and "> ". A row of one string column is
 * printed as its text alone, others as JSON. After a failure rows may be
 * printed again: what is printed cannot be taken back.
 */
#include <errno.h>
#include <poll.h>
#include <string.h>
#include <unistd.h>

#include "taskmanager/connectors/connectors.h"
#include "taskmanager/connectors/render.h"

struct sink_print {
	struct op op;
	struct buf text;
};

static enum errc write_out(struct buf *text, struct err *e)
{
	for (size_t done = 0; done < text->len;) {
		ssize_t n = write(STDOUT_FILENO, text->data + done, text->len - done);
		if (n < 0 && errno == EAGAIN) {
			struct pollfd p = {.fd = STDOUT_FILENO, .events = POLLOUT};
			poll(&p, 1, 1000);
		} else if (n < 0 && errno != EINTR) {
			return err_errno(e, errno, "print");
		} else if (n > 0) {
			done += (size_t)n;
		}
	}
	buf_clear(text);
	return ERR_OK;
}

static enum errc on_batch(struct op *o, const struct batch *in, struct op_out *out, struct err *e)
{
	struct sink_print *s = (struct sink_print *)o;
	const struct op_context *c = o->context;
	bool plain = c->input->n == 1 && c->input->types[0] == SPEC_STRING;
	(void)out;
	batch_each(in, r)
	{
		buf_printf(&s->text, "%u> ", c->subtask + 1);
		render_row(plain ? RENDER_TSV : RENDER_JSON, c->input_schema, c->input, r,
			   &s->text);
	}
	return write_out(&s->text, e);
}

static void close_(struct op *o)
{
	buf_fini(&((struct sink_print *)o)->text);
}

const struct op_type connector_sink_print = {
	.name = "sink.print",
	.size = sizeof(struct sink_print),
	.sink = true,
	.on_batch = on_batch,
	.close = close_,
};
