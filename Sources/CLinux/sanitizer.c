// Options of the sanitizers' runtimes, in programs that were built with one (tools/test --sanitize);
// nothing in all others. Compiled in, because a confined child gets no environment of ours.
//
// detect_leaks=0: the search runs in a process of its own, which a confined process cannot start.
// symbolize=0: looking up names opens files. A report says program and offset instead, which
// llvm-symbolizer turns into names. use_sigaltstack=0: the stack would be taken down at the exit, which
// the lists do not allow. color=never: else it asks whether standard error is a terminal, by ioctl.
//
// use_madv_dontdump=0: a confined process leaves no core file, and the advice is one more call.
// handle_segv=0: a crash ends as its signal, as it does elsewhere; to report it the runtime would open the
// map of the process. quarantine_size_mb: how much freed memory is kept to catch its use; the usual 256
// are more than a stub's control group, and look like a leak where a test measures growth.
// halt_on_error=1: also a program that a test kills in the end has told of its race by ending early.
// atexit_sleep_ms=0: else the end waits for a race that other threads might still have; workers and
// stubs have none. report_thread_leaks=0: a thread of NIO ends beside the program, and nobody joins it.

#if defined(__has_feature)
#if __has_feature(address_sanitizer)
const char *__asan_default_options(void);
const char *__asan_default_options(void) {
    return "detect_leaks=0:symbolize=0:use_sigaltstack=0:color=never:"
           "use_madv_dontdump=0:handle_segv=0:quarantine_size_mb=4";
}
#endif
#if __has_feature(thread_sanitizer)
const char *__tsan_default_options(void);
__attribute__((disable_sanitizer_instrumentation)) const char *__tsan_default_options(void) {
    return "symbolize=0:use_sigaltstack=0:color=never:"
           "use_madv_dontdump=0:handle_segv=0:halt_on_error=1:atexit_sleep_ms=0:"
           "report_thread_leaks=0";
}
#endif
#endif
