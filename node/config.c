/* One table (node/options.h), four readers of it: file, environment, command line, documentation. */
#include "node/config.h"

#include "node/toml_shim.h"

#include <ctype.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

typedef struct option {
    const char *name;
    enum { TEXT, INTEGER, CHOICE } kind;
    size_t offset;
    const char *text_default;
    int64_t int_default, least, greatest;
    const char *unit; /* metavariable, unit or choices */
    const char *doc;
} option;

#define OPTION_TEXT(name_, default_, meta, doc_) \
    {.name = #name_,                             \
     .kind = TEXT,                               \
     .offset = offsetof(gn_config, name_),       \
     .text_default = (default_),                 \
     .unit = (meta),                             \
     .doc = (doc_)},
#define OPTION_INT(name_, default_, least_, greatest_, unit_, doc_) \
    {.name = #name_,                                                \
     .kind = INTEGER,                                               \
     .offset = offsetof(gn_config, name_),                          \
     .int_default = (default_),                                     \
     .least = (least_),                                             \
     .greatest = (greatest_),                                       \
     .unit = (unit_),                                               \
     .doc = (doc_)},
#define OPTION_CHOICE(name_, default_, choices, doc_) \
    {.name = #name_,                                  \
     .kind = CHOICE,                                  \
     .offset = offsetof(gn_config, name_),            \
     .text_default = (default_),                      \
     .unit = (choices),                               \
     .doc = (doc_)},

static const option options[] = {GN_OPTION_TABLE(OPTION_TEXT, OPTION_INT, OPTION_CHOICE)};
enum { N_OPTIONS = sizeof options / sizeof *options };

/* Finds by TOML name; `separator` stands for '_' (command line: '-'). */
static const option *find(const char *name, char separator)
{
    for (size_t i = 0; i < N_OPTIONS; i++) {
        const char *a = options[i].name, *b = name;
        while (*a && (*a == '_' ? separator : *a) == *b) {
            a++;
            b++;
        }
        if (!*a && !*b)
            return &options[i];
    }
    return NULL;
}

static bool is_choice(const char *choices, const char *value)
{
    size_t len = strlen(value);
    for (const char *p = choices; len && p;) {
        const char *end = strchr(p, '|');
        if ((end ? (size_t)(end - p) : strlen(p)) == len && memcmp(p, value, len) == 0)
            return true;
        p = end ? end + 1 : NULL;
    }
    return false;
}

/* place: "file:line", a variable or an argument; it begins the message. */
static gn_code set_int(gn_config *config, const option *o, int64_t value, const char *place, gn_error *err)
{
    if (o->kind != INTEGER)
        return gn_error_set(err, GN_CONFIGURATION, "%s: %s is a text, not a number", place, o->name);
    if (value < o->least || value > o->greatest)
        return gn_error_set(err, GN_CONFIGURATION, "%s: %s is %lld; it may be %lld to %lld %s", place, o->name,
                            (long long)value, (long long)o->least, (long long)o->greatest, o->unit);
    memcpy((char *)config + o->offset, &value, sizeof value);
    return GN_OK;
}

static gn_code set_text(gn_config *config, const option *o, const char *value, const char *place, gn_error *err)
{
    if (o->kind == INTEGER) {
        char *end = NULL;
        errno = 0;
        long long number = strtoll(value, &end, 10);
        if (errno || end == value || *end)
            return gn_error_set(err, GN_CONFIGURATION, "%s: %s is \"%.80s\"; it must be a whole number of %s", place,
                                o->name, value, o->unit);
        return set_int(config, o, number, place, err);
    }
    if (o->kind == CHOICE && !is_choice(o->unit, value))
        return gn_error_set(err, GN_CONFIGURATION, "%s: %s is \"%.80s\"; it may be one of %s", place, o->name, value,
                            o->unit);
    if (strlen(value) >= GN_OPTION_TEXT)
        return gn_error_set(err, GN_CONFIGURATION, "%s: the value of %s is longer than %d bytes", place, o->name,
                            GN_OPTION_TEXT - 1);
    memcpy((char *)config + o->offset, value, strlen(value) + 1);
    return GN_OK;
}

gn_code gn_config_defaults(gn_config *config, gn_error *err)
{
    gn_code code = GN_OK;
    memset(config, 0, sizeof *config);
    config->ready_fd = -1;
    for (size_t i = 0; i < N_OPTIONS && code == GN_OK; i++)
        code = options[i].kind == INTEGER ? set_int(config, &options[i], options[i].int_default, "default", err)
                                          : set_text(config, &options[i], options[i].text_default, "default", err);
    return code;
}

