/* Shell completion, from the tables of options.h. */
#include "ops/options.h"

#include <stdio.h>
#include <string.h>

static bool is_file(const gn_ctl_option *o)
{
    return o->meta && (strcmp(o->meta, "FILE") == 0 || strcmp(o->meta, "DIR") == 0 || strcmp(o->meta, "PATH") == 0);
}

static void words(gn_buf *out, const char *choices)
{
    for (const char *p = choices; *p; p++)
        gn_buf_append_u8(out, *p == '|' ? ' ' : (uint8_t)*p);
}

/* Between single quotes, of any shell. */
static void quoted(gn_buf *out, const char *text)
{
    gn_buf_append_u8(out, '\'');
    for (const char *p = text; *p; p++)
        if (*p == '\'')
            gn_buf_append_str(out, "'\\''");
        else
            gn_buf_append_u8(out, (uint8_t)*p);
    gn_buf_append_u8(out, '\'');
}

static void flags(gn_buf *out, const gn_ctl_command *command)
{
    for (int i = 0; i < GN_CTL_N_OPTIONS; i++)
        if (gn_ctl_takes(command, (gn_ctl_option_id)i))
            gn_buf_printf(out, " --%s", gn_ctl_options[i].flag);
}

static void bash(gn_buf *out)
{
    gn_buf_append_str(
        out, "# bash completion for gnomonctl\n_gnomonctl()\n{\n"
             "    local cur=\"${COMP_WORDS[COMP_CWORD]}\" prev=\"${COMP_WORDS[COMP_CWORD-1]}\" command=\"\" i\n"
             "    for ((i = 1; i < COMP_CWORD; i++)); do\n"
             "        [[ \"${COMP_WORDS[i]}\" != -* ]] && { command=\"${COMP_WORDS[i]}\"; break; }\n"
             "    done\n    case \"$prev\" in\n");
    for (int i = 0; i < GN_CTL_N_OPTIONS; i++)
        if (gn_ctl_options[i].meta)
            gn_buf_printf(out, "    --%s) %s; return;;\n", gn_ctl_options[i].flag,
                          is_file(&gn_ctl_options[i]) ? "mapfile -t COMPREPLY < <(compgen -f -- \"$cur\")"
                                                      : "COMPREPLY=()");
    gn_buf_append_str(out, "    esac\n    local words=\"\"\n    case \"$command\" in\n    \"\") words=\"");
    for (unsigned i = 0; i < gn_ctl_n_commands; i++)
        gn_buf_printf(out, "%s%s", i ? " " : "", gn_ctl_commands[i].name);
    flags(out, NULL);
    gn_buf_append_str(out, "\";;\n");
    for (unsigned i = 0; i < gn_ctl_n_commands; i++) {
        gn_buf_printf(out, "    %s) words=\"", gn_ctl_commands[i].name);
        if (gn_ctl_commands[i].words)
            words(out, gn_ctl_commands[i].words);
        flags(out, &gn_ctl_commands[i]);
        gn_buf_append_str(out, "\";;\n");
    }
    gn_buf_append_str(out, "    esac\n    mapfile -t COMPREPLY < <(compgen -W \"$words\" -- \"$cur\")\n}\n"
                           "complete -F _gnomonctl gnomonctl\n");
}

static void zsh_option(gn_buf *out, const gn_ctl_option *o)
{
    char text[300];
    size_t n = 0;
    for (const char *p = o->doc; *p && n < sizeof text - 3; p++) {
        if (*p == '[' || *p == ']' || *p == ':')
            text[n++] = '\\';
        text[n++] = *p;
    }
    text[n] = '\0';
    gn_buf_append_str(out, " \\\n            ");
    char spec[400];
    snprintf(spec, sizeof spec, "--%s[%s]%s%s%s", o->flag, text, o->meta ? ":" : "", o->meta ? o->flag : "",
             !o->meta     ? ""
             : is_file(o) ? ":_files"
                          : ":");
    quoted(out, spec);
}

static void zsh(gn_buf *out)
{
    gn_buf_append_str(out, "#compdef gnomonctl\n_gnomonctl()\n{\n    local -a commands\n    commands=(\n");
    for (unsigned i = 0; i < gn_ctl_n_commands; i++) {
        char item[300];
        snprintf(item, sizeof item, "%s:%s", gn_ctl_commands[i].name, gn_ctl_commands[i].summary);
        gn_buf_append_str(out, "        ");
        quoted(out, item);
        gn_buf_append_str(out, "\n");
    }
    gn_buf_append_str(out,
                      "    )\n    if (( CURRENT == 2 )); then\n        _describe command commands\n        return\n"
                      "    fi\n    local command=$words[2]\n    shift words\n    (( CURRENT-- ))\n"
                      "    case $command in\n");
    for (unsigned i = 0; i < gn_ctl_n_commands; i++) {
        const gn_ctl_command *c = &gn_ctl_commands[i];
        gn_buf_printf(out, "    %s)\n        _arguments", c->name);
        if (c->words) {
            gn_buf_append_str(out, " '1:what:(");
            words(out, c->words);
            gn_buf_append_str(out, ")'");
        }
        for (int o = 0; o < GN_CTL_N_OPTIONS; o++)
            if (gn_ctl_takes(c, (gn_ctl_option_id)o))
                zsh_option(out, &gn_ctl_options[o]);
        gn_buf_append_str(out, "\n        ;;\n");
    }
    gn_buf_append_str(out, "    esac\n}\n_gnomonctl \"$@\"\n");
}

static void fish(gn_buf *out)
{
    gn_buf_append_str(out, "# fish completion for gnomonctl\ncomplete -c gnomonctl -f\n");
    for (unsigned i = 0; i < gn_ctl_n_commands; i++) {
        const gn_ctl_command *c = &gn_ctl_commands[i];
        gn_buf_printf(out, "complete -c gnomonctl -n __fish_use_subcommand -a %s -d ", c->name);
        quoted(out, c->summary);
        gn_buf_append_str(out, "\n");
        if (c->words) {
            gn_buf_printf(out, "complete -c gnomonctl -n '__fish_seen_subcommand_from %s' -a '", c->name);
            words(out, c->words);
            gn_buf_append_str(out, "'\n");
        }
        for (unsigned o = 0; o < c->n_own; o++) {
            const gn_ctl_option *option = &gn_ctl_options[c->own[o]];
            gn_buf_printf(out, "complete -c gnomonctl -n '__fish_seen_subcommand_from %s' -l %s%s -d ", c->name,
                          option->flag,
                          !option->meta     ? ""
                          : is_file(option) ? " -r -F"
                                            : " -x");
            quoted(out, option->doc);
            gn_buf_append_str(out, "\n");
        }
    }
    for (int i = 0; i <= GN_OPT_VERSION; i++) {
        gn_buf_printf(out, "complete -c gnomonctl -l %s%s -d ", gn_ctl_options[i].flag,
                      !gn_ctl_options[i].meta       ? ""
                      : is_file(&gn_ctl_options[i]) ? " -r -F"
                                                    : " -x");
        quoted(out, gn_ctl_options[i].doc);
        gn_buf_append_str(out, "\n");
    }
}

bool gn_ctl_completion(gn_buf *out, const char *shell)
{
    if (strcmp(shell, "bash") == 0)
        bash(out);
    else if (strcmp(shell, "zsh") == 0)
        zsh(out);
    else if (strcmp(shell, "fish") == 0)
        fish(out);
    else
        return false;
    return true;
}
