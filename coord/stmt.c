/* Statements: parsed texts with their plans, the session's cache of them, and prepared names. */
#include "base/limits.h"
#include "coord/parser.h"
#include "coord/session_private.h"

#include <stdlib.h>
#include <xxhash.h>

enum { MAX_CACHED_TEXT = 64 << 10 };

/* ---- life ---- */

gn_stmt *gn_stmt_retain(gn_stmt *stmt)
{
    stmt->refs++;
    return stmt;
}

void gn_stmt_release(gn_stmt *stmt)
{
    if (!stmt || --stmt->refs > 0)
        return;
    gn_plan_release(stmt->plan);
    if (stmt->arena)
        gn_arena_destroy(stmt->arena);
    else
        free(stmt);
}

/* ---- the cache: a hash by text and given types, and a list by last use ---- */

static void list_remove(gn_session *s, gn_stmt *stmt)
{
    *(stmt->newer ? &stmt->newer->older : &s->newest) = stmt->older;
    *(stmt->older ? &stmt->older->newer : &s->oldest) = stmt->newer;
    stmt->newer = stmt->older = NULL;
}

static void list_push(gn_session *s, gn_stmt *stmt)
{
    stmt->older = s->newest;
    if (s->newest)
        s->newest->newer = stmt;
    else
        s->oldest = stmt;
    s->newest = stmt;
}

static void uncache(gn_session *s, gn_stmt *stmt)
{
    gn_stmt **at = &s->cache[stmt->hash % GN_STMT_BUCKETS];
    while (*at != stmt)
        at = &(*at)->chain;
    *at = stmt->chain;
    list_remove(s, stmt);
    stmt->cached = false;
    s->n_cached--;
    gn_stmt_release(stmt);
}

static void cache(gn_session *s, gn_stmt *stmt)
{
    if (stmt->sql.len > MAX_CACHED_TEXT)
        return;
    if (s->n_cached == GN_STMT_CACHE_MAX)
        uncache(s, s->oldest);
    gn_stmt **bucket = &s->cache[stmt->hash % GN_STMT_BUCKETS];
    stmt->chain = *bucket;
    *bucket = gn_stmt_retain(stmt);
    stmt->cached = true;
    list_push(s, stmt);
    s->n_cached++;
}

void gn_stmt_cache_clear(gn_session *s)
{
    while (s->oldest)
        uncache(s, s->oldest);
}

static bool same_given(const gn_stmt *stmt, const gn_type *given, uint32_t n)
{
    if (stmt->n_given != n)
        return false;
    for (uint32_t i = 0; i < n; i++)
        if (!gn_type_same(stmt->given[i], given[i]))
            return false;
    return true;
}

static gn_stmt *find_cached(gn_session *s, uint64_t hash, gn_bytes sql, const gn_type *given, uint32_t n)
{
    for (gn_stmt *stmt = s->cache[hash % GN_STMT_BUCKETS]; stmt; stmt = stmt->chain) {
        if (stmt->hash != hash || !gn_bytes_eq(stmt->sql, sql) || !same_given(stmt, given, n))
            continue;
        if (s->newest != stmt) {
            list_remove(s, stmt);
            list_push(s, stmt);
        }
        return stmt;
    }
    return NULL;
}

/* ---- parsing ---- */

static gn_code given_types(const uint32_t *oids, uint32_t n, gn_arena *arena, gn_type **out, gn_error *err)
{
    gn_type *types = gn_arena_alloc(arena, (n + 1) * sizeof *types);
    if (!types)
        return gn_error_oom(err, gn_arena_account(arena));
    for (uint32_t i = 0; i < n; i++) {
        types[i] = gn_type_of(GN_T_UNKNOWN);
        if (oids[i] && !gn_type_from_oid(oids[i], &types[i]))
            return gn_error_set(err, GN_NO_OBJECT, "type with OID %u does not exist", oids[i]);
    }
    *out = types;
    return GN_OK;
}

static gn_code parse_one(gn_stmt *stmt, gn_error *err)
{
    gn_ast_statements list;
    gn_code code = gn_parse(stmt->arena, stmt->sql, &list, err);
    if (code != GN_OK)
        return code;
    if (list.n > 1)
        return gn_error_set(err, GN_SYNTAX, "cannot insert multiple commands into a prepared statement");
    stmt->ast = list.n ? list.items[0] : NULL;
    return GN_OK;
}

