// Options of the sanitizers' runtimes, in programs that were built with one (tools/test --sanitize);
// nothing in all others. Compiled in, because a confined child gets no environment of ours.
//
// detect_leaks=0: the search runs in a process of its own, which a confined process cannot start.
// symbolize=0: looking up names opens files. A report says program and offset instead, which
// llvm-symbolizer turns into names. use_sigaltstack=0: the stack would be taken down at the exit, which
// the lists do not allow. color=never: else it asks whether standard error is a terminal, by ioctl.

#if defined(__has_feature)
#if __has_feature(address_sanitizer)
const char *__asan_default_options(void);
const char *__asan_default_options(void) {
    return "detect_leaks=0:symbolize=0:use_sigaltstack=0:color=never";
}
#endif
#if __has_feature(thread_sanitizer)
const char *__tsan_default_options(void);
__attribute__((disable_sanitizer_instrumentation)) const char *__tsan_default_options(void) {
    return "symbolize=0:use_sigaltstack=0:color=never";
}
#endif
#endif
