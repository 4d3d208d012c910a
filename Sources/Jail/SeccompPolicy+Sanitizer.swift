import Glibc

extension SeccompPolicy {
    #if SANITIZED
        /// What a sanitizer's runtime does for itself in every process.
        ///
        /// `tools/test --sanitize` alone builds with this.
        static let sanitizer: [CallRule] = [
            // Its heap and its shadow grow in places that it reserved at the start.
            CallRule(
                "mmap", .flags(2, required: 0, optional: PROT_READ | PROT_WRITE),
                .flags(
                    3, required: MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED,
                    optional: MAP_NORESERVE | MAP_STACK)),
            CallRule("madvise", .int(2, MADV_NOHUGEPAGE)),
            // It gives back the shadow of large blocks that were freed.
            CallRule("madvise", .int(2, MADV_DONTNEED)),
            // Before exit and longjmp, which the emulator uses, it asks where the stacks are.
            CallRule("sigaltstack", .null(0)),
        ]
    #else
        /// Nothing: what is shipped and what is debugged have no exceptions.
        static let sanitizer: [CallRule] = []
    #endif
}
