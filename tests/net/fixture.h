/* Nodes on loopback, what arrives at them, and bare sockets that play a bad node. */
#ifndef GN_TESTS_NET_FIXTURE_H
#define GN_TESTS_NET_FIXTURE_H

#include "net/frame_private.h"
#include "net/mesh.h"
#include "tests/base/cmocka_all.h"

#include <pthread.h>

#define CLUSTER "00112233445566778899aabbccddeeff"
#define OTHER_CLUSTER "ffeeddccbbaa99887766554433221100"

/* Frames of one channel: a number that ascends, a sum of what follows, then anything. */
typedef struct inbox {
    gn_world *world;
    gn_queue *queue;
    uint8_t channel;
    pthread_mutex_t lock;
    pthread_cond_t opened;
    bool shut; /* handlers wait */
    size_t frames, bytes, disorder, damaged, target;
    size_t gone;   /* empty ones: that the peer is gone */
    uint64_t last; /* number */
    gn_node_id from;
    bool waited_for;
    gn_event event;
} inbox;

typedef struct node {
    gn_world *world;
    gn_mesh *mesh;
    gn_node_id id;
    inbox inboxes[4]; /* by channel, 1 ... 3 */
} node;

/* options: NULL for a plain member of CLUSTER; `listen` is set here. */
void node_open(node *n, gn_node_id id, const gn_mesh_options *options);
void node_close(node *n);
void node_reopen(node *n, const gn_mesh_options *options); /* another incarnation, at another address */
void introduce(node *a, node *b);                          /* each knows the other's address */

void send_number(node *from, gn_node_id to, uint8_t channel, uint64_t number, size_t len);
/* Until so many frames have come in all; false after two minutes. */
bool inbox_wait(node *n, uint8_t channel, size_t frames);
void inbox_shut(node *n, uint8_t channel, bool shut);
size_t inbox_frames(node *n, uint8_t channel);

/* Asks again and again, for up to two minutes. */
bool eventually(node *n, bool (*holds)(node *n, void *ctx), void *ctx);
gn_mesh_peer_status peer_status(node *n, gn_node_id id); /* id 0 in it: not known */

uint64_t refusals(const char *by, const char *reason);
gn_code contact(node *n, const char *address, gn_node_id *id, gn_error *err);

/* ---- bare sockets ---- */

int raw_connect(const node *n);
int raw_listen(char *address, size_t size);
int raw_reserve(char *address, size_t size); /* nobody listens there, and nobody else can as long as it is open */
void raw_write(int fd, const void *data, size_t len);
/* Until the other side closes; false after two minutes without a byte. What came is in `out`. */
bool raw_read_to_end(int fd, gn_buf *out);
/* The refusal that is in these bytes; false: none. */
bool find_refusal(gn_bytes bytes, unsigned *refusal, char *words);

#endif
