/* A descriptor is [format version, map]; maps have small integers as keys, in the order of the enums below, and a
 * reader skips keys that it does not know. So a field can be added without a new format. */
#include "query/schema.h"

#include "base/assert.h"
#include "base/limits.h"
#include "base/versions.h"
#include "query/computed.h"
#include "query/pack.h"

#include <msgpack.h>
#include <stdatomic.h>

enum { FORMAT = GN_FORMAT_TABLE_DESC, MAX_TEXT = 1 << 20 };

enum table_field {
    T_ID = 1,
    T_VERSION,
    T_NAME,
    T_NEXT_COLUMN,
    T_COLUMNS,
    T_KEY,
    T_KEY_NAME,
    T_HIDDEN_KEY,
    T_INDEXES,
    T_CHECKS,
    T_EPOCH,
    T_DISTRIBUTION,
    T_SHARD_KEY,
    T_FIELDS = T_SHARD_KEY
};
enum column_field {
    C_ID = 1,
    C_NAME,
    C_TYPE,
    C_ARRAY,
    C_TYPMOD,
    C_FLAGS,
    C_SEQUENCE,
    C_DEFAULT,
    C_MISSING,
    C_FIELDS = C_MISSING,
    C_COMPUTED, /* where there is one */
};
enum index_field {
    I_ID = 1,
    I_NAME,
    I_KIND,
    I_FLAGS,
    I_COLUMNS,
    I_METRIC,
    I_M,
    I_EF,
    I_CODES,
    I_FIELDS = I_CODES,
    I_PREDICATE, /* where there is one */
};
enum { F_NOT_NULL = 1, F_DROPPED = 2, F_IDENTITY = 4, F_ALWAYS = 8 };
enum { F_UNIQUE = 1, F_PRIMARY = 2, F_CONSTRAINT = 4 };
enum { F_DESCENDING = 1, F_NULLS_FIRST = 2 };

typedef struct counted_desc {
    gn_table_desc desc;
    gn_arena *arena;
    atomic_uint references;
} counted_desc;

/* ---- writing ---- */

static void put_str(msgpack_packer *p, const char *s)
{
    if (!s) {
        msgpack_pack_nil(p);
        return;
    }
    size_t len = strlen(s);
    msgpack_pack_str(p, len);
    msgpack_pack_str_body(p, s, len);
}

static void put_bool(msgpack_packer *p, bool v)
{
    if (v)
        msgpack_pack_true(p);
    else
        msgpack_pack_false(p);
}

static void put_ids(msgpack_packer *p, const uint32_t *ids, uint32_t n)
{
    msgpack_pack_array(p, n);
    for (uint32_t i = 0; i < n; i++)
        msgpack_pack_uint32(p, ids[i]);
}

static void put_column(msgpack_packer *p, const gn_column_desc *c)
{
    unsigned flags = (c->not_null ? F_NOT_NULL : 0) | (c->dropped ? F_DROPPED : 0) | (c->identity ? F_IDENTITY : 0) |
                     (c->identity_always ? F_ALWAYS : 0);
    msgpack_pack_map(p, C_FIELDS + (c->packed.len ? 1 : 0));
    msgpack_pack_int(p, C_ID);
    msgpack_pack_uint32(p, c->id);
    msgpack_pack_int(p, C_NAME);
    put_str(p, c->name);
    msgpack_pack_int(p, C_TYPE); /* by OID: the enum's numbers are not for ever */
    msgpack_pack_uint32(p, gn_type_oid(gn_type_of((gn_type_id)c->type.id)));
    msgpack_pack_int(p, C_ARRAY);
    put_bool(p, c->type.is_array);
    msgpack_pack_int(p, C_TYPMOD);
    msgpack_pack_int32(p, c->type.typmod);
    msgpack_pack_int(p, C_FLAGS);
    msgpack_pack_unsigned_int(p, flags);
    msgpack_pack_int(p, C_SEQUENCE);
    msgpack_pack_uint64(p, c->sequence_id);
    msgpack_pack_int(p, C_DEFAULT);
    put_str(p, c->default_sql);
    msgpack_pack_int(p, C_MISSING);
    put_str(p, c->missing_text);
    if (!c->packed.len)
        return;
    msgpack_pack_int(p, C_COMPUTED);
    msgpack_pack_bin(p, c->packed.len);
    msgpack_pack_bin_body(p, c->packed.data, c->packed.len);
}

