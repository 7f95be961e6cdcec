/* What a node keeps of parts of transactions that are not where their coordinator is: as coordinator, those on other
 * nodes; as server, those of others (part_server.c). */
#ifndef GN_CLUSTER_PARTS_PRIVATE_H
#define GN_CLUSTER_PARTS_PRIVATE_H

#include "cluster/hedges_private.h"
#include "cluster/part_private.h"
#include "net/rpc.h"

typedef struct gn_parts gn_parts;
typedef struct gn_part_server gn_part_server;

/* Answers the methods of parts from now on; the cluster has its gn_rpc. NULL: no thread can be had. */
gn_parts *gn_parts_start(gn_cluster *cluster);
/* Between gn_rpc_stop and gn_rpc_destroy: what is held for others is aborted. No transaction is open here. */
void gn_parts_stop(gn_parts *parts);
void gn_parts_free(gn_parts *parts); /* after gn_rpc_destroy; both: NULL is fine */
gn_part_server *gn_parts_server(gn_parts *parts);

/* ---- the coordinator's side ---- */
uint64_t gn_parts_incarnation(const gn_parts *parts);
uint64_t gn_parts_enter(gn_parts *parts, gn_remote_part *part); /* gives its number */
void gn_parts_leave(gn_parts *parts, gn_remote_part *part);
/* Its next request goes there. renumber: as another part, since one with its number may be elsewhere. */
void gn_parts_moves(gn_parts *parts, gn_remote_part *part, gn_node_id node, bool renumber);
/* The same part under another number elsewhere, and that it is that one from now on. */
uint64_t gn_parts_number(gn_parts *parts);
void gn_parts_becomes(gn_parts *parts, gn_remote_part *part, gn_node_id node, uint64_t number);
/* Tells the node that nobody wants this part any more. Does not block. */
void gn_parts_give_up(gn_parts *parts, gn_node_id node, uint64_t part);

/* Lists of parts: version, incarnation, numbers. */
typedef struct gn_part_list {
    uint64_t incarnation;
    uint32_t n;
    gn_reader numbers;
} gn_part_list;
bool gn_part_list_read(gn_bytes bytes, gn_part_list *out);

/* ---- part_server.c ---- */
enum { GN_PART_LEASE_S = 60, GN_PARTS_PER_PEER = 8192, GN_SCANS_PER_PART = 1024, GN_MARKS_PER_PART = 65536 };

gn_part_server *gn_part_server_start(gn_cluster *cluster);
void gn_part_server_sweep(gn_part_server *server); /* aborts what nobody has asked for in the time of a lease */
uint32_t gn_part_server_count(gn_part_server *server);
void gn_part_server_stop(gn_part_server *server);
void gn_part_server_free(gn_part_server *server);

/* ---- group_decide.c ---- */
void gn_group_decide_serve(gn_cluster *cluster);

/* ---- part_route.c ---- whom to ask for a group without a replica here */
typedef struct gn_routes gn_routes;
gn_routes *gn_routes_create(gn_cluster *cluster);
void gn_routes_free(gn_routes *routes);
gn_routes *gn_parts_routes(gn_parts *parts);
/* The group's leader if it is known, then the others that the placement names; those last that were silent and were not
 * heard since. Another with each try; 0: none is known. Never this node. */
gn_node_id gn_routes_pick(gn_routes *routes, uint64_t group_id, unsigned tries);
void gn_routes_silent(gn_routes *routes, gn_node_id node);
void gn_routes_heard(gn_routes *routes, gn_node_id node);
enum { GN_SILENT_NODES = 16 };
unsigned gn_routes_silent_nodes(gn_routes *routes, gn_node_id nodes[GN_SILENT_NODES]);
void gn_routes_leader(gn_routes *routes, uint64_t group_id, gn_node_id leader);

/* The same for a read of the past, which any replica may know all of: those in this node's zone come first, and
 * which is the first of all differs by node and group, so that all replicas have their share. */
gn_node_id gn_routes_pick_near(gn_routes *routes, uint64_t group_id, unsigned tries);
/* One that is not silent, and not this one; 0: none. */
gn_node_id gn_routes_other(gn_routes *routes, uint64_t group_id, gn_node_id node);
gn_hedges *gn_parts_hedges(gn_parts *parts);

/* What the placement says; another with each try; 0: nobody. */
gn_node_id gn_group_route(gn_cluster *cluster, uint64_t group_id, unsigned tries);

#endif
