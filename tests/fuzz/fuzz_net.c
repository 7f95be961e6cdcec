/* Any bytes as what a node hears: as a frame's head, hello, refusal and address, and over a real connection, before a
 * hello (an even first byte) and after one, as they are and as the payload of a frame that is right. The connection
 * ends and the node lives. */
#include "base/assert.h"
#include "base/log.h"
#include "net/frame_private.h"
#include "net/mesh.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

int LLVMFuzzerInitialize(int *argc, char ***argv);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static gn_world *world;
static gn_mesh *mesh;
static uint16_t port;
static const mesh_hello FRIEND = {.version_min = 1,
                                  .version_max = 1,
                                  .class = MESH_REQUESTS,
                                  .in_cluster = true,
                                  .from = 7,
                                  .to = 1,
                                  .incarnation = 5,
                                  .number = 1};

static void ignore(void *ctx, gn_node_id from, gn_bytes frame)
{
    (void)ctx;
    GN_ASSERT(from == 7 && (frame.len == 0 || frame.data));
}

int LLVMFuzzerInitialize(int *argc, char ***argv)
{
    (void)argc, (void)argv;
    gn_error err = {0};
    gn_log_configure(GN_LOG_OFF, false, STDERR_FILENO);
    world = gn_world_real_create(&(gn_world_options){.threads = 2, .node_id = 1});
    gn_net_listen(world, 2, gn_queue_create(world, "ignore"), ignore, NULL);
    gn_mesh_options options = {.listen = "127.0.0.1:0", .cluster_id = "00000000000000000000000000000000"};
    if (gn_mesh_open(world, &options, &mesh, &err) != GN_OK)
        abort();
    port = (uint16_t)strtoul(strrchr(gn_mesh_address(mesh), ':') + 1, NULL, 10);
    return 0;
}

static void parse(gn_bytes bytes)
{
    mesh_head head;
    mesh_hello hello, again;
    unsigned refusal, number;
    char words[MESH_MAX_REASON], host[64], address[64];
    if (bytes.len >= MESH_HEAD_BYTES && !gn_mesh_head_read(bytes.data, &head)) {
        GN_ASSERT(head.length <= GN_MAX_NET_FRAME);
        gn_mesh_head_matches(&head, gn_bytes_of(bytes.data + MESH_HEAD_BYTES, bytes.len - MESH_HEAD_BYTES));
    }
    if (!gn_mesh_hello_read(bytes, &hello)) {
        gn_buf out;
        gn_buf_init(&out, NULL, MESH_MAX_CONTROL);
        gn_mesh_hello_write(&out, &hello);
        const char *wrong =
            gn_mesh_hello_read(gn_bytes_of(out.data + MESH_HEAD_BYTES, out.len - MESH_HEAD_BYTES), &again);
        GN_ASSERT(!wrong && again.from == hello.from && again.number == hello.number && again.class < MESH_CLASSES);
        gn_buf_close(&out);
    }
    if (gn_mesh_refusal_read(bytes, &refusal, words))
        GN_ASSERT(strlen(words) < MESH_MAX_REASON && gn_mesh_refusal_name(refusal));
    size_t n = bytes.len < sizeof address - 1 ? bytes.len : sizeof address - 1;
    memcpy(address, n ? bytes.data : (const uint8_t *)"", n);
    address[n] = 0;
    if (gn_mesh_address_split(address, host, sizeof host, &number))
        GN_ASSERT(number <= 65535 && !strchr(host, '/'));
}

static void put(int fd, const void *data, size_t size)
{
    for (const char *p = data; size > 0;) {
        ssize_t n = send(fd, p, size, MSG_NOSIGNAL);
        if (n <= 0)
            return;
        p += n;
        size -= (size_t)n;
    }
}

static void speak(gn_bytes bytes, bool after_hello)
{
    uint8_t head[MESH_HEAD_BYTES], answer[4096];
    struct sockaddr_in to = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK), .sin_port = htons(port)};
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (fd < 0 || connect(fd, (struct sockaddr *)&to, sizeof to) != 0) {
        if (fd < 0 || errno != EADDRNOTAVAIL) /* so many ports may wait for the end of their last connections */
            abort();
        close(fd);
        return;
    }
    if (after_hello) {
        gn_buf hello;
        gn_buf_init(&hello, NULL, MESH_MAX_CONTROL);
        gn_mesh_hello_write(&hello, &FRIEND);
        put(fd, hello.data, hello.len);
        gn_buf_close(&hello);
        if (bytes.len % 2) { /* as they are; else as a frame of some kind */
            gn_mesh_head_write(head, (mesh_kind)(bytes.data[0] % 8), 2, bytes);
            put(fd, head, sizeof head);
        }
    }
    put(fd, bytes.data, bytes.len);
    shutdown(fd, SHUT_WR);
    while (recv(fd, answer, sizeof answer, 0) > 0)
        ;
    close(fd);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size == 0)
        return 0;
    gn_bytes bytes = gn_bytes_of(data + 1, size - 1);
    parse(bytes);
    speak(bytes, data[0] & 1);
    return 0;
}
