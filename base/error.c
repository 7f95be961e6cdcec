#include "base/error.h"

#include "base/assert.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

static const struct {
    const char *name, *sqlstate, *text;
} codes[] = {
#define GN_ERROR_ROW(name, sqlstate, text) {"GN_" #name, sqlstate, text},
    GN_ERROR_TABLE(GN_ERROR_ROW)
#undef GN_ERROR_ROW
};

#define N_CODES (sizeof codes / sizeof codes[0])

/* What the setters that only add to a report return when the caller wanted no report. */
static _Thread_local gn_code last_code = GN_INTERNAL;

const char *gn_code_name(gn_code code)
{
    GN_ASSERT((size_t)code < N_CODES);
    return codes[code].name;
}

const char *gn_code_sqlstate(gn_code code)
{
    GN_ASSERT((size_t)code < N_CODES);
    return codes[code].sqlstate;
}

const char *gn_code_text(gn_code code)
{
    GN_ASSERT((size_t)code < N_CODES);
    return codes[code].text;
}

/* A text that was cut must not end inside a UTF-8 character: clients refuse the whole message. */
static void trim_to_character(char *text, size_t len)
{
    size_t start = len;
    while (start > 0 && len - start < 4 && ((unsigned char)text[start - 1] & 0xC0) == 0x80)
        start--;
    if (start == 0)
        return;
    unsigned char lead = (unsigned char)text[start - 1];
    size_t want = lead >= 0xF0 ? 4 : lead >= 0xE0 ? 3 : lead >= 0xC0 ? 2 : 1;
    if (want > len - start + 1)
        text[start - 1] = '\0';
}

/* Formats aside first, because an argument may be the field itself ("while x: %s", err->message). */
static void format_field(char *field, size_t size, const char *format, va_list args)
{
    char text[sizeof((gn_error *)0)->message];
    GN_ASSERT(size <= sizeof text);
    int n = vsnprintf(text, size, format, args);
    if (n < 0)
        text[0] = '\0';
    else if ((size_t)n >= size)
        trim_to_character(text, size - 1);
    memcpy(field, text, strlen(text) + 1);
}

#undef gn_error_set /* base/error.h: for the analyzer */
#undef gn_error_errno
gn_code gn_error_set(gn_error *err, gn_code code, const char *format, ...)
{
    GN_ASSERT(code != GN_OK && (size_t)code < N_CODES);
    last_code = code;
    if (!err)
        return code;
    va_list args;
    va_start(args, format);
    format_field(err->message, sizeof err->message, format, args);
    va_end(args);
    err->code = code;
    err->position = 0;
    err->detail[0] = err->hint[0] = err->context[0] = '\0';
    memset(err->object, 0, sizeof err->object);
    return code;
}

gn_code gn_error_detail(gn_error *err, const char *format, ...)
{
    if (!err)
        return last_code;
    va_list args;
    va_start(args, format);
    format_field(err->detail, sizeof err->detail, format, args);
    va_end(args);
    return err->code;
}

gn_code gn_error_hint(gn_error *err, const char *format, ...)
{
    if (!err)
        return last_code;
    va_list args;
    va_start(args, format);
    format_field(err->hint, sizeof err->hint, format, args);
    va_end(args);
    return err->code;
}

gn_code gn_error_context(gn_error *err, const char *format, ...)
{
    if (!err)
        return last_code;
    va_list args;
    va_start(args, format);
    format_field(err->context, sizeof err->context, format, args);
    va_end(args);
    return err->code;
}

gn_code gn_error_at(gn_error *err, int position)
{
    if (!err)
        return last_code;
    err->position = position;
    return err->code;
}

gn_code gn_error_errno(gn_error *err, gn_code code, int errnum, const char *format, ...)
{
    if (errnum == ENOSPC || errnum == EDQUOT)
        code = GN_DISK_FULL;
    if (!err)
        return gn_error_set(NULL, code, "%s", "");
    char what[sizeof err->message], buffer[128];
    va_list args;
    va_start(args, format);
    format_field(what, sizeof what, format, args);
    va_end(args);
    return gn_error_set(err, code, "%s: %s", what, strerror_r(errnum, buffer, sizeof buffer));
}

void gn_error_clear(gn_error *err)
{
    if (!err)
        return;
    err->code = GN_OK;
    err->position = 0;
    err->message[0] = err->detail[0] = err->hint[0] = err->context[0] = '\0'; /* all of it has 2 KB */
    for (size_t i = 0; i < sizeof err->object / sizeof err->object[0]; i++)
        err->object[i][0] = '\0';
}
