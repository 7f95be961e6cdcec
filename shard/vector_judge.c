/* What the index is told of a filter, so that it can walk among the rows that match: each version's row is read when it
 * is first asked for, and the answer is kept in the index's memo for this filter, if the filter depends on nothing but
 * the row. So a filter that is used again and again reads ever fewer rows. */
#include "query/expr_pack.h"
#include "shard/vector_scan_private.h"

/* ---- does an answer hold for ever? ---- */

static bool is_number(gn_type type)
{
    gn_type_id id = type.is_array ? GN_T_NONE : (gn_type_id)type.id;
    return id == GN_T_INT2 || id == GN_T_INT4 || id == GN_T_INT8 || id == GN_T_NUMERIC || id == GN_T_FLOAT4 ||
           id == GN_T_FLOAT8;
}

static bool is_plain(gn_type type)
{
    gn_type_id id = type.is_array ? GN_T_NONE : (gn_type_id)type.id;
    return id == GN_T_BOOL || id == GN_T_TEXT || id == GN_T_VARCHAR ||
           (is_number(type) && id != GN_T_FLOAT4 && id != GN_T_FLOAT8);
}

/* Casts of times, and of numbers to text, go by the session's settings. */
static bool is_lasting(const gn_expr *e)
{
    if (e->function && gn_function_volatility(e->function) != GN_IMMUTABLE)
        return false;
    if (e->kind == GN_E_CAST && !(is_plain(e->type) && is_plain(e->args[0]->type)) &&
        !(is_number(e->type) && is_number(e->args[0]->type)))
        return false;
    for (uint32_t i = 0; i < e->n_args; i++) {
        if (!is_lasting(e->args[i]))
            return false;
    }
    return true;
}

/* All that the answers depend on but the row: the table's definition, and the filter over its columns. */
void gn_vector_open_memo(gn_vector_scan *s)
{
    const gn_vector_scan_spec *spec = s->spec;
    gn_buf name;
    if (!s->feed || !spec->filter || spec->exact || s->txn->chain.n != 1 || gn_txn_defines(s->txn) ||
        !is_lasting(spec->filter))
        return;
    gn_buf_init(&name, NULL, GN_VECTOR_FILTER_MOST);
    gn_buf_append_be64(&name, spec->table->version);
    for (uint32_t i = 0; i < spec->n_ordinals; i++)
        gn_buf_append_be32(&name, spec->ordinals[i]);
    gn_expr_pack(spec->filter, &name);
    if (!name.failed)
        s->memo = gn_vindex_memo(gn_feed_vindex(s->feed), gn_buf_bytes(&name));
    gn_buf_close(&name);
    if (s->memo)
        gn_vector_open_told(s);
}

/* ---- answers ---- */

static gn_code judge_row(gn_vector_scan *s, gn_bytes key, gn_scn begin_scn, bool *match, gn_error *err)
{
    gn_space space = gn_row_space(s->spec->table, s->txn->branch);
    uint16_t rows[GN_BATCH_ROWS];
    uint32_t n = 0;
    gn_bytes row;
    bool found;
    *match = false;
    gn_code code = gn_point_get_version(&s->txn->point, &space, key, begin_scn, &row, &found, err);
    if (code != GN_OK)
        return code;
    if (!found)
        return gn_error_set(err, GN_CORRUPT, "it has a version that is not there");
    code = gn_vector_begin_judging(s, err);
    if (code == GN_OK)
        code = gn_batch_fill_row(&s->pass_fill, &s->pass, row, key, &s->pass_keys[0], 0, err);
    if (code == GN_OK)
        code = gn_vector_select(s, &s->pass, rows, &n, err);
    *match = n > 0;
    return code;
}

gn_verdict gn_vector_judge(void *ctx, gn_bytes key, uint64_t begin_scn)
{
    gn_vector_scan *s = ctx;
    bool match;
    if (s->judge_code != GN_OK || s->judge_left == 0)
        s->judge_short = true;
    else if ((s->judge_left-- & 255) == 0 && gn_txn_canceled(s->txn))
        s->judge_code = gn_error_set(s->judge_err, GN_CANCELED, "%s", gn_code_text(GN_CANCELED));
    if (s->judge_code != GN_OK || s->judge_short)
        return GN_VERDICT_NONE;
    s->judge_code = judge_row(s, key, begin_scn, &match, s->judge_err);
    if (s->judge_code != GN_OK)
        return GN_VERDICT_NONE;
    gn_vector_spend(s, GN_VECTOR_LIST_COST);
    s->stats.fetched++;
    s->stats.asked++;
    s->stats.passed += match;
    return match ? GN_VERDICT_YES : GN_VERDICT_NO;
}

void gn_vector_note(gn_vector_scan *s, gn_bytes key, gn_scn begin_scn, bool match)
{
    gn_vector_spend(s, s->stats.way == GN_VECTOR_BY_INDEX ? GN_VECTOR_LIST_COST : 1);
    if (s->memo && begin_scn)
        gn_vmemo_note(s->memo, s->view, key, s->txn->chain.links[0].branch, begin_scn, match);
}
