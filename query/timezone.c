/* Time zones: the system's TZif files (RFC 8536, version 2 data), read once and kept. */
#include "base/assert.h"
#include "base/buf.h"
#include "query/datetime.h"

#include <ctype.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <strings.h>

enum { ZONE_NAME = 64, MAX_FILE = 1 << 20, MAX_TRANSITIONS = 10000 };

typedef struct zone {
    struct zone *next;
    char name[ZONE_NAME];
    uint32_t n;      /* transitions */
    int64_t *at;     /* Unix seconds */
    int32_t *offset; /* in force from at[i] on */
    int32_t first;   /* before at[0] */
    bool exists;
} zone;

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static zone *zones; /* for the life of the process: there are some 600 at most */

static bool is_plain_name(const char *name)
{
    if (!name[0] || strlen(name) >= ZONE_NAME || name[0] == '/' || strstr(name, ".."))
        return false;
    for (const char *p = name; *p; p++)
        if (!isalnum((unsigned char)*p) && !strchr("_+-/", *p))
            return false;
    return true;
}

static gn_buf read_zone_file(const char *name)
{
    char path[128];
    gn_buf content;
    gn_buf_init(&content, NULL, MAX_FILE);
    snprintf(path, sizeof path, "/usr/share/zoneinfo/%s", name);
    FILE *file = fopen(path, "rbe");
    if (!file)
        return content;
    char chunk[4096];
    size_t n;
    while ((n = fread(chunk, 1, sizeof chunk, file)) > 0 && gn_buf_append(&content, chunk, n))
        ;
    fclose(file);
    return content;
}

typedef struct tz_head {
    uint32_t isutc, isstd, leap, times, types, chars;
} tz_head;

static tz_head read_head(gn_reader *r)
{
    tz_head h = {0};
    gn_bytes magic = gn_read_bytes(r, 4);
    if (magic.len != 4 || memcmp(magic.data, "TZif", 4) != 0)
        r->failed = true;
    gn_read_bytes(r, 16);
    h.isutc = gn_read_be32(r);
    h.isstd = gn_read_be32(r);
    h.leap = gn_read_be32(r);
    h.times = gn_read_be32(r);
    h.types = gn_read_be32(r);
    h.chars = gn_read_be32(r);
    if (h.times > MAX_TRANSITIONS || h.types > 256 || h.chars > MAX_FILE || h.leap > 1000 || h.types == 0)
        r->failed = true;
    return h;
}

/* The 64-bit block, which follows the 32-bit one. */
static bool read_zone(gn_bytes file, zone *z)
{
    gn_reader r = gn_reader_of(file);
    tz_head h = read_head(&r);
    if (r.failed)
        return false;
    gn_read_bytes(&r, (size_t)h.times * 5 + (size_t)h.types * 6 + h.chars + (size_t)h.leap * 8 + h.isstd + h.isutc);
    h = read_head(&r);
    if (r.failed)
        return false;
    gn_reader at = gn_reader_of(gn_read_bytes(&r, (size_t)h.times * 8));
    gn_reader index = gn_reader_of(gn_read_bytes(&r, h.times));
    gn_bytes types = gn_read_bytes(&r, (size_t)h.types * 6);
    if (r.failed)
        return false;
    z->at = gn_xcalloc(h.times + 1, sizeof *z->at);
    z->offset = gn_xcalloc(h.times + 1, sizeof *z->offset);
    for (uint32_t i = 0; i < h.times; i++) {
        uint8_t type = gn_read_u8(&index);
        gn_reader t = gn_reader_of(types);
        gn_read_bytes(&t, (size_t)(type < h.types ? type : 0) * 6);
        z->at[i] = (int64_t)gn_read_be64(&at);
        z->offset[i] = (int32_t)gn_read_be32(&t);
    }
    gn_reader first = gn_reader_of(types);
    z->first = (int32_t)gn_read_be32(&first);
    z->n = h.times;
    return true;
}

