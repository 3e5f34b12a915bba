/* SPDX-License-Identifier: Apache-2.0
 * What the thread of bridge/nats asks of JetStream, in calls that block: which stream takes a subject, whether a message
 * lies in it, and the durable consumer of a map. */
#include "link.h"

#include <klp/json.h>
#include <stdlib.h>
#include <time.h>

enum { MS = 1000000, SCAN_MS = 2000, ANSWER_MAX = 256 << 10 };
static const char no_jetstream[] = "the server or this account has no JetStream: it needs jetstream { } in the server's "
                                   "configuration";

static int64_t clock_ms(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (int64_t)t.tv_sec * 1000 + t.tv_nsec / MS;
}

/* The code of kos for what a question ended with, and the sentence. */
static int32_t failed(natsStatus status, jsErrCode code, const char *what, char *ret_text, size_t cap)
{
    if (status == NATS_NO_RESPONDERS || code == JSNotEnabledErr || code == JSNotEnabledForAccountErr) {
        snprintf(ret_text, cap, "%s", no_jetstream);
        return KOS_E_UNREACHABLE;
    }
    natsStatus last = NATS_OK;
    const char *detail = nats_GetLastError(&last);
    snprintf(ret_text, cap, "%s: %s%s%.120s", what, natsStatus_GetText(status), detail ? ": " : "", detail ? detail : "");
    return status == NATS_TIMEOUT || status == NATS_CONNECTION_CLOSED || code == JSClusterNotAvailErr ||
            code == JSClusterNotLeaderErr
        ? KOS_E_UNREACHABLE
        : KOS_E_IO;
}

/* ---- which stream ---- */

/* KOS_OK with its name; KOS_E_NOTFOUND; KOS_E_CONFIG when there are several; else JetStream does not answer. */
static int32_t stream_of(struct link *link, const char *subject, char ret_name[256], char *ret_text, size_t cap)
{
    uint8_t question[512], *answer = NULL;
    struct klp_json_out out;
    struct kos_bytes text;
    struct klp_json object, names, name;
    struct klp_json_iter iter;
    natsMsg *reply = NULL;
    size_t len;
    klp_json_begin(&out, question, sizeof question);
    klp_json_object(&out);
    klp_json_name(&out, "subject");
    klp_json_put_cstr(&out, subject);
    klp_json_close(&out, '}');
    if (klp_json_end(&out, &text) < 0) {
        snprintf(ret_text, cap, "the subject %.100s is no UTF-8", subject);
        return KOS_E_CONFIG;
    }
    natsStatus status = natsConnection_Request(&reply, link->nc, "$JS.API.STREAM.NAMES", text.data, (int)text.len,
                                               LINK_ASK_MS);
    if (status != NATS_OK)
        return failed(status, 0, "JetStream was asked for its streams", ret_text, cap);
    int32_t read = klp_json_canonicalise(kos_bytes(natsMsg_GetData(reply), (size_t)natsMsg_GetDataLength(reply)), ANSWER_MAX,
                                         &answer, &len, NULL);
    natsMsg_Destroy(reply);
    if (read < 0 || klp_json_read(kos_bytes(answer, len), ANSWER_MAX, &object, NULL) < 0) {
        free(answer);
        snprintf(ret_text, cap, "JetStream gave an answer that is not JSON");
        return KOS_E_PROTOCOL;
    }
    size_t count = 0;
    int32_t result = KOS_OK;
    names = klp_json_get(object, "streams");
    if (klp_json_get(object, "error").type != KLP_JSON_NONE) {
        int64_t code = 0;
        klp_json_int(klp_json_get(klp_json_get(object, "error"), "err_code"), &code);
        result = failed(NATS_ERR, (jsErrCode)code, "JetStream refused to name its streams", ret_text, cap);
    } else if (names.type == KLP_JSON_ARRAY) {
        klp_json_iter_init(names, &iter);
        while (klp_json_next(&iter, NULL, &name) && klp_json_string(name, ret_name, 256, NULL) == KOS_OK)
            count++;
    }
    free(answer);
    if (result < 0)
        return result;
    if (count > 1) {
        snprintf(ret_text, cap, "%zu streams hold messages of %.100s: say which with stream = \"NAME\"", count, subject);
        return KOS_E_CONFIG;
    }
    if (count == 1)
        return KOS_OK;
    snprintf(ret_text, cap,
             "no stream takes the subject %.60s: make one (nats stream add NAME --subjects '%.60s'), or let the bridge make "
             "it: streams = ( { name = \"NAME\"; ... } )",
             subject, subject);
    return KOS_E_NOTFOUND;
}

/* ---- streams that the policy wants to be there ---- */

