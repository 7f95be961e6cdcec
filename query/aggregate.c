/* Which aggregate a call means, and the plain ones: count, sums and averages of machine numbers, min and max, booleans,
 * bits. */
#include "query/aggregate_private.h"

#include <math.h>

/* ---- the table ---- */

static const gn_aggregate_list *const sources[] = {&gn_aggregates_basic, &gn_aggregates_numeric,
                                                   &gn_aggregates_interval, &gn_aggregates_collect,
                                                   &gn_aggregates_array};

enum { CANDIDATES = 32 };

size_t gn_aggregate_state_size(const gn_aggregate *a)
{
    return (a->state_size + 15u) & ~(size_t)15;
}

bool gn_is_aggregate_name(gn_bytes name)
{
    for (size_t s = 0; s < sizeof sources / sizeof *sources; s++)
        for (uint32_t i = 0; i < sources[s]->n; i++)
            if (gn_bytes_eq(gn_bytes_str(sources[s]->aggregates[i].name), name))
                return true;
    return false;
}

gn_code gn_aggregate_resolve(gn_bytes name, const gn_type *args, uint32_t n, const gn_aggregate **out,
                             gn_type *arg_types, gn_type *result, gn_error *err)
{
    gn_signature candidates[CANDIDATES];
    uint32_t n_candidates = 0;
    for (size_t s = 0; s < sizeof sources / sizeof *sources; s++)
        for (uint32_t i = 0; i < sources[s]->n; i++) {
            const gn_aggregate *a = &sources[s]->aggregates[i];
            if (a->n_args != n || !gn_bytes_eq(gn_bytes_str(a->name), name))
                continue;
            GN_ASSERT(n_candidates < CANDIDATES);
            candidates[n_candidates++] = (gn_signature){.args = a->args, .n_args = a->n_args, .what = a};
        }
    gn_choice choice = n_candidates ? gn_signature_choose(candidates, n_candidates, args, n) : GN_CHOICE_NONE;
    if (choice != GN_CHOICE_ONE)
        return gn_no_function(name, false, args, n > GN_CALL_ARGS ? GN_CALL_ARGS : n, choice, err);
    const gn_aggregate *a = candidates[0].what;
    gn_code code = gn_signature_settle(&candidates[0], a->result, args, n, arg_types, result, err);
    if (!code)
        *out = a;
    return code;
}

const char *gn_aggregate_name(const gn_aggregate *a)
{
    return a->name;
}

bool gn_aggregate_combines(const gn_aggregate *a)
{
    return a->save != NULL;
}

gn_code gn_state_corrupt(const gn_aggregation *run)
{
    return gn_error_set(run->eval->err, GN_CORRUPT, "a part of an aggregate from another node cannot be read");
}

gn_code gn_state_keep(const gn_eval *eval, gn_bytes bytes, uint8_t **at, size_t *room)
{
    if (bytes.len > *room) {
        size_t size = bytes.len < 32 ? 32 : bytes.len + bytes.len / 2; /* replaced memory stays in the arena */
        uint8_t *p = gn_eval_alloc(eval, size);
        if (!p)
            return GN_OUT_OF_MEMORY;
        *at = p;
        *room = size;
    }
    if (bytes.len)
        memcpy(*at, bytes.data, bytes.len);
    return GN_OK;
}

/* ---- count ---- */

static gn_code count_update(const gn_aggregation *run)
{
    for (uint32_t k = 0; k < run->n; k++)
        ++*(int64_t *)run->states[k];
    return GN_OK;
}

static gn_code count_finish(const gn_aggregation *run, void *state, gn_value *out)
{
    (void)run;
    out->as.i64 = *(int64_t *)state;
    return GN_OK;
}

static gn_code count_save(const gn_aggregation *run, const void *state, gn_buf *out)
{
    (void)run;
    gn_buf_append_be64(out, (uint64_t) * (const int64_t *)state);
    return GN_OK;
}

