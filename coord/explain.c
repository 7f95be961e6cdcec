/* EXPLAIN: the plan as a tree of nodes from the top, each with its depth and properties, printed as PostgreSQL's text
 * or as JSON. ANALYZE runs the statement and takes the figures from its operators. */
#include "coord/session_private.h"
#include "index/vector_index.h"
#include "query/computed.h"

#include <stdio.h>
#include <strings.h>

enum { MAX_EXPR_TEXT = 300, MAX_PROPERTIES = 12, MAX_NODES = 64, MAX_SHARDS_SHOWN = 64 };

typedef struct property {
    const char *key;
    char *value;
    bool number;
} property;

typedef struct node {
    const char *type;
    char *title; /* the type with what it works on */
    uint32_t depth;
    double rows;           /* estimate; negative: none */
    const gn_operator *op; /* figures of ANALYZE */
    property properties[MAX_PROPERTIES];
    uint32_t n;
} node;

typedef struct explainer {
    gn_session *s;
    gn_portal *p;
    gn_arena *arena;
    gn_error *err;
    const gn_plan *plan;
    bool analyze, costs, timing, summary, verbose, json, failed;
    node *nodes; /* MAX_NODES, from the top: one and all below it, then the next of its depth */
    uint32_t n_nodes, depth;
    const gn_exec *exec; /* the run of the query at hand */
    uint64_t planning_ns, execution_ns;
} explainer;

/* ---- pieces ---- */

static char *text(explainer *e, const char *format, ...) __attribute__((format(printf, 2, 3)));
static char *text(explainer *e, const char *format, ...)
{
    char buf[MAX_EXPR_TEXT + 200];
    va_list ap;
    va_start(ap, format);
    vsnprintf(buf, sizeof buf, format, ap);
    va_end(ap);
    char *copy = gn_arena_strndup(e->arena, buf, strlen(buf));
    e->failed |= !copy;
    return copy ? copy : (char *)"";
}

static node *add_node(explainer *e, const char *type, char *title, double rows, const gn_operator *op)
{
    node *n = &e->nodes[e->n_nodes < MAX_NODES - 1 ? e->n_nodes++ : MAX_NODES - 1];
    *n = (node){.type = type, .title = title, .depth = e->depth++, .rows = rows, .op = op};
    return n;
}

static void add(node *n, const char *key, char *value, bool number)
{
    if (n->n < MAX_PROPERTIES)
        n->properties[n->n++] = (property){.key = key, .value = value, .number = number};
}

/* A vector of 384 numbers says no more than its beginning. */
static void cut(gn_buf *buf, size_t from)
{
    if (buf->len - from <= MAX_EXPR_TEXT)
        return;
    buf->len = from + MAX_EXPR_TEXT - 3;
    while (buf->len > from && (buf->data[buf->len] & 0xc0) == 0x80)
        buf->len--;
    gn_buf_append_str(buf, "...");
}

static char *expr_list(explainer *e, const gn_expr *const *list, uint32_t n, const char *separator,
                       const char *const *names, uint32_t n_names)
{
    gn_buf buf;
    gn_buf_init(&buf, &e->p->account, 1u << 24);
    for (uint32_t i = 0; i < n; i++) {
        size_t from = buf.len;
        gn_buf_append_str(&buf, i ? separator : "");
        gn_expr_print(list[i], names, n_names, &buf);
        cut(&buf, from);
    }
    cut(&buf, 0);
    char *result = text(e, "%.*s", (int)buf.len, buf.data ? (char *)buf.data : "");
    gn_buf_close(&buf);
    return result;
}

static char *one_expr(explainer *e, const gn_expr *expr, const char *const *names, uint32_t n_names)
{
    return expr_list(e, &expr, 1, "", names, n_names);
}

/* ---- names of the columns that expressions are over ---- */

static const char *const *table_names(explainer *e, const gn_table_desc *t)
{
    const char **names = gn_arena_calloc(e->arena, t->n_columns + 1, sizeof *names);
    for (uint32_t i = 0; names && i < t->n_columns; i++)
        names[i] = t->columns[i].name;
    e->failed |= !names;
    return (const char *const *)names;
}

static const char *column_text(explainer *e, const gn_table_desc *t, uint32_t ordinal)
{
    const gn_column_desc *c = &t->columns[ordinal];
    return c->computed ? one_expr(e, c->computed->expr, table_names(e, t), t->n_columns) : c->name;
}

