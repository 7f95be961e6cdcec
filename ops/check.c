/* check: compares the replicas of each group, table by table, in pieces. One replica says where a piece ends, the
 * others compute the same range at the same SCN. Then each replica compares its indexes with its rows. */
#include "ops/commands.h"
#include "ops/text.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { MAX_NODES = 64, PIECE_S = 90, INDEX_S = 900 };

typedef struct checker {
    const gn_ctl *ctl;
    gn_ctl_client *client;
    uint64_t rows_at_once;
    json_t *differences, *missing, *indexes; /* what was found; indexes: those that are not as their rows */
    uint64_t rows, bytes, rows_expected, pieces, indexes_checked;
} checker;

/* A group's part of a table. */
typedef struct part {
    uint64_t group, table;
    const char *name;
    const json_t *nodes;
    char *from; /* hex; "" at first */
    uint64_t scn;
} part;

static void note_missing(checker *c, const part *p, gn_node_id node, const gn_error *err)
{
    for (size_t i = 0; i < json_array_size(c->missing); i++) {
        const json_t *m = json_array_get(c->missing, i);
        if (gn_json_u64(m, "group") == p->group && gn_json_u64(m, "node") == node &&
            strcmp(gn_json_str(m, "why"), err->message) == 0)
            return;
    }
    json_array_append_new(c->missing,
                          json_pack("{s:I,s:s,s:I,s:s,s:s}", "group", (json_int_t)p->group, "table", p->name, "node",
                                    (json_int_t)node, "code", gn_code_name(err->code), "why", err->message));
}

static void start_sum(checker *c, const part *p, gn_ctl_call *call, gn_node_id node, uint64_t rows, const char *to)
{
    char group[24], table[24], scn[24], limit[24];
    const char *args[] = {group, table, scn, limit, p->from, to, NULL};
    snprintf(group, sizeof group, "%" PRIu64, p->group);
    snprintf(table, sizeof table, "%" PRIu64, p->table);
    snprintf(scn, sizeof scn, "%" PRIu64, p->scn);
    snprintf(limit, sizeof limit, "%" PRIu64, rows);
    gn_ctl_call_start(c->client, call, node, GN_ADMIN_CHECKSUM, args, PIECE_S);
}

static gn_node_id node_at(const part *p, size_t i)
{
    return (gn_node_id)json_integer_value(json_array_get(p->nodes, i));
}

/* The first replica that can be read; *which is its place. NULL: none can. */
static json_t *first_sum(checker *c, part *p, size_t *which, gn_error *err)
{
    uint64_t scn = p->scn;
    for (size_t i = 0; i < json_array_size(p->nodes); i++) {
        gn_ctl_call call;
        *err = (gn_error){0};
        start_sum(c, p, &call, node_at(p, i), c->rows_at_once, NULL);
        json_t *sum = gn_ctl_call_end(&call, err);
        if (!sum && err->code == GN_SNAPSHOT_TOO_OLD &&
            scn) { /* pieces need not be of one time, replicas of a piece do */
            p->scn = scn = 0;
            start_sum(c, p, &call, node_at(p, i), c->rows_at_once, NULL);
            sum = gn_ctl_call_end(&call, err);
        }
        *which = i;
        if (sum)
            return sum;
        if (err->code == GN_NO_TABLE)
            return NULL;
        note_missing(c, p, node_at(p, i), err);
    }
    return NULL;
}

static json_t *found_at(gn_node_id node, const json_t *sum)
{
    return json_pack("{s:I,s:s,s:I}", "node", (json_int_t)node, "checksum", gn_json_str(sum, "checksum"), "rows",
                     (json_int_t)gn_json_u64(sum, "rows"));
}

/* The others' sums of the same range, beside the first one's. */
static void compare(checker *c, part *p, size_t which, const json_t *first)
{
    gn_ctl_call calls[MAX_NODES];
    size_t n = json_array_size(p->nodes) < MAX_NODES ? json_array_size(p->nodes) : MAX_NODES;
    bool end = gn_json_true(first, "end"), same = true;
    uint64_t rows = gn_json_u64(first, "rows") + 1; /* one more, if there is one, is a difference */
    json_t *found = json_array();
    json_array_append_new(found, found_at(node_at(p, which), first));
    for (size_t i = which + 1; i < n; i++)
        start_sum(c, p, &calls[i], node_at(p, i), end ? rows : 1, end ? NULL : gn_json_str(first, "last"));
    for (size_t i = which + 1; i < n; i++) {
        gn_error err = {0};
        json_t *sum = gn_ctl_call_end(&calls[i], &err);
        if (!sum) {
            note_missing(c, p, node_at(p, i), &err);
            continue;
        }
        json_array_append_new(found, found_at(node_at(p, i), sum));
        same = same && gn_json_u64(sum, "rows") == rows - 1 &&
               strcmp(gn_json_str(sum, "checksum"), gn_json_str(first, "checksum")) == 0;
        json_decref(sum);
    }
    if (!same)
        json_array_append_new(c->differences,
                              json_pack("{s:I,s:s,s:I,s:s,s:s,s:O}", "group", (json_int_t)p->group, "table", p->name,
                                        "scn", (json_int_t)p->scn, "after", p->from, "to",
                                        end ? "" : gn_json_str(first, "last"), "replicas", found));
    json_decref(found);
}