static gn_code count_merge(const gn_aggregation *run, void *state, gn_bytes saved)
{
    gn_reader in = gn_reader_of(saved);
    int64_t count = (int64_t)gn_read_be64(&in), *sum = state;
    if (!gn_state_read(&in) || count < 0 || __builtin_add_overflow(*sum, count, sum))
        return gn_state_corrupt(run);
    return GN_OK;
}

/* ---- sums and averages ---- */

typedef struct int_sum {
    int64_t count, sum;
} int_sum;

static gn_code int_sum_update(const gn_aggregation *run)
{
    bool narrow = run->args[0].type.id == GN_T_INT2, bad = false;
    for (uint32_t k = 0; k < run->n; k++) {
        int_sum *s = run->states[k];
        int64_t v = narrow ? run->args[0].i16[run->rows[k]] : run->args[0].i32[run->rows[k]];
        bad |= __builtin_add_overflow(s->sum, v, &s->sum);
        s->count++;
    }
    return bad ? gn_error_set(run->eval->err, GN_NUMERIC_RANGE, "bigint out of range") : GN_OK;
}

static gn_code int_sum_finish(const gn_aggregation *run, void *state, gn_value *out)
{
    const int_sum *s = state;
    (void)run;
    out->is_null = s->count == 0;
    out->as.i64 = s->sum;
    return GN_OK;
}

static gn_code int_sum_save(const gn_aggregation *run, const void *state, gn_buf *out)
{
    const int_sum *s = state;
    (void)run;
    gn_buf_append_be64(out, (uint64_t)s->count);
    gn_buf_append_be64(out, (uint64_t)s->sum);
    return GN_OK;
}

static gn_code int_sum_merge(const gn_aggregation *run, void *state, gn_bytes saved)
{
    int_sum *s = state;
    gn_reader in = gn_reader_of(saved);
    int64_t count = (int64_t)gn_read_be64(&in), sum = (int64_t)gn_read_be64(&in);
    if (!gn_state_read(&in) || count < 0 || __builtin_add_overflow(s->count, count, &s->count))
        return gn_state_corrupt(run);
    bool bad = __builtin_add_overflow(s->sum, sum, &s->sum);
    return bad ? gn_error_set(run->eval->err, GN_NUMERIC_RANGE, "bigint out of range") : GN_OK;
}

/* Mean and spread of doubles by Youngs and Cramer (1971), as PostgreSQL: Sxx is the sum of squared deviations. Sums of
 * reals are kept in double precision and rounded once. */
typedef struct float_sum {
    int64_t count;
    double sx, sxx;
} float_sum;

enum { SUM, AVG, VAR_POP, VAR_SAMP, STDDEV_POP, STDDEV_SAMP };

static double cell_f64(const gn_column *c, uint32_t row)
{
    return c->type.id == GN_T_FLOAT4 ? (double)c->f32[row] : c->f64[row];
}

static gn_code float_overflow(const gn_aggregation *run)
{
    return gn_error_set(run->eval->err, GN_NUMERIC_RANGE, "value out of range: overflow");
}

static gn_code float_sum_update(const gn_aggregation *run)
{
    bool spread = run->aggregate->op >= VAR_POP, over = false;
    for (uint32_t k = 0; k < run->n; k++) {
        float_sum *s = run->states[k];
        double x = cell_f64(&run->args[0], run->rows[k]), old = s->sx;
        s->count++;
        s->sx += x;
        over |= isinf(s->sx) && !isinf(old) && !isinf(x);
        if (!spread)
            continue;
        if (s->count > 1) {
            double n = (double)s->count, t = x * n - s->sx;
            s->sxx += t * t / (n * (n - 1));
            over |= isinf(s->sxx) && !isinf(s->sx);
        } else if (isinf(x) || isnan(x)) {
            s->sxx = NAN;
        }
    }
    return over ? float_overflow(run) : GN_OK;
}