/* Of the path's output, with what is appended to it. */
static uint32_t n_names_of(const gn_query *q)
{
    return q->path.n_types + q->n_appended + (q->grouped ? 0 : q->n_windows);
}

/* The aggregate's output: the keys as written, the calls with their arguments. */
static const char *const *grouped_names(explainer *e, const gn_query *q, uint32_t *n)
{
    *n = q->n_keys + q->n_calls + q->n_windows;
    const char **names = gn_arena_calloc(e->arena, *n + 1, sizeof *names);
    e->failed |= !names;
    if (!names)
        return NULL;
    for (uint32_t i = 0; i < q->n_keys; i++)
        names[i] = one_expr(e, q->keys[i], q->path_names, n_names_of(q));
    for (uint32_t i = 0; i < q->n_calls; i++) {
        const gn_aggregate_call *c = &q->calls[i];
        const char *args = expr_list(e, (const gn_expr *const *)c->args, c->n_args, ", ", q->path_names, n_names_of(q));
        names[q->n_keys + i] = text(e, "%s(%s%s%s)", q->call_names[i], c->distinct ? "DISTINCT " : "",
                                    c->n_args ? args : "*", c->n_order ? " ORDER BY ..." : "");
    }
    for (uint32_t i = 0; i < q->n_windows; i++)
        names[q->n_keys + q->n_calls + i] = text(e, "%s(...) OVER (...)", gn_window_name(q->windows[i].kind));
    return (const char *const *)names;
}

static const char *const *result_names(explainer *e, const gn_query *q)
{
    const char **names = gn_arena_calloc(e->arena, q->n_targets + 1, sizeof *names);
    e->failed |= !names;
    for (uint32_t i = 0; names && i < q->n_targets; i++)
        names[i] = q->columns[i].name;
    return (const char *const *)names;
}

/* ---- nodes ---- */

static const char *way_of(explainer *e, const gn_vector_scan_stats *stats)
{
    if (stats->way == GN_VECTOR_BY_KEYS)
        return text(e, "exact among %llu keys", (unsigned long long)stats->keys);
    if (stats->way == GN_VECTOR_BY_WALK && stats->bitmaps > 1)
        return text(e, "walk among rows that match, by %u bitmaps, the smallest of %llu rows", stats->bitmaps,
                    (unsigned long long)stats->told);
    if (stats->way == GN_VECTOR_BY_WALK && stats->told)
        return text(e, "walk among rows that match, by a bitmap of %llu rows", (unsigned long long)stats->told);
    if (stats->way == GN_VECTOR_BY_WALK)
        return "walk among rows that match";
    return stats->way == GN_VECTOR_BY_ROWS ? "exact by all rows" : "nearest first";
}

/* What graphs are walked over: of `auto` what was chosen, once there is a segment. */
static void explain_codes(explainer *e, node *n, const gn_path *path)
{
    gn_vindex_stats stats;
    gn_vindex_presence where;
    gn_cluster_vindex_stats(e->s->db->cluster, path->table, path->index->id, &stats, &where);
    const char *asked = gn_code_kind_name((gn_code_kind)path->index->codes);
    if (stats.vectors > stats.tail_vectors)
        add(n, "Quantization", text(e, "%s (asked for: %s)", gn_code_kind_name(stats.codes), asked), false);
    else
        add(n, "Quantization", text(e, "%s, to be decided by the first segment", asked), false);
}