/* ---- the file ---- */

typedef struct file_reader {
    gn_config *config;
    const char *path;
    gn_error *err;
    gn_code code;
} file_reader;

static bool read_entry(void *ctx, const gn_toml_entry *entry)
{
    file_reader *r = ctx;
    char place[GN_OPTION_TEXT + 32];
    snprintf(place, sizeof place, "%s:%u", r->path, entry->line);
    const option *o = find(entry->key, '_');
    if (!o) {
        r->code = gn_error_set(r->err, GN_CONFIGURATION, "%s: there is no option \"%.80s\"", place, entry->key);
        gn_error_hint(r->err, "gnomond --help lists the options.");
    } else if (entry->kind == GN_TOML_INTEGER) {
        r->code = set_int(r->config, o, entry->integer, place, r->err);
    } else if (entry->kind == GN_TOML_STRING && o->kind != INTEGER) {
        r->code = set_text(r->config, o, entry->string, place, r->err);
    } else {
        r->code = gn_error_set(r->err, GN_CONFIGURATION, "%s: %s must be a %s", place, o->name,
                               o->kind == INTEGER ? "whole number" : "text in quotes");
    }
    return r->code == GN_OK;
}

static gn_code read_whole_file(const char *path, gn_buf *out, gn_error *err)
{
    gn_code code = GN_OK;
    char chunk[4096];
    size_t n;
    FILE *file = fopen(path, "rb");
    if (!file)
        return gn_error_errno(err, GN_CONFIGURATION, errno, "could not open \"%s\"", path);
    while ((n = fread(chunk, 1, sizeof chunk, file)) > 0)
        if (!gn_buf_append(out, chunk, n))
            break;
    if (ferror(file))
        code = gn_error_errno(err, GN_CONFIGURATION, errno, "could not read \"%s\"", path);
    else if (out->failed)
        code = gn_error_set(err, GN_CONFIGURATION, "\"%s\" is longer than %d bytes", path, (int)GN_MAX_CONFIG_FILE);
    fclose(file);
    return code;
}

gn_code gn_config_read_file(gn_config *config, const char *path, gn_error *err)
{
    file_reader reader = {.config = config, .path = path, .err = err, .code = GN_OK};
    char message[200] = "";
    unsigned line = 0;
    gn_buf text;
    gn_buf_init(&text, NULL, GN_MAX_CONFIG_FILE);
    gn_code code = read_whole_file(path, &text, err);
    if (code == GN_OK &&
        !gn_toml_read((const char *)text.data, text.len, read_entry, &reader, &line, message, sizeof message))
        code = gn_error_set(err, GN_CONFIGURATION, "%s:%u: %s", path, line, message);
    gn_buf_close(&text);
    return code != GN_OK ? code : reader.code;
}

/* ---- environment and command line ---- */

static gn_code read_environment(gn_config *config, gn_error *err)
{
    for (size_t i = 0; i < N_OPTIONS; i++) {
        char name[64] = "GNOMON_";
        size_t len = strlen(name);
        for (const char *p = options[i].name; *p; p++)
            name[len++] = (char)toupper((unsigned char)*p);
        const char *value = getenv(name);
        gn_code code = value ? set_text(config, &options[i], value, name, err) : GN_OK;
        if (code != GN_OK)
            return code;
    }
    return GN_OK;
}

typedef struct argument {
    const char *name, *value; /* without the dashes; value NULL: none */
} argument;

/* Takes "--name value" or "--name=value" at *i and advances *i. */
static argument next_argument(char **argv, int *i, char *name, size_t size)
{
    const char *text = argv[(*i)++];
    argument a = {.name = name};
    if (strncmp(text, "--", 2) != 0) {
        snprintf(name, size, "%s", text);
        return a;
    }
    const char *equals = strchr(text, '=');
    snprintf(name, size, "%.*s", (int)(equals ? equals - text - 2 : (long)strlen(text) - 2), text + 2);
    if (equals)
        a.value = equals + 1;
    return a;
}

/* What it takes to mean it. */
static gn_code read_force(gn_config *config, const char *word, gn_error *err)
{
    bool report = strcmp(word, "report") == 0, force = strcmp(word, "i-accept-data-loss") == 0;
    config->run = report ? GN_RUN_SURVEY : GN_RUN_FORCE;
    return report || force ? GN_OK
                           : gn_error_set(err, GN_CONFIGURATION,
                                          "--force-alone is \"%.40s\"; it may be report or i-accept-data-loss", word);
}

