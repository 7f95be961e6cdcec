#include "net/admin.h"

#include <string.h>

static const struct {
    const char *name;
    unsigned least, most;
} COMMANDS[GN_ADMIN_N_COMMANDS] = {
#define ROW(name, wire, least, most, what) {wire, least, most},
    GN_ADMIN_COMMANDS(ROW)
#undef ROW
};

static void put_text(gn_buf *out, const char *text)
{
    size_t n = strlen(text);
    if (n > GN_ADMIN_MAX_TEXT) {
        out->failed = true;
        return;
    }
    gn_buf_append_be16(out, (uint16_t)n);
    gn_buf_append(out, text, n);
}

bool gn_admin_request_write(gn_buf *out, const gn_admin_request *request)
{
    if (request->n_args > GN_ADMIN_MAX_ARGS)
        return false;
    gn_buf_append_u8(out, GN_ADMIN_VERSION);
    gn_buf_append_be64(out, request->node);
    put_text(out, COMMANDS[request->command].name);
    gn_buf_append_be16(out, (uint16_t)request->n_args);
    for (unsigned i = 0; i < request->n_args; i++)
        put_text(out, request->args[i]);
    return !out->failed;
}

/* NULL: there is none, or no memory, or a NUL in it. */
static const char *get_text(gn_reader *in, gn_arena *arena)
{
    gn_bytes text = gn_read_bytes(in, gn_read_be16(in));
    if (in->failed || text.len > GN_ADMIN_MAX_TEXT || (text.len && memchr(text.data, 0, text.len)))
        return NULL;
    return gn_arena_strndup(arena, (const char *)text.data, text.len);
}

static bool find(const char *name, gn_admin_command *out)
{
    for (unsigned i = 0; i < GN_ADMIN_N_COMMANDS; i++)
        if (strcmp(COMMANDS[i].name, name) == 0) {
            *out = (gn_admin_command)i;
            return true;
        }
    return false;
}

gn_code gn_admin_request_read(gn_bytes bytes, gn_arena *arena, gn_admin_request *out, gn_error *err)
{
    gn_reader in = gn_reader_of(bytes);
    uint8_t version = gn_read_u8(&in);
    *out = (gn_admin_request){.node = gn_read_be64(&in)};
    if (in.failed || version != GN_ADMIN_VERSION)
        return gn_error_set(err, GN_PROTOCOL, "this node speaks version %d of the operator's protocol, not %u",
                            GN_ADMIN_VERSION, version);
    const char *name = get_text(&in, arena);
    out->n_args = gn_read_be16(&in);
    if (!name || in.failed || out->n_args > GN_ADMIN_MAX_ARGS)
        return gn_error_set(err, GN_PROTOCOL, "the request is malformed");
    for (unsigned i = 0; i < out->n_args; i++)
        if (!(out->args[i] = get_text(&in, arena)))
            return gn_error_set(err, GN_PROTOCOL, "the request is malformed");
    if (gn_reader_left(&in))
        return gn_error_set(err, GN_PROTOCOL, "the request is malformed");
    if (!find(name, &out->command))
        return gn_error_set(err, GN_FEATURE, "this node does not know the command \"%.60s\"", name);
    if (out->n_args < COMMANDS[out->command].least || out->n_args > COMMANDS[out->command].most)
        return gn_error_set(err, GN_INVALID_PARAMETER, "%s takes %u to %u arguments, not %u", name,
                            COMMANDS[out->command].least, COMMANDS[out->command].most, out->n_args);
    return GN_OK;
}