static gn_code new_stmt(gn_session *s, gn_bytes sql, const uint32_t *oids, uint32_t n, gn_stmt **out, gn_error *err)
{
    gn_arena *arena = gn_arena_create(&s->account);
    gn_stmt *stmt = gn_arena_calloc(arena, 1, sizeof *stmt);
    const char *text = stmt ? gn_arena_strndup(arena, (const char *)sql.data, sql.len) : NULL;
    gn_type *given = NULL;
    gn_code code = text ? given_types(oids, n, arena, &given, err) : gn_error_oom(err, &s->account);
    if (code == GN_OK) {
        *stmt = (gn_stmt){.refs = 1, .arena = arena, .sql = gn_bytes_of(text, sql.len), .given = given, .n_given = n};
        code = parse_one(stmt, err);
    }
    if (code != GN_OK)
        gn_arena_destroy(arena);
    else
        *out = stmt;
    return code;
}

gn_code gn_stmt_parse(gn_session *s, gn_bytes sql, const uint32_t *oids, uint32_t n, gn_stmt **out, gn_error *err)
{
    if (n > GN_MAX_PARAMETERS)
        return gn_error_set(err, GN_LIMIT, "a statement may have at most %d parameters", GN_MAX_PARAMETERS);
    gn_type *given;
    gn_arena_mark mark = gn_arena_save(s->describe_arena);
    gn_code code = given_types(oids, n, s->describe_arena, &given, err);
    uint64_t hash = XXH3_64bits_withSeed(sql.data, sql.len, n);
    gn_stmt *found = code == GN_OK ? find_cached(s, hash, sql, given, n) : NULL;
    gn_arena_restore(s->describe_arena, mark);
    if (code != GN_OK)
        return code;
    if (found) {
        *out = gn_stmt_retain(found);
        return GN_OK;
    }
    code = new_stmt(s, sql, oids, n, out, err);
    if (code != GN_OK)
        return code;
    (*out)->hash = hash;
    cache(s, *out);
    return GN_OK;
}

/* ---- plans ---- */

void gn_plan_context_of(gn_session *s, gn_plan_context *context)
{
    *context = (gn_plan_context){.txn = s->txn,
                                 .cluster = s->db->cluster,
                                 .format = &s->format,
                                 .enable_indexscan = s->settings.enable_indexscan,
                                 .enable_seqscan = s->settings.enable_seqscan,
                                 .plan_epoch = s->settings.plan_epoch,
                                 .account = &s->account,
                                 .infos = &s->infos};
}

const gn_ast_statement *gn_planned_ast(const gn_ast_statement *ast)
{
    if (ast && ast->kind == GN_S_EXPLAIN)
        ast = ast->explain->statement;
    if (ast && ast->kind == GN_S_DECLARE)
        ast = ast->cursor->statement;
    if (!ast)
        return NULL;
    switch (ast->kind) {
    case GN_S_QUERY:
    case GN_S_INSERT:
    case GN_S_UPDATE:
    case GN_S_DELETE:
        return ast;
    default:
        return NULL;
    }
}

/* What Describe has promised is in use by the client already. */
static gn_code keeps_promise(const gn_stmt *stmt, const gn_plan *plan, gn_error *err)
{
    bool same = !stmt->promised || stmt->n_promised == plan->n_columns;
    for (uint32_t i = 0; same && stmt->promised && i < plan->n_columns; i++)
        same = gn_type_same(stmt->promised[i].type, plan->columns[i].type);
    return same ? GN_OK : gn_error_set(err, GN_FEATURE, "cached plan must not change result type");
}

static gn_code promise(gn_stmt *stmt, const gn_plan *plan, gn_error *err)
{
    if (stmt->promised || !stmt->arena || plan->n_columns == 0)
        return GN_OK;
    stmt->promised = gn_arena_memdup(stmt->arena, plan->columns, plan->n_columns * sizeof *plan->columns);
    stmt->n_promised = plan->n_columns;
    return stmt->promised ? GN_OK : gn_error_oom(err, gn_arena_account(stmt->arena));
}