static gn_code float_sum_finish(const gn_aggregation *run, void *state, gn_value *out)
{
    const float_sum *s = state;
    uint8_t op = run->aggregate->op;
    double n = (double)s->count, value = 0;
    out->is_null = s->count == 0 || ((op == VAR_SAMP || op == STDDEV_SAMP) && s->count < 2);
    if (out->is_null)
        return GN_OK;
    switch (op) {
    case SUM:
        value = s->sx;
        break;
    case AVG:
        value = s->sx / n;
        break;
    case VAR_POP:
        value = s->sxx / n;
        break;
    case VAR_SAMP:
        value = s->sxx / (n - 1);
        break;
    case STDDEV_POP:
        value = sqrt(s->sxx / n);
        break;
    default:
        value = sqrt(s->sxx / (n - 1));
    }
    if (run->result.id != GN_T_FLOAT4) {
        out->as.f64 = value;
        return GN_OK;
    }
    out->as.f32 = (float)value;
    return isinf(out->as.f32) && !isinf(value) ? float_overflow(run) : GN_OK;
}

static void append_f64(gn_buf *out, double v)
{
    uint64_t bits;
    memcpy(&bits, &v, sizeof bits);
    gn_buf_append_be64(out, bits);
}

static double read_f64(gn_reader *in)
{
    uint64_t bits = gn_read_be64(in);
    double v;
    memcpy(&v, &bits, sizeof v);
    return v;
}

static gn_code float_sum_save(const gn_aggregation *run, const void *state, gn_buf *out)
{
    const float_sum *s = state;
    (void)run;
    gn_buf_append_be64(out, (uint64_t)s->count);
    append_f64(out, s->sx);
    append_f64(out, s->sxx);
    return GN_OK;
}

/* Two parts as one, by Youngs and Cramer too. */
static gn_code float_sum_merge(const gn_aggregation *run, void *state, gn_bytes saved)
{
    float_sum *s = state;
    gn_reader in = gn_reader_of(saved);
    int64_t count = (int64_t)gn_read_be64(&in), both;
    double sx = read_f64(&in), sxx = read_f64(&in), old = s->sx;
    if (!gn_state_read(&in) || count < 0 || __builtin_add_overflow(s->count, count, &both))
        return gn_state_corrupt(run);
    if (count == 0)
        return GN_OK;
    if (s->count == 0) {
        *s = (float_sum){.count = count, .sx = sx, .sxx = sxx};
        return GN_OK;
    }
    bool over = false;
    if (run->aggregate->op >= VAR_POP) {
        double n1 = (double)s->count, n2 = (double)count, apart = s->sx / n1 - sx / n2;
        double sum = s->sxx + sxx + n1 * n2 * apart * apart / (n1 + n2);
        over = isinf(sum) && !isinf(s->sxx) && !isinf(sxx) && !isinf(s->sx) && !isinf(sx);
        s->sxx = sum;
    }
    s->sx += sx;
    s->count = both;
    over |= isinf(s->sx) && !isinf(old) && !isinf(sx);
    return over ? float_overflow(run) : GN_OK;
}

/* ---- min, max ---- */

typedef struct extreme {
    bool any;
    gn_value best;
    uint8_t *kept; /* memory of best's bytes */
    size_t room;
} extreme;

enum { MIN, MAX };

/* Takes the value if it is beyond what is there. */
static gn_code extreme_add(const gn_aggregation *run, extreme *e, gn_value v)
{
    int order = e->any ? gn_value_compare(&v, &e->best) : 0;
    if (e->any && (run->aggregate->op == MAX ? order <= 0 : order >= 0))
        return GN_OK;
    if (gn_type_physical(v.type) == GN_P_BYTES) {
        gn_code code = gn_state_keep(run->eval, v.as.bytes, &e->kept, &e->room);
        if (code)
            return code;
        v.as.bytes = gn_bytes_of(e->kept, v.as.bytes.len);
    }
    e->best = v;
    e->any = true;
    return GN_OK;
}

