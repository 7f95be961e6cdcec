/* Drafts of descriptors, and names that nobody has given. */
#include "base/limits.h"
#include "coord/ddl_private.h"

#include <stdio.h>

/* ---- drafts ---- */

static gn_code oom(gn_draft *d)
{
    return gn_error_oom(d->err, gn_arena_account(d->arena));
}

/* A copy of n items with room for some more. */
static gn_code copy_array(gn_draft *d, const void *items, uint32_t n, size_t size, uint32_t *capacity, void *out)
{
    *capacity = n + 8;
    void *copy = gn_arena_calloc(d->arena, *capacity, size);
    if (!copy)
        return oom(d);
    if (n)
        memcpy(copy, items, n * size);
    *(void **)out = copy;
    return GN_OK;
}

gn_code gn_draft_init(gn_draft *d, gn_session *s, const gn_table_desc *from, gn_error *err)
{
    *d = (gn_draft){.s = s, .arena = gn_arena_create(&s->account), .err = err};
    if (from)
        d->desc = *from;
    else
        d->desc = (gn_table_desc){.next_column_id = 1, .hidden_key = true};
    gn_table_desc *t = &d->desc;
    gn_code code = from ? GN_OK : gn_ddl_new_id(s, &t->id, err);
    if (code == GN_OK)
        code = copy_array(d, t->columns, t->n_columns, sizeof *t->columns, &d->cap_columns, &t->columns);
    if (code == GN_OK)
        code = copy_array(d, t->indexes, t->n_indexes, sizeof *t->indexes, &d->cap_indexes, &t->indexes);
    if (code == GN_OK)
        code = copy_array(d, t->checks, t->n_checks, sizeof *t->checks, &d->cap_checks, &t->checks);
    if (code != GN_OK)
        gn_draft_close(d);
    return code;
}

void gn_draft_close(gn_draft *d)
{
    gn_arena_destroy(d->arena);
    d->arena = NULL;
}

gn_code gn_ddl_integer_option(const gn_ast_option *o, uint32_t least, uint32_t most, uint32_t *out, gn_error *err)
{
    const gn_ast_expr *v = o->value;
    if (!v || v->kind != GN_A_INTEGER) {
        bool text = v && (v->kind == GN_A_STRING || v->kind == GN_A_NUMERIC);
        gn_error_set(err, GN_INVALID_PARAMETER, "invalid value for integer option \"%s\": %.*s", o->name,
                     text ? (int)(v->text.len > 60 ? 60 : v->text.len) : 0, text ? (const char *)v->text.data : "");
        return gn_error_at(err, o->position), GN_INVALID_PARAMETER;
    }
    if (v->integer < least || v->integer > most) {
        gn_error_set(err, GN_INVALID_PARAMETER, "value %lld out of bounds for option \"%s\"", (long long)v->integer,
                     o->name);
        gn_error_detail(err, "Valid values are between \"%u\" and \"%u\".", least, most);
        return gn_error_at(err, o->position), GN_INVALID_PARAMETER;
    }
    *out = (uint32_t)v->integer;
    return GN_OK;
}

/* Each group vouches for its own rows alone, so what is unique has to lie in one group. */
static gn_code check_unique(const gn_draft *d, const char *name, const uint32_t *columns, uint32_t n)
{
    const gn_table_desc *t = &d->desc;
    for (uint32_t i = 0; i < t->n_shard_key; i++) {
        bool there = false;
        for (uint32_t k = 0; k < n; k++)
            there |= columns[k] == t->shard_key[i];
        if (there)
            continue;
        gn_error_set(d->err, GN_FEATURE,
                     "unique constraint on partitioned table must include all partitioning columns");
        gn_error_detail(d->err, "\"%s\" on table \"%s\" lacks column \"%s\", which is part of the partition key.", name,
                        t->name, t->columns[gn_table_column_by_id(t, t->shard_key[i])].name);
        return GN_FEATURE;
    }
    return GN_OK;
}

static gn_code check_spread(const gn_draft *d)
{
    const gn_table_desc *t = &d->desc;
    if (!t->distribution_id)
        return GN_OK;
    if (t->hidden_key) {
        gn_error_set(d->err, GN_FEATURE, "table \"%s\" has shards and so needs a primary key", t->name);
        return GN_FEATURE;
    }
    gn_code code = check_unique(d, t->key_name, t->key, t->n_key);
    for (uint32_t i = 0; i < t->n_indexes && code == GN_OK; i++)
        if (t->indexes[i].unique)
            code = check_unique(d, t->indexes[i].name, t->indexes[i].columns, t->indexes[i].n_columns);
    return code;
}

