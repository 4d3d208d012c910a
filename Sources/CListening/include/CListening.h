// CListening: making listening sockets, for `LinuxListening`. A result is a descriptor, or -errno.
#pragma once

#include <stdint.h>

int clistening_tcp(const char *address, uint16_t port, int backlog);
int clistening_unix(const char *path, int type, int backlog);
/// Takes the one descriptor that a message brings; -EPROTO when it brings none.
int clistening_receive_descriptor(int socket);
