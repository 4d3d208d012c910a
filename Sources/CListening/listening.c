#include "CListening.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
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

static socklen_t parse_address(const char *text, uint16_t port, union any_address *address) {
    memset(address, 0, sizeof *address);
    if (inet_pton(AF_INET, text, &address->v4.sin_addr) == 1) {
        address->v4.sin_family = AF_INET;
        address->v4.sin_port = htons(port);
        return sizeof address->v4;
    }
    if (inet_pton(AF_INET6, text, &address->v6.sin6_addr) == 1) {
        address->v6.sin6_family = AF_INET6;
        address->v6.sin6_port = htons(port);
        return sizeof address->v6;
    }
    return 0;
}

/// Options that every accepted connection inherits: no delay, and the end of a dead peer after about
/// a minute. So the process that accepts needs no right to set any.
static int set_client_options(int listener) {
    const struct { int level, name, value; } options[] = {
        {IPPROTO_TCP, TCP_NODELAY, 1},     {SOL_SOCKET, SO_KEEPALIVE, 1},
        {IPPROTO_TCP, TCP_KEEPIDLE, 30},   {IPPROTO_TCP, TCP_KEEPINTVL, 10},
        {IPPROTO_TCP, TCP_KEEPCNT, 3},     {IPPROTO_TCP, TCP_USER_TIMEOUT, 30000},
    };
    for (size_t i = 0; i < sizeof options / sizeof options[0]; i++) {
        if (setsockopt(listener, options[i].level, options[i].name, &options[i].value,
                       sizeof options[i].value) < 0) {
            return -1;
        }
    }
    return 0;
}

int clistening_tcp(const char *text, uint16_t port, int backlog) {
    union any_address address;
    socklen_t length = parse_address(text, port, &address);
    if (length == 0) return -EINVAL;
    int listener = socket(address.base.sa_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (listener < 0) return -errno;
    int on = 1;
    if (setsockopt(listener, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on) < 0
        || set_client_options(listener) < 0 || bind(listener, &address.base, length) < 0 || listen(listener, backlog) < 0) {
        return failed_and_closed(listener);
    }
    return listener;
}

int clistening_unix(const char *path, int type, int backlog) {
    union any_address address = {.local.sun_family = AF_UNIX};
    if (strlen(path) >= sizeof address.local.sun_path) return -ENAMETOOLONG;
    strcpy(address.local.sun_path, path);
    int listener = socket(AF_UNIX, type | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (listener < 0) return -errno;
    if (bind(listener, &address.base, sizeof address.local) < 0 || listen(listener, backlog) < 0) {
        return failed_and_closed(listener);
    }
    return listener;
}

int clistening_receive_descriptor(int socket) {
    char byte;
    struct iovec content = {.iov_base = &byte, .iov_len = 1};
    int descriptor = -1;
    union {
        struct cmsghdr header;
        char bytes[CMSG_SPACE(sizeof descriptor)];
    } rights = {0};
    // CMSG_SPACE rounds up and would have room for a second one.
    struct msghdr message = {.msg_iov = &content, .msg_iovlen = 1, .msg_control = &rights,
                             .msg_controllen = CMSG_LEN(sizeof descriptor)};
    if (recvmsg(socket, &message, MSG_DONTWAIT | MSG_CMSG_CLOEXEC) < 0) return -errno;
    // There is room for one only: what else came was closed by the kernel.
    struct cmsghdr *header = CMSG_FIRSTHDR(&message);
    if (header == NULL || header->cmsg_level != SOL_SOCKET || header->cmsg_type != SCM_RIGHTS
        || header->cmsg_len != CMSG_LEN(sizeof descriptor)) {
        return -EPROTO;
    }
    memcpy(&descriptor, CMSG_DATA(header), sizeof descriptor);
    return descriptor;
}
