/* SPDX-License-Identifier: Apache-2.0
 *
 * What a person or a program reads: tables, times, JSON. Names and texts come from other nodes, so nothing reaches a
 * terminal unescaped.
 */
#include <stdlib.h>
#include <unistd.h>

#include "core/buf.h"
#include "kosctl/kosctl.h"

enum { COLUMNS_MAX = 12 };

struct table {
    const char *const *headings;
    size_t columns, rows;
    size_t widths[COLUMNS_MAX];
    char ***cells;
};

void kosctl_print_json(json_t *document)
{
    json_dumpf(document, stdout, JSON_ENCODE_ANY | (isatty(1) ? JSON_INDENT(2) : JSON_COMPACT));
    fputc('\n', stdout);
    json_decref(document);
}

bool kosctl_colour(int fd)
{
    const char *no = getenv("NO_COLOR"), *term = getenv("TERM");
    return isatty(fd) && !(no && *no) && !(term && strcmp(term, "dumb") == 0);
}

const char *str(json_t *object, const char *name)
{
    const char *text = json_string_value(json_object_get(object, name));
    return text ? text : "";
}

char *escaped(const char *text)
{
    char *out = kos_new(4 * strlen(text) + 1), *to = out;
    for (const unsigned char *c = (const unsigned char *)text; *c; c++)
        if (*c < 0x20 || *c == 0x7f)
            to += sprintf(to, *c == '\n' ? "\\n" : "\\x%02x", *c);
        else
            *to++ = (char)*c;
    *to = 0;
    return out;
}

const char *since(int64_t ms, char buf[32])
{
    static const struct { int64_t ms; const char *unit; } units[] = {
        { 86400000, "d" }, { 3600000, "h" }, { 60000, "min" }, { 1000, "s" }, { 1, "ms" },
    };
    for (size_t i = 0; i < sizeof units / sizeof *units; i++)
        if (ms >= units[i].ms || i == 4) {
            snprintf(buf, 32, "%lld %s", (long long)(ms / units[i].ms), units[i].unit);
            break;
        }
    return buf;
}

/* Columns on a terminal: bytes that begin a character. */
static size_t width(const char *text)
{
    size_t n = 0;
    for (; *text; text++)
        n += ((unsigned char)*text & 0xc0) != 0x80;
    return n;
}

struct table *columns_new(const char *const *headings)
{
    struct table *table = kos_new(sizeof *table);
    table->headings = headings;
    for (; headings[table->columns] && table->columns < COLUMNS_MAX; table->columns++)
        table->widths[table->columns] = width(headings[table->columns]);
    return table;
}

void table_row(struct table *table, ...)
{
    va_list args;
    char **cells = kos_new(table->columns * sizeof *cells);
    va_start(args, table);
    for (size_t i = 0; i < table->columns; i++) {
        const char *text = va_arg(args, const char *);
        cells[i] = escaped(text ? text : "");
        if (width(cells[i]) > table->widths[i])
            table->widths[i] = width(cells[i]);
    }
    va_end(args);
    table->cells = realloc(table->cells, (table->rows + 1) * sizeof *table->cells);
    if (!table->cells)
        abort();
    table->cells[table->rows++] = cells;
}

static void line_print(const struct table *table, const char *const *cells)
{
    for (size_t i = 0; i < table->columns; i++) {
        fputs(cells[i], stdout);
        if (i + 1 < table->columns)
            printf("%*s", (int)(table->widths[i] - width(cells[i]) + 2), "");
    }
    fputc('\n', stdout);
}

void table_print(struct table *table)
{
    if (table->rows) {
        if (kosctl_colour(1))
            fputs("\033[1m", stdout);
        line_print(table, table->headings);
        if (kosctl_colour(1))
            fputs("\033[0m", stdout);
    }
    for (size_t i = 0; i < table->rows; i++) {
        line_print(table, (const char *const *)table->cells[i]);
        for (size_t j = 0; j < table->columns; j++)
            free(table->cells[i][j]);
        free(table->cells[i]);
    }
    free(table->cells);
    free(table);
}
