/* Scans over the groups of a table. One group is asked directly; several become streams that are merged. Groups that
 * are elsewhere are asked all at once. */
#include "cluster/dtxn_private.h"
#include "cluster/merge_private.h"

#include <stdlib.h>

/* ---- streams over parts ---- */

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

static gn_code remote_stream_next(void *stream, gn_batch *batch, gn_bytes *keys, gn_error *err)
{
    return gn_remote_scan_next(stream, batch, keys, err);
}

static void remote_stream_close(void *stream)
{
    gn_remote_scan_close(stream);
}

/* ---- figures ---- */

/* A stream whose batches are counted for its part. */
typedef struct counted {
    gn_stream inner;
    gn_part *part;
    gn_world *world;
} counted;

static void count(gn_part *part, const gn_batch *batch, uint64_t started_ns, gn_world *world)
{
    part->figures.batches++;
    part->figures.rows += batch->n_rows;
    part->figures.time_ns += gn_now_ns(world) - started_ns;
}

static gn_code counted_next(void *stream, gn_batch *batch, gn_bytes *keys, gn_error *err)
{
    counted *c = stream;
    uint64_t started = gn_now_ns(c->world);
    gn_code code = c->inner.next(c->inner.stream, batch, keys, err);
    if (code == GN_OK)
        count(c->part, batch, started, c->world);
    return code;
}

static void counted_close(void *stream)
{
    counted *c = stream;
    c->inner.close(c->inner.stream);
    free(c);
}

static gn_stream count_stream(gn_stream inner, gn_part *part, gn_world *world)
{
    counted *c = gn_xcalloc(1, sizeof *c);
    *c = (counted){.inner = inner, .part = part, .world = world};
    return (gn_stream){.next = counted_next, .close = counted_close, .stream = c};
}

static const gn_stream *uncounted(const gn_stream *stream)
{
    return &((const counted *)stream->stream)->inner;
}

/* ---- open ---- */

/* The specification of either kind; the other is NULL. */
typedef struct opening {
    const gn_scan_spec *rows;
    const gn_vector_scan_spec *vectors;
    bool with_keys; /* whatever the specification says: the merge needs them */
    gn_part **parts;
    gn_stream *streams; /* .stream NULL: not open */
    uint32_t n;
} opening;

static gn_code find_parts(gn_dtxn *txn, opening *o, const gn_group_place *groups, gn_error *err)
{
    const gn_group_place meta = {.id = GN_META_GROUP};
    gn_code code = gn_dtxn_parts(txn, groups ? groups : &meta, o->n, o->parts, err);
    for (uint32_t i = 0; i < o->n && code == GN_OK; i++) {
        o->parts[i]->reads = true;
        if (!txn->options.writes && gn_part_unconfirmed(o->parts[i]))
            code = gn_dtxn_run_again(err);
    }
    txn->asked |= code == GN_OK;
    return code;
}

static gn_code start_remote(opening *o, gn_error *err)
{
    gn_code code = GN_OK;
    gn_scan_spec rows = o->rows ? *o->rows : (gn_scan_spec){0}; /* what is sent need not stay */
    rows.without_keys &= !o->with_keys;
    for (uint32_t i = 0; i < o->n && code == GN_OK; i++) {
        gn_remote_part *part = o->parts[i]->remote;
        gn_remote_scan *scan;
        if (!part)
            continue;
        code = o->rows ? gn_remote_scan_start(part, &rows, &scan, err)
                       : gn_remote_vector_scan_start(part, o->vectors, &scan, err);
        if (code == GN_OK)
            o->streams[i] = (gn_stream){.next = remote_stream_next, .close = remote_stream_close, .stream = scan};
    }
    return code;
}

static gn_code open_here(opening *o, uint32_t i, gn_error *err)
{
    gn_scan *scan;
    gn_vector_scan *vector_scan;
    gn_code code = o->rows ? gn_scan_open(o->parts[i]->txn, o->rows, &scan, err)
                           : gn_vector_scan_open(o->parts[i]->txn, o->vectors, &vector_scan, err);
    if (code == GN_OK && o->rows)
        o->streams[i] = (gn_stream){.next = scan_stream_next, .close = scan_stream_close, .stream = scan};
    else if (code == GN_OK)
        o->streams[i] = (gn_stream){.next = vector_stream_next, .close = vector_stream_close, .stream = vector_scan};
    return code;
}

static gn_code await_remote(opening *o, gn_error *err)
{
    gn_code code = GN_OK;
    for (uint32_t i = 0; i < o->n && code == GN_OK; i++)
        if (o->parts[i]->remote)
            code = gn_remote_scan_await(o->streams[i].stream, err);
    return code;
}

static void opening_close(opening *o)
{
    free(o->parts);
    free(o->streams);
}

