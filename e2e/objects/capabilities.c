// SPDX-License-Identifier: Apache-2.0

// Capability sets, ambient and bounding ones included, and secure bits, of a
// process that is still root's.

#include "objects.h"

#include <linux/capability.h>
#include <linux/securebits.h>

static pid_t child;

static const unsigned effective = 1 << CAP_KILL | 1 << CAP_SYS_CHROOT,
                      permitted = 1 << CAP_KILL | 1 << CAP_SYS_CHROOT | 1 << CAP_NET_ADMIN,
                      inheritable = 1 << CAP_NET_ADMIN;

static void other(void)
{
    struct __user_cap_header_struct header = {_LINUX_CAPABILITY_VERSION_3, 0};
    struct __user_cap_data_struct data[2] = {{effective, permitted, inheritable}, {0, 0, 0}};

    must(prctl(PR_SET_SECUREBITS, SECBIT_NOROOT | SECBIT_KEEP_CAPS, 0, 0, 0));
    must(prctl(PR_CAPBSET_DROP, CAP_MKNOD, 0, 0, 0));
    must(prctl(PR_CAPBSET_DROP, CAP_BPF, 0, 0, 0));
    must(syscall(SYS_capset, &header, data));
    must(prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_RAISE, CAP_NET_ADMIN, 0, 0));
    stand_by();
    must(syscall(SYS_capget, &header, data));
    same(data[0].effective, effective);
    same(data[0].permitted, permitted);
    same(data[0].inheritable, inheritable);
    same(data[1].permitted, 0);
    same(prctl(PR_CAPBSET_READ, CAP_MKNOD, 0, 0, 0), 0);
    same(prctl(PR_CAPBSET_READ, CAP_BPF, 0, 0, 0), 0);
    same(prctl(PR_CAPBSET_READ, CAP_KILL, 0, 0, 0), 1);
    same(prctl(PR_GET_SECUREBITS, 0, 0, 0, 0), SECBIT_NOROOT | SECBIT_KEEP_CAPS);
    same(prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_IS_SET, CAP_NET_ADMIN, 0, 0), 1);
    same(prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_IS_SET, CAP_KILL, 0, 0), 0);
}

static void set_up(void)
{
    child = start(other);
}

static void check(void)
{
    finish(child);
}
