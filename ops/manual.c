/* Man pages, from the tables of options.h: gnomonctl(1), and gnomonctl-COMMAND(1) for each command. */
#include "ops/options.h"

#include <ctype.h>
#include <stdio.h>
#include <string.h>

/* roff's own characters are escaped; a line may not begin with a dot or a quote. */
static void text(gn_buf *out, const char *s)
{
    bool start = true;
    for (const char *p = s; *p; p++) {
        if (start && (*p == '.' || *p == '\''))
            gn_buf_append_str(out, "\\&");
        if (*p == '\\')
            gn_buf_append_str(out, "\\e");
        else if (*p == '-')
            gn_buf_append_str(out, "\\-");
        else if (*p == '\n' && p[1] == '\n') {
            gn_buf_append_str(out, "\n.PP\n");
            p++;
        } else
            gn_buf_append_u8(out, (uint8_t)*p);
        start = *p == '\n';
    }
    gn_buf_append_str(out, "\n");
}

static void head(gn_buf *out, const char *name, const char *summary, const char *version)
{
    char upper[64];
    size_t n = 0;
    for (; name[n] && n < sizeof upper - 1; n++)
        upper[n] = (char)toupper((unsigned char)name[n]);
    upper[n] = '\0';
    gn_buf_printf(out, ".TH %s 1 \"\" \"GnomonDB %s\" \"GnomonDB\"\n.SH NAME\n", upper, version);
    text(out, name);
    gn_buf_append_str(out, "\\- ");
    text(out, summary);
}

static void options(gn_buf *out, const gn_ctl_command *command, bool own)
{
    for (int i = 0; i < GN_CTL_N_OPTIONS; i++) {
        const gn_ctl_option *o = &gn_ctl_options[i];
        if (!gn_ctl_takes(command, (gn_ctl_option_id)i) || (i > GN_OPT_VERSION) != own)
            continue;
        gn_buf_append_str(out, ".TP\n\\fB\\-\\-");
        for (const char *p = o->flag; *p; p++)
            gn_buf_printf(out, *p == '-' ? "\\%c" : "%c", *p);
        gn_buf_printf(out, "\\fR%s%s%s\n", o->meta ? " \\fI" : "", o->meta ? o->meta : "", o->meta ? "\\fR" : "");
        text(out, o->doc);
        if (o->initial)
            gn_buf_printf(out, "(default: %s)\n", o->initial);
        if (o->env)
            gn_buf_printf(out, "[environment: %s]\n", o->env);
    }
}

static void of_program(gn_buf *out, const char *version)
{
    head(out, "gnomonctl", "looks after a GnomonDB cluster", version);
    gn_buf_append_str(out,
                      ".SH SYNOPSIS\n.B gnomonctl\n\\fICOMMAND\\fR [\\fIARGUMENT\\fR]... [\\fB\\-\\-OPTION\\fR]...\n"
                      ".SH COMMANDS\n");
    for (unsigned i = 0; i < gn_ctl_n_commands; i++) {
        const gn_ctl_command *c = &gn_ctl_commands[i];
        gn_buf_printf(out, ".TP\n\\fB%s\\fR %s\n", c->name, c->args);
        text(out, c->summary);
        gn_buf_printf(out, "See \\fBgnomonctl\\-%s\\fR(1).\n", c->name);
    }
    gn_buf_append_str(out, ".SH OPTIONS\nOf every command.\n");
    options(out, NULL, false);
    gn_buf_append_str(out, ".SH EXIT STATUS\n");
    for (int i = 0; i < 5; i++)
        gn_buf_printf(out, ".TP\n%d\n%s\n", i, gn_ctl_exit_docs[i]);
    gn_buf_append_str(out, ".SH SEE ALSO\n\\fBgnomond\\fR \\-\\-help, docs/operations.md\n");
}

void gn_ctl_manual(gn_buf *out, const gn_ctl_command *command, const char *version)
{
    char name[64];
    if (!command) {
        of_program(out, version);
        return;
    }
    snprintf(name, sizeof name, "gnomonctl-%s", command->name);
    head(out, name, command->summary, version);
    gn_buf_printf(out, ".SH SYNOPSIS\n.B gnomonctl %s\n%s [\\fB\\-\\-OPTION\\fR]...\n.SH DESCRIPTION\n", command->name,
                  command->args);
    text(out, command->text);
    if (command->n_own) {
        gn_buf_append_str(out, ".SH OPTIONS\n");
        options(out, command, true);
    }
    gn_buf_append_str(out, ".SH OPTIONS OF EVERY COMMAND\n");
    options(out, command, false);
    gn_buf_append_str(out, ".SH SEE ALSO\n\\fBgnomonctl\\fR(1)\n");
}
