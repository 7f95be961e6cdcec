/* A line is composed in a fixed buffer on the stack and written with one write(2): no lock, no allocation, and lines of
 * threads never mix (a pipe keeps writes up to 4,096 bytes whole, a file opened for appending keeps all). */
#include "base/log.h"

#include "base/assert.h"

#include <errno.h>
#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>
#include <time.h>
#include <unistd.h>

#define LINE_MAX_BYTES 4096u
#define LINE_RESERVE 32u /* for the mark of a cut line and its end */

static struct {
    gn_log_level level;
    bool json;
    int fd;
} config = {.level = GN_LOG_WARN, .fd = STDERR_FILENO};

static _Thread_local uint64_t current_request;

static const char *const level_names[] = {"debug", "info", "warn", "error", "off"};

void gn_log_configure(gn_log_level level, bool json, int fd)
{
    GN_ASSERT(level <= GN_LOG_OFF);
    config.level = level;
    config.json = json;
    config.fd = fd;
}

bool gn_log_level_parse(const char *name, gn_log_level *out)
{
    for (unsigned i = 0; i <= GN_LOG_OFF; i++) {
        if (strcasecmp(name, level_names[i]) == 0) {
            *out = (gn_log_level)i;
            return true;
        }
    }
    return false;
}

bool gn_log_enabled(gn_log_level level)
{
    return level >= config.level && level < GN_LOG_OFF;
}

void gn_log_set_request(uint64_t request_id)
{
    current_request = request_id;
}

uint64_t gn_log_request(void)
{
    return current_request;
}

typedef struct line {
    char text[LINE_MAX_BYTES];
    size_t len;
    bool full; /* something did not fit; nothing is added after it */
} line;

static void add_bytes(line *l, const char *s, size_t n)
{
    if (l->full || n > LINE_MAX_BYTES - LINE_RESERVE - l->len) {
        l->full = true;
        return;
    }
    memcpy(l->text + l->len, s, n);
    l->len += n;
}

__attribute__((format(printf, 2, 3))) static void add(line *l, const char *format, ...)
{
    char text[128];
    va_list args;
    va_start(args, format);
    int n = vsnprintf(text, sizeof text, format, args);
    va_end(args);
    GN_ASSERT(n >= 0 && (size_t)n < sizeof text);
    add_bytes(l, text, (size_t)n);
}

/* Length of the well-formed UTF-8 character at s, 0 if it is none (RFC 3629, section 4). */
static size_t utf8_length(const unsigned char *s)
{
    if (s[0] < 0x80)
        return 1;
    if (s[0] >= 0xC2 && s[0] <= 0xDF)
        return (s[1] & 0xC0) == 0x80 ? 2 : 0;
    if (s[0] >= 0xE0 && s[0] <= 0xEF) {
        unsigned char low = s[0] == 0xE0 ? 0xA0 : 0x80, high = s[0] == 0xED ? 0x9F : 0xBF;
        return s[1] >= low && s[1] <= high && (s[2] & 0xC0) == 0x80 ? 3 : 0;
    }
    if (s[0] >= 0xF0 && s[0] <= 0xF4) {
        unsigned char low = s[0] == 0xF0 ? 0x90 : 0x80, high = s[0] == 0xF4 ? 0x8F : 0xBF;
        return s[1] >= low && s[1] <= high && (s[2] & 0xC0) == 0x80 && (s[3] & 0xC0) == 0x80 ? 4 : 0;
    }
    return 0;
}

/* As a JSON string, in text lines too: no input can break a line or forge another. */
static void add_quoted(line *l, const char *s)
{
    add_bytes(l, "\"", 1);
    for (const unsigned char *p = (const unsigned char *)s; *p && !l->full;) {
        size_t n = utf8_length(p);
        if (*p == '"' || *p == '\\')
            add(l, "\\%c", *p);
        else if (*p == '\n')
            add_bytes(l, "\\n", 2);
        else if (*p < 0x20 || *p == 0x7F)
            add(l, "\\u%04x", *p);
        else if (n == 0)
            add_bytes(l, "\xEF\xBF\xBD", 3); /* U+FFFD */
        else
            add_bytes(l, (const char *)p, n);
        p += n ? n : 1;
    }
    add_bytes(l, "\"", 1);
}