static gn_code read_argument(gn_config *config, int argc, char **argv, int *i, bool files_only, gn_error *err)
{
    char name[64], place[80];
    argument a = next_argument(argv, i, name, sizeof name);
    snprintf(place, sizeof place, "--%s", name);
    if (strncmp(argv[*i - 1], "--", 2) != 0)
        return gn_error_set(err, GN_CONFIGURATION, "\"%.80s\" is not an option", argv[*i - 1]);
    if (strcmp(name, "help") == 0 || strcmp(name, "version") == 0 || strcmp(name, "print-config-docs") == 0) {
        config->run = name[0] == 'h' ? GN_RUN_HELP : name[0] == 'v' ? GN_RUN_VERSION : GN_RUN_DOCS;
        return GN_OK;
    }
    const option *o = find(name, '-');
    if (strcmp(name, "force-alone") == 0)
        return read_force(config, a.value ? a.value : *i < argc ? argv[(*i)++] : "", err);
    bool is_file = strcmp(name, "config") == 0, is_ready = strcmp(name, "ready-fd") == 0;
    if (!o && !is_file && !is_ready) {
        gn_error_set(err, GN_CONFIGURATION, "there is no option %s", place);
        return gn_error_hint(err, "gnomond --help lists the options.");
    }
    if (!a.value && *i < argc)
        a.value = argv[(*i)++];
    if (!a.value)
        return gn_error_set(err, GN_CONFIGURATION, "%s needs a value", place);
    if (is_file)
        return files_only ? gn_config_read_file(config, a.value, err) : GN_OK;
    if (files_only)
        return GN_OK;
    if (!is_ready)
        return set_text(config, o, a.value, place, err);
    char *end = NULL;
    long fd = strtol(a.value, &end, 10);
    if (end == a.value || *end || fd < 0 || fd > 65535)
        return gn_error_set(err, GN_CONFIGURATION, "%s must be the number of an open file", place);
    config->ready_fd = (int)fd;
    return GN_OK;
}

gn_code gn_config_load(int argc, char **argv, gn_config *out, gn_error *err)
{
    gn_code code = gn_config_defaults(out, err);
    for (int i = 1; i < argc && code == GN_OK;)
        code = read_argument(out, argc, argv, &i, true, err);
    if (code == GN_OK)
        code = read_environment(out, err);
    for (int i = 1; i < argc && code == GN_OK;)
        code = read_argument(out, argc, argv, &i, false, err);
    return code;
}

/* ---- documentation ---- */

static void format_default(const option *o, char *out, size_t size)
{
    if (o->kind == INTEGER)
        snprintf(out, size, "%lld", (long long)o->int_default);
    else
        snprintf(out, size, "%s", o->text_default);
}

bool gn_config_write(const gn_config *config, gn_buf *out)
{
    for (size_t i = 0; i < N_OPTIONS; i++) {
        const void *value = (const char *)config + options[i].offset;
        int64_t number;
        if (options[i].kind == INTEGER) {
            memcpy(&number, value, sizeof number);
            gn_buf_printf(out, "%s = %lld\n", options[i].name, (long long)number);
            continue;
        }
        gn_buf_printf(out, "%s = \"", options[i].name);
        for (const char *p = value; *p; p++)
            if (*p == '"' || *p == '\\')
                gn_buf_printf(out, "\\%c", *p);
            else if ((unsigned char)*p < 0x20 || *p == 0x7f)
                gn_buf_printf(out, "\\u%04x", (unsigned char)*p);
            else
                gn_buf_append_u8(out, (uint8_t)*p);
        gn_buf_append_str(out, "\"\n");
    }
    return !out->failed;
}

