/* Peers, how they are dialled, and who is let in. */
#include "net/mesh.h"

#include "base/assert.h"
#include "base/log.h"
#include "net/mesh_private.h"

#include <stdio.h>
#include <stdlib.h>

#define MS 1000000ull

static void on_retry(void *arg);
static void on_dialled(void *arg);

static void aio_create(nng_aio **aio, void (*callback)(void *), void *arg)
{
    int rv = nng_aio_alloc(aio, callback, arg);
    GN_ASSERT(rv == 0); /* as for all small structures */
}

static void aio_destroy(nng_aio *aio)
{
    if (aio)
        nng_aio_stop(aio);
    nng_aio_free(aio);
}

/* ---- peers ---- */

/* Where `id` is or belongs. */
static size_t peer_index(const gn_mesh *mesh, gn_node_id id)
{
    size_t low = 0, high = mesh->n_peers;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        if (mesh->peers[middle]->id < id)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

mesh_peer *gn_mesh_peer_find(gn_mesh *mesh, gn_node_id id)
{
    size_t at = peer_index(mesh, id);
    return at < mesh->n_peers && mesh->peers[at]->id == id ? mesh->peers[at] : NULL;
}

mesh_peer *gn_mesh_peer_make(gn_mesh *mesh, gn_node_id id)
{
    size_t at = peer_index(mesh, id);
    if (at < mesh->n_peers && mesh->peers[at]->id == id)
        return mesh->peers[at];
    if (mesh->n_peers == MESH_MAX_PEERS)
        return NULL;
    if (mesh->n_peers == mesh->peers_cap) {
        mesh->peers_cap = mesh->peers_cap ? 2 * mesh->peers_cap : 16;
        mesh->peers = gn_xrealloc(mesh->peers, mesh->peers_cap * sizeof *mesh->peers);
    }
    mesh_peer *peer = gn_xcalloc(1, sizeof *peer);
    peer->mesh = mesh;
    peer->id = id;
    for (unsigned i = 0; i < MESH_CLASSES; i++) {
        mesh_link *link = &peer->links[i];
        link->peer = peer;
        link->class = (mesh_class)i;
        aio_create(&link->retry, on_retry, link);
    }
    memmove(mesh->peers + at + 1, mesh->peers + at, (mesh->n_peers - at) * sizeof(mesh_peer *));
    mesh->peers[at] = peer;
    mesh->n_peers++;
    return peer;
}

static void peer_destroy(mesh_peer *peer)
{
    for (unsigned i = 0; i < MESH_CLASSES; i++) {
        aio_destroy(peer->links[i].retry);
        gn_mesh_outbounds_free(&peer->links[i].waiting);
    }
    if (peer->tls)
        nng_tls_config_free(peer->tls);
    free(peer);
}

void gn_mesh_peer_set_address(mesh_peer *peer, const char *address)
{
    gn_mesh *mesh = peer->mesh;
    if (strcmp(peer->address, address) == 0)
        return;
    snprintf(peer->address, sizeof peer->address, "%s", address);
    if (peer->tls)
        nng_tls_config_free(peer->tls);
    peer->tls = NULL;
    for (unsigned i = 0; i < MESH_CLASSES; i++) {
        mesh_link *link = &peer->links[i];
        link->failures = 0;
        link->next_try_ns = 0;
        if (link->retrying)
            nng_aio_abort(link->retry, NNG_ECANCELED); /* wakes it */
    }
    for (mesh_dial *dial = mesh->dials; dial; dial = dial->next)
        if (dial->link && dial->link->peer == peer)
            nng_aio_abort(dial->aio, NNG_ECANCELED); /* it was to the old one */
}

/* Whoever knocks all the time with the same fault does not fill the log. */
void gn_mesh_note(gn_mesh *mesh, mesh_peer *peer, const char *where, const char *words)
{
    char *last = peer ? peer->last_error : mesh->last_words;
    size_t size = peer ? sizeof peer->last_error : sizeof mesh->last_words;
    uint64_t now = gn_now_ns(mesh->world);
    if (strncmp(last, words, size - 1) == 0 && (peer || now - mesh->last_words_ns < 10000 * MS))
        return;
    if (!peer)
        mesh->last_words_ns = now;
    snprintf(last, size, "%s", words);
    /* A stranger's end is no news: it asked something and went. */
    gn_log_level level = peer && peer->id >= GN_MESH_STRANGER ? GN_LOG_DEBUG : GN_LOG_WARN;
    GN_LOG(level, "net", "no connection", GN_KV_U64("node", peer ? peer->id : 0), GN_KV_STR("address", where),
           GN_KV_STR("reason", words));
}

/* ---- dials ---- */

void gn_mesh_contact_resolve(mesh_contact *contact, gn_code code, gn_node_id id, const char *words)
{
    if (contact->resolved)
        return;
    contact->resolved = true;
    contact->code = code;
    contact->id = id;
    snprintf(contact->words, sizeof contact->words, "%s", words);
    gn_event_signal(&contact->event);
}

/* A task: waits for the callbacks of the dialer to return. */
static void clean_up_dial(gn_task *task)
{
    mesh_dial *dial = GN_CONTAINER(task, mesh_dial, cleanup);
    gn_mesh *mesh = dial->mesh;
    if (dial->dialer) {
        nng_stream_dialer_close(dial->dialer);
        aio_destroy(dial->aio);
        nng_stream_dialer_free(dial->dialer);
    } else {
        aio_destroy(dial->aio);
    }
    free(dial);
    pthread_mutex_lock(&mesh->lock);
    if (--mesh->n_dials == 0)
        pthread_cond_broadcast(&mesh->gone);
    pthread_mutex_unlock(&mesh->lock);
}

static void dial_remove(mesh_dial *dial)
{
    mesh_dial **at = &dial->mesh->dials;
    while (*at != dial)
        at = &(*at)->next;
    *at = dial->next;
    gn_queue_post(dial->mesh->cleanup, &dial->cleanup);
}

static void gone_done(gn_net_frame *frame)
{
    free(frame);
}

static bool has_connection(const mesh_peer *peer)
{
    for (const mesh_connection *c = peer->mesh->connections; c; c = c->next)
        if (c->peer == peer && (c->state == MESH_UP || c->state == MESH_DRAINING))
            return true;
    return false;
}

/* Its machine answers that nobody listens there. Whom we hear has a wrong address, and is there. */
static void tell_gone(mesh_peer *peer)
{
    static const uint8_t channels[] = {MESH_CHANNEL_RAFT, MESH_CHANNEL_REQUESTS};
    if (has_connection(peer))
        return;
    for (unsigned i = 0; i < sizeof channels; i++) {
        gn_net_frame *frame = gn_xcalloc(1, sizeof *frame);
        *frame = (gn_net_frame){.from = peer->id, .channel = channels[i], .done = gone_done};
        gn_world_real_receive(peer->mesh->world, frame);
    }
}

static void dial_failed(mesh_dial *dial, const char *words)
{
    gn_mesh_note(dial->mesh, dial->link ? dial->link->peer : NULL, dial->address, words);
    if (dial->contact)
        gn_mesh_contact_resolve(dial->contact, GN_CONNECTION_FAILURE, 0, words);
    if (dial->link) {
        dial->link->dialling = false;
        gn_mesh_link_failed(dial->link);
    }
}

static void on_dialled(void *arg)
{
    mesh_dial *dial = arg;
    gn_mesh *mesh = dial->mesh;
    pthread_mutex_lock(&mesh->lock);
    int rv = nng_aio_result(dial->aio);
    nng_stream *stream = rv == 0 ? nng_aio_get_output(dial->aio, 0) : NULL;
    if (stream && !mesh->closing && (dial->link || dial->contact))
        gn_mesh_connection_open(mesh, stream, dial->address, true, dial->link, dial->contact);
    else if (stream)
        nng_stream_free(stream);
    else if (!mesh->closing)
        dial_failed(dial, rv == NNG_ECANCELED ? "it is no longer wanted there" : nng_strerror(rv));
    if (rv == NNG_ECONNREFUSED && !mesh->closing && dial->link)
        tell_gone(dial->link->peer);
    dial_remove(dial);
    pthread_mutex_unlock(&mesh->lock);
}

/* A dialer for the address, TLS and all; NULL and words if there is none. `tls`: kept there for the next time, or made
 * for this time if NULL. */
static nng_stream_dialer *dialer_create(const gn_mesh *mesh, const char *address, nng_tls_config **kept,
                                        const char **words)
{
    char host[MESH_ADDRESS], url[MESH_ADDRESS + 16];
    unsigned port;
    nng_stream_dialer *dialer = NULL;
    nng_tls_config *tls = kept ? *kept : NULL;
    if (!gn_mesh_address_split(address, host, sizeof host, &port) || port == 0) {
        *words = "the address is not host:port";
        return NULL;
    }
    if (!mesh->tls && !mesh->insecure && !gn_mesh_is_loopback(host)) {
        *words = "without TLS only loopback addresses are connected to";
        return NULL;
    }
    snprintf(url, sizeof url, "%s://%s", mesh->tls ? "tls+tcp" : "tcp", address);
    int rv = nng_stream_dialer_alloc(&dialer, url);
    if (rv == 0 && mesh->tls && !tls)
        rv = gn_tls_config_create(&mesh->identity, NNG_TLS_MODE_CLIENT, host, &tls);
    if (rv == 0 && mesh->tls)
        rv = nng_stream_dialer_set_ptr(dialer, NNG_OPT_TLS_CONFIG, tls);
    if (tls && kept)
        *kept = tls;
    else if (tls)
        nng_tls_config_free(tls);
    if (rv != 0) {
        *words = nng_strerror(rv);
        nng_stream_dialer_free(dialer);
        return NULL;
    }
    nng_stream_dialer_set_bool(dialer, NNG_OPT_TCP_NODELAY, true);
    nng_stream_dialer_set_bool(dialer, NNG_OPT_TCP_KEEPALIVE, true);
    return dialer;
}

static mesh_dial *dial_start(gn_mesh *mesh, const char *address, mesh_link *link, mesh_contact *contact)
{
    const char *words = NULL;
    mesh_dial *dial = gn_xcalloc(1, sizeof *dial);
    dial->cleanup.run = clean_up_dial;
    dial->mesh = mesh;
    dial->link = link;
    dial->contact = contact;
    snprintf(dial->address, sizeof dial->address, "%s", address);
    dial->next = mesh->dials;
    mesh->dials = dial;
    mesh->n_dials++;
    if (link)
        link->dialling = true;
    dial->dialer = dialer_create(mesh, address, link ? &link->peer->tls : NULL, &words);
    if (!dial->dialer) {
        dial_failed(dial, words);
        dial_remove(dial);
        return NULL;
    }
    aio_create(&dial->aio, on_dialled, dial);
    nng_aio_set_timeout(dial->aio, MESH_DIAL_MS);
    nng_stream_dialer_dial(dial->dialer, dial->aio);
    return dial;
}

/* ---- links ---- */

static void on_retry(void *arg)
{
    mesh_link *link = arg;
    gn_mesh *mesh = link->peer->mesh;
    pthread_mutex_lock(&mesh->lock);
    link->retrying = false;
    gn_mesh_link_kick(link);
    pthread_mutex_unlock(&mesh->lock);
}

void gn_mesh_link_kick(mesh_link *link)
{
    mesh_peer *peer = link->peer;
    gn_mesh *mesh = peer->mesh;
    if (mesh->closing)
        return;
    if (link->up) {
        gn_mesh_connection_send(link->up);
        return;
    }
    uint64_t now = gn_now_ns(mesh->world);
    bool wanted = link->waiting.first || (link->used_ns && now - link->used_ns < MESH_USED_MS * MS);
    if (!wanted || !peer->address[0] || link->dialling || link->retrying)
        return;
    if (now < link->next_try_ns) {
        link->retrying = true;
        nng_sleep_aio((nng_duration)((link->next_try_ns - now) / MS + 1), link->retry);
    } else {
        dial_start(mesh, peer->address, link, NULL);
    }
}

void gn_mesh_link_failed(mesh_link *link)
{
    gn_mesh *mesh = link->peer->mesh;
    uint64_t wait = (uint64_t)MESH_RETRY_MIN_MS << (link->failures < 8 ? link->failures : 8);
    wait = (wait < MESH_RETRY_MAX_MS ? wait : MESH_RETRY_MAX_MS) * MS;
    link->failures++;
    link->next_try_ns = gn_now_ns(mesh->world) + wait / 2 + gn_random_u64(mesh->world) % (wait / 2 + 1);
    gn_mesh_link_kick(link);
}

static mesh_class class_of(uint8_t channel)
{
    return channel == MESH_CHANNEL_RAFT ? MESH_RAFT : channel == MESH_CHANNEL_BULK ? MESH_BULK : MESH_REQUESTS;
}

static void dropped(gn_mesh *mesh, mesh_peer *peer, size_t n)
{
    atomic_fetch_add(&peer->frames_dropped, n);
    gn_counter_add(mesh->dropped, n);
}

/* Room for a frame of this size, or it is dropped. One that is alone is taken whatever its size. */
static bool reserve(gn_mesh *mesh, gn_node_id to, uint8_t channel, size_t size, mesh_link **out)
{
    bool room = false;
    pthread_mutex_lock(&mesh->lock);
    mesh_peer *peer = mesh->closing ? NULL : gn_mesh_peer_find(mesh, to);
    if (peer) {
        mesh_link *link = &peer->links[class_of(channel)];
        room = link->queued == 0 || (link->queued < mesh->queue_bytes && size <= mesh->queue_bytes - link->queued);
        if (room)
            link->queued += size;
        else
            dropped(mesh, peer, 1);
        *out = link;
    }
    pthread_mutex_unlock(&mesh->lock);
    return room;
}

static void self_done(gn_net_frame *frame)
{
    free(GN_CONTAINER(frame, mesh_inbound, frame));
}

static bool send_to_self(gn_mesh *mesh, uint8_t channel, gn_bytes bytes)
{
    mesh_inbound *in = malloc(sizeof *in + bytes.len);
    if (!in)
        return false;
    if (bytes.len)
        memcpy(in->bytes, bytes.data, bytes.len);
    in->frame = (gn_net_frame){
        .from = mesh->self, .channel = channel, .bytes = gn_bytes_of(in->bytes, bytes.len), .done = self_done};
    gn_world_real_receive(mesh->world, &in->frame);
    return true;
}

/* The world's network. The copy and its checksum are made without the mutex. */
static bool mesh_send(void *ctx, gn_node_id to, uint8_t channel, gn_bytes bytes)
{
    gn_mesh *mesh = ctx;
    mesh_link *link = NULL;
    if (bytes.len == 0 || bytes.len > GN_MAX_NET_FRAME)
        return false;
    if (to == mesh->self)
        return send_to_self(mesh, channel, bytes);
    size_t size = MESH_HEAD_BYTES + bytes.len;
    if (!reserve(mesh, to, channel, size, &link))
        return false;
    mesh_outbound *frame = malloc(sizeof *frame + size);
    if (frame) {
        *frame = (mesh_outbound){.size = size};
        gn_mesh_head_write(frame->bytes, MESH_DATA, channel, bytes);
        if (bytes.len)
            memcpy(frame->bytes + MESH_HEAD_BYTES, bytes.data, bytes.len);
    }
    pthread_mutex_lock(&mesh->lock);
    link->used_ns = gn_now_ns(mesh->world);
    if (!frame) {
        link->queued -= size;
        dropped(mesh, link->peer, 1);
    } else {
        if (!link->waiting.first)
            link->waiting_ns = link->used_ns;
        gn_mesh_outbounds_append(&link->waiting, frame);
        gn_mesh_link_kick(link);
    }
    pthread_mutex_unlock(&mesh->lock);
    return frame != NULL;
}

/* Nobody wants a frame any more that could not be sent for so long, and its peer may be gone for good. */
static void link_tick(mesh_link *link, uint64_t now)
{
    gn_mesh *mesh = link->peer->mesh;
    if (link->up || !link->waiting.first || now < link->waiting_ns || now - link->waiting_ns < mesh->silence_ns)
        return;
    size_t bytes = 0;
    for (mesh_outbound *frame = link->waiting.first; frame; frame = frame->next)
        bytes += frame->size;
    link->queued -= bytes;
    dropped(mesh, link->peer, gn_mesh_outbounds_free(&link->waiting));
}

static void on_tick(void *arg)
{
    gn_mesh *mesh = arg;
    pthread_mutex_lock(&mesh->lock);
    uint64_t now = gn_now_ns(mesh->world);
    for (mesh_connection *c = mesh->connections; c; c = c->next)
        gn_mesh_connection_tick(c, now);
    for (size_t i = 0; i < mesh->n_peers; i++)
        for (unsigned k = 0; k < MESH_CLASSES; k++)
            link_tick(&mesh->peers[i]->links[k], now);
    if (!mesh->closing)
        nng_sleep_aio(mesh->tick_ms, mesh->tick);
    pthread_mutex_unlock(&mesh->lock);
}

/* ---- who comes ---- */

static void describe_remote(nng_stream *stream, char *out, size_t size)
{
    nng_sockaddr address;
    snprintf(out, size, "unknown");
    if (nng_stream_get_addr(stream, NNG_OPT_REMADDR, &address) != 0)
        return;
    if (address.s_family == NNG_AF_INET) {
        const uint8_t *b = (const uint8_t *)&address.s_in.sa_addr, *p = (const uint8_t *)&address.s_in.sa_port;
        snprintf(out, size, "%u.%u.%u.%u:%u", b[0], b[1], b[2], b[3], (unsigned)p[0] << 8 | p[1]);
    } else if (address.s_family == NNG_AF_INET6) {
        const uint8_t *b = (const uint8_t *)address.s_in6.sa_addr, *p = (const uint8_t *)&address.s_in6.sa_port;
        int n = snprintf(out, size, "[");
        for (unsigned i = 0; i < 16; i += 2)
            n += snprintf(out + n, size - (size_t)n, "%s%x", i ? ":" : "", (unsigned)b[i] << 8 | b[i + 1]);
        snprintf(out + n, size - (size_t)n, "]:%u", (unsigned)p[0] << 8 | p[1]);
    }
}

static void on_accepted(void *arg)
{
    gn_mesh *mesh = arg;
    int rv = nng_aio_result(mesh->accept);
    nng_stream *stream = rv == 0 ? nng_aio_get_output(mesh->accept, 0) : NULL;
    char where[MESH_ADDRESS] = "";
    if (stream)
        describe_remote(stream, where, sizeof where);
    pthread_mutex_lock(&mesh->lock);
    if (stream && !mesh->closing && mesh->n_half_open < MESH_MAX_HALF_OPEN)
        gn_mesh_connection_open(mesh, stream, where, false, NULL, NULL);
    else if (stream)
        nng_stream_free(stream);
    if (mesh->closing || rv == NNG_ECLOSED || rv == NNG_ECANCELED) {
        /* that was the last */
    } else if (rv == 0) {
        nng_stream_listener_accept(mesh->listener, mesh->accept);
    } else {
        gn_log_warn("net", "could not accept a connection", GN_KV_STR("error", nng_strerror(rv)));
        nng_sleep_aio(100, mesh->accept_pause); /* no descriptors: they do not come back at once */
    }
    pthread_mutex_unlock(&mesh->lock);
}

static void on_accept_pause(void *arg)
{
    gn_mesh *mesh = arg;
    pthread_mutex_lock(&mesh->lock);
    if (!mesh->closing)
        nng_stream_listener_accept(mesh->listener, mesh->accept);
    pthread_mutex_unlock(&mesh->lock);
}

static gn_code listen_on(gn_mesh *mesh, const gn_mesh_options *options, gn_error *err)
{
    char host[MESH_ADDRESS - 16], url[MESH_ADDRESS + 16];
    unsigned port;
    int rv, bound;
    if (!gn_mesh_address_split(options->listen, host, sizeof host, &port))
        return gn_error_set(err, GN_CONFIGURATION, "the address to listen on is not host:port: \"%.200s\"",
                            options->listen);
    if (!mesh->tls && !mesh->insecure && !gn_mesh_is_loopback(host)) {
        gn_error_set(err, GN_CONFIGURATION, "nodes would speak without TLS on \"%.200s\"", options->listen);
        gn_error_hint(err, "Configure certificates for connections between nodes, or listen on a loopback address.");
        return GN_CONFIGURATION;
    }
    snprintf(url, sizeof url, "%s://%s", mesh->tls ? "tls+tcp" : "tcp", options->listen);
    if ((rv = nng_stream_listener_alloc(&mesh->listener, url)) == 0 && mesh->tls) {
        nng_tls_config *tls = NULL;
        if ((rv = gn_tls_config_create(&mesh->identity, NNG_TLS_MODE_SERVER, NULL, &tls)) == 0) {
            rv = nng_stream_listener_set_ptr(mesh->listener, NNG_OPT_TLS_CONFIG, tls);
            nng_tls_config_free(tls);
        }
    }
    if (rv == 0) {
        nng_stream_listener_set_bool(mesh->listener, NNG_OPT_TCP_NODELAY, true);
        nng_stream_listener_set_bool(mesh->listener, NNG_OPT_TCP_KEEPALIVE, true);
        rv = nng_stream_listener_listen(mesh->listener);
    }
    if (rv == 0)
        rv = nng_stream_listener_get_int(mesh->listener, NNG_OPT_TCP_BOUND_PORT, &bound);
    if (rv != 0)
        return gn_error_set(err, rv == NNG_EADDRINVAL ? GN_CONFIGURATION : GN_IO, "could not listen on \"%.200s\": %s",
                            options->listen, nng_strerror(rv));
    snprintf(mesh->address, sizeof mesh->address, strchr(host, ':') ? "[%s]:%d" : "%s:%d", host, bound);
    return GN_OK;
}

/* ---- opening and closing ---- */

static bool parse_cluster(const char *text, uint8_t *out)
{
    if (strlen(text) != 32 || strspn(text, "0123456789abcdefABCDEF") != 32)
        return false;
    for (unsigned i = 0; i < 16; i++) {
        char pair[3] = {text[2 * i], text[2 * i + 1], 0};
        out[i] = (uint8_t)strtoul(pair, NULL, 16);
    }
    return true;
}

static gn_code configure(gn_mesh *mesh, const gn_mesh_options *options, gn_error *err)
{
    const char *cluster = options->cluster_id ? options->cluster_id : "";
    unsigned files = !!options->tls_ca + !!options->tls_cert + !!options->tls_key;
    mesh->in_cluster = cluster[0] != 0;
    if (mesh->in_cluster && !parse_cluster(cluster, mesh->cluster))
        return gn_error_set(err, GN_CONFIGURATION, "a cluster's id has 32 hexadecimal digits");
    if (!mesh->in_cluster && mesh->self < GN_MESH_STRANGER)
        return gn_error_set(err, GN_CONFIGURATION, "a node that is in no cluster has no number there yet");
    if (files != 0 && files != 3)
        return gn_error_set(err, GN_CONFIGURATION,
                            "TLS between nodes needs three files: authority, certificate and key");
    mesh->tls = files == 3;
    mesh->insecure = options->insecure;
    mesh->admit_strangers = options->admit_strangers;
    mesh->queue_bytes = options->queue_bytes ? options->queue_bytes : 64u << 20;
    mesh->hello_ns = (options->hello_ms ? options->hello_ms : 5000) * MS;
    mesh->silence_ns = (options->silence_ms ? options->silence_ms : 10000) * MS;
    uint64_t shorter_ns = mesh->hello_ns < mesh->silence_ns ? mesh->hello_ns : mesh->silence_ns;
    mesh->tick_ms = (nng_duration)(shorter_ns / MS / 20 + 1);
    if (mesh->tick_ms > MESH_TICK_MS)
        mesh->tick_ms = MESH_TICK_MS;
    return mesh->tls ? gn_tls_identity_load(&mesh->identity, options->tls_ca, options->tls_cert, options->tls_key, err)
                     : GN_OK;
}

static void register_metrics(gn_mesh *mesh)
{
    static const char BYTES[] = "Bytes between nodes.", FRAMES[] = "Frames between nodes.";
    mesh->bytes_in = gn_counter("gnomon_net_bytes_total", "direction=\"in\"", BYTES);
    mesh->bytes_out = gn_counter("gnomon_net_bytes_total", "direction=\"out\"", BYTES);
    mesh->frames_in = gn_counter("gnomon_net_frames_total", "direction=\"in\"", FRAMES);
    mesh->frames_out = gn_counter("gnomon_net_frames_total", "direction=\"out\"", FRAMES);
    mesh->dropped = gn_counter("gnomon_net_queue_dropped_frames_total", NULL,
                               "Frames dropped since too many waited for their node, or they waited too long.");
    mesh->open = gn_gauge("gnomon_net_connections", NULL, "Open connections between nodes.");
}

gn_code gn_mesh_open(gn_world *world, const gn_mesh_options *options, gn_mesh **out, gn_error *err)
{
    gn_mesh *mesh = gn_xcalloc(1, sizeof *mesh);
    mesh->world = world;
    mesh->self = gn_net_self(world);
    mesh->incarnation = gn_random_u64(world);
    mesh->can = gn_version_range_or_own(options->versions);
    pthread_mutex_init(&mesh->lock, NULL);
    pthread_cond_init(&mesh->gone, NULL);
    register_metrics(mesh);
    gn_code code = configure(mesh, options, err);
    if (code == GN_OK)
        code = listen_on(mesh, options, err);
    if (code != GN_OK) {
        gn_mesh_close(mesh);
        return code;
    }
    mesh->cleanup = gn_queue_create(world, "net");
    aio_create(&mesh->accept, on_accepted, mesh);
    aio_create(&mesh->accept_pause, on_accept_pause, mesh);
    aio_create(&mesh->tick, on_tick, mesh);
    nng_stream_listener_accept(mesh->listener, mesh->accept);
    nng_sleep_aio(mesh->tick_ms, mesh->tick);
    gn_world_real_network(world, &(gn_network){.ctx = mesh, .send = mesh_send});
    gn_log_info("net", "listening for nodes", GN_KV_STR("address", mesh->address), GN_KV_BOOL("tls", mesh->tls));
    *out = mesh;
    return GN_OK;
}

/* Nothing new begins from here on; waits until what there is has ended, frames with their receivers too. */
static void end_all(gn_mesh *mesh)
{
    gn_world_real_network(mesh->world, NULL);
    pthread_mutex_lock(&mesh->lock);
    mesh->closing = true;
    for (mesh_contact *contact = mesh->contacts; contact; contact = contact->next)
        gn_mesh_contact_resolve(contact, GN_CONNECTION_FAILURE, 0, "this node is stopping");
    for (mesh_dial *dial = mesh->dials; dial; dial = dial->next)
        nng_stream_dialer_close(dial->dialer);
    for (mesh_connection *c = mesh->connections; c; c = c->next)
        gn_mesh_connection_close(c, NULL);
    pthread_mutex_unlock(&mesh->lock);
    nng_stream_listener_close(mesh->listener);
    aio_destroy(mesh->accept_pause);
    aio_destroy(mesh->accept);
    aio_destroy(mesh->tick);
    pthread_mutex_lock(&mesh->lock);
    while (mesh->n_connections > 0 || mesh->n_dials > 0 || mesh->contacts)
        pthread_cond_wait(&mesh->gone, &mesh->lock);
    pthread_mutex_unlock(&mesh->lock);
    gn_queue_destroy(mesh->cleanup);
}

void gn_mesh_close(gn_mesh *mesh)
{
    if (!mesh)
        return;
    if (mesh->cleanup)
        end_all(mesh);
    for (size_t i = 0; i < mesh->n_peers; i++)
        peer_destroy(mesh->peers[i]);
    free(mesh->peers);
    if (mesh->listener)
        nng_stream_listener_free(mesh->listener);
    gn_tls_identity_close(&mesh->identity);
    pthread_cond_destroy(&mesh->gone);
    pthread_mutex_destroy(&mesh->lock);
    free(mesh);
}

/* ---- what others ask for ---- */

const char *gn_mesh_address(const gn_mesh *mesh)
{
    return mesh->address;
}

void gn_mesh_peer(gn_mesh *mesh, gn_node_id id, const char *address)
{
    GN_ASSERT(id != 0);
    pthread_mutex_lock(&mesh->lock);
    mesh_peer *peer = id == mesh->self || mesh->closing ? NULL : gn_mesh_peer_make(mesh, id);
    if (peer && strlen(address) < sizeof peer->address) {
        gn_mesh_peer_set_address(peer, address);
        for (unsigned i = 0; i < MESH_CLASSES; i++)
            gn_mesh_link_kick(&peer->links[i]);
    }
    pthread_mutex_unlock(&mesh->lock);
}

void gn_mesh_cluster_version(gn_mesh *mesh, uint32_t version)
{
    char words[MESH_MAX_REASON];
    pthread_mutex_lock(&mesh->lock);
    mesh->at = version > mesh->at ? version : mesh->at;
    for (mesh_connection *c = mesh->connections; c; c = c->next)
        if ((c->state == MESH_UP || c->state == MESH_DRAINING) &&
            gn_mesh_judge_versions(c->from, c->can, mesh->at, words))
            gn_mesh_connection_close(c, words);
    pthread_mutex_unlock(&mesh->lock);
}

/* Nobody waits for it any more. */
static void contact_remove(gn_mesh *mesh, mesh_contact *contact)
{
    mesh_contact **at = &mesh->contacts;
    while (*at != contact)
        at = &(*at)->next;
    *at = contact->next;
    for (mesh_dial *dial = mesh->dials; dial; dial = dial->next)
        if (dial->contact == contact) {
            dial->contact = NULL;
            nng_aio_abort(dial->aio, NNG_ECANCELED);
        }
    for (mesh_connection *c = mesh->connections; c; c = c->next)
        if (c->contact == contact) {
            c->contact = NULL;
            gn_mesh_connection_close(c, NULL);
        }
    if (mesh->closing)
        pthread_cond_broadcast(&mesh->gone);
}

gn_code gn_mesh_contact(gn_mesh *mesh, const char *address, uint64_t deadline_ns, gn_node_id *id, gn_error *err)
{
    mesh_contact contact = {.code = GN_TIMEOUT};
    gn_event_init(&contact.event, mesh->world);
    snprintf(contact.address, sizeof contact.address, "%s", address);
    snprintf(contact.words, sizeof contact.words, "it did not answer in time");
    pthread_mutex_lock(&mesh->lock);
    contact.next = mesh->contacts;
    mesh->contacts = &contact;
    if (mesh->closing)
        gn_mesh_contact_resolve(&contact, GN_CONNECTION_FAILURE, 0, "this node is stopping");
    else
        dial_start(mesh, contact.address, NULL, &contact);
    pthread_mutex_unlock(&mesh->lock);
    gn_code waited = gn_event_wait(&contact.event, deadline_ns);
    pthread_mutex_lock(&mesh->lock);
    contact_remove(mesh, &contact);
    pthread_mutex_unlock(&mesh->lock);
    if (contact.resolved && waited != GN_OK)
        gn_event_wait(&contact.event, UINT64_MAX); /* its signal has been given, and may still be on its way */
    if (contact.code != GN_OK)
        return gn_error_set(err, contact.code, "could not reach a node at \"%.200s\": %s", contact.address,
                            contact.words);
    *id = contact.id;
    return GN_OK;
}

static void describe_peer(const gn_mesh *mesh, const mesh_peer *peer, gn_mesh_peer_status *out)
{
    *out = (gn_mesh_peer_status){.id = peer->id,
                                 .connected = peer->links[MESH_REQUESTS].up != NULL,
                                 .heard_ns = atomic_load(&peer->heard_ns),
                                 .bytes_in = atomic_load(&peer->bytes_in),
                                 .bytes_out = atomic_load(&peer->bytes_out),
                                 .frames_in = atomic_load(&peer->frames_in),
                                 .frames_out = atomic_load(&peer->frames_out),
                                 .frames_dropped = atomic_load(&peer->frames_dropped)};
    memcpy(out->address, peer->address, sizeof out->address);
    memcpy(out->last_error, peer->last_error, sizeof out->last_error);
    for (const mesh_connection *c = mesh->connections; c; c = c->next)
        out->connections += c->peer == peer && c->state != MESH_CLOSED;
}

size_t gn_mesh_peers(gn_mesh *mesh, gn_mesh_peer_status *out, size_t max)
{
    pthread_mutex_lock(&mesh->lock);
    size_t n = mesh->n_peers;
    for (size_t i = 0; i < n && i < max; i++)
        describe_peer(mesh, mesh->peers[i], &out[i]);
    pthread_mutex_unlock(&mesh->lock);
    return n;
}
