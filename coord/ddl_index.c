/* CREATE INDEX, DROP INDEX. */
#include "base/limits.h"
#include "coord/ddl_private.h"
#include "index/codes.h"
#include "index/distance.h"

#include <stdio.h>

static gn_code fail(gn_error *err, int position, gn_code code)
{
    gn_error_at(err, position);
    return code;
}

/* ---- hnsw ---- */

static gn_code quantization(const gn_ast_option *o, gn_index_desc *index, gn_error *err)
{
    char name[16] = "";
    if (o->value && o->value->kind == GN_A_STRING && o->value->text.len < sizeof name)
        memcpy(name, o->value->text.data, o->value->text.len);
    index->codes = (uint8_t)gn_code_kind_named(name);
    if (index->codes != GN_CODES_KNOWN)
        return GN_OK;
    gn_error_set(err, GN_INVALID_PARAMETER, "invalid value for enum option \"%s\"", o->name);
    gn_error_detail(err, "Valid values are \"auto\", \"none\", \"f16\", \"bf16\", \"sq8\", \"sq4\", \"reduced\", "
                         "\"rabitq\", \"binary\" and \"product\".");
    return fail(err, o->position, GN_INVALID_PARAMETER);
}

static gn_code check_codes(const gn_index_desc *index, uint32_t dimensions, gn_error *err)
{
    gn_code_options options = {.kind = (gn_code_kind)index->codes,
                               .metric = (gn_metric_kind)index->metric,
                               .dimensions = dimensions,
                               .bits = index->code_bits,
                               .subquantizers = index->pq_subquantizers,
                               .centroids = index->pq_centroids};
    return gn_code_options_check(&options, err);
}

/* distance_metric names what an operator class would; of both, they must agree. */
static gn_code distance_metric(const gn_ast_option *o, gn_index_desc *index, gn_error *err)
{
    uint8_t metric = 0;
    for (uint8_t m = 1; m < GN_METRIC_KNOWN && o->value && o->value->kind == GN_A_STRING; m++)
        if (gn_bytes_eq(o->value->text, gn_bytes_str(gn_metric_text(m))))
            metric = m;
    if (o->value && o->value->kind == GN_A_STRING && gn_bytes_eq(o->value->text, gn_bytes_str("inner_product")))
        metric = GN_METRIC_IP;
    if (!metric) {
        gn_error_set(err, GN_INVALID_PARAMETER, "invalid value for enum option \"%s\"", o->name);
        gn_error_detail(err, "Valid values are \"l2\", \"ip\", \"cosine\", \"l1\", \"hamming\" and \"jaccard\".");
        return fail(err, o->position, GN_INVALID_PARAMETER);
    }
    if (index->metric && index->metric != metric) {
        gn_error_set(err, GN_INVALID_PARAMETER, "distance_metric \"%s\" is not that of the operator class",
                     gn_metric_text(metric));
        return fail(err, o->position, GN_INVALID_PARAMETER);
    }
    index->metric = metric;
    return GN_OK;
}

