/* Vector indexes of a shard and how they are kept equal to the rows.
 *
 * A live index is written by the shard's queue as part of applying a commit, before the commit can be read. An index
 * that is new, or behind after a crash, is stale: the feeder strand brings it up to date from a scan of the rows and
 * the change log, and hands it over to the queue in the end. Vector scans answer from the rows meanwhile. */
#ifndef GN_SHARD_VECTOR_FEED_PRIVATE_H
#define GN_SHARD_VECTOR_FEED_PRIVATE_H

#include "index/vector_index.h"
#include "shard/shard_private.h"

struct gn_apply_txn;

/* ---- the queue ---- */

/* The writes of a commit, to the live indexes of its tables. An index that cannot take them becomes stale. */
void gn_feed_commit(gn_feeds *feeds, struct gn_apply_txn *txn);
/* Everything up to scn has been given to the live indexes. */
void gn_feeds_position(gn_feeds *feeds, gn_scn scn);
/* These rows have gone to another group: their vectors are dead from scn on, so that merges leave them out. */
void gn_feeds_forget(gn_feeds *feeds, const gn_table_desc *table, const gn_bytes *keys, size_t n, gn_scn scn);
/* Rows have come that were never given to the indexes: they are made anew. The queue's. */
void gn_feeds_rows_came(gn_feeds *feeds);
void gn_feeds_schema_changed(gn_feeds *feeds, gn_schema *schema);
/* The rows are others now, and so are the indexes: those in `dir`, for what of them is there. */
void gn_feeds_replace(gn_feeds *feeds, const char *dir, gn_schema *schema);

/* ---- anyone ---- */

/* The change log above this SCN is needed to repair indexes after a crash. UINT64_MAX: none. */
gn_scn gn_feeds_durable(gn_feeds *feeds);

/* Links the files of the live indexes, as they are now, into directories in `dir`. */
gn_code gn_feeds_link(gn_feeds *feeds, const char *dir, gn_error *err);

/* Writes live indexes that are durable only below scn. The keeper's. */
void gn_feeds_checkpoint(gn_feeds *feeds, gn_scn scn);
/* What ended at or below it is seen by nobody. The keeper's. */
void gn_feeds_horizon(gn_feeds *feeds, gn_scn horizon);

typedef struct gn_feed gn_feed;
/* A live index that can answer at read_scn, counted; NULL: there is none now. */
gn_feed *gn_feed_acquire(gn_feeds *feeds, uint64_t index_id, uint64_t epoch, gn_scn read_scn);
void gn_feed_release(gn_feed *feed); /* NULL is fine */
gn_vindex *gn_feed_vindex(gn_feed *feed);
/* Somebody asked this with a wanted recall; the calibration learns from it (asked_private.h). */
void gn_feed_asked(gn_feed *feed, const float *query);
/* The index has been found corrupt, or unequal to the rows: it is wiped and rebuilt. */
void gn_feed_distrust(gn_feed *feed, const char *why);

#endif
