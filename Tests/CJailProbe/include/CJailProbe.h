// CJailProbe: system calls by number, which Swift cannot make. For tests only.
#pragma once

/// Makes the call; its result, or -errno.
long cjailprobe_call(long number, const long arguments[6]);
/// getpid in the way of 32-bit programs (`int $0x80`).
long cjailprobe_call_as_i386(void);
/// Executes a function in memory that the caller made.
void cjailprobe_jump(const void *code);
