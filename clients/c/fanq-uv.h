/* fanq-uv: drives a fanq client from a libuv loop.
 *
 *     fanq_open(NULL, NULL, &client);
 *     fanq_uv_attach(loop, client, &adapter);
 *     ... requests with callbacks ...
 *     uv_run(loop, UV_RUN_DEFAULT);
 *
 * The adapter keeps the loop alive until it is detached, the client is closed (fanq_close()), or freed; it
 * notices the latter two by itself, also inside a callback. Everything happens on the loop's thread. */
#ifndef FANQ_UV_H
#define FANQ_UV_H

#include <uv.h>

#include "fanq.h"

#ifdef __cplusplus
extern "C" {
#endif

struct fanq_uv;

/* Gives an adapter that drives client from loop; it uses the client's fanq_on_free().
 * 0, FANQ_ERR_NOMEM, or FANQ_ERR_IO (libuv could not watch the descriptor). ret_adapter may be NULL. */
FANQ_EXPORT int fanq_uv_attach(uv_loop_t *loop, struct fanq *client, struct fanq_uv **ret_adapter);

/* Stops driving; the client lives on and can be attached again. The adapter is gone after this call, its
 * memory once the loop has closed its handles. Not after the client was closed or freed. */
FANQ_EXPORT void fanq_uv_detach(struct fanq_uv *adapter);

#ifdef __cplusplus
}
#endif
#endif