static void put_index(msgpack_packer *p, const gn_index_desc *x)
{
    unsigned flags = (x->unique ? F_UNIQUE : 0) | (x->primary ? F_PRIMARY : 0) | (x->constraint ? F_CONSTRAINT : 0);
    msgpack_pack_map(p, I_FIELDS + (x->predicate ? 1 : 0));
    msgpack_pack_int(p, I_ID);
    msgpack_pack_uint64(p, x->id);
    msgpack_pack_int(p, I_NAME);
    put_str(p, x->name);
    msgpack_pack_int(p, I_KIND);
    msgpack_pack_int(p, x->kind);
    msgpack_pack_int(p, I_FLAGS);
    msgpack_pack_unsigned_int(p, flags);
    msgpack_pack_int(p, I_COLUMNS);
    msgpack_pack_array(p, x->n_columns);
    for (uint32_t i = 0; i < x->n_columns; i++) {
        msgpack_pack_array(p, 2);
        msgpack_pack_uint32(p, x->columns[i]);
        msgpack_pack_int(p, (x->descending[i] ? F_DESCENDING : 0) | (x->nulls_first[i] ? F_NULLS_FIRST : 0));
    }
    msgpack_pack_int(p, I_METRIC);
    msgpack_pack_uint8(p, x->metric);
    msgpack_pack_int(p, I_M);
    msgpack_pack_uint32(p, x->m);
    msgpack_pack_int(p, I_EF);
    msgpack_pack_uint32(p, x->ef_construction);
    msgpack_pack_int(p, I_CODES);
    const uint32_t codes[] = {x->codes, x->code_bits, x->pq_subquantizers, x->pq_centroids, x->rerank, x->ef_search};
    put_ids(p, codes, x->ef_search ? 6 : 5); /* five until there is a sixth, as it was before there could be one */
    if (!x->predicate)
        return;
    msgpack_pack_int(p, I_PREDICATE);
    msgpack_pack_uint32(p, x->predicate);
}

bool gn_table_desc_encode(const gn_table_desc *desc, gn_buf *out)
{
    GN_ASSERT(desc->n_columns <= GN_MAX_COLUMNS && desc->n_key <= GN_MAX_INDEX_COLUMNS);
    msgpack_packer packer, *p = &packer;
    msgpack_packer_init(p, out, gn_pack_write);
    msgpack_pack_array(p, 2);
    msgpack_pack_int(p, FORMAT);
    msgpack_pack_map(p, T_FIELDS);
    msgpack_pack_int(p, T_ID);
    msgpack_pack_uint64(p, desc->id);
    msgpack_pack_int(p, T_VERSION);
    msgpack_pack_uint64(p, desc->version);
    msgpack_pack_int(p, T_NAME);
    put_str(p, desc->name);
    msgpack_pack_int(p, T_NEXT_COLUMN);
    msgpack_pack_uint32(p, desc->next_column_id);
    msgpack_pack_int(p, T_COLUMNS);
    msgpack_pack_array(p, desc->n_columns);
    for (uint32_t i = 0; i < desc->n_columns; i++)
        put_column(p, &desc->columns[i]);
    msgpack_pack_int(p, T_KEY);
    put_ids(p, desc->key, desc->n_key);
    msgpack_pack_int(p, T_KEY_NAME);
    put_str(p, desc->key_name);
    msgpack_pack_int(p, T_HIDDEN_KEY);
    put_bool(p, desc->hidden_key);
    msgpack_pack_int(p, T_INDEXES);
    msgpack_pack_array(p, desc->n_indexes);
    for (uint32_t i = 0; i < desc->n_indexes; i++)
        put_index(p, &desc->indexes[i]);
    msgpack_pack_int(p, T_CHECKS);
    msgpack_pack_array(p, desc->n_checks);
    for (uint32_t i = 0; i < desc->n_checks; i++) {
        msgpack_pack_array(p, 2);
        put_str(p, desc->checks[i].name);
        put_str(p, desc->checks[i].sql);
    }
    msgpack_pack_int(p, T_EPOCH);
    msgpack_pack_uint64(p, desc->data_epoch);
    msgpack_pack_int(p, T_DISTRIBUTION);
    msgpack_pack_uint64(p, desc->distribution_id);
    msgpack_pack_int(p, T_SHARD_KEY);
    put_ids(p, desc->shard_key, desc->n_shard_key);
    return !out->failed;
}

/* ---- reading ---- */

