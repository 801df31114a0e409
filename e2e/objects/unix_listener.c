// SPDX-License-Identifier: Apache-2.0

// A UNIX socket that listens: an accepted connection with data, one that waits to
// be accepted, and an abstract name.

#include "objects.h"

#include <sys/socket.h>
#include <sys/un.h>

static int listener, abstract, accepted, client, waiting;

static struct sockaddr_un named(const char *name)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};

    strcpy(address.sun_path, name);
    return address;
}

static struct sockaddr_un hidden(void)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};

    snprintf(address.sun_path + 1, sizeof address.sun_path - 1, "crtime-%d", getpid());
    return address;
}

static int dial(const struct sockaddr_un *address)
{
    int fd = must(socket(AF_UNIX, SOCK_STREAM, 0));

    must(connect(fd, (const struct sockaddr *)address, sizeof *address));
    return fd;
}

static int listening(const struct sockaddr_un *address)
{
    int fd = must(socket(AF_UNIX, SOCK_STREAM, 0));

    must(bind(fd, (const struct sockaddr *)address, sizeof *address));
    must(listen(fd, 5));
    return fd;
}

static void set_up(void)
{
    struct sockaddr_un path = named("socket"), name = hidden();

    listener = listening(&path);
    abstract = listening(&name);
    client = dial(&path);
    accepted = must(accept(listener, NULL, NULL));
    same(send(client, "to server", 9, 0), 9);
    same(send(accepted, "to client", 9, 0), 9);
    waiting = dial(&path);
}

static void check(void)
{
    struct sockaddr_un path = named("socket"), name = hidden();
    char text[10] = {0};
    int late;

    same(recv(accepted, text, 9, 0), 9);
    alike(text, "to server");
    same(recv(client, text, 9, 0), 9);
    alike(text, "to client");
    late = must(accept(listener, NULL, NULL));
    same(send(waiting, "hello", 5, 0), 5);
    same(recv(late, text, 9, 0), 5);
    that(memcmp(text, "hello", 5) == 0);
    same(send(late, "yes", 3, 0), 3);
    same(recv(waiting, text, 9, 0), 3);
    dial(&path);
    must(accept(listener, NULL, NULL));
    dial(&name);
    must(accept(abstract, NULL, NULL));
}
