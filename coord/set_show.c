/* SET, RESET, SHOW. */
#include "coord/session_private.h"

#include <stdio.h>

/* The text of a value as written. */
static gn_code value_text(gn_session *s, const gn_ast_expr *e, gn_buf *out, gn_error *err)
{
    switch ((gn_ast_expr_kind)e->kind) {
    case GN_A_STRING:
    case GN_A_NUMERIC:
        gn_buf_append_bytes(out, e->text);
        return GN_OK;
    case GN_A_INTEGER:
        gn_buf_printf(out, "%lld", (long long)e->integer);
        return GN_OK;
    case GN_A_BOOLEAN:
        gn_buf_append_str(out, e->boolean ? "on" : "off");
        return GN_OK;
    case GN_A_CAST: { /* SET TIME ZONE INTERVAL '-08:00' HOUR TO MINUTE: as hours */
        gn_value v;
        gn_code code =
            gn_value_parse(e->args.items[0]->text, gn_type_of(GN_T_INTERVAL), &s->format, s->describe_arena, &v, err);
        if (code != GN_OK)
            return code;
        int64_t us;
        memcpy(&us, v.as.bytes.data + 8, sizeof us);
        gn_buf_printf(out, "%g", (double)us / 3.6e9);
        return GN_OK;
    }
    default:
        return gn_error_set(err, GN_SYNTAX, "this is not a value of a parameter");
    }
}

static gn_set_scope scope_of(gn_session *s, const gn_ast_set *set)
{
    if (!set->local)
        return GN_SCOPE_SESSION;
    if (s->block == GN_BLOCK_NONE)
        gn_session_notice(s, GN_SEVERITY_WARNING, GN_NO_TRANSACTION,
                          "SET LOCAL can only be used in transaction blocks");
    return GN_SCOPE_LOCAL;
}

/* What the open transaction runs with follows at once. */
static void refresh(gn_session *s, int id)
{
    int64_t now = s->format.now_us;
    char buf[8];
    s->format = s->settings.format;
    s->format.now_us = now;
    if (id == GN_SET_TRANSACTION_READ_ONLY)
        s->read_only = strcmp(gn_settings_show(&s->settings, GN_SET_TRANSACTION_READ_ONLY, buf, sizeof buf), "on") == 0;
}

static gn_code set_characteristics(gn_session *s, const gn_ast_transaction *t, gn_error *err)
{
    static const char *const levels[] = {
        [GN_ISOLATION_READ_UNCOMMITTED] = "read uncommitted",
        [GN_ISOLATION_READ_COMMITTED] = "read committed",
        [GN_ISOLATION_REPEATABLE_READ] = "repeatable read",
        [GN_ISOLATION_SERIALIZABLE] = "serializable",
    };
    gn_code code = GN_OK;
    if (t->isolation != GN_ISOLATION_DEFAULT)
        code = gn_settings_set(&s->settings, gn_bytes_str("default_transaction_isolation"),
                               gn_bytes_str(levels[t->isolation]), GN_SCOPE_SESSION, err);
    if (code == GN_OK && t->read_only >= 0)
        code = gn_settings_set(&s->settings, gn_bytes_str("default_transaction_read_only"),
                               gn_bytes_str(t->read_only ? "on" : "off"), GN_SCOPE_SESSION, err);
    if (code == GN_OK && t->deferrable >= 0)
        code = gn_settings_set(&s->settings, gn_bytes_str("default_transaction_deferrable"),
                               gn_bytes_str(t->deferrable ? "on" : "off"), GN_SCOPE_SESSION, err);
    return code;
}

gn_code gn_run_set(gn_session *s, const gn_ast_statement *ast, gn_error *err)
{
    if (ast->kind == GN_S_SET_CHARACTERISTICS)
        return set_characteristics(s, ast->transaction, err);
    const gn_ast_set *set = ast->set;
    if (!set->name) {
        gn_settings_reset_all(&s->settings);
        refresh(s, -1);
        return GN_OK;
    }
    gn_bytes name = gn_bytes_str(set->name);
    gn_buf text;
    gn_buf_init(&text, NULL, 1u << 16);
    gn_code code = GN_OK;
    for (uint32_t i = 0; i < set->values.n && code == GN_OK; i++) {
        gn_buf_append_str(&text, i ? ", " : "");
        code = value_text(s, set->values.items[i], &text, err);
    }
    gn_buf_append_u8(&text, 0);
    gn_bytes value = set->is_default ? gn_bytes_of(NULL, 0) : gn_bytes_of(text.data, text.len - 1);
    bool local_zone = !set->is_default && gn_setting_find(name) == GN_SET_TIMEZONE &&
                      (strcmp((char *)text.data, "local") == 0 || strcmp((char *)text.data, "default") == 0);
    if (code == GN_OK && text.failed)
        code = gn_error_set(err, GN_LIMIT, "value of parameter \"%s\" is too long", set->name);
    if (code == GN_OK)
        code = gn_settings_set(&s->settings, name, local_zone ? gn_bytes_of(NULL, 0) : value, scope_of(s, set), err);
    if (code == GN_OK)
        refresh(s, gn_setting_find(name));
    gn_buf_close(&text);
    return code;
}

static const char *show(gn_session *s, int id, char *buf, size_t size)
{
    if (id == GN_SET_TRANSACTION_ISOLATION)
        return "serializable"; /* whatever was asked for */
    if (id == GN_SET_TRANSACTION_READ_ONLY)
        return s->read_only ? "on" : "off";
    return gn_settings_show(&s->settings, (gn_setting_id)id, buf, size);
}

gn_code gn_run_show(gn_session *s, gn_portal *p, const char *name, gn_error *err)
{
    char buf[64];
    gn_code code = gn_utility_columns(s, p->stmt->ast, p->arena, &p->columns, &p->n_columns, err);
    if (code != GN_OK)
        return code;
    if (strcmp(name, "all") != 0) {
        int id = gn_setting_find(gn_bytes_str(name));
        if (id < 0)
            return gn_error_set(err, GN_NO_OBJECT, "unrecognized configuration parameter \"%s\"", name);
        const char *value = show(s, id, buf, sizeof buf);
        return gn_portal_text_row(p, &value, err);
    }
    for (int id = 0; id < GN_SET_COUNT && code == GN_OK; id++) {
        const char *row[3] = {gn_setting_name((gn_setting_id)id), show(s, id, buf, sizeof buf),
                              gn_setting_description((gn_setting_id)id)};
        code = gn_portal_text_row(p, row, err);
    }
    return code;
}