static const zone *find_zone(const char *name)
{
    pthread_mutex_lock(&lock);
    zone *z = zones;
    while (z && strcasecmp(z->name, name) != 0)
        z = z->next;
    if (!z && is_plain_name(name)) {
        gn_buf file = read_zone_file(name);
        z = gn_xcalloc(1, sizeof *z);
        snprintf(z->name, sizeof z->name, "%s", name);
        z->exists = read_zone(gn_buf_bytes(&file), z);
        gn_buf_close(&file);
        if (z->exists) {
            z->next = zones;
            zones = z;
        } else { /* names come from users: what does not exist is not kept */
            free(z);
            z = NULL;
        }
    }
    pthread_mutex_unlock(&lock);
    return z;
}

static int32_t zone_offset(const zone *z, int64_t unix_seconds)
{
    uint32_t low = 0, high = z->n;
    while (low < high) {
        uint32_t middle = low + (high - low) / 2;
        if (z->at[middle] <= unix_seconds)
            low = middle + 1;
        else
            high = middle;
    }
    return low ? z->offset[low - 1] : z->first;
}

static int64_t unix_seconds(int64_t us)
{
    int64_t seconds = us / GN_US_PER_SECOND - (us % GN_US_PER_SECOND < 0);
    return seconds + (int64_t)GN_UNIX_TO_2000_DAYS * 86400;
}

int32_t gn_zone_at_utc(const gn_format *format, int64_t us)
{
    const zone *z = format && format->tz_name ? find_zone(format->tz_name) : NULL;
    if (z)
        return zone_offset(z, unix_seconds(us));
    return format ? format->tz_offset_s : 0;
}

int32_t gn_zone_at_local(const gn_format *format, int64_t us)
{
    const zone *z = format && format->tz_name ? find_zone(format->tz_name) : NULL;
    if (!z)
        return format ? format->tz_offset_s : 0;
    int64_t local = unix_seconds(us);
    int32_t before = zone_offset(z, local - 86400), after = zone_offset(z, local + 86400);
    if (zone_offset(z, local - before) == before)
        return before;
    return zone_offset(z, local - after) == after ? after : before;
}

/* "+02", "-03:30", "+0530" */
static bool parse_offset(const char *text, int32_t *out)
{
    int hours = 0, minutes = 0, digits = 0;
    if (*text != '+' && *text != '-')
        return false;
    const char *p = text + 1;
    for (; isdigit((unsigned char)*p) && digits < 4; p++, digits++)
        hours = hours * 10 + (*p - '0');
    if (digits > 2) {
        minutes = hours % 100;
        hours /= 100;
    } else if (*p == ':' && isdigit((unsigned char)p[1]) && isdigit((unsigned char)p[2])) {
        minutes = (p[1] - '0') * 10 + (p[2] - '0');
        p += 3;
    }
    if (digits == 0 || *p || hours > 15 || minutes > 59)
        return false;
    *out = (hours * 60 + minutes) * 60 * (*text == '-' ? -1 : 1);
    return true;
}

static bool is_utc(const char *name)
{
    return strcasecmp(name, "utc") == 0 || strcasecmp(name, "z") == 0 || strcasecmp(name, "gmt") == 0 ||
           strcasecmp(name, "zulu") == 0;
}

gn_code gn_zone_format(gn_bytes name, gn_arena *arena, gn_format *out, gn_error *err)
{
    char *text = gn_arena_strndup(arena, (const char *)name.data, name.len);
    int32_t offset = 0;
    if (!text)
        return gn_error_oom(err, gn_arena_account(arena));
    *out = (gn_format){.extra_float_digits = 1};
    if (is_utc(text))
        return GN_OK;
    if (parse_offset(text, &offset)) {
        out->tz_offset_s = offset;
        return GN_OK;
    }
    if (!find_zone(text))
        return gn_error_set(err, GN_INVALID_PARAMETER, "time zone \"%s\" not recognized", text);
    out->tz_name = text;
    return GN_OK;
}

bool gn_zone_exists(gn_bytes name)
{
    gn_arena *arena = gn_arena_create(NULL);
    gn_format ignored;
    bool exists = name.len < ZONE_NAME && gn_zone_format(name, arena, &ignored, NULL) == GN_OK;
    gn_arena_destroy(arena);
    return exists;
}