static void explain_vector(explainer *e, node *n, const gn_path *path)
{
    const gn_settings *set = &e->s->settings;
    char how[80], codes[40] = "";
    if (set->vector_exact)
        snprintf(how, sizeof how, "exact");
    else if (set->target_recall > 0)
        snprintf(how, sizeof how, "target_recall=%g", (double)set->target_recall);
    else
        snprintf(how, sizeof how, "ef_search=%u", gn_index_ef(path->index, set->ef_search, set->ef_search_given));
    if (path->index->codes)
        snprintf(codes, sizeof codes, ", quantization=%s", gn_code_kind_name((gn_code_kind)path->index->codes));
    add(n, "Vector Index",
        text(e, "hnsw, %s, m=%u, ef_construction=%u%s, %s", gn_metric_text(path->index->metric), path->index->m,
             path->index->ef_construction, codes, how),
        false);
    if (e->verbose)
        explain_codes(e, n, path);
    if (!e->analyze || !n->op)
        return;
    gn_vector_scan_stats stats;
    gn_vector_source_stats(e->exec->operators.source, &stats);
    add(n, "Vector Search",
        text(e, "distances=%llu searches=%llu segments=%u tail=%llu ef=%u", (unsigned long long)stats.distances,
             (unsigned long long)stats.searches, stats.segments, (unsigned long long)stats.tail_rows, stats.ef),
        false);
    add(n, "Rows Fetched", text(e, "%llu", (unsigned long long)stats.fetched), true);
    if (stats.asked || stats.told)
        add(n, "Filtered Search",
            text(e, "%s, %llu of %llu rows matched", way_of(e, &stats), (unsigned long long)stats.passed,
                 (unsigned long long)stats.asked),
            false);
    if (e->s->settings.target_recall > 0 && stats.recall > 0)
        add(n, "Recall", text(e, "at least %.3f by calibration", (double)stats.recall), false);
}

static bool reads_all(const gn_query *q)
{
    return !q->path.index && !q->path.n_conditions && !(q->presorted && q->n_sort);
}

static char *scan_title(explainer *e, const gn_query *q)
{
    const gn_path *path = &q->path;
    const char *index = path->index ? path->index->name : path->table->key_name;
    if (path->kind == GN_PATH_SCAN && (reads_all(q) || (!path->index && path->table->hidden_key)))
        return text(e, "Seq Scan on %s", path->table->name);
    return text(e, "Index Scan%s using %s on %s", path->reverse ? " Backward" : "", index, path->table->name);
}

/* What the groups do with their rows before any of them travels. */
static void explain_push(explainer *e, node *n, const gn_query *q)
{
    const gn_push *push = &e->exec->push;
    const gn_fragment *f = push->path == &q->path ? push->fragment : NULL;
    if (!f)
        return;
    if (!q->path.table->distribution_id)
        return;
    uint32_t left = q->path.n_ordinals - f->n_columns;
    char *what = text(e, "%s", push->filters ? "filter" : "");
    if (push->groups)
        what = text(e, "%s%spartial aggregate", what, *what ? ", " : "");
    if (push->sorts)
        what = text(e, "%s%stop %llu", what, *what ? ", " : "", (unsigned long long)f->keep);
    if (push->limits)
        what = text(e, "%s%slimit %llu", what, *what ? ", " : "", (unsigned long long)f->keep);
    if (!push->groups && left)
        what = text(e, "%s%s%u of %u columns", what, *what ? ", " : "", f->n_columns, q->path.n_ordinals);
    add(n, "At the Shards", what, false);
}

static void explain_filter(explainer *e, node *n, const gn_query *q, const gn_exec_operators *o)
{
    if (!q->filter)
        return;
    add(n, "Filter", one_expr(e, q->filter, q->path_names, n_names_of(q)), false);
    char *indexes = "";
    for (uint32_t i = 0; i < q->path.n_within; i++) {
        const gn_index_desc *index = q->path.within[i]->index;
        indexes = text(e, "%s%s%s", indexes, i ? ", " : "", index ? index->name : q->path.table->key_name);
    }
    if (*indexes)
        add(n, "Few Matches By", indexes, false);
    if (!e->analyze || !o->filter)
        return;
    add(n, "Rows Removed by Filter",
        text(e, "%llu", (unsigned long long)(o->source->stats.rows - o->filter->stats.rows)), true);
    n->op = o->filter;
}

static void explain_query(explainer *e, const gn_query *q, const gn_exec *x);

