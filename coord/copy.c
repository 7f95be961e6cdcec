/* COPY: options and targets, as PostgreSQL checks them. */
#include "coord/copy_private.h"

#include <stdio.h>
#include <strings.h>

static gn_code fail(gn_copy *c, int position, gn_code code)
{
    gn_error_at(c->err, position);
    return code;
}

/* ---- options ---- */

static gn_code one_byte(gn_copy *c, const gn_ast_option *o, const char *what, char *out)
{
    const gn_ast_expr *v = o->value;
    if (!v || v->kind != GN_A_STRING || v->text.len != 1)
        return gn_error_set(c->err, GN_FEATURE, "COPY %s must be a single one-byte character", what);
    *out = (char)v->text.data[0];
    return GN_OK;
}

static bool word_is(const gn_ast_option *o, const char *word)
{
    const gn_ast_expr *v = o->value;
    return v && v->kind == GN_A_STRING && v->text.len == strlen(word) &&
           strncasecmp((const char *)v->text.data, word, v->text.len) == 0;
}

static gn_code boolean(gn_copy *c, const gn_ast_option *o, bool *out)
{
    const gn_ast_expr *v = o->value;
    if (!v || (v->kind == GN_A_BOOLEAN && v->boolean) || (v->kind == GN_A_INTEGER && v->integer == 1) ||
        word_is(o, "true") || word_is(o, "on"))
        *out = true;
    else if ((v->kind == GN_A_BOOLEAN && !v->boolean) || (v->kind == GN_A_INTEGER && v->integer == 0) ||
             word_is(o, "false") || word_is(o, "off"))
        *out = false;
    else
        return gn_error_set(c->err, GN_SYNTAX, "%s requires a Boolean value", o->name);
    return GN_OK;
}

static gn_code read_format(gn_copy *c, const gn_ast_option *o)
{
    if (word_is(o, "text"))
        c->format = GN_COPY_TEXT;
    else if (word_is(o, "csv"))
        c->format = GN_COPY_CSV;
    else if (word_is(o, "binary"))
        c->format = GN_COPY_BINARY;
    else {
        bool text = o->value && o->value->kind == GN_A_STRING;
        gn_error_set(c->err, GN_INVALID_PARAMETER, "COPY format \"%.*s\" not recognized",
                     text ? (int)(o->value->text.len > 60 ? 60 : o->value->text.len) : 0,
                     text ? (const char *)o->value->text.data : "");
        return fail(c, o->position, GN_INVALID_PARAMETER);
    }
    return GN_OK;
}

static gn_code read_encoding(gn_copy *c, const gn_ast_option *o)
{
    if (word_is(o, "utf8") || word_is(o, "utf-8") || word_is(o, "unicode"))
        return GN_OK;
    gn_error_set(c->err, GN_INVALID_PARAMETER, "argument to option \"%s\" must be a valid encoding name", o->name);
    gn_error_hint(c->err, "UTF8 is the only encoding.");
    return fail(c, o->position, GN_INVALID_PARAMETER);
}

static gn_code read_commit_every(gn_copy *c, const gn_ast_option *o)
{
    if (!o->value || o->value->kind != GN_A_INTEGER || o->value->integer < 1) {
        gn_error_set(c->err, GN_INVALID_PARAMETER, "COPY commit_every must be a number of rows, at least 1");
        return fail(c, o->position, GN_INVALID_PARAMETER);
    }
    c->commit_every = (uint64_t)o->value->integer;
    return GN_OK;
}

typedef struct given {
    bool format, delimiter, null, quote, escape;
    const gn_ast_option *force_quote, *force_null, *force_not_null;
} given;

static gn_code read_option(gn_copy *c, const gn_ast_option *o, given *g)
{
    bool ignored;
    if (strcmp(o->name, "format") == 0)
        return g->format = true, read_format(c, o);
    if (strcmp(o->name, "delimiter") == 0)
        return g->delimiter = true, one_byte(c, o, "delimiter", &c->delimiter);
    if (strcmp(o->name, "quote") == 0)
        return g->quote = true, one_byte(c, o, "quote", &c->quote);
    if (strcmp(o->name, "escape") == 0)
        return g->escape = true, one_byte(c, o, "escape", &c->escape);
    if (strcmp(o->name, "encoding") == 0)
        return read_encoding(c, o);
    if (strcmp(o->name, "freeze") == 0)
        return boolean(c, o, &ignored);
    if (strcmp(o->name, "commit_every") == 0)
        return read_commit_every(c, o);
    if (strcmp(o->name, "header") == 0) {
        c->match_header = word_is(o, "match");
        return c->match_header ? (c->header = true, GN_OK) : boolean(c, o, &c->header);
    }
    if (strcmp(o->name, "null") == 0 && o->value && o->value->kind == GN_A_STRING) {
        g->null = true;
        c->null = o->value->text;
        return GN_OK;
    }
    if (strcmp(o->name, "force_quote") == 0)
        return g->force_quote = o, GN_OK;
    if (strcmp(o->name, "force_null") == 0)
        return g->force_null = o, GN_OK;
    if (strcmp(o->name, "force_not_null") == 0)
        return g->force_not_null = o, GN_OK;
    gn_error_set(c->err, GN_SYNTAX, "option \"%s\" not recognized", o->name);
    return fail(c, o->position, GN_SYNTAX);
}

