/* Writes JSON into a buffer. The writer sets commas; brackets are the caller's to close. */
#ifndef GN_CLUSTER_JSON_PRIVATE_H
#define GN_CLUSTER_JSON_PRIVATE_H

#include "base/buf.h"

typedef struct gn_json_writer {
    gn_buf *out;
    bool comma; /* before the next item */
} gn_json_writer;

/* key: NULL inside of an array. bracket: '{' or '['; close: '}' or ']'. */
void gn_jw_open(gn_json_writer *j, const char *key, char bracket);
void gn_jw_close(gn_json_writer *j, char bracket);
/* Bytes that are no UTF-8 become U+FFFD. */
void gn_jw_text(gn_json_writer *j, const char *key, gn_bytes text);
void gn_jw_str(gn_json_writer *j, const char *key, const char *text); /* NULL: null */
void gn_jw_u64(gn_json_writer *j, const char *key, uint64_t v);       /* readers may take it as 63 bits */
void gn_jw_bool(gn_json_writer *j, const char *key, bool v);
void gn_jw_raw(gn_json_writer *j, const char *key, gn_bytes json); /* is JSON already */

#endif