static void get_name(gn_unpack *u, char out[64])
{
    gn_bytes s = gn_unpack_str(u);
    if (s.len > GN_MAX_NAME || !gn_utf8_valid(s, NULL)) {
        u->failed = true;
        return;
    }
    memcpy(out, s.data, s.len);
    out[s.len] = '\0';
}

static char *get_text(gn_unpack *u, gn_arena *arena)
{
    if (gn_unpack_nil(u))
        return NULL;
    gn_bytes s = gn_unpack_str(u);
    if (u->failed || s.len > MAX_TEXT || !gn_utf8_valid(s, NULL)) {
        u->failed = true;
        return NULL;
    }
    return gn_arena_strndup(arena, (const char *)s.data, s.len);
}

static uint32_t get_u32(gn_unpack *u)
{
    uint64_t v = gn_unpack_uint(u);
    u->failed |= v > UINT32_MAX;
    return (uint32_t)v;
}

static void get_type(gn_unpack *u, gn_type *type)
{
    gn_type found;
    if (gn_type_from_oid(get_u32(u), &found) && !found.is_array)
        type->id = found.id;
    else
        u->failed = true;
}

static gn_bytes get_packed(gn_unpack *u, gn_arena *arena)
{
    gn_bytes s = gn_unpack_str(u);
    if (u->failed || s.len == 0 || s.len > MAX_TEXT) {
        u->failed = true;
        return gn_bytes_of(NULL, 0);
    }
    return gn_bytes_of(gn_arena_memdup(arena, s.data, s.len), s.len);
}

static void get_column(gn_unpack *u, gn_arena *arena, gn_column_desc *c)
{
    unsigned flags = 0;
    for (uint32_t n = gn_unpack_map(u, 64); n && !u->failed; n--) {
        switch (gn_unpack_uint(u)) {
        case C_ID:
            c->id = get_u32(u);
            break;
        case C_NAME:
            get_name(u, c->name);
            break;
        case C_TYPE:
            get_type(u, &c->type);
            break;
        case C_ARRAY:
            c->type.is_array = gn_unpack_bool(u);
            break;
        case C_TYPMOD:
            c->type.typmod = (int32_t)gn_unpack_int(u);
            break;
        case C_FLAGS:
            flags = get_u32(u);
            break;
        case C_SEQUENCE:
            c->sequence_id = gn_unpack_uint(u);
            break;
        case C_DEFAULT:
            c->default_sql = get_text(u, arena);
            break;
        case C_MISSING:
            c->missing_text = get_text(u, arena);
            break;
        case C_COMPUTED:
            c->packed = get_packed(u, arena);
            break;
        default:
            gn_unpack_skip(u);
        }
    }
    c->not_null = flags & F_NOT_NULL;
    c->dropped = flags & F_DROPPED;
    c->identity = flags & F_IDENTITY;
    c->identity_always = flags & F_ALWAYS;
}

static void get_index_columns(gn_unpack *u, gn_index_desc *x)
{
    x->n_columns = gn_unpack_array(u, GN_MAX_INDEX_COLUMNS);
    for (uint32_t i = 0; i < x->n_columns; i++) {
        if (gn_unpack_array(u, 2) != 2)
            u->failed = true;
        x->columns[i] = get_u32(u);
        uint64_t flags = gn_unpack_uint(u);
        x->descending[i] = flags & F_DESCENDING;
        x->nulls_first[i] = flags & F_NULLS_FIRST;
    }
}

static uint32_t get_ids(gn_unpack *u, uint32_t out[GN_MAX_INDEX_COLUMNS])
{
    uint32_t n = gn_unpack_array(u, GN_MAX_INDEX_COLUMNS);
    for (uint32_t i = 0; i < n; i++)
        out[i] = get_u32(u);
    return n;
}

static void get_codes(gn_unpack *u, gn_index_desc *x)
{
    uint32_t fields[GN_MAX_INDEX_COLUMNS] = {0};
    if (get_ids(u, fields) < 5)
        u->failed = true;
    x->codes = (uint8_t)fields[0];
    x->code_bits = fields[1];
    x->pq_subquantizers = fields[2];
    x->pq_centroids = fields[3];
    x->rerank = fields[4];
    x->ef_search = fields[5];
}

