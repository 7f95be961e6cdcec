/* Functions about the session and the surroundings. What only the layer above knows is asked of eval->hooks; so are
 * clocks and randomness, which a simulation replaces: the hook answers GN_NO_FUNCTION to leave them to this machine. */
#include "query/function_private.h"

#include <sys/random.h>
#include <time.h>

#define UNUSED(x) (void)(x)

static gn_code ask(const gn_call *call, const gn_value *args, gn_value *out)
{
    const gn_eval *eval = call->eval;
    if (!eval->hooks || !eval->hooks->call)
        return GN_NO_FUNCTION;
    gn_type type = out->type;
    gn_code code =
        eval->hooks->call(eval->session, call->function->name, args, call->n_args, eval->arena, out, eval->err);
    out->type = type;
    return code;
}

static gn_code hooked(const gn_call *call, const gn_value *args, gn_value *out)
{
    gn_code code = ask(call, args, out);
    if (code == GN_NO_FUNCTION)
        return gn_error_set(call->eval->err, GN_FEATURE, "function %s is not available here", call->function->name);
    return code;
}

/* ---- randomness ---- xoshiro256** (Blackman, Vigna), one state a thread, seeded by the kernel. */

static _Thread_local struct {
    uint64_t s[4];
    bool seeded;
} generator;

static uint64_t rotate(uint64_t x, int k)
{
    return x << k | x >> (64 - k);
}

static gn_code random_bits(const gn_call *call, uint64_t *out)
{
    uint64_t *s = generator.s;
    if (!generator.seeded) {
        if (getrandom(s, sizeof generator.s, 0) != (ssize_t)sizeof generator.s)
            return gn_error_set(call->eval->err, GN_IO, "could not read random bytes");
        generator.seeded = true;
    }
    *out = rotate(s[1] * 5, 7) * 9;
    uint64_t t = s[1] << 17;
    s[2] ^= s[0];
    s[3] ^= s[1];
    s[1] ^= s[2];
    s[0] ^= s[3];
    s[2] ^= t;
    s[3] = rotate(s[3], 45);
    return GN_OK;
}

static gn_code random_f64(const gn_call *call, const gn_value *args, gn_value *out)
{
    gn_code code = ask(call, args, out);
    if (code != GN_NO_FUNCTION)
        return code;
    gn_error_clear(call->eval->err);
    uint64_t bits = 0;
    code = random_bits(call, &bits);
    out->as.f64 = (double)(bits >> 11) * 0x1p-53;
    return code;
}

static gn_code gen_random_uuid(const gn_call *call, const gn_value *args, gn_value *out)
{
    uint8_t *bytes;
    gn_code code = ask(call, args, out);
    if (code != GN_NO_FUNCTION)
        return code;
    gn_error_clear(call->eval->err);
    code = gn_eval_bytes(call->eval, 16, &bytes);
    if (code)
        return code;
    if (getrandom(bytes, 16, 0) != 16) /* not the generator above: an id must not be guessed from another */
        return gn_error_set(call->eval->err, GN_IO, "could not read random bytes");
    bytes[6] = (uint8_t)((bytes[6] & 0x0f) | 0x40);
    bytes[8] = (uint8_t)((bytes[8] & 0x3f) | 0x80);
    out->as.bytes = gn_bytes_of(bytes, 16);
    return GN_OK;
}

/* ---- clocks ---- */

static gn_code clock_timestamp(const gn_call *call, const gn_value *args, gn_value *out)
{
    gn_code code = ask(call, args, out);
    if (code != GN_NO_FUNCTION)
        return code;
    gn_error_clear(call->eval->err);
    struct timespec t;
    clock_gettime(CLOCK_REALTIME, &t);
    out->as.i64 = ((int64_t)t.tv_sec - 946684800) * 1000000 + t.tv_nsec / 1000; /* since 2000-01-01 */
    return GN_OK;
}

static gn_code now(const gn_call *call, const gn_value *args, gn_value *out)
{
    UNUSED(args);
    out->as.i64 = call->eval->format->now_us;
    return GN_OK;
}

/* ---- types ---- */

static gn_code pg_typeof(const gn_call *call, gn_column *out)
{
    char name[80];
    gn_type type = call->args[0].type;
    type.typmod = -1;
    gn_type_format(type, name, sizeof name);
    gn_value text = {.type = call->result};
    gn_code code = gn_eval_copy(call->eval, gn_bytes_str(name), &text);
    if (!code)
        GN_EACH_ROW(call, i, out->bytes[i] = text.as.bytes);
    return code;
}

static gn_code num_nulls(const gn_call *call, const gn_value *args, gn_value *out)
{
    int32_t nulls = 0;
    for (uint32_t i = 0; i < call->n_args; i++)
        nulls += args[i].is_null;
    out->as.i32 = call->function->op ? (int32_t)call->n_args - nulls : nulls;
    return GN_OK;
}

/* clang-format off */
#define HOOKED(name, type) {name, GN_TY(type), 0, GN_STABLE, 0, 0, {}, .row = hooked},
#define NOW(name) {name, GN_TY(TIMESTAMPTZ), 0, GN_STABLE, 0, 0, {}, .row = now},

static const gn_function functions[] = {
    HOOKED("version", TEXT) HOOKED("current_user", TEXT) HOOKED("session_user", TEXT) HOOKED("user", TEXT)
    HOOKED("current_role", TEXT) HOOKED("current_database", TEXT) HOOKED("current_catalog", TEXT)
    HOOKED("current_schema", TEXT) HOOKED("pg_backend_pid", INT4) HOOKED("txid_current", INT8)
    HOOKED("pg_is_in_recovery", BOOL) HOOKED("pg_postmaster_start_time", TIMESTAMPTZ)
    {"current_setting", GN_TY(TEXT), 1, GN_STABLE, 0, 0, {GN_TY(TEXT)}, .row = hooked},
    {"current_setting", GN_TY(TEXT), 2, GN_STABLE, 0, 0, {GN_TY(TEXT), GN_TY(BOOL)}, .row = hooked},
    {"set_config", GN_TY(TEXT), 3, GN_VOLATILE, GN_F_NULLS, 0, {GN_TY(TEXT), GN_TY(TEXT), GN_TY(BOOL)}, .row = hooked},
    {"random", GN_TY(FLOAT8), 0, GN_VOLATILE, 0, 0, {}, .row = random_f64},
    {"gen_random_uuid", GN_TY(UUID), 0, GN_VOLATILE, 0, 0, {}, .row = gen_random_uuid},
    {"clock_timestamp", GN_TY(TIMESTAMPTZ), 0, GN_VOLATILE, 0, 0, {}, .row = clock_timestamp},
    NOW("now") NOW("transaction_timestamp") NOW("statement_timestamp") NOW("current_timestamp")
    {"pg_typeof", GN_TY(TEXT), 1, GN_STABLE, GN_F_NULLS, 0, {GN_TY(ANY)}, .batch = pg_typeof},
    {"num_nulls", GN_TY(INT4), 1, GN_IMMUTABLE, GN_F_NULLS | GN_F_VARIADIC, 0, {GN_TY(ANY)}, .row = num_nulls},
    {"num_nonnulls", GN_TY(INT4), 1, GN_IMMUTABLE, GN_F_NULLS | GN_F_VARIADIC, 1, {GN_TY(ANY)}, .row = num_nulls},
};
/* clang-format on */

const gn_function_list gn_functions_session = {functions, sizeof functions / sizeof *functions};