static void explain_source(explainer *e, const gn_query *q, const gn_exec_operators *o)
{
    static const gn_exec none;
    const gn_path *path = &q->path;
    node *n;
    switch (path->kind) {
    case GN_PATH_SCAN:
    case GN_PATH_VECTOR:
        n = add_node(e, reads_all(q) ? "Seq Scan" : "Index Scan", scan_title(e, q), path->rows_estimate, o->source);
        if (path->n_conditions)
            add(n, "Index Cond",
                expr_list(e, (const gn_expr *const *)path->conditions, path->n_conditions, " AND ",
                          table_names(e, path->table), path->table->n_columns),
                false);
        if (path->kind == GN_PATH_VECTOR) {
            add(n, "Order By",
                text(e, "(%s %s %s)", column_text(e, path->table, path->vector_ordinal),
                     gn_function_name(path->order->function), one_expr(e, path->query, NULL, 0)),
                false);
            explain_vector(e, n, path);
        }
        break;
    case GN_PATH_VALUES:
        n = add_node(e, "Values Scan", text(e, "Values Scan on \"*VALUES*\""), path->n_rows, o->source);
        break;
    case GN_PATH_SERIES:
        n = add_node(e, "Function Scan", text(e, "Function Scan on generate_series"), path->rows_estimate, o->source);
        break;
    case GN_PATH_UNNEST:
        n = add_node(e, "Function Scan", text(e, "Function Scan on %s", path->function), path->rows_estimate,
                     o->source);
        break;
    case GN_PATH_QUERY:
        n = add_node(e, "Subquery Scan", text(e, "Subquery Scan"), path->rows_estimate, o->source);
        explain_filter(e, n, q, o);
        explain_query(e, path->sub, o->source ? gn_query_source_exec(o->source) : &none);
        return;
    case GN_PATH_EMPTY:
        n = add_node(e, "Result", text(e, "Result"), 0, o->source);
        add(n, "One-Time Filter", text(e, "false"), false);
        return;
    default:
        n = add_node(e, "Result", text(e, "Result"), 1, o->source);
    }
    explain_filter(e, n, q, o);
    explain_push(e, n, q);
}

static void explain_sort(explainer *e, const gn_query *q, const gn_exec_operators *o)
{
    uint32_t n_names = n_names_of(q);
    const char *const *names = q->path_names;
    if (q->sort_projected) {
        names = result_names(e, q);
        n_names = q->n_targets;
    } else if (q->grouped) {
        names = grouped_names(e, q, &n_names);
    }
    char *keys = text(e, "%s", "");
    for (uint32_t i = 0; i < q->n_sort; i++) {
        const gn_sort_key *k = &q->sort[i];
        const char *nulls = k->nulls_first == k->descending ? "" : k->nulls_first ? " NULLS FIRST" : " NULLS LAST";
        keys = text(e, "%s%s%s%s%s", keys, i ? ", " : "", one_expr(e, k->expr, names, n_names),
                    k->descending ? " DESC" : "", nulls);
    }
    add(add_node(e, "Sort", text(e, "Sort"), q->rows, o->sort), "Sort Key", keys, false);
}

static void explain_aggregate(explainer *e, const gn_query *q, const gn_exec_operators *o)
{
    uint32_t n_names;
    node *n = add_node(e, "Aggregate", text(e, q->n_keys ? "HashAggregate" : "Aggregate"), q->rows,
                       q->having ? o->having : o->aggregate);
    if (q->n_keys)
        add(n, "Group Key",
            expr_list(e, (const gn_expr *const *)q->keys, q->n_keys, ", ", q->path_names, n_names_of(q)), false);
    if (!q->having)
        return;
    const char *const *names = grouped_names(e, q, &n_names);
    add(n, "Filter", one_expr(e, q->having, names, n_names), false);
    if (e->analyze && o->having)
        add(n, "Rows Removed by Filter",
            text(e, "%llu", (unsigned long long)(o->aggregate->stats.rows - o->having->stats.rows)), true);
}

/* The outermost loop first: the last item of FROM. What is run again and again has no figures of its own. */
static void explain_loops(explainer *e, const gn_query *q, const gn_exec *x, uint32_t n)
{
    static const gn_exec none;
    if (n == 0) {
        e->exec = x;
        explain_source(e, q, &x->operators);
        return;
    }
    const gn_lateral *l = q->laterals[n - 1];
    node *loop = add_node(e, "Nested Loop", text(e, "Nested Loop%s", l->left ? " Left Join" : ""), q->rows,
                          x->operators.loops[n - 1]);
    if (n == q->n_laterals && q->late_filter)
        add(loop, "Filter", one_expr(e, q->late_filter, q->path_names, n_names_of(q)), false);
    uint32_t depth = e->depth;
    explain_loops(e, q, x, n - 1);
    e->depth = depth;
    explain_query(e, l->sub, &none);
}