static void check_part(checker *c, part *p)
{
    for (bool more = true; more;) {
        char words[120];
        gn_error err = {0};
        size_t which;
        json_t *first = first_sum(c, p, &which, &err);
        if (!first)
            return; /* it was noted; or the table has been dropped meanwhile */
        p->scn = gn_json_u64(first, "scn");
        compare(c, p, which, first);
        c->rows += gn_json_u64(first, "rows");
        c->bytes += gn_json_u64(first, "bytes");
        snprintf(words, sizeof words, "group %" PRIu64 ", %.40s", p->group, p->name);
        gn_ctl_progress(c->rows < c->rows_expected ? c->rows : c->rows_expected, c->rows_expected, words);
        const char *last = gn_json_str(first, "last");
        more = !gn_json_true(first, "end") && last[0];
        if (more) {
            free(p->from);
            p->from = gn_xstrdup(last);
        }
        json_decref(first);
    }
}

/* ---- indexes ---- */

static void note_index(checker *c, const part *p, gn_node_id node, const char *index, const json_t *found)
{
    json_array_append_new(
        c->indexes,
        json_pack("{s:I,s:s,s:s,s:I,s:I,s:I,s:I,s:I,s:s}", "group", (json_int_t)p->group, "table", p->name, "index",
                  index, "node", (json_int_t)node, "rows", (json_int_t)gn_json_u64(found, "rows"), "entries",
                  (json_int_t)gn_json_u64(found, "entries"), "missing", (json_int_t)gn_json_u64(found, "missing"),
                  "extra", (json_int_t)gn_json_u64(found, "extra"), "example", gn_json_str(found, "example")));
}

/* All replicas at once, at one SCN. */
static void check_index(checker *c, const part *p, const json_t *index)
{
    gn_ctl_call calls[MAX_NODES];
    char group[24], table[24], id[24], scn[24];
    const char *args[] = {group, table, id, scn, NULL}, *name = gn_json_str(index, "name");
    size_t n = json_array_size(p->nodes) < MAX_NODES ? json_array_size(p->nodes) : MAX_NODES;
    snprintf(group, sizeof group, "%" PRIu64, p->group);
    snprintf(table, sizeof table, "%" PRIu64, p->table);
    snprintf(id, sizeof id, "%" PRIu64, gn_json_u64(index, "index"));
    snprintf(scn, sizeof scn, "%" PRIu64, p->scn);
    for (size_t i = 0; i < n; i++)
        gn_ctl_call_start(c->client, &calls[i], node_at(p, i), GN_ADMIN_CHECK_INDEX, args, INDEX_S);
    for (size_t i = 0; i < n; i++) {
        gn_error err = {0};
        json_t *found = gn_ctl_call_end(&calls[i], &err);
        if (!found && err.code != GN_NO_TABLE) {
            note_missing(c, p, node_at(p, i), &err);
        } else if (gn_json_true(found, "behind")) {
            gn_error_set(&err, GN_UNAVAILABLE, "index %s is being brought up to date", name);
            note_missing(c, p, node_at(p, i), &err);
        } else if (found && !gn_json_true(found, "same")) {
            note_index(c, p, node_at(p, i), name, found);
        }
        c->indexes_checked += found && !gn_json_true(found, "behind");
        json_decref(found);
    }
}

static void check_indexes(checker *c, const part *p, const json_t *indexes)
{
    for (size_t i = 0; i < json_array_size(indexes); i++) {
        char words[120];
        snprintf(words, sizeof words, "group %" PRIu64 ", %.40s: index %.30s", p->group, p->name,
                 gn_json_str(json_array_get(indexes, i), "name"));
        gn_ctl_progress(c->rows < c->rows_expected ? c->rows : c->rows_expected, c->rows_expected, words);
        check_index(c, p, json_array_get(indexes, i));
    }
}

static const json_t *nodes_of(const json_t *plan, uint64_t group)
{
    const json_t *groups = json_object_get(plan, "groups");
    for (size_t i = 0; i < json_array_size(groups); i++)
        if (gn_json_u64(json_array_get(groups, i), "group") == group)
            return json_object_get(json_array_get(groups, i), "nodes");
    return NULL;
}

static void check_all(checker *c, const json_t *plan)
{
    const json_t *pieces = json_object_get(plan, "pieces");
    for (size_t i = 0; i < json_array_size(pieces); i++)
        c->rows_expected += gn_json_u64(json_array_get(pieces, i), "rows");
    for (size_t i = 0; i < json_array_size(pieces); i++) {
        const json_t *piece = json_array_get(pieces, i);
        part p = {.group = gn_json_u64(piece, "group"), .table = gn_json_u64(piece, "table"), .from = gn_xstrdup("")};
        p.name = gn_json_str(piece, "name");
        p.nodes = nodes_of(plan, p.group);
        check_part(c, &p);
        check_indexes(c, &p, json_object_get(piece, "indexes"));
        c->pieces++;
        free(p.from);
    }
    gn_ctl_progress_end();
}

