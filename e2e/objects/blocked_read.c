// SPDX-License-Identifier: Apache-2.0

// Threads that wait in system calls for something to come: none of them may see
// an error because of the dump.

#include "objects.h"

#include <pthread.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <sys/un.h>

static int ends[2], pair[2], counter, listener;
static struct sockaddr_un address;
static _Atomic int running, done;
static pthread_t handles[5];
static pid_t child;

static void *read_pipe(void *argument)
{
    char text[4] = {0};

    running++;
    same(must(read(ends[0], text, 3)), 3);
    alike(text, "abc");
    done++;
    return argument;
}

static void *receive(void *argument)
{
    char text[4] = {0};

    running++;
    same(must(recv(pair[0], text, 3, MSG_WAITALL)), 3);
    alike(text, "abc");
    done++;
    return argument;
}

static void *count(void *argument)
{
    eventfd_t value;

    running++;
    must(eventfd_read(counter, &value));
    same(value, 3);
    done++;
    return argument;
}

static void *take(void *argument)
{
    running++;
    must(accept(listener, NULL, NULL));
    done++;
    return argument;
}

static void *await_child(void *argument)
{
    int status;

    running++;
    same(must(waitpid(child, &status, 0)), child);
    same(status, 0);
    done++;
    return argument;
}

static void set_up(void)
{
    void *(*const waiters[])(void *) = {read_pipe, receive, count, take, await_child};

    must(pipe(ends));
    must(socketpair(AF_UNIX, SOCK_STREAM, 0, pair));
    counter = must(eventfd(0, 0));
    address = (struct sockaddr_un){.sun_family = AF_UNIX, .sun_path = "socket"};
    listener = must(socket(AF_UNIX, SOCK_STREAM, 0));
    must(bind(listener, (struct sockaddr *)&address, sizeof address));
    must(listen(listener, 1));
    child = start(idle);
    for (int i = 0; i < 5; i++) {
        zero(pthread_create(&handles[i], NULL, waiters[i], NULL));
        await(running == i + 1);
    }
    nap();
}

static void check(void)
{
    nap();
    that(done <= 1); // The child may have seen the sign already.
    same(write(ends[1], "abc", 3), 3);
    zero(pthread_join(handles[0], NULL));
    same(write(pair[1], "abc", 3), 3);
    zero(pthread_join(handles[1], NULL));
    must(eventfd_write(counter, 3));
    zero(pthread_join(handles[2], NULL));
    must(connect(must(socket(AF_UNIX, SOCK_STREAM, 0)), (struct sockaddr *)&address, sizeof address));
    zero(pthread_join(handles[3], NULL));
    zero(pthread_join(handles[4], NULL));
}
