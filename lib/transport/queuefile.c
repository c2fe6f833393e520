/* The queuefile transport: its name and option are known, so that a file that has it gets a clear answer. */
#include "local.h"

struct queuefile {
	struct transport transport;
	const struct expansion *directory;
};

static const struct conf_option queuefile_options[] = {
    OPT_EXPAND(struct queuefile, directory, NULL, "where the message's two files go"),
};

static enum rc queuefile_check(struct conf *conf, void *instance, struct err *err)
{
	struct queuefile *q = instance;

	(void)conf;
	if (!q->directory)
		return err_set(err, FAIL, "directory must be set");
	return err_set(err, FAIL, "the queuefile transport is not supported yet");
}

static void queuefile_deliver(struct scope *sc, const struct transport *transport, struct delivery *delivery)
{
	(void)transport;
	outcome_all(sc, delivery, DEFER, "the queuefile transport is not supported yet");
}

static const struct transport_ops queuefile_ops = {.deliver = queuefile_deliver, .local = true};
const struct conf_driver transport_queuefile_driver = {
    .name = "queuefile",
    .size = sizeof(struct queuefile),
    .options = queuefile_options,
    .option_count = ARRAY_COUNT(queuefile_options),
    .check = queuefile_check,
    .ops = &queuefile_ops,
};
