// SPDX-License-Identifier: Apache-2.0

// A connection to a UNIX socket that was not accepted yet, with data in it.

#include "objects.h"

#include <sys/socket.h>
#include <sys/un.h>

static const struct sockaddr_un address = {.sun_family = AF_UNIX, .sun_path = "socket"};
static int listener, client;

static void set_up(void)
{
    listener = must(socket(AF_UNIX, SOCK_STREAM, 0));
    must(bind(listener, (const struct sockaddr *)&address, sizeof address));
    must(listen(listener, 5));
    client = must(socket(AF_UNIX, SOCK_STREAM, 0));
    must(connect(client, (const struct sockaddr *)&address, sizeof address));
    same(send(client, "hello", 5, 0), 5);
}

static void check(void)
{
    char text[6] = {0};
    int accepted = must(accept(listener, NULL, NULL));

    same(recv(accepted, text, 5, 0), 5);
    alike(text, "hello");
    same(send(accepted, "yes", 3, 0), 3);
    same(recv(client, text, 5, 0), 3);
}
