// SPDX-License-Identifier: Apache-2.0

// Descriptors on their way through a UNIX socket.

#include "objects.h"

#include <sys/socket.h>

static int ends[2];

static void set_up(void)
{
    int in_flight[2];
    char space[CMSG_SPACE(sizeof in_flight)] = {0};
    struct iovec data = {"x", 1};
    struct msghdr message = {.msg_iov = &data, .msg_iovlen = 1, .msg_control = space, .msg_controllen = sizeof space};
    struct cmsghdr *header = CMSG_FIRSTHDR(&message);

    must(socketpair(AF_UNIX, SOCK_STREAM, 0, ends));
    must(pipe(in_flight));
    same(write(in_flight[1], "in flight", 9), 9);
    header->cmsg_level = SOL_SOCKET;
    header->cmsg_type = SCM_RIGHTS;
    header->cmsg_len = CMSG_LEN(sizeof in_flight);
    memcpy(CMSG_DATA(header), in_flight, sizeof in_flight);
    same(must(sendmsg(ends[0], &message, 0)), 1);
    must(close(in_flight[0]));
    must(close(in_flight[1]));
}

static void check(void)
{
    int fds[2];
    char space[CMSG_SPACE(sizeof fds)], byte, text[10] = {0};
    struct iovec data = {&byte, 1};
    struct msghdr message = {.msg_iov = &data, .msg_iovlen = 1, .msg_control = space, .msg_controllen = sizeof space};

    same(must(recvmsg(ends[1], &message, 0)), 1);
    same(message.msg_controllen, CMSG_SPACE(sizeof fds));
    memcpy(fds, CMSG_DATA(CMSG_FIRSTHDR(&message)), sizeof fds);
    same(read(fds[0], text, 9), 9);
    alike(text, "in flight");
    must(close(fds[1]));
    same(read(fds[0], text, 1), 0);
}