/* A program of a version that does not know a type, or a distance, could not read the table's definition any more. */
static gn_code check_versions(const gn_draft *d)
{
    const gn_table_desc *t = &d->desc;
    const gn_cluster *cluster = d->s->db->cluster;
    const char *what = NULL;
    uint32_t since = 0;
    for (uint32_t i = 0; i < t->n_columns && !what; i++)
        if (!gn_cluster_is_at(cluster, since = gn_type_since(t->columns[i].type)))
            what = gn_type_text(t->columns[i].type);
        else if (t->columns[i].computed && !gn_cluster_is_at(cluster, since = GN_SINCE_COMPUTED))
            what = "an index on an expression, or a partial one,";
    for (uint32_t i = 0; i < t->n_indexes && !what; i++)
        if (t->indexes[i].metric > GN_METRIC_COSINE && !gn_cluster_is_at(cluster, since = GN_SINCE_VECTOR_TYPES))
            what = gn_metric_text(t->indexes[i].metric);
        else if (t->indexes[i].ef_search && !gn_cluster_is_at(cluster, since = GN_SINCE_VECTOR_TYPES))
            what = "ef_search of an index";
    if (!what)
        return GN_OK;
    gn_error_set(d->err, GN_FEATURE, "%s cannot be used before the cluster is at version %u", what, since);
    gn_error_hint(d->err, "End the upgrade with \"gnomonctl upgrade --finish\".");
    return GN_FEATURE;
}

gn_code gn_draft_put(gn_draft *d)
{
    gn_code code = check_spread(d);
    if (code == GN_OK)
        code = check_versions(d);
    if (code != GN_OK)
        return code;
    d->desc.version++;
    return gn_dtxn_put_table(d->s->txn, &d->desc, d->err);
}

/* Doubles an array that is full. */
static gn_code more_room(gn_draft *d, uint32_t n, size_t size, uint32_t *capacity, void *array)
{
    if (n < *capacity)
        return GN_OK;
    void *old = *(void **)array, *bigger = gn_arena_calloc(d->arena, 2 * (size_t)*capacity, size);
    if (!bigger)
        return oom(d);
    memcpy(bigger, old, n * size);
    *(void **)array = bigger;
    *capacity *= 2;
    return GN_OK;
}

gn_code gn_draft_add_column(gn_draft *d, gn_column_desc **out)
{
    gn_table_desc *t = &d->desc;
    if (t->n_columns >= GN_MAX_COLUMNS)
        return gn_error_set(d->err, GN_TOO_MANY_COLUMNS, "tables can have at most %d columns", GN_MAX_COLUMNS);
    gn_code code = more_room(d, t->n_columns, sizeof *t->columns, &d->cap_columns, &t->columns);
    if (code == GN_OK) {
        *out = &t->columns[t->n_columns++];
        (*out)->id = t->next_column_id++;
    }
    return code;
}

gn_code gn_draft_add_index(gn_draft *d, gn_index_desc **out)
{
    gn_table_desc *t = &d->desc;
    gn_code code = more_room(d, t->n_indexes, sizeof *t->indexes, &d->cap_indexes, &t->indexes);
    if (code == GN_OK)
        code = gn_ddl_new_id(d->s, &t->indexes[t->n_indexes].id, d->err);
    if (code == GN_OK)
        *out = &t->indexes[t->n_indexes++];
    return code;
}

gn_code gn_draft_add_check(gn_draft *d, gn_check_desc **out)
{
    gn_table_desc *t = &d->desc;
    gn_code code = more_room(d, t->n_checks, sizeof *t->checks, &d->cap_checks, &t->checks);
    if (code == GN_OK)
        *out = &t->checks[t->n_checks++];
    return code;
}

void gn_draft_drop_index(gn_draft *d, uint32_t i)
{
    gn_table_desc *t = &d->desc;
    memmove(&t->indexes[i], &t->indexes[i + 1], (t->n_indexes - i - 1) * sizeof *t->indexes);
    memset(&t->indexes[--t->n_indexes], 0, sizeof *t->indexes);
    gn_draft_drop_computed(d);
}

void gn_draft_drop_check(gn_draft *d, uint32_t i)
{
    gn_table_desc *t = &d->desc;
    memmove(&t->checks[i], &t->checks[i + 1], (t->n_checks - i - 1) * sizeof *t->checks);
    memset(&t->checks[--t->n_checks], 0, sizeof *t->checks);
}

/* ---- names ---- */

gn_code gn_ddl_new_id(gn_session *s, uint64_t *id, gn_error *err)
{
    return gn_cluster_new_ids(s->db->cluster, 1, id, err);
}