static natsStatus stream_make(struct link *link, const struct link_stream *wanted, jsErrCode *ret_code)
{
    const char *subjects[64];
    jsStreamConfig config;
    char *copy = strdup(wanted->subjects), *rest = copy;
    jsStreamConfig_Init(&config);
    config.Name = wanted->name;
    config.Subjects = subjects;
    for (char *word; copy && config.SubjectsLen < 64 && (word = strtok_r(rest, " ", &rest));)
        subjects[config.SubjectsLen++] = word;
    config.Storage = wanted->memory ? js_MemoryStorage : js_FileStorage;
    config.Replicas = wanted->replicas;
    config.MaxAge = wanted->max_age_ms * MS;
    config.Duplicates = wanted->duplicates_ms * MS;
    if (wanted->max_bytes)
        config.MaxBytes = wanted->max_bytes;
    natsStatus status = copy ? js_AddStream(NULL, link->js, &config, NULL, ret_code) : NATS_NO_MEMORY;
    free(copy);
    return status;
}

void link_streams_make(struct link *link)
{
    for (size_t i = 0; i < link->options->stream_count; i++) {
        const struct link_stream *wanted = &link->options->streams[i];
        jsStreamInfo *info = NULL;
        jsErrCode code = 0;
        char what[300], text[300];
        natsStatus status = js_GetStreamInfo(&info, link->js, wanted->name, NULL, &code);
        jsStreamInfo_Destroy(info);
        if (status == NATS_NOT_FOUND || code == JSStreamNotFoundErr)
            status = stream_make(link, wanted, &code);
        if (status == NATS_OK)
            continue;
        snprintf(what, sizeof what, "the stream %.100s cannot be made", wanted->name);
        int32_t error = failed(status, code, what, text, sizeof text);
        link_say(link, LINK_NOTE, error, text);
    }
}

/* ---- consumers ---- */

static void consumer_config(const struct link_command *c, jsConsumerConfig *ret_config)
{
    jsConsumerConfig_Init(ret_config);
    ret_config->Durable = c->durable;
    ret_config->FilterSubject = c->subject;
    ret_config->AckPolicy = js_AckExplicit;
    ret_config->AckWait = c->ack_wait_ms * MS;
    ret_config->MaxAckPending = 2 * (int64_t)c->window;
    ret_config->DeliverPolicy = js_DeliverAll;
}

static bool consumer_fits(const jsConsumerConfig *has, const jsConsumerConfig *wanted)
{
    return has->FilterSubject && strcmp(has->FilterSubject, wanted->FilterSubject) == 0 &&
        has->AckPolicy == js_AckExplicit && has->AckWait == wanted->AckWait &&
        has->MaxAckPending == wanted->MaxAckPending && !has->DeliverSubject;
}

/* Messages that a former life of ours was given and did not acknowledge would come only after ack_wait, behind later ones.
 * So a consumer with such messages is made anew behind what was acknowledged; what was acknowledged beyond that is
 * recognised. Not where that could lose messages: with retention by interest the stream drops what nobody waits for. */
static natsStatus consumer_make(struct link *link, const struct link_command *c, const jsStreamInfo *stream,
                                uint64_t *ret_floor, jsErrCode *ret_code)
{
    jsConsumerConfig wanted;
    jsConsumerInfo *info = NULL;
    consumer_config(c, &wanted);
    natsStatus status = js_GetConsumerInfo(&info, link->js, stream->Config->Name, c->durable, NULL, ret_code);
    bool missing = status == NATS_NOT_FOUND || *ret_code == JSConsumerNotFoundErr;
    if (status != NATS_OK && !missing)
        return status;
    if (missing && c->cursor_created == (uint64_t)stream->Created) {
        *ret_floor = c->cursor_seq;
    } else if (missing) {
        wanted.DeliverPolicy = c->only_new ? js_DeliverNew : js_DeliverAll;
        *ret_floor = c->only_new ? stream->State.LastSeq : 0;
    } else {
        *ret_floor = info->AckFloor.Stream;
        bool keep = stream->Config->Retention == js_InterestPolicy ||
            (info->NumAckPending == 0 && consumer_fits(info->Config, &wanted));
        jsConsumerInfo_Destroy(info);
        if (keep)
            return NATS_OK;
        status = js_DeleteConsumer(link->js, stream->Config->Name, c->durable, NULL, ret_code);
        if (status != NATS_OK && status != NATS_NOT_FOUND)
            return status;
    }
    if (*ret_floor > 0 && wanted.DeliverPolicy == js_DeliverAll && stream->Config->Retention == js_LimitsPolicy) {
        wanted.DeliverPolicy = js_DeliverByStartSequence;
        wanted.OptStartSeq = *ret_floor + 1;
    }
    *ret_code = 0;
    return js_AddConsumer(NULL, link->js, stream->Config->Name, &wanted, NULL, ret_code);
}

