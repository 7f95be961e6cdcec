/* debug: a directory with what helps to understand a cluster from afar. No rows, no keys. recover: the last resort. */
#include "ops/commands.h"
#include "ops/view.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>

enum { MAX_TEXT = 16 << 20, MAX_PATH = 4096 };

static bool write_file(const gn_ctl *ctl, const char *dir, const char *name, const void *data, size_t len)
{
    char path[MAX_PATH];
    gn_error err = {0};
    snprintf(path, sizeof path, "%s/%s", dir, name);
    FILE *file = fopen(path, "wxe");
    bool fine = file && fwrite(data, 1, len, file) == len;
    if (file && fclose(file) != 0)
        fine = false;
    if (!fine) {
        gn_error_errno(&err, GN_IO, errno, "could not write \"%s\"", path);
        gn_ctl_complain(ctl, &err);
    }
    return fine;
}

static bool write_json(const gn_ctl *ctl, const char *dir, const char *name, const json_t *json)
{
    char *text = json_dumps(json, JSON_INDENT(2));
    bool fine = text && write_file(ctl, dir, name, text, strlen(text));
    free(text);
    return fine;
}

/* Of each node that answers; why another does not is in the bundle too. */
static bool write_node(const gn_ctl *ctl, gn_ctl_client *client, const char *dir, gn_node_id node,
                       gn_admin_command command, const char *ending)
{
    gn_ctl_call call;
    gn_error err = {0};
    char name[64];
    gn_ctl_call_start(client, &call, node, command, NULL, 0);
    json_t *document = gn_ctl_call_end(&call, &err);
    const char *text = document ? gn_json_str(document, "text") : err.message;
    snprintf(name, sizeof name, "node-%" PRIu64 "-%s", node, ending);
    bool fine = write_file(ctl, dir, name, text, strlen(text));
    json_decref(document);
    return fine;
}

static bool write_views(const gn_ctl *ctl, const char *dir, const gn_model *model)
{
    bool healthy;
    gn_buf text;
    json_t *problems = gn_model_problems(model, &healthy);
    gn_buf_init(&text, NULL, MAX_TEXT);
    gn_view_status(&text, model, problems, healthy);
    gn_buf_append_str(&text, "\n");
    gn_view_nodes(&text, model);
    gn_buf_append_str(&text, "\n");
    gn_view_shards(&text, model);
    bool fine = write_file(ctl, dir, "status.txt", text.data, text.len);
    gn_buf_close(&text);
    json_decref(problems);
    return fine;
}

static bool write_bundle(const gn_ctl *ctl, gn_ctl_client *client, const char *dir, const json_t *document,
                         const gn_model *model)
{
    bool fine = write_json(ctl, dir, "cluster.json", document) && write_views(ctl, dir, model);
    for (uint32_t i = 0; i < model->n_nodes && fine; i++)
        if (model->nodes[i].asked)
            fine = write_node(ctl, client, dir, model->nodes[i].id, GN_ADMIN_METRICS, "metrics.txt") &&
                   write_node(ctl, client, dir, model->nodes[i].id, GN_ADMIN_CONFIG, "config.toml");
    return fine;
}

int gn_cmd_debug(gn_ctl *ctl)
{
    int status = GN_EXIT_OK;
    char dir[1024];
    time_t now = time(NULL);
    struct tm tm;
    gn_model model;
    strftime(dir, sizeof dir, "gnomon-debug-%Y%m%d-%H%M%S", gmtime_r(&now, &tm));
    if (ctl->values[GN_OPT_OUT])
        snprintf(dir, sizeof dir, "%s", ctl->values[GN_OPT_OUT]);
    gn_ctl_client *client = gn_ctl_connect(ctl, &status);
    json_t *document = client ? gn_ctl_look(ctl, client, &model, &status) : NULL;
    if (document) {
        gn_error err = {0};
        if (mkdir(dir, 0700) != 0) {
            gn_error_errno(&err, GN_CONFIGURATION, errno, "could not create \"%s\"", dir);
            gn_ctl_complain(ctl, &err);
            status = GN_EXIT_USAGE;
        } else if (write_bundle(ctl, client, dir, document, &model)) {
            puts(dir);
        } else {
            status = GN_EXIT_FAILED;
        }
        gn_model_close(&model);
        json_decref(document);
    }
    gn_ctl_disconnect(client);
    return status;
}
