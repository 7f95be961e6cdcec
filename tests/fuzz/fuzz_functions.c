/* Any text as the pattern, the template or the argument of the functions that read one: an answer or an error, in
 * bounded time. Input: a letter that chooses the function, then two texts with a line feed between them. */
#include "query/expr.h"

#include <stdint.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum { TEXT_MAX = 2000, PATTERN_MAX = 300 }; /* matching is their product */

typedef struct target {
    const char *name;
    const char *types[4]; /* of the arguments: text, or a constant of the type in `fixed` */
    const char *fixed[4]; /* NULL: the texts of the input, in their order */
} target;

static const target targets[] = {
    {"~", {"text", "text"}, {NULL}},
    {"~*", {"text", "text"}, {NULL}},
    {"regexp_replace", {"text", "text", "text", "text"}, {NULL, NULL, "<\\1\\&>", "gn"}},
    {"~~", {"text", "text"}, {NULL}},
    {"~~*", {"text", "text"}, {NULL}},
    {"to_timestamp", {"text", "text"}, {NULL}},
    {"to_char", {"timestamp", "text"}, {"2024-02-09 13:05:07.012345", NULL}},
    {"to_char", {"interval", "text"}, {"-1000 days 50:00:07", NULL}},
    {"to_char", {"numeric", "text"}, {"-1234.567", NULL}},
    {"format", {"text", "text", "integer"}, {NULL, NULL, "-7"}},
    {"decode", {"text", "text"}, {NULL, "base64"}},
    {"decode", {"text", "text"}, {NULL, "hex"}},
    {"decode", {"text", "text"}, {NULL, "escape"}},
    {"translate", {"text", "text", "text"}, {NULL, NULL, "abc"}},
    {"split_part", {"text", "text", "integer"}, {NULL, NULL, "-2"}},
    {"like_escape", {"text", "text"}, {NULL}},
    {"initcap", {"text"}, {NULL}},
    {"extract", {"text", "timestamp"}, {NULL, "2024-02-09 13:05:07.012345"}},
    {"timezone", {"text", "timestamp"}, {NULL, "2024-02-09 13:05:07.012345"}},
};

static void run(const target *t, const gn_bytes texts[2], gn_arena *arena)
{
    gn_format format = {.extra_float_digits = 1};
    gn_error err = {.code = GN_OK};
    gn_eval eval = {.format = &format, .arena = arena, .err = &err};
    gn_expr nodes[5] = {{.kind = GN_E_CALL}}, *args[4];
    gn_type types[4], wanted[4];
    uint32_t n = 0, next_text = 0;
    for (; n < 4 && t->types[n]; n++) {
        gn_expr *e = &nodes[n + 1];
        *e = (gn_expr){.kind = GN_E_CONST};
        if (!gn_type_from_name(gn_bytes_str(t->types[n]), &e->type))
            return;
        if (t->fixed[n]) {
            if (gn_value_parse(gn_bytes_str(t->fixed[n]), e->type, &format, arena, &e->value, &err))
                return;
        } else {
            e->value = (gn_value){.type = e->type, .as.bytes = texts[next_text++ % 2]};
        }
        args[n] = e;
        types[n] = e->type;
    }
    bool is_operator = t->name[0] == '~';
    if (gn_function_resolve(gn_bytes_str(t->name), is_operator, types, n, &nodes[0].function, wanted, &nodes[0].type,
                            &err))
        return;
    nodes[0].n_args = n;
    nodes[0].args = args;
    gn_value out;
    (void)gn_expr_eval_one(&nodes[0], &eval, &out);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    size_t bad;
    if (size < 2)
        return 0;
    gn_bytes all = gn_bytes_of(data + 1, size - 1), texts[2] = {all, {NULL, 0}};
    const uint8_t *line = memchr(all.data, '\n', all.len);
    if (line) {
        texts[0].len = (size_t)(line - all.data);
        texts[1] = gn_bytes_of(line + 1, all.len - texts[0].len - 1);
    }
    if (!gn_utf8_valid(all, &bad) || texts[0].len > TEXT_MAX || texts[1].len > PATTERN_MAX)
        return 0;
    gn_arena *arena = gn_arena_create(NULL);
    run(&targets[data[0] % (sizeof targets / sizeof *targets)], texts, arena);
    gn_arena_destroy(arena);
    return 0;
}
