/* SPDX-License-Identifier: Apache-2.0
 * Written by `make abi-update`: a library whose exports name every public struct and enum of sdk/kos, for abidw. */
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

KOS_EXPORT void kos_abi_kos_bytes(const struct kos_bytes *value);
void kos_abi_kos_bytes(const struct kos_bytes *value)
{
    (void)value;
}
KOS_EXPORT void kos_abi_kos_error(const struct kos_error *value);
void kos_abi_kos_error(const struct kos_error *value)
{
    (void)value;
}
KOS_EXPORT void kos_abi_kos_draft(const struct kos_draft *value);
void kos_abi_kos_draft(const struct kos_draft *value)
{
    (void)value;
}
KOS_EXPORT void kos_abi_kos_host(const struct kos_host *value);
void kos_abi_kos_host(const struct kos_host *value)
{
    (void)value;
}
KOS_EXPORT void kos_abi_kos_agent_info(const struct kos_agent_info *value);
void kos_abi_kos_agent_info(const struct kos_agent_info *value)
{
    (void)value;
}
KOS_EXPORT void kos_abi_kos_run(const struct kos_run *value);
void kos_abi_kos_run(const struct kos_run *value)
{
    (void)value;
}
KOS_EXPORT void kos_abi_kos_agents(const struct kos_agents *value);
void kos_abi_kos_agents(const struct kos_agents *value)
{
    (void)value;
}
KOS_EXPORT void kos_abi_kos_agents_user(const struct kos_agents_user *value);
void kos_abi_kos_agents_user(const struct kos_agents_user *value)
{
    (void)value;
}
KOS_EXPORT void kos_abi_kos_message(const struct kos_message *value);
void kos_abi_kos_message(const struct kos_message *value)
{
    (void)value;
}
KOS_EXPORT void kos_abi_kos_outcome(const struct kos_outcome *value);
void kos_abi_kos_outcome(const struct kos_outcome *value)
{
    (void)value;
}
KOS_EXPORT void kos_abi_kos_handler(const struct kos_handler *value);
void kos_abi_kos_handler(const struct kos_handler *value)
{
    (void)value;
}
KOS_EXPORT void kos_abi_kos_foreign(const struct kos_foreign *value);
void kos_abi_kos_foreign(const struct kos_foreign *value)
{
    (void)value;
}
KOS_EXPORT void kos_abi_kos_bridge(const struct kos_bridge *value);
void kos_abi_kos_bridge(const struct kos_bridge *value)
{
    (void)value;
}
KOS_EXPORT void kos_abi_kos_bridge_host(const struct kos_bridge_host *value);
void kos_abi_kos_bridge_host(const struct kos_bridge_host *value)
{
    (void)value;
}
KOS_EXPORT void kos_abi_kos_setting(const struct kos_setting *value);
void kos_abi_kos_setting(const struct kos_setting *value)
{
    (void)value;
}
KOS_EXPORT void kos_abi_kos_value(const struct kos_value *value);
void kos_abi_kos_value(const struct kos_value *value)
{
    (void)value;
}
KOS_EXPORT void kos_abi_kos_conf(const struct kos_conf *value);
void kos_abi_kos_conf(const struct kos_conf *value)
{
    (void)value;
}
KOS_EXPORT void kos_abi_kos_control(const struct kos_control *value);
void kos_abi_kos_control(const struct kos_control *value)
{
    (void)value;
}
KOS_EXPORT void kos_abi_kos_control_host(const struct kos_control_host *value);
void kos_abi_kos_control_host(const struct kos_control_host *value)
{
    (void)value;
}
KOS_EXPORT void kos_abi_kos_find(const struct kos_find *value);
void kos_abi_kos_find(const struct kos_find *value)
{
    (void)value;
}
KOS_EXPORT void kos_abi_kos_discovery(const struct kos_discovery *value);
void kos_abi_kos_discovery(const struct kos_discovery *value)
{
    (void)value;
}
KOS_EXPORT void kos_abi_kos_discovery_host(const struct kos_discovery_host *value);
void kos_abi_kos_discovery_host(const struct kos_discovery_host *value)
{
    (void)value;
}
KOS_EXPORT void kos_abi_kos_http_header(const struct kos_http_header *value);
void kos_abi_kos_http_header(const struct kos_http_header *value)
{
    (void)value;
}
KOS_EXPORT void kos_abi_kos_http_message(const struct kos_http_message *value);
void kos_abi_kos_http_message(const struct kos_http_message *value)
{
    (void)value;
}
KOS_EXPORT void kos_abi_kos_http(const struct kos_http *value);
void kos_abi_kos_http(const struct kos_http *value)
{
    (void)value;
}
KOS_EXPORT void kos_abi_kos_http_user(const struct kos_http_user *value);
void kos_abi_kos_http_user(const struct kos_http_user *value)
{
    (void)value;
}
KOS_EXPORT void kos_abi_kos_http_service(const struct kos_http_service *value);
void kos_abi_kos_http_service(const struct kos_http_service *value)
{
    (void)value;
}
KOS_EXPORT void kos_abi_kos_http_service_host(const struct kos_http_service_host *value);
void kos_abi_kos_http_service_host(const struct kos_http_service_host *value)
{
    (void)value;
}
KOS_EXPORT void kos_abi_kos_right(const struct kos_right *value);
void kos_abi_kos_right(const struct kos_right *value)
{
    (void)value;
}
KOS_EXPORT void kos_abi_kos_feature(const struct kos_feature *value);
void kos_abi_kos_feature(const struct kos_feature *value)
{
    (void)value;
}
KOS_EXPORT void kos_abi_kos_plugin(const struct kos_plugin *value);
void kos_abi_kos_plugin(const struct kos_plugin *value)
{
    (void)value;
}
KOS_EXPORT void kos_abi_kos_signal(const struct kos_signal *value);
void kos_abi_kos_signal(const struct kos_signal *value)
{
    (void)value;
}
KOS_EXPORT void kos_abi_kos_signal_user(const struct kos_signal_user *value);
void kos_abi_kos_signal_user(const struct kos_signal_user *value)
{
    (void)value;
}
KOS_EXPORT void kos_abi_kos_stream(const struct kos_stream *value);
void kos_abi_kos_stream(const struct kos_stream *value)
{
    (void)value;
}
KOS_EXPORT void kos_abi_kos_stream_user(const struct kos_stream_user *value);
void kos_abi_kos_stream_user(const struct kos_stream_user *value)
{
    (void)value;
}
KOS_EXPORT void kos_abi_kos_link_info(const struct kos_link_info *value);
void kos_abi_kos_link_info(const struct kos_link_info *value)
{
    (void)value;
}
KOS_EXPORT void kos_abi_kos_transport(const struct kos_transport *value);
void kos_abi_kos_transport(const struct kos_transport *value)
{
    (void)value;
}
KOS_EXPORT void kos_abi_kos_transport_host(const struct kos_transport_host *value);
void kos_abi_kos_transport_host(const struct kos_transport_host *value)
{
    (void)value;
}
KOS_EXPORT void kos_abi_kos_space(const struct kos_space *value);
void kos_abi_kos_space(const struct kos_space *value)
{
    (void)value;
}
KOS_EXPORT void kos_abi_kos_item(const struct kos_item *value);
void kos_abi_kos_item(const struct kos_item *value)
{
    (void)value;
}
KOS_EXPORT void kos_abi_kos_query(const struct kos_query *value);
void kos_abi_kos_query(const struct kos_query *value)
{
    (void)value;
}
KOS_EXPORT void kos_abi_kos_vector(const struct kos_vector *value);
void kos_abi_kos_vector(const struct kos_vector *value)
{
    (void)value;
}
KOS_EXPORT void kos_abi_kos_error_code(const enum kos_error_code *value);
void kos_abi_kos_error_code(const enum kos_error_code *value)
{
    (void)value;
}
KOS_EXPORT void kos_abi_kos_level(const enum kos_level *value);
void kos_abi_kos_level(const enum kos_level *value)
{
    (void)value;
}
KOS_EXPORT void kos_abi_kos_io(const enum kos_io *value);
void kos_abi_kos_io(const enum kos_io *value)
{
    (void)value;
}
KOS_EXPORT void kos_abi_kos_delivery(const enum kos_delivery *value);
void kos_abi_kos_delivery(const enum kos_delivery *value)
{
    (void)value;
}
KOS_EXPORT void kos_abi_kos_verdict(const enum kos_verdict *value);
void kos_abi_kos_verdict(const enum kos_verdict *value)
{
    (void)value;
}
KOS_EXPORT void kos_abi_kos_output(const enum kos_output *value);
void kos_abi_kos_output(const enum kos_output *value)
{
    (void)value;
}
KOS_EXPORT void kos_abi_kos_setting_type(const enum kos_setting_type *value);
void kos_abi_kos_setting_type(const enum kos_setting_type *value)
{
    (void)value;
}
KOS_EXPORT void kos_abi_kos_control_flags(const enum kos_control_flags *value);
void kos_abi_kos_control_flags(const enum kos_control_flags *value)
{
    (void)value;
}
KOS_EXPORT void kos_abi_kos_find_kind(const enum kos_find_kind *value);
void kos_abi_kos_find_kind(const enum kos_find_kind *value)
{
    (void)value;
}
KOS_EXPORT void kos_abi_kos_link_flags(const enum kos_link_flags *value);
void kos_abi_kos_link_flags(const enum kos_link_flags *value)
{
    (void)value;
}
KOS_EXPORT void kos_abi_kos_metric(const enum kos_metric *value);
void kos_abi_kos_metric(const enum kos_metric *value)
{
    (void)value;
}