static void explain_query(explainer *e, const gn_query *q, const gn_exec *x)
{
    const gn_exec_operators *o = &x->operators;
    bool sorts = q->n_sort && !q->presorted;
    if (q->limit || q->offset)
        add_node(e, "Limit", text(e, "Limit"), q->rows, o->limit);
    if (q->on) {
        node *n = add_node(e, "Unique", text(e, "Unique"), q->rows, o->distinct);
        char *keys = text(e, "%s", "");
        for (uint32_t i = 0; i < q->n_on && !q->grouped; i++)
            keys =
                text(e, "%s%s%s", keys, i ? ", " : "", one_expr(e, q->targets[q->on[i]], q->path_names, n_names_of(q)));
        if (*keys)
            add(n, "Unique Key", keys, false);
    }
    if (sorts && q->sort_projected)
        explain_sort(e, q, o);
    if (q->distinct && !q->on)
        add_node(e, "Unique", text(e, "HashAggregate (distinct)"), q->rows, o->distinct);
    if (sorts && !q->sort_projected)
        explain_sort(e, q, o);
    if (q->n_windows)
        add_node(e, "WindowAgg", text(e, "WindowAgg"), q->rows, o->window);
    if (q->grouped)
        explain_aggregate(e, q, o);
    explain_loops(e, q, x, q->n_laterals);
}

static void explain_plan(explainer *e)
{
    static const char *const writes[] = {
        [GN_PLAN_INSERT] = "Insert", [GN_PLAN_UPDATE] = "Update", [GN_PLAN_DELETE] = "Delete"};
    const gn_plan *plan = e->plan;
    if (plan->kind != GN_PLAN_QUERY) {
        node *n = add_node(e, "ModifyTable", text(e, "%s on %s", writes[plan->kind], plan->table->name), -1, NULL);
        if (e->analyze)
            add(n, "Rows Written", text(e, "%llu", (unsigned long long)e->p->exec.n_rows), true);
    }
    if (plan->query)
        explain_query(e, plan->query, &e->p->exec);
    else
        add_node(e, "Result", text(e, plan->n_rows == 1 ? "Result" : "Values Scan on \"*VALUES*\""), plan->n_rows,
                 NULL);
}

/* ---- output ---- */

static double ms(uint64_t ns)
{
    return (double)ns / 1e6;
}

static gn_code line(explainer *e, const char *s)
{
    return gn_portal_text_row(e->p, &s, e->err);
}

static gn_code print_node(explainer *e, const node *n, uint32_t depth)
{
    char estimate[64] = "", actual[96] = "";
    int indent = depth ? 6 * (int)depth - 4 : 0;
    if (e->costs && n->rows >= 0)
        snprintf(estimate, sizeof estimate, "  (rows=%.0f)", n->rows);
    if (e->analyze && n->op && e->timing)
        snprintf(actual, sizeof actual, " (actual time=%.3f ms rows=%llu)", ms(n->op->stats.time_ns),
                 (unsigned long long)n->op->stats.rows);
    else if (e->analyze && n->op)
        snprintf(actual, sizeof actual, " (actual rows=%llu)", (unsigned long long)n->op->stats.rows);
    gn_code code = line(e, text(e, "%*s%s%s%s%s", indent, "", depth ? "->  " : "", n->title, estimate, actual));
    for (uint32_t i = 0; i < n->n && code == GN_OK; i++)
        code = line(e, text(e, "%*s%s: %s", depth ? indent + 6 : 2, "", n->properties[i].key, n->properties[i].value));
    return code;
}

