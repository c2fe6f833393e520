#include "sieve.h"
enum rc sieve_run(struct run *run, struct slice text)
{
	(void)text;
	return err_set(run->err, FAIL, "Sieve filters are not supported yet");
}
enum rc sieve_check(struct arena *arena, struct slice text, struct err *err)
{
	(void)arena;
	(void)text;
	return err_set(err, FAIL, "Sieve filters are not supported yet");
}
