/* Every size that a peer or a user can influence has its limit here, checked before memory is reserved. X(name, value,
 * unit, what it bounds) so that docs/configuration.md can be compared with it by a test. */
#ifndef GN_BASE_LIMITS_H
#define GN_BASE_LIMITS_H

#include <stdint.h>

#define GN_LIMIT_TABLE(X)                                                                             \
    X(GN_MAX_FRAME, 256u << 20, "bytes", "one message of the PostgreSQL wire protocol")               \
    X(GN_MAX_STARTUP_FRAME, 10000u, "bytes", "the start-up message of a connection")                  \
    X(GN_MAX_STATEMENT, 16u << 20, "bytes", "one SQL text")                                           \
    X(GN_MAX_NESTING, 200u, "levels", "nesting of expressions, parentheses, JSON and arrays")         \
    X(GN_MAX_PARAMETERS, 65535u, "parameters", "parameters of one statement")                         \
    X(GN_MAX_COLUMNS, 1600u, "columns", "columns of a table or of a result")                          \
    X(GN_MAX_INDEX_COLUMNS, 32u, "columns", "columns of an index or key")                             \
    X(GN_MAX_NAME, 63u, "bytes", "an identifier")                                                     \
    X(GN_MAX_DIMENSIONS, 16000u, "dimensions", "a vector")                                            \
    X(GN_MAX_FIELD, 64u << 20, "bytes", "one value of a row")                                         \
    X(GN_MAX_ROW, 128u << 20, "bytes", "one encoded row")                                             \
    X(GN_MAX_KEY, 8192u, "bytes", "one encoded key of a table or index")                              \
    X(GN_MAX_TXN, 256u << 20, "bytes", "the buffered writes of one transaction")                      \
    X(GN_MAX_ENTRY, 512u << 20, "bytes", "one Raft log entry")                                        \
    X(GN_MAX_K, 100000u, "rows", "k of a nearest-neighbour search")                                   \
    X(GN_MAX_EF, 100000u, "candidates", "ef of a nearest-neighbour search")                           \
    X(GN_MAX_HNSW_M, 128u, "links", "m of an HNSW index")                                             \
    X(GN_MAX_EF_CONSTRUCTION, 10000u, "candidates", "ef_construction of an HNSW index")               \
    X(GN_MAX_CONNECTIONS, 10000u, "connections", "upper bound of max_connections")                    \
    X(GN_MAX_PREPARED, 10000u, "statements", "prepared statements of one session")                    \
    X(GN_MAX_PORTALS, 10000u, "portals", "open portals of one session")                               \
    X(GN_MAX_NUMERIC_DIGITS, 131072u, "digits", "a numeric before or after the decimal point")        \
    X(GN_MAX_ARRAY_ITEMS, 1u << 24, "items", "one array")                                             \
    X(GN_MAX_RAFT_MESSAGE, 8u << 20, "bytes", "entries in one AppendEntries, beyond its first entry") \
    X(GN_MAX_RAFT_MANIFEST, 16u << 20, "bytes", "the manifest of a Raft snapshot")                    \
    X(GN_MAX_SNAPSHOT_FILES, 100000u, "files", "one snapshot of a replica")                           \
    X(GN_MAX_SNAPSHOT_CHUNK, 1u << 20, "bytes", "a piece of a snapshot's file as it travels")         \
    X(GN_MAX_NET_FRAME, 544u << 20, "bytes", "one frame between nodes")                               \
    X(GN_MAX_RPC, 528u << 20, "bytes", "a request between nodes, or its answer")                      \
    X(GN_MAX_PEERS, 64u, "servers", "members of one Raft group")                                      \
    X(GN_MAX_HTTP_HEADER, 16384u, "bytes", "the header of one HTTP request")                          \
    X(GN_MAX_CONFIG_FILE, 1u << 20, "bytes", "a configuration file")

enum gn_limit {
#define GN_LIMIT_ENUM(name, value, unit, what) name = (int)(value),
    GN_LIMIT_TABLE(GN_LIMIT_ENUM)
#undef GN_LIMIT_ENUM
};

_Static_assert(GN_MAX_STATEMENT <= GN_MAX_FRAME, "a statement fits a frame");
_Static_assert(GN_MAX_FIELD <= GN_MAX_ROW, "a field fits a row");
_Static_assert(GN_MAX_ROW <= GN_MAX_TXN, "a row fits a transaction");
_Static_assert(GN_MAX_TXN < GN_MAX_ENTRY, "a transaction with its framing fits a log entry");
_Static_assert(GN_MAX_ENTRY < GN_MAX_RPC, "a log entry with its framing fits a request");
_Static_assert(GN_MAX_RPC < GN_MAX_NET_FRAME && GN_MAX_ENTRY + GN_MAX_RAFT_MESSAGE < GN_MAX_NET_FRAME &&
                   GN_MAX_RAFT_MANIFEST < GN_MAX_NET_FRAME,
               "what nodes say to each other fits a frame");
_Static_assert(GN_MAX_SNAPSHOT_CHUNK < GN_MAX_RPC, "a piece of a snapshot fits an answer");
_Static_assert(GN_MAX_DIMENSIONS * 4u <= GN_MAX_FIELD, "a vector fits a field");

#endif
