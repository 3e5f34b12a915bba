/* SPDX-License-Identifier: Apache-2.0
 *
 * KISS frames as a modem sends them. Whatever comes, a whole frame after it is taken, and what is encoded decodes.
 */
#include "fuzz.h"

#include "../../plugins/transport/lora/kiss.h"

static void again(const struct kiss_decoder *frame)
{
    static struct kiss_decoder decoder;
    uint8_t encoded[KISS_ENCODED_MAX];
    size_t len = kiss_encode(frame->command, kos_bytes(frame->data, frame->len), encoded);
    FUZZ_CHECK(len > 0 && len <= sizeof encoded);
    memset(&decoder, 0, sizeof decoder);
    for (size_t i = 0; i < len; i++)
        FUZZ_CHECK(kiss_push(&decoder, encoded[i]) == (i == len - 1));
    FUZZ_CHECK(decoder.command == frame->command && decoder.len == frame->len);
    FUZZ_CHECK(memcmp(decoder.data, frame->data, frame->len) == 0);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct kiss_decoder *decoder = calloc(1, sizeof *decoder);
    uint8_t encoded[KISS_ENCODED_MAX];
    FUZZ_CHECK(decoder);
    for (size_t i = 0; i < size; i++)
        if (kiss_push(decoder, data[i])) {
            FUZZ_CHECK(decoder->len <= KISS_DATA_MAX);
            again(decoder);
        }
    kiss_push(decoder, 0xc0);
    size_t len = kiss_encode(KISS_DATA, kos_bytes(data, size), encoded);
    FUZZ_CHECK((len == 0) == (size > KISS_DATA_MAX));
    bool whole = false;
    for (size_t i = 0; i < len; i++)
        whole = kiss_push(decoder, encoded[i]);
    if (len)
        FUZZ_CHECK(whole && decoder->len == size && (!size || memcmp(decoder->data, data, size) == 0));
    free(decoder);
    return 0;
}

void fuzz_seeds(fuzz_put *put, void *arg)
{
    static struct fuzz_out out;
    static const uint8_t odd[] = { 0xc0, 0x00, 0xdb, 0xdc, 0xdb, 0xdd, 0xdb, 0x41, 0xc0,
                                   0xc0, 0xc0, 0x23, 0x60, 0xc0, 0x08, 0x46, 0xc0 };
    uint8_t frame[KISS_DATA_MAX + 1], encoded[KISS_ENCODED_MAX];
    put(arg, kos_bytes(odd, sizeof odd));
    for (size_t i = 0; i < sizeof frame; i++)
        frame[i] = (uint8_t)(i * 7);
    out.len = 0;
    fuzz_add(&out, encoded, kiss_encode(KISS_FREQUENCY, kos_bytes(frame, 4), encoded));
    fuzz_add(&out, encoded, kiss_encode(KISS_DATA, kos_bytes(frame, KISS_DATA_MAX), encoded));
    put(arg, kos_bytes(out.data, out.len));
    put(arg, kos_bytes(frame, sizeof frame)); /* longer than a frame may be */
}
