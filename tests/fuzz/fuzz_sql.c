/* Any bytes as SQL text: the parser answers, and never reads or recurses beyond its bounds. */
#include "coord/parser.h"

#include <stdint.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    gn_arena *arena = gn_arena_create(NULL);
    gn_ast_statements statements = {0};
    gn_error err = {0};
    gn_bytes sql = gn_bytes_of(data, size);
    if (gn_parse(arena, sql, &statements, &err) != GN_OK)
        gn_sql_position(sql, err.position);
    gn_arena_destroy(arena);
    return 0;
}