bool gn_config_help(gn_buf *out)
{
    gn_buf_append_str(out,
                      "gnomond: a GnomonDB node\n\n"
                      "  gnomond [--config FILE] [--OPTION VALUE]...\n\n"
                      "Each option may stand in the file (TOML, `option = value`), in the environment (GNOMON_OPTION)\n"
                      "and here; the later one wins.\n\n");
    for (size_t i = 0; i < N_OPTIONS; i++) {
        char flag[64], value[GN_OPTION_TEXT];
        snprintf(flag, sizeof flag, "%s %s", options[i].name, options[i].kind == CHOICE ? "WORD" : options[i].unit);
        for (char *p = flag; *p && *p != ' '; p++)
            if (*p == '_')
                *p = '-';
        format_default(&options[i], value, sizeof value);
        gn_buf_printf(out, "  --%-34s %s%s%s (default: %s)\n", flag, options[i].doc,
                      options[i].kind == CHOICE ? ": " : "", options[i].kind == CHOICE ? options[i].unit : "", value);
    }
    gn_buf_append_str(
        out, "\n  --config FILE                        read options from this TOML file\n"
             "  --ready-fd N                         write a line with the ports to this open file when ready\n"
             "  --force-alone report                 what the groups of this node, which must not run, have\n"
             "  --force-alone i-accept-data-loss     they go on without the other nodes (docs/operations.md)\n"
             "  --version, --help\n\n"
             "Signals: SIGTERM and SIGINT end it in good order; a second one ends it at once.\n");
    return !out->failed;
}

bool gn_config_docs(gn_buf *out)
{
    gn_buf_append_str(out, "# Configuration\n\n"
                           "Made by `gnomond --print-config-docs`; a test compares. Each option may stand in a TOML "
                           "file (`--config FILE`, "
                           "one\n`option = value` a line), in the environment (`GNOMON_` and the name in capitals) and "
                           "on the command line "
                           "(`--`, with\ndashes for underscores). The later wins. Unknown options and bad values are "
                           "refused with file and "
                           "line.\n\n## Options\n\n| option | default | values | what it is |\n|---|---|---|---|\n");
    for (size_t i = 0; i < N_OPTIONS; i++) {
        char value[GN_OPTION_TEXT], range[200];
        format_default(&options[i], value, sizeof value);
        if (options[i].kind == INTEGER)
            snprintf(range, sizeof range, "%lld to %lld %s", (long long)options[i].least,
                     (long long)options[i].greatest, options[i].unit);
        else
            snprintf(range, sizeof range, "%s", options[i].unit);
        for (char *p = range; *p; p++)
            if (*p == '|')
                *p = '/';
        gn_buf_printf(out, "| `%s` | `%s` | %s | %s |\n", options[i].name, value, range, options[i].doc);
    }
    gn_buf_append_str(
        out,
        "\nOnly on the command line: `--config FILE`, `--ready-fd N` (a line with the ports is written to "
        "that open file when\nthe node is ready), `--force-alone report|i-accept-data-loss` (after a majority was lost "
        "for ever:\n[operations](operations.md)), `--help`, `--version`.\n\n## Limits\n\nWhat a client can "
        "influence is bounded. These are fixed (`base/limits.h`).\n\n| limit | value | unit | bounds |\n"
        "|---|---|---|---|\n");
#define GN_LIMIT_LINE(name, value, unit, what) \
    gn_buf_printf(out, "| `%s` | %lld | %s | %s |\n", #name, (long long)(value), unit, what);
    GN_LIMIT_TABLE(GN_LIMIT_LINE)
#undef GN_LIMIT_LINE
    return !out->failed;
}

/* ---- addresses ---- */

gn_code gn_config_loopback(const char *name, const char *address, char *host, size_t host_size, int *port,
                           gn_error *err)
{
    const char *colon = strrchr(address, ':');
    char *end = NULL;
    long number = colon ? strtol(colon + 1, &end, 10) : -1;
    if (!colon || colon == address || end == colon + 1 || *end || number < 0 || number > 65535)
        return gn_error_set(err, GN_CONFIGURATION, "%s is \"%.80s\"; it must be HOST:PORT", name, address);
    size_t len = (size_t)(colon - address);
    if (address[0] == '[' && address[len - 1] == ']') {
        address++;
        len -= 2;
    }
    if (len >= host_size)
        return gn_error_set(err, GN_CONFIGURATION, "%s: the host name is too long", name);
    memcpy(host, address, len);
    host[len] = '\0';
    *port = (int)number;
    if (strcmp(host, "localhost") == 0)
        snprintf(host, host_size, "127.0.0.1");
    if (strncmp(host, "127.", 4) != 0 && strcmp(host, "::1") != 0) {
        gn_error_set(err, GN_CONFIGURATION, "%s is \"%.80s\", which is not a loopback address", name, host);
        return gn_error_hint(
            err, "There are no accounts yet, so whoever reaches the port may do everything. Use 127.0.0.1 or "
                 "[::1], and a tunnel from elsewhere.");
    }
    return GN_OK;
}
