/* Directories: the few operations on them that RocksDB does not do itself. */
#ifndef GN_SHARD_FILES_PRIVATE_H
#define GN_SHARD_FILES_PRIVATE_H

#include "base/error.h"

#include <stdint.h>

enum { GN_PATH_BYTES = 4096 };
gn_code gn_path_join(char out[GN_PATH_BYTES], const char *dir, const char *name, gn_error *err);

gn_code gn_dir_create(const char *path, gn_error *err); /* an existing one is fine */
gn_code gn_dir_remove(const char *path, gn_error *err); /* with the files in it; a missing one is fine */
/* A hard link of a file that is never changed (a table of RocksDB's, a segment of a vector index), a synced copy of any
 * other, and where the file system has no links. */
gn_code gn_file_link(const char *from, const char *to, gn_error *err);
gn_code gn_dir_sync(const char *path, gn_error *err);
/* fn for each entry. */
gn_code gn_dir_each(const char *path, gn_code (*fn)(const char *dir, const char *name, void *ctx, gn_error *err),
                    void *ctx, gn_error *err);

/* A number in a small file of its own, replaced atomically and synced. A missing file leaves *number as it is. */
gn_code gn_number_read(const char *dir, const char *name, uint64_t *number, gn_error *err);
gn_code gn_number_write(const char *dir, const char *name, uint64_t number, gn_error *err);
/* A store and the vector indexes that go with it. */
enum { GN_STORE_NAME = 32 };
void gn_store_dir_name(char out[GN_STORE_NAME], uint64_t number);
void gn_vector_dir_name(char out[GN_STORE_NAME], uint64_t number);
/* Removes stores and vector indexes of other numbers: what an install has replaced, or left when it was cut short. */
gn_code gn_store_dir_tidy(const char *dir, uint64_t number, gn_error *err);

#endif