static gn_code refuse(gn_copy *c, gn_code code, const char *message)
{
    return gn_error_set(c->err, code, "%s", message);
}

static gn_code check_delimiter(gn_copy *c)
{
    bool csv = c->format == GN_COPY_CSV;
    if (c->delimiter == '\n' || c->delimiter == '\r')
        return refuse(c, GN_INVALID_PARAMETER, "COPY delimiter cannot be newline or carriage return");
    if (!csv && strchr("\\.abcdefghijklmnopqrstuvwxyz0123456789", c->delimiter))
        return gn_error_set(c->err, GN_INVALID_PARAMETER, "COPY delimiter cannot be \"%c\"", c->delimiter);
    if (memchr(c->null.data, c->delimiter, c->null.len))
        return refuse(c, GN_FEATURE, "COPY delimiter must not appear in the NULL specification");
    return GN_OK;
}

static gn_code check_csv(gn_copy *c, const given *g)
{
    bool csv = c->format == GN_COPY_CSV, from = c->ast->from;
    if (!csv && g->quote)
        return refuse(c, GN_FEATURE, "COPY quote available only in CSV mode");
    if (!csv && g->escape)
        return refuse(c, GN_FEATURE, "COPY escape available only in CSV mode");
    if (csv && c->delimiter == c->quote)
        return refuse(c, GN_INVALID_PARAMETER, "COPY delimiter and quote must be different");
    if (g->force_quote && (!csv || from))
        return refuse(c, GN_FEATURE,
                      csv ? "COPY force quote only available using COPY TO"
                          : "COPY force quote available only in CSV mode");
    if (g->force_not_null && (!csv || !from))
        return refuse(c, GN_FEATURE,
                      csv ? "COPY force not null only available using COPY FROM"
                          : "COPY force not null available only in CSV mode");
    if (g->force_null && (!csv || !from))
        return refuse(c, GN_FEATURE,
                      csv ? "COPY force null only available using COPY FROM"
                          : "COPY force null available only in CSV mode");
    if (csv && memchr(c->null.data, c->quote, c->null.len))
        return refuse(c, GN_FEATURE, "CSV quote character must not appear in the NULL specification");
    return GN_OK;
}

static gn_code check_options(gn_copy *c, const given *g)
{
    bool csv = c->format == GN_COPY_CSV, binary = c->format == GN_COPY_BINARY;
    if (c->commit_every && !c->ast->from)
        return refuse(c, GN_FEATURE, "COPY commit_every only available using COPY FROM");
    if (binary && g->delimiter)
        return refuse(c, GN_SYNTAX, "cannot specify DELIMITER in BINARY mode");
    if (binary && g->null)
        return refuse(c, GN_SYNTAX, "cannot specify NULL in BINARY mode");
    if (binary && c->header)
        return refuse(c, GN_FEATURE, "cannot specify HEADER in BINARY mode");
    if (c->match_header && !c->ast->from)
        return refuse(c, GN_FEATURE, "cannot use \"match\" with HEADER in COPY TO");
    if (!g->delimiter)
        c->delimiter = csv ? ',' : '\t';
    if (!g->null)
        c->null = gn_bytes_str(csv ? "" : "\\N");
    if (!g->quote)
        c->quote = '"';
    if (!g->escape)
        c->escape = c->quote;
    if (memchr(c->null.data, '\n', c->null.len) || memchr(c->null.data, '\r', c->null.len))
        return refuse(c, GN_INVALID_PARAMETER, "COPY null representation cannot use newline or carriage return");
    gn_code code = check_delimiter(c);
    return code == GN_OK ? check_csv(c, g) : code;
}

/* ---- columns ---- */

static gn_code no_column(gn_copy *c, const gn_ast_name *name)
{
    gn_error_set(c->err, GN_NO_COLUMN, "column \"%s\" of relation \"%s\" does not exist", name->name, c->table->name);
    return fail(c, name->position, GN_NO_COLUMN);
}

static gn_code list_columns(gn_copy *c)
{
    const gn_table_desc *t = c->table;
    uint8_t *seen = gn_arena_calloc(c->p->arena, t->n_columns + 1, 1);
    c->ordinals = gn_arena_calloc(c->p->arena, t->n_columns + 1, sizeof *c->ordinals);
    if (!seen || !c->ordinals)
        return gn_error_oom(c->err, &c->p->account);
    for (uint32_t i = 0; i < t->n_columns && c->ast->columns.n == 0; i++)
        if (gn_column_is_shown(&t->columns[i]))
            c->ordinals[c->n_columns++] = i;
    for (uint32_t i = 0; i < c->ast->columns.n; i++) {
        const gn_ast_name *name = &c->ast->columns.items[i];
        int at = gn_table_column_by_name(t, gn_bytes_str(name->name));
        if (at < 0)
            return no_column(c, name);
        if (seen[at]++) {
            gn_error_set(c->err, GN_DUPLICATE_COLUMN, "column \"%s\" specified more than once", name->name);
            return fail(c, name->position, GN_DUPLICATE_COLUMN);
        }
        c->ordinals[c->n_columns++] = (uint32_t)at;
    }
    return GN_OK;
}

