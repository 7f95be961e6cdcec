/* init, join, cert, completion, man: what needs no cluster, or hardly. */
#include "net/certificates.h"
#include "ops/commands.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum { MAX_TEXT = 1 << 20, MAX_PATH = 4096, MAX_HOSTS = 32 };

static int usage(const gn_ctl *ctl, const gn_error *err)
{
    gn_ctl_complain(ctl, err);
    return GN_EXIT_USAGE;
}

/* A new file; nothing that is there is overwritten. */
static gn_code write_new(const char *path, const gn_buf *text, gn_error *err)
{
    int fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0644);
    if (fd < 0)
        return gn_error_errno(err, GN_CONFIGURATION, errno, "could not create \"%s\"", path);
    bool fine = !text->failed && write(fd, text->data, text->len) == (ssize_t)text->len;
    fine = close(fd) == 0 && fine;
    return fine ? GN_OK : gn_error_errno(err, GN_IO, errno, "could not write \"%s\"", path);
}

static int print_or_write(const gn_ctl *ctl, gn_buf *text)
{
    gn_error err = {0};
    const char *out = ctl->values[GN_OPT_OUT];
    int status = GN_EXIT_OK;
    if (!out)
        status = gn_ctl_print(text) ? GN_EXIT_OK : GN_EXIT_FAILED;
    else if (write_new(out, text, &err) != GN_OK)
        status = usage(ctl, &err);
    gn_buf_close(text);
    return status;
}

/* ---- init ---- */

int gn_cmd_init(gn_ctl *ctl)
{
    gn_buf text;
    gn_buf_init(&text, NULL, MAX_TEXT);
    gn_buf_append_str(
        &text, "# A node of a GnomonDB cluster: gnomond --config THIS-FILE. docs/configuration.md has all options.\n"
               "# The first node of a cluster starts as it is; every other one has `join`.\n"
               "data_dir = \"/var/lib/gnomondb\"\n"
               "listen = \"127.0.0.1:5433\"\n"
               "http_listen = \"127.0.0.1:8433\"\n\n"
               "# Where the other nodes find this one: put its name here.\n"
               "cluster_listen = \"0.0.0.0:7433\"\n"
               "cluster_address = \"node1.example:7433\"\n\n"
               "# Nodes that are up; for all but the first.\n"
               "# join = \"node1.example:7433\"\n\n"
               "# Replicas of a row are kept in different zones: racks, rooms, power supplies.\n"
               "zone = \"a\"\n\n"
               "# gnomonctl cert ca; gnomonctl cert node --name node1 --hosts node1.example\n"
               "tls_ca = \"/etc/gnomondb/ca.pem\"\n"
               "tls_cert = \"/etc/gnomondb/node1.pem\"\n"
               "tls_key = \"/etc/gnomondb/node1.key\"\n\n"
               "memory_limit_mb = 4096\n");
    return print_or_write(ctl, &text);
}

/* ---- join ---- */

int gn_cmd_join(gn_ctl *ctl)
{
    int status = GN_EXIT_OK;
    gn_model model;
    gn_ctl_client *client = gn_ctl_connect(ctl, &status);
    json_t *document = client ? gn_ctl_look(ctl, client, &model, &status) : NULL;
    if (document) {
        gn_buf list;
        gn_buf_init(&list, NULL, MAX_TEXT);
        for (uint32_t i = 0; i < model.n_nodes; i++)
            if (model.nodes[i].answers && strcmp(model.nodes[i].state, "active") == 0)
                gn_buf_printf(&list, "%s%s", list.len ? "," : "", model.nodes[i].address);
        gn_buf_append_u8(&list, '\0');
        if (gn_ctl_has(ctl, GN_OPT_JSON)) {
            json_t *json = json_pack("{s:s,s:s}", "cluster", model.cluster, "join", (const char *)list.data);
            gn_json_print(json);
            json_decref(json);
        } else {
            printf("# On the new machine, with an empty data directory and its own certificate:\n"
                   "gnomond --config /etc/gnomondb/gnomond.toml --join %s\n",
                   (const char *)list.data);
        }
        gn_buf_close(&list);
        gn_model_close(&model);
        json_decref(document);
    }
    gn_ctl_disconnect(client);
    return status;
}

/* ---- cert ---- */

static gn_code in_dir(const gn_ctl *ctl, const char *name, const char *ending, char out[MAX_PATH], gn_error *err)
{
    int n = snprintf(out, MAX_PATH, "%s/%s%s", ctl->values[GN_OPT_DIR], name, ending);
    if (n >= MAX_PATH || strchr(name, '/'))
        return gn_error_set(err, GN_CONFIGURATION, "the directory or name is not one: \"%.200s\"", name);
    return GN_OK;
}

static size_t split(char *list, const char **out)
{
    size_t n = 0;
    for (char *item; list && (item = strsep(&list, ", "));)
        if (item[0] && n < MAX_HOSTS)
            out[n++] = item;
    return n;
}

