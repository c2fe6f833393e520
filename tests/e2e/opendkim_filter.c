/* opendkim_filter: libopendkim as a peer of tests and benchmarks. argv[1]: a file of keys, "name record". What comes on the input
 * is answered line by line: "verify\tSIZE" and the message; "sign\tDOMAIN\tSELECTOR\tKEYFILE\tHEADER\tBODY\tSIZE" and the
 * message; "time\tROUNDS\tSIZE" and the message: microseconds for each verification. */
#include <stdbool.h>
#include <sys/types.h>

#include <opendkim/dkim.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

static char *slurp(const char *path)
{
	char *text = calloc(1, 65536);
	FILE *f = fopen(path, "r");

	if (f && text)
		text[fread(text, 1, 65535, f)] = 0;
	if (f)
		fclose(f);
	return text;
}

static const char *verify(DKIM_LIB *lib, char *bytes, size_t size)
{
	DKIM_STAT status;
	DKIM *dkim = dkim_verify(lib, (const unsigned char *)"id", NULL, &status);
	const char *result;

	if (!dkim)
		return "error";
	status = dkim_chunk(dkim, (unsigned char *)bytes, size);
	if (status == DKIM_STAT_OK)
		status = dkim_chunk(dkim, NULL, 0);
	if (status == DKIM_STAT_OK)
		status = dkim_eom(dkim, NULL);
	result = status == DKIM_STAT_OK       ? "pass"
		 : status == DKIM_STAT_BADSIG ? "fail"
					      : dkim_getresultstr(status);
	dkim_free(dkim);
	return result;
}

static void sign(DKIM_LIB *lib, char **words, char *bytes, size_t size)
{
	unsigned char *key = (unsigned char *)slurp(words[3]);
	unsigned char header[8192];
	DKIM_STAT status;
	DKIM *dkim = dkim_sign(lib, (const unsigned char *)"id", NULL, key, (unsigned char *)words[2],
			       (unsigned char *)words[1],
			       strcmp(words[4], "relaxed") ? DKIM_CANON_SIMPLE : DKIM_CANON_RELAXED,
			       strcmp(words[5], "relaxed") ? DKIM_CANON_SIMPLE : DKIM_CANON_RELAXED,
			       DKIM_SIGN_RSASHA256, -1, &status);

	if (dkim)
		status = dkim_chunk(dkim, (unsigned char *)bytes, size);
	if (dkim && status == DKIM_STAT_OK)
		status = dkim_chunk(dkim, NULL, 0);
	if (dkim && status == DKIM_STAT_OK)
		status = dkim_eom(dkim, NULL);
	if (dkim && status == DKIM_STAT_OK)
		status = dkim_getsighdr(dkim, header, sizeof(header), strlen("DKIM-Signature: "));
	if (dkim && status == DKIM_STAT_OK)
		printf("%zu\nDKIM-Signature: %s\r\n", strlen((char *)header) + strlen("DKIM-Signature: \r\n"),
		       header);
	else
		printf("0 %s\n", dkim_getresultstr(status));
	if (dkim)
		dkim_free(dkim);
	free(key);
}

int main(int argc, char **argv)
{
	DKIM_LIB *lib = dkim_init(NULL, NULL);
	dkim_query_t method = DKIM_QUERY_FILE;
	char *line = NULL;
	size_t room = 0;
	ssize_t len;

	if (argc < 2 || !lib ||
	    dkim_options(lib, DKIM_OP_SETOPT, DKIM_OPTS_QUERYMETHOD, &method, sizeof(method)) !=
		DKIM_STAT_OK ||
	    dkim_options(lib, DKIM_OP_SETOPT, DKIM_OPTS_QUERYINFO, argv[1], strlen(argv[1])) != DKIM_STAT_OK)
		return 1;
	while ((len = getline(&line, &room, stdin)) > 0) {
		char *words[8] = {"", "", "", "", "", "", "", ""}, *rest = line, *bytes;
		unsigned count = 0;
		size_t size;

		line[len - 1] = 0;
		while (count < 8 && (words[count] = strsep(&rest, "\t")))
			count++;
		size = strtoul(words[count - 1], NULL, 10);
		bytes = malloc(size + 1);
		if (!bytes || fread(bytes, 1, size, stdin) != size)
			return 1;
		if (strcmp(words[0], "sign") == 0) {
			sign(lib, words, bytes, size);
		} else if (strcmp(words[0], "time") == 0) {
			unsigned rounds = (unsigned)strtoul(words[1], NULL, 10);
			struct timespec start, end;
			const char *result = "";

			clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &start);
			for (unsigned i = 0; i < rounds; i++)
				result = verify(lib, bytes, size);
			clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &end);
			printf("%s %.2f\n", result,
			       ((double)(end.tv_sec - start.tv_sec) * 1e6 +
				(double)(end.tv_nsec - start.tv_nsec) / 1e3) /
				   rounds);
		} else {
			printf("%s\n", verify(lib, bytes, size));
		}
		fflush(stdout);
		free(bytes);
	}
	free(line);
	dkim_close(lib);
	return 0;
}
