/* status, nodes, shards, top. */
#include "ops/commands.h"
#include "ops/view.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

enum { MAX_TEXT = 16 << 20 };

json_t *gn_ctl_look(const gn_ctl *ctl, gn_ctl_client *client, gn_model *model, int *status)
{
    json_t *document = gn_ctl_ask(client, 0, GN_ADMIN_CLUSTER, NULL, status);
    if (!document || gn_model_make(document, model))
        return document;
    gn_error err = {0};
    gn_error_set(&err, GN_PROTOCOL, "the node's answer has an unknown form");
    gn_ctl_complain(ctl, &err);
    *status = GN_EXIT_FAILED;
    json_decref(document);
    return NULL;
}

json_t *gn_ctl_try_look(gn_ctl_client *client, gn_model *model)
{
    gn_ctl_call call;
    gn_error err = {0};
    gn_ctl_call_start(client, &call, 0, GN_ADMIN_CLUSTER, NULL, 0);
    json_t *document = gn_ctl_call_end(&call, &err);
    if (!document || gn_model_make(document, model))
        return document;
    json_decref(document);
    return NULL;
}

static int show(const gn_ctl *ctl, const gn_model *model, json_t *json, void (*view)(gn_buf *, const gn_model *))
{
    bool fine = true;
    if (gn_ctl_has(ctl, GN_OPT_JSON)) {
        gn_json_print(json);
    } else {
        gn_buf text;
        gn_buf_init(&text, NULL, MAX_TEXT);
        view(&text, model);
        fine = gn_ctl_print(&text);
        gn_buf_close(&text);
    }
    return fine ? GN_EXIT_OK : GN_EXIT_FAILED;
}

static int look_and_show(gn_ctl *ctl, json_t *(*to_json)(const gn_model *), void (*view)(gn_buf *, const gn_model *))
{
    int status = GN_EXIT_OK;
    gn_model model;
    gn_ctl_client *client = gn_ctl_connect(ctl, &status);
    json_t *document = client ? gn_ctl_look(ctl, client, &model, &status) : NULL;
    if (document) {
        json_t *json = to_json(&model);
        status = show(ctl, &model, json, view);
        json_decref(json);
        gn_model_close(&model);
        json_decref(document);
    }
    gn_ctl_disconnect(client);
    return status;
}

int gn_cmd_nodes(gn_ctl *ctl)
{
    return look_and_show(ctl, gn_view_nodes_json, gn_view_nodes);
}

int gn_cmd_shards(gn_ctl *ctl)
{
    return look_and_show(ctl, gn_view_shards_json, gn_view_shards);
}

static bool print_status(const gn_ctl *ctl, const gn_model *model, json_t *problems, bool healthy)
{
    if (gn_ctl_has(ctl, GN_OPT_JSON)) {
        json_t *document =
            json_pack("{s:s,s:b,s:O,s:o,s:o}", "cluster", model->cluster, "healthy", healthy, "problems", problems,
                      "nodes", gn_view_nodes_json(model), "groups", gn_view_shards_json(model));
        gn_json_print(document);
        json_decref(document);
        return true;
    }
    gn_buf text;
    gn_buf_init(&text, NULL, MAX_TEXT);
    gn_view_status(&text, model, problems, healthy);
    bool fine = gn_ctl_print(&text);
    gn_buf_close(&text);
    return fine;
}

int gn_cmd_status(gn_ctl *ctl)
{
    int status = GN_EXIT_OK;
    gn_model model;
    gn_ctl_client *client = gn_ctl_connect(ctl, &status);
    json_t *document = client ? gn_ctl_look(ctl, client, &model, &status) : NULL;
    if (document) {
        bool healthy;
        json_t *problems = gn_model_problems(&model, &healthy);
        bool printed = print_status(ctl, &model, problems, healthy);
        status = !printed ? GN_EXIT_FAILED : healthy ? GN_EXIT_OK : GN_EXIT_UNHEALTHY;
        json_decref(problems);
        gn_model_close(&model);
        json_decref(document);
    }
    gn_ctl_disconnect(client);
    return status;
}

/* ---- top ---- */

static bool print_top(const gn_ctl *ctl, const gn_model *now, const gn_model *before, double seconds)
{
    if (gn_ctl_has(ctl, GN_OPT_JSON)) {
        json_t *document = json_pack("{s:o,s:o}", "nodes", gn_view_nodes_json(now), "groups", gn_view_shards_json(now));
        gn_json_print(document);
        json_decref(document);
        return true;
    }
    gn_buf text;
    gn_buf_init(&text, NULL, MAX_TEXT);
    if (!gn_ctl_has(ctl, GN_OPT_ONCE) && isatty(STDOUT_FILENO))
        gn_buf_append_str(&text, "\x1b[H\x1b[J");
    gn_view_top(&text, now, before, seconds);
    bool fine = gn_ctl_print(&text);
    gn_buf_close(&text);
    return fine;
}

/* Two looks for rates; with --once the second one is printed, else each, until somebody ends it. */
static int watch(const gn_ctl *ctl, gn_ctl_client *client, uint64_t interval_s)
{
    int status = GN_EXIT_OK;
    gn_model before = {0}, now;
    json_t *old = NULL;
    uint64_t then_ns = 0;
    bool once = gn_ctl_has(ctl, GN_OPT_ONCE) || gn_ctl_has(ctl, GN_OPT_JSON);
    for (bool goes_on = true; goes_on;) {
        uint64_t now_ns = gn_now_ns(gn_ctl_world(client));
        json_t *document = gn_ctl_look(ctl, client, &now, &status);
        if (!document)
            break;
        if (old || !once)
            goes_on = print_top(ctl, &now, old ? &before : NULL, (double)(now_ns - then_ns) / 1e9) && !once;
        gn_model_close(&before);
        json_decref(old);
        before = now;
        old = document;
        then_ns = now_ns;
        if (goes_on)
            gn_ctl_pause(gn_ctl_world(client), interval_s * 1000);
    }
    gn_model_close(&before);
    json_decref(old);
    return status;
}

int gn_cmd_top(gn_ctl *ctl)
{
    int status = GN_EXIT_OK;
    uint64_t interval_s;
    gn_error err = {0};
    if (gn_ctl_number("--interval", ctl->values[GN_OPT_INTERVAL], 1, 3600, &interval_s, &err) != GN_OK) {
        gn_ctl_complain(ctl, &err);
        return GN_EXIT_USAGE;
    }
    gn_ctl_client *client = gn_ctl_connect(ctl, &status);
    if (client)
        status = watch(ctl, client, interval_s);
    gn_ctl_disconnect(client);
    return status;
}
