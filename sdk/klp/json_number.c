/* SPDX-License-Identifier: Apache-2.0
 *
 * Numbers as ECMAScript writes them (ECMA-262 Number::toString, RFC 8785 3.2.2.3): the fewest digits
 * that read back as the same double, of several the nearest.
 *
 * printf and strtod of the C library round correctly; only their decimal point follows the locale.
 * So no point is ever read: digits are picked out of %e, and read back as an integer with exponent.
 */
#include <klp/json.h>

#include "codec.h"

#include <float.h>
#include <math.h>
#include <stdlib.h>

enum { DIGITS_MAX = 17, PARSE_DIGITS_MAX = 40 };

/* value = 0.d1d2...dk * 10^point */
struct decimal {
    char digit[DIGITS_MAX + 1];
    int count;
    int point;
};

static bool reads_back(const struct decimal *decimal, double number)
{
    char text[DIGITS_MAX + 16];
    snprintf(text, sizeof text, "%.*se%d", decimal->count, decimal->digit, decimal->point - decimal->count);
    return strtod(text, NULL) == number;
}

/* The `count` digits nearest to number. */
static void round_to(double number, int count, struct decimal *ret_decimal)
{
    char text[DIGITS_MAX + 24];
    snprintf(text, sizeof text, "%.*e", count - 1, number);
    const char *p = text;
    ret_decimal->count = 0;
    for (; *p != 'e'; p++)
        if (*p >= '0' && *p <= '9')
            ret_decimal->digit[ret_decimal->count++] = *p;
    ret_decimal->point = atoi(p + 1) + 1;
}

static void next_up(struct decimal *decimal)
{
    int i = decimal->count - 1;
    while (i >= 0 && decimal->digit[i] == '9')
        decimal->digit[i--] = '0';
    if (i >= 0) {
        decimal->digit[i]++;
        return;
    }
    decimal->digit[0] = '1'; /* 99.9 to 100: the zeros behind are there already */
    decimal->point++;
}

static void shortest(double number, struct decimal *ret_decimal)
{
    int exponent;
    bool power_of_two = frexp(number, &exponent) == 0.5;
    /* 15 digits always survive the way there and back (DBL_DIG), so fewer show as trailing zeros. */
    for (int count = number < DBL_MIN ? 1 : DBL_DIG; count <= DIGITS_MAX; count++) {
        round_to(number, count, ret_decimal);
        if (reads_back(ret_decimal, number))
            break;
        /* Below a power of two doubles lie twice as close as above it: the nearest decimal, below, may
         * read back as a neighbour while the next one above it still reads back right. */
        if (power_of_two) {
            next_up(ret_decimal);
            if (reads_back(ret_decimal, number))
                break;
        }
    }
    while (ret_decimal->count > 1 && ret_decimal->digit[ret_decimal->count - 1] == '0')
        ret_decimal->count--;
}

static char *put(char *out, const char *digits, int count)
{
    memcpy(out, digits, (size_t)count);
    return out + count;
}

static char *put_zeros(char *out, int count)
{
    memset(out, '0', (size_t)count);
    return out + count;
}

size_t klp_json_number(double number, char ret_text[KLP_JSON_NUMBER_TEXT])
{
    if (!isfinite(number)) { /* against the contract, and nothing that JSON takes for a number */
        ret_text[0] = '\0';
        return 0;
    }
    if (fabs(number) <= (double)KLP_JSON_INT_MAX && number == (double)(int64_t)number)
        return (size_t)snprintf(ret_text, KLP_JSON_NUMBER_TEXT, "%lld", (long long)number); /* -0 is 0 */
    struct decimal d;
    char *out = ret_text;
    if (number < 0)
        *out++ = '-';
    shortest(fabs(number), &d);
    if (d.point > 21 || d.point <= -6) {
        out = put(out, d.digit, 1);
        if (d.count > 1) {
            *out++ = '.';
            out = put(out, d.digit + 1, d.count - 1);
        }
        out += snprintf(out, 8, "e%+d", d.point - 1);
    } else if (d.point <= 0) {
        out = put(out, "0.", 2);
        out = put_zeros(out, -d.point);
        out = put(out, d.digit, d.count);
    } else if (d.count <= d.point) {
        out = put(out, d.digit, d.count);
        out = put_zeros(out, d.point - d.count);
    } else {
        out = put(out, d.digit, d.point);
        *out++ = '.';
        out = put(out, d.digit + d.point, d.count - d.point);
    }
    *out = '\0';
    return (size_t)(out - ret_text);
}

bool json_parse_double(struct kos_bytes text, double *ret_number)
{
    const uint8_t *p = text.data, *end = p + text.len;
    char digits[PARSE_DIGITS_MAX + 16];
    int n = 0, exponent = 0;
    if (text.len > PARSE_DIGITS_MAX)
        return false;
    if (p < end && *p == '-')
        digits[n++] = (char)*p++;
    int start = n;
    while (p < end && *p >= '0' && *p <= '9')
        digits[n++] = (char)*p++;
    if (n == start || (digits[start] == '0' && n - start > 1))
        return false;
    if (p < end && *p == '.') {
        int whole = n;
        for (p++; p < end && *p >= '0' && *p <= '9'; exponent--)
            digits[n++] = (char)*p++;
        if (n == whole)
            return false;
    }
    if (p < end && (*p == 'e' || *p == 'E')) {
        bool minus = false;
        int value = 0;
        if (++p < end && (*p == '+' || *p == '-'))
            minus = *p++ == '-';
        if (p == end || end - p > 6)
            return false;
        while (p < end && *p >= '0' && *p <= '9')
            value = value * 10 + (*p++ - '0');
        exponent += minus ? -value : value;
    }
    if (p != end)
        return false;
    snprintf(digits + n, sizeof digits - (size_t)n, "e%d", exponent);
    *ret_number = strtod(digits, NULL);
    return true;
}
