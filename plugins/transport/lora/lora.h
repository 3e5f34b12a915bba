/* SPDX-License-Identifier: Apache-2.0
 * Private to transport/lora: one modem, the endpoints and links that share its medium.
 *   lora.c   the plugin: settings, life, who is called when
 *   modem.c  the serial port: bringing the modem up, frames in and out, its end
 *   air.c    when the next frame may leave, and when credit comes back
 *   link.c   endpoints, links and the header of each frame
 *   keep.c   the airtime used, across restarts
 *   status.c org.kos.lora
 *
 * The header of a frame on the air, 5 bytes, numbers big-endian:
 *   0     version (high nibble, 1) and kind (low nibble, 0: a datagram)
 *   1-2   short address it is for; ffff is reserved for all who hear
 *   3-4   short address it is from; 0000 and ffff are nobody's
 *
 * Nothing is told to the host inside a call of the host's: calls change state and set the timer TIMER_WORK. */
#ifndef KOS_LORA_H
#define KOS_LORA_H

#include "airtime.h"
#include "kiss.h"

#include <kos/control.h>
#include <kos/plugin.h>
#include <kos/transport.h>
#include <uthash.h>

enum {
    LORA_HEADER = 5,
    LORA_VERSION = 1,
    LORA_EVERYONE = 0xffff,
    LORA_MTU_MIN = 64,
    LORA_WINDOW_FRAMES = 2,
    LORA_HOLD_FRAMES = 4,            /* received and waiting for credit, per link */
    LORA_ENDPOINTS_MAX = 8,
    LORA_FLUSH_MS = 2000,            /* transport.h: what link_close may take */
    LORA_STEP_MS = 2000,             /* the modem's time for an answer */
    LORA_DETECT_MS = 1000,           /* between two tries to find it: opening the port restarts many boards */
    LORA_DETECT_TRIES = 8,
    LORA_READY_MARGIN_MS = 250,      /* after a frame's airtime the modem is asked: most firmware is busy until then */
    LORA_READY_ASKS = 10,            /* without an answer */
    LORA_READY_MAX_MS = 300000,      /* answers that it is not: a modem waits for a free channel, but not for ever */
    LORA_BACKOFF_MS = 1000,
    LORA_BACKOFF_MAX_MS = 60000,
    LORA_OUT_BYTES = 4096,
    LORA_TEXT = 400,
};

enum lora_timer { TIMER_WORK = 1, TIMER_MODEM, TIMER_AIR, TIMER_IDLE };
enum lora_modem_state { MODEM_CLOSED, MODEM_RESTING, MODEM_OPENING, MODEM_DETECTING, MODEM_SETTING, MODEM_ONLINE };

/* A datagram on its way, without header. */
struct lora_frame {
    struct lora_frame *next;
    size_t len;
    uint8_t data[];
};
struct lora_queue {
    struct lora_frame *first, **last;
    uint32_t count;
    size_t bytes;
};

struct lora_endpoint {
    uint64_t id;
    uint16_t address;
    bool up, ending;
    int32_t status;
    char text[LORA_TEXT];
    struct lora_endpoint *prev, *next;
};

struct lora_link {
    uint64_t id;
    uint64_t endpoint;               /* it was accepted by; 0: dialled */
    uint32_t pair;                   /* local << 16 | remote, its place in the medium */
    bool up, flushing, ending, placed;
    int32_t status;
    char text[LORA_TEXT];
    struct lora_queue out, held;     /* waiting for the air; waiting for the host's credit */
    size_t in_air;                   /* bytes of it the modem has */
    uint64_t credit_in, owed;        /* what we may hand over; what has left and is not given back yet */
    uint64_t last_ms, flush_ms;      /* mono; something moved; flushing ends */
    uint64_t sent, received, refused;
    UT_hash_handle by_id, by_pair;
};

struct lora_modem {
    enum lora_modem_state state;
    int fd, watching;
    uint64_t open_op;
    struct kiss_decoder decoder;
    uint8_t out[LORA_OUT_BYTES];
    size_t out_len;
    unsigned step, tries;
    bool detected;
    uint8_t version[2];
    int platform, mcu;               /* -1: not told */
    uint64_t backoff_ms, rest_until_ms;
    int rssi_dbm;
    double snr_db;
    bool heard;
};

