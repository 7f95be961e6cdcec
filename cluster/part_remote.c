/* Remote parts: their life, the writes that gather here, savepoints. Requests are in part_flight.c. */
#include "base/assert.h"
#include "base/limits.h"
#include "cluster/part_remote_private.h"

#include <inttypes.h>
#include <stdlib.h>

enum { SEND_AHEAD = 1 << 20 }; /* so many bytes of writes are sent while more gather */

/* ---- life ---- */

gn_remote_part *gn_remote_part_open(gn_cluster *cluster, uint64_t group_id, const gn_txn_options *options)
{
    gn_remote_part *p = gn_xcalloc(1, sizeof *p);
    p->cluster = cluster;
    p->group_id = group_id;
    p->options = *options;
    gn_buf_init(&p->writes, options->account, GN_MAX_TXN);
    gn_buf_init(&p->row, options->account, GN_MAX_ROW);
    gn_buf_init(&p->closed, NULL, GN_MAX_TXN);
    gn_buf_init(&p->request, options->account, GN_MAX_RPC);
    p->number = gn_parts_enter(cluster->parts, p);
    return p;
}

void gn_remote_part_close(gn_remote_part *p)
{
    if (!p)
        return;
    gn_remote_scans_end(p);
    GN_ASSERT(!p->hedge);
    if (p->under_way) {
        gn_rpc_cancel(p->cluster->rpc, &p->call);
        gn_event_wait(&p->done, UINT64_MAX);
    }
    if (p->sent && !p->ended)
        gn_parts_give_up(p->cluster->parts, p->node, p->number);
    gn_parts_leave(p->cluster->parts, p);
    for (gn_remote_mark *next, *m = p->marks; m; m = next) {
        next = m->next;
        free(m);
    }
    gn_buf_close(&p->writes);
    gn_buf_close(&p->row);
    gn_buf_close(&p->closed);
    gn_buf_close(&p->request);
    gn_buf_close(&p->call.response);
    free(p);
}

bool gn_remote_unconfirmed(const gn_remote_part *p)
{
    return p->options.unconfirmed;
}

bool gn_remote_has_writes(const gn_remote_part *p)
{
    return p->has_writes || p->n_writes > 0;
}

/* ---- writes ---- */

gn_code gn_remote_flush(gn_remote_part *p, gn_error *err)
{
    if (p->n_writes == 0)
        return GN_OK;
    gn_code code = gn_remote_request(p, GN_PART_FLUSH, true, err);
    return code == GN_OK ? gn_remote_send(p, NULL, err) : code;
}

static gn_code may_write(gn_remote_part *p, gn_error *err)
{
    if (p->options.read_only)
        return gn_error_set(err, GN_READ_ONLY_TRANSACTION, "cannot write in a read-only transaction");
    return p->lost != GN_OK ? gn_remote_settle(p, err) : GN_OK;
}

/* Whole, or not at all. */
static gn_code add(gn_remote_part *p, const gn_part_write *write, gn_error *err)
{
    size_t before = p->writes.len;
    gn_part_write_append(&p->writes, write);
    if (p->writes.failed) {
        p->writes.failed = false;
        p->writes.len = before;
        p->table_id = 0;
        return gn_error_oom(err, p->writes.account);
    }
    p->n_writes += write->kind != GN_WRITE_MARK && write->kind != GN_WRITE_UNMARK && write->kind != GN_WRITE_TABLE;
    return p->writes.len > SEND_AHEAD ? gn_remote_flush(p, err) : GN_OK;
}

static gn_code add_row(gn_remote_part *p, const gn_table_desc *t, const gn_part_write *write, gn_error *err)
{
    gn_code code = GN_OK;
    if (p->table_id != t->id || p->table_version != t->version || p->table_epoch != t->data_epoch) {
        code =
            add(p, &(gn_part_write){GN_WRITE_TABLE, .id = t->id, .version = t->version, .epoch = t->data_epoch}, err);
        p->table_id = code == GN_OK ? t->id : 0;
        p->table_version = t->version;
        p->table_epoch = t->data_epoch;
    }
    return code == GN_OK ? add(p, write, err) : code;
}

static gn_code encode(gn_remote_part *p, const gn_table_desc *desc, const gn_value *values, gn_error *err)
{
    gn_code code = may_write(p, err);
    gn_buf_clear(&p->row);
    return code == GN_OK ? gn_row_encode(desc, values, &p->row, err) : code;
}

