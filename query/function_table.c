/* The table of all functions: gathered once from the files that implement them, sorted by name, and read-only from
 * then on. And the one way to call a kernel. */
#include "base/limits.h"
#include "query/function_private.h"

#include <pthread.h>
#include <stdlib.h>

static const gn_function_list *const sources[] = {
    &gn_functions_compare,  &gn_functions_math,       &gn_functions_numeric,       &gn_functions_vector,
    &gn_functions_text,     &gn_functions_format,     &gn_functions_pattern,       &gn_functions_session,
    &gn_functions_datetime, &gn_functions_fields,     &gn_functions_format_number, &gn_functions_array,
    &gn_functions_json,     &gn_functions_json_build, &gn_functions_set,           &gn_functions_sparse,
    &gn_functions_bit,
};

static struct {
    const gn_function **by_name;
    uint32_t n;
} table;
static pthread_once_t table_once = PTHREAD_ONCE_INIT;

static int by_name_order(const void *a, const void *b)
{
    const gn_function *x = *(const gn_function *const *)a, *y = *(const gn_function *const *)b;
    int c = strcmp(x->name, y->name);
    if (c)
        return c;
    return x < y ? -1 : x > y; /* deterministic within one file's table */
}

static void table_build(void)
{
    uint32_t n = 0;
    for (size_t i = 0; i < sizeof sources / sizeof *sources; i++)
        n += sources[i]->n;
    table.by_name = gn_xcalloc(n, sizeof *table.by_name);
    for (size_t i = 0; i < sizeof sources / sizeof *sources; i++)
        for (uint32_t j = 0; j < sources[i]->n; j++) {
            const gn_function *f = &sources[i]->functions[j];
            GN_ASSERT(!f->batch != !f->row);
            table.by_name[table.n++] = f;
        }
    qsort(table.by_name, n, sizeof *table.by_name, by_name_order);
}

const gn_function *const *gn_functions_named(gn_bytes name, uint32_t *n)
{
    pthread_once(&table_once, table_build);
    uint32_t lo = 0, hi = table.n;
    while (lo < hi) {
        uint32_t mid = lo + (hi - lo) / 2;
        if (gn_bytes_cmp(gn_bytes_str(table.by_name[mid]->name), name) < 0)
            lo = mid + 1;
        else
            hi = mid;
    }
    uint32_t end = lo;
    while (end < table.n && gn_bytes_eq(gn_bytes_str(table.by_name[end]->name), name))
        end++;
    *n = end - lo;
    return table.by_name + lo;
}

const char *gn_function_name(const gn_function *f)
{
    return f->name;
}

gn_type gn_function_result(const gn_function *f)
{
    return f->result;
}

uint32_t gn_function_n_args(const gn_function *f)
{
    return f->n_args;
}

gn_type gn_function_arg(const gn_function *f, uint32_t i)
{
    GN_ASSERT(f->n_args > 0);
    return f->args[i < f->n_args ? i : f->n_args - 1u];
}

bool gn_function_returns_set(const gn_function *f)
{
    return f->flags & GN_F_SET;
}

gn_volatility gn_function_volatility(const gn_function *f)
{
    return (gn_volatility)f->volatility;
}

/* ---- memory of results ---- */

gn_code gn_eval_oom(const gn_eval *eval)
{
    return gn_error_oom(eval->err, gn_arena_account(eval->arena));
}

gn_code gn_eval_cancelled(const gn_eval *eval)
{
    if (!eval->cancel || !*eval->cancel)
        return GN_OK;
    return gn_error_set(eval->err, GN_CANCELED, "canceling statement due to user request");
}

void *gn_eval_alloc(const gn_eval *eval, size_t size)
{
    void *p = gn_arena_alloc(eval->arena, size);
    if (!p)
        (void)gn_eval_oom(eval);
    return p;
}

