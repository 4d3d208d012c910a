// What a process does to itself to have fewer rights: namespaces, root directory, identity, Landlock.
#include "CLinux.h"

#include <errno.h>
#include <grp.h>
#include <linux/securebits.h>
#include <sched.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>

static int result_of(long value) { return value < 0 ? -errno : (int)value; }

int clinux_unshare(unsigned namespaces) { return result_of(unshare((int)namespaces)); }

int clinux_make_mounts_private(void) {
    return result_of(mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL));
}

int clinux_enter_empty_root(void) {
    // Any folder will do to mount it on: after the pivot nothing else is left.
    static const char place[] = "/proc";
    const unsigned long flags = MS_NOSUID | MS_NODEV | MS_NOEXEC;
    if (mount("empty", place, "tmpfs", flags, "size=4k,nr_inodes=2,mode=555") < 0) return -errno;
    if (chdir(place) < 0) return -errno;
    if (syscall(SYS_pivot_root, ".", ".") < 0) return -errno;
    // The old root lies on top of the new one now.
    if (umount2(".", MNT_DETACH) < 0) return -errno;
    if (mount(NULL, "/", NULL, MS_REMOUNT | MS_RDONLY | flags, "size=4k,nr_inodes=2,mode=555") < 0) {
        return -errno;
    }
    return result_of(chdir("/"));
}

int clinux_lock_securebits(void) {
    return result_of(prctl(PR_SET_SECUREBITS,
                           SECBIT_NOROOT | SECBIT_NOROOT_LOCKED | SECBIT_NO_SETUID_FIXUP
                               | SECBIT_NO_SETUID_FIXUP_LOCKED | SECBIT_KEEP_CAPS_LOCKED
                               | SECBIT_NO_CAP_AMBIENT_RAISE | SECBIT_NO_CAP_AMBIENT_RAISE_LOCKED,
                           0, 0, 0));
}

int clinux_set_identity(uid_t identity) {
    if (setgroups(0, NULL) < 0) return -errno;
    if (setresgid(identity, identity, identity) < 0) return -errno;
    return result_of(setresuid(identity, identity, identity));
}

int clinux_drop_bounding_set(uint64_t kept) {
    for (int capability = 0; capability < 64; capability++) {
        if ((kept >> capability & 1) != 0) continue;
        if (prctl(PR_CAPBSET_READ, capability, 0, 0, 0) == 0) continue;  // gone already
        if (prctl(PR_CAPBSET_DROP, capability, 0, 0, 0) == 0) continue;
        if (errno == EINVAL) return 0;  // behind the last capability of this kernel
        return -errno;
    }
    return 0;
}

// --- Landlock -------------------------------------------------------------------------------------
// Declared here, because Debian 12's <linux/landlock.h> ends at ABI 2.

enum { landlock_create_ruleset = 444, landlock_add_rule = 445, landlock_restrict_self = 446 };
enum { landlock_create_version = 1 };
enum { landlock_rule_path_beneath = 1, landlock_rule_net_port = 2 };

struct landlock_path_beneath {
    uint64_t allowed_access;
    int32_t parent_fd;
} __attribute__((packed));

struct landlock_net_port {
    uint64_t allowed_access;
    uint64_t port;
};

int clinux_landlock_abi(void) {
    return result_of(syscall(landlock_create_ruleset, NULL, (size_t)0, landlock_create_version));
}

int clinux_landlock_create(const struct clinux_landlock_rights *handled, size_t byte_count) {
    return result_of(syscall(landlock_create_ruleset, handled, byte_count, 0));
}

int clinux_landlock_allow_path(int ruleset, int folder, uint64_t rights) {
    struct landlock_path_beneath rule = {.allowed_access = rights, .parent_fd = folder};
    return result_of(syscall(landlock_add_rule, ruleset, landlock_rule_path_beneath, &rule, 0));
}

int clinux_landlock_allow_port(int ruleset, uint16_t port, uint64_t rights) {
    struct landlock_net_port rule = {.allowed_access = rights, .port = port};
    return result_of(syscall(landlock_add_rule, ruleset, landlock_rule_net_port, &rule, 0));
}

int clinux_landlock_restrict(int ruleset) {
    return result_of(syscall(landlock_restrict_self, ruleset, 0));
}
