/* What each command does: gn_ctl_command.run. */
#ifndef GN_OPS_COMMANDS_H
#define GN_OPS_COMMANDS_H

#include "ops/client.h"
#include "ops/model.h"
#include "ops/options.h"

/* ---- look.c ---- */
int gn_cmd_status(gn_ctl *ctl);
int gn_cmd_nodes(gn_ctl *ctl);
int gn_cmd_shards(gn_ctl *ctl);
int gn_cmd_top(gn_ctl *ctl);
/* The cluster as of now; NULL: *status says why, and it was said. Release what is given after the model was closed. */
json_t *gn_ctl_look(const gn_ctl *ctl, gn_ctl_client *client, gn_model *model, int *status);
json_t *gn_ctl_try_look(gn_ctl_client *client, gn_model *model); /* NULL, and nothing is said */

/* ---- change.c ---- */
int gn_cmd_transfer(gn_ctl *ctl);
int gn_cmd_drain(gn_ctl *ctl);
int gn_cmd_undrain(gn_ctl *ctl);
int gn_cmd_decommission(gn_ctl *ctl);
int gn_cmd_move(gn_ctl *ctl);
int gn_cmd_rebalance(gn_ctl *ctl);
int gn_cmd_split(gn_ctl *ctl);
int gn_cmd_merge(gn_ctl *ctl);

/* ---- upgrade.c ---- */
int gn_cmd_upgrade(gn_ctl *ctl);

/* ---- check.c, debug.c ---- */
int gn_cmd_check(gn_ctl *ctl);
int gn_cmd_debug(gn_ctl *ctl);

/* ---- recover.c ---- */
int gn_cmd_recover(gn_ctl *ctl);

/* ---- setup.c ---- */
int gn_cmd_init(gn_ctl *ctl);
int gn_cmd_join(gn_ctl *ctl);
int gn_cmd_cert(gn_ctl *ctl);
int gn_cmd_completion(gn_ctl *ctl);
int gn_cmd_man(gn_ctl *ctl);

/* ---- terminal.c ---- */
bool gn_ctl_print(const gn_buf *text); /* to standard output; false, and said, when it cannot be written */
/* On a terminal asks the question; --yes answers it. False: no, and said. */
bool gn_ctl_confirm(const gn_ctl *ctl, const char *question);
bool gn_ctl_is_asked(void); /* there is somebody at a terminal */
/* A bar on standard error, if that is a terminal; done of whole, and a few words. */
void gn_ctl_progress(uint64_t done, uint64_t whole, const char *words);
void gn_ctl_progress_end(void);
void gn_ctl_pause(gn_world *world, uint64_t ms);

#endif