static void print_text(const checker *c)
{
    char rows[32], bytes[32];
    printf("%" PRIu64 " parts of tables compared: %s rows, %s in each replica; %" PRIu64 " replicas of indexes\n",
           c->pieces, gn_text_count(c->rows, rows), gn_text_bytes(c->bytes, bytes), c->indexes_checked);
    for (size_t i = 0; i < json_array_size(c->differences); i++) {
        const json_t *d = json_array_get(c->differences, i), *replicas = json_object_get(d, "replicas");
        printf("DIFFERENT  group %" PRIu64 ", table %s, after key '%s' at SCN %" PRIu64 ":\n", gn_json_u64(d, "group"),
               gn_json_str(d, "table"), gn_json_str(d, "after"), gn_json_u64(d, "scn"));
        for (size_t k = 0; k < json_array_size(replicas); k++) {
            const json_t *r = json_array_get(replicas, k);
            printf("  node %" PRIu64 ": %s rows, checksum %s\n", gn_json_u64(r, "node"),
                   gn_text_count(gn_json_u64(r, "rows"), rows), gn_json_str(r, "checksum"));
        }
    }
    for (size_t i = 0; i < json_array_size(c->indexes); i++) {
        const json_t *x = json_array_get(c->indexes, i);
        const char *example = gn_json_str(x, "example");
        printf("WRONG INDEX  group %" PRIu64 ", table %s, index %s, of node %" PRIu64 ": %s rows",
               gn_json_u64(x, "group"), gn_json_str(x, "table"), gn_json_str(x, "index"), gn_json_u64(x, "node"),
               gn_text_count(gn_json_u64(x, "rows"), rows));
        printf(" and %s entries", gn_text_count(gn_json_u64(x, "entries"), rows));
        printf(", %s rows without their entry", gn_text_count(gn_json_u64(x, "missing"), rows));
        printf(", %s entries without their row%s%s\n", gn_text_count(gn_json_u64(x, "extra"), rows),
               example[0] ? "; the first row has the key " : "", example);
    }
    for (size_t i = 0; i < json_array_size(c->missing); i++) {
        const json_t *m = json_array_get(c->missing, i);
        printf("%s  group %" PRIu64 ", table %s, of node %" PRIu64 ": %s\n",
               strcmp(gn_json_str(m, "code"), gn_code_name(GN_CORRUPT)) == 0 ? "DAMAGED" : "not compared",
               gn_json_u64(m, "group"), gn_json_str(m, "table"), gn_json_u64(m, "node"), gn_json_str(m, "why"));
    }
    if (json_array_size(c->indexes))
        puts("An index that is wrong gives wrong answers: make that replica anew (gnomonctl move GROUP FROM TO), or "
             "drop the "
             "index and create it again.");
    else if (json_array_size(c->differences) == 0)
        puts(json_array_size(c->missing) ? "no difference was found in what could be read"
                                         : "all replicas are the same, and all indexes as their rows");
}

int gn_cmd_check(gn_ctl *ctl)
{
    int status = GN_EXIT_OK;
    gn_error err = {0};
    checker c = {.ctl = ctl};
    const char *args[] = {ctl->n_args ? ctl->args[0] : NULL, NULL};
    if (gn_ctl_number("--rows", ctl->values[GN_OPT_ROWS], 1, 1 << 20, &c.rows_at_once, &err) != GN_OK) {
        gn_ctl_complain(ctl, &err);
        return GN_EXIT_USAGE;
    }
    c.client = gn_ctl_connect(ctl, &status);
    json_t *plan = c.client ? gn_ctl_ask(c.client, 0, GN_ADMIN_CHECK_PLAN, args, &status) : NULL;
    if (plan) {
        c.differences = json_array();
        c.missing = json_array();
        c.indexes = json_array();
        check_all(&c, plan);
        bool well = json_array_size(c.differences) + json_array_size(c.missing) + json_array_size(c.indexes) == 0;
        if (gn_ctl_has(ctl, GN_OPT_JSON)) {
            json_t *document = json_pack("{s:b,s:I,s:I,s:I,s:I,s:O,s:O,s:O}", "same", well, "parts",
                                         (json_int_t)c.pieces, "rows", (json_int_t)c.rows, "bytes", (json_int_t)c.bytes,
                                         "indexes_checked", (json_int_t)c.indexes_checked, "differences", c.differences,
                                         "wrong_indexes", c.indexes, "not_compared", c.missing);
            gn_json_print(document);
            json_decref(document);
        } else {
            print_text(&c);
        }
        status = well ? GN_EXIT_OK : GN_EXIT_UNHEALTHY;
        json_decref(c.differences);
        json_decref(c.missing);
        json_decref(c.indexes);
    }
    json_decref(plan);
    gn_ctl_disconnect(c.client);
    return status;
}