static bool is_plain_word(const char *s)
{
    if (!*s)
        return false;
    for (; *s; s++) {
        if (*s <= ' ' || *s >= 0x7F || *s == '"' || *s == '\\' || *s == '=')
            return false;
    }
    return true;
}

static void add_value(line *l, const gn_log_kv *kv)
{
    switch (kv->kind) {
    case GN_KV_KIND_STR:
        if (!kv->value.str)
            add(l, "null");
        else if (!config.json && is_plain_word(kv->value.str))
            add_bytes(l, kv->value.str, strlen(kv->value.str));
        else
            add_quoted(l, kv->value.str);
        break;
    case GN_KV_KIND_I64:
        add(l, "%lld", (long long)kv->value.i64);
        break;
    case GN_KV_KIND_U64:
        add(l, "%llu", (unsigned long long)kv->value.u64);
        break;
    case GN_KV_KIND_F64:
        if (isfinite(kv->value.f64))
            add(l, "%.9g", kv->value.f64);
        else /* JSON has no number for these */
            add(l, isnan(kv->value.f64) ? "\"nan\"" : kv->value.f64 > 0 ? "\"inf\"" : "\"-inf\"");
        break;
    case GN_KV_KIND_BOOL:
        add(l, kv->value.boolean ? "true" : "false");
        break;
    }
}

static void add_head(line *l, gn_log_level level, const char *area, const char *message)
{
    struct timespec now;
    struct tm utc;
    char stamp[40];
    clock_gettime(CLOCK_REALTIME, &now);
    gmtime_r(&now.tv_sec, &utc);
    size_t n = strftime(stamp, sizeof stamp, "%Y-%m-%dT%H:%M:%S", &utc);
    snprintf(stamp + n, sizeof stamp - n, ".%06ldZ", now.tv_nsec / 1000);
    if (config.json) {
        add(l, "{\"time\":\"%s\",\"level\":\"%s\",\"area\":", stamp, level_names[level]);
        add_quoted(l, area);
        add(l, ",\"message\":");
        add_quoted(l, message);
    } else {
        add(l, "%s %-5s ", stamp, level_names[level]);
        add_bytes(l, area, strlen(area));
        add_bytes(l, ": ", 2);
        add_bytes(l, message, strlen(message));
    }
}

static void add_kv(line *l, const gn_log_kv *kv)
{
    size_t before = l->len;
    if (config.json) {
        add_bytes(l, ",", 1);
        add_quoted(l, kv->key);
        add_bytes(l, ":", 1);
    } else {
        add_bytes(l, " ", 1);
        add_bytes(l, kv->key, strlen(kv->key));
        add_bytes(l, "=", 1);
    }
    add_value(l, kv);
    if (l->full)
        l->len = before; /* a pair is there whole or not at all */
}

static void write_all(int fd, const char *p, size_t n)
{
    while (n > 0) {
        ssize_t done = write(fd, p, n);
        if (done < 0 && errno == EINTR)
            continue;
        if (done < 0)
            return; /* there is nowhere to report it to */
        p += done;
        n -= (size_t)done;
    }
}

void gn_log_write(gn_log_level level, const char *area, const char *message, const gn_log_kv *kvs, size_t n)
{
    int saved_errno = errno;
    line l;
    l.len = 0;
    l.full = false;
    add_head(&l, level, area, message);
    if (l.full && config.json) { /* a message too long for a line: say that much, as valid JSON */
        l.len = 0;
        l.full = false;
        add_head(&l, level, area, "(message too long)");
    }
    if (current_request)
        add_kv(&l, &GN_KV_U64("request", current_request));
    for (size_t i = 0; i < n; i++)
        add_kv(&l, &kvs[i]);
    const char *tail = !l.full ? (config.json ? "}\n" : "\n") : config.json ? ",\"cut\":true}\n" : " cut=true\n";
    size_t tail_len = strlen(tail);
    memcpy(l.text + l.len, tail, tail_len);
    write_all(config.fd, l.text, l.len + tail_len);
    errno = saved_errno;
}
