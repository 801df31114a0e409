// SPDX-License-Identifier: Apache-2.0

// Pairs of UNIX sockets, in one process and in two, with what is queued in them.

#include "objects.h"

#include <sys/socket.h>

static int stream[2], datagram[2], packet[2], half[2];
static pid_t child;

static void other(void)
{
    char text[20] = {0};

    must(close(stream[0]));
    stand_by();
    same(retry(recv(stream[1], text, 11, MSG_WAITALL)), 11);
    alike(text, "from parent");
    same(send(stream[1], "!", 1, 0), 1);
}

static void set_up(void)
{
    must(socketpair(AF_UNIX, SOCK_STREAM, 0, stream));
    must(socketpair(AF_UNIX, SOCK_DGRAM | SOCK_NONBLOCK, 0, datagram));
    must(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, packet));
    must(socketpair(AF_UNIX, SOCK_STREAM, 0, half));
    must(setsockopt(stream[0], SOL_SOCKET, SO_SNDBUF, &(int){50000}, sizeof(int)));
    same(send(stream[0], "from ", 5, 0), 5);
    same(send(stream[0], "parent", 6, 0), 6);
    same(send(stream[1], "from child", 10, 0), 10);
    same(send(datagram[0], "one", 3, 0), 3);
    same(send(datagram[0], "three", 5, 0), 5);
    same(send(packet[1], "a packet", 8, 0), 8);
    same(send(packet[1], "b", 1, 0), 1);
    same(send(half[0], "rest", 4, 0), 4);
    must(shutdown(half[0], SHUT_WR));
    // Where nothing is queued: what is would carry its sender from now on.
    must(setsockopt(half[0], SOL_SOCKET, SO_PASSCRED, &(int){1}, sizeof(int)));
    child = start(other);
    must(close(stream[1]));
}

static void check(void)
{
    char text[20] = {0};
    int value;
    socklen_t length = sizeof value;

    finish(child);
    same(recv(stream[0], text, 11, MSG_WAITALL), 11);
    alike(text, "from child!");
    same(recv(datagram[1], text, sizeof text, 0), 3);
    same(recv(datagram[1], text, sizeof text, 0), 5);
    same(recv(datagram[1], text, sizeof text, 0), -1);
    same(errno, EAGAIN);
    same(recv(packet[0], text, sizeof text, 0), 8);
    same(recv(packet[0], text, sizeof text, 0), 1);
    must(getsockopt(half[0], SOL_SOCKET, SO_PASSCRED, &value, &length));
    same(value, 1);
    must(getsockopt(stream[0], SOL_SOCKET, SO_SNDBUF, &value, &length));
    same(value, 100000); // The kernel doubles it.
    must(getsockopt(packet[0], SOL_SOCKET, SO_TYPE, &value, &length));
    same(value, SOCK_SEQPACKET);
    same(fcntl(packet[0], F_GETFD), FD_CLOEXEC);
    same(recv(half[1], text, sizeof text, 0), 4);
    same(recv(half[1], text, sizeof text, 0), 0);
    same(send(half[1], "x", 1, 0), 1);
    same(recv(half[0], text, sizeof text, 0), 1);
}
