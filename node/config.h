/* The configuration of gnomond: defaults, then the file, then the environment, then the command line. */
#ifndef GN_NODE_CONFIG_H
#define GN_NODE_CONFIG_H

#include "base/buf.h"
#include "base/limits.h"
#include "node/options.h"

enum { GN_OPTION_TEXT = 1024 };

typedef struct gn_config {
#define GN_FIELD_TEXT(name, ...) char name[GN_OPTION_TEXT];
#define GN_FIELD_INT(name, ...) int64_t name;
    GN_OPTION_TABLE(GN_FIELD_TEXT, GN_FIELD_INT, GN_FIELD_TEXT)
#undef GN_FIELD_TEXT
#undef GN_FIELD_INT
    int ready_fd; /* --ready-fd: where to say that the node is ready; -1 = nowhere */
    enum { GN_RUN_SERVER, GN_RUN_HELP, GN_RUN_VERSION, GN_RUN_DOCS, GN_RUN_SURVEY, GN_RUN_FORCE } run;
} gn_config;

/* Reads everything. argv as main's. GN_CONFIGURATION with the file and line, variable or argument at fault. */
gn_code gn_config_load(int argc, char **argv, gn_config *out, gn_error *err);

/* One file on top of what `config` holds (gn_config_load does it for --config). */
gn_code gn_config_defaults(gn_config *config, gn_error *err);
gn_code gn_config_read_file(gn_config *config, const char *path, gn_error *err);

bool gn_config_help(gn_buf *out); /* --help */
bool gn_config_docs(gn_buf *out); /* docs/configuration.md */
/* Every option as a TOML file has it; for operators' reports. No option holds a secret: keys are named by file. */
bool gn_config_write(const gn_config *config, gn_buf *out);

/* "host:port" or "[host]:port" into its parts. GN_CONFIGURATION unless host is a loopback address or "localhost". */
gn_code gn_config_loopback(const char *option, const char *address, char *host, size_t host_size, int *port,
                           gn_error *err);

#endif