static gn_code extreme_update(const gn_aggregation *run)
{
    gn_code code = GN_OK;
    for (uint32_t k = 0; k < run->n && !code; k++)
        code = extreme_add(run, run->states[k], gn_column_get(&run->args[0], run->rows[k]));
    return code;
}

static gn_code extreme_save(const gn_aggregation *run, const void *state, gn_buf *out)
{
    const extreme *e = state;
    uint64_t bits = 0;
    (void)run;
    gn_buf_append_u8(out, e->any);
    if (!e->any)
        return GN_OK;
    gn_physical physical = gn_type_physical(e->best.type);
    if (physical == GN_P_BYTES) {
        gn_buf_append_bytes(out, e->best.as.bytes);
        return GN_OK;
    }
    memcpy(&bits, &e->best.as, gn_physical_size(physical));
    gn_buf_append_be64(out, bits);
    return GN_OK;
}

static gn_code extreme_merge(const gn_aggregation *run, void *state, gn_bytes saved)
{
    gn_reader in = gn_reader_of(saved);
    gn_value v = {.type = run->arg_types[0]};
    gn_physical physical = gn_type_physical(v.type);
    uint8_t any = gn_read_u8(&in);
    if (in.failed || any > 1 || (!any && gn_reader_left(&in) > 0))
        return gn_state_corrupt(run);
    if (!any)
        return GN_OK;
    if (physical == GN_P_BYTES) {
        v.as.bytes = gn_read_bytes(&in, gn_reader_left(&in));
        return gn_value_bytes_sound(v.type, v.as.bytes) ? extreme_add(run, state, v) : gn_state_corrupt(run);
    }
    uint64_t bits = gn_read_be64(&in);
    if (!gn_state_read(&in) || (physical == GN_P_BOOL && bits > 1))
        return gn_state_corrupt(run);
    memcpy(&v.as, &bits, gn_physical_size(physical));
    return extreme_add(run, state, v);
}

static gn_code extreme_finish(const gn_aggregation *run, void *state, gn_value *out)
{
    const extreme *e = state;
    (void)run;
    out->is_null = !e->any;
    if (e->any)
        out->as = e->best.as;
    return GN_OK;
}

/* ---- booleans and bits ---- */

typedef struct bits {
    bool any;
    int64_t value;
} bits;

enum { AND, OR, XOR };

static int64_t cell_i64(const gn_column *c, uint32_t row)
{
    switch (gn_type_physical(c->type)) {
    case GN_P_BOOL:
        return c->boolean[row] != 0;
    case GN_P_I16:
        return c->i16[row];
    case GN_P_I32:
        return c->i32[row];
    default:
        return c->i64[row];
    }
}

static void bits_add(uint8_t op, bits *b, int64_t v)
{
    if (!b->any)
        b->value = v;
    else
        b->value = op == AND ? b->value & v : op == OR ? b->value | v : b->value ^ v;
    b->any = true;
}

static gn_code bits_update(const gn_aggregation *run)
{
    for (uint32_t k = 0; k < run->n; k++)
        bits_add(run->aggregate->op, run->states[k], cell_i64(&run->args[0], run->rows[k]));
    return GN_OK;
}

static gn_code bits_save(const gn_aggregation *run, const void *state, gn_buf *out)
{
    const bits *b = state;
    (void)run;
    gn_buf_append_u8(out, b->any);
    gn_buf_append_be64(out, (uint64_t)b->value);
    return GN_OK;
}

static gn_code bits_merge(const gn_aggregation *run, void *state, gn_bytes saved)
{
    gn_reader in = gn_reader_of(saved);
    uint8_t any = gn_read_u8(&in);
    int64_t v = (int64_t)gn_read_be64(&in);
    if (!gn_state_read(&in) || any > 1)
        return gn_state_corrupt(run);
    if (any)
        bits_add(run->aggregate->op, state, v);
    return GN_OK;
}

