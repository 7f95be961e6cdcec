/* gnomonctl: looks after a cluster. */
#include "base/log.h"
#include "ops/commands.h"

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

enum { MAX_TEXT = 1 << 20 };

static int help(const gn_ctl_command *command)
{
    gn_buf text;
    gn_buf_init(&text, NULL, MAX_TEXT);
    gn_ctl_help(&text, command);
    bool fine = gn_ctl_print(&text);
    gn_buf_close(&text);
    return fine ? GN_EXIT_OK : GN_EXIT_FAILED;
}

int main(int argc, char **argv)
{
    gn_ctl ctl;
    gn_error err = {0};
    signal(SIGPIPE, SIG_IGN);
    if (gn_ctl_parse(argc, argv, getenv, &ctl, &err) != GN_OK) {
        gn_ctl_complain(&ctl, &err);
        fprintf(stderr, "gnomonctl: `gnomonctl %s%s--help` tells what there is\n", ctl.command ? ctl.command->name : "",
                ctl.command ? " " : "");
        return GN_EXIT_USAGE;
    }
    if (gn_ctl_has(&ctl, GN_OPT_HELP))
        return help(ctl.command);
    if (gn_ctl_has(&ctl, GN_OPT_VERSION))
        return puts("gnomonctl (GnomonDB) " GN_VERSION) < 0;
    gn_log_configure(gn_ctl_has(&ctl, GN_OPT_VERBOSE) ? GN_LOG_DEBUG : GN_LOG_OFF, false, STDERR_FILENO);
    return ctl.command->run(&ctl);
}
