#include "ops/options.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

const gn_ctl_option gn_ctl_options[GN_CTL_N_OPTIONS] = {
#define ROW(name, flag, meta, env, initial, doc) {flag, meta, env, initial, doc},
    GN_CTL_OPTIONS(ROW)
#undef ROW
};

const char *const gn_ctl_exit_docs[5] = {
    [GN_EXIT_OK] = "it was done",
    [GN_EXIT_FAILED] = "it was not done: the cluster refused it, or something went wrong on the way",
    [GN_EXIT_USAGE] = "the command line or a file that it names is wrong",
    [GN_EXIT_UNREACHABLE] = "no node could be reached",
    [GN_EXIT_UNHEALTHY] = "status or check: done, and not all is well",
};

const gn_ctl_command *gn_ctl_find(const char *name)
{
    for (unsigned i = 0; i < gn_ctl_n_commands; i++)
        if (strcmp(gn_ctl_commands[i].name, name) == 0)
            return &gn_ctl_commands[i];
    return NULL;
}

bool gn_ctl_takes(const gn_ctl_command *command, gn_ctl_option_id option)
{
    if (option <= GN_OPT_VERSION)
        return true;
    for (unsigned i = 0; command && i < command->n_own; i++)
        if (command->own[i] == option)
            return true;
    return false;
}

void gn_ctl_arg_bounds(const gn_ctl_command *command, unsigned *least, unsigned *most)
{
    *least = *most = 0;
    for (const char *p = command->args; *p; p++)
        if (*p != ' ' && (p == command->args || p[-1] == ' ')) {
            *least += *p != '[';
            ++*most;
        }
}

bool gn_ctl_has(const gn_ctl *ctl, gn_ctl_option_id option)
{
    return ctl->values[option] != NULL;
}

gn_code gn_ctl_number(const char *what, const char *text, uint64_t least, uint64_t most, uint64_t *out, gn_error *err)
{
    char *end = NULL;
    errno = 0;
    unsigned long long v = text[0] >= '0' && text[0] <= '9' ? strtoull(text, &end, 10) : 0;
    if (!end || *end || errno || v < least || v > most)
        return gn_error_set(err, GN_CONFIGURATION, "%s must be a whole number between %llu and %llu, not \"%.40s\"",
                            what, (unsigned long long)least, (unsigned long long)most, text);
    *out = v;
    return GN_OK;
}

/* ---- parsing ---- */

/* A slip of the fingers: two letters changed places, or one is wrong, missing or too many. */
static bool is_near(const char *a, const char *b)
{
    size_t n = strlen(a), m = strlen(b), front = 0, back = 0;
    while (front < n && front < m && a[front] == b[front])
        front++;
    while (back < n - front && back < m - front && a[n - 1 - back] == b[m - 1 - back])
        back++;
    size_t left = n - front - back, right = m - front - back;
    return (left <= 1 && right <= 1) ||
           (left == 2 && right == 2 && a[front] == b[front + 1] && a[front + 1] == b[front]);
}

static gn_code unknown_command(const char *name, gn_error *err)
{
    gn_error_set(err, GN_CONFIGURATION, "there is no command \"%.60s\"", name);
    for (unsigned i = 0; i < gn_ctl_n_commands; i++)
        if (is_near(name, gn_ctl_commands[i].name))
            gn_error_hint(err, "Did you mean %s?", gn_ctl_commands[i].name);
    return GN_CONFIGURATION;
}

static gn_code unknown_option(const char *argument, gn_error *err)
{
    char name[64];
    snprintf(name, sizeof name, "%.*s", (int)strcspn(argument + 2, "="), argument + 2);
    gn_error_set(err, GN_CONFIGURATION, "there is no option %.60s", argument);
    for (int i = 0; i < GN_CTL_N_OPTIONS; i++)
        if (is_near(name, gn_ctl_options[i].flag))
            gn_error_hint(err, "Did you mean --%s?", gn_ctl_options[i].flag);
    return GN_CONFIGURATION;
}