static gn_code bits_finish(const gn_aggregation *run, void *state, gn_value *out)
{
    const bits *b = state;
    out->is_null = !b->any;
    switch (gn_type_physical(run->result)) {
    case GN_P_BOOL:
        out->as.boolean = b->value != 0;
        break;
    case GN_P_I16:
        out->as.i16 = (int16_t)b->value;
        break;
    case GN_P_I32:
        out->as.i32 = (int32_t)b->value;
        break;
    default:
        out->as.i64 = b->value;
    }
    return GN_OK;
}

/* clang-format off */
#define INT_SUM(type) {"sum", GN_TY(INT8), 1, 0, 0, {GN_TY(type)}, sizeof(int_sum), int_sum_update, int_sum_finish, NULL, int_sum_save, int_sum_merge},
#define FLOAT(name, from, to, op_) {name, GN_TY(to), 1, 0, op_, {GN_TY(from)}, sizeof(float_sum), float_sum_update, float_sum_finish, NULL, float_sum_save, float_sum_merge},
#define FLOAT_SPREAD(name, op_) FLOAT(name, FLOAT4, FLOAT8, op_) FLOAT(name, FLOAT8, FLOAT8, op_)
#define EXTREME(type) \
    {"min", GN_TY(type), 1, 0, MIN, {GN_TY(type)}, sizeof(extreme), extreme_update, extreme_finish, NULL, extreme_save, extreme_merge}, \
    {"max", GN_TY(type), 1, 0, MAX, {GN_TY(type)}, sizeof(extreme), extreme_update, extreme_finish, NULL, extreme_save, extreme_merge},
#define BITS(name, type, op_) {name, GN_TY(type), 1, 0, op_, {GN_TY(type)}, sizeof(bits), bits_update, bits_finish, NULL, bits_save, bits_merge},
#define BITS_ALL(name, op_) BITS(name, INT2, op_) BITS(name, INT4, op_) BITS(name, INT8, op_)

static const gn_aggregate aggregates[] = {
    {"count", GN_TY(INT8), 0, 0, 0, {}, sizeof(int64_t), count_update, count_finish, NULL, count_save, count_merge},
    {"count", GN_TY(INT8), 1, 0, 0, {GN_TY(ANY)}, sizeof(int64_t), count_update, count_finish, NULL, count_save, count_merge},
    INT_SUM(INT2) INT_SUM(INT4)
    FLOAT("sum", FLOAT4, FLOAT4, SUM) FLOAT("sum", FLOAT8, FLOAT8, SUM)
    FLOAT_SPREAD("avg", AVG)
    FLOAT_SPREAD("var_pop", VAR_POP) FLOAT_SPREAD("var_samp", VAR_SAMP) FLOAT_SPREAD("variance", VAR_SAMP)
    FLOAT_SPREAD("stddev_pop", STDDEV_POP) FLOAT_SPREAD("stddev_samp", STDDEV_SAMP) FLOAT_SPREAD("stddev", STDDEV_SAMP)
    EXTREME(INT2) EXTREME(INT4) EXTREME(INT8) EXTREME(FLOAT4) EXTREME(FLOAT8) EXTREME(NUMERIC) EXTREME(TEXT)
    EXTREME(DATE) EXTREME(TIMESTAMP) EXTREME(TIMESTAMPTZ) EXTREME(INTERVAL) EXTREME(UUID) EXTREME(BYTEA)
    EXTREME(ANYARRAY)
    BITS("bool_and", BOOL, AND) BITS("every", BOOL, AND) BITS("bool_or", BOOL, OR)
    BITS_ALL("bit_and", AND) BITS_ALL("bit_or", OR) BITS_ALL("bit_xor", XOR)
};
/* clang-format on */

const gn_aggregate_list gn_aggregates_basic = {aggregates, sizeof aggregates / sizeof *aggregates};
