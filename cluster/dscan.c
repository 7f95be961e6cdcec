/* Scans over the groups of a table. One group is asked directly; several become streams that are merged. Groups that
 * are elsewhere are asked all at once; those that are here are looked at by several strands. */
#include "base/versions.h"
#include "cluster/dtxn_private.h"
#include "cluster/merge_private.h"
#include "cluster/parallel_private.h"
#include "cluster/run_private.h"

#include <stdlib.h>

/* ---- streams over parts ---- */

/* Of a group whose replica is here. Where several are read, each is opened and asked for its first rows on whichever
 * strand has time; those rows wait here. */
typedef struct local_stream {
    gn_scan *scan;
    gn_vector_scan *vectors; /* instead, */
    gn_run *run;             /* or this */
    gn_batch first;          /* its arena: NULL: nothing was asked for ahead */
    gn_bytes *first_keys;    /* NULL: not asked for */
} local_stream;

static gn_code local_next(local_stream *s, gn_batch *batch, gn_bytes *keys, gn_error *err)
{
    if (s->run)
        return gn_run_next(s->run, batch, keys, err);
    return s->vectors ? gn_vector_scan_next(s->vectors, batch, keys, err) : gn_scan_next(s->scan, batch, keys, err);
}

static void forget_first(local_stream *s)
{
    gn_arena_destroy(s->first.arena);
    free(s->first_keys);
    s->first = (gn_batch){0};
    s->first_keys = NULL;
}

/* What was asked for ahead lies in memory of its own, which goes with the next call. */
static gn_code local_stream_next(void *stream, gn_batch *batch, gn_bytes *keys, gn_error *err)
{
    local_stream *s = stream;
    if (!s->first.arena || !s->first.columns) {
        forget_first(s);
        return local_next(s, batch, keys, err);
    }
    batch->columns = s->first.columns;
    batch->n_rows = s->first.n_rows;
    if (keys && batch->n_rows)
        memcpy(keys, s->first_keys, batch->n_rows * sizeof *keys);
    s->first.columns = NULL;
    return GN_OK;
}

static void local_stream_close(void *stream)
{
    local_stream *s = stream;
    forget_first(s);
    gn_scan_close(s->scan);
    gn_run_close(s->run);
    if (s->vectors)
        gn_vector_scan_close(s->vectors);
    free(s);
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
    bool ahead; /* its first batch was counted when it was asked for */
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
    if (code == GN_OK && c->part && !c->ahead)
        count(c->part, batch, started, c->world);
    c->ahead = false;
    return code;
}

static void counted_close(void *stream)
{
    counted *c = stream;
    c->inner.close(c->inner.stream);
    free(c);
}

static gn_stream count_stream(gn_stream inner, gn_part *part, gn_world *world, bool ahead)
{
    counted *c = gn_xcalloc(1, sizeof *c);
    *c = (counted){.inner = inner, .part = part, .world = world, .ahead = ahead};
    return (gn_stream){.next = counted_next, .close = counted_close, .stream = c};
}

/* Of a group that is left out. */
static gn_code empty_next(void *stream, gn_batch *batch, gn_bytes *keys, gn_error *err)
{
    (void)stream, (void)keys, (void)err;
    batch->n_rows = 0;
    return GN_OK;
}

static void empty_close(void *stream)
{
    (void)stream;
}

static gn_stream empty_stream(gn_dtxn *txn)
{
    return (gn_stream){.next = empty_next, .close = empty_close, .stream = txn};
}

static const gn_stream *uncounted(const gn_stream *stream)
{
    return &((const counted *)stream->stream)->inner;
}

/* ---- open ---- */

/* The specification of one of the kinds; the others are NULL. */
typedef struct opening {
    const gn_scan_spec *rows;
    const gn_vector_scan_spec *vectors;
    gn_run_spec *runs; /* one for each group */
    gn_buf fragment;   /* of all runs, packed; empty if there is none */
    bool with_keys;    /* whatever the specification says: the merge needs them */
    bool ahead;        /* every group has to give something before there is an answer: all at the same time */
    gn_account *account;
    const _Atomic bool *cancel;
    gn_part **parts;
    gn_stream *streams; /* .stream NULL: not open */
    uint32_t n;
    uint32_t *here; /* those that are opened on this node, */
    uint32_t n_here;
    gn_code *codes; /* and what came of it */
    gn_error *errors;
    gn_world *world;
} opening;

