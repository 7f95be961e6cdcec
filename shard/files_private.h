/* Directories: the few operations on them that RocksDB does not do itself. */
#ifndef GN_SHARD_FILES_PRIVATE_H
#define GN_SHARD_FILES_PRIVATE_H

#include "base/error.h"

#include <stdint.h>

enum { GN_PATH_BYTES = 4096 };
gn_code gn_path_join(char out[GN_PATH_BYTES], const char *dir, const char *name, gn_error *err);

gn_code gn_dir_create(const char *path, gn_error *err); /* an existing one is fine */
gn_code gn_dir_remove(const char *path, gn_error *err); /* with the files in it; a missing one is fine */
/* A copy of the flat directory `from`: hard links where the file system can (RocksDB never changes an SST file), copies
 * of what RocksDB may change and across file systems. */
gn_code gn_dir_link(const char *from, const char *to, gn_error *err);

/* A number in a small file of its own, replaced atomically and synced. A missing file leaves *number as it is. */
gn_code gn_number_read(const char *dir, const char *name, uint64_t *number, gn_error *err);
gn_code gn_number_write(const char *dir, const char *name, uint64_t number, gn_error *err);
/* Removes store directories other than this one: what an install that was cut short has left. */
gn_code gn_store_dir_tidy(const char *dir, uint64_t number, gn_error *err);

#endif