/* What each group gave; nothing for tables that are not spread. */
static gn_code print_shards(explainer *e)
{
    gn_group_figures f[MAX_SHARDS_SHOWN];
    uint32_t n = e->analyze ? gn_dtxn_figures(e->s->txn, f, MAX_SHARDS_SHOWN) : 0;
    uint64_t missing[MAX_SHARDS_SHOWN];
    uint32_t of = 0, n_missing = e->analyze ? gn_dtxn_missing(e->s->txn, missing, MAX_SHARDS_SHOWN, &of) : 0;
    gn_code code = GN_OK;
    if (n_missing == 0 && (n == 0 || (n == 1 && f[0].here)))
        return code;
    code = line(e, text(e, "Shards: %u", n));
    if (n_missing)
        code = line(e, text(e, "Missing Shards: %u of %u", n_missing, of));
    for (uint32_t i = 0; i < n_missing && i < MAX_SHARDS_SHOWN && code == GN_OK; i++)
        code = line(e, text(e, "  ->  Group %llu (could not be reached)", (unsigned long long)missing[i]));
    for (uint32_t i = 0; i < n && i < MAX_SHARDS_SHOWN && code == GN_OK; i++) {
        char time[48] = "", bytes[48] = "", hedged[32] = "";
        if (e->timing)
            snprintf(time, sizeof time, " time=%.3f ms", ms(f[i].time_ns));
        if (!f[i].here)
            snprintf(bytes, sizeof bytes, " bytes=%llu", (unsigned long long)f[i].bytes);
        if (f[i].hedges)
            snprintf(hedged, sizeof hedged, " hedged=%u", f[i].hedges);
        code = line(e, text(e, "  ->  Group %llu on node %llu%s  (actual%s rows=%llu%s%s)",
                            (unsigned long long)f[i].group, (unsigned long long)f[i].node, f[i].here ? " (this)" : "",
                            time, (unsigned long long)f[i].rows, bytes, hedged));
    }
    return code == GN_OK && n > MAX_SHARDS_SHOWN ? line(e, text(e, "  and %u more", n - MAX_SHARDS_SHOWN)) : code;
}

static gn_code print_text(explainer *e)
{
    gn_code code = GN_OK;
    for (uint32_t i = 0; i < e->n_nodes && code == GN_OK; i++)
        code = print_node(e, &e->nodes[i], e->nodes[i].depth);
    if (code == GN_OK)
        code = print_shards(e);
    if (code == GN_OK && e->summary)
        code = line(e, text(e, "Planning Time: %.3f ms", ms(e->planning_ns)));
    if (code == GN_OK && e->analyze && e->summary)
        code = line(e, text(e, "Execution Time: %.3f ms", ms(e->execution_ns)));
    if (code == GN_OK && e->analyze && e->summary)
        code = line(e, text(e, "Memory: %zu kB", (size_t)e->p->account.peak / 1024));
    return code;
}

static void json_string(gn_buf *out, const char *s)
{
    gn_buf_append_u8(out, '"');
    for (; *s; s++) {
        if (*s == '"' || *s == '\\')
            gn_buf_printf(out, "\\%c", *s);
        else if ((unsigned char)*s < 0x20)
            gn_buf_printf(out, "\\u%04x", (unsigned char)*s);
        else
            gn_buf_append_u8(out, (uint8_t)*s);
    }
    gn_buf_append_u8(out, '"');
}

static void json_node(explainer *e, gn_buf *out, uint32_t i)
{
    const node *n = &e->nodes[i];
    gn_buf_append_str(out, "{\"Node Type\": ");
    json_string(out, n->type);
    gn_buf_append_str(out, ", \"Title\": ");
    json_string(out, n->title);
    if (e->costs && n->rows >= 0)
        gn_buf_printf(out, ", \"Plan Rows\": %.0f", n->rows);
    if (e->analyze && n->op)
        gn_buf_printf(out, ", \"Actual Rows\": %llu", (unsigned long long)n->op->stats.rows);
    if (e->analyze && n->op && e->timing)
        gn_buf_printf(out, ", \"Actual Total Time\": %.3f", ms(n->op->stats.time_ns));
    for (uint32_t k = 0; k < n->n; k++) {
        gn_buf_append_str(out, ", ");
        json_string(out, n->properties[k].key);
        gn_buf_append_str(out, ": ");
        if (n->properties[k].number)
            gn_buf_append_str(out, n->properties[k].value);
        else
            json_string(out, n->properties[k].value);
    }
    bool any = false;
    for (uint32_t k = i + 1; k < e->n_nodes && e->nodes[k].depth > n->depth; k++) {
        if (e->nodes[k].depth != n->depth + 1)
            continue;
        gn_buf_append_str(out, any ? ", " : ", \"Plans\": [");
        json_node(e, out, k);
        any = true;
    }
    if (any)
        gn_buf_append_str(out, "]");
    gn_buf_append_str(out, "}");
}

