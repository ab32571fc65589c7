/* Tells a supervisor that the broker is ready: systemd's notification protocol, which is one datagram. */
#pragma once

/* Sends state ("READY=1") to the socket that NOTIFY_SOCKET names; without one, or when it fails, does
 * nothing: the broker works as well unsupervised. */
void notify_supervisor(const char *state);