static gn_code hnsw_options(const gn_ast_options *options, bool ivfflat, gn_index_desc *index, gn_error *err)
{
    uint32_t lists;
    index->m = 16;
    index->ef_construction = 64;
    gn_code code = GN_OK;
    for (uint32_t i = 0; i < options->n && code == GN_OK; i++) {
        const gn_ast_option *o = &options->items[i];
        if (ivfflat && strcmp(o->name, "lists") == 0) {
            code = gn_ddl_integer_option(o, 1, 32768, &lists, err);
        } else if (strcmp(o->name, "ef_search") == 0) {
            code = gn_ddl_integer_option(o, 1, GN_MAX_EF, &index->ef_search, err);
        } else if (strcmp(o->name, "distance_metric") == 0) {
            continue; /* the type must be known, so it is read before */
        } else if (strcmp(o->name, "m") == 0) {
            code = gn_ddl_integer_option(o, 2, GN_MAX_HNSW_M, &index->m, err);
        } else if (strcmp(o->name, "ef_construction") == 0) {
            code = gn_ddl_integer_option(o, 4, GN_MAX_EF_CONSTRUCTION, &index->ef_construction, err);
        } else if (strcmp(o->name, "quantization") == 0) {
            code = quantization(o, index, err);
        } else if (strcmp(o->name, "rabitq_bits") == 0) {
            code = gn_ddl_integer_option(o, 1, 4, &index->code_bits, err);
        } else if (strcmp(o->name, "pq_subquantizers") == 0) {
            code = gn_ddl_integer_option(o, 1, GN_MAX_DIMENSIONS, &index->pq_subquantizers, err);
        } else if (strcmp(o->name, "pq_centroids") == 0) {
            code = gn_ddl_integer_option(o, 16, 256, &index->pq_centroids, err);
        } else if (strcmp(o->name, "rerank") == 0) {
            code = gn_ddl_integer_option(o, 1, GN_MAX_EF, &index->rerank, err);
        } else {
            gn_error_set(err, GN_INVALID_PARAMETER, "unrecognized parameter \"%s\"", o->name);
            code = fail(err, o->position, GN_INVALID_PARAMETER);
        }
    }
    if (code == GN_OK && index->ef_construction < 2 * index->m)
        code = gn_error_set(err, GN_INVALID_PARAMETER, "ef_construction must be greater than or equal to 2 * m");
    return code;
}

/* An operator class is a type and a distance. */
static const struct {
    const char *name;
    gn_type_id type;
    uint8_t metric;
} classes[] = {
    {"vector_l2_ops", GN_T_VECTOR, GN_METRIC_L2},
    {"vector_ip_ops", GN_T_VECTOR, GN_METRIC_IP},
    {"vector_cosine_ops", GN_T_VECTOR, GN_METRIC_COSINE},
    {"vector_l1_ops", GN_T_VECTOR, GN_METRIC_L1},
    {"halfvec_l2_ops", GN_T_HALFVEC, GN_METRIC_L2},
    {"halfvec_ip_ops", GN_T_HALFVEC, GN_METRIC_IP},
    {"halfvec_cosine_ops", GN_T_HALFVEC, GN_METRIC_COSINE},
    {"halfvec_l1_ops", GN_T_HALFVEC, GN_METRIC_L1},
    {"sparsevec_l2_ops", GN_T_SPARSEVEC, GN_METRIC_L2},
    {"sparsevec_ip_ops", GN_T_SPARSEVEC, GN_METRIC_IP},
    {"sparsevec_cosine_ops", GN_T_SPARSEVEC, GN_METRIC_COSINE},
    {"sparsevec_l1_ops", GN_T_SPARSEVEC, GN_METRIC_L1},
    {"bit_hamming_ops", GN_T_BIT, GN_METRIC_HAMMING},
    {"bit_jaccard_ops", GN_T_BIT, GN_METRIC_JACCARD},
};

static gn_code no_class(gn_type type, const char *method, gn_error *err)
{
    char names[200] = "";
    for (size_t i = 0, at = 0; i < sizeof classes / sizeof classes[0]; i++)
        if (gn_type_is(type, classes[i].type))
            at += (size_t)snprintf(names + at, sizeof names - at, "%s%s", at ? ", " : "", classes[i].name);
    gn_error_set(err, GN_NO_OBJECT, "data type %s has no default operator class for access method \"%s\"",
                 gn_type_text(type), method);
    if (*names)
        gn_error_hint(err, "Name one of %s.", names);
    return GN_NO_OBJECT;
}

/* Without an operator class: by the option distance_metric, or of ivfflat pgvector's defaults. */
static gn_code metric_without_class(gn_type type, const char *method, gn_index_desc *index, gn_error *err)
{
    if (!index->metric && strcmp(method, "ivfflat") == 0)
        index->metric = gn_type_is(type, GN_T_VECTOR) ? GN_METRIC_L2
                        : gn_type_is(type, GN_T_BIT)  ? GN_METRIC_HAMMING
                                                      : 0;
    if (!index->metric)
        return no_class(type, method, err);
    for (size_t i = 0; i < sizeof classes / sizeof classes[0]; i++)
        if (gn_type_is(type, classes[i].type) && classes[i].metric == index->metric)
            return GN_OK;
    return gn_error_set(err, GN_TYPE_MISMATCH, "data type %s has no %s distance", gn_type_text(type),
                        gn_metric_text(index->metric));
}