gn_code gn_remote_insert(gn_remote_part *p, const gn_table_desc *desc, const gn_value *values, gn_error *err)
{
    gn_code code = encode(p, desc, values, err);
    return code == GN_OK ? add_row(p, desc, &(gn_part_write){GN_WRITE_INSERT, .row = gn_buf_bytes(&p->row)}, err)
                         : code;
}

gn_code gn_remote_update(gn_remote_part *p, const gn_table_desc *desc, gn_bytes key, const gn_value *values,
                         gn_error *err)
{
    gn_code code = encode(p, desc, values, err);
    gn_part_write write = {GN_WRITE_UPDATE, .key = key, .row = gn_buf_bytes(&p->row)};
    return code == GN_OK ? add_row(p, desc, &write, err) : code;
}

gn_code gn_remote_delete(gn_remote_part *p, const gn_table_desc *desc, gn_bytes key, gn_error *err)
{
    gn_code code = may_write(p, err);
    return code == GN_OK ? add_row(p, desc, &(gn_part_write){GN_WRITE_DELETE, .key = key}, err) : code;
}

gn_code gn_remote_put_table(gn_remote_part *p, const gn_table_desc *desc, gn_error *err)
{
    gn_code code = may_write(p, err);
    gn_buf_clear(&p->row);
    if (code == GN_OK && !gn_table_desc_encode(desc, &p->row))
        code = gn_error_oom(err, p->row.account);
    return code == GN_OK ? add(p, &(gn_part_write){GN_WRITE_PUT_TABLE, .row = gn_buf_bytes(&p->row)}, err) : code;
}

gn_code gn_remote_drop_table(gn_remote_part *p, uint64_t table_id, gn_error *err)
{
    gn_code code = may_write(p, err);
    return code == GN_OK ? add(p, &(gn_part_write){GN_WRITE_DROP_TABLE, .id = table_id}, err) : code;
}

/* ---- savepoints ---- a mark is a write like others: it lies where the writes are that it divides */

uint64_t gn_remote_mark_take(gn_remote_part *p)
{
    gn_error ignored = {0}; /* no memory: rolling back to it is refused */
    gn_remote_mark *m = gn_xcalloc(1, sizeof *m);
    m->id = ++p->last_mark;
    add(p, &(gn_part_write){GN_WRITE_MARK, .id = m->id}, &ignored);
    m->batch = p->batch;
    m->at = p->writes.len;
    m->n_writes = p->n_writes;
    m->next = p->marks;
    p->marks = m;
    return m->id;
}

void gn_remote_mark_free(gn_remote_part *p, uint64_t mark)
{
    gn_error ignored = {0};
    for (gn_remote_mark **at = &p->marks; *at; at = &(*at)->next) {
        gn_remote_mark *m = *at;
        if (m->id != mark)
            continue;
        *at = m->next;
        free(m);
        if (p->lost == GN_OK)
            add(p, &(gn_part_write){GN_WRITE_UNMARK, .id = mark}, &ignored);
        return;
    }
}

static const gn_remote_mark *find_mark(const gn_remote_part *p, uint64_t id)
{
    const gn_remote_mark *m = p->marks;
    while (m && m->id != id)
        m = m->next;
    return m;
}

static void forget_writes(gn_remote_part *p, size_t from, uint32_t n_writes)
{
    p->writes.len = from;
    p->n_writes = n_writes;
    p->table_id = 0;
}

gn_code gn_remote_rollback_to(gn_remote_part *p, uint64_t mark, gn_error *err)
{
    const gn_remote_mark *m = mark ? find_mark(p, mark) : NULL;
    gn_error undone = {0};
    gn_code before = gn_remote_settle(p, &undone);
    gn_remote_scans_end(p);
    if (m && m->batch == p->batch) { /* nothing that came after it has left this node; what was refused came before */
        forget_writes(p, m->at, m->n_writes);
        if (before != GN_OK && err)
            *err = undone;
        return before;
    }
    forget_writes(p, 0, 0);
    if (!p->sent)
        return GN_OK;
    gn_code code = gn_remote_request(p, GN_PART_ROLLBACK_TO, true, err);
    if (code != GN_OK)
        return code;
    gn_buf_append_be64(&p->request, mark);
    code = gn_remote_send(p, NULL, err);
    return code == GN_OK ? gn_remote_settle(p, err) : code;
}