static gn_code forced_columns(gn_copy *c, const gn_ast_option *o, const char *what, bool **out)
{
    if (!o)
        return GN_OK;
    *out = gn_arena_calloc(c->p->arena, c->n_columns + 1, sizeof **out);
    if (!*out)
        return gn_error_oom(c->err, &c->p->account);
    bool all = o->value && (o->value->kind == GN_A_STAR || o->value->kind == GN_A_BOOLEAN);
    for (uint32_t i = 0; all && i < c->n_columns; i++)
        (*out)[i] = true;
    for (uint32_t k = 0; k < o->columns.n; k++) {
        bool found = false;
        for (uint32_t i = 0; i < c->n_columns && c->table; i++) {
            if (strcmp(c->table->columns[c->ordinals[i]].name, o->columns.items[k].name) != 0)
                continue;
            (*out)[i] = found = true;
        }
        if (!found)
            return gn_error_set(c->err, GN_COLUMN_REFERENCE, "%s column \"%s\" not referenced by COPY", what,
                                o->columns.items[k].name);
    }
    return GN_OK;
}

static gn_code bind_where(gn_copy *c)
{
    gn_binder b;
    gn_code code = gn_binder_init(&b, c->p->arena, &c->s->format, 0, NULL, 0, c->err);
    gn_bind_relation(&b.relations[0], c->table, NULL);
    b.relations[0].as_params = true;
    b.n_relations = 1;
    b.clause = GN_IN_COPY_WHERE;
    return code == GN_OK ? gn_bind_boolean(&b, c->ast->where, "WHERE", &c->where) : code;
}

static gn_code find_table(gn_copy *c, const gn_plan_context *context)
{
    gn_binder b;
    gn_code code = gn_binder_init(&b, c->p->arena, &c->s->format, 0, NULL, 0, c->err);
    return code == GN_OK ? gn_bind_table(&b, context, &c->ast->table, &c->table) : code;
}

static gn_code open_target(gn_copy *c, const given *g)
{
    gn_plan_context context;
    gn_plan_context_of(c->s, &context);
    gn_code code = find_table(c, &context);
    if (code == GN_OK)
        code = list_columns(c);
    if (code == GN_OK)
        code = forced_columns(c, g->force_quote, "FORCE_QUOTE", &c->force_quote);
    if (code == GN_OK)
        code = forced_columns(c, g->force_null, "FORCE_NULL", &c->force_null);
    if (code == GN_OK)
        code = forced_columns(c, g->force_not_null, "FORCE_NOT_NULL", &c->force_not_null);
    if (code == GN_OK && c->ast->from)
        code = gn_table_info_get(&c->s->infos, &context, c->table, &c->info, c->err);
    if (code == GN_OK && c->ast->where && !c->ast->from)
        code = refuse(c, GN_SYNTAX, "WHERE clause not allowed with COPY TO");
    if (code == GN_OK && c->ast->where)
        code = bind_where(c);
    return code;
}

gn_code gn_run_copy(gn_session *s, gn_portal *p, const gn_ast_copy *ast, gn_error *err)
{
    gn_copy c = {.s = s, .p = p, .err = err, .ast = ast};
    given g = {0};
    if (!ast->is_std) {
        gn_error_set(err, GN_FEATURE, "COPY with a file or program of the server is not supported");
        gn_error_hint(err, "Use STDIN or STDOUT; psql's \\copy reads and writes files of the client.");
        return fail(&c, ast->target_position, GN_FEATURE);
    }
    if (!s->sink || !s->sink->copy_in || !s->sink->copy_out)
        return gn_error_set(err, GN_FEATURE, "COPY is not supported here");
    gn_code code = GN_OK;
    for (uint32_t i = 0; i < ast->options.n && code == GN_OK; i++)
        code = read_option(&c, &ast->options.items[i], &g);
    if (code == GN_OK)
        code = check_options(&c, &g);
    if (code == GN_OK && c.commit_every)
        code = gn_session_refuse_block(s, "COPY with commit_every", err);
    if (code == GN_OK && ast->table.name)
        code = open_target(&c, &g);
    if (code != GN_OK) {
        gn_table_info_release(c.info);
        return code;
    }
    p->talked = true;
    const gn_table_desc *kept = c.commit_every ? gn_table_desc_retain(c.table) : NULL; /* outlives its transaction */
    code = ast->from ? gn_copy_in(&c) : gn_copy_out(&c);
    snprintf(p->tag, sizeof p->tag, "COPY %llu", (unsigned long long)c.n_rows);
    gn_table_info_release(c.info);
    gn_table_desc_release(kept);
    return code;
}
