/* uuid: 16 bytes; text as PostgreSQL reads it (any case, braces, hyphens after any group of four digits) and prints it.
 */
#include "query/value_private.h"

#include <stdio.h>

static gn_code uuid_parse(gn_bytes text, gn_type type, const gn_format *format, gn_arena *arena, gn_value *out,
                          gn_error *err)
{
    const uint8_t *p = text.data, *end = text.data + text.len;
    uint8_t *bytes = gn_arena_alloc(arena, 16);
    (void)format;
    if (!bytes)
        return gn_error_oom(err, gn_arena_account(arena));
    bool braces = p < end && *p == '{';
    p += braces;
    for (int i = 0; i < 32; i++) {
        if (i > 0 && i % 4 == 0 && p < end && *p == '-')
            p++;
        uint8_t c = p < end ? *p++ : 0, letter = c | 0x20;
        int digit = gn_is_digit(c) ? c - '0' : letter >= 'a' && letter <= 'f' ? letter - 'a' + 10 : -1;
        if (digit < 0)
            return gn_bad_text(text, type, err);
        bytes[i / 2] = (uint8_t)(i % 2 ? bytes[i / 2] | digit : digit << 4);
    }
    if (braces && (p >= end || *p++ != '}'))
        return gn_bad_text(text, type, err);
    if (p != end)
        return gn_bad_text(text, type, err);
    *out = (gn_value){.type = type, .as.bytes = gn_bytes_of(bytes, 16)};
    return GN_OK;
}

static bool uuid_print(const gn_value *v, const gn_format *format, gn_buf *out)
{
    (void)format;
    for (int i = 0; i < 16; i++)
        gn_buf_printf(out, "%s%02x", i == 4 || i == 6 || i == 8 || i == 10 ? "-" : "", v->as.bytes.data[i]);
    return !out->failed;
}

static gn_code uuid_recv(gn_bytes wire, gn_type type, gn_arena *arena, gn_value *out, gn_error *err)
{
    if (wire.len != 16)
        return gn_bad_wire(type, err);
    void *copy = gn_arena_memdup(arena, wire.data, 16);
    if (!copy)
        return gn_error_oom(err, gn_arena_account(arena));
    *out = (gn_value){.type = type, .as.bytes = gn_bytes_of(copy, 16)};
    return GN_OK;
}

static bool uuid_send(const gn_value *v, gn_buf *out)
{
    return gn_buf_append_bytes(out, v->as.bytes);
}

static int uuid_compare(const gn_value *a, const gn_value *b)
{
    return memcmp(a->as.bytes.data, b->as.bytes.data, 16);
}

static uint64_t uuid_hash(const gn_value *v)
{
    return gn_hash_bytes(v->as.bytes);
}

const gn_type_ops gn_uuid_ops = {uuid_parse, uuid_print, uuid_recv, uuid_send, uuid_compare, uuid_hash};
