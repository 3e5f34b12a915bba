/* SPDX-License-Identifier: Apache-2.0
 * Written by `make abi-update`: every public struct, member and constant of sdk/kos, as it was last accepted. A header
 * that says something else does not pass. GROWN lets structs be longer than here, and nothing else be different. */
#include <stddef.h>
#include <stdio.h>
#include <string.h>
#include <kos/abi.h>
#include <kos/agents.h>
#include <kos/bridge.h>
#include <kos/bytes.h>
#include <kos/conf.h>
#include <kos/control.h>
#include <kos/discovery.h>
#include <kos/err.h>
#include <kos/handler.h>
#include <kos/host.h>
#include <kos/http.h>
#include <kos/plugin.h>
#include <kos/signal.h>
#include <kos/stream.h>
#include <kos/transport.h>
#include <kos/vector.h>

#ifdef GROWN
#define FITS >=
#else
#define FITS ==
#endif
#define STRUCT(s, bytes) _Static_assert(sizeof(struct s) FITS(bytes), #s " has another size");
#define MEMBER(s, m, offset, ...) \
    _Static_assert(offsetof(struct s, m) == (offset), #s "." #m " has moved"); \
    _Static_assert(__builtin_types_compatible_p(__typeof__(((struct s *)0)->m), __VA_ARGS__), \
                   #s "." #m " has another type");
#define VALUE(name, number) _Static_assert((name) == (number), #name " has another value");

#if __SIZEOF_POINTER__ == 8
STRUCT(kos_bytes, 16)
MEMBER(kos_bytes, data, 0, const uint8_t *)
MEMBER(kos_bytes, len, 8, size_t)
STRUCT(kos_error, 512)
MEMBER(kos_error, code, 0, int32_t)
MEMBER(kos_error, text, 4, char [508])
STRUCT(kos_draft, 136)
MEMBER(kos_draft, size, 0, uint32_t)
MEMBER(kos_draft, klass, 4, int32_t)
MEMBER(kos_draft, id, 8, uint8_t [KOS_ID_BYTES])
MEMBER(kos_draft, reply_to, 24, uint8_t [KOS_ID_BYTES])
MEMBER(kos_draft, from_agent, 40, uint8_t [KOS_ID_BYTES])
MEMBER(kos_draft, type, 56, const char *)
MEMBER(kos_draft, target, 64, const char *)
MEMBER(kos_draft, target_id, 72, uint8_t [KOS_ID_BYTES])
MEMBER(kos_draft, payload, 88, struct kos_bytes)
MEMBER(kos_draft, expires_in_ms, 104, int64_t)
MEMBER(kos_draft, trust_required, 112, double)
MEMBER(kos_draft, trace, 120, const char *)
MEMBER(kos_draft, delivery, 128, int32_t)
STRUCT(kos_host, 224)
MEMBER(kos_host, size, 0, uint32_t)
MEMBER(kos_host, abi, 4, uint32_t)
MEMBER(kos_host, ctx, 8, void *)
MEMBER(kos_host, feature, 16, const void *(*)(const struct kos_host *host, const char *name))
MEMBER(kos_host, log, 24, void (*)(const struct kos_host *host, int32_t level, const char *text))
MEMBER(kos_host, now_ms, 32, int64_t (*)(const struct kos_host *host))
MEMBER(kos_host, mono_ns, 40, uint64_t (*)(const struct kos_host *host))
MEMBER(kos_host, random, 48, void (*)(const struct kos_host *host, void *out, size_t len_bytes))
MEMBER(kos_host, timer_set, 56, void (*)(const struct kos_host *host, uint64_t timer, uint64_t delay_ms))
MEMBER(kos_host, timer_stop, 64, void (*)(const struct kos_host *host, uint64_t timer))
MEMBER(kos_host, watch, 72, int32_t (*)(const struct kos_host *host, int32_t fd, int32_t events))
MEMBER(kos_host, post, 80, int32_t (*)(const struct kos_host *host, uint64_t cookie))
MEMBER(kos_host, complete, 88, void (*)(const struct kos_host *host, uint64_t op, int32_t status, struct kos_bytes
       result))
MEMBER(kos_host, stopped, 96, void (*)(const struct kos_host *host))
MEMBER(kos_host, open, 104, void (*)(const struct kos_host *host, const char *what, uint64_t op))
MEMBER(kos_host, open_cancel, 112, void (*)(const struct kos_host *host, uint64_t op))
MEMBER(kos_host, state_get, 120, void (*)(const struct kos_host *host, struct kos_bytes key, uint64_t op))
MEMBER(kos_host, state_scan, 128, void (*)(const struct kos_host *host, struct kos_bytes prefix, struct kos_bytes
       from, uint32_t limit, uint64_t op))
MEMBER(kos_host, secret_get, 136, void (*)(const struct kos_host *host, const char *name, uint64_t op))
MEMBER(kos_host, secret_put, 144, void (*)(const struct kos_host *host, const char *name, struct kos_bytes value,
       uint64_t op))
MEMBER(kos_host, sign, 152, void (*)(const struct kos_host *host, const char *key, struct kos_bytes body, uint64_t
       op))
MEMBER(kos_host, tx_begin, 160, void (*)(const struct kos_host *host, uint64_t tx))
MEMBER(kos_host, tx_put, 168, void (*)(const struct kos_host *host, uint64_t tx, struct kos_bytes key, struct
       kos_bytes value))
MEMBER(kos_host, tx_delete, 176, void (*)(const struct kos_host *host, uint64_t tx, struct kos_bytes key))
MEMBER(kos_host, tx_send, 184, void (*)(const struct kos_host *host, uint64_t tx, const struct kos_draft *draft))
MEMBER(kos_host, tx_verdict, 192, void (*)(const struct kos_host *host, uint64_t tx, uint64_t message, int32_t
       verdict, int32_t error, const char *text, uint64_t retry_ms))
MEMBER(kos_host, tx_commit, 200, void (*)(const struct kos_host *host, uint64_t tx, uint64_t op))
MEMBER(kos_host, tx_abort, 208, void (*)(const struct kos_host *host, uint64_t tx))
MEMBER(kos_host, directory, 216, const char *)
STRUCT(kos_agent_info, 72)
MEMBER(kos_agent_info, size, 0, uint32_t)
MEMBER(kos_agent_info, id, 4, uint8_t [KOS_ID_BYTES])
MEMBER(kos_agent_info, name, 24, const char *)
MEMBER(kos_agent_info, address, 32, const char *)
MEMBER(kos_agent_info, skills, 40, const char *const *)
MEMBER(kos_agent_info, trust_required, 48, double)
MEMBER(kos_agent_info, concurrency, 56, uint32_t)
MEMBER(kos_agent_info, running, 60, uint32_t)
MEMBER(kos_agent_info, output_max_bytes, 64, uint64_t)
STRUCT(kos_run, 88)
MEMBER(kos_run, size, 0, uint32_t)
MEMBER(kos_run, agent, 4, uint8_t [KOS_ID_BYTES])
MEMBER(kos_run, task, 24, const char *)
MEMBER(kos_run, source, 32, const char *)
MEMBER(kos_run, inputs, 40, struct kos_bytes)
MEMBER(kos_run, deadline_ms, 56, int64_t)
MEMBER(kos_run, output_credit_bytes, 64, uint64_t)
MEMBER(kos_run, source_id, 72, uint8_t [KOS_ID_BYTES])
STRUCT(kos_agents, 48)
MEMBER(kos_agents, size, 0, uint32_t)
MEMBER(kos_agents, by_id, 8, const struct kos_agent_info *(*)(const struct kos_host *host, const uint8_t
       id[KOS_ID_BYTES]))
MEMBER(kos_agents, by_name, 16, const struct kos_agent_info *(*)(const struct kos_host *host, const char *name))
MEMBER(kos_agents, run, 24, void (*)(const struct kos_host *host, uint64_t run, const struct kos_run *r))
MEMBER(kos_agents, credit, 32, void (*)(const struct kos_host *host, uint64_t run, uint64_t bytes))
MEMBER(kos_agents, cancel, 40, void (*)(const struct kos_host *host, uint64_t run))
STRUCT(kos_agents_user, 24)
MEMBER(kos_agents_user, size, 0, uint32_t)
MEMBER(kos_agents_user, output, 8, void (*)(void *self, uint64_t run, int32_t kind, struct kos_bytes bytes))
MEMBER(kos_agents_user, ended, 16, void (*)(void *self, uint64_t run, int32_t status, struct kos_bytes result, const
       char *text, int32_t retry, const uint8_t audit[32]))
STRUCT(kos_message, 224)
MEMBER(kos_message, size, 0, uint32_t)
MEMBER(kos_message, klass, 4, int32_t)
MEMBER(kos_message, id, 8, uint8_t [KOS_ID_BYTES])
MEMBER(kos_message, source_id, 24, uint8_t [KOS_ID_BYTES])
MEMBER(kos_message, target_id, 40, uint8_t [KOS_ID_BYTES])
MEMBER(kos_message, reply_to, 56, uint8_t [KOS_ID_BYTES])
MEMBER(kos_message, agent, 72, uint8_t [KOS_ID_BYTES])
MEMBER(kos_message, type, 88, const char *)
MEMBER(kos_message, source, 96, const char *)
MEMBER(kos_message, target, 104, const char *)
MEMBER(kos_message, created_ms, 112, int64_t)
MEMBER(kos_message, expires_ms, 120, int64_t)
MEMBER(kos_message, trust, 128, double)
MEMBER(kos_message, trace, 136, const char *)
MEMBER(kos_message, source_name, 144, const char *)
MEMBER(kos_message, payload, 152, struct kos_bytes)
MEMBER(kos_message, again, 168, int32_t)
MEMBER(kos_message, batch, 172, int32_t)
MEMBER(kos_message, event, 176, uint64_t)
MEMBER(kos_message, digest, 184, uint8_t [32])
MEMBER(kos_message, delivery, 216, int32_t)
STRUCT(kos_outcome, 40)
MEMBER(kos_outcome, size, 0, uint32_t)
MEMBER(kos_outcome, status, 4, int32_t)
MEMBER(kos_outcome, id, 8, uint8_t [KOS_ID_BYTES])
MEMBER(kos_outcome, type, 24, const char *)
MEMBER(kos_outcome, text, 32, const char *)
STRUCT(kos_handler, 32)
MEMBER(kos_handler, size, 0, uint32_t)
MEMBER(kos_handler, types, 8, const char *const *)
MEMBER(kos_handler, handle, 16, void (*)(void *self, uint64_t message, const struct kos_message *m))
MEMBER(kos_handler, outcome, 24, void (*)(void *self, uint64_t message, const struct kos_outcome *o))
STRUCT(kos_foreign, 184)
MEMBER(kos_foreign, size, 0, uint32_t)
MEMBER(kos_foreign, origin, 8, const char *)
MEMBER(kos_foreign, key, 16, const char *)
MEMBER(kos_foreign, cursor, 24, struct kos_bytes)
MEMBER(kos_foreign, foreign_author, 40, const char *)
MEMBER(kos_foreign, draft, 48, struct kos_draft)
STRUCT(kos_bridge, 24)
MEMBER(kos_bridge, size, 0, uint32_t)
MEMBER(kos_bridge, deliver, 8, void (*)(void *self, uint64_t op, const struct kos_message *m, const char *destination
       ))
MEMBER(kos_bridge, resume, 16, void (*)(void *self, const char *origin, struct kos_bytes cursor))
STRUCT(kos_bridge_host, 16)
MEMBER(kos_bridge_host, size, 0, uint32_t)
MEMBER(kos_bridge_host, inject, 8, void (*)(const struct kos_host *host, const struct kos_foreign *foreign, uint64_t
       op))
STRUCT(kos_setting, 56)
MEMBER(kos_setting, size, 0, uint32_t)
MEMBER(kos_setting, type, 4, int32_t)
MEMBER(kos_setting, name, 8, const char *)
MEMBER(kos_setting, summary, 16, const char *)
MEMBER(kos_setting, fallback, 24, const char *)
MEMBER(kos_setting, min, 32, int64_t)
MEMBER(kos_setting, max, 40, int64_t)
MEMBER(kos_setting, choices, 48, const char *const *)
STRUCT(kos_value, 48)
MEMBER(kos_value, size, 0, uint32_t)
MEMBER(kos_value, name, 8, const char *)
MEMBER(kos_value, number, 16, int64_t)
MEMBER(kos_value, real, 24, double)
MEMBER(kos_value, text, 32, const char *)
MEMBER(kos_value, list, 40, const char *const *)
STRUCT(kos_conf, 16)
MEMBER(kos_conf, size, 0, uint32_t)
MEMBER(kos_conf, values, 8, const struct kos_value *const *)
STRUCT(kos_control, 40)
MEMBER(kos_control, size, 0, uint32_t)
MEMBER(kos_control, interface_name, 8, const char *)
MEMBER(kos_control, description, 16, const char *)
MEMBER(kos_control, call, 24, void (*)(void *self, uint64_t call, const char *method, struct kos_bytes parameters,
       uint32_t flags))
MEMBER(kos_control, hangup, 32, void (*)(void *self, uint64_t call))
STRUCT(kos_control_host, 24)
MEMBER(kos_control_host, size, 0, uint32_t)
MEMBER(kos_control_host, reply, 8, void (*)(const struct kos_host *host, uint64_t call, int32_t status, struct
       kos_bytes parameters, const char *text, int32_t continues))
MEMBER(kos_control_host, event, 16, void (*)(const struct kos_host *host, const char *event, struct kos_bytes detail))
STRUCT(kos_find, 40)
MEMBER(kos_find, size, 0, uint32_t)
MEMBER(kos_find, kind, 4, int32_t)
MEMBER(kos_find, id, 8, uint8_t [KOS_ID_BYTES])
MEMBER(kos_find, text, 24, const char *)
MEMBER(kos_find, limit, 32, uint32_t)
STRUCT(kos_discovery, 40)
MEMBER(kos_discovery, size, 0, uint32_t)
MEMBER(kos_discovery, announce, 8, void (*)(void *self, uint64_t op, struct kos_bytes record, const char *const
       *addresses ))
MEMBER(kos_discovery, withdraw, 16, void (*)(void *self, uint64_t op))
MEMBER(kos_discovery, find, 24, void (*)(void *self, uint64_t op, const struct kos_find *what))
MEMBER(kos_discovery, find_cancel, 32, void (*)(void *self, uint64_t op))
STRUCT(kos_discovery_host, 24)
MEMBER(kos_discovery_host, size, 0, uint32_t)
MEMBER(kos_discovery_host, found, 8, void (*)(const struct kos_host *host, uint64_t op, const uint8_t *id, struct
       kos_bytes record, const char *const *addresses, uint64_t ttl_ms))
MEMBER(kos_discovery_host, lost, 16, void (*)(const struct kos_host *host, const uint8_t id[KOS_ID_BYTES]))
STRUCT(kos_http_header, 16)
MEMBER(kos_http_header, name, 0, const char *)
MEMBER(kos_http_header, value, 8, const char *)
STRUCT(kos_http_message, 64)
MEMBER(kos_http_message, size, 0, uint32_t)
MEMBER(kos_http_message, status, 4, int32_t)
MEMBER(kos_http_message, method, 8, const char *)
MEMBER(kos_http_message, url, 16, const char *)
MEMBER(kos_http_message, headers, 24, const struct kos_http_header *)
MEMBER(kos_http_message, header_count, 32, uint32_t)
MEMBER(kos_http_message, body, 40, struct kos_bytes)
MEMBER(kos_http_message, peer, 56, const char *)
STRUCT(kos_http, 40)
MEMBER(kos_http, size, 0, uint32_t)
MEMBER(kos_http, serve, 8, void (*)(const struct kos_host *host, const char *prefix, uint64_t body_max_bytes, uint64_t
       op))
MEMBER(kos_http, respond, 16, void (*)(const struct kos_host *host, uint64_t request, const struct kos_http_message
       *response))
MEMBER(kos_http, fetch, 24, void (*)(const struct kos_host *host, const struct kos_http_message *request, uint64_t
       body_max_bytes, uint64_t timeout_ms, uint64_t op))
MEMBER(kos_http, cancel, 32, void (*)(const struct kos_host *host, uint64_t op))
STRUCT(kos_http_user, 24)
MEMBER(kos_http_user, size, 0, uint32_t)
MEMBER(kos_http_user, request, 8, void (*)(void *self, uint64_t request, const struct kos_http_message *m))
MEMBER(kos_http_user, response, 16, void (*)(void *self, uint64_t op, int32_t status, const struct kos_http_message
       *m, const char *text))
STRUCT(kos_http_service, 48)
MEMBER(kos_http_service, size, 0, uint32_t)
MEMBER(kos_http_service, serve, 8, void (*)(void *self, uint64_t op, const char *prefix, uint64_t body_max_bytes))
MEMBER(kos_http_service, unserve, 16, void (*)(void *self, const char *prefix))
MEMBER(kos_http_service, respond, 24, void (*)(void *self, uint64_t request, const struct kos_http_message *response))
MEMBER(kos_http_service, fetch, 32, void (*)(void *self, uint64_t op, const struct kos_http_message *request, uint64_t
       body_max_bytes, uint64_t timeout_ms))
MEMBER(kos_http_service, cancel, 40, void (*)(void *self, uint64_t op))
STRUCT(kos_http_service_host, 24)
MEMBER(kos_http_service_host, size, 0, uint32_t)
MEMBER(kos_http_service_host, request, 8, void (*)(const struct kos_host *host, uint64_t request, const char *prefix,
       const struct kos_http_message *m))
MEMBER(kos_http_service_host, response, 16, void (*)(const struct kos_host *host, uint64_t op, int32_t status, const
       struct kos_http_message *m, const char *text))
STRUCT(kos_right, 24)
MEMBER(kos_right, size, 0, uint32_t)
MEMBER(kos_right, name, 8, const char *)
MEMBER(kos_right, why, 16, const char *)
STRUCT(kos_feature, 24)
MEMBER(kos_feature, size, 0, uint32_t)
MEMBER(kos_feature, name, 8, const char *)
MEMBER(kos_feature, table, 16, const void *)
STRUCT(kos_plugin, 136)
MEMBER(kos_plugin, size, 0, uint32_t)
MEMBER(kos_plugin, abi, 4, uint32_t)
MEMBER(kos_plugin, id, 8, const char *)
MEMBER(kos_plugin, name, 16, const char *)
MEMBER(kos_plugin, version, 24, const char *)
MEMBER(kos_plugin, summary, 32, const char *)
MEMBER(kos_plugin, settings, 40, const struct kos_setting *const *)
MEMBER(kos_plugin, rights, 48, const struct kos_right *const *)
MEMBER(kos_plugin, features, 56, const struct kos_feature *const *)
MEMBER(kos_plugin, init, 64, int32_t (*)(const struct kos_host *host, const struct kos_conf *conf, void **ret_self,
       struct kos_error *ret_error))
MEMBER(kos_plugin, start, 72, void (*)(void *self))
MEMBER(kos_plugin, stop, 80, void (*)(void *self))
MEMBER(kos_plugin, fini, 88, void (*)(void *self))
MEMBER(kos_plugin, completed, 96, void (*)(void *self, uint64_t op, int32_t status, struct kos_bytes result))
MEMBER(kos_plugin, opened, 104, void (*)(void *self, uint64_t op, int32_t status, int32_t fd, const char *text))
MEMBER(kos_plugin, timer, 112, void (*)(void *self, uint64_t timer))
MEMBER(kos_plugin, ready, 120, void (*)(void *self, int32_t fd, int32_t events))
MEMBER(kos_plugin, posted, 128, void (*)(void *self, uint64_t cookie))
STRUCT(kos_signal, 16)
MEMBER(kos_signal, size, 0, uint32_t)
MEMBER(kos_signal, send, 8, void (*)(const struct kos_host *host, const uint8_t peer[KOS_ID_BYTES], struct kos_bytes
       bytes, uint64_t op))
STRUCT(kos_signal_user, 16)
MEMBER(kos_signal_user, size, 0, uint32_t)
MEMBER(kos_signal_user, received, 8, void (*)(void *self, const uint8_t peer[KOS_ID_BYTES], struct kos_bytes bytes))
STRUCT(kos_stream, 48)
MEMBER(kos_stream, size, 0, uint32_t)
MEMBER(kos_stream, open, 8, void (*)(const struct kos_host *host, uint64_t stream, const uint8_t peer[KOS_ID_BYTES],
       const char *name))
MEMBER(kos_stream, send, 16, void (*)(const struct kos_host *host, uint64_t stream, struct kos_bytes bytes))
MEMBER(kos_stream, credit, 24, void (*)(const struct kos_host *host, uint64_t stream, uint64_t bytes))
MEMBER(kos_stream, close, 32, void (*)(const struct kos_host *host, uint64_t stream))
MEMBER(kos_stream, abort, 40, void (*)(const struct kos_host *host, uint64_t stream, int32_t status, const char
       *text))
STRUCT(kos_stream_user, 56)
MEMBER(kos_stream_user, size, 0, uint32_t)
MEMBER(kos_stream_user, up, 8, void (*)(void *self, uint64_t stream, const uint8_t peer[KOS_ID_BYTES], const char
       *name))
MEMBER(kos_stream_user, received, 16, void (*)(void *self, uint64_t stream, struct kos_bytes bytes))
MEMBER(kos_stream_user, credit, 24, void (*)(void *self, uint64_t stream, uint64_t bytes))
MEMBER(kos_stream_user, down, 32, void (*)(void *self, uint64_t stream, int32_t status, const char *text))
MEMBER(kos_stream_user, ended, 40, void (*)(void *self, uint64_t stream))
MEMBER(kos_stream_user, names, 48, const char *const *)
STRUCT(kos_link_info, 64)
MEMBER(kos_link_info, size, 0, uint32_t)
MEMBER(kos_link_info, flags, 4, uint32_t)
MEMBER(kos_link_info, mtu_bytes, 8, uint32_t)
MEMBER(kos_link_info, cost, 12, uint32_t)
MEMBER(kos_link_info, airtime_ms_per_hour, 16, uint64_t)
MEMBER(kos_link_info, bits_per_second, 24, uint64_t)
MEMBER(kos_link_info, send_window_bytes, 32, uint64_t)
MEMBER(kos_link_info, local, 40, const char *)
MEMBER(kos_link_info, remote, 48, const char *)
MEMBER(kos_link_info, short_local, 56, uint32_t)
MEMBER(kos_link_info, short_remote, 60, uint32_t)
STRUCT(kos_transport, 64)
MEMBER(kos_transport, size, 0, uint32_t)
MEMBER(kos_transport, schemes, 8, const char *const *)
MEMBER(kos_transport, listen, 16, void (*)(void *self, uint64_t endpoint, const char *address))
MEMBER(kos_transport, endpoint_close, 24, void (*)(void *self, uint64_t endpoint))
MEMBER(kos_transport, dial, 32, void (*)(void *self, uint64_t link, const char *address))
MEMBER(kos_transport, send, 40, void (*)(void *self, uint64_t link, const struct kos_bytes *pieces, uint32_t count))
MEMBER(kos_transport, link_credit, 48, void (*)(void *self, uint64_t link, uint64_t bytes))
MEMBER(kos_transport, link_close, 56, void (*)(void *self, uint64_t link, int32_t flush))
STRUCT(kos_transport_host, 56)
MEMBER(kos_transport_host, size, 0, uint32_t)
MEMBER(kos_transport_host, endpoint_up, 8, void (*)(const struct kos_host *host, uint64_t endpoint, const char
       *address ))
MEMBER(kos_transport_host, endpoint_down, 16, void (*)(const struct kos_host *host, uint64_t endpoint, int32_t status,
       const char *text))
MEMBER(kos_transport_host, link_up, 24, void (*)(const struct kos_host *host, uint64_t link, uint64_t endpoint, const
       struct kos_link_info *info))
MEMBER(kos_transport_host, link_received, 32, void (*)(const struct kos_host *host, uint64_t link, struct kos_bytes
       bytes))
MEMBER(kos_transport_host, link_credit, 40, void (*)(const struct kos_host *host, uint64_t link, uint64_t bytes))
MEMBER(kos_transport_host, link_down, 48, void (*)(const struct kos_host *host, uint64_t link, int32_t status, const
       char *text))
STRUCT(kos_space, 48)
MEMBER(kos_space, size, 0, uint32_t)
MEMBER(kos_space, model, 4, uint8_t [32])
MEMBER(kos_space, dimension, 36, uint32_t)
MEMBER(kos_space, metric, 40, int32_t)
MEMBER(kos_space, normalised, 44, int32_t)
STRUCT(kos_item, 88)
MEMBER(kos_item, size, 0, uint32_t)
MEMBER(kos_item, flags, 4, uint32_t)
MEMBER(kos_item, id, 8, struct kos_bytes)
MEMBER(kos_item, version, 24, uint64_t)
MEMBER(kos_item, vector, 32, const float *)
MEMBER(kos_item, metadata, 40, struct kos_bytes)
MEMBER(kos_item, digest, 56, uint8_t [32])
STRUCT(kos_query, 40)
MEMBER(kos_query, size, 0, uint32_t)
MEMBER(kos_query, k, 4, uint32_t)
MEMBER(kos_query, vector, 8, const float *)
MEMBER(kos_query, filter, 16, struct kos_bytes)
MEMBER(kos_query, effort, 32, uint32_t)
STRUCT(kos_vector, 96)
MEMBER(kos_vector, size, 0, uint32_t)
MEMBER(kos_vector, open, 8, void (*)(void *self, uint64_t op, uint64_t collection, const char *name, const struct
       kos_space *space))
MEMBER(kos_vector, close, 16, void (*)(void *self, uint64_t op, uint64_t collection))
MEMBER(kos_vector, upsert, 24, void (*)(void *self, uint64_t op, uint64_t collection, const struct kos_item *const
       *items, uint32_t count))
MEMBER(kos_vector, get, 32, void (*)(void *self, uint64_t op, uint64_t collection, struct kos_bytes id))
MEMBER(kos_vector, remove, 40, void (*)(void *self, uint64_t op, uint64_t collection, struct kos_bytes id, uint64_t
       version))
MEMBER(kos_vector, query, 48, void (*)(void *self, uint64_t op, uint64_t collection, const struct kos_query *query))
MEMBER(kos_vector, scan, 56, void (*)(void *self, uint64_t op, uint64_t collection, const uint8_t from[32], const
       uint8_t to[32], uint32_t limit))
MEMBER(kos_vector, fingerprint, 64, void (*)(void *self, uint64_t op, uint64_t collection, const uint8_t from[32],
       const uint8_t to[32]))
MEMBER(kos_vector, snapshot, 72, void (*)(void *self, uint64_t op, uint64_t collection, const char *directory))
MEMBER(kos_vector, stats, 80, void (*)(void *self, uint64_t op, uint64_t collection))
MEMBER(kos_vector, drop, 88, void (*)(void *self, uint64_t op, uint64_t collection))
#endif

VALUE(KOS_OK, 0)
VALUE(KOS_E_INVALID, -1)
VALUE(KOS_E_NOMEM, -2)
VALUE(KOS_E_LIMIT, -3)
VALUE(KOS_E_IO, -4)
VALUE(KOS_E_NOSPACE, -5)
VALUE(KOS_E_NOTFOUND, -6)
VALUE(KOS_E_EXISTS, -7)
VALUE(KOS_E_DENIED, -8)
VALUE(KOS_E_TRUST, -9)
VALUE(KOS_E_QUOTA, -10)
VALUE(KOS_E_BUSY, -11)
VALUE(KOS_E_TIMEOUT, -12)
VALUE(KOS_E_CANCELLED, -13)
VALUE(KOS_E_CLOSED, -14)
VALUE(KOS_E_UNREACHABLE, -15)
VALUE(KOS_E_PROTOCOL, -16)
VALUE(KOS_E_CANONICAL, -17)
VALUE(KOS_E_SYNTAX, -18)
VALUE(KOS_E_SIGNATURE, -19)
VALUE(KOS_E_KEY, -20)
VALUE(KOS_E_DECRYPT, -21)
VALUE(KOS_E_EXPIRED, -22)
VALUE(KOS_E_REPLAYED, -23)
VALUE(KOS_E_STALE, -24)
VALUE(KOS_E_GAP, -25)
VALUE(KOS_E_DUPLICITY, -26)
VALUE(KOS_E_REVOKED, -27)
VALUE(KOS_E_FROZEN, -28)
VALUE(KOS_E_UNSUPPORTED, -29)
VALUE(KOS_E_VERSION, -30)
VALUE(KOS_E_CONFIG, -31)
VALUE(KOS_E_POLICY, -32)
VALUE(KOS_E_STATE, -33)
VALUE(KOS_E_AGENT, -34)
VALUE(KOS_E_INTERRUPTED, -35)
VALUE(KOS_E_PASSPHRASE, -36)
VALUE(KOS_E_LOCKED, -37)
VALUE(KOS_E_ADDRESS_USED, -38)
VALUE(KOS_E_MISADDRESSED, -39)
VALUE(KOS_E_UNHANDLED, -40)
VALUE(KOS_E_PERMISSION, -41)
VALUE(KOS_E_CORRUPT, -42)
VALUE(KOS_E_PLUGIN, -43)
VALUE(KOS_E_SEAL_RETIRED, -44)
VALUE(KOS_E_UNKNOWN_ID, -45)
VALUE(KOS_E_FUTURE, -46)
VALUE(KOS_E_INTERNAL, -47)
VALUE(KOS_ERROR, 3)
VALUE(KOS_WARNING, 4)
VALUE(KOS_NOTICE, 5)
VALUE(KOS_INFO, 6)
VALUE(KOS_DEBUG, 7)
VALUE(KOS_IO_READ, 1)
VALUE(KOS_IO_WRITE, 2)
VALUE(KOS_ID_BYTES, 16)
VALUE(KOS_STATE_KEY_MAX, 256)
VALUE(KOS_STATE_VALUE_MAX, 1048576)
VALUE(KOS_TX_MAX_BYTES, 4194304)
VALUE(KOS_TXS_MAX_BYTES, 67108864)
VALUE(KOS_LOG_TEXT_MAX, 512)
VALUE(KOS_TIMERS_MAX, 65536)
VALUE(KOS_WATCHES_MAX, 65536)
VALUE(KOS_OPEN_MAX, 1024)
VALUE(KOS_POSTS_MAX, 65536)
VALUE(KOS_TX_MAX, 1024)
VALUE(KOS_DURABLE, 0)
VALUE(KOS_TRANSIENT, 1)
VALUE(KOS_ACCEPT, 1)
VALUE(KOS_REJECT, 2)
VALUE(KOS_DEFER, 3)
VALUE(KOS_OUTPUT_PART, 1)
VALUE(KOS_OUTPUT_PROGRESS, 2)
VALUE(KOS_SETTING_STRING, 1)
VALUE(KOS_SETTING_INT, 2)
VALUE(KOS_SETTING_BOOL, 3)
VALUE(KOS_SETTING_DURATION, 4)
VALUE(KOS_SETTING_SIZE, 5)
VALUE(KOS_SETTING_FLOAT, 6)
VALUE(KOS_SETTING_LIST, 7)
VALUE(KOS_SETTING_SECRET, 8)
VALUE(KOS_SETTING_TABLE, 9)
VALUE(KOS_CALL_MORE, 1)
VALUE(KOS_FIND_ALL, 0)
VALUE(KOS_FIND_ID, 1)
VALUE(KOS_FIND_NAME, 2)
VALUE(KOS_FIND_SKILL, 3)
VALUE(KOS_SIGNAL_MAX_BYTES, 16384)
VALUE(KOS_STREAM_WINDOW_MAX, 4194304)
VALUE(KOS_STREAMS_MAX, 1024)
VALUE(KOS_LINK_STREAM, 1)
VALUE(KOS_LINK_RELIABLE, 2)
VALUE(KOS_LINK_ORDERED, 4)
VALUE(KOS_LINK_SHARED, 8)
VALUE(KOS_LINK_ANONYMOUS, 16)
VALUE(KOS_METRIC_L2, 1)
VALUE(KOS_METRIC_IP, 2)
VALUE(KOS_METRIC_COSINE, 3)

static const struct {
    const char *macro, *is, *was;
} names[] = {
    { "KOS_BRIDGE", KOS_BRIDGE, "kos.bridge/1" },
    { "KOS_BRIDGE_HOST", KOS_BRIDGE_HOST, "kos.bridge.host/1" },
    { "KOS_CONTROL", KOS_CONTROL, "kos.control/1" },
    { "KOS_CONTROL_HOST", KOS_CONTROL_HOST, "kos.control.host/1" },
    { "KOS_DISCOVERY", KOS_DISCOVERY, "kos.discovery/1" },
    { "KOS_DISCOVERY_HOST", KOS_DISCOVERY_HOST, "kos.discovery.host/1" },
    { "KOS_HANDLER", KOS_HANDLER, "kos.handler/1" },
    { "KOS_HTTP", KOS_HTTP, "kos.http/1" },
    { "KOS_HTTP_SERVICE", KOS_HTTP_SERVICE, "kos.http.service/1" },
    { "KOS_HTTP_SERVICE_HOST", KOS_HTTP_SERVICE_HOST, "kos.http.service.host/1" },
    { "KOS_HTTP_USER", KOS_HTTP_USER, "kos.http.user/1" },
    { "KOS_SIGNAL", KOS_SIGNAL, "kos.signal/1" },
    { "KOS_SIGNAL_USER", KOS_SIGNAL_USER, "kos.signal.user/1" },
    { "KOS_TRANSPORT", KOS_TRANSPORT, "kos.transport/1" },
    { "KOS_TRANSPORT_HOST", KOS_TRANSPORT_HOST, "kos.transport.host/1" },
    { "KOS_VECTOR", KOS_VECTOR, "kos.vector/1" },
};

int main(void)
{
    size_t count = sizeof names / sizeof *names, bad = 0;
    printf("1..%zu\n", count);
    for (size_t i = 0; i < count; i++) {
        int same = strcmp(names[i].is, names[i].was) == 0;
        bad += !same;
        printf("%s %zu - %s is \"%s\"\n", same ? "ok" : "not ok", i + 1, names[i].macro, names[i].was);
    }
    return bad ? 1 : 0;
}
