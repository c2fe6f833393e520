/* The simulated disk: each file has two images, what programs see and what a power cut leaves, and between
 * them the changes that no sync has covered. */
#include "sim_world.h"

#include <stdio.h>

#define SECTOR 512u /* written whole or not at all */

/* ---- Images and changes ---- */

static void image_resize(struct image *image, uint64_t len)
{
	char *bytes = realloc(image->bytes, len + 1);

	ASSERT(bytes);
	if (len > image->len)
		memset(bytes + image->len, 0, len - image->len);
	image->bytes = bytes;
	image->len = len;
}

/* Applies the first len bytes of a write, or a change of size. */
static void change_apply(struct image *image, const struct change *change, uint64_t len)
{
	if (change->resize) {
		image_resize(image, change->len);
		return;
	}
	if (change->offset + len > image->len)
		image_resize(image, change->offset + len);
	memcpy(image->bytes + change->offset, change->bytes, len);
}

static struct change *change_add(struct world *world, struct sim_inode *inode, uint64_t offset, uint64_t len,
				 bool resize)
{
	struct change *change = calloc(1, sizeof(*change) + (resize ? 0 : len));

	ASSERT(change);
	change->number = ++world->change_count;
	change->offset = offset;
	change->len = len;
	change->resize = resize;
	*inode->changes_last = change;
	inode->changes_last = &change->next;
	return change;
}

static void changes_settle(struct sim_inode *inode, uint64_t up_to)
{
	struct change *change;

	while ((change = inode->changes) && change->number <= up_to) {
		change_apply(&inode->durable, change, change->len);
		inode->changes = change->next;
		free(change);
	}
	if (!inode->changes)
		inode->changes_last = &inode->changes;
}

/* ---- Inodes and names ---- */

static struct sim_inode *inode_new(struct world *world, mode_t mode)
{
	struct sim_inode *inode = calloc(1, sizeof(*inode));

	ASSERT(inode);
	inode->changes_last = &inode->changes;
	inode->mode = mode;
	inode->number = ++world->inode_count;
	inode->next = world->inodes;
	world->inodes = inode;
	return inode;
}

static void inode_free_if_gone(struct world *world, struct sim_inode *inode)
{
	struct sim_inode **at = &world->inodes;

	if (inode->names || inode->opened)
		return;
	while (*at != inode)
		at = &(*at)->next;
	*at = inode->next;
	world->disk_used -= inode->now.len;
	changes_settle(inode, UINT64_MAX);
	free(inode->now.bytes);
	free(inode->durable.bytes);
	free(inode);
}

static struct sim_name **name_find(struct world *world, const char *path)
{
	struct sim_name **at = &world->names;

	while (*at && strcmp((*at)->path, path))
		at = &(*at)->next;
	return at;
}

static int name_add(struct world *world, const char *path, struct sim_inode *inode)
{
	const char *slash = strrchr(path, '/');
	struct sim_name *name, **parent;
	char above[512];

	if (slash && slash != path) {
		snprintf(above, sizeof(above), "%.*s", (int)(slash - path), path);
		parent = name_find(world, above);
		if (!*parent || !S_ISDIR((*parent)->inode->mode))
			return *parent ? -ENOTDIR : -ENOENT;
	}
	name = calloc(1, sizeof(*name) + strlen(path) + 1);
	ASSERT(name);
	memcpy(name->path, path, strlen(path));
	name->inode = inode;
	inode->names++;
	name->next = world->names;
	world->names = name;
	return 0;
}

static void name_drop(struct world *world, struct sim_name **at)
{
	struct sim_name *name = *at;

	*at = name->next;
	name->inode->names--;
	inode_free_if_gone(world, name->inode);
	free(name);
}

/* ---- Operations ---- */

static int resize(struct world *world, struct sim_inode *inode, uint64_t len)
{
	if (len > inode->now.len && world->options.disk_size &&
	    world->disk_used + len - inode->now.len > world->options.disk_size)
		return -ENOSPC;
	world->disk_used += len - inode->now.len;
	change_apply(&inode->now, change_add(world, inode, 0, len, true), 0);
	return 0;
}