static gn_code hnsw_metric(const gn_ast_index_column *c, gn_type type, const char *method, gn_index_desc *index,
                           gn_error *err)
{
    if (!c->opclass)
        return metric_without_class(type, method, index, err);
    size_t i = 0, n = sizeof classes / sizeof classes[0];
    while (i < n && strcmp(c->opclass, classes[i].name) != 0)
        i++;
    if (i == n) {
        gn_error_set(err, GN_NO_OBJECT, "operator class \"%s\" does not exist for access method \"%s\"", c->opclass,
                     method);
        return fail(err, c->opclass_position, GN_NO_OBJECT);
    }
    if (!gn_type_is(type, classes[i].type)) {
        gn_error_set(err, GN_TYPE_MISMATCH, "operator class \"%s\" does not accept data type %s", c->opclass,
                     gn_type_text(type));
        return fail(err, c->opclass_position, GN_TYPE_MISMATCH);
    }
    index->metric = classes[i].metric;
    return GN_OK;
}

static gn_code check_dimensions(gn_type type, const gn_index_desc *index, const char *method, gn_error *err)
{
    uint32_t most = gn_metric_max_dimensions((gn_metric_kind)index->metric);
    if (type.typmod <= 0)
        return gn_error_set(err, GN_INVALID_PARAMETER, "column does not have dimensions");
    if ((uint32_t)type.typmod <= most)
        return GN_OK;
    gn_error_set(err, type.id == GN_T_SPARSEVEC ? GN_FEATURE : GN_LIMIT,
                 "column cannot have more than %u dimensions for %s index", most, method);
    gn_error_hint(err, "Without an index, ORDER BY reads all rows and is exact.");
    return type.id == GN_T_SPARSEVEC ? GN_FEATURE : GN_LIMIT;
}

static gn_code refuse_for_vectors(const gn_ast_create_index *ast, gn_error *err)
{
    const gn_ast_index_column *c = &ast->columns.items[0];
    const char *what = ast->unique          ? "unique indexes"
                       : ast->columns.n > 1 ? "multicolumn indexes"
                       : c->descending      ? "ASC/DESC options"
                       : c->nulls_given     ? "NULLS FIRST/LAST options"
                                            : NULL;
    return what ? gn_error_set(err, GN_FEATURE, "access method \"%s\" does not support %s", ast->method, what) : GN_OK;
}

/* ivfflat is accepted for those who come from there: it gives the same index. */
static gn_code define_vectors(gn_draft *d, const gn_ast_create_index *ast, gn_index_desc *index)
{
    const gn_ast_index_column *c = &ast->columns.items[0];
    bool ivfflat = strcmp(ast->method, "ivfflat") == 0;
    int at = gn_table_column_by_id(&d->desc, index->columns[0]);
    gn_type type = d->desc.columns[at].type;
    gn_code code = refuse_for_vectors(ast, d->err);
    index->kind = GN_INDEX_HNSW;
    if (code == GN_OK && c->opclass)
        code = hnsw_metric(c, type, ast->method, index, d->err);
    for (uint32_t i = 0; i < ast->options.n && code == GN_OK; i++)
        if (strcmp(ast->options.items[i].name, "distance_metric") == 0)
            code = distance_metric(&ast->options.items[i], index, d->err);
    if (code == GN_OK && !c->opclass)
        code = hnsw_metric(c, type, ast->method, index, d->err);
    if (code == GN_OK)
        code = check_dimensions(type, index, ast->method, d->err);
    if (code == GN_OK)
        code = hnsw_options(&ast->options, ivfflat, index, d->err);
    if (code == GN_OK)
        code = check_codes(index, (uint32_t)type.typmod, d->err);
    if (code == GN_OK && ivfflat)
        gn_session_notice(d->s, GN_SEVERITY_NOTICE, GN_OK,
                          "access method \"ivfflat\" makes an hnsw index; lists and ivfflat.probes have no effect");
    return code;
}

/* ---- btree ---- */

