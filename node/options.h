/* Every option of gnomond, once: the configuration structure, TOML keys, environment variables, command line, --help
 * and docs/configuration.md are made from this table (node/config.c).
 *
 *   S(name, default, metavariable, what it is)                 a text
 *   I(name, default, least, greatest, unit, what it is)        a whole number
 *   E(name, default, "choice|choice", what it is)              one of a few words */
#ifndef GN_NODE_OPTIONS_H
#define GN_NODE_OPTIONS_H

#define GN_OPTION_TABLE(S, I, E)                                                                                     \
    S(data_dir, "gnomon-data", "DIR", "directory of the database; made if it is not there; one process at a time")   \
    S(listen, "127.0.0.1:5433", "HOST:PORT",                                                                         \
      "address of the PostgreSQL wire protocol; loopback only until there are accounts; port 0 takes any free one")  \
    S(http_listen, "127.0.0.1:8433", "HOST:PORT", "address of /health, /ready and /metrics; empty for none")         \
    S(cluster_listen, "", "HOST:PORT", "address for the other nodes of a cluster; empty for a node by itself")       \
    S(cluster_address, "", "HOST:PORT", "where other nodes find this one; empty is what cluster_listen says")        \
    S(join, "", "HOST:PORT,...", "nodes to ask to be let into their cluster; heeded with an empty data_dir only")    \
    S(zone, "", "NAME", "failure domain; the replicas of a row are kept in different ones where that can be")        \
    S(tls_ca, "", "FILE", "certificate of the cluster's authority (PEM); with tls_cert and tls_key nodes speak TLS") \
    S(tls_cert, "", "FILE", "certificate of this node")                                                              \
    S(tls_key, "", "FILE", "private key of this node")                                                               \
    E(cluster_insecure, "no", "no|yes", "whether nodes may speak without TLS over more than loopback")               \
    I(max_connections, 200, 1, GN_MAX_CONNECTIONS, "connections", "more are refused with SQLSTATE 53300")            \
    I(memory_limit_mb, 512, 32, 1 << 20, "MiB", "hard budget of caches, vector indexes, transactions and queries")   \
    I(statement_memory_mb, 0, 0, 1 << 20, "MiB", "budget of one statement; 0 is a quarter of memory_limit_mb")       \
    I(retention_s, 3600, 1, 315360000, "seconds", "old row versions are kept at least so long")                      \
    I(copy_rate_mb, 100, 1, 1 << 20, "MiB/s",                                                                        \
      "a replica that is copied to this node takes at most so much of its links and disk")                           \
    I(group_split_mb, 0, 0, 1 << 30, "MiB", "a group of a spread table with more is split in two; 0 is never")       \
    I(group_split_rate, 0, 0, 1 << 30, "commits/s",                                                                  \
      "a group of a spread table with more for half a minute is split in two; 0 is never")                           \
    I(group_merge_mb, 0, 0, 256, "MiB",                                                                              \
      "neighbouring groups of a split table that have less together are merged into one; 0 is never")                \
    I(hedge_percent, 5, 0, 50, "%",                                                                                  \
      "of reads on other nodes, so many may be asked of a second replica when the first is slow; 0 is none")         \
    I(shutdown_grace_s, 10, 0, 3600, "seconds", "after SIGTERM running statements have so long to end")              \
    I(busy_poll_us, 50, 0, 1000, "microseconds",                                                                     \
      "the next statement of a client that asks again at once is so long waited for without sleeping; 0 is never")   \
    I(threads, 0, 0, 256, "threads", "that drain the internal queues; 0 is one for each core, at least 2")           \
    E(log_level, "info", "debug|info|warn|error|off", "least level of log lines; they go to standard error")         \
    E(log_format, "text", "text|json", "form of log lines")

#endif
