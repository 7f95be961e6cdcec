/* Every command and option of gnomonctl, once: parsing, --help, shell completion and man pages are made from these
 * tables (options.c, completion.c, manual.c). */
#ifndef GN_OPS_OPTIONS_H
#define GN_OPS_OPTIONS_H

#include "base/buf.h"

/* X(name, flag, metavariable (NULL: it is there or not), environment, default, what it is). Those of every command come
 * first, up to VERSION. */
#define GN_CTL_OPTIONS(X)                                                                              \
    X(ADDRESS, "address", "HOST:PORT,...", "GNOMON_ADDRESS", "127.0.0.1:7433",                         \
      "cluster_listen addresses of nodes; the first that answers is asked")                            \
    X(CA, "ca", "FILE", "GNOMON_TLS_CA", NULL, "certificate of the cluster's authority (PEM)")         \
    X(CERT, "cert", "FILE", "GNOMON_TLS_CERT", NULL, "certificate to show, signed by that authority")  \
    X(KEY, "key", "FILE", "GNOMON_TLS_KEY", NULL, "its private key")                                   \
    X(INSECURE, "insecure", NULL, NULL, NULL, "speak without TLS over more than loopback")             \
    X(TIMEOUT, "timeout", "SECONDS", "GNOMON_TIMEOUT", "10", "how long to wait for a node, 1 to 3600") \
    X(JSON, "json", NULL, NULL, NULL, "print JSON")                                                    \
    X(YES, "yes", NULL, NULL, NULL, "do not ask before something dangerous")                           \
    X(VERBOSE, "verbose", NULL, NULL, NULL, "also print the log of the connection, to standard error") \
    X(HELP, "help", NULL, NULL, NULL, "what the command does")                                         \
    X(VERSION, "version", NULL, NULL, NULL, "the program's version")                                   \
    X(ONCE, "once", NULL, NULL, NULL, "print once and end")                                            \
    X(INTERVAL, "interval", "SECONDS", NULL, "2", "between two looks, 1 to 3600")                      \
    X(NO_WAIT, "no-wait", NULL, NULL, NULL, "return when it has begun")                                \
    X(DRY_RUN, "dry-run", NULL, NULL, NULL, "only say what is going to be done")                       \
    X(WATCH, "watch", NULL, NULL, NULL, "wait until it is done, with a progress bar on a terminal")    \
    X(FORCE, "force", NULL, NULL, NULL, "even if what the node holds can then have too few replicas")  \
    X(INTO, "into", "GROUP", NULL, NULL, "the neighbour that takes the rows, not the smaller one")     \
    X(FINISH, "finish", NULL, NULL, NULL, "end the upgrade: from then on nobody can go back")          \
    X(LOST, "lost", "NODE,...", NULL, NULL, "nodes that are lost for ever: all that do not answer")    \
    X(LOSE_DATA, "yes-i-lose-data", NULL, NULL, NULL, "what is typed otherwise: data may be lost")     \
    X(DAYS, "days", "N", NULL, "825", "how long the certificate is good, 1 to 36500")                  \
    X(HOSTS, "hosts", "NAME,...", NULL, NULL, "names and addresses that the node is reached by")       \
    X(NAME, "name", "TEXT", NULL, NULL, "common name of the certificate")                              \
    X(DIR, "dir", "DIR", NULL, ".", "where files are read and written")                                \
    X(ROWS, "rows", "N", NULL, "20000", "rows compared at a time, 1 to 1048576")                       \
    X(OUT, "out", "PATH", NULL, NULL, "what to write")

typedef enum gn_ctl_option_id {
#define GN_CTL_ENUM(name, ...) GN_OPT_##name,
    GN_CTL_OPTIONS(GN_CTL_ENUM)
#undef GN_CTL_ENUM
        GN_CTL_N_OPTIONS
} gn_ctl_option_id;

typedef struct gn_ctl_option {
    const char *flag, *meta, *env, *initial, *doc;
} gn_ctl_option;
extern const gn_ctl_option gn_ctl_options[GN_CTL_N_OPTIONS];

enum { GN_CTL_MAX_ARGS = 4, GN_CTL_MAX_OWN = 8 };

/* Exit codes, as documented. */
typedef enum gn_ctl_exit {
    GN_EXIT_OK = 0,
    GN_EXIT_FAILED = 1,
    GN_EXIT_USAGE = 2,
    GN_EXIT_UNREACHABLE = 3,
    GN_EXIT_UNHEALTHY = 4
} gn_ctl_exit;
extern const char *const gn_ctl_exit_docs[5];

typedef struct gn_ctl gn_ctl;
typedef struct gn_ctl_command {
    const char *name;
    const char *args; /* "GROUP NODE"; brackets around those that may be left out; "" = none */
    const char *summary;
    const char *text;                     /* paragraphs for --help and the man page */
    gn_ctl_option_id own[GN_CTL_MAX_OWN]; /* besides those of every command */
    unsigned n_own;
    const char *words;       /* "ca|node|client": what the first argument may be; NULL = anything */
    int (*run)(gn_ctl *ctl); /* gives a gn_ctl_exit */
} gn_ctl_command;
extern const gn_ctl_command gn_ctl_commands[];
extern const unsigned gn_ctl_n_commands;

/* A command line, taken apart. */
struct gn_ctl {
    const gn_ctl_command *command;
    const char *values[GN_CTL_N_OPTIONS]; /* NULL: not given, and no default; a flag: "" when given */
    bool given[GN_CTL_N_OPTIONS];         /* on the command line */
    unsigned n_args;
    const char *args[GN_CTL_MAX_ARGS];
};

/* GN_CONFIGURATION with what is wrong. With --help or --version nothing else is checked. env: getenv, or a test's. */
gn_code gn_ctl_parse(int argc, char *const *argv, char *(*env)(const char *name), gn_ctl *out, gn_error *err);
bool gn_ctl_has(const gn_ctl *ctl, gn_ctl_option_id option); /* a flag was given */
/* A number within bounds, from an option or an argument. GN_CONFIGURATION. */
gn_code gn_ctl_number(const char *what, const char *text, uint64_t least, uint64_t most, uint64_t *out, gn_error *err);
const gn_ctl_command *gn_ctl_find(const char *name); /* NULL: none */
bool gn_ctl_takes(const gn_ctl_command *command, gn_ctl_option_id option);
void gn_ctl_arg_bounds(const gn_ctl_command *command, unsigned *least, unsigned *most);

/* Texts made from the tables. */
void gn_ctl_help(gn_buf *out, const gn_ctl_command *command); /* NULL: of the program */
bool gn_ctl_completion(gn_buf *out, const char *shell);       /* bash, zsh, fish; false: another */
void gn_ctl_manual(gn_buf *out, const gn_ctl_command *command, const char *version); /* NULL: gnomonctl(1) */

#endif
