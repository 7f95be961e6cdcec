/* Where the other nodes are, remembered in the file PEERS. What the placement says of it is in the meta group's log,
 * of which a node that starts has applied next to nothing before a leader speaks to it. After an outage of all nodes
 * somebody has to find the others without.
 *
 * A hint only: a file that is damaged or out of date costs a node that has to be found by the others; so it is read
 * with a warning and never refused. */
#include "base/log.h"
#include "cluster/cluster_private.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <xxhash.h>

enum { MAX_FILE = 1 << 20, MAX_PEERS = 1024 };
#define HEAD "gnomondb-peers 1\n"

typedef struct peer {
    gn_node_id id;
    char address[256];
} peer;

struct gn_peers {
    peer list[MAX_PEERS];
    size_t n;
    bool dirty; /* the file says something else */
};

static peer *find(gn_peers *peers, gn_node_id id)
{
    for (size_t i = 0; i < peers->n; i++)
        if (peers->list[i].id == id)
            return &peers->list[i];
    return NULL;
}

/* An address that cannot stand in a line is not remembered. */
static bool fits(const char *address)
{
    size_t n = strlen(address);
    if (n == 0 || n >= sizeof((peer *)0)->address)
        return false;
    for (size_t i = 0; i < n; i++)
        if ((unsigned char)address[i] <= ' ' || address[i] == 0x7f)
            return false;
    return true;
}

bool gn_peers_put(gn_peers *peers, gn_node_id id, const char *address)
{
    peer *p = find(peers, id);
    if (p && strcmp(p->address, address) == 0)
        return false;
    if (!fits(address)) {
        if (p)
            *p = peers->list[--peers->n];
        peers->dirty |= p != NULL;
        return p != NULL;
    }
    if (!p && peers->n == MAX_PEERS)
        return false;
    if (!p)
        p = &peers->list[peers->n++];
    p->id = id;
    memcpy(p->address, address, strlen(address) + 1);
    return peers->dirty = true;
}

size_t gn_peers_each(const gn_peers *peers, void (*fn)(void *ctx, gn_node_id id, const char *address), void *ctx)
{
    for (size_t i = 0; i < peers->n; i++)
        fn(ctx, peers->list[i].id, peers->list[i].address);
    return peers->n;
}

/* "gnomondb-peers 1\n3 host:port\n...check 89ab...\n" */
static bool parse(gn_peers *peers, char *text, size_t n)
{
    char check[32], *last = n > 23 ? text + n - 23 : NULL; /* "check ", 16 digits, "\n" */
    if (!last || strlen(text) != n || strncmp(text, HEAD, strlen(HEAD)) != 0)
        return false;
    snprintf(check, sizeof check, "check %016llx\n", (unsigned long long)XXH3_64bits(text, n - 23));
    if (strcmp(last, check) != 0)
        return false;
    *last = '\0';
    char *line, *rest = text + strlen(HEAD);
    while ((line = strsep(&rest, "\n")) && line[0]) {
        char *address;
        gn_node_id id = strtoull(line, &address, 10);
        if (id == 0 || *address++ != ' ' || !fits(address))
            return false;
        gn_peers_put(peers, id, address);
    }
    return true;
}

gn_peers *gn_peers_read(const char *data_dir)
{
    gn_peers *peers = gn_xcalloc(1, sizeof *peers);
    char path[4096];
    FILE *f = (size_t)snprintf(path, sizeof path, "%s/PEERS", data_dir) < sizeof path ? fopen(path, "re") : NULL;
    if (!f)
        return peers;
    char *text = gn_xcalloc(1, MAX_FILE);
    size_t n = fread(text, 1, MAX_FILE - 1, f);
    bool ok = !ferror(f) && parse(peers, text, n);
    fclose(f);
    free(text);
    if (!ok) {
        gn_log_warn("cluster", "where other nodes are is not known: the file is damaged", GN_KV_STR("file", path));
        peers->n = 0;
    }
    peers->dirty = !ok;
    return peers;
}

gn_code gn_peers_write(gn_peers *peers, const char *data_dir, gn_error *err)
{
    if (!peers->dirty)
        return GN_OK;
    gn_buf text;
    char line[320];
    gn_buf_init(&text, NULL, MAX_FILE);
    gn_buf_append(&text, HEAD, strlen(HEAD));
    for (size_t i = 0; i < peers->n; i++) {
        int n = snprintf(line, sizeof line, "%" PRIu64 " %s\n", peers->list[i].id, peers->list[i].address);
        gn_buf_append(&text, line, (size_t)n);
    }
    gn_bytes body = gn_buf_bytes(&text);
    int n = snprintf(line, sizeof line, "check %016llx\n", (unsigned long long)XXH3_64bits(body.data, body.len));
    gn_buf_append(&text, line, (size_t)n + 1);
    gn_code code = text.failed ? gn_error_set(err, GN_RESOURCES, "too many nodes to remember")
                               : gn_put_file(data_dir, "PEERS", (const char *)text.data, err);
    peers->dirty = code != GN_OK;
    gn_buf_close(&text);
    return code;
}

void gn_cluster_remember(const char *data_dir, gn_node_id id, const char *address)
{
    gn_error err = {0};
    gn_peers *peers = gn_peers_read(data_dir);
    gn_peers_put(peers, id, address);
    if (gn_peers_write(peers, data_dir, &err) != GN_OK)
        gn_log_warn("cluster", "where another node is could not be remembered", GN_KV_STR("error", err.message));
    free(peers);
}
