/* What the $ language can ask of a delivery. */
#include "local.h"

static enum rc get_name(struct scope *sc, const struct variable *variable, struct slice *ret, struct err *err)
{
	(void)variable;
	(void)err;
	*ret = sc->transport ? sc->transport->instance.name : SLICE_EMPTY;
	return OK;
}

static enum rc get_host(struct scope *sc, const struct variable *variable, struct slice *ret, struct err *err)
{
	(void)variable;
	(void)err;
	*ret = sc->host ? sc->host->name : SLICE_EMPTY;
	return OK;
}

static enum rc get_host_address(struct scope *sc, const struct variable *variable, struct slice *ret,
				struct err *err)
{
	struct str text = str_make(sc->task->arena);

	(void)variable;
	if (sc->host && sc->host->ip.family)
		str_add_ip(&text, &sc->host->ip);
	*ret = str_slice(&text);
	return ret->ptr ? OK : err_memory(err);
}

static enum rc get_host_port(struct scope *sc, const struct variable *variable, struct slice *ret,
			     struct err *err)
{
	struct str text = str_make(sc->task->arena);
	uint16_t port = !sc->host ? 0 : sc->host->port ? sc->host->port : sc->host->ip.port;

	(void)variable;
	str_addu(&text, port);
	*ret = str_slice(&text);
	return ret->ptr ? OK : err_memory(err);
}

static const struct variable rows[] = {
    {"host", get_host, 0},
    {"host_address", get_host_address, 0},
    {"host_port", get_host_port, 0},
    {"transport_name", get_name, 0},
};
const struct variable_table transport_variables = {rows, ARRAY_COUNT(rows)};
