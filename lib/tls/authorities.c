/* Authorities kept for a second look. */
#include "authorities.h"

#include "tls/tls.h"

#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>

static bool add(struct authorities *a, struct slice der, uint64_t subject)
{
	char *bytes = realloc(a->bytes, a->len + (size_t)der.len);
	struct authority *list;

	if (!bytes)
		return false;
	a->bytes = bytes;
	list = realloc(a->list, (a->count + 1ul) * sizeof(*list));
	if (!list)
		return false;
	a->list = list;
	memcpy(bytes + a->len, der.ptr, der.len);
	list[a->count++] = (struct authority){a->len, der.len, subject};
	a->len += der.len;
	return true;
}

static bool add_text(struct authorities *a, struct arena *arena, struct slice text)
{
	struct err err = err_make(arena);
	struct slice label, der;
	struct x509 cert;
	enum rc rc;

	while ((rc = pem_next(arena, &text, &label, &der, &err)) != FAIL) {
		if (rc != OK)
			continue; /* that block is damaged, others may not be */
		if (slice_search(label, SLICE("CERTIFICATE")) >= 0 && x509_parse(der, &cert) &&
		    a->count < AUTHORITIES_MAX && !add(a, der, hash_slice(cert.subject)))
			return false;
	}
	return true;
}

static bool add_file(struct authorities *a, const char *path)
{
	struct arena arena;
	struct stat st;
	FILE *file = fopen(path, "rbe");
	char *bytes = NULL;
	bool fine = true;

	if (!file)
		return true;
	arena_init(&arena, 8ul * TLS_FILE_MAX);
	if (fstat(fileno(file), &st) == 0 && S_ISREG(st.st_mode) && st.st_size <= (off_t)TLS_FILE_MAX)
		bytes = arena_bytes(&arena, (size_t)st.st_size + 1);
	if (bytes)
		fine =
		    add_text(a, &arena, slice_make(bytes, fread(bytes, 1, (size_t)st.st_size, file), CLEAN));
	arena_done(&arena);
	fclose(file);
	return fine;
}

bool authorities_load(struct authorities *a, const char *path)
{
	DIR *directory = opendir(path);
	struct dirent *entry;
	char name[4096];
	bool fine = true;

	if (!directory)
		return add_file(a, path);
	while (fine && (entry = readdir(directory)))
		if (entry->d_name[0] != '.' &&
		    snprintf(name, sizeof(name), "%s/%s", path, entry->d_name) < (int)sizeof(name))
			fine = add_file(a, name);
	closedir(directory);
	return fine;
}

void authorities_done(struct authorities *a)
{
	free(a->bytes);
	free(a->list);
	*a = (struct authorities){NULL};
}

bool x509_issued(const struct x509 *issuer, const struct x509 *cert)
{
	return slice_eq(issuer->subject, cert->issuer) &&
	       signature_verify(cert->signature_algorithm, issuer->key_info, cert->tbs, cert->signature,
				NULL) == OK;
}

bool authorities_issuer(const struct authorities *a, const struct x509 *cert, struct x509 *ret)
{
	uint64_t subject = hash_slice(cert->issuer);

	for (unsigned i = 0; i < a->count; i++)
		if (a->list[i].subject == subject &&
		    x509_parse(slice_make(a->bytes + a->list[i].at, a->list[i].len, CLEAN), ret) &&
		    x509_issued(ret, cert))
			return true;
	return false;
}

bool authorities_has(const struct authorities *a, const struct x509 *cert)
{
	uint64_t subject = hash_slice(cert->subject);

	for (unsigned i = 0; i < a->count; i++)
		if (a->list[i].subject == subject &&
		    slice_eq(slice_make(a->bytes + a->list[i].at, a->list[i].len, CLEAN), cert->whole))
			return true;
	return false;
}
