/* One line for each thing that happens, for people who look for the reason. */
#pragma once

#include <stdio.h>

#include "sim.h"

void trace_request(FILE *out, const struct sim *s, uint32_t connection, const struct fanq_request *r);
void trace_connection(FILE *out, const struct sim *s, uint32_t connection, enum event_kind kind);
void trace_effect(FILE *out, const struct sim *s, const struct effect *effect);
