/* Garbage collection inside compactions. */
#ifndef GN_SHARD_GC_FILTER_PRIVATE_H
#define GN_SHARD_GC_FILTER_PRIVATE_H

#include "shard/store_private.h"

/* Removes a version when a newer one of the same key, at or below the horizon, was seen in the same compaction: then no
 * read at or above the horizon can choose it. It never removes the newest version at or below the horizon, not even a
 * tombstone: an older version may lie in a level that this compaction does not read and would come back to life.
 * Tombstones are removed by the sweep (gc_private.h), which sees all levels. */
rocksdb_compactionfilterfactory_t *gn_gc_filter_factory(gn_scn (*horizon)(void *ctx), void *ctx);

#endif
