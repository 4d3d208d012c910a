#include "CLinux.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

union any_address {
    struct sockaddr base;
    struct sockaddr_in v4;
    struct sockaddr_in6 v6;
    struct sockaddr_un local;
};

static int failed_and_closed(int descriptor) {
    int error = errno;
    close(descriptor);
    return -error;
}

int clinux_socketpair_seqpacket(int *first, int *second) {
    int pair[2];
    if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, pair) < 0) {
        return -errno;
    }
    *first = pair[0];
    *second = pair[1];
    return 0;
}

static int local_address(const char *path, union any_address *address) {
    memset(address, 0, sizeof *address);
    if (strlen(path) >= sizeof address->local.sun_path) return -ENAMETOOLONG;
    address->local.sun_family = AF_UNIX;
    strcpy(address->local.sun_path, path);
    return 0;
}

int clinux_connect_unix(const char *path, int type) {
    union any_address address;
    int error = local_address(path, &address);
    if (error < 0) return error;
    int descriptor = socket(AF_UNIX, type | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (descriptor < 0) return -errno;
    if (connect(descriptor, &address.base, sizeof address.local) < 0) {
        return failed_and_closed(descriptor);
    }
    return descriptor;
}

int clinux_accept(int listener) {
    int descriptor = accept4(listener, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
    return descriptor < 0 ? -errno : descriptor;
}

int clinux_peer_name(int descriptor, char *text, size_t capacity) {
    union any_address address;
    socklen_t length = sizeof address;
    if (getpeername(descriptor, &address.base, &length) < 0) return -errno;
    char host[INET6_ADDRSTRLEN] = "";
    switch (address.base.sa_family) {
    case AF_INET:
        inet_ntop(AF_INET, &address.v4.sin_addr, host, sizeof host);
        return snprintf(text, capacity, "%s:%u", host, ntohs(address.v4.sin_port));
    case AF_INET6:
        inet_ntop(AF_INET6, &address.v6.sin6_addr, host, sizeof host);
        return snprintf(text, capacity, "[%s]:%u", host, ntohs(address.v6.sin6_port));
    default:
        return snprintf(text, capacity, "unix");
    }
}

int clinux_peer_credentials(int descriptor, pid_t *pid, uid_t *uid) {
    struct ucred credentials;
    socklen_t length = sizeof credentials;
    if (getsockopt(descriptor, SOL_SOCKET, SO_PEERCRED, &credentials, &length) < 0) return -errno;
    *pid = credentials.pid;
    *uid = credentials.uid;
    return 0;
}


int clinux_bound_port(int descriptor) {
    union any_address address;
    socklen_t length = sizeof address;
    if (getsockname(descriptor, &address.base, &length) < 0) return -errno;
    return ntohs(address.base.sa_family == AF_INET6 ? address.v6.sin6_port : address.v4.sin_port);
}

int clinux_send_descriptor(int socket, int descriptor) {
    char byte = 0;
    struct iovec content = {.iov_base = &byte, .iov_len = 1};
    union {
        struct cmsghdr header;
        char bytes[CMSG_SPACE(sizeof descriptor)];
    } rights = {0};
    struct msghdr message = {.msg_iov = &content, .msg_iovlen = 1, .msg_control = &rights,
                             .msg_controllen = sizeof rights.bytes};
    struct cmsghdr *header = CMSG_FIRSTHDR(&message);
    header->cmsg_level = SOL_SOCKET;
    header->cmsg_type = SCM_RIGHTS;
    header->cmsg_len = CMSG_LEN(sizeof descriptor);
    memcpy(CMSG_DATA(header), &descriptor, sizeof descriptor);
    return sendmsg(socket, &message, MSG_NOSIGNAL | MSG_DONTWAIT) < 0 ? -errno : 0;
}
