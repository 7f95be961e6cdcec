/* A cluster's document, put together and judged. */
#include "ops/client.h"
#include "ops/model.h"
#include "ops/view.h"
#include "tests/base/cmocka_all.h"

#include <stdio.h>
#include <string.h>

/* Three nodes; groups 1 (meta) and 2. The parts that tests change are arguments. */
static json_t *document(const char *second_answers, const char *third_members, const char *third_role)
{
    char text[8192];
    json_error_t why;
    static const char *const REPORT =
        "{'node':%d,'version':'1','ready':true,'wall_us':%s,'uptime_s':5,'memory':{'resident_bytes':1048576},"
        "'disk':{'total_bytes':1000,'free_bytes':500},'peers':[],'groups':["
        "{'group':1,'role':'%s','serves':%s,'term':3,'last_index':10,'applied_index':10,'rows':2,'bytes':20,"
        "'prepared':0,'members':[{'node':1,'votes':true},{'node':2,'votes':true},{'node':3,'votes':true}]},"
        "{'group':2,'role':'%s','serves':%s,'term':4,'last_index':20,'applied_index':%d,'rows':7,'bytes':70,"
        "'prepared':0,'members':[%s]}]}";
    char one[2048], two[2048], three[2048];
    snprintf(one, sizeof one, REPORT, 1, "1000000000", "leader", "true", "follower", "false", 18, third_members);
    snprintf(two, sizeof two, REPORT, 2, "1000000000", "follower", "false", "follower", "false", 20, third_members);
    snprintf(three, sizeof three, REPORT, 3, "1009000000", "follower", "false", third_role,
             strcmp(third_role, "leader") == 0 ? "true" : "false", 20, third_members);
    snprintf(text, sizeof text,
             "{'cluster':'c','asked':1,'placement':["
             "{'group':2,'distribution':9,'slot_lo':0,'slot_hi':16384,'changes':0,'members':[1,2,3]},"
             "{'group':1,'distribution':0,'slot_lo':0,'slot_hi':0,'changes':0,'members':[1]}],"
             "'nodes':[{'node':1,'address':'a:1','zone':'a','state':'active','answers':true,'report':%s},"
             "{'node':2,'address':'b:1','zone':'b','state':'active','answers':%s,'error':'dead','report':%s},"
             "{'node':3,'address':'c:1','zone':'','state':'active','answers':true,'report':%s},"
             "{'node':4,'address':'','zone':'','state':'gone'}]}",
             one, second_answers, two, three);
    for (char *p = text; *p; p++)
        if (*p == '\'')
            *p = '"';
    json_t *d = json_loads(text, 0, &why);
    if (!d)
        fail_msg("%s at %d", why.text, why.position);
    return d;
}

static const char ALL_VOTE[] = "{'node':1,'votes':true},{'node':2,'votes':true},{'node':3,'votes':true}";

static bool says(const json_t *problems, const char *severity, const char *words)
{
    for (size_t i = 0; i < json_array_size(problems); i++)
        if (strcmp(gn_json_str(json_array_get(problems, i), "severity"), severity) == 0 &&
            strstr(gn_json_str(json_array_get(problems, i), "text"), words))
            return true;
    return false;
}

static void groups_are_put_together(void **state)
{
    gn_model m;
    json_t *d = document("true", ALL_VOTE, "leader");
    (void)state;
    assert_true(gn_model_make(d, &m));
    assert_int_equal(m.n_nodes, 4);
    assert_int_equal(m.n_groups, 2);
    const gn_model_group *g = gn_model_group_of(&m, 2);
    assert_int_equal(m.groups[0].id, 1); /* by id */
    assert_int_equal(g->leader, 3);
    assert_int_equal(g->state, GN_GROUP_WELL);
    assert_int_equal(g->rows, 7);
    assert_int_equal(g->n, 3);
    assert_int_equal(gn_model_group_of(&m, 1)->n_wanted, 3); /* every node that is not gone */
    assert_int_equal(gn_model_group_of(&m, 1)->state, GN_GROUP_WELL);
    assert_int_equal(gn_model_node_of(&m, 1)->replicas, 2);
    assert_int_equal(gn_model_node_of(&m, 1)->leads, 1);
    assert_int_equal(gn_model_node_of(&m, 1)->wanted, 1);
    gn_model_close(&m);
    json_decref(d);
}

static void clocks_apart_are_no_health(void **state)
{
    gn_model m;
    bool healthy;
    json_t *d = document("true", ALL_VOTE, "leader");
    (void)state;
    assert_true(gn_model_make(d, &m));
    json_t *problems = gn_model_problems(&m, &healthy);
    assert_false(healthy);
    assert_true(says(problems, "warning", "9.0 s apart"));
    json_decref(problems);
    gn_model_close(&m);
    json_decref(d);
}

