// SPDX-License-Identifier: Apache-2.0

// Both ends of a connection know by which name it was made.

#include "objects.h"

#include <stddef.h>
#include <sys/socket.h>
#include <sys/un.h>

static const struct sockaddr_un address = {.sun_family = AF_UNIX, .sun_path = "socket"};
static int listener, client, accepted;

static void set_up(void)
{
    listener = must(socket(AF_UNIX, SOCK_STREAM, 0));
    must(bind(listener, (const struct sockaddr *)&address, sizeof address));
    must(listen(listener, 5));
    client = must(socket(AF_UNIX, SOCK_STREAM, 0));
    must(connect(client, (const struct sockaddr *)&address, sizeof address));
    accepted = must(accept(listener, NULL, NULL));
}

static void check(void)
{
    struct sockaddr_un name = {0};
    socklen_t length = sizeof name;

    same(send(client, "x", 1, 0), 1);
    must(getsockname(accepted, (struct sockaddr *)&name, &length));
    alike(name.sun_path, "socket");
    length = sizeof name;
    memset(&name, 0, length);
    must(getpeername(client, (struct sockaddr *)&name, &length));
    alike(name.sun_path, "socket");
    length = sizeof name;
    must(getpeername(accepted, (struct sockaddr *)&name, &length));
    same(length, offsetof(struct sockaddr_un, sun_path));
}