/* Operator classes of PostgreSQL that mean the order there is here: text is ordered by bytes anyway. */
static bool known_opclass(const char *name)
{
    static const char *const names[] = {"bool_ops", "bytea_ops",     "int2_ops",         "int4_ops",
                                        "int8_ops", "float4_ops",    "float8_ops",       "numeric_ops",
                                        "text_ops", "varchar_ops",   "text_pattern_ops", "varchar_pattern_ops",
                                        "date_ops", "timestamp_ops", "timestamptz_ops",  "interval_ops",
                                        "uuid_ops", "jsonb_ops",     "array_ops"};
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++)
        if (strcmp(name, names[i]) == 0)
            return true;
    return false;
}

static gn_code define_btree(gn_draft *d, const gn_ast_create_index *ast, gn_index_desc *index)
{
    index->kind = GN_INDEX_BTREE;
    index->unique = ast->unique;
    for (uint32_t i = 0; i < ast->columns.n; i++) {
        const gn_ast_index_column *c = &ast->columns.items[i];
        int at = gn_table_column_by_id(&d->desc, index->columns[i]);
        gn_code code = gn_ddl_check_key_type(d->desc.columns[at].type, d->err);
        if (code != GN_OK)
            return code;
        if (c->opclass && !known_opclass(c->opclass)) {
            gn_error_set(d->err, GN_NO_OBJECT, "operator class \"%s\" does not exist for access method \"btree\"",
                         c->opclass);
            return fail(d->err, c->opclass_position, GN_NO_OBJECT);
        }
        index->descending[i] = c->descending;
        index->nulls_first[i] = c->nulls_first;
    }
    for (uint32_t i = 0; i < ast->options.n; i++) {
        if (strcmp(ast->options.items[i].name, "fillfactor") == 0)
            continue;
        gn_error_set(d->err, GN_INVALID_PARAMETER, "unrecognized parameter \"%s\"", ast->options.items[i].name);
        return fail(d->err, ast->options.items[i].position, GN_INVALID_PARAMETER);
    }
    return GN_OK;
}

/* ---- CREATE INDEX ---- */

static gn_code unsupported(const gn_ast_create_index *ast, gn_error *err)
{
    if (ast->include.n) {
        gn_error_set(err, GN_FEATURE, "INCLUDE columns are not supported");
        return fail(err, ast->include.items[0].position, GN_FEATURE);
    }
    if (ast->columns.n > GN_MAX_INDEX_COLUMNS)
        return gn_error_set(err, GN_TOO_MANY_COLUMNS, "cannot use more than %d columns in an index",
                            GN_MAX_INDEX_COLUMNS);
    return GN_OK;
}

static gn_code list_columns(gn_draft *d, const gn_ast_create_index *ast, gn_index_desc *index)
{
    for (uint32_t i = 0; i < ast->columns.n; i++) {
        const gn_ast_expr *e = ast->columns.items[i].expr;
        if (e->kind != GN_A_COLUMN) {
            gn_code code = gn_ddl_computed_column(d, e, false, &index->columns[i]);
            if (code != GN_OK)
                return code;
            continue;
        }
        int at = gn_table_column_by_name(&d->desc, gn_bytes_str(e->column.name));
        if (at < 0)
            return gn_error_set(d->err, GN_NO_COLUMN, "column \"%s\" does not exist", e->column.name);
        index->columns[i] = d->desc.columns[at].id;
    }
    index->n_columns = ast->columns.n;
    return ast->where ? gn_ddl_computed_column(d, ast->where, true, &index->predicate) : GN_OK;
}

static gn_code define_index(gn_draft *d, const gn_ast_create_index *ast, gn_index_desc *index)
{
    const char *method = ast->method ? ast->method : "btree";
    gn_code code = list_columns(d, ast, index);
    if (code != GN_OK)
        return code;
    if (strcmp(method, "btree") == 0)
        code = define_btree(d, ast, index);
    else if (strcmp(method, "hnsw") == 0 || strcmp(method, "ivfflat") == 0)
        code = define_vectors(d, ast, index);
    else
        code = gn_error_set(d->err, GN_NO_OBJECT, "access method \"%s\" does not exist", method);
    if (code != GN_OK)
        return code;
    if (ast->name) {
        gn_ddl_copy_name(index->name, ast->name);
        return GN_OK;
    }
    char columns[64];
    gn_ddl_columns_name(d, index, columns);
    gn_ddl_choose_name(d->s, d, d->desc.name, columns, "idx", true, index->name);
    return GN_OK;
}