/* On success the streams are the caller's to close. */
static gn_code open_streams(gn_dtxn *txn, opening *o, const gn_group_place *groups, gn_error *err)
{
    o->parts = gn_xcalloc(o->n, sizeof *o->parts);
    o->streams = gn_xcalloc(o->n, sizeof *o->streams);
    gn_code code = find_parts(txn, o, groups, err);
    if (code == GN_OK)
        code = start_remote(o, err);
    for (uint32_t i = 0; i < o->n && code == GN_OK; i++)
        if (!o->parts[i]->remote)
            code = open_here(o, i, err);
    if (code == GN_OK)
        code = await_remote(o, err);
    for (uint32_t i = 0; i < o->n && code == GN_OK && (o->n > 1 || o->parts[0]->remote || o->vectors); i++)
        o->streams[i] = count_stream(o->streams[i], o->parts[i], txn->cluster->world);
    for (uint32_t i = 0; i < o->n && code != GN_OK; i++)
        if (o->streams[i].stream)
            o->streams[i].close(o->streams[i].stream);
    return code;
}

/* ---- scans ---- */

struct gn_dscan {
    gn_scan *only; /* of one group that is here, whose part is: */
    gn_part *part;
    gn_world *world;
    gn_stream stream; /* of one group that is elsewhere, */
    gn_merge *merge;  /* of several */
};

gn_code gn_dscan_open(gn_dtxn *txn, const gn_scan_spec *spec, bool ordered, gn_dscan **out, gn_error *err)
{
    const gn_group_place *groups = NULL;
    opening o = {.rows = spec, .with_keys = ordered, .n = 1};
    gn_code code = GN_OK;
    if (spec->table->distribution_id)
        code = gn_dtxn_groups(txn, spec->table, spec->index ? NULL : &spec->range, &groups, &o.n, err);
    o.with_keys &= o.n > 1;
    if (code == GN_OK)
        code = open_streams(txn, &o, groups, err);
    if (code == GN_OK) {
        gn_merge_order order = !ordered ? GN_MERGE_NONE : spec->reverse ? GN_MERGE_KEY_DESCENDING : GN_MERGE_KEY;
        gn_dscan *scan = *out = gn_xcalloc(1, sizeof **out);
        if (o.n > 1)
            scan->merge = gn_merge_open(o.streams, o.n, spec->n_ordinals, order, txn->options.account);
        else if (o.parts[0]->remote)
            scan->stream = o.streams[0];
        else
            *scan = (gn_dscan){.only = o.streams[0].stream, .part = o.parts[0], .world = txn->cluster->world};
    }
    opening_close(&o);
    return code;
}

gn_code gn_dscan_next(gn_dscan *scan, gn_batch *batch, gn_bytes *keys, gn_error *err)
{
    if (scan->only) {
        uint64_t started = gn_now_ns(scan->world);
        gn_code code = gn_scan_next(scan->only, batch, keys, err);
        if (code == GN_OK)
            count(scan->part, batch, started, scan->world);
        return code;
    }
    return scan->merge ? gn_merge_next(scan->merge, batch, keys, err)
                       : scan->stream.next(scan->stream.stream, batch, keys, err);
}

void gn_dscan_close(gn_dscan *scan)
{
    if (!scan)
        return;
    gn_scan_close(scan->only);
    gn_merge_close(scan->merge);
    if (scan->stream.stream)
        scan->stream.close(scan->stream.stream);
    free(scan);
}

/* ---- vector scans ---- */

struct gn_dvector_scan {
    gn_stream *streams; /* one for each group; the merge, if there is one, closes them */
    uint32_t n;
    gn_merge *merge;
};

gn_code gn_dvector_scan_open(gn_dtxn *txn, const gn_vector_scan_spec *spec, gn_dvector_scan **out, gn_error *err)
{
    const gn_group_place *groups = NULL;
    opening o = {.vectors = spec, .n = 1};
    gn_code code = GN_OK;
    if (spec->table->distribution_id)
        code = gn_dtxn_groups(txn, spec->table, NULL, &groups, &o.n, err);
    if (code == GN_OK)
        code = open_streams(txn, &o, groups, err);
    if (code == GN_OK) {
        gn_dvector_scan *s = *out = gn_xcalloc(1, sizeof *s);
        s->streams = o.streams;
        s->n = o.n;
        o.streams = NULL;
        if (s->n > 1)
            s->merge = gn_merge_open(s->streams, s->n, spec->n_ordinals + 1, GN_MERGE_DISTANCE, txn->options.account);
    }
    opening_close(&o);
    return code;
}

gn_code gn_dvector_scan_next(gn_dvector_scan *s, gn_batch *batch, gn_bytes *keys, gn_error *err)
{
    return s->merge ? gn_merge_next(s->merge, batch, keys, err)
                    : s->streams[0].next(s->streams[0].stream, batch, keys, err);
}

void gn_dvector_scan_stats_get(const gn_dvector_scan *s, gn_vector_scan_stats *out)
{
    *out = (gn_vector_scan_stats){0};
    for (uint32_t i = 0; i < s->n; i++) {
        gn_vector_scan_stats one;
        const gn_stream *inner = uncounted(&s->streams[i]);
        if (inner->next == remote_stream_next)
            gn_remote_scan_stats(inner->stream, &one);
        else
            gn_vector_scan_stats_get(inner->stream, &one);
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
        s->streams[0].close(s->streams[0].stream);
    free(s->streams);
    free(s);
}
