/* The table of commands. */
#include "ops/commands.h"

#define OWN(...) .own = {__VA_ARGS__}, .n_own = sizeof((gn_ctl_option_id[]){__VA_ARGS__}) / sizeof(gn_ctl_option_id)

const gn_ctl_command gn_ctl_commands[] = {
    {.name = "init",
     .args = "",
     .summary = "Prints a configuration file to begin with",
     .text = "The file is for gnomond --config. Nothing that is there is overwritten.",
     OWN(GN_OPT_OUT),
     .run = gn_cmd_init},
    {.name = "join",
     .args = "",
     .summary = "Prints the command with which another node joins",
     .text = "The new node needs an empty data directory and a certificate of the cluster's authority.",
     .run = gn_cmd_join},
    {.name = "cert",
     .args = "KIND",
     .summary = "Makes certificates: of an authority, a node, or an operator",
     .text = "ca makes ca.pem and ca.key. node makes NAME.pem and NAME.key, good for --hosts, signed by ca.pem and "
             "ca.key of the same directory. client makes gnomonctl.pem and gnomonctl.key, or --name, for this "
             "program. Nothing that is there is overwritten.\n\n"
             "ca.key is what the cluster's safety hangs on. It is needed to make certificates only: keep it off the "
             "nodes.",
     OWN(GN_OPT_DIR, GN_OPT_NAME, GN_OPT_HOSTS, GN_OPT_DAYS),
     .words = "ca|node|client",
     .run = gn_cmd_cert},
    {.name = "status",
     .args = "",
     .summary = "Is the cluster well?",
     .text = "Asks every node through the one it is connected to, and says what is wrong. Exit code 4 if something "
             "is. It needs no majority.",
     .run = gn_cmd_status},
    {.name = "nodes",
     .args = "",
     .summary = "Lists the nodes",
     .text = "REPLICAS counts the groups of which a node is a member, LEADS those that it leads. MEMORY is what the "
             "process has resident.",
     .run = gn_cmd_nodes},
    {.name = "shards",
     .args = "",
     .summary = "Lists the groups and their replicas",
     .text = "Replicas are named by their nodes: (2) does not answer, 3+ does not vote yet. BEHIND is how many log "
             "entries the slowest replica lacks, or how far a snapshot's install has come.",
     .run = gn_cmd_shards},
    {.name = "top",
     .args = "",
     .summary = "Shows what nodes and groups do, again and again",
     .text = "IN and OUT are what a node hears from and says to other nodes. ENTRIES are of a group's log. With --once "
             "or --json it looks twice, prints and ends.",
     OWN(GN_OPT_ONCE, GN_OPT_INTERVAL),
     .run = gn_cmd_top},
    {.name = "transfer-leader",
     .args = "GROUP NODE",
     .summary = "Has a group's leader hand over to another replica",
     .text = "The replica must vote. Commits pause for about a round trip. From then on the node is the one that "
             "should lead "
             "the group: it does while it is up.",
     .run = gn_cmd_transfer},
    {.name = "move",
     .args = "GROUP FROM TO",
     .summary = "Moves a replica of a group from one node to another",
     .text =
         "The new replica is added and catches up before the old one is removed. Refused while an earlier change of "
         "the group is not finished. Waits until it is done; who ends the waiting does not end the move. What "
         "upsets the balance is moved back by the balancer.",
     OWN(GN_OPT_NO_WAIT),
     .run = gn_cmd_move},
    {.name = "rebalance",
     .args = "",
     .summary = "Shows which replicas are to be moved, and watches it",
     .text = "The cluster balances itself: replicas leave nodes that are draining or gone, then they are spread, a few "
             "groups at a time. This prints what is to be done now; --watch waits until nothing is.",
     OWN(GN_OPT_DRY_RUN, GN_OPT_WATCH),
     .run = gn_cmd_rebalance},
    {.name = "drain",
     .args = "NODE",
     .summary = "Moves everything off a node",
     .text = "The node is draining from then on: it gets no new replicas, and those that it has are moved. Waits until "
             "it holds nothing; who ends the waiting does not end the draining.",
     OWN(GN_OPT_NO_WAIT, GN_OPT_FORCE),
     .run = gn_cmd_drain},
    {.name = "undrain",
     .args = "NODE",
     .summary = "Has a draining node take part again",
     .text = "What was moved off comes back only as the balance asks for it.",
     .run = gn_cmd_undrain},
    {.name = "decommission",
     .args = "NODE",
     .summary = "Drains a node, then takes it out of the cluster for ever",
     .text =
         "Also for a node that is dead: its replicas are made anew from the others. When it is done the process can "
         "be stopped and its data directory removed. The machine may join again as a new node.",
     OWN(GN_OPT_FORCE),
     .run = gn_cmd_decommission},
    {.name = "upgrade",
     .args = "",
     .summary = "Shows how far an upgrade is, and ends it",
     .text = "Without --finish it lists which program each node runs and what cluster versions it can do. While nodes "
             "of two releases run, and after that until the upgrade is finished, the newer ones write and say nothing "
             "that the older ones do not understand: each node can go back to the release that it had.\n\n"
             "--finish raises the cluster's version to what every node can do. It is refused while a node does not "
             "answer or still runs the older release. Older programs are refused from then on, by the other nodes and "
             "on the nodes' own disks.",
     OWN(GN_OPT_FINISH),
     .run = gn_cmd_upgrade},
    {.name = "split",
     .args = "GROUP [SLOT]",
     .summary = "Splits a group in two",
     .text =
         "Rows of slots from SLOT on, or of the upper half, become a group of their own, on the same nodes; the "
         "balancer spreads it later. Statements go on: for a second or so those on these rows wait, and transactions "
         "that were open over it are told to be run again (40001). Each replica then removes the rows of the other "
         "half, in the background; waits until that is done; who ends the waiting does not end it. Refused while "
         "members of the group are changing, and if transactions over several groups do not let it in for a second.",
     OWN(GN_OPT_NO_WAIT),
     .run = gn_cmd_split},
    {.name = "merge",
     .args = "GROUP",
     .summary = "Merges a small group into its neighbour",
     .text =
         "The group's rows are copied, with their history, into the group that has the slots beside its own, and the "
         "group ends; returns when the placement says so. Statements on its rows wait meanwhile, a second for some "
         "tens of MiB; transactions that were open over it are told to be run again (40001). It is for small groups: "
         "one of more than 256 MiB, older versions of rows included, is refused. Refused, too, while an earlier split "
         "or merge of either is not "
         "finished, and if transactions over several groups do not let it in for a second: nothing is changed then. "
         "What does not come to its end in time goes on by itself.",
     OWN(GN_OPT_INTO),
     .run = gn_cmd_merge},
    {.name = "check",
     .args = "[TABLE]",
     .summary = "Compares the replicas of every group, and their indexes with their rows",
     .text =
         "Each replica computes checksums of all rows as of one SCN, in its own store, piece by piece, and compares "
         "each of its indexes, vector indexes too, with its rows at that SCN. Differences are reported with group, "
         "table and nodes. Exit code 4 if there are any, or if a replica could not be read. It reads everything: "
         "expect the load of some full scans on each node.",
     OWN(GN_OPT_ROWS),
     .run = gn_cmd_check},
    {.name = "recover",
     .args = "",
     .summary = "Goes on with what is left when a majority is lost for ever",
     .text =
         "Without --lost it changes nothing: it lists what the nodes that are left have of each group (term and index "
         "of the last log entry, SCN that was applied), which groups have lost their majority, and which replica "
         "has the longest log. Exit code 4 if there are any.\n\n"
         "With --lost, naming every node that does not answer, each such group goes on with that replica alone; "
         "other replicas that are left follow it. The nodes start again, as a new cluster that the lost ones "
         "cannot come back into; those are gone for ever. THIS LOSES DATA: commits that only the lost nodes had. "
         "It says after which SCN they may be missing. What it asks is answered by typing, or by "
         "--yes-i-lose-data.\n\n"
         "Then start new nodes, so that there are enough for the replicas. A group of which nothing is left "
         "stays lost.",
     OWN(GN_OPT_LOST, GN_OPT_LOSE_DATA),
     .run = gn_cmd_recover},
    {.name = "debug",
     .args = "",
     .summary = "Writes a directory that helps to understand the cluster from afar",
     .text =
         "It has the state of all nodes and groups, and each node's metrics and configuration; no rows and no keys.",
     OWN(GN_OPT_OUT),
     .run = gn_cmd_debug},
    {.name = "completion",
     .args = "SHELL",
     .summary = "Prints what completes this program's command lines in a shell",
     .text = "For instance: gnomonctl completion bash >/etc/bash_completion.d/gnomonctl",
     OWN(GN_OPT_OUT),
     .words = "bash|zsh|fish",
     .run = gn_cmd_completion},
    {.name = "man",
     .args = "[COMMAND]",
     .summary = "Prints a man page, or writes all of them",
     .text = "With --out all pages are written into that directory.",
     OWN(GN_OPT_OUT),
     .run = gn_cmd_man},
};
const unsigned gn_ctl_n_commands = sizeof gn_ctl_commands / sizeof *gn_ctl_commands;
