#include "base/assert.h"
#include "shard/own_index_private.h"

#include <stdlib.h>

/* The entry with the primary key always behind it. *there false: the row has none. */
static gn_code full_entry(gn_own_index *own, gn_bytes row, gn_bytes primary_key, bool *there, gn_error *err)
{
    gn_index_entry entry = {0};
    gn_code code = gn_index_columns_read(&own->columns, row, err);
    if (code == GN_OK)
        code = gn_index_entry_of(&own->columns, own->index, primary_key, &own->key, &entry, err);
    *there = !entry.left_out;
    if (code == GN_OK && entry.unique && !gn_buf_append_bytes(&own->key, primary_key))
        code = gn_error_set(err, GN_LIMIT, "an entry of index \"%s\" is too long", own->index->name);
    return code;
}

gn_code gn_own_index_get(gn_write_set *ws, const gn_index_desc *index, gn_account *account, gn_own_index **out,
                         gn_error *err)
{
    gn_own_index *own = ws->indexes;
    while (own && own->index->id != index->id)
        own = own->next;
    if (!own) {
        own = gn_xcalloc(1, sizeof *own);
        own->next = ws->indexes;
        own->index = gn_table_index(ws->desc, index->id); /* the caller's may be gone before this is */
        GN_ASSERT(own->index);
        own->entries = gn_write_set_create(ws->desc, account);
        gn_buf_init(&own->key, NULL, GN_STORE_KEY_MAX);
        ws->indexes = own;
        gn_code code = gn_index_columns_init(&own->columns, ws->desc, index, err);
        if (code != GN_OK)
            return code;
    }
    *out = own;
    return gn_own_index_update(own, ws, err);
}

void gn_own_index_destroy(gn_own_index *own)
{
    while (own) {
        gn_own_index *next = own->next;
        gn_write_set_destroy(own->entries);
        gn_index_columns_close(&own->columns);
        gn_buf_close(&own->key);
        free(own);
        own = next;
    }
}

gn_code gn_own_index_add(gn_own_index *own, gn_bytes row, gn_bytes primary_key, gn_error *err)
{
    bool has;
    gn_code code = full_entry(own, row, primary_key, &has, err);
    gn_own_row there;
    if (code != GN_OK || !has || gn_own_find(own->entries, gn_own_now(own->entries), gn_buf_bytes(&own->key), &there))
        return code;
    return gn_own_put(own->entries, gn_buf_bytes(&own->key), primary_key, false, err);
}

gn_code gn_own_index_update(gn_own_index *own, gn_write_set *ws, gn_error *err)
{
    gn_code code = GN_OK;
    gn_write w;
    while (code == GN_OK && gn_write_set_run_next(ws, &own->run_at, &w))
        code = gn_own_index_add(own, w.row, w.key, err);
    const gn_own_version *v = own->version ? own->version->later : ws->first_version;
    for (; code == GN_OK && v; v = v->later) {
        if (!v->deleted)
            code = gn_own_index_add(own, v->row, v->node->key, err);
        own->version = v;
    }
    return code;
}

gn_code gn_own_index_holds(gn_own_index *own, gn_bytes row, gn_bytes primary_key, gn_bytes entry, bool *holds,
                           gn_error *err)
{
    bool has;
    gn_code code = full_entry(own, row, primary_key, &has, err);
    *holds = code == GN_OK && has && gn_bytes_eq(entry, gn_buf_bytes(&own->key));
    return code;
}