static void get_index(gn_unpack *u, gn_index_desc *x)
{
    unsigned flags = 0;
    for (uint32_t n = gn_unpack_map(u, 64); n && !u->failed; n--) {
        switch (gn_unpack_uint(u)) {
        case I_ID:
            x->id = gn_unpack_uint(u);
            break;
        case I_NAME:
            get_name(u, x->name);
            break;
        case I_KIND:
            x->kind = (gn_index_kind)get_u32(u);
            u->failed |= x->kind != GN_INDEX_BTREE && x->kind != GN_INDEX_HNSW;
            break;
        case I_FLAGS:
            flags = get_u32(u);
            break;
        case I_COLUMNS:
            get_index_columns(u, x);
            break;
        case I_METRIC:
            x->metric = (uint8_t)gn_unpack_uint(u);
            break;
        case I_M:
            x->m = get_u32(u);
            break;
        case I_EF:
            x->ef_construction = get_u32(u);
            break;
        case I_CODES:
            get_codes(u, x);
            break;
        case I_PREDICATE:
            x->predicate = get_u32(u);
            break;
        default:
            gn_unpack_skip(u);
        }
    }
    x->unique = flags & F_UNIQUE;
    x->primary = flags & F_PRIMARY;
    x->constraint = flags & F_CONSTRAINT;
}

static void get_columns(gn_unpack *u, gn_arena *arena, gn_table_desc *d)
{
    d->n_columns = gn_unpack_array(u, GN_MAX_COLUMNS);
    d->columns = gn_arena_calloc(arena, d->n_columns, sizeof(gn_column_desc));
    for (uint32_t i = 0; i < d->n_columns && !u->failed; i++) {
        d->columns[i].type.typmod = -1;
        get_column(u, arena, &d->columns[i]);
    }
}

static void get_indexes(gn_unpack *u, gn_arena *arena, gn_table_desc *d)
{
    d->n_indexes = gn_unpack_array(u, UINT16_MAX);
    d->indexes = gn_arena_calloc(arena, d->n_indexes, sizeof(gn_index_desc));
    for (uint32_t i = 0; i < d->n_indexes && !u->failed; i++)
        get_index(u, &d->indexes[i]);
}

static void get_checks(gn_unpack *u, gn_arena *arena, gn_table_desc *d)
{
    d->n_checks = gn_unpack_array(u, UINT16_MAX);
    d->checks = gn_arena_calloc(arena, d->n_checks, sizeof(gn_check_desc));
    for (uint32_t i = 0; i < d->n_checks && !u->failed; i++) {
        if (gn_unpack_array(u, 2) != 2)
            u->failed = true;
        get_name(u, d->checks[i].name);
        d->checks[i].sql = get_text(u, arena);
    }
}

static void get_table(gn_unpack *u, gn_arena *arena, gn_table_desc *d)
{
    for (uint32_t n = gn_unpack_map(u, 64); n && !u->failed; n--) {
        switch (gn_unpack_uint(u)) {
        case T_ID:
            d->id = gn_unpack_uint(u);
            break;
        case T_VERSION:
            d->version = gn_unpack_uint(u);
            break;
        case T_NAME:
            get_name(u, d->name);
            break;
        case T_NEXT_COLUMN:
            d->next_column_id = get_u32(u);
            break;
        case T_COLUMNS:
            get_columns(u, arena, d);
            break;
        case T_KEY:
            d->n_key = get_ids(u, d->key);
            break;
        case T_KEY_NAME:
            get_name(u, d->key_name);
            break;
        case T_HIDDEN_KEY:
            d->hidden_key = gn_unpack_bool(u);
            break;
        case T_INDEXES:
            get_indexes(u, arena, d);
            break;
        case T_CHECKS:
            get_checks(u, arena, d);
            break;
        case T_EPOCH:
            d->data_epoch = gn_unpack_uint(u);
            break;
        case T_DISTRIBUTION:
            d->distribution_id = gn_unpack_uint(u);
            break;
        case T_SHARD_KEY:
            d->n_shard_key = get_ids(u, d->shard_key);
            break;
        default:
            gn_unpack_skip(u);
        }
    }
}

/* Expressions name columns that may come after theirs. */
static gn_code open_computed(gn_table_desc *d, gn_arena *arena, gn_error *err)
{
    gn_code code = GN_OK;
    for (uint32_t i = 0; i < d->n_columns && code == GN_OK; i++)
        if (d->columns[i].packed.len)
            code = gn_computed_open(d, i, arena, &d->columns[i].computed, err);
    return code;
}

