# SPDX-License-Identifier: Apache-2.0
dist_man_MANS += man/klp.7
dist_man_MANS += man/klp-policy.5
dist_man_MANS += man/kos-conform.1
dist_man_MANS += man/kosctl.1 man/kosd.conf.5 man/kos-broadcast_announce.7 man/kos-task_request.7 man/kosd.8
dist_man_MANS += man/kos-agent.7
dist_man_MANS += man/kos-nats.7
dist_man_MANS += man/kos-new.1
dist_man_MANS += man/kos-plugin.7 man/kos-tcp.7
dist_man_MANS += man/kos-lora.7
dist_man_MANS += man/kos-hnsw.7
dist_man_MANS += man/kos-http.7
dist_man_MANS += man/kos-static.7
