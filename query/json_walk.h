/* Moving about in JSON text that is known to be valid (a value of type json or jsonb): no tree is built; a part of a
 * document is a slice of its text. A slice of a jsonb is a jsonb. */
#ifndef GN_QUERY_JSON_WALK_H
#define GN_QUERY_JSON_WALK_H

#include "query/text_private.h"

typedef enum gn_json_kind {
    GN_JSON_OBJECT,
    GN_JSON_ARRAY,
    GN_JSON_STRING,
    GN_JSON_NUMBER,
    GN_JSON_BOOLEAN,
    GN_JSON_NULL,
} gn_json_kind;

gn_json_kind gn_json_kind_of(gn_bytes json); /* leading white space is allowed */
gn_bytes gn_json_trim(gn_bytes json);        /* without white space around it */

/* The members of an object or the elements of an array, in order. */
typedef struct gn_json_iter {
    const uint8_t *p, *end;
    bool object;
    gn_bytes key; /* raw, with its quotes */
    gn_bytes value;
} gn_json_iter;

gn_json_iter gn_json_open(gn_bytes container);
bool gn_json_next(gn_json_iter *it);

uint32_t gn_json_count(gn_bytes container);
/* The value of a key (the last, if a json repeats it) or element (0-based, negative from the end). */
bool gn_json_member(gn_bytes object, gn_bytes key, const gn_eval *eval, gn_bytes *value, gn_code *code);
bool gn_json_element(gn_bytes array, int64_t index, gn_bytes *value);

/* The text of a raw string. It points into `raw` if nothing is escaped. */
gn_code gn_json_unescape(gn_bytes raw, const gn_eval *eval, gn_bytes *out);
/* Appends text as a JSON string. */
void gn_json_quote(gn_bytes text, gn_buf *out);

/* function_json_build.c: appends any value as JSON, and as the key of an object. */
gn_code gn_json_put(const gn_eval *eval, const gn_value *v, gn_buf *buf);
void gn_json_put_key(const gn_eval *eval, const gn_value *key, gn_buf *buf);

#endif
