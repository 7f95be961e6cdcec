/* array_agg, and json_agg and its kin: everything that was seen, in order of arrival. */
#include "base/limits.h"
#include "query/aggregate_private.h"
#include "query/array.h"
#include "query/json_walk.h"

/* ---- array_agg ---- */

typedef struct array_state {
    gn_value *items;
    uint32_t n, room;
} array_state;

static gn_code array_room(const gn_aggregation *run, array_state *s)
{
    if (s->n < s->room)
        return GN_OK;
    if (s->n >= GN_MAX_ARRAY_ITEMS)
        return gn_error_set(run->eval->err, GN_LIMIT, "array size exceeds the maximum allowed (%u)",
                            (unsigned)GN_MAX_ARRAY_ITEMS);
    uint32_t room = s->room ? 2 * s->room : 8;
    gn_value *items = gn_eval_alloc(run->eval, room * sizeof *items);
    if (!items)
        return GN_OUT_OF_MEMORY;
    if (s->n)
        memcpy(items, s->items, s->n * sizeof *items);
    s->items = items;
    s->room = room;
    return GN_OK;
}

static gn_code array_update(const gn_aggregation *run)
{
    for (uint32_t k = 0; k < run->n; k++) {
        array_state *s = run->states[k];
        gn_value v = gn_column_get(&run->args[0], run->rows[k]);
        gn_code code = array_room(run, s);
        if (!code)
            code = gn_value_copy(&v, run->eval->arena, &s->items[s->n], run->eval->err);
        if (code)
            return code;
        s->n++;
    }
    return GN_OK;
}

static gn_code array_finish(const gn_aggregation *run, void *state, gn_value *out)
{
    const array_state *s = state;
    gn_array_builder b;
    gn_code code = GN_OK;
    out->is_null = s->n == 0;
    if (out->is_null)
        return GN_OK;
    gn_array_begin(&b, gn_type_of((gn_type_id)run->result.id), run->eval->arena);
    for (uint32_t i = 0; i < s->n && !code; i++)
        code = gn_array_add(&b, &s->items[i], run->eval->err);
    return code ? code : gn_array_end(&b, out, run->eval->err);
}

/* ---- json ---- */

typedef struct json_state {
    bool any;
    gn_buf text; /* outside the arena, charged to its account */
} json_state;

static void json_begin(const gn_aggregation *run, json_state *s)
{
    if (!s->any)
        gn_text_begin(run->eval, &s->text);
    gn_buf_append_str(&s->text, s->any ? ", " : "");
    s->any = true;
}

static gn_code json_failed(const gn_aggregation *run, const json_state *s)
{
    if (!s->text.failed)
        return GN_OK;
    return s->text.cap > GN_MAX_FIELD / 4
               ? gn_error_set(run->eval->err, GN_LIMIT, "requested length too large: a value has at most %u bytes",
                              (unsigned)GN_MAX_FIELD)
               : gn_eval_oom(run->eval);
}

static gn_code json_update(const gn_aggregation *run)
{
    for (uint32_t k = 0; k < run->n; k++) {
        json_state *s = run->states[k];
        gn_value v = gn_column_get(&run->args[0], run->rows[k]);
        bool line = s->any && v.type.is_array && !v.is_null; /* as PostgreSQL */
        json_begin(run, s);
        gn_buf_append_str(&s->text, line ? "\n " : "");
        gn_code code = gn_json_put(run->eval, &v, &s->text);
        if (!code)
            code = json_failed(run, s);
        if (code)
            return code;
    }
    return GN_OK;
}

static gn_code object_update(const gn_aggregation *run)
{
    for (uint32_t k = 0; k < run->n; k++) {
        json_state *s = run->states[k];
        gn_value key = gn_column_get(&run->args[0], run->rows[k]), v = gn_column_get(&run->args[1], run->rows[k]);
        if (key.is_null)
            return gn_error_set(run->eval->err, GN_INVALID_PARAMETER, "field name must not be null");
        json_begin(run, s);
        gn_json_put_key(run->eval, &key, &s->text);
        gn_buf_append_str(&s->text, " : ");
        gn_code code = gn_json_put(run->eval, &v, &s->text);
        if (!code)
            code = json_failed(run, s);
        if (code)
            return code;
    }
    return GN_OK;
}

static gn_code json_finish(const gn_aggregation *run, void *state, gn_value *out)
{
    const json_state *s = state;
    gn_value text = {.type = run->result};
    uint8_t *to;
    out->is_null = !s->any;
    if (out->is_null)
        return GN_OK;
    bool object = run->aggregate->update == object_update;
    size_t edge = object ? 2 : 1; /* "{ " and " }", "[" and "]": as PostgreSQL writes json */
    gn_code code = gn_eval_bytes(run->eval, s->text.len + 2 * edge, &to);
    if (code)
        return code;
    memcpy(to, object ? "{ " : "[", edge);
    memcpy(to + edge, s->text.data, s->text.len);
    memcpy(to + edge + s->text.len, object ? " }" : "]", edge);
    text.as.bytes = gn_bytes_of(to, s->text.len + 2 * edge);
    if (run->result.id == GN_T_JSON) {
        out->as.bytes = text.as.bytes;
        return GN_OK;
    }
    return gn_value_parse(text.as.bytes, run->result, run->eval->format, run->eval->arena, out, run->eval->err);
}

static void json_destroy(void *state)
{
    json_state *s = state;
    if (s->any)
        gn_buf_close(&s->text);
}

/* clang-format off */
#define JSON(name, type) {name, GN_TY(type), 1, GN_A_NULLS | GN_A_ORDER, 0, {GN_TY(ANYELEMENT)}, sizeof(json_state), json_update, json_finish, json_destroy},
#define OBJECT(name, type) {name, GN_TY(type), 2, GN_A_NULLS | GN_A_ORDER, 0, {GN_TY(ANY), GN_TY(ANY)}, sizeof(json_state), object_update, json_finish, json_destroy},

static const gn_aggregate aggregates[] = {
    {"array_agg", GN_TY(ANYARRAY), 1, GN_A_NULLS | GN_A_ORDER, 0, {GN_TY(ANYNONARRAY)}, sizeof(array_state), array_update, array_finish},
    JSON("json_agg", JSON) JSON("jsonb_agg", JSONB)
    OBJECT("json_object_agg", JSON) OBJECT("jsonb_object_agg", JSONB)
};
/* clang-format on */

const gn_aggregate_list gn_aggregates_array = {aggregates, sizeof aggregates / sizeof *aggregates};
