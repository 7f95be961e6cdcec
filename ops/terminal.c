#include "ops/commands.h"
#include "ops/text.h"

#include <stdio.h>
#include <string.h>
#include <unistd.h>

static bool bar_is_there;

bool gn_ctl_print(const gn_buf *text)
{
    if (!text->failed && fwrite(text->data, 1, text->len, stdout) == text->len && fflush(stdout) == 0)
        return true;
    fprintf(stderr, "gnomonctl: the output could not be written\n");
    return false;
}

bool gn_ctl_is_asked(void)
{
    return isatty(STDIN_FILENO);
}

bool gn_ctl_confirm(const gn_ctl *ctl, const char *question)
{
    char answer[16] = "";
    if (gn_ctl_has(ctl, GN_OPT_YES))
        return true;
    if (!gn_ctl_is_asked()) {
        fprintf(stderr, "gnomonctl: %s This needs --yes.\n", question);
        return false;
    }
    fprintf(stderr, "%s [y/N] ", question);
    if (fgets(answer, sizeof answer, stdin) && (strcmp(answer, "y\n") == 0 || strcmp(answer, "yes\n") == 0))
        return true;
    fprintf(stderr, "gnomonctl: nothing was done\n");
    return false;
}

void gn_ctl_progress(uint64_t done, uint64_t whole, const char *words)
{
    enum { WIDTH = 30 };
    char bar[WIDTH + 1], percent[32];
    if (!isatty(STDERR_FILENO))
        return;
    uint64_t filled = whole ? (uint64_t)((double)done / (double)whole * WIDTH) : WIDTH;
    for (unsigned i = 0; i < WIDTH; i++)
        bar[i] = i < filled ? '#' : '.';
    bar[WIDTH] = '\0';
    fprintf(stderr, "\r[%s] %4s  %.60s\x1b[K", bar, gn_text_percent(done, whole, percent), words);
    bar_is_there = true;
}

void gn_ctl_progress_end(void)
{
    if (bar_is_there)
        fputc('\n', stderr);
    bar_is_there = false;
}

void gn_ctl_pause(gn_world *world, uint64_t ms)
{
    gn_event never;
    gn_event_init(&never, world);
    gn_event_wait(&never, gn_now_ns(world) + ms * 1000000);
}