gn_code gn_stmt_plan(gn_session *s, gn_stmt *stmt, gn_error *err)
{
    const gn_ast_statement *ast = gn_planned_ast(stmt->ast);
    if (!ast)
        return GN_OK;
    if (stmt->plan && gn_plan_valid(stmt->plan, s->txn, s->settings.plan_epoch))
        return GN_OK;
    gn_plan_context context;
    gn_plan *plan;
    gn_plan_context_of(s, &context);
    /* parameters keep the types that the first plan gave them: clients have been told */
    const gn_type *types = stmt->plan ? stmt->plan->params : stmt->given;
    uint32_t n = stmt->plan ? stmt->plan->n_params : stmt->n_given;
    gn_code code = gn_plan_create(&context, ast, types, n, &plan, err);
    if (code != GN_OK)
        return code;
    if (ast == stmt->ast)
        code = keeps_promise(stmt, plan, err);
    if (code == GN_OK && ast == stmt->ast)
        code = promise(stmt, plan, err);
    if (code != GN_OK) {
        gn_plan_release(plan);
        return code;
    }
    gn_plan_release(stmt->plan);
    stmt->plan = plan;
    return GN_OK;
}

gn_code gn_stmt_plan_for(gn_session *s, gn_stmt *stmt, const gn_value *values, gn_plan **out, gn_error *err)
{
    gn_code code = gn_stmt_plan(s, stmt, err);
    if (code != GN_OK)
        return code;
    gn_plan *plan = stmt->plan;
    if (!plan->by_values || plan->n_params == 0) {
        *out = gn_plan_retain(plan);
        return GN_OK;
    }
    gn_plan_context context;
    gn_plan_context_of(s, &context);
    context.values = values;
    context.n_values = plan->n_params;
    return gn_plan_create(&context, gn_planned_ast(stmt->ast), plan->params, plan->n_params, out, err);
}

gn_code gn_stmt_columns(gn_session *s, gn_stmt *stmt, gn_arena *arena, const gn_result_column **columns, uint32_t *n,
                        gn_error *err)
{
    *columns = NULL;
    *n = 0;
    if (!stmt->ast)
        return GN_OK;
    gn_code code = gn_stmt_plan(s, stmt, err);
    if (code != GN_OK)
        return code;
    if (gn_planned_ast(stmt->ast) != stmt->ast)
        return gn_utility_columns(s, stmt->ast, arena, columns, n, err);
    *columns = stmt->plan->columns;
    *n = stmt->plan->n_columns;
    return GN_OK;
}

/* ---- prepared names ---- */

static gn_named **bucket_of(gn_session *s, const char *name)
{
    return &s->named[XXH3_64bits(name, strlen(name)) % (sizeof s->named / sizeof s->named[0])];
}

gn_named *gn_named_find(gn_session *s, const char *name)
{
    for (gn_named *n = *bucket_of(s, name); n; n = n->next)
        if (strcmp(n->name, name) == 0)
            return n;
    return NULL;
}

gn_code gn_named_put(gn_session *s, const char *name, gn_stmt *stmt, gn_error *err)
{
    gn_named *old = gn_named_find(s, name);
    if (old && *name)
        return gn_error_set(err, GN_DUPLICATE_STATEMENT, "prepared statement \"%s\" already exists", name);
    if (old) {
        gn_stmt_retain(stmt);
        gn_stmt_release(old->stmt);
        old->stmt = stmt;
        return GN_OK;
    }
    if (s->n_named >= GN_MAX_PREPARED)
        return gn_error_set(err, GN_LIMIT, "a session may have at most %d prepared statements", GN_MAX_PREPARED);
    gn_named *n = gn_xmalloc(sizeof *n);
    gn_named **bucket = bucket_of(s, name);
    *n = (gn_named){.next = *bucket, .name = gn_xstrdup(name), .stmt = gn_stmt_retain(stmt)};
    *bucket = n;
    s->n_named++;
    return GN_OK;
}

static void free_named(gn_session *s, gn_named *n)
{
    gn_stmt_release(n->stmt);
    free(n->name);
    free(n);
    s->n_named--;
}

bool gn_named_drop(gn_session *s, const char *name)
{
    for (gn_named **at = bucket_of(s, name); *at; at = &(*at)->next) {
        gn_named *n = *at;
        if (strcmp(n->name, name) != 0)
            continue;
        *at = n->next;
        free_named(s, n);
        return true;
    }
    return false;
}

void gn_named_drop_all(gn_session *s)
{
    for (size_t i = 0; i < sizeof s->named / sizeof s->named[0]; i++) {
        while (s->named[i]) {
            gn_named *n = s->named[i];
            s->named[i] = n->next;
            free_named(s, n);
        }
    }
}
