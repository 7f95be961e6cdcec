#include "cluster/json_private.h"

#include <inttypes.h>
#include <string.h>

/* Length of the well-formed UTF-8 character that begins here; 0: none does. (Unicode 15, table 3-7) */
static size_t character(const uint8_t *p, size_t left)
{
    if (p[0] < 0x80)
        return 1;
    size_t n = p[0] >= 0xc2 && p[0] <= 0xdf ? 2 : (p[0] & 0xf0) == 0xe0 ? 3 : p[0] >= 0xf0 && p[0] <= 0xf4 ? 4 : 0;
    if (n == 0 || n > left)
        return 0;
    for (size_t i = 1; i < n; i++)
        if ((p[i] & 0xc0) != 0x80)
            return 0;
    bool wrong = (p[0] == 0xe0 && p[1] < 0xa0) || (p[0] == 0xed && p[1] > 0x9f) || (p[0] == 0xf0 && p[1] < 0x90) ||
                 (p[0] == 0xf4 && p[1] > 0x8f);
    return wrong ? 0 : n;
}

static void quote(gn_buf *out, gn_bytes text)
{
    gn_buf_append_u8(out, '"');
    for (size_t i = 0; i < text.len;) {
        const uint8_t *p = text.data + i;
        size_t n = character(p, text.len - i);
        if (n == 0)
            gn_buf_append_str(out, "\\ufffd");
        else if (*p == '"' || *p == '\\')
            gn_buf_printf(out, "\\%c", *p);
        else if (*p == '\n')
            gn_buf_append_str(out, "\\n");
        else if (*p < 0x20 || *p == 0x7f)
            gn_buf_printf(out, "\\u%04x", *p);
        else
            gn_buf_append(out, p, n);
        i += n ? n : 1;
    }
    gn_buf_append_u8(out, '"');
}

static void begin_item(gn_json_writer *j, const char *key)
{
    if (j->comma)
        gn_buf_append_u8(j->out, ',');
    j->comma = true;
    if (key) {
        quote(j->out, gn_bytes_str(key));
        gn_buf_append_u8(j->out, ':');
    }
}

void gn_jw_open(gn_json_writer *j, const char *key, char bracket)
{
    begin_item(j, key);
    gn_buf_append_u8(j->out, (uint8_t)bracket);
    j->comma = false;
}

void gn_jw_close(gn_json_writer *j, char bracket)
{
    gn_buf_append_u8(j->out, (uint8_t)bracket);
    j->comma = true;
}

void gn_jw_text(gn_json_writer *j, const char *key, gn_bytes text)
{
    begin_item(j, key);
    quote(j->out, text);
}

void gn_jw_str(gn_json_writer *j, const char *key, const char *text)
{
    if (text)
        gn_jw_text(j, key, gn_bytes_str(text));
    else
        gn_jw_raw(j, key, gn_bytes_str("null"));
}

void gn_jw_u64(gn_json_writer *j, const char *key, uint64_t v)
{
    begin_item(j, key);
    gn_buf_printf(j->out, "%" PRIu64, v);
}

void gn_jw_bool(gn_json_writer *j, const char *key, bool v)
{
    gn_jw_raw(j, key, gn_bytes_str(v ? "true" : "false"));
}

void gn_jw_raw(gn_json_writer *j, const char *key, gn_bytes json)
{
    begin_item(j, key);
    gn_buf_append_bytes(j->out, json);
}