static gn_code find_parts(gn_dtxn *txn, opening *o, const gn_group_place *groups, gn_error *err)
{
    const gn_group_place meta = {.id = GN_META_GROUP};
    gn_code code = gn_dtxn_parts(txn, groups ? groups : &meta, o->n, o->parts, err);
    for (uint32_t i = 0; i < o->n && code == GN_OK; i++) {
        if (!o->parts[i])
            continue;
        o->parts[i]->reads = true;
        if (!txn->options.writes && gn_part_unconfirmed(o->parts[i]))
            code = gn_dtxn_run_again(err);
    }
    txn->asked |= code == GN_OK;
    return code;
}

/* A group that cannot be reached, if it may be left out: from here on it is as if it had no rows. */
static bool leave_out(gn_dtxn *txn, opening *o, uint32_t i, gn_code code)
{
    if (!gn_dtxn_leave_out(txn, o->parts[i]->group_id, code))
        return false;
    if (o->streams[i].stream)
        o->streams[i].close(o->streams[i].stream);
    o->streams[i] = (gn_stream){0};
    o->parts[i] = NULL;
    return true;
}

static gn_code start_remote(gn_dtxn *txn, opening *o, gn_error *err)
{
    gn_code code = GN_OK;
    gn_scan_spec rows = o->rows ? *o->rows : (gn_scan_spec){0}; /* what is sent need not stay */
    rows.without_keys &= !o->with_keys;
    for (uint32_t i = 0; i < o->n && code == GN_OK; i++) {
        gn_remote_part *part = o->parts[i] ? o->parts[i]->remote : NULL;
        gn_remote_scan *scan;
        gn_error why = {0};
        if (!part)
            continue;
        if (o->vectors)
            code = gn_remote_vector_scan_start(part, o->vectors, o->runs ? o->runs[i].fragment : NULL,
                                               gn_buf_bytes(&o->fragment), &scan, &why);
        else
            code = o->runs ? gn_remote_run_start(part, &o->runs[i], gn_buf_bytes(&o->fragment), &scan, &why)
                           : gn_remote_scan_start(part, &rows, &scan, &why);
        if (code == GN_OK)
            o->streams[i] = (gn_stream){.next = remote_stream_next, .close = remote_stream_close, .stream = scan};
        else if (leave_out(txn, o, i, code))
            code = GN_OK;
        else if (err)
            *err = why;
    }
    return code;
}

static gn_code open_local(const opening *o, uint32_t i, local_stream *s, gn_error *err)
{
    gn_txn *txn = o->parts[i]->txn;
    gn_code code = o->runs   ? gn_run_open(txn, &o->runs[i], o->account, o->cancel, &s->run, err)
                   : o->rows ? gn_scan_open(txn, o->rows, &s->scan, err)
                             : gn_vector_scan_open(txn, o->vectors, &s->vectors, err);
    if (code != GN_OK || !o->ahead)
        return code;
    s->first.arena = gn_arena_create(o->account);
    if (!o->runs)
        s->first.n_columns = o->rows ? o->rows->n_ordinals : o->vectors->n_ordinals + 1;
    s->first_keys =
        o->with_keys || (o->runs && o->runs[i].keyed) ? gn_xcalloc(GN_BATCH_ROWS, sizeof *s->first_keys) : NULL;
    return local_next(s, &s->first, s->first_keys, err);
}

/* On any strand: touches nothing but what is this group's. */
static void open_here(void *opening_, uint32_t k)
{
    opening *o = opening_;
    uint32_t i = o->here[k];
    gn_part *part = o->parts[i];
    local_stream *s = gn_xcalloc(1, sizeof *s);
    uint64_t started = o->ahead ? gn_now_ns(o->world) : 0;
    o->codes[k] = open_local(o, i, s, &o->errors[k]);
    if (o->ahead && o->codes[k] == GN_OK)
        count(part, &s->first, started, o->world);
    if (o->codes[k] == GN_OK)
        o->streams[i] = (gn_stream){.next = local_stream_next, .close = local_stream_close, .stream = s};
    else
        local_stream_close(s);
}

