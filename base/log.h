/* Structured logging: one event a line, as JSON or as text, with a level, an area and key-value pairs.
 *
 *   gn_log_info("raft", "became leader", GN_KV_U64("group", id), GN_KV_U64("term", term));
 *
 * Thread-safe; a line is written with one write(2). Values of secrets and of user rows never go in. */
#ifndef GN_BASE_LOG_H
#define GN_BASE_LOG_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

typedef enum gn_log_level { GN_LOG_DEBUG, GN_LOG_INFO, GN_LOG_WARN, GN_LOG_ERROR, GN_LOG_OFF } gn_log_level;

typedef struct gn_log_kv {
    const char *key;
    enum { GN_KV_KIND_STR, GN_KV_KIND_I64, GN_KV_KIND_U64, GN_KV_KIND_F64, GN_KV_KIND_BOOL } kind;
    union {
        const char *str; /* NULL prints null */
        int64_t i64;
        uint64_t u64;
        double f64;
        bool boolean;
    } value;
} gn_log_kv;

#define GN_KV_STR(k, v) ((gn_log_kv){.key = (k), .kind = GN_KV_KIND_STR, .value.str = (v)})
#define GN_KV_I64(k, v) ((gn_log_kv){.key = (k), .kind = GN_KV_KIND_I64, .value.i64 = (v)})
#define GN_KV_U64(k, v) ((gn_log_kv){.key = (k), .kind = GN_KV_KIND_U64, .value.u64 = (v)})
#define GN_KV_F64(k, v) ((gn_log_kv){.key = (k), .kind = GN_KV_KIND_F64, .value.f64 = (v)})
#define GN_KV_BOOL(k, v) ((gn_log_kv){.key = (k), .kind = GN_KV_KIND_BOOL, .value.boolean = (v)})

/* To be called before threads start. fd stays the caller's. Default: GN_LOG_WARN, text, stderr. */
void gn_log_configure(gn_log_level level, bool json, int fd);
bool gn_log_level_parse(const char *name, gn_log_level *out); /* "debug" ... "error", "off" */
bool gn_log_enabled(gn_log_level level);

/* The request id that this thread's lines carry ("request" key); 0 = none. */
void gn_log_set_request(uint64_t request_id);
uint64_t gn_log_request(void);

void gn_log_write(gn_log_level level, const char *area, const char *message, const gn_log_kv *kvs, size_t n);

#define GN_LOG(level, area, message, ...)                                                                        \
    do {                                                                                                         \
        if (gn_log_enabled(level)) {                                                                             \
            const gn_log_kv gn_log_kvs_[] = {{0}, ##__VA_ARGS__};                                                \
            gn_log_write(level, area, message, gn_log_kvs_ + 1, sizeof gn_log_kvs_ / sizeof gn_log_kvs_[0] - 1); \
        }                                                                                                        \
    } while (0)
#define gn_log_debug(area, message, ...) GN_LOG(GN_LOG_DEBUG, area, message, ##__VA_ARGS__)
#define gn_log_info(area, message, ...) GN_LOG(GN_LOG_INFO, area, message, ##__VA_ARGS__)
#define gn_log_warn(area, message, ...) GN_LOG(GN_LOG_WARN, area, message, ##__VA_ARGS__)
#define gn_log_error(area, message, ...) GN_LOG(GN_LOG_ERROR, area, message, ##__VA_ARGS__)

#endif