static int do_open(struct world *world, const struct op *op)
{
	struct sim_name *name = *name_find(world, op->path);
	int flags = (int)op->flags, fd, rc;
	struct sim_inode *inode;

	if (name && (flags & O_CREAT) && (flags & O_EXCL))
		return -EEXIST;
	if (!name && !(flags & O_CREAT))
		return -ENOENT;
	if (name && S_ISDIR(name->inode->mode) && (flags & O_ACCMODE) != O_RDONLY)
		return -EISDIR;
	if (name && (flags & O_DIRECTORY) && !S_ISDIR(name->inode->mode))
		return -ENOTDIR;
	inode = name ? name->inode : inode_new(world, S_IFREG | ((mode_t)op->offset & 07777));
	if (!name && (rc = name_add(world, op->path, inode))) {
		inode_free_if_gone(world, inode);
		return rc;
	}
	fd = sim_fd_new(world, NULL, inode, flags);
	if (fd < 0)
		return fd;
	inode->opened++;
	if ((flags & O_TRUNC) && inode->now.len)
		(void)resize(world, inode, 0); /* smaller always works */
	return fd;
}

static int do_read(const struct op *op, struct sim_fd *f)
{
	uint64_t at = op->offset == UINT64_MAX ? f->offset : op->offset, done = 0;

	for (unsigned i = 0; i < op->iov_count && at < f->inode->now.len; i++) {
		uint64_t len = f->inode->now.len - at;

		if (len > op->iov[i].iov_len)
			len = op->iov[i].iov_len;
		memcpy(op->iov[i].iov_base, f->inode->now.bytes + at, len);
		at += len;
		done += len;
	}
	if (op->offset == UINT64_MAX)
		f->offset = at;
	return (int)done;
}

static int do_write(struct world *world, const struct op *op, struct sim_fd *f)
{
	uint64_t at = op->offset == UINT64_MAX ? f->offset : op->offset, len = 0, end;
	struct change *change;
	char *to;

	for (unsigned i = 0; i < op->iov_count; i++)
		len += op->iov[i].iov_len;
	end = at + len;
	if (end > f->inode->now.len && world->options.disk_size) {
		uint64_t room = world->options.disk_size - world->disk_used + f->inode->now.len;

		if (end > room) /* as much as fits, as the system does it */
			len = room > at ? room - at : 0;
		if (!len)
			return -ENOSPC;
		end = at + len;
	}
	change = change_add(world, f->inode, at, len, false);
	to = change->bytes;
	for (unsigned i = 0; i < op->iov_count && len; i++) {
		uint64_t n = op->iov[i].iov_len < len ? op->iov[i].iov_len : len;

		memcpy(to, op->iov[i].iov_base, n);
		to += n;
		len -= n;
	}
	if (end > f->inode->now.len)
		world->disk_used += end - f->inode->now.len;
	change_apply(&f->inode->now, change, change->len);
	len = change->len;
	if ((op->flags & RWF_DSYNC) || (f->flags & O_DSYNC))
		changes_settle(f->inode, UINT64_MAX);
	if (op->offset == UINT64_MAX)
		f->offset = at + len;
	return (int)len;
}

static int do_rename(struct world *world, const struct op *op)
{
	struct sim_name **from = name_find(world, op->path), **to = name_find(world, op->path2);
	struct sim_inode *inode;
	int rc;

	if (!*from)
		return -ENOENT;
	inode = (*from)->inode;
	if (*to && (*to)->inode == inode)
		return 0;
	inode->opened++; /* held while it has no name */
	if (*to)
		name_drop(world, to);
	rc = name_add(world, op->path2, inode);
	if (!rc)
		name_drop(world, name_find(world, op->path));
	inode->opened--;
	return rc;
}

static int do_stat(struct world *world, const struct op *op)
{
	struct sim_name *name = *name_find(world, op->path);

	if (!name)
		return -ENOENT;
	*op->statx = (struct statx){.stx_mode = (uint16_t)name->inode->mode,
				    .stx_size = name->inode->now.len,
				    .stx_ino = name->inode->number,
				    .stx_nlink = name->inode->names,
				    .stx_blksize = 4096,
				    .stx_blocks = (name->inode->now.len + 511) / 512};
	return 0;
}