static gn_code open_all_here(gn_dtxn *txn, opening *o, gn_error *err)
{
    gn_code code = GN_OK;
    o->here = gn_xcalloc(o->n, sizeof *o->here);
    o->codes = gn_xcalloc(o->n, sizeof *o->codes);
    o->errors = gn_xcalloc(o->n, sizeof *o->errors);
    for (uint32_t i = 0; i < o->n; i++)
        if (o->parts[i] && !o->parts[i]->remote)
            o->here[o->n_here++] = i;
    if (o->ahead)
        gn_parallel(o->world, txn->cluster->scatter, o->n_here, open_here, o);
    for (uint32_t k = 0; k < o->n_here && !o->ahead; k++)
        open_here(o, k);
    for (uint32_t k = 0; k < o->n_here && code == GN_OK; k++)
        if (o->codes[k] != GN_OK && !leave_out(txn, o, o->here[k], o->codes[k])) {
            code = o->codes[k];
            if (err)
                *err = o->errors[k];
        }
    return code;
}

static gn_code await_remote(gn_dtxn *txn, opening *o, gn_error *err)
{
    gn_code code = GN_OK;
    for (uint32_t i = 0; i < o->n && code == GN_OK; i++) {
        gn_error why = {0};
        if (!o->parts[i] || !o->parts[i]->remote)
            continue;
        code = gn_remote_scan_await(o->streams[i].stream, &why);
        if (code != GN_OK && leave_out(txn, o, i, code))
            code = GN_OK;
        else if (code != GN_OK && err)
            *err = why;
    }
    return code;
}

static void opening_close(opening *o)
{
    gn_buf_close(&o->fragment);
    free(o->parts);
    free(o->streams);
    free(o->here);
    free(o->codes);
    free(o->errors);
}

/* An answer of nothing at all is none. */
static bool has_any(const opening *o)
{
    bool any = o->n == 0;
    for (uint32_t i = 0; i < o->n; i++)
        any |= o->parts[i] != NULL;
    return any;
}

/* On success the streams are the caller's to close. */
static gn_code open_streams(gn_dtxn *txn, opening *o, const gn_group_place *groups, gn_error *err)
{
    o->world = txn->cluster->world;
    o->account = txn->options.account;
    o->cancel = txn->options.cancel;
    o->ahead = o->n > 1 && (o->vectors || o->runs || o->with_keys);
    o->parts = gn_xcalloc(o->n, sizeof *o->parts);
    o->streams = gn_xcalloc(o->n, sizeof *o->streams);
    gn_code code = find_parts(txn, o, groups, err);
    if (code == GN_OK)
        code = start_remote(txn, o, err);
    if (code == GN_OK)
        code = open_all_here(txn, o, err);
    if (code == GN_OK)
        code = await_remote(txn, o, err);
    if (groups && txn->most_asked < o->n)
        txn->most_asked = o->n;
    if (code == GN_OK && !has_any(o))
        code = gn_error_set(err, GN_UNAVAILABLE, "none of the groups that are needed can be reached");
    for (uint32_t i = 0; i < o->n && code == GN_OK; i++)
        o->streams[i] = o->parts[i] ? count_stream(o->streams[i], o->parts[i], txn->cluster->world,
                                                   o->ahead && !o->parts[i]->remote)
                                    : count_stream(empty_stream(txn), NULL, txn->cluster->world, false);
    for (uint32_t i = 0; i < o->n && code != GN_OK; i++)
        if (o->streams[i].stream)
            o->streams[i].close(o->streams[i].stream);
    return code;
}

/* ---- scans ---- */

struct gn_dscan {
    gn_stream stream;      /* of one group, */
    gn_merge *merge;       /* of several */
    gn_run_spec *runs;     /* that the streams look at; NULL: plain scans */
    gn_key_range **ranges; /* of each of them */
    uint32_t n;
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
        else
            scan->stream = o.streams[0];
    }
    opening_close(&o);
    return code;
}

gn_code gn_dscan_next(gn_dscan *scan, gn_batch *batch, gn_bytes *keys, gn_error *err)
{
    return scan->merge ? gn_merge_next(scan->merge, batch, keys, err)
                       : scan->stream.next(scan->stream.stream, batch, keys, err);
}

void gn_dscan_close(gn_dscan *scan)
{
    if (!scan)
        return;
    gn_merge_close(scan->merge);
    if (scan->stream.stream)
        scan->stream.close(scan->stream.stream);
    for (uint32_t i = 0; i < scan->n; i++)
        free(scan->ranges[i]);
    free(scan->ranges);
    free(scan->runs);
    free(scan);
}

