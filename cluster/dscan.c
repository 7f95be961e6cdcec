/* Scans over the groups of a table. One group is asked directly; several become streams that are merged. */
#include "cluster/dtxn_private.h"
#include "cluster/merge_private.h"

#include <stdlib.h>

/* ---- streams over local parts ---- */

static gn_code scan_stream_next(void *stream, gn_batch *batch, gn_bytes *keys, gn_error *err)
{
    return gn_scan_next(stream, batch, keys, err);
}

static void scan_stream_close(void *stream)
{
    gn_scan_close(stream);
}

static gn_code vector_stream_next(void *stream, gn_batch *batch, gn_bytes *keys, gn_error *err)
{
    return gn_vector_scan_next(stream, batch, keys, err);
}

static void vector_stream_close(void *stream)
{
    gn_vector_scan_close(stream);
}

/* ---- scans ---- */

struct gn_dscan {
    gn_scan *only;   /* of one group */
    gn_merge *merge; /* of several */
};

static gn_code open_streams(gn_dtxn *txn, const gn_scan_spec *spec, gn_stream *streams, uint32_t *n,
                            const gn_group_place *groups, uint32_t n_groups, gn_error *err)
{
    gn_code code = GN_OK;
    for (uint32_t i = 0; i < n_groups && code == GN_OK; i++) {
        gn_part *part;
        gn_scan *scan;
        code = gn_dtxn_part(txn, groups[i].id, &part, err);
        if (code == GN_OK)
            code = gn_scan_open(part->txn, spec, &scan, err);
        if (code == GN_OK) {
            part->reads = true;
            streams[(*n)++] = (gn_stream){.next = scan_stream_next, .close = scan_stream_close, .stream = scan};
        }
    }
    return code;
}

static void close_streams(const gn_stream *streams, uint32_t n)
{
    for (uint32_t i = 0; i < n; i++)
        streams[i].close(streams[i].stream);
}

gn_code gn_dscan_open(gn_dtxn *txn, const gn_scan_spec *spec, bool ordered, gn_dscan **out, gn_error *err)
{
    const gn_group_place *groups = NULL, meta = {.id = GN_META_GROUP};
    uint32_t n_groups = 1, n = 0;
    gn_code code = GN_OK;
    if (spec->table->distribution_id)
        code = gn_dtxn_groups(txn, spec->table, spec->index ? NULL : &spec->range, &groups, &n_groups, err);
    if (code != GN_OK)
        return code;
    gn_stream *streams = gn_xcalloc(n_groups, sizeof *streams);
    code = open_streams(txn, spec, streams, &n, groups ? groups : &meta, n_groups, err);
    if (code != GN_OK) {
        close_streams(streams, n);
    } else {
        gn_merge_order order = !ordered ? GN_MERGE_NONE : spec->reverse ? GN_MERGE_KEY_DESCENDING : GN_MERGE_KEY;
        *out = gn_xcalloc(1, sizeof **out);
        if (n == 1)
            (*out)->only = streams[0].stream;
        else
            (*out)->merge = gn_merge_open(streams, n, spec->n_ordinals, order, txn->options.account);
    }
    free(streams);
    return code;
}

gn_code gn_dscan_next(gn_dscan *scan, gn_batch *batch, gn_bytes *keys, gn_error *err)
{
    return scan->only ? gn_scan_next(scan->only, batch, keys, err) : gn_merge_next(scan->merge, batch, keys, err);
}

void gn_dscan_close(gn_dscan *scan)
{
    if (!scan)
        return;
    gn_scan_close(scan->only);
    gn_merge_close(scan->merge);
    free(scan);
}

/* ---- vector scans ---- */

struct gn_dvector_scan {
    gn_vector_scan **parts; /* for their statistics; the merge owns them */
    uint32_t n;
    gn_merge *merge;
};

gn_code gn_dvector_scan_open(gn_dtxn *txn, const gn_vector_scan_spec *spec, gn_dvector_scan **out, gn_error *err)
{
    const gn_group_place *groups = NULL, meta = {.id = GN_META_GROUP};
    uint32_t n_groups = 1;
    gn_code code = GN_OK;
    if (spec->table->distribution_id)
        code = gn_dtxn_groups(txn, spec->table, NULL, &groups, &n_groups, err);
    if (code != GN_OK)
        return code;
    gn_dvector_scan *s = gn_xcalloc(1, sizeof *s);
    gn_stream *streams = gn_xcalloc(n_groups, sizeof *streams);
    s->parts = gn_xcalloc(n_groups, sizeof *s->parts);
    for (uint32_t i = 0; i < n_groups && code == GN_OK; i++) {
        gn_part *part;
        code = gn_dtxn_part(txn, groups ? groups[i].id : meta.id, &part, err);
        if (code == GN_OK)
            code = gn_vector_scan_open(part->txn, spec, &s->parts[s->n], err);
        if (code == GN_OK) {
            part->reads = true;
            streams[s->n] =
                (gn_stream){.next = vector_stream_next, .close = vector_stream_close, .stream = s->parts[s->n]};
            s->n++;
        }
    }
    if (code != GN_OK)
        close_streams(streams, s->n);
    else if (s->n > 1)
        s->merge = gn_merge_open(streams, s->n, spec->n_ordinals + 1, GN_MERGE_DISTANCE, txn->options.account);
    free(streams);
    if (code == GN_OK) {
        *out = s;
    } else {
        free(s->parts);
        free(s);
    }
    return code;
}

gn_code gn_dvector_scan_next(gn_dvector_scan *s, gn_batch *batch, gn_bytes *keys, gn_error *err)
{
    return s->merge ? gn_merge_next(s->merge, batch, keys, err) : gn_vector_scan_next(s->parts[0], batch, keys, err);
}

void gn_dvector_scan_stats_get(const gn_dvector_scan *s, gn_vector_scan_stats *out)
{
    *out = (gn_vector_scan_stats){0};
    for (uint32_t i = 0; i < s->n; i++) {
        gn_vector_scan_stats one;
        gn_vector_scan_stats_get(s->parts[i], &one);
        out->distances += one.distances;
        out->searches += one.searches;
        out->tail_rows += one.tail_rows;
        out->segments += one.segments;
        out->ef = one.ef > out->ef ? one.ef : out->ef;
        out->recall = i == 0 || one.recall < out->recall ? one.recall : out->recall;
    }
}

void gn_dvector_scan_close(gn_dvector_scan *s)
{
    if (!s)
        return;
    if (s->merge)
        gn_merge_close(s->merge);
    else
        gn_vector_scan_close(s->parts[0]);
    free(s->parts);
    free(s);
}
