/* SQL types. One table gives enum, SQL name, PostgreSQL OID, array OID, physical kind and wire size. */
#ifndef GN_QUERY_TYPE_H
#define GN_QUERY_TYPE_H

#include "base/bytes.h"
#include "base/error.h"

/* How values of a type lie in memory.
 *   BOOL u8 · I16 · I32 · I64 · F32 · F64 · BYTES (gn_bytes, an encoding of the type's own; see query/value.h) */
typedef enum gn_physical { GN_P_BOOL, GN_P_I16, GN_P_I32, GN_P_I64, GN_P_F32, GN_P_F64, GN_P_BYTES } gn_physical;

/* X(enum suffix, name, oid, array type's oid, physical, wire typlen, category).
 * Category letters are PostgreSQL's pg_type.typcategory. The vectors' OIDs are ours, above PostgreSQL's reserved range;
 * drivers look them up by name. New types are appended: the numbers of the enum go between nodes, and a table may have
 * columns of types that came later only from the cluster version on that gn_type_since tells. UNKNOWN is an untyped
 * literal; NULLTYPE never appears outside the binder. */
#define GN_TYPE_TABLE(X)                                                      \
    X(BOOL, "boolean", 16, 1000, GN_P_BOOL, 1, 'B')                           \
    X(BYTEA, "bytea", 17, 1001, GN_P_BYTES, -1, 'U')                          \
    X(INT8, "bigint", 20, 1016, GN_P_I64, 8, 'N')                             \
    X(INT2, "smallint", 21, 1005, GN_P_I16, 2, 'N')                           \
    X(INT4, "integer", 23, 1007, GN_P_I32, 4, 'N')                            \
    X(TEXT, "text", 25, 1009, GN_P_BYTES, -1, 'S')                            \
    X(JSON, "json", 114, 199, GN_P_BYTES, -1, 'U')                            \
    X(FLOAT4, "real", 700, 1021, GN_P_F32, 4, 'N')                            \
    X(FLOAT8, "double precision", 701, 1022, GN_P_F64, 8, 'N')                \
    X(UNKNOWN, "unknown", 705, 0, GN_P_BYTES, -2, 'X')                        \
    X(VARCHAR, "character varying", 1043, 1015, GN_P_BYTES, -1, 'S')          \
    X(DATE, "date", 1082, 1182, GN_P_I32, 4, 'D')                             \
    X(TIMESTAMP, "timestamp without time zone", 1114, 1115, GN_P_I64, 8, 'D') \
    X(TIMESTAMPTZ, "timestamp with time zone", 1184, 1185, GN_P_I64, 8, 'D')  \
    X(INTERVAL, "interval", 1186, 1187, GN_P_BYTES, 16, 'T')                  \
    X(NUMERIC, "numeric", 1700, 1231, GN_P_BYTES, -1, 'N')                    \
    X(UUID, "uuid", 2950, 2951, GN_P_BYTES, 16, 'U')                          \
    X(JSONB, "jsonb", 3802, 3807, GN_P_BYTES, -1, 'U')                        \
    X(VECTOR, "vector", 70000, 70001, GN_P_BYTES, -1, 'U')                    \
    X(HALFVEC, "halfvec", 70002, 70003, GN_P_BYTES, -1, 'U')                  \
    X(SPARSEVEC, "sparsevec", 70004, 70005, GN_P_BYTES, -1, 'U')              \
    X(BIT, "bit", 1560, 1561, GN_P_BYTES, -1, 'V')                            \
    X(VARBIT, "bit varying", 1562, 1563, GN_P_BYTES, -1, 'V')

typedef enum gn_type_id {
    GN_T_NONE = 0,
#define GN_TYPE_ENUM(name, sql, oid, array_oid, physical, typlen, category) GN_T_##name,
    GN_TYPE_TABLE(GN_TYPE_ENUM)
#undef GN_TYPE_ENUM
        GN_T_COUNT
} gn_type_id;

/* A type with its modifier. typmod: varchar's length, numeric's (precision << 16 | scale), a vector's dimensions, the
 * length of a bit string, the fractional digits of a timestamp; -1 = none. Not PostgreSQL's on-wire typmod:
 * gn_type_wire_typmod gives that. */
typedef struct gn_type {
    uint8_t id;    /* gn_type_id */
    bool is_array; /* an array of `id`, of any number of dimensions up to 6 */
    int32_t typmod;
} gn_type;

static inline gn_type gn_type_of(gn_type_id id)
{
    return (gn_type){.id = (uint8_t)id, .is_array = false, .typmod = -1};
}
static inline gn_type gn_type_array_of(gn_type_id id)
{
    return (gn_type){.id = (uint8_t)id, .is_array = true, .typmod = -1};
}
static inline bool gn_type_is(gn_type t, gn_type_id id)
{
    return t.id == id && !t.is_array;
}
static inline bool gn_type_same(gn_type a, gn_type b) /* modifiers aside */
{
    return a.id == b.id && a.is_array == b.is_array;
}

uint32_t gn_type_oid(gn_type t);
bool gn_type_from_oid(uint32_t oid, gn_type *out);
/* By SQL name or alias (int, int4, serial is not a type, varchar, float8, timestamptz, ...), case-folded, without
 * modifier or brackets. */
bool gn_type_from_name(gn_bytes name, gn_type *out);
/* "integer", "numeric(10,2)", "text[]", "vector(384)": into buf, NUL-terminated, cut if need be. */
const char *gn_type_format(gn_type t, char *buf, size_t size);
gn_physical gn_type_physical(gn_type t); /* arrays are GN_P_BYTES */
int16_t gn_type_wire_len(gn_type t);     /* typlen of RowDescription */
int32_t gn_type_wire_typmod(gn_type t);
char gn_type_category(gn_type t);
/* The cluster version from which on a table may have it (base/versions.h); 0: it was always there. */
uint32_t gn_type_since(gn_type t);

#endif
