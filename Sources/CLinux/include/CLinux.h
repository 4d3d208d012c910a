// CLinux: what Swift cannot import or must not do itself.
//
// Variadic calls (ioctl, prctl, fcntl, syscall), calls that Swift's Glibc module lacks (memfd_create,
// pidfd_open, close_range), the kick's signal handler, and the child's side of a spawn, where only
// async-signal-safe calls are allowed. Every function returns a result >= 0, or -errno.
#pragma once

#include <linux/sched.h>
#include <signal.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "CLinuxKVM.h"

// --- this build -------------------------------------------------------------------------------
/// The commit all programs of one build were made from, or "unknown".
const char *clinux_build_id(void);

// --- ioctl ---------------------------------------------------------------------------------------
int clinux_ioctl(int descriptor, unsigned long request, void *argument);
int clinux_ioctl_value(int descriptor, unsigned long request, unsigned long value);

// --- descriptors ---------------------------------------------------------------------------------
int clinux_open(const char *path, int flags);
/// With O_PATH.
int clinux_open_place(const char *path);
int clinux_open_create(const char *path, int flags, mode_t mode);
int clinux_memfd_create(const char *name);
int clinux_seal(int descriptor);
/// 1 for a memfd that can neither be written nor change its size, else 0.
int clinux_is_sealed(int descriptor);
int clinux_eventfd(void);
int clinux_pipe(int *reader, int *writer);
/// Blocks the signal in this thread and those it makes, and gives a descriptor that reads it.
int clinux_signalfd(const int *signals, size_t count);
/// Takes one signal from a signalfd: its number, or -errno.
int clinux_take_signal(int descriptor);
/// An exclusive lock on an open file, without waiting.
int clinux_lock(int descriptor);
/// The open file of `descriptor` at `number` too, close-on-exec.
int clinux_duplicate(int descriptor, int number);
/// Turns delivery of SIGIO on input on or off; `enabled` is 0 or 1. The descriptor stays non-blocking.
int clinux_set_async(int descriptor, int enabled);
/// Makes this process the receiver of the descriptor's SIGIO.
int clinux_own_signal(int descriptor);

// --- sockets -------------------------------------------------------------------------------------
int clinux_socketpair_seqpacket(int *first, int *second);
int clinux_connect_unix(const char *path, int type);
int clinux_accept(int listener);
/// Text of a TCP peer, "127.0.0.1:51320", or "unix"; the length, or -errno.
int clinux_peer_name(int descriptor, char *text, size_t capacity);
/// Process id and uid of the process at the other end of a Unix socket.
int clinux_peer_credentials(int descriptor, pid_t *pid, uid_t *uid);
int clinux_bound_port(int descriptor);
/// Sends one byte and a descriptor over a Unix socket.
int clinux_send_descriptor(int socket, int descriptor);

// --- processes -----------------------------------------------------------------------------------
int clinux_pidfd_open(pid_t pid);
int clinux_pidfd_send_signal(int pidfd, int signal_number);
/// Reaps the child behind a pidfd: 1 and its wait code and status, or 0 while it lives.
int clinux_reap(int pidfd, int *code, int *status);
int clinux_set_parent_death_signal(int signal_number);
int clinux_set_no_new_privileges(void);
int clinux_set_dumpable(int dumpable);
int clinux_clear_ambient_set(void);
int clinux_set_limit(int resource, uint64_t limit);

/// One descriptor of the child: `source` in the parent becomes `target` in the child.
struct clinux_descriptor_map {
    int source;
    int target;
};

/// Starts `path` with exactly the mapped descriptors and close-on-exec for everything else.
///
/// The child dies with the calling thread (PR_SET_PDEATHSIG, SIGKILL), has a session of its own and
/// all signals unblocked and at their defaults. `namespaces` is CLONE_NEWPID, CLONE_NEWUSER, both or 0; in a new user namespace
/// the child is root, which is the calling user outside. Returns the pid; or -errno of the failing
/// step, also when exec itself failed.
pid_t clinux_spawn(const char *path, char *const arguments[], char *const environment[],
                   const struct clinux_descriptor_map *map, size_t map_count, unsigned namespaces);

// --- giving up rights ----------------------------------------------------------------------------
/// Leaves the namespaces of these CLONE_NEW... flags for new ones.
int clinux_unshare(unsigned namespaces);
/// No mount that is made from now on shows in another mount namespace, nor the other way round.
int clinux_make_mounts_private(void);
/// The root directory becomes an empty, read-only one, and every other mount goes.
int clinux_enter_empty_root(void);
/// Root means nothing to capabilities any more, and no bit of this can be changed back.
int clinux_lock_securebits(void);
/// No supplementary groups, and this number as real, effective and saved user and group.
int clinux_set_identity(uid_t identity);
/// Empties the bounding set but for the capabilities whose bits are set in `kept`.
int clinux_drop_bounding_set(uint64_t kept);

/// What a Landlock ruleset handles: rights that its processes have only where a rule says so.
struct clinux_landlock_rights {
    uint64_t files;
    uint64_t ports;   // from ABI 4
    uint64_t scopes;  // from ABI 6
};
/// The version of Landlock, from 1; -EOPNOTSUPP or -ENOSYS without it.
int clinux_landlock_abi(void);
/// A ruleset that allows nothing of what it handles; `byte_count` is the structure's size in the ABI.
int clinux_landlock_create(const struct clinux_landlock_rights *handled, size_t byte_count);
int clinux_landlock_allow_path(int ruleset, int folder, uint64_t rights);
int clinux_landlock_allow_port(int ruleset, uint16_t port, uint64_t rights);
/// The calling thread and its children obey the ruleset; needs no_new_privs or CAP_SYS_ADMIN.
int clinux_landlock_restrict(int ruleset);

// --- kick ----------------------------------------------------------------------------------------
typedef void (*clinux_kick_function)(void *argument);
/// Installs the handler of SIGIO and SIGALRM that stores 1 to `flag` (if any) and calls `function`.
int clinux_install_kick(volatile uint8_t *flag, clinux_kick_function function, void *argument);
/// Lets the handler do nothing more with this flag or argument, which is about to be given back.
void clinux_forget_kick(const volatile void *target);
/// One SIGALRM after this many microseconds; 0 takes it back.
int clinux_alarm(uint64_t microseconds);

/// How often a kick is repeated until the call that it is for has returned.
#define CLINUX_KICK_NANOSECONDS 500000
/// A kick for one vCPU, used by the thread that opened it and by signal handlers on that thread.
struct clinux_repeated_kick {
    volatile int is_requested;
    volatile int is_entering;
    int timer;
};
/// Makes the timer and the handler of its signal (SIGRTMIN), which does nothing.
int clinux_open_repeated_kick(struct clinux_repeated_kick *kick);
void clinux_close_repeated_kick(struct clinux_repeated_kick *kick);
/// Ends the call that is under way, or keeps the next one from being made; async-signal-safe.
void clinux_kick_repeatedly(void *kick);
void clinux_forget_repeated_kick(struct clinux_repeated_kick *kick);
/// As clinux_ioctl; -EINTR without a call when a kick came earlier and was not forgotten.
int clinux_ioctl_unless_kicked(struct clinux_repeated_kick *kick, int descriptor,
                               unsigned long request, void *argument);

// --- memory --------------------------------------------------------------------------------------
/// `byte_count` zero bytes, page aligned; NULL and errno on failure.
void *clinux_map_anonymous(size_t byte_count);
void *clinux_map_file(int descriptor, size_t byte_count);
void *clinux_map_shared(int descriptor, size_t byte_count);
