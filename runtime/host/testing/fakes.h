/* SPDX-License-Identifier: Apache-2.0
 * What the tests of host/ stand on: a real loop, store, policy and keys; a mesh, trust and agents that only take
 * notes. */
#ifndef KOS_HOST_TESTING_FAKES_H
#define KOS_HOST_TESTING_FAKES_H

#include <check.h>
#include "core/buf.h"
#include "core/loop.h"
#include "host/host.h"

struct fixture {
    char dir[64];
    struct kos_loop *loop;
    struct kos_env *env;
    struct kos_store *store;
    struct kos_keys *keys;
    struct kos_policy *policy;
    struct kos_hosting *hosting;
    struct kos_error error;
    /* the last reply of a control method */
    struct kos_plugin_reply reply;
    int replies, last_replies;
    int32_t status, number;             /* of the reply; of the member "status" in it */
    char text[1024];
    uint64_t call;
    /* the mesh's notes */
    int endpoint_ups, endpoint_downs, accepted, link_ups, link_downs, sent, settled, told, commits, aborts,
        owners_back;
    uint64_t last_link, refuse_links, received, credited, settled_handle;
    int32_t down_status, verdict, commit_error;
    int founds, losts;
    bool found_id;
    uint8_t sent_id[KOS_ID_BYTES];
    char found_address[128];
    struct kos_streams *streams;
    bool refuse_streams;
    int streams_closed, streams_aborted;
    int32_t stream_status;
    uint64_t streams_opened, last_stream, stream_sent, stream_credit;
    char stream_name[64];
    char down_text[256], sent_type[64], sent_owner[64], told_event[64];
    /* agents */
    struct kos_agents_owner *runner;
    int runs, cancels, tasks, tasks_max;
    int stopped;
};
extern struct fixture f;
extern struct kos_cell_launcher *fixture_cells;           /* for fixture_begin; NULL none */

/* Instance directory and loop; the policy's text as one manifest, with %s for the directory of test modules, %b for
 * that of the build, %d for the instance's. */
void fixture_begin(const char *policy);
int32_t fixture_load(void);
void fixture_start(void);
void fixture_until(const int *counter, int at_least);     /* runs the loop; fails after 20 s */
void fixture_turns(int turns);
void fixture_stop(void);                                  /* stops the plugins and frees the hosting */
void fixture_end(void);
/* Calls a method of the probe and waits for its answer. */
void fixture_call(const char *method, const char *what);
const char *fixture_modules(void);
const char *fixture_cell(void);                           /* kos-cell of the build */

/* Sections of policies. */
#define PROBE_RIGHTS "rights = [ \"connect\", \"listen\", \"send\", \"sign\", \"agents\", \"files\" ]; "
#define PROBE_SECTION "probe = { module = \"%s/probe.so\"; isolate = false; " PROBE_RIGHTS "};"

#endif