static void json_missing(explainer *e, gn_buf *out)
{
    uint64_t missing[MAX_SHARDS_SHOWN];
    uint32_t of = 0, n = e->analyze ? gn_dtxn_missing(e->s->txn, missing, MAX_SHARDS_SHOWN, &of) : 0;
    if (n == 0)
        return;
    gn_buf_append_str(out, ", \"Missing Shards\": [");
    for (uint32_t i = 0; i < n && i < MAX_SHARDS_SHOWN; i++)
        gn_buf_printf(out, "%s%llu", i ? ", " : "", (unsigned long long)missing[i]);
    gn_buf_append_str(out, "]");
}

static void json_shards(explainer *e, gn_buf *out)
{
    json_missing(e, out);
    gn_group_figures f[MAX_SHARDS_SHOWN];
    uint32_t n = e->analyze ? gn_dtxn_figures(e->s->txn, f, MAX_SHARDS_SHOWN) : 0;
    if (n == 0 || (n == 1 && f[0].here))
        return;
    gn_buf_append_str(out, ", \"Shards\": [");
    for (uint32_t i = 0; i < n && i < MAX_SHARDS_SHOWN; i++) {
        gn_buf_printf(out, "%s{\"Group\": %llu, \"Node\": %llu, \"This Node\": %s, \"Actual Rows\": %llu",
                      i ? ", " : "", (unsigned long long)f[i].group, (unsigned long long)f[i].node,
                      f[i].here ? "true" : "false", (unsigned long long)f[i].rows);
        gn_buf_printf(out, ", \"Bytes\": %llu, \"Hedged\": %u", (unsigned long long)f[i].bytes, f[i].hedges);
        if (e->timing)
            gn_buf_printf(out, ", \"Actual Time\": %.3f", ms(f[i].time_ns));
        gn_buf_append_str(out, "}");
    }
    gn_buf_append_str(out, "]");
}

static gn_code print_json(explainer *e)
{
    gn_buf out;
    gn_buf_init(&out, &e->p->account, 1u << 24);
    gn_buf_append_str(&out, "[{\"Plan\": ");
    json_node(e, &out, 0);
    if (e->summary)
        gn_buf_printf(&out, ", \"Planning Time\": %.3f", ms(e->planning_ns));
    if (e->summary && e->analyze)
        gn_buf_printf(&out, ", \"Execution Time\": %.3f", ms(e->execution_ns));
    json_shards(e, &out);
    gn_buf_append_str(&out, "}]");
    gn_buf_append_u8(&out, 0);
    gn_code code = out.failed ? gn_error_oom(e->err, &e->p->account) : line(e, (char *)out.data);
    gn_buf_close(&out);
    return code;
}

/* ---- options, and the run ---- */

static bool option_on(const gn_ast_option *o)
{
    const gn_ast_expr *v = o->value;
    if (!v)
        return true;
    if (v->kind == GN_A_BOOLEAN)
        return v->boolean;
    if (v->kind == GN_A_INTEGER)
        return v->integer != 0;
    return v->kind != GN_A_STRING ||
           (!gn_bytes_eq(v->text, gn_bytes_str("off")) && !gn_bytes_eq(v->text, gn_bytes_str("false")));
}

static gn_code read_format(explainer *e, const gn_ast_option *o)
{
    const gn_ast_expr *v = o->value;
    if (v && v->kind == GN_A_STRING) {
        e->json = v->text.len == 4 && strncasecmp((const char *)v->text.data, "json", 4) == 0;
        if (e->json || (v->text.len == 4 && strncasecmp((const char *)v->text.data, "text", 4) == 0))
            return GN_OK;
    }
    gn_error_set(e->err, GN_INVALID_PARAMETER, "unrecognized value for EXPLAIN option \"format\": \"%.*s\"",
                 v && v->kind == GN_A_STRING ? (int)(v->text.len > 60 ? 60 : v->text.len) : 0,
                 v && v->kind == GN_A_STRING ? (const char *)v->text.data : "");
    return gn_error_at(e->err, o->position), GN_INVALID_PARAMETER;
}