static int find_option(const char *name, size_t len)
{
    for (int i = 0; i < GN_CTL_N_OPTIONS; i++)
        if (strlen(gn_ctl_options[i].flag) == len && memcmp(gn_ctl_options[i].flag, name, len) == 0)
            return i;
    return -1;
}

/* argument: "--name" or "--name=value"; takes the value from `next` where it is needed. */
static gn_code take_option(gn_ctl *ctl, const char *argument, const char *next, bool *took_next, gn_error *err)
{
    const char *name = argument + 2, *equals = strchr(name, '=');
    int id = find_option(name, equals ? (size_t)(equals - name) : strlen(name));
    *took_next = false;
    if (id < 0)
        return unknown_option(argument, err);
    const gn_ctl_option *o = &gn_ctl_options[id];
    if (!o->meta && equals)
        return gn_error_set(err, GN_CONFIGURATION, "--%s takes no value", o->flag);
    if (o->meta && !equals && !next)
        return gn_error_set(err, GN_CONFIGURATION, "--%s needs a value: %s", o->flag, o->meta);
    *took_next = o->meta && !equals;
    ctl->values[id] = !o->meta ? "" : equals ? equals + 1 : next;
    ctl->given[id] = true;
    return GN_OK;
}

static gn_code take_argument(gn_ctl *ctl, const char *argument, gn_error *err)
{
    if (!ctl->command) {
        ctl->command = gn_ctl_find(argument);
        return ctl->command ? GN_OK : unknown_command(argument, err);
    }
    if (ctl->n_args == GN_CTL_MAX_ARGS)
        return gn_error_set(err, GN_CONFIGURATION, "too many arguments");
    ctl->args[ctl->n_args++] = argument;
    return GN_OK;
}

static bool is_word(const char *words, const char *text)
{
    size_t n = strlen(text);
    for (const char *p = words; n && p; p = strchr(p, '|') ? strchr(p, '|') + 1 : NULL)
        if (strncmp(p, text, n) == 0 && (p[n] == '|' || !p[n]))
            return true;
    return false;
}

static gn_code check(const gn_ctl *ctl, gn_error *err)
{
    unsigned least, most;
    const gn_ctl_command *command = ctl->command;
    if (!command)
        return gn_error_set(err, GN_CONFIGURATION, "a command is missing");
    gn_ctl_arg_bounds(command, &least, &most);
    if (ctl->n_args < least || ctl->n_args > most)
        return gn_error_set(err, GN_CONFIGURATION, "%s takes %s%s", command->name,
                            command->args[0] ? "" : "no arguments", command->args);
    if (command->words && ctl->n_args && !is_word(command->words, ctl->args[0]))
        return gn_error_set(err, GN_CONFIGURATION, "%s: \"%.40s\" is none of %s", command->name, ctl->args[0],
                            command->words);
    for (int i = 0; i < GN_CTL_N_OPTIONS; i++)
        if (ctl->given[i] && !gn_ctl_takes(command, (gn_ctl_option_id)i))
            return gn_error_set(err, GN_CONFIGURATION, "%s takes no option --%s", command->name,
                                gn_ctl_options[i].flag);
    unsigned tls = gn_ctl_has(ctl, GN_OPT_CA) + gn_ctl_has(ctl, GN_OPT_CERT) + gn_ctl_has(ctl, GN_OPT_KEY);
    if (tls != 0 && tls != 3)
        return gn_error_set(err, GN_CONFIGURATION, "--ca, --cert and --key go together: all three or none");
    return GN_OK;
}

static void fill_in(gn_ctl *ctl, char *(*env)(const char *name))
{
    for (int i = 0; i < GN_CTL_N_OPTIONS; i++) {
        const gn_ctl_option *o = &gn_ctl_options[i];
        const char *value = !ctl->given[i] && o->env ? env(o->env) : NULL;
        if (!ctl->given[i])
            ctl->values[i] = value && value[0] ? value : o->initial;
    }
}

