/* Queues as `queue ls`, `queue info` and `top` show them. */
#pragma once

#include "cli.h"

/* A page of names, for names_each(). */
int list_queues(struct cli *cli, const struct fanq_list_options *options, const char *unused,
                struct fanq_name_list **ret_list, struct fanq_error *ret_error);

/* The figures of a queue as one object; the keys are an interface and do not change. */
void queue_info_json(struct json *json, const char *key, const struct fanq_queue_info *info);
