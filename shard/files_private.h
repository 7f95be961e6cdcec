/* Directories: the few operations on them that RocksDB does not do itself. */
#ifndef GN_SHARD_FILES_PRIVATE_H
#define GN_SHARD_FILES_PRIVATE_H

#include "base/error.h"

#include <stdint.h>

gn_code gn_dir_create(const char *path, gn_error *err); /* an existing one is fine */
gn_code gn_dir_remove(const char *path, gn_error *err); /* with the files in it; a missing one is fine */
/* A copy of the flat directory `from`: hard links where the file system can (RocksDB never changes an SST file), copies
 * of what RocksDB may change and across file systems. */
gn_code gn_dir_link(const char *from, const char *to, gn_error *err);

/* <dir>/CURRENT: the number of the store in use; 1 when there is no such file yet. */
gn_code gn_store_dir_current(const char *dir, uint64_t *number, gn_error *err);
gn_code gn_store_dir_set_current(const char *dir, uint64_t number, gn_error *err); /* atomic and synced */
/* Removes store directories other than this one: what an install that was cut short has left. */
gn_code gn_store_dir_tidy(const char *dir, uint64_t number, gn_error *err);

#endif
