#ifndef GN_SHARD_TXN_PRIVATE_H
#define GN_SHARD_TXN_PRIVATE_H

#include "shard/own_index_private.h"
#include "shard/shard_private.h"
#include "shard/slots_private.h"
#include "shard/txn.h"

/* A definition that this transaction has changed. desc NULL: dropped. */
typedef struct gn_own_table {
    uint64_t id;
    const gn_table_desc *desc; /* retained */
} gn_own_table;

typedef struct gn_scan_link { /* open scans put their range into the read set at the latest when the transaction ends */
    struct gn_scan_link *prev, *next;
    void (*settle)(struct gn_scan_link *link);
} gn_scan_link;

struct gn_txn {
    gn_shard *shard;
    gn_account *account;
    const _Atomic bool *cancel;
    gn_patience patience;
    bool read_only, no_read_set;
    bool unconfirmed;   /* began without asking the group's leader */
    bool exact;         /* the read SCN is the clock's */
    bool pending;       /* somebody prepared may commit at or below the read SCN */
    uint64_t published; /* decisions that `point` may have seen */
    uint64_t branch;
    gn_scn read_scn;
    gn_chain chain;
    gn_reader_mark mark;
    gn_store *store;
    gn_schema *schema; /* as of read_scn */
    gn_slot_view slots;

    gn_own_table *own_tables;
    size_t n_own_tables;
    const gn_table_desc **kept; /* replaced definitions: pointers to them live as long as the transaction */
    size_t n_kept;
    uint64_t *used; /* tables relied on, for the check at commit */
    size_t n_used, cap_used;

    gn_write_set **sets;
    size_t n_sets;
    gn_read_set reads;
    gn_point_reader point;
    gn_buf key, row, entry;
    gn_scan_link scans;
};

/* ---- txn.c ---- */
/* Ends the open scans: what they have read so far counts, further calls fail. */
void gn_txn_settle_scans(gn_txn *txn);

/* Before what is in the span, or the key, is read: waits for those who may commit below the read SCN and write there.
 * Who was not prepared when the view was taken commits above. May begin `point` anew. */
gn_code gn_txn_await_slow(gn_txn *txn, const gn_space *space, const gn_key_span *span, gn_error *err);
gn_code gn_txn_await_key_slow(gn_txn *txn, const gn_space *space, gn_bytes key, gn_error *err);
static inline gn_code gn_txn_await(gn_txn *txn, const gn_space *space, const gn_key_span *span, gn_error *err)
{
    return txn->pending ? gn_txn_await_slow(txn, space, span, err) : GN_OK;
}
static inline gn_code gn_txn_await_key(gn_txn *txn, const gn_space *space, gn_bytes key, gn_error *err)
{
    return txn->pending ? gn_txn_await_key_slow(txn, space, key, err) : GN_OK;
}

/* ---- scan.c ---- */
/* Is the index there at the read SCN? One of this transaction's own making has no entries in the store. */
bool gn_txn_index_is_committed(const gn_txn *txn, const gn_table_desc *table, uint64_t index_id);

/* ---- txn_catalog.c ---- */
/* Remembers that the outcome depends on this table's definition. */
void gn_txn_use_table(gn_txn *txn, uint64_t table_id);
void gn_txn_catalog_close(gn_txn *txn);

/* ---- txn_writes.c ---- */
gn_write_set *gn_txn_find_set(const gn_txn *txn, uint64_t table_id); /* NULL: no writes */
gn_write_set *gn_txn_set(gn_txn *txn, const gn_table_desc *desc);
static inline bool gn_txn_records(const gn_txn *txn)
{
    return !txn->read_only && !txn->no_read_set;
}
static inline bool gn_txn_canceled(const gn_txn *txn)
{
    return txn->cancel && *txn->cancel;
}

#endif
