/* toml++ behind C: the entries of a TOML file, one after the other. */
#ifndef GN_NODE_TOML_SHIM_H
#define GN_NODE_TOML_SHIM_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

typedef struct gn_toml_entry {
    const char *key; /* "name", or "table.name" */
    enum { GN_TOML_STRING, GN_TOML_INTEGER, GN_TOML_BOOLEAN, GN_TOML_OTHER } kind;
    const char *string;
    int64_t integer; /* also a boolean's 0 or 1 */
    unsigned line;   /* 1-based */
} gn_toml_entry;

/* Parses `text` and calls `entry` for each value, until it returns false. False, with *line and `message`, when the
 * text is no TOML or memory ran out. */
bool gn_toml_read(const char *text, size_t len, bool (*entry)(void *ctx, const gn_toml_entry *entry), void *ctx,
                  unsigned *line, char *message, size_t message_size);

#ifdef __cplusplus
}
#endif

#endif
