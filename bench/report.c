#include "report.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { COLUMN_BYTES_MIN = 9, CELL_BYTES = 32 };

static bool report_json;

void report_set_json(bool json)
{
    report_json = json;
}

/* ---- JSON ---- */

static void json_figure(const struct figure *figure)
{
    printf("\"%s\":", figure->name); /* names and texts are ours: nothing to escape */
    switch (figure->kind) {
    case FIGURE_TEXT:
        printf("\"%s\"", figure->text);
        break;
    case FIGURE_COUNT:
    case FIGURE_RATE:
        printf("%.0f", figure->value);
        break;
    case FIGURE_RATIO:
        printf("%.3f", figure->value);
        break;
    case FIGURE_FLAG:
        printf("%s", figure->value != 0 ? "true" : "false");
        break;
    }
}

static void json_row(const struct figure *figures, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        putchar(i == 0 ? '{' : ',');
        json_figure(&figures[i]);
    }
    puts("}");
}

/* ---- the table ---- */

static void format_rate(double value, char text[CELL_BYTES])
{
    static const char units[] = " kMGT";
    size_t unit = 0;

    while (value >= 10000 && unit < sizeof units - 2) {
        value /= 1000;
        unit++;
    }
    if (unit == 0)
        (void)snprintf(text, CELL_BYTES, "%.0f", value);
    else
        (void)snprintf(text, CELL_BYTES, "%.*f %c",
                       value < 100    ? 2
                       : value < 1000 ? 1
                                      : 0,
                       value, units[unit]);
}

static void format_figure(const struct figure *figure, char text[CELL_BYTES])
{
    switch (figure->kind) {
    case FIGURE_TEXT:
        (void)snprintf(text, CELL_BYTES, "%s", figure->text);
        break;
    case FIGURE_COUNT:
        (void)snprintf(text, CELL_BYTES, "%.0f", figure->value);
        break;
    case FIGURE_RATE:
        format_rate(figure->value, text);
        break;
    case FIGURE_RATIO:
        (void)snprintf(text, CELL_BYTES, "%.2f", figure->value);
        break;
    case FIGURE_FLAG:
        (void)snprintf(text, CELL_BYTES, "%s", figure->value != 0 ? "yes" : "no");
        break;
    }
}

static int column_width(const struct figure *figure)
{
    size_t title = strlen(figure->title);

    return (int)(title > COLUMN_BYTES_MIN ? title : COLUMN_BYTES_MIN);
}

static void table_head(const struct figure *figures, size_t count)
{
    static const char *last_case;

    if (last_case != NULL && strcmp(last_case, figures[0].text) == 0)
        return;
    if (last_case != NULL)
        putchar('\n');
    last_case = figures[0].text;
    for (size_t i = 0; i < count; i++)
        if (figures[i].title != NULL)
            printf("%*s  ", column_width(&figures[i]), figures[i].title);
    putchar('\n');
}

/* The first figure names the case, and so the columns. */
static void table_row(const struct figure *figures, size_t count)
{
    table_head(figures, count);
    for (size_t i = 0; i < count; i++) {
        char text[CELL_BYTES];

        if (figures[i].title == NULL)
            continue;
        format_figure(&figures[i], text);
        printf("%*s  ", column_width(&figures[i]), text);
    }
    putchar('\n');
}

/* ---- for both ---- */

void report_row(const struct figure *figures, size_t count)
{
    report_progress("%s", "");
    if (report_json)
        json_row(figures, count);
    else
        table_row(figures, count);
    fflush(stdout);
}

void report_progress(const char *format, ...)
{
    va_list arguments;

    if (!isatty(STDERR_FILENO))
        return;
    fputs("\r\033[K", stderr);
    va_start(arguments, format);
    vfprintf(stderr, format, arguments);
    va_end(arguments);
    fflush(stderr);
}

static int compare_doubles(const void *a, const void *b)
{
    double left = *(const double *)a, right = *(const double *)b;

    return (left > right) - (left < right);
}

double median(double *values, size_t count)
{
    if (count == 0)
        return 0;
    qsort(values, count, sizeof *values, compare_doubles);
    return count % 2 == 1 ? values[count / 2] : (values[count / 2 - 1] + values[count / 2]) / 2;
}
