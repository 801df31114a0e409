// SPDX-License-Identifier: Apache-2.0

// Children that have ended and were not waited for: one with a status, one that a
// signal killed.

#include "objects.h"

static pid_t exited, killed;

static void set_up(void)
{
    exited = must(fork());
    if (exited == 0)
        _exit(7);
    killed = must(fork());
    if (killed == 0)
        for (;;)
            pause();
    must(kill(killed, SIGKILL));
    await(stat_field(exited, 3) == 'Z' && stat_field(killed, 3) == 'Z');
}

static void check(void)
{
    siginfo_t info;
    int status;

    same(stat_field(exited, 3), 'Z');
    must(waitid(P_PID, killed, &info, WEXITED | WNOHANG | WNOWAIT));
    same(info.si_code, CLD_KILLED);
    same(info.si_status, SIGKILL);
    same(waitpid(exited, &status, WNOHANG), exited);
    that(WIFEXITED(status));
    same(WEXITSTATUS(status), 7);
    same(waitpid(killed, &status, WNOHANG), killed);
    that(WIFSIGNALED(status));
    same(WTERMSIG(status), SIGKILL);
}
