/* A btree index over a transaction's own writes to one table: index entry + primary key -> primary key. It is brought
 * up to date when it is asked, and holds every entry that any own version of a row ever had; a reader checks that the
 * row as it sees it still has the entry. */
#ifndef GN_SHARD_OWN_INDEX_PRIVATE_H
#define GN_SHARD_OWN_INDEX_PRIVATE_H

#include "shard/index_entry_private.h"
#include "shard/write_set_private.h"

typedef struct gn_own_index {
    struct gn_own_index *next; /* of the same write set */
    const gn_index_desc *index;
    gn_write_set *entries; /* used as an ordered map */
    gn_index_columns columns;
    gn_buf key;
    gn_run_pos run_at; /* what has been taken in */
    const gn_own_version *version;
    bool covers; /* it has the entries of the committed rows, too: the index is of this transaction's making */
} gn_own_index;

/* The write set's index, made at first use. */
gn_code gn_own_index_get(gn_write_set *ws, const gn_index_desc *index, gn_account *account, gn_own_index **out,
                         gn_error *err);
/* Takes in a committed row. */
gn_code gn_own_index_add(gn_own_index *own, gn_bytes row, gn_bytes primary_key, gn_error *err);
void gn_own_index_destroy(gn_own_index *own); /* the whole list */
gn_code gn_own_index_update(gn_own_index *own, gn_write_set *ws, gn_error *err);

/* Does the row have this entry in the index? */
gn_code gn_own_index_holds(gn_own_index *own, gn_bytes row, gn_bytes primary_key, gn_bytes entry, bool *holds,
                           gn_error *err);

#endif