/* ---- scans with work to be done ---- */

bool gn_dscan_takes_fragments(const gn_cluster *cluster, const gn_table_desc *table)
{
    return table->distribution_id && gn_cluster_is_at(cluster, GN_SINCE_FRAGMENTS);
}

/* The groups of a table, and for each the ranges that may have rows in it. */
typedef struct spreading {
    const gn_group_place *all;
    uint32_t n_all;
    gn_key_range **ranges;
    uint32_t *n;
    const gn_dscan_spec *spec;
} spreading;

static void add_range(spreading *s, uint32_t group, const gn_key_range *range)
{
    if (!s->ranges[group])
        s->ranges[group] = gn_xcalloc(s->spec->n_ranges ? s->spec->n_ranges : 1, sizeof *range);
    s->ranges[group][s->n[group]++] = *range;
}

static gn_code spread_ranges(gn_dtxn *txn, spreading *s, gn_error *err)
{
    const gn_dscan_spec *spec = s->spec;
    uint32_t n = spec->n_ranges ? spec->n_ranges : 1;
    gn_code code = GN_OK;
    for (uint32_t i = 0; i < n && code == GN_OK; i++) {
        const gn_key_range *range = spec->n_ranges ? &spec->ranges[i] : &spec->rows.range;
        const gn_group_place *first = s->all;
        uint32_t n_groups = s->n_all;
        if (!spec->rows.index)
            code = gn_dtxn_groups(txn, spec->rows.table, range, &first, &n_groups, err);
        for (uint32_t k = 0; k < n_groups && code == GN_OK; k++)
            add_range(s, (uint32_t)(first - s->all) + k, range);
    }
    return code;
}

/* Only groups that have something to look at. */
static gn_group_place *choose_groups(const spreading *s, gn_dscan *scan, uint32_t *n)
{
    gn_group_place *groups = gn_xcalloc(s->n_all, sizeof *groups);
    scan->runs = gn_xcalloc(s->n_all, sizeof *scan->runs);
    scan->ranges = gn_xcalloc(s->n_all, sizeof *scan->ranges);
    for (uint32_t i = 0; i < s->n_all; i++) {
        if (s->n[i] == 0)
            continue;
        groups[scan->n] = s->all[i];
        scan->ranges[scan->n] = s->ranges[i];
        scan->runs[scan->n++] = (gn_run_spec){
            .rows = s->spec->rows, .ranges = s->ranges[i], .n_ranges = s->n[i], .fragment = s->spec->fragment};
    }
    *n = scan->n;
    return groups;
}

static gn_code open_runs(gn_dtxn *txn, const gn_dscan_spec *spec, opening *o, const gn_group_place *groups,
                         gn_dscan *scan, gn_error *err)
{
    const gn_fragment *f = spec->fragment;
    o->with_keys = spec->ordered && o->n > 1;
    o->runs = scan->runs;
    for (uint32_t i = 0; i < o->n; i++)
        scan->runs[i].keyed = o->with_keys || !spec->rows.without_keys;
    gn_buf_init(&o->fragment, txn->options.account, 2 * (size_t)GN_FRAGMENT_BYTES);
    if (f && !gn_fragment_pack(f, &o->fragment))
        return gn_error_set(err, GN_LIMIT, "a fragment of a query is too large");
    gn_code code = open_streams(txn, o, groups, err);
    if (code != GN_OK)
        return code;
    uint32_t n_columns = f ? f->n_out : spec->rows.n_ordinals;
    gn_merge_order order = !spec->ordered ? GN_MERGE_NONE : spec->rows.reverse ? GN_MERGE_KEY_DESCENDING : GN_MERGE_KEY;
    if (o->n == 1)
        scan->stream = o->streams[0];
    else if (spec->n_order)
        scan->merge =
            gn_merge_open_sorted(o->streams, o->n, n_columns, spec->order, spec->n_order, txn->options.account);
    else
        scan->merge = gn_merge_open(o->streams, o->n, n_columns, order, txn->options.account);
    return GN_OK;
}