/* A call of org.kos.lora to be answered. */
struct lora_call {
    uint64_t id;
    char method[64];
    struct lora_call *prev, *next;
};

struct lora {
    const struct kos_host *host;
    const struct kos_transport_host *events;
    const struct kos_control_host *control;
    bool stopping;

    const char *device;
    struct lora_radio radio;
    struct lora_rule rule;
    uint32_t limit_short, limit_long;  /* of the modem itself, hundredths of a percent */
    uint32_t mtu;                      /* at the medium, header included */
    uint16_t address;                  /* by setting; 0: none */
    uint32_t links_max;
    uint64_t idle_ms, jitter_ms;
    uint64_t airtime_ms_per_hour;

    struct lora_modem modem;
    struct lora_endpoint *endpoints;
    struct lora_link *links_by_id, *links_by_pair;
    uint64_t next_id, next_op, turn;   /* turn: the link that sent last */

    struct lora_budget hour, dwell;
    bool in_air;
    uint64_t air_link;                 /* whose frame the modem has */
    uint64_t air_us, air_began_ms;
    uint32_t air_asks;
    uint64_t quiet_until_ms;
    bool told_used_up;
    uint64_t sent, received, refused, foreign, airtime_us;
    uint64_t keep_op;                  /* reading or writing; 0: neither */
    bool keep_known, keep_dirty;       /* read; changed since the last write began */

    struct lora_call *calls;
};

/* lora.c */
uint64_t lora_mono_ms(const struct lora *lora);
void lora_work_soon(struct lora *lora);
#if defined(__GNUC__)
__attribute__((format(printf, 3, 4)))
#endif
void lora_log(struct lora *lora, int32_t level, const char *format, ...);

/* modem.c; lora_modem_fail ends all endpoints and links with the sentence */
void lora_modem_need(struct lora *lora);
void lora_modem_close(struct lora *lora);
void lora_modem_opened(struct lora *lora, uint64_t op, int32_t status, int fd, const char *text);
void lora_modem_ready(struct lora *lora, int32_t events);
void lora_modem_timer(struct lora *lora);
void lora_modem_write(struct lora *lora, uint8_t command, struct kos_bytes data);
void lora_modem_fail(struct lora *lora, int32_t status, const char *text);
const char *lora_modem_state_name(const struct lora *lora);

/* air.c */
void lora_air_run(struct lora *lora);
void lora_air_heard(struct lora *lora);
void lora_air_over(struct lora *lora);
void lora_air_timer(struct lora *lora);
void lora_air_reset(struct lora *lora);
uint64_t lora_air_wait_ms(const struct lora *lora, uint64_t us);

/* link.c */
void lora_queue_init(struct lora_queue *queue);
bool lora_queue_add(struct lora_queue *queue, const struct kos_bytes *pieces, uint32_t count, size_t len);
struct lora_frame *lora_queue_take(struct lora_queue *queue);
void lora_address_text(uint16_t address, char ret_text[24]);
bool lora_address_read(const char *text, bool may_be_empty, uint16_t *ret_address);
void lora_listen(void *self, uint64_t endpoint, const char *address);
void lora_endpoint_close(void *self, uint64_t endpoint);
void lora_dial(void *self, uint64_t link, const char *address);
void lora_send(void *self, uint64_t link, const struct kos_bytes *pieces, uint32_t count);
void lora_credit(void *self, uint64_t link, uint64_t bytes);
void lora_link_close(void *self, uint64_t link, int32_t flush);
void lora_received(struct lora *lora, struct kos_bytes frame);
void lora_end_all(struct lora *lora, int32_t status, const char *text);
void lora_links_work(struct lora *lora);   /* tells the host what is due */
void lora_links_idle(struct lora *lora);
bool lora_anything(const struct lora *lora);

/* status.c */
extern const struct kos_control lora_control;
void lora_calls_answer(struct lora *lora, bool cancelled);

/* keep.c; airtime is the law's, not the process': what was used counts after a restart too */
void lora_keep_read(struct lora *lora);
void lora_keep_write(struct lora *lora);
void lora_keep_completed(struct lora *lora, uint64_t op, int32_t status, struct kos_bytes result);

#endif
