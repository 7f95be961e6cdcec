/* The bytes of a frame, numbers in network order:
 *
 *   all       version u8, kind u8, incarnation of the sender u64, of the receiver u64 (0: not known)
 *   HELLO     wants a reply u8
 *   REQUEST   progress, number u64, method u16, bulk u8, the rest: bytes
 *   ANSWER    number u64, code's name (u8 length), words (u32 length), the rest: bytes
 *   PROBE     progress, n u16, n numbers u64 (RPC_NO_REQUEST in one: of no request, asked only to hear a reply)
 *   STATUS    n u16, n times (number u64, fate u8)
 *   ACK       progress
 *   progress  floor u64, pending u64, n u8, n numbers u64
 *   words     position u32, then message, detail, hint, context and the object's four, each u16 length and text
 *
 * A code goes by its name: the numbers of two versions differ. */
#include "base/assert.h"
#include "net/rpc_private.h"

#include <string.h>

/* ---- writing ---- */

void gn_rpc_frame_begin(gn_buf *out, rpc_kind kind, uint64_t from, uint64_t to)
{
    gn_buf_init(out, NULL, GN_MAX_NET_FRAME);
    gn_buf_append_u8(out, RPC_VERSION);
    gn_buf_append_u8(out, (uint8_t)kind);
    gn_buf_append_be64(out, from);
    gn_buf_append_be64(out, to);
}

void gn_rpc_frame_hello(gn_buf *out, bool wants_reply)
{
    gn_buf_append_u8(out, wants_reply);
}

void gn_rpc_frame_progress(gn_buf *out, const rpc_progress *progress)
{
    GN_ASSERT(progress->n_acks <= RPC_MAX_ACKS);
    gn_buf_append_be64(out, progress->floor);
    gn_buf_append_be64(out, progress->pending);
    gn_buf_append_u8(out, (uint8_t)progress->n_acks);
    for (unsigned i = 0; i < progress->n_acks; i++)
        gn_buf_append_be64(out, progress->acks[i]);
}

void gn_rpc_frame_request(gn_buf *out, uint64_t number, uint16_t method, bool bulk)
{
    gn_buf_append_be64(out, number);
    gn_buf_append_be16(out, method);
    gn_buf_append_u8(out, bulk);
}

static void append_text(gn_buf *out, const char *text)
{
    size_t len = strlen(text);
    gn_buf_append_be16(out, (uint16_t)len);
    gn_buf_append(out, text, len);
}

static void append_words(gn_buf *out, const gn_error *err)
{
    gn_buf words;
    gn_buf_init(&words, NULL, 2 * sizeof *err);
    if (err) {
        gn_buf_append_be32(&words, (uint32_t)err->position);
        append_text(&words, err->message);
        append_text(&words, err->detail);
        append_text(&words, err->hint);
        append_text(&words, err->context);
        for (size_t i = 0; i < 4; i++)
            append_text(&words, err->object[i]);
    }
    gn_buf_append_be32(out, (uint32_t)words.len);
    gn_buf_append_bytes(out, gn_buf_bytes(&words));
    out->failed |= words.failed;
    gn_buf_close(&words);
}

void gn_rpc_frame_answer(gn_buf *out, uint64_t number, gn_code code, const gn_error *err, gn_bytes body)
{
    const char *name = gn_code_name(code);
    gn_buf_append_be64(out, number);
    gn_buf_append_u8(out, (uint8_t)strlen(name));
    gn_buf_append_str(out, name);
    append_words(out, code == GN_OK ? NULL : err);
    gn_buf_append_bytes(out, body);
}

/* ---- reading ---- */

static gn_code code_of(gn_bytes name)
{
    static const gn_code codes[] = {
#define RPC_CODE(name, sqlstate, text) GN_##name,
        GN_ERROR_TABLE(RPC_CODE)
#undef RPC_CODE
    };
    for (size_t i = 0; i < sizeof codes / sizeof codes[0]; i++) {
        if (gn_bytes_eq(name, gn_bytes_str(gn_code_name(codes[i]))))
            return codes[i];
    }
    return GN_INTERNAL; /* of a newer version; its words are still shown */
}

static void read_progress(gn_reader *r, rpc_progress *out)
{
    out->floor = gn_read_be64(r);
    out->pending = gn_read_be64(r);
    out->n_acks = gn_read_u8(r);
    if (out->n_acks > RPC_MAX_ACKS)
        r->failed = true;
    for (unsigned i = 0; i < out->n_acks && !r->failed; i++)
        out->acks[i] = gn_read_be64(r);
}

static void read_request(gn_reader *r, rpc_frame *out)
{
    read_progress(r, &out->progress);
    out->number = gn_read_be64(r);
    out->method = gn_read_be16(r);
    out->bulk = gn_read_u8(r) != 0;
    out->body = gn_read_bytes(r, gn_reader_left(r));
}

static void read_answer(gn_reader *r, rpc_frame *out)
{
    out->number = gn_read_be64(r);
    uint8_t len = gn_read_u8(r);
    out->code = code_of(gn_read_bytes(r, len));
    out->words = gn_read_bytes(r, gn_read_be32(r));
    out->body = gn_read_bytes(r, gn_reader_left(r));
}

static void read_list(gn_reader *r, rpc_frame *out, size_t item)
{
    out->n_listed = gn_read_be16(r);
    out->list = *r;
    if (out->n_listed > RPC_MAX_LISTED || gn_reader_left(r) != out->n_listed * item)
        r->failed = true;
}

bool gn_rpc_frame_read(gn_bytes bytes, rpc_frame *out)
{
    gn_reader r = gn_reader_of(bytes);
    if (gn_read_u8(&r) != RPC_VERSION)
        return false;
    out->kind = (rpc_kind)gn_read_u8(&r);
    out->from = gn_read_be64(&r);
    out->to = gn_read_be64(&r);
    out->number = 1;
    out->body = (gn_bytes){0};
    switch (out->kind) {
    case RPC_HELLO:
        out->wants_reply = gn_read_u8(&r) != 0;
        break;
    case RPC_REQUEST:
        read_request(&r, out);
        break;
    case RPC_ANSWER:
        read_answer(&r, out);
        break;
    case RPC_PROBE:
        read_progress(&r, &out->progress);
        read_list(&r, out, 8);
        break;
    case RPC_STATUS:
        read_list(&r, out, 9);
        break;
    case RPC_ACK:
        read_progress(&r, &out->progress);
        break;
    default:
        return false;
    }
    return !r.failed && out->from != 0 && out->number != 0 && out->body.len <= GN_MAX_RPC;
}

static void read_text(gn_reader *r, char *out, size_t size)
{
    gn_bytes text = gn_read_bytes(r, gn_read_be16(r));
    size_t len = text.len < size ? text.len : size - 1;
    if (len)
        memcpy(out, text.data, len);
    out[len] = '\0';
}

void gn_rpc_words_read(gn_bytes words, gn_code code, gn_error *out)
{
    *out = (gn_error){0};
    gn_reader r = gn_reader_of(words);
    if (words.len) {
        uint32_t position = gn_read_be32(&r);
        out->position = position <= INT32_MAX ? (int)position : 0;
        read_text(&r, out->message, sizeof out->message);
        read_text(&r, out->detail, sizeof out->detail);
        read_text(&r, out->hint, sizeof out->hint);
        read_text(&r, out->context, sizeof out->context);
        for (size_t i = 0; i < 4; i++)
            read_text(&r, out->object[i], sizeof out->object[i]);
    }
    if (!out->message[0])
        gn_error_set(out, code, "%s", gn_code_text(code));
    out->code = code;
}
