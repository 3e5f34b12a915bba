/* SPDX-License-Identifier: Apache-2.0
 *
 * The catalogue: the sentences of the SDK's headers that bind a plugin, word for word (conform_test.py compares them
 * with the headers), each with the name under which kos-conform reports it. Each is broken by a plugin of mutants/,
 * but for those that stand in UNSEEN of conform_test.py with the reason.
 */
#ifndef KOS_CONFORM_RULES_H
#define KOS_CONFORM_RULES_H

/* X(constant, name, header, sentence) */
#define CONFORM_RULES(X)                                                                                               \
    /* ---- kos/abi.h ---- */                                                                                          \
    X(ABI_ENTRY, "abi.entry", "kos/abi.h",                                                                             \
      "A plugin exports one const object, kos_plugin_v1 (plugin.h); the symbol carries the major version.")            \
    X(ABI_SIZE, "abi.size", "kos/abi.h",                                                                               \
      "Who reads copies the smaller of both sizes and takes the rest as zero; ask with KOS_HAS().")                    \
    X(ABI_FEATURE, "abi.feature", "kos/abi.h",                                                                         \
      "Optional features are asked for by name (\"kos.transport/1\"), in both directions; the answer is a table or "   \
      "NULL.")                                                                                                         \
    X(ABI_BORROW, "abi.borrow", "kos/abi.h",                                                                           \
      "A struct kos_bytes or string passed in a call is valid during that call: who needs it longer copies it.")       \
    X(ABI_OWNER, "abi.owner", "kos/abi.h", "Nobody frees the other side's memory.")                                    \
    X(ABI_ONCE, "abi.once", "kos/abi.h",                                                                               \
      "Every operation completes exactly once, also when it fails, is cancelled or the plugin stops.")                 \
    X(ABI_CROSS, "abi.cross", "kos/abi.h",                                                                             \
      "So events cross: an id may still be named by one side after the other has ended it; that is ignored.")          \
    X(ABI_THREAD, "abi.thread", "kos/abi.h",                                                                           \
      "every member of every table is called on, and may be called from, the plugin's loop thread only.")              \
    X(ABI_SOON, "abi.soon", "kos/abi.h",                                                                               \
      "A call into a plugin returns soon: what takes longer than some milliseconds is for a thread of its own.")       \
    X(ABI_PROCESS, "abi.process", "kos/abi.h",                                                                         \
      "A plugin never ends its process, and leaves alone what belongs to the whole of it: signals, the working "       \
      "directory, umask, locale, environment, the standard descriptors.")                                              \
    X(ABI_IDS, "abi.ids", "kos/abi.h",                                                                                 \
      "unique among those of that plugin and kind which are not yet completed. 0 is never an id.")                     \
    X(ABI_UTF8, "abi.utf8", "kos/abi.h", "Strings are UTF-8 and NUL-terminated")                                       \
    /* ---- kos/plugin.h ---- */                                                                                       \
    X(PLUGIN_RIGHT, "plugin.right", "kos/plugin.h",                                                                    \
      "A right the plugin asks for; the policy grants it or the plugin is not started.")                               \
    X(PLUGIN_INIT, "plugin.init", "kos/plugin.h",                                                                      \
      "On failure *ret_self is untouched and nothing else is called.")                                                 \
    X(PLUGIN_ERROR, "plugin.error", "kos/err.h",                                                                       \
      "Where a person reads it: the code and one sentence that names the thing, the limit or line, and what to do.")   \
    X(PLUGIN_STOP, "plugin.stop", "kos/plugin.h",                                                                      \
      "End everything: close links and endpoints, complete open operations (KOS_E_CANCELLED), then host->stopped(), "  \
      "in this call or later, within 5 s.")                                                                            \
    X(PLUGIN_FINI, "plugin.fini", "kos/plugin.h",                                                                      \
      "Frees the instance. After init, called exactly once: after `stopped`, or by itself when start never came.")     \
    X(PLUGIN_EVENTS, "plugin.events", "kos/plugin.h", "A plugin that never causes one may leave it NULL.")             \
    X(CONF_VALUES, "conf.values", "kos/conf.h",                                                                        \
      "the host checks every value against that, with file, line and reason, before anything of the plugin runs, and " \
      "hands the checked values to init.")                                                                             \
    /* ---- kos/host.h ---- */                                                                                         \
    X(HOST_LOG, "host.log", "kos/host.h", "Never a secret or a payload.")                                              \
    X(HOST_WATCH, "host.watch", "kos/host.h", "events 0 ends the watch; end it before closing the descriptor.")        \
    X(HOST_COMPLETE, "host.complete", "kos/host.h",                                                                    \
      "An id that is not open is a broken rule: the host logs it and cuts a cell off.")                                \
    X(HOST_STOPPED, "host.stopped", "kos/host.h",                                                                      \
      "Says, after kos_plugin.stop, that nothing of yours is open any more and that your threads are gone; fini "      \
      "comes, and nothing before it.")                                                                                 \
    X(HOST_OPEN, "host.open", "kos/host.h",                                                                            \
      "the descriptor is the plugin's to close, non-blocking and close-on-exec.")                                      \
    X(HOST_KEY, "host.key", "kos/host.h", "Key-value state of this plugin: durable, its own.")                         \
    X(HOST_TX, "host.tx", "kos/host.h",                                                                                \
      "Transactions: all or nothing, durable before `completed(op, KOS_OK)`.")                                         \
    X(DRAFT_PAYLOAD, "draft.payload", "kos/host.h", "canonical JSON object (RFC 8785); checked")                       \
    X(DRAFT_CLASS, "draft.class", "kos/host.h", "1 interactive, 2 bulk")                                               \
    X(DRAFT_EXPIRES, "draft.expires", "kos/host.h", "1 .. 30 days")                                                    \
    X(DRAFT_TYPE, "draft.type", "kos/host.h", "[A-Z][A-Z0-9_]*")                                                       \
    X(DRAFT_TARGET, "draft.target", "kos/host.h", "klp:// address")                                                    \
    /* ---- kos/transport.h ---- */                                                                                    \
    X(LINK_IDS, "transport.ids", "kos/transport.h",                                                                    \
      "the host chooses even ones (endpoints it opens, links it dials), the plugin odd ones (links it accepts).")      \
    X(LINK_END, "transport.end", "kos/transport.h",                                                                    \
      "An id begins with the call that names it first and ends with endpoint_down or link_down, which come exactly "   \
      "once, whoever ended it, and are the last event of that id.")                                                    \
    X(LINK_CREDIT, "transport.credit", "kos/transport.h",                                                              \
      "The plugin may hand over what kos_transport.link_credit gave it (nothing at first).")                           \
    X(LINK_WINDOW, "transport.window", "kos/transport.h",                                                              \
      "At link_up the host may send `send_window_bytes`; kos_transport_host.link_credit gives more as bytes leave.")   \
    X(LINK_LEFT, "transport.left", "kos/transport.h",                                                                  \
      "So many bytes of what was sent have left (or, where the transport repeats what is lost, have arrived).")        \
    X(LINK_LISTEN, "transport.listen", "kos/transport.h", "-> endpoint_up or endpoint_down")                           \
    X(LINK_BOUND, "transport.bound", "kos/transport.h", "const char *address /* as bound */")                          \
    X(LINK_ENDPOINT, "transport.endpoint_close", "kos/transport.h", "-> endpoint_down; its links stay")                \
    X(LINK_DIAL, "transport.dial", "kos/transport.h", "-> link_up or link_down.")                                      \
    X(LINK_ANSWERS, "transport.answers", "kos/transport.h", "endpoint 0: answers dial.")                               \
    X(LINK_CLOSE, "transport.close", "kos/transport.h",                                                                \
      "Ends the link; what was sent before is still tried when `flush` is 1 and the link allows, for at most 2 s.")    \
    X(LINK_PIECES, "transport.pieces", "kos/transport.h", "Sends the concatenation of the pieces (at most 64), "       \
      "within credit.")                                                                                                \
    X(LINK_RELIABLE, "transport.reliable", "kos/transport.h", "KOS_LINK_RELIABLE = 2, KOS_LINK_ORDERED = 4,")          \
    X(LINK_DATAGRAM, "transport.datagram", "kos/transport.h", "Any run of a stream's bytes; exactly one datagram.")    \
    X(LINK_MTU, "transport.mtu", "kos/transport.h", "largest datagram; 0 for streams")                                 \
    /* ---- kos/handler.h ---- */                                                                                      \
    X(HANDLER_ANSWER, "handler.answer", "kos/handler.h",                                                               \
      "Answer by tx_verdict(message) in a transaction, now or later. `message` is a handle, not the id.")              \
    X(HANDLER_ONCE, "handler.once", "kos/handler.h",                                                                   \
      "It comes again after a crash until a transaction has given its verdict, so effects made through the "           \
      "transaction (state, messages, verdict) happen exactly once.")                                                   \
    X(HANDLER_OUTCOME, "handler.outcome", "kos/handler.h",                                                             \
      "Of drafts this plugin sent; note it by tx_verdict(message, KOS_ACCEPT).")                                       \
    /* ---- kos/discovery.h ---- */                                                                                    \
    X(FIND_COMPLETE, "discovery.complete", "kos/discovery.h", "Each op completes by kos_host.complete.")               \
    X(FIND_KIND, "discovery.kind", "kos/discovery.h",                                                                  \
      "enum kos_find_kind; one you do not know: complete with KOS_E_UNSUPPORTED")                                      \
    X(FIND_FOUND, "discovery.found", "kos/discovery.h", "found() any number of times, then complete.")                 \
    X(FIND_CANCEL, "discovery.cancel", "kos/discovery.h", "Cancelled by find_cancel, which completes it too.")         \
    X(FIND_ADDRESSES, "discovery.addresses", "kos/discovery.h",                                                        \
      "`addresses`: as transports dial them, NULL-terminated, at most 64; empty: those of the record.")                \
    /* ---- kos/bridge.h ---- */                                                                                       \
    X(BRIDGE_DELIVER, "bridge.deliver", "kos/bridge.h",                                                                \
      "complete(op, KOS_OK) when that network has it durably, or when it stands in a queue of yours in your state "    \
      "(where one message goes to many servers).")                                                                     \
    X(BRIDGE_KEY, "bridge.key", "kos/bridge.h",                                                                        \
      "its id there, unique within origin: the same (origin, key) is taken once")                                      \
    X(BRIDGE_CURSOR, "bridge.cursor", "kos/bridge.h",                                                                  \
      "what to hand back at `resume`, at most 1024 bytes; empty: none")                                                \
    X(BRIDGE_INJECT, "bridge.inject", "kos/bridge.h",                                                                  \
      "else refused, by name: do not advance beyond it unless kos_error_retry() is 0.")                                \
    /* ---- kos/vector.h ---- */                                                                                       \
    X(VECTOR_OPEN, "vector.open", "kos/vector.h", "One that is not there is made. Result: u64 count of items.")        \
    X(VECTOR_SPACE, "vector.space", "kos/vector.h",                                                                    \
      "KOS_E_STATE: it is there with another space; KOS_E_UNSUPPORTED: a metric this backend lacks.")                  \
    X(VECTOR_UPSERT, "vector.upsert", "kos/vector.h", "All or nothing, durable on completion. Result: u32 count "      \
      "taken.")                                                                                                        \
    X(VECTOR_VERSION, "vector.version", "kos/vector.h", "a lower or equal one than stored is ignored")                 \
    X(VECTOR_GET, "vector.get", "kos/vector.h",                                                                        \
      "Result: the item as one pair (kos_pair_next): key = id, value = u64 version, u32 flags, 32 bytes digest, "      \
      "`dimension` floats (none for a tombstone), metadata; native byte order, no padding.")                           \
    X(VECTOR_TOMBSTONE, "vector.tombstone", "kos/vector.h", "Tombstones are got like items.")                          \
    X(VECTOR_REMOVE, "vector.remove", "kos/vector.h",                                                                  \
      "Forgets the item as if it had never been, when `version` is above its own: KOS_E_STALE, KOS_E_NOTFOUND.")       \
    X(VECTOR_QUERY, "vector.query", "kos/vector.h",                                                                    \
      "Result: pairs, nearest first: key = id, value = float distance, then metadata.")                                \
    X(VECTOR_DISTANCE, "vector.distance", "kos/vector.h",                                                              \
      "Distance: squared L2; minus the inner product; 1 - cosine.")                                                    \
    X(VECTOR_HIDDEN, "vector.hidden", "kos/vector.h", "Tombstones are not found.")                                     \
    X(VECTOR_FILTER, "vector.filter", "kos/vector.h",                                                                  \
      "canonical JSON object: member = value, all must hold; empty: none")                                             \
    X(VECTOR_SCAN, "vector.scan", "kos/vector.h",                                                                      \
      "Items by digest order within [from, to), at most limit, fewer when 4 MiB are full.")                            \
    X(VECTOR_FINGERPRINT, "vector.fingerprint", "kos/vector.h",                                                        \
      "Of the items (tombstones too) within [from, to): SHA-256 of their digests, one behind the other in order.")     \
    X(VECTOR_STATS, "vector.stats", "kos/vector.h", "Result: canonical JSON object.")                                  \
    X(VECTOR_DROP, "vector.drop", "kos/vector.h", "Forgets the collection with all that is in it, and closes it.")     \
    X(VECTOR_SNAPSHOT, "vector.snapshot", "kos/vector.h",                                                              \
      "A consistent copy into an empty directory below kos_host.directory (right \"files\"); queries go on.")          \
    /* ---- kos/control.h ---- */                                                                                      \
    X(CONTROL_REPLY, "control.reply", "kos/control.h", "Answer with kos_control_host.reply.")                          \
    X(CONTROL_ANSWER, "control.answer", "kos/control.h",                                                               \
      "status KOS_OK: `parameters` (a JSON object, canonical or loose) is the answer;")                                \
    X(CONTROL_MORE, "control.more", "kos/control.h", "continues 1: more follow (only with KOS_CALL_MORE).")            \
    X(CONTROL_ENDS, "control.ends", "kos/control.h",                                                                   \
      "Below 0: the error, whose name, `text` and retry advice reach the caller; ends the call.")                      \
    X(CONTROL_EVENT, "control.event", "kos/control.h", "a stable word of yours and a JSON object.")                    \
    /* ---- kos/agents.h ---- */                                                                                       \
    X(AGENTS_INPUTS, "agents.inputs", "kos/agents.h", "canonical JSON array of strings and {\"base64\": ...}")         \
    /* ---- kos/http.h ---- */                                                                                         \
    X(HTTP_RESPOND, "http.respond", "kos/http.h",                                                                      \
      "Answers request `request` of kos_http_user.request. Exactly once.")                                             \
    X(HTTP_REQUEST, "http.request", "kos/http.h",                                                                      \
      "Request ids are the service's, until respond. `prefix` as given to serve.")                                     \
    X(HTTP_PREFIX, "http.prefix", "kos/http.h",                                                                        \
      "No two prefixes are alike; of two that fit, the longer has the request.")                                       \
    X(HTTP_BODY, "http.body", "kos/http.h",                                                                            \
      "A body above body_max_bytes is answered 413 by the service itself.")                                            \
    X(HTTP_FETCH, "http.fetch", "kos/http.h",                                                                          \
      "-> response(op), exactly once. `timeout_ms` for the whole of it. Redirects are not followed.")                  \
    X(HTTP_CANCEL, "http.cancel", "kos/http.h",                                                                        \
      "-> response(op, KOS_E_CANCELLED), unless it is on its way")                                                     \
    X(HTTP_GONE, "http.gone", "kos/http.h", "one whose client went away is ignored.")                                  \
    /* ---- kos/stream.h ---- */                                                                                       \
    X(STREAM_IDS, "stream.ids", "kos/stream.h", "what you open has an even one of your choosing")                      \
    X(STREAM_CREDIT, "stream.credit", "kos/stream.h",                                                                  \
      "a side may send only as many bytes as it was given, nothing at first.")                                         \
    X(STREAM_CLOSE, "stream.close", "kos/stream.h", "No more comes from you; what you sent before still goes.")

enum rule {
    RULE_NONE,
#define CONFORM_RULE_ENUM_(constant, name, header, sentence) RULE_##constant,
    CONFORM_RULES(CONFORM_RULE_ENUM_)
#undef CONFORM_RULE_ENUM_
    RULE_COUNT,
};

struct rule_text {
    const char *name, *header, *sentence;
};
extern const struct rule_text conform_rules[RULE_COUNT];

#endif