gn_code gn_run_create_index(gn_session *s, const gn_ast_create_index *ast, gn_error *err)
{
    const gn_table_desc *table;
    gn_index_desc *index;
    gn_draft d;
    gn_code code = unsupported(ast, err);
    if (code == GN_OK && ast->concurrently)
        code = gn_session_refuse_block(s, "CREATE INDEX CONCURRENTLY", err);
    if (code == GN_OK)
        code = gn_ddl_table(s, &ast->table, false, &table, err);
    if (code != GN_OK)
        return code;
    if (ast->name && gn_ddl_name_taken(s, NULL, ast->name)) {
        if (!ast->if_not_exists)
            return gn_error_set(err, GN_DUPLICATE_TABLE, "relation \"%s\" already exists", ast->name);
        gn_session_notice(s, GN_SEVERITY_NOTICE, GN_DUPLICATE_TABLE, "relation \"%s\" already exists, skipping",
                          ast->name);
        return GN_OK;
    }
    code = gn_draft_init(&d, s, table, err);
    if (code != GN_OK)
        return code;
    code = gn_draft_add_index(&d, &index);
    if (code == GN_OK)
        code = define_index(&d, ast, index);
    if (code == GN_OK)
        code = gn_ddl_check_computed(&d, table, index);
    if (code == GN_OK)
        code = gn_draft_put(&d);
    if (code == GN_OK && index->kind == GN_INDEX_HNSW)
        gn_session_build_later(s, &d.desc, index);
    gn_draft_close(&d);
    return code;
}

/* ---- DROP INDEX ---- */

static gn_code drop_one(gn_session *s, const gn_ast_name *name, bool if_exists, gn_error *err)
{
    const gn_index_desc *index = NULL;
    gn_code code = gn_ddl_check_schema(name, err);
    if (code != GN_OK)
        return code;
    const gn_table_desc *table = gn_dtxn_index_named(s->txn, gn_bytes_str(name->name), &index);
    if (!table || !index) {
        if (gn_dtxn_table_named(s->txn, gn_bytes_str(name->name))) {
            gn_error_set(err, GN_WRONG_OBJECT_TYPE, "\"%s\" is not an index", name->name);
            return gn_error_hint(err, "Use DROP TABLE to remove a table."), GN_WRONG_OBJECT_TYPE;
        }
        if (!if_exists)
            return gn_error_set(err, GN_NO_OBJECT, "index \"%s\" does not exist", name->name);
        gn_session_notice(s, GN_SEVERITY_NOTICE, GN_OK, "index \"%s\" does not exist, skipping", name->name);
        return GN_OK;
    }
    if (index->constraint) {
        gn_error_set(err, GN_DEPENDENT_OBJECTS, "cannot drop index %s because constraint %s on table %s requires it",
                     index->name, index->name, table->name);
        gn_error_hint(err, "You can drop constraint %s on table %s instead.", index->name, table->name);
        return GN_DEPENDENT_OBJECTS;
    }
    gn_draft d;
    uint64_t id = index->id;
    code = gn_draft_init(&d, s, table, err);
    if (code != GN_OK)
        return code;
    for (uint32_t i = 0; i < d.desc.n_indexes; i++) {
        if (d.desc.indexes[i].id == id) {
            gn_draft_drop_index(&d, i);
            break;
        }
    }
    code = gn_draft_put(&d);
    gn_draft_close(&d);
    return code;
}

gn_code gn_run_drop_index(gn_session *s, const gn_ast_drop *ast, gn_error *err)
{
    gn_code code = GN_OK;
    for (uint32_t i = 0; i < ast->names.n && code == GN_OK; i++)
        code = drop_one(s, &ast->names.items[i], ast->if_exists, err);
    return code;
}