static gn_code read_options(explainer *e, const gn_ast_options *options)
{
    bool summary_given = false;
    e->costs = e->timing = true;
    for (uint32_t i = 0; i < options->n; i++) {
        const gn_ast_option *o = &options->items[i];
        bool on = option_on(o);
        if (strcmp(o->name, "analyze") == 0) {
            e->analyze = on;
        } else if (strcmp(o->name, "verbose") == 0) {
            e->verbose = on;
        } else if (strcmp(o->name, "costs") == 0) {
            e->costs = on;
        } else if (strcmp(o->name, "timing") == 0) {
            e->timing = on;
        } else if (strcmp(o->name, "summary") == 0) {
            e->summary = on;
            summary_given = true;
        } else if (strcmp(o->name, "format") == 0) {
            gn_code code = read_format(e, o);
            if (code != GN_OK)
                return code;
        } else if (strcmp(o->name, "buffers") != 0 && strcmp(o->name, "settings") != 0 && strcmp(o->name, "wal") != 0) {
            gn_error_set(e->err, GN_SYNTAX, "unrecognized EXPLAIN option \"%s\"", o->name);
            return gn_error_at(e->err, o->position), GN_SYNTAX;
        }
    }
    if (!summary_given)
        e->summary = e->analyze;
    return GN_OK;
}

static gn_code run_plan(explainer *e)
{
    gn_exec *x = &e->p->exec;
    if (e->plan->kind != GN_PLAN_QUERY)
        return gn_exec_write(x, e->err);
    gn_code code = gn_exec_open_query(x, e->plan->query, e->err);
    while (code == GN_OK) {
        gn_batch *batch;
        code = gn_operator_next(x->root, &batch, e->err);
        if (!batch || batch->n_rows == 0)
            break;
    }
    return code;
}

static gn_code analyze(explainer *e, const gn_ast_statement *ast)
{
    if (e->s->read_only && gn_statement_writes(ast))
        return gn_error_set(e->err, GN_READ_ONLY_TRANSACTION, "cannot execute %s in a read-only transaction",
                            gn_statement_name(ast));
    uint64_t start = gn_now_ns(e->s->db->world);
    gn_code code = gn_portal_exec_init(e->s, e->p, e->plan, true, e->err);
    if (code == GN_OK)
        code = run_plan(e);
    e->execution_ns = gn_now_ns(e->s->db->world) - start;
    return code;
}

/* What a run would do where the rows are. */
static gn_code foresee(explainer *e)
{
    const gn_query *q = e->plan->query;
    gn_exec *x = &e->p->exec;
    bool writes = e->plan->kind == GN_PLAN_UPDATE || e->plan->kind == GN_PLAN_DELETE;
    uint64_t limit = UINT64_MAX, offset = 0;
    if (!q || (q->path.kind != GN_PATH_SCAN && q->path.kind != GN_PATH_VECTOR))
        return GN_OK;
    gn_code code = gn_portal_exec_init(e->s, e->p, e->plan, false, e->err);
    if (code == GN_OK && !writes)
        code = gn_exec_bounds(x, q, &limit, &offset, e->err);
    return code == GN_OK ? gn_exec_push(x, q, gn_exec_kept(q, limit, offset), writes, e->err) : code;
}

gn_code gn_run_explain(gn_session *s, gn_portal *p, const gn_ast_explain *ast, gn_error *err)
{
    explainer e = {.s = s, .p = p, .arena = p->arena, .err = err, .exec = &p->exec};
    e.nodes = gn_arena_calloc(p->arena, MAX_NODES, sizeof *e.nodes);
    if (!e.nodes)
        return gn_error_oom(err, &p->account);
    gn_code code = read_options(&e, &ast->options);
    if (code != GN_OK)
        return code;
    if (!gn_planned_ast(ast->statement))
        return gn_error_set(err, GN_FEATURE, "EXPLAIN of %s is not supported", gn_statement_name(ast->statement));
    uint64_t start = gn_now_ns(s->db->world);
    code = gn_stmt_plan_for(s, p->stmt, p->params, &p->explained, err);
    e.planning_ns = gn_now_ns(s->db->world) - start;
    if (code != GN_OK)
        return code;
    e.plan = p->explained;
    code = e.analyze ? analyze(&e, ast->statement) : foresee(&e);
    if (code != GN_OK)
        return code;
    /* the rows of RETURNING are not shown, those of EXPLAIN take their place */
    p->exec.results = (gn_result_rows){0};
    code = gn_utility_columns(s, p->stmt->ast, p->arena, &p->columns, &p->n_columns, err);
    explain_plan(&e);
    if (code == GN_OK)
        code = e.json ? print_json(&e) : print_text(&e);
    gn_operator_close(p->exec.root);
    p->exec.root = NULL;
    return code == GN_OK && e.failed ? gn_error_oom(err, &p->account) : code;
}