static int32_t set_up(struct link *link, const struct link_command *c, struct link_event *event)
{
    char inbox[96], what[200];
    jsStreamInfo *info = NULL;
    jsErrCode code = 0;
    int32_t found = KOS_OK;
    if (*c->stream)
        snprintf(event->name, sizeof event->name, "%s", c->stream);
    else
        found = stream_of(link, c->subject, event->name, event->text, sizeof event->text);
    if (found < 0)
        return found;
    natsStatus status = js_GetStreamInfo(&info, link->js, event->name, NULL, &code);
    if (status == NATS_NOT_FOUND || code == JSStreamNotFoundErr) {
        snprintf(event->text, sizeof event->text,
                 "there is no stream %.60s: make it (nats stream add %.60s --subjects '%.60s'), or let the bridge make it by "
                 "the setting streams",
                 event->name, event->name, c->subject);
        return KOS_E_NOTFOUND;
    }
    snprintf(what, sizeof what, "the stream %.100s was looked at", event->name);
    if (status == NATS_OK) {
        event->created = (uint64_t)info->Created;
        snprintf(what, sizeof what, "the consumer %.60s of the stream %.60s was to be made", c->durable, event->name);
        code = 0;
        status = consumer_make(link, c, info, &event->seq, &code);
        jsStreamInfo_Destroy(info);
    }
    if (status == NATS_OK) {
        snprintf(inbox, sizeof inbox, "%s.m.%u.%llu", link->options->inbox, c->map, (unsigned long long)c->token);
        status = link_subscribe(link, c->map, c->token, inbox);
    }
    return status == NATS_OK ? KOS_OK : failed(status, code, what, event->text, sizeof event->text);
}

void link_setup(struct link *link, const struct link_command *c)
{
    struct link_event *event = link_event_new(LINK_READY);
    if (!event)
        return;
    event->map = c->map;
    event->token = c->token;
    event->status = set_up(link, c, event);
    link_tell(link, event);
}

/* ---- whether a message is there ---- */

/* Looks through the headers of the subject's messages, from c->cursor_seq on or since c->since_ms: beyond the window in
 * which the server itself recognises a repeated id. KOS_E_EXISTS, KOS_OK: it is not there, KOS_E_BUSY: go on behind
 * *ret_seq. */
static int32_t scan(struct link *link, const struct link_command *c, const char *stream, uint64_t *ret_seq)
{
    jsSubOptions options;
    natsSubscription *sub = NULL;
    jsConsumerInfo *info = NULL;
    int64_t end = clock_ms() + SCAN_MS;
    int32_t result = KOS_E_BUSY;
    uint64_t left = 0;
    jsSubOptions_Init(&options);
    options.Stream = stream;
    options.Ordered = true;
    options.Config.HeadersOnly = true;
    options.Config.DeliverPolicy = c->cursor_seq ? js_DeliverByStartSequence : js_DeliverByStartTime;
    options.Config.OptStartSeq = c->cursor_seq ? c->cursor_seq + 1 : 0;
    options.Config.OptStartTime = c->cursor_seq ? 0 : c->since_ms * MS;
    *ret_seq = c->cursor_seq;
    if (js_SubscribeSync(&sub, link->js, c->subject, NULL, &options, NULL) != NATS_OK)
        return KOS_E_BUSY;
    if (natsSubscription_GetConsumerInfo(&info, sub, NULL, NULL) == NATS_OK)
        left = info->NumPending + info->Delivered.Consumer;
    else
        end = 0;
    jsConsumerInfo_Destroy(info);
    if (end && left == 0)
        result = KOS_OK;
    while (result == KOS_E_BUSY && clock_ms() < end) {
        natsMsg *msg = NULL;
        jsMsgMetaData *meta = NULL;
        const char *id = NULL;
        if (natsSubscription_NextMsg(&msg, sub, end - clock_ms() + 1) != NATS_OK)
            break;
        if (natsMsgHeader_Get(msg, "Nats-Msg-Id", &id) == NATS_OK && strcmp(id, c->msg_id) == 0)
            result = KOS_E_EXISTS;
        if (natsMsg_GetMetaData(&meta, msg) == NATS_OK) {
            *ret_seq = meta->Sequence.Stream;
            if (meta->NumPending == 0 && result != KOS_E_EXISTS)
                result = KOS_OK;
        }
        jsMsgMetaData_Destroy(meta);
        natsMsg_Destroy(msg);
    }
    natsSubscription_Destroy(sub);
    return result;
}

/* Within this time the stream itself recognises a repeated Nats-Msg-Id; half of it, for clocks and queues. */
static bool recognises(struct link *link, const char *stream, int64_t age_ms)
{
    jsStreamInfo *info = NULL;
    bool does = js_GetStreamInfo(&info, link->js, stream, NULL, NULL) == NATS_OK &&
        age_ms < info->Config->Duplicates / MS / 2;
    jsStreamInfo_Destroy(info);
    return does;
}

void link_look(struct link *link, const struct link_command *c)
{
    struct link_event *event = link_event_new(LINK_LOOKED);
    if (!event)
        return;
    event->token = c->token;
    event->status = stream_of(link, c->subject, event->name, event->text, sizeof event->text);
    if (event->status == KOS_OK && c->msg_id && !recognises(link, event->name, c->age_ms))
        event->status = scan(link, c, event->name, &event->seq);
    link_tell(link, event);
}