static int do_path(struct world *world, const struct op *op)
{
	struct sim_name **at = name_find(world, op->path);
	struct sim_inode *inode;
	int rc;

	switch ((enum op_kind)op->kind) {
	case OP_OPEN:
		return do_open(world, op);
	case OP_RENAME:
		return do_rename(world, op);
	case OP_LINK:
		if (!*at)
			return -ENOENT;
		return *name_find(world, op->path2) ? -EEXIST : name_add(world, op->path2, (*at)->inode);
	case OP_UNLINK:
		if (!*at)
			return -ENOENT;
		name_drop(world, at);
		return 0;
	case OP_MKDIR:
		if (*at)
			return -EEXIST;
		inode = inode_new(world, S_IFDIR | ((mode_t)op->offset & 07777));
		rc = name_add(world, op->path, inode);
		if (rc)
			inode_free_if_gone(world, inode);
		return rc;
	default:
		return do_stat(world, op);
	}
}

static int do_fd(struct world *world, const struct op *op, uint64_t synced)
{
	struct sim_fd *f = sim_fd(world, op->fd);

	if (!f || !f->inode)
		return -EBADF;
	switch ((enum op_kind)op->kind) {
	case OP_READ:
		return do_read(op, f);
	case OP_WRITE:
		return do_write(world, op, f);
	case OP_SYNC:
		changes_settle(f->inode, synced);
		return 0;
	case OP_ALLOCATE:
		return op->offset > f->inode->now.len ? resize(world, f->inode, op->offset) : 0;
	default:
		return resize(world, f->inode, op->offset);
	}
}

void disk_do(struct world *world, struct sim_op *sop)
{
	struct op *op = sop->op;

	world->disk_ops++;
	if (world->disk_fail_in && --world->disk_fail_in == 0) {
		op->result = -world->disk_fail_os;
		return;
	}
	switch ((enum op_kind)op->kind) {
	case OP_READ:
	case OP_WRITE:
	case OP_SYNC:
	case OP_ALLOCATE:
	case OP_TRUNCATE:
		op->result = do_fd(world, op, sop->synced);
		break;
	default:
		op->result = do_path(world, op);
	}
}

void disk_close(struct world *world, struct sim_inode *inode)
{
	inode->opened--;
	inode_free_if_gone(world, inode);
}

/* ---- The door ---- */

void world_disk_fail(struct world *world, unsigned n, int os)
{
	world->disk_fail_in = n;
	world->disk_fail_os = os;
}

unsigned world_disk_ops(const struct world *world)
{
	return world->disk_ops;
}

static void inode_power_cut(struct world *world, struct sim_inode *inode)
{
	struct change *change;

	while ((change = inode->changes)) {
		uint64_t fate = world_random(world, 3);

		if (fate == 0)
			change_apply(&inode->durable, change, change->len);
		else if (fate == 1 && !change->resize)
			change_apply(&inode->durable, change,
				     world_random(world, change->len / SECTOR + 1) * SECTOR);
		inode->changes = change->next;
		free(change);
	}
	inode->changes_last = &inode->changes;
	world->disk_used += inode->durable.len - inode->now.len;
	image_resize(&inode->now, inode->durable.len);
	if (inode->durable.len)
		memcpy(inode->now.bytes, inode->durable.bytes, inode->durable.len);
}

static void files_close(struct world *world)
{
	for (int i = 0; i < SIM_FD_MAX; i++) {
		if (!world->fds[i].open || !world->fds[i].inode)
			continue;
		disk_close(world, world->fds[i].inode);
		world->fds[i] = (struct sim_fd){0};
	}
}

void world_power_cut(struct world *world)
{
	ASSERT(!world->shard);
	net_clear(world);
	files_close(world);
	for (struct sim_inode *inode = world->inodes; inode; inode = inode->next)
		inode_power_cut(world, inode);
	world->stuck = false;
}

void disk_clear(struct world *world)
{
	files_close(world);
	while (world->names)
		name_drop(world, &world->names);
}