void gn_ddl_copy_name(char out[64], const char *name)
{
    snprintf(out, 64, "%.*s", GN_MAX_NAME, name);
}

gn_code gn_ddl_check_schema(const gn_ast_name *name, gn_error *err)
{
    if (!name->schema || strcmp(name->schema, "public") == 0)
        return GN_OK;
    gn_error_set(err, GN_NO_SCHEMA, "schema \"%s\" does not exist", name->schema);
    gn_error_at(err, name->position);
    return GN_NO_SCHEMA;
}

gn_code gn_ddl_table(gn_session *s, const gn_ast_name *name, bool missing_ok, const gn_table_desc **out, gn_error *err)
{
    gn_code code = gn_ddl_check_schema(name, err);
    if (code != GN_OK)
        return code;
    *out = gn_dtxn_table_named(s->txn, gn_bytes_str(name->name));
    if (*out)
        return GN_OK;
    if (!missing_ok)
        return gn_error_set(err, GN_NO_TABLE, "relation \"%s\" does not exist", name->name);
    gn_session_notice(s, GN_SEVERITY_NOTICE, GN_OK, "relation \"%s\" does not exist, skipping", name->name);
    return GN_OK;
}

static bool in_draft(const gn_draft *d, const char *name)
{
    const gn_table_desc *t = &d->desc;
    if (strcmp(t->name, name) == 0 || strcmp(t->key_name, name) == 0)
        return true;
    for (uint32_t i = 0; i < t->n_indexes; i++)
        if (strcmp(t->indexes[i].name, name) == 0)
            return true;
    return false;
}

static bool is_key_name(gn_session *s, const char *name)
{
    size_t len = strlen(name);
    if (len < 6 || strcmp(name + len - 5, "_pkey") != 0)
        return false;
    const gn_table_desc *t = gn_dtxn_table_named(s->txn, gn_bytes_of(name, len - 5));
    return t && strcmp(t->key_name, name) == 0;
}

bool gn_ddl_name_taken(gn_session *s, const gn_draft *d, const char *name)
{
    const gn_index_desc *index;
    return (d && in_draft(d, name)) || gn_dtxn_table_named(s->txn, gn_bytes_str(name)) ||
           gn_dtxn_index_named(s->txn, gn_bytes_str(name), &index) || is_key_name(s, name);
}

static bool check_taken(const gn_draft *d, const char *name)
{
    for (uint32_t i = 0; d && i < d->desc.n_checks; i++)
        if (strcmp(d->desc.checks[i].name, name) == 0)
            return true;
    return false;
}

/* Cuts whichever of the two names is longer until all fits. Never within a character. */
static void cut_names(const char *table, const char *columns, size_t room, int *n_table, int *n_columns)
{
    size_t t = strlen(table), c = columns ? strlen(columns) : 0;
    while (t + c > room) {
        if (t > c)
            t--;
        else
            c--;
    }
    while (t > 0 && ((unsigned char)table[t] & 0xc0) == 0x80)
        t--;
    while (c > 0 && ((unsigned char)columns[c] & 0xc0) == 0x80)
        c--;
    *n_table = (int)t;
    *n_columns = (int)c;
}

void gn_ddl_choose_name(gn_session *s, const gn_draft *d, const char *table, const char *columns, const char *label,
                        bool relation, char out[64])
{
    for (unsigned pass = 0;; pass++) {
        char suffix[32], name[64]; /* `out` may be the draft's own, which would count as taken */
        int n_table, n_columns;
        if (pass)
            snprintf(suffix, sizeof suffix, "%s%u", label, pass);
        else
            snprintf(suffix, sizeof suffix, "%s", label);
        cut_names(table, columns, GN_MAX_NAME - strlen(suffix) - (columns ? 2 : 1), &n_table, &n_columns);
        if (columns)
            snprintf(name, sizeof name, "%.*s_%.*s_%s", n_table, table, n_columns, columns, suffix);
        else
            snprintf(name, sizeof name, "%.*s_%s", n_table, table, suffix);
        if (relation ? gn_ddl_name_taken(s, d, name) : check_taken(d, name))
            continue;
        memcpy(out, name, sizeof name);
        return;
    }
}

void gn_ddl_columns_name(const gn_draft *d, const gn_index_desc *index, char out[64])
{
    size_t len = 0;
    out[0] = 0;
    for (uint32_t i = 0; i < index->n_columns && len < GN_MAX_NAME; i++) {
        int at = gn_table_column_by_id(&d->desc, index->columns[i]);
        int n = snprintf(out + len, 64 - len, "%s%s", i ? "_" : "", d->desc.columns[at].name);
        len += n > 0 ? (size_t)n : 0;
    }
}
