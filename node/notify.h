/* sd_notify's protocol (systemd: sd_notify(3)): a datagram to $NOTIFY_SOCKET. Does nothing where nobody listens. */
#ifndef GN_NODE_NOTIFY_H
#define GN_NODE_NOTIFY_H

void gn_notify(const char *state); /* "READY=1", "STOPPING=1" */

#endif