gn_code gn_ctl_parse(int argc, char *const *argv, char *(*env)(const char *name), gn_ctl *out, gn_error *err)
{
    bool only_arguments = false;
    *out = (gn_ctl){0};
    for (int i = 1; i < argc; i++) {
        bool took_next = false;
        gn_code code = GN_OK;
        if (!only_arguments && strcmp(argv[i], "--") == 0)
            only_arguments = true;
        else if (!only_arguments && strcmp(argv[i], "-h") == 0)
            out->values[GN_OPT_HELP] = "";
        else if (!only_arguments && argv[i][0] == '-' && argv[i][1] == '-')
            code = take_option(out, argv[i], i + 1 < argc ? argv[i + 1] : NULL, &took_next, err);
        else if (!only_arguments && argv[i][0] == '-')
            code = gn_error_set(err, GN_CONFIGURATION, "there is no option %.60s", argv[i]);
        else
            code = take_argument(out, argv[i], err);
        if (code != GN_OK)
            return code;
        i += took_next;
    }
    out->given[GN_OPT_HELP] = gn_ctl_has(out, GN_OPT_HELP);
    if (gn_ctl_has(out, GN_OPT_HELP) || gn_ctl_has(out, GN_OPT_VERSION))
        return GN_OK;
    fill_in(out, env);
    return check(out, err);
}

/* ---- help ---- */

static void help_options(gn_buf *out, const gn_ctl_command *command, bool own)
{
    for (int i = 0; i < GN_CTL_N_OPTIONS; i++) {
        const gn_ctl_option *o = &gn_ctl_options[i];
        char flag[64];
        if (!gn_ctl_takes(command, (gn_ctl_option_id)i) || (i > GN_OPT_VERSION) != own)
            continue;
        snprintf(flag, sizeof flag, "--%s %s", o->flag, o->meta ? o->meta : "");
        gn_buf_printf(out, "  %-26s %s", flag, o->doc);
        if (o->initial)
            gn_buf_printf(out, " (default: %s)", o->initial);
        if (o->env)
            gn_buf_printf(out, " [%s]", o->env);
        gn_buf_append_str(out, "\n");
    }
}

static void help_program(gn_buf *out)
{
    gn_buf_append_str(
        out, "gnomonctl: looks after a GnomonDB cluster\n\n  gnomonctl COMMAND [ARGUMENT]... [--OPTION]...\n\n");
    for (unsigned i = 0; i < gn_ctl_n_commands; i++) {
        char head[80];
        snprintf(head, sizeof head, "%s %s", gn_ctl_commands[i].name, gn_ctl_commands[i].args);
        gn_buf_printf(out, "  %-30s %s\n", head, gn_ctl_commands[i].summary);
    }
    gn_buf_append_str(out, "\nOptions of every command [environment]:\n");
    help_options(out, NULL, false);
    gn_buf_append_str(out, "\nExit codes:\n");
    for (int i = 0; i < 5; i++)
        gn_buf_printf(out, "  %d  %s\n", i, gn_ctl_exit_docs[i]);
    gn_buf_append_str(out, "\n`gnomonctl COMMAND --help` tells more of a command.\n");
}

void gn_ctl_help(gn_buf *out, const gn_ctl_command *command)
{
    if (!command) {
        help_program(out);
        return;
    }
    gn_buf_printf(out, "gnomonctl %s%s%s [--OPTION]...\n\n%s.\n\n%s\n", command->name, command->args[0] ? " " : "",
                  command->args, command->summary, command->text);
    if (command->n_own) {
        gn_buf_append_str(out, "\nOptions:\n");
        help_options(out, command, true);
    }
    gn_buf_append_str(out, "\nOptions of every command [environment]:\n");
    help_options(out, command, false);
}
