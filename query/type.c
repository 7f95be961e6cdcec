#include "query/type.h"

#include "base/versions.h"

#include <stdio.h>
#include <strings.h>

typedef struct type_row {
    const char *name;
    uint32_t oid, array_oid;
    gn_physical physical;
    int16_t wire_len;
    char category;
} type_row;

static const type_row types[GN_T_COUNT] = {
#define ROW(id, sql, oid, array_oid, physical, typlen, category) \
    [GN_T_##id] = {sql, oid, array_oid, physical, typlen, category},
    GN_TYPE_TABLE(ROW)
#undef ROW
};

/* The spellings that PostgreSQL's grammar and pg_type accept besides the SQL names of the table. */
static const struct {
    const char *name;
    gn_type_id id;
} aliases[] = {
    {"bool", GN_T_BOOL},       {"int2", GN_T_INT2},           {"int", GN_T_INT4},
    {"int4", GN_T_INT4},       {"int8", GN_T_INT8},           {"float4", GN_T_FLOAT4},
    {"float8", GN_T_FLOAT8},   {"float", GN_T_FLOAT8},        {"double", GN_T_FLOAT8},
    {"decimal", GN_T_NUMERIC}, {"dec", GN_T_NUMERIC},         {"varchar", GN_T_VARCHAR},
    {"string", GN_T_TEXT},     {"timestamp", GN_T_TIMESTAMP}, {"timestamptz", GN_T_TIMESTAMPTZ},
    {"varbit", GN_T_VARBIT},
};

static const type_row *row_of(gn_type t)
{
    static const type_row none = {"none", 0, 0, GN_P_BYTES, -1, 'X'};
    return t.id > GN_T_NONE && t.id < GN_T_COUNT ? &types[t.id] : &none;
}

uint32_t gn_type_oid(gn_type t)
{
    const type_row *row = row_of(t);
    return t.is_array ? row->array_oid : row->oid;
}

bool gn_type_from_oid(uint32_t oid, gn_type *out)
{
    if (oid == 0)
        return false;
    for (int id = GN_T_NONE + 1; id < GN_T_COUNT; id++) {
        if (types[id].oid == oid) {
            *out = gn_type_of((gn_type_id)id);
            return true;
        }
        if (types[id].array_oid == oid) {
            *out = gn_type_array_of((gn_type_id)id);
            return true;
        }
    }
    return false;
}

static bool same_name(gn_bytes name, const char *other)
{
    return strlen(other) == name.len && strncasecmp((const char *)name.data, other, name.len) == 0;
}

bool gn_type_from_name(gn_bytes name, gn_type *out)
{
    if (name.len == 0)
        return false;
    for (int id = GN_T_NONE + 1; id < GN_T_COUNT; id++)
        if (id != GN_T_UNKNOWN && same_name(name, types[id].name)) {
            *out = gn_type_of((gn_type_id)id);
            return true;
        }
    for (size_t i = 0; i < sizeof(aliases) / sizeof(aliases[0]); i++)
        if (same_name(name, aliases[i].name)) {
            *out = gn_type_of(aliases[i].id);
            return true;
        }
    return false;
}

/* The modifier goes after the first word of the timestamps: "timestamp(3) with time zone". */
const char *gn_type_format(gn_type t, char *buf, size_t size)
{
    const char *name = row_of(t)->name;
    const char *array = t.is_array ? "[]" : "";
    if (t.typmod < 0)
        snprintf(buf, size, "%s%s", name, array);
    else if (t.id == GN_T_NUMERIC)
        snprintf(buf, size, "%s(%d,%d)%s", name, t.typmod >> 16, (int)(int16_t)(t.typmod & 0xffff), array);
    else if (t.id == GN_T_TIMESTAMP || t.id == GN_T_TIMESTAMPTZ)
        snprintf(buf, size, "timestamp(%d)%s%s", t.typmod, name + strlen("timestamp"), array);
    else
        snprintf(buf, size, "%s(%d)%s", name, t.typmod, array);
    return buf;
}

gn_physical gn_type_physical(gn_type t)
{
    return t.is_array ? GN_P_BYTES : row_of(t)->physical;
}

int16_t gn_type_wire_len(gn_type t)
{
    return t.is_array ? -1 : row_of(t)->wire_len;
}

/* PostgreSQL adds the length of a varlena header (4) to the modifiers of varchar and numeric. Its numeric scale has 11
 * bits, two's complement. */
int32_t gn_type_wire_typmod(gn_type t)
{
    if (t.typmod < 0)
        return -1;
    if (t.id == GN_T_VARCHAR)
        return t.typmod + 4;
    if (t.id == GN_T_NUMERIC)
        return ((t.typmod >> 16 << 16) | (t.typmod & 0x7ff)) + 4;
    return t.typmod;
}

uint32_t gn_type_since(gn_type t)
{
    return t.id > GN_T_VECTOR ? GN_SINCE_VECTOR_TYPES : 0;
}

char gn_type_category(gn_type t)
{
    return t.is_array ? 'A' : row_of(t)->category;
}