static bool is_key_column(const gn_table_desc *d, uint32_t column_id)
{
    for (uint32_t i = 0; i < d->n_key; i++)
        if (d->key[i] == column_id)
            return true;
    return false;
}

/* What others rely on without looking: ids ascend, and keys and indexes name columns that are there. */
static bool is_sound(const gn_table_desc *d)
{
    for (uint32_t i = 0; i < d->n_columns; i++) {
        const gn_column_desc *c = &d->columns[i];
        if (c->type.id == GN_T_NONE || c->id >= d->next_column_id || (i && c->id <= d->columns[i - 1].id))
            return false;
    }
    for (uint32_t i = 0; i < d->n_key; i++) {
        int ordinal = gn_table_column_by_id(d, d->key[i]);
        if (ordinal < 0 || d->columns[ordinal].packed.len)
            return false;
    }
    for (uint32_t i = 0; i < d->n_shard_key; i++)
        if (!is_key_column(d, d->shard_key[i]))
            return false;
    if (d->distribution_id && d->n_shard_key == 0)
        return false;
    for (uint32_t i = 0; i < d->n_indexes; i++) {
        const gn_index_desc *x = &d->indexes[i];
        int predicate = x->predicate ? gn_table_column_by_id(d, x->predicate) : 0;
        if (x->n_columns == 0 || x->kind == 0 || predicate < 0)
            return false;
        if (x->predicate && !gn_type_is(d->columns[predicate].type, GN_T_BOOL))
            return false;
        for (uint32_t j = 0; j < x->n_columns; j++)
            if (gn_table_column_by_id(d, x->columns[j]) < 0)
                return false;
    }
    for (uint32_t i = 0; i < d->n_checks; i++)
        if (!d->checks[i].sql)
            return false;
    return true;
}

gn_code gn_table_desc_decode(gn_bytes bytes, const gn_table_desc **out, gn_error *err)
{
    gn_arena *arena = gn_arena_create(NULL);
    counted_desc *counted = gn_arena_calloc(arena, 1, sizeof(*counted));
    counted->arena = arena;
    atomic_init(&counted->references, 1);
    gn_unpack u = gn_unpack_of(bytes);
    if (gn_unpack_array(&u, 2) != 2)
        u.failed = true;
    uint64_t format = gn_unpack_uint(&u);
    if (!u.failed && format == FORMAT)
        get_table(&u, arena, &counted->desc);
    if (format != FORMAT || !gn_unpack_done(&u) || !is_sound(&counted->desc)) {
        gn_arena_destroy(arena);
        return gn_error_set(err, GN_CORRUPT, "a table descriptor of %zu bytes (format %llu) cannot be read", bytes.len,
                            (unsigned long long)format);
    }
    gn_code code = open_computed(&counted->desc, arena, err);
    if (code != GN_OK) {
        gn_arena_destroy(arena);
        return code;
    }
    *out = &counted->desc;
    return GN_OK;
}

const gn_table_desc *gn_table_desc_retain(const gn_table_desc *desc)
{
    counted_desc *counted = (counted_desc *)(uintptr_t)desc;
    unsigned before = atomic_fetch_add_explicit(&counted->references, 1, memory_order_relaxed);
    GN_ASSERT(before > 0);
    return desc;
}

void gn_table_desc_release(const gn_table_desc *desc)
{
    if (!desc)
        return;
    counted_desc *counted = (counted_desc *)(uintptr_t)desc;
    unsigned before = atomic_fetch_sub_explicit(&counted->references, 1, memory_order_acq_rel);
    GN_ASSERT(before > 0);
    if (before == 1)
        gn_arena_destroy(counted->arena);
}

/* ---- columns ---- */

int gn_table_column_by_id(const gn_table_desc *desc, uint32_t column_id)
{
    uint32_t low = 0, high = desc->n_columns;
    while (low < high) {
        uint32_t middle = low + (high - low) / 2;
        if (desc->columns[middle].id < column_id)
            low = middle + 1;
        else
            high = middle;
    }
    return low < desc->n_columns && desc->columns[low].id == column_id ? (int)low : -1;
}

int gn_table_column_by_name(const gn_table_desc *desc, gn_bytes name)
{
    for (uint32_t i = 0; i < desc->n_columns; i++)
        if (gn_column_is_shown(&desc->columns[i]) && gn_bytes_eq(gn_bytes_str(desc->columns[i].name), name))
            return (int)i;
    return -1;
}