gn_code gn_dscan_run(gn_dtxn *txn, const gn_dscan_spec *spec, gn_dscan **out, gn_error *err)
{
    spreading s = {.spec = spec};
    opening o = {0};
    gn_code code = GN_OK;
    if (spec->n_ranges == 0 && !spec->rows.index) { /* one range may be of one group, which is read without the clock */
        code = gn_dtxn_groups(txn, spec->rows.table, &spec->rows.range, &s.all, &s.n_all, err);
    } else {
        code = gn_dtxn_groups(txn, spec->rows.table, NULL, &s.all, &s.n_all, err);
    }
    if (code != GN_OK)
        return code;
    gn_dscan *scan = gn_xcalloc(1, sizeof *scan);
    s.ranges = gn_xcalloc(s.n_all, sizeof *s.ranges);
    s.n = gn_xcalloc(s.n_all, sizeof *s.n);
    code = spread_ranges(txn, &s, err);
    gn_group_place *groups = choose_groups(&s, scan, &o.n);
    if (code == GN_OK)
        code = open_runs(txn, spec, &o, groups, scan, err);
    opening_close(&o);
    free(groups);
    free(s.ranges);
    free(s.n);
    if (code == GN_OK)
        *out = scan;
    else
        gn_dscan_close(scan);
    return code;
}

/* ---- vector scans ---- */

struct gn_dvector_scan {
    gn_run_spec *runs;  /* that the streams look at; NULL: plain scans */
    gn_stream *streams; /* one for each group; the merge, if there is one, closes them */
    uint32_t n;
    gn_merge *merge;
};

bool gn_dvector_scan_takes_fragments(const gn_cluster *cluster)
{
    return gn_cluster_is_at(cluster, GN_SINCE_FRAGMENTS);
}

static gn_code make_vector_runs(const gn_dtxn *txn, opening *o, const gn_fragment *f, gn_error *err)
{
    o->runs = gn_xcalloc(o->n, sizeof *o->runs);
    for (uint32_t i = 0; i < o->n; i++)
        o->runs[i] = (gn_run_spec){.vectors = o->vectors, .fragment = f};
    gn_buf_init(&o->fragment, txn->options.account, 2 * (size_t)GN_FRAGMENT_BYTES);
    return gn_fragment_pack(f, &o->fragment) ? GN_OK
                                             : gn_error_set(err, GN_LIMIT, "a fragment of a query is too large");
}

gn_code gn_dvector_scan_open(gn_dtxn *txn, const gn_vector_scan_spec *spec, const gn_fragment *f, gn_dvector_scan **out,
                             gn_error *err)
{
    const gn_group_place *groups = NULL;
    opening o = {.vectors = spec, .n = 1};
    gn_code code = GN_OK;
    if (spec->table->distribution_id)
        code = gn_dtxn_groups(txn, spec->table, NULL, &groups, &o.n, err);
    if (code == GN_OK && f)
        code = make_vector_runs(txn, &o, f, err);
    if (code == GN_OK)
        code = open_streams(txn, &o, groups, err);
    if (code == GN_OK) {
        gn_dvector_scan *s = *out = gn_xcalloc(1, sizeof *s);
        s->streams = o.streams;
        s->n = o.n;
        s->runs = o.runs;
        o.streams = NULL;
        o.runs = NULL;
        uint32_t n_columns = (f ? f->n_out : spec->n_ordinals) + 1;
        if (s->n > 1)
            s->merge = gn_merge_open(s->streams, s->n, n_columns, GN_MERGE_DISTANCE, txn->options.account);
    }
    if (f)
        free(o.runs);
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
    *out = (gn_vector_scan_stats){.all_measured = true};
    for (uint32_t i = 0; i < s->n; i++) {
        gn_vector_scan_stats one;
        const gn_stream *inner = uncounted(&s->streams[i]);
        if (inner->next == empty_next)
            continue;
        if (inner->next == remote_stream_next)
            gn_remote_scan_stats(inner->stream, &one);
        else if (s->runs)
            gn_run_vector_stats(((local_stream *)inner->stream)->run, &one);
        else
            gn_vector_scan_stats_get(((local_stream *)inner->stream)->vectors, &one);
        out->distances += one.distances;
        out->searches += one.searches;
        out->tail_rows += one.tail_rows;
        out->segments += one.segments;
        out->fetched += one.fetched;
        out->asked += one.asked;
        out->passed += one.passed;
        out->keys += one.keys;
        out->told += one.told;
        out->bitmaps = one.bitmaps > out->bitmaps ? one.bitmaps : out->bitmaps;
        out->all_measured &= one.all_measured;
        out->way = one.way > out->way ? one.way : out->way;
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
    free(s->runs);
    free(s);
}