static gn_code make_certificate(const gn_ctl *ctl, const char *name, const char *hosts, char cert[MAX_PATH],
                                char key[MAX_PATH], gn_error *err)
{
    char ca[MAX_PATH], ca_key[MAX_PATH], list[4096];
    const char *names[MAX_HOSTS];
    uint64_t days;
    gn_code code = gn_ctl_number("--days", ctl->values[GN_OPT_DAYS], 1, 36500, &days, err);
    if (code == GN_OK)
        code = in_dir(ctl, name, ".pem", cert, err);
    if (code == GN_OK)
        code = in_dir(ctl, name, ".key", key, err);
    if (code == GN_OK)
        code = in_dir(ctl, "ca", ".pem", ca, err);
    if (code == GN_OK)
        code = in_dir(ctl, "ca", ".key", ca_key, err);
    if (code == GN_OK && hosts && strlen(hosts) >= sizeof list)
        code = gn_error_set(err, GN_CONFIGURATION, "--hosts is longer than %zu bytes", sizeof list - 1);
    if (code != GN_OK)
        return code;
    if (mkdir(ctl->values[GN_OPT_DIR], 0700) != 0 && errno != EEXIST)
        return gn_error_errno(err, GN_CONFIGURATION, errno, "could not create \"%s\"", ctl->values[GN_OPT_DIR]);
    snprintf(list, sizeof list, "%s", hosts ? hosts : "");
    gn_certificate_request request = {.cert = cert,
                                      .key = key,
                                      .name = ctl->values[GN_OPT_NAME] ? ctl->values[GN_OPT_NAME] : name,
                                      .days = (unsigned)days,
                                      .hosts = names,
                                      .n_hosts = split(list, names)};
    return hosts ? gn_certificates_node(&request, ca, ca_key, err) : gn_certificates_authority(&request, err);
}

int gn_cmd_cert(gn_ctl *ctl)
{
    char cert[MAX_PATH], key[MAX_PATH];
    gn_error err = {0};
    const char *name = ctl->values[GN_OPT_NAME], *hosts = ctl->values[GN_OPT_HOSTS];
    bool ca = strcmp(ctl->args[0], "ca") == 0, node = strcmp(ctl->args[0], "node") == 0;
    gn_code code = GN_OK;
    if (ca && hosts)
        code = gn_error_set(&err, GN_CONFIGURATION, "an authority has no --hosts");
    if (node && (!name || !hosts))
        code = gn_error_set(&err, GN_CONFIGURATION, "a node's certificate needs --name and --hosts");
    const char *file = ca ? "ca" : name ? name : "gnomonctl";
    if (code == GN_OK)
        code = make_certificate(ctl, file, ca ? NULL : hosts ? hosts : file, cert, key, &err);
    if (code != GN_OK) {
        gn_ctl_complain(ctl, &err);
        return code == GN_CONFIGURATION ? GN_EXIT_USAGE : GN_EXIT_FAILED;
    }
    if (gn_ctl_has(ctl, GN_OPT_JSON)) {
        json_t *json = json_pack("{s:s,s:s}", "cert", cert, "key", key);
        gn_json_print(json);
        json_decref(json);
    } else {
        printf("%s\n%s\n", cert, key);
    }
    return GN_EXIT_OK;
}

/* ---- texts from the tables ---- */

int gn_cmd_completion(gn_ctl *ctl)
{
    gn_buf text;
    gn_buf_init(&text, NULL, MAX_TEXT);
    gn_ctl_completion(&text, ctl->args[0]);
    return print_or_write(ctl, &text);
}

static gn_code write_page(const char *dir, const gn_ctl_command *command, gn_error *err)
{
    char path[MAX_PATH];
    gn_buf text;
    snprintf(path, sizeof path, "%s/gnomonctl%s%s.1", dir, command ? "-" : "", command ? command->name : "");
    gn_buf_init(&text, NULL, MAX_TEXT);
    gn_ctl_manual(&text, command, GN_VERSION);
    unlink(path); /* an older one of the same */
    gn_code code = write_new(path, &text, err);
    gn_buf_close(&text);
    return code;
}

int gn_cmd_man(gn_ctl *ctl)
{
    gn_error err = {0};
    const char *dir = ctl->values[GN_OPT_OUT];
    if (!dir) {
        gn_buf text;
        gn_buf_init(&text, NULL, MAX_TEXT);
        const gn_ctl_command *command = ctl->n_args ? gn_ctl_find(ctl->args[0]) : NULL;
        if (ctl->n_args && !command) {
            gn_error_set(&err, GN_CONFIGURATION, "there is no command \"%.60s\"", ctl->args[0]);
            return usage(ctl, &err);
        }
        gn_ctl_manual(&text, command, GN_VERSION);
        return print_or_write(ctl, &text);
    }
    gn_code code = mkdir(dir, 0755) == 0 || errno == EEXIST
                       ? write_page(dir, NULL, &err)
                       : gn_error_errno(&err, GN_CONFIGURATION, errno, "could not create \"%s\"", dir);
    for (unsigned i = 0; i < gn_ctl_n_commands && code == GN_OK; i++)
        code = write_page(dir, &gn_ctl_commands[i], &err);
    return code == GN_OK ? GN_EXIT_OK : usage(ctl, &err);
}
