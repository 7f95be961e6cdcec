/* Scans of remote parts. The batch after the one that is being looked at is asked for ahead; that of a vector scan is
 * not, since it may cost another search. */
#include "base/assert.h"
#include "base/limits.h"
#include "cluster/part_remote_private.h"
#include "cluster/run_private.h"
#include "query/batch_pack.h"

#include <stdlib.h>

static gn_remote_scan *scan_alloc(gn_remote_part *p, const gn_table_desc *t, const uint32_t *ordinals, uint32_t n,
                                  bool vector)
{
    gn_remote_scan *s = gn_xcalloc(1, sizeof *s);
    s->part = p;
    s->id = ++p->last_scan;
    s->vector = vector;
    s->n_types = n + vector;
    s->types = gn_xcalloc(s->n_types + 1, sizeof *s->types);
    for (uint32_t i = 0; i < n; i++)
        s->types[i] = t->columns[ordinals[i]].type;
    if (vector)
        s->types[n] = gn_type_of(GN_T_FLOAT8);
    s->next = p->scans;
    if (s->next)
        s->next->prev = s;
    p->scans = s;
    return s;
}

static void leave_part(gn_remote_scan *s)
{
    gn_remote_part *p = s->part;
    if (p->for_scan == s)
        p->for_scan = NULL;
    *(s->prev ? &s->prev->next : &p->scans) = s->next;
    if (s->next)
        s->next->prev = s->prev;
    s->part = NULL;
}

void gn_remote_scans_end(gn_remote_part *p)
{
    while (p->scans)
        leave_part(p->scans);
}

/* ---- open ---- */

static gn_code opened(gn_remote_scan *s, gn_remote_scan **out, gn_error *err)
{
    gn_code code = gn_remote_send(s->part, s, err);
    s->waiting = code == GN_OK;
    if (code == GN_OK)
        *out = s;
    else
        gn_remote_scan_close(s);
    return code;
}

gn_code gn_remote_scan_start(gn_remote_part *p, const gn_scan_spec *spec, gn_remote_scan **out, gn_error *err)
{
    gn_code code = gn_remote_request(p, GN_PART_SCAN, true, err);
    if (code != GN_OK)
        return code;
    gn_remote_scan *s = scan_alloc(p, spec->table, spec->ordinals, spec->n_ordinals, false);
    s->limit_hint = spec->limit_hint;
    gn_wire_scan_write(&p->request, s->id, spec);
    return opened(s, out, err);
}

/* fragment: the spec's, packed; empty if there is none. */
gn_code gn_remote_run_start(gn_remote_part *p, const gn_run_spec *spec, gn_bytes fragment, gn_remote_scan **out,
                            gn_error *err)
{
    const gn_fragment *f = spec->fragment;
    gn_code code = gn_remote_request(p, GN_PART_RUN, true, err);
    if (code != GN_OK)
        return code;
    gn_remote_scan *s = scan_alloc(p, spec->rows.table, spec->rows.ordinals, f ? 0 : spec->rows.n_ordinals, false);
    if (f) {
        free(s->types);
        s->n_types = f->n_out;
        s->types = gn_xcalloc(f->n_out + 1, sizeof *s->types);
        memcpy(s->types, f->out_types, f->n_out * sizeof *s->types);
    }
    s->limit_hint = f && f->keep != UINT64_MAX ? f->keep : spec->rows.limit_hint;
    gn_scan_spec first = spec->rows;
    first.range = spec->ranges[0];
    first.without_keys = !spec->keyed;
    gn_wire_scan_write(&p->request, s->id, &first);
    gn_wire_run_write(&p->request, spec->ranges + 1, spec->n_ranges - 1, fragment);
    return opened(s, out, err);
}

gn_code gn_remote_vector_scan_start(gn_remote_part *p, const gn_vector_scan_spec *spec, const gn_fragment *f,
                                    gn_bytes packed, gn_remote_scan **out, gn_error *err)
{
    gn_code code = gn_remote_request(p, f ? GN_PART_VECTOR_RUN : GN_PART_VECTOR_SCAN, true, err);
    if (code != GN_OK)
        return code;
    gn_remote_scan *s = scan_alloc(p, spec->table, spec->ordinals, spec->n_ordinals, true);
    gn_wire_vector_scan_write(&p->request, s->id, spec);
    if (f) {
        s->fragment = true;
        s->n_types = f->n_out + 1;
        memcpy(s->types, f->out_types, f->n_out * sizeof *s->types); /* not more than come in */
        s->types[f->n_out] = gn_type_of(GN_T_FLOAT8);
        gn_wire_vector_run_write(&p->request, spec, packed);
    }
    return opened(s, out, err);
}

static gn_code outcome(const gn_remote_scan *s, gn_error *err)
{
    if (s->code != GN_OK && err)
        *err = s->error;
    return s->code;
}

gn_code gn_remote_scan_await(gn_remote_scan *s, gn_error *err)
{
    if (s->waiting && s->part)
        gn_remote_finish(s->part);
    return outcome(s, err);
}

void gn_remote_scan_close(gn_remote_scan *s)
{
    if (!s)
        return;
    if (s->part) {
        if ((s->there && !s->ended) || s->waiting)
            gn_buf_append_be32(&s->part->closed, s->id);
        leave_part(s);
    }
    gn_buf_close(&s->packed);
    free(s->types);
    free(s);
}

/* ---- next ---- */

static gn_code ask(gn_remote_scan *s, gn_error *err)
{
    gn_code code = gn_remote_request(s->part, GN_PART_NEXT, false, err);
    if (code != GN_OK)
        return code;
    gn_buf_append_be32(&s->part->request, s->id);
    code = gn_remote_send(s->part, s, err);
    s->waiting = code == GN_OK;
    return code;
}

static gn_code take(gn_remote_scan *s, gn_batch *batch, gn_bytes *keys, gn_error *err)
{
    gn_reader in = s->body;
    if (s->vector && !gn_wire_stats_read(&in, s->fragment, &s->stats))
        return gn_error_set(err, GN_CORRUPT, "rows from another node cannot be read");
    gn_bytes packed = gn_bytes_of(in.p, gn_reader_left(&in));
    gn_code code = gn_batch_unpack(packed, s->types, s->n_types, batch, keys, err);
    s->ready = false;
    s->given += batch->n_rows;
    gn_buf_close(&s->packed);
    return code;
}

gn_code gn_remote_scan_next(gn_remote_scan *s, gn_batch *batch, gn_bytes *keys, gn_error *err)
{
    gn_error unused = {0};
    if (!s->part)
        return gn_error_set(err, GN_NO_CURSOR, "the transaction of this scan has ended");
    batch->n_rows = 0;
    if (!s->ready && !s->waiting && (s->ended || s->code != GN_OK))
        return outcome(s, err);
    gn_code code = s->ready || s->waiting ? GN_OK : ask(s, err);
    if (code == GN_OK)
        code = gn_remote_scan_await(s, err);
    if (code == GN_OK)
        code = take(s, batch, keys, err);
    if (code != GN_OK || s->vector || s->ended || (s->limit_hint && s->given >= s->limit_hint))
        return code;
    gn_remote_part *p = s->part;
    if (!p->under_way && p->lost == GN_OK && p->late == GN_OK)
        ask(s, &unused); /* if not now, then when it is wanted */
    return GN_OK;
}

void gn_remote_scan_stats(const gn_remote_scan *s, gn_vector_scan_stats *out)
{
    *out = s->stats;
}