gn_code gn_eval_bytes(const gn_eval *eval, size_t len, uint8_t **out)
{
    if (len > GN_MAX_FIELD)
        return gn_error_set(eval->err, GN_LIMIT, "requested length too large: a value has at most %u bytes",
                            (unsigned)GN_MAX_FIELD);
    uint8_t *p = gn_arena_alloc(eval->arena, len);
    if (!p)
        return gn_eval_oom(eval);
    *out = p;
    return GN_OK;
}

gn_code gn_eval_copy(const gn_eval *eval, gn_bytes bytes, gn_value *out)
{
    uint8_t *p = NULL;
    gn_code code = gn_eval_bytes(eval, bytes.len, &p);
    if (code)
        return code;
    if (bytes.len)
        memcpy(p, bytes.data, bytes.len);
    out->as.bytes = gn_bytes_of(p, bytes.len);
    return GN_OK;
}

gn_code gn_column_create(gn_type type, uint32_t n_rows, const gn_eval *eval, gn_column *out)
{
    gn_column c = {.type = type};
    uint32_t room = n_rows ? n_rows : 1;
    c.nulls = gn_arena_calloc(eval->arena, (room + 63) / 64, sizeof *c.nulls);
    /* zeroed: rows that nobody asks for hold no stray pointers */
    c.data = gn_arena_calloc(eval->arena, room, gn_physical_size(gn_type_physical(type)));
    if (!c.nulls || !c.data)
        return gn_eval_oom(eval);
    *out = c;
    return GN_OK;
}

/* ---- calling ---- */

static gn_code call_rows(const gn_call *call, gn_column *out)
{
    gn_value args[GN_CALL_ARGS];
    for (uint32_t k = 0; k < call->n; k++) {
        uint32_t row = call->rows ? call->rows[k] : k;
        for (uint32_t a = 0; a < call->n_args; a++) {
            args[a] = gn_column_get(&call->args[a], row);
            if (gn_type_physical(args[a].type) == GN_P_BYTES && !args[a].is_null)
                args[a].as.bytes = gn_bytes_placed(args[a].as.bytes);
        }
        gn_value result = {.type = call->result};
        gn_code code = call->function->row(call, args, &result);
        if (code)
            return code;
        if (result.is_null)
            gn_column_set_null(out, row);
        else
            gn_column_set(out, row, &result);
    }
    return GN_OK;
}

/* NULL in, NULL out: marks the rows of `call` with a NULL argument and leaves the others in call->rows. */
static gn_code drop_null_rows(gn_call *call, gn_column *out)
{
    bool any = false;
    for (uint32_t a = 0; a < call->n_args; a++)
        any |= call->args[a].has_nulls;
    if (!any)
        return GN_OK;
    uint16_t *left = gn_eval_alloc(call->eval, (size_t)call->n * sizeof *left + 2);
    if (!left)
        return GN_OUT_OF_MEMORY;
    uint32_t n = 0;
    for (uint32_t k = 0; k < call->n; k++) {
        uint32_t row = call->rows ? call->rows[k] : k;
        bool null = false;
        for (uint32_t a = 0; a < call->n_args && !null; a++)
            null = gn_column_is_null(&call->args[a], row);
        if (null)
            gn_column_set_null(out, row);
        else
            left[n++] = (uint16_t)row;
    }
    if (n < call->n) {
        call->rows = left;
        call->n = n;
    }
    return GN_OK;
}

gn_code gn_function_call(const gn_function *f, gn_type result, const gn_eval *eval, const gn_column *args,
                         uint32_t n_args, uint32_t n_rows, const uint16_t *rows, uint32_t n, gn_column *out)
{
    GN_ASSERT(n <= n_rows && n_args <= GN_CALL_ARGS);
    gn_call call = {
        .function = f, .eval = eval, .args = args, .n_args = n_args, .result = result, .rows = rows, .n = n};
    gn_column c;
    gn_code code = gn_column_create(result, n_rows, eval, &c);
    if (!code && !(f->flags & GN_F_NULLS))
        code = drop_null_rows(&call, &c);
    if (!code && call.n)
        code = f->batch ? f->batch(&call, &c) : call_rows(&call, &c);
    if (!code)
        *out = c;
    return code;
}
