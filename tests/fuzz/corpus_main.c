/* corpus_main: runs a fuzzer's entry point once over each file of the named folders, without libFuzzer, so
 * that every input that ever broke a parser is a regression test of the ordinary build. */

#include <dirent.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static int run_file(const char *path)
{
	FILE *f = fopen(path, "rb");
	uint8_t *bytes = NULL;
	size_t size = 0, room = 0;

	if (!f) {
		perror(path);
		return 1;
	}
	for (;;) {
		if (size == room) {
			room = room ? room * 2 : 4096;
			bytes = realloc(bytes, room);
			if (!bytes)
				abort();
		}
		size_t got = fread(bytes + size, 1, room - size, f);
		if (got == 0)
			break;
		size += got;
	}
	fclose(f);
	/* An exact copy, so that the address sanitizer sees the first byte too many. */
	uint8_t *exact = malloc(size ? size : 1);
	if (!exact)
		abort();
	memcpy(exact, bytes ? bytes : exact, size);
	LLVMFuzzerTestOneInput(exact, size);
	free(exact);
	free(bytes);
	return 0;
}

int main(int argc, char **argv)
{
	int files = 0, failed = 0;

	for (int i = 1; i < argc; i++) {
		DIR *dir = opendir(argv[i]);
		if (!dir) {
			fprintf(stderr, "%s: no corpus here\n", argv[i]);
			return 1;
		}
		for (struct dirent *e; (e = readdir(dir));) {
			char path[4096];
			if (e->d_name[0] == '.')
				continue;
			snprintf(path, sizeof(path), "%s/%s", argv[i], e->d_name);
			failed += run_file(path);
			files++;
		}
		closedir(dir);
	}
	printf("%d inputs\n", files);
	return failed || files == 0;
}