static void a_silent_node_and_its_replicas_are_named(void **state)
{
    gn_model m;
    bool healthy;
    json_t *d = document("false", ALL_VOTE, "leader");
    (void)state;
    assert_true(gn_model_make(d, &m));
    json_t *problems = gn_model_problems(&m, &healthy);
    assert_false(healthy);
    assert_true(says(problems, "error", "node 2 (b:1) does not answer: dead"));
    assert_true(says(problems, "warning", "2 of 2 groups serve, and miss replicas"));
    assert_int_equal(gn_model_group_of(&m, 2)->state, GN_GROUP_DEGRADED);
    json_decref(problems);
    gn_model_close(&m);
    json_decref(d);
}

static void a_group_without_a_leader_is_an_error(void **state)
{
    gn_model m;
    bool healthy;
    json_t *d = document("true", ALL_VOTE, "follower");
    (void)state;
    assert_true(gn_model_make(d, &m));
    json_t *problems = gn_model_problems(&m, &healthy);
    assert_false(healthy);
    assert_true(says(problems, "error", "group 2 has no leader that can serve: 3 of 3"));
    json_decref(problems);
    gn_model_close(&m);
    json_decref(d);
}

static void a_change_of_members_is_a_note(void **state)
{
    gn_model m;
    bool healthy;
    json_t *d = document("true", "{'node':1,'votes':true},{'node':2,'votes':true},{'node':3,'votes':false}", "leader");
    (void)state;
    assert_true(gn_model_make(d, &m));
    json_t *problems = gn_model_problems(&m, &healthy);
    assert_true(says(problems, "note", "group 2 is changing"));
    assert_int_equal(gn_model_group_of(&m, 2)->state, GN_GROUP_CHANGING);
    json_decref(problems);
    gn_model_close(&m);
    json_decref(d);
}

static void views_show_it(void **state)
{
    gn_model m;
    gn_buf out;
    json_t *d = document("false", ALL_VOTE, "leader");
    (void)state;
    assert_true(gn_model_make(d, &m));
    gn_buf_init(&out, NULL, 65536);
    gn_view_shards(&out, &m);
    gn_view_nodes(&out, &m);
    gn_view_top(&out, &m, NULL, 0);
    gn_buf_append_u8(&out, 0);
    assert_non_null(strstr((const char *)out.data, "0-16383"));
    assert_non_null(strstr((const char *)out.data, "1 (2) 3"));
    assert_non_null(strstr((const char *)out.data, "active, silent"));
    assert_non_null(strstr((const char *)out.data, "degraded"));
    gn_buf_close(&out);
    gn_model_close(&m);
    json_decref(d);
}

/* What another version, or a broken node, may send. */
static void replicas_for_which_there_is_no_node_are_told(void **state)
{
    gn_model m;
    bool healthy;
    json_t *d = document("true", ALL_VOTE, "leader");
    (void)state;
    json_array_append_new(json_object_get(json_array_get(json_object_get(d, "placement"), 0), "members"),
                          json_integer(4));
    assert_true(gn_model_make(d, &m));
    const gn_model_group *g = gn_model_group_of(&m, 2);
    assert_int_equal(g->n_wanted, 3); /* nobody waits for a node that is gone */
    assert_int_equal(g->declared, 4);
    assert_int_equal(g->state, GN_GROUP_WELL);
    json_t *problems = gn_model_problems(&m, &healthy);
    assert_true(says(problems, "warning", "group 2 has 3 replicas instead of 4"));
    assert_false(healthy);
    json_decref(problems);
    gn_model_close(&m);
    json_decref(d);
}

static void odd_documents_are_no_accident(void **state)
{
    static const char *const ODD[] = {"{}", "{\"nodes\":[],\"placement\":{}}",
                                      "{\"nodes\":[1,{\"node\":\"x\",\"answers\":true}],\"placement\":[null,{}]}"};
    gn_model m;
    json_error_t why;
    bool healthy;
    (void)state;
    for (size_t i = 0; i < sizeof ODD / sizeof *ODD; i++) {
        json_t *d = json_loads(ODD[i], 0, &why);
        assert_non_null(d);
        if (gn_model_make(d, &m)) {
            json_decref(gn_model_problems(&m, &healthy));
            json_decref(gn_view_shards_json(&m));
            json_decref(gn_view_nodes_json(&m));
        }
        gn_model_close(&m);
        json_decref(d);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(groups_are_put_together),
        cmocka_unit_test(clocks_apart_are_no_health),
        cmocka_unit_test(a_silent_node_and_its_replicas_are_named),
        cmocka_unit_test(a_group_without_a_leader_is_an_error),
        cmocka_unit_test(a_change_of_members_is_a_note),
        cmocka_unit_test(views_show_it),
        cmocka_unit_test(replicas_for_which_there_is_no_node_are_told),
        cmocka_unit_test(odd_documents_are_no_accident),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
