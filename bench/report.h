/* What the bench prints: rows of figures on stdout, as a table for people or one JSON object a line; progress
 * on stderr when that is a terminal. */
#pragma once

#include <stdbool.h>
#include <stddef.h>

enum figure_kind {
    FIGURE_TEXT,
    FIGURE_COUNT, /* a whole number */
    FIGURE_RATE,  /* a large number; people read it as 12.3 M */
    FIGURE_RATIO, /* a small number with its fraction */
    FIGURE_FLAG   /* 0: no; else yes */
};

struct figure {
    const char *name;  /* the key in JSON */
    const char *title; /* of the column; NULL: only in JSON */
    enum figure_kind kind;
    const char *text;
    double value;
};

/* Chosen once, before the first row. */
void report_set_json(bool json);

/* One row. A table gets a head whenever the columns change. */
void report_row(const struct figure *figures, size_t count);

/* Says what goes on, in place of what was said before; "" wipes it. */
void report_progress(const char *format, ...) __attribute__((format(printf, 1, 2)));

/* The middle one, or the mean of the two in the middle. Sorts the values. 0 for none. */
double median(double *values, size_t count);
