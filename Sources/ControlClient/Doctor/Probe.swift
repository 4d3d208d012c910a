import Glibc

/// Small looks at files and programs, each with a limit on size and time.
enum Probe {
    static let byteCountMax = 64 << 10
    /// A driver's probe runs a few instructions; gdb starts in well under a second.
    static let timeout = Duration.seconds(10)

    struct Result {
        let isSuccess: Bool
        let firstLine: String
    }

    /// Path of a program that lies in the folder of this one.
    static func sibling(_ name: String) -> String? {
        guard let resolved = realpath("/proc/self/exe", nil) else { return nil }
        defer { free(resolved) }
        let own = String(cString: resolved)
        guard let slash = own.lastIndex(of: "/") else { return nil }
        let path = String(own[...slash]) + name
        return access(path, X_OK) == 0 ? path : nil
    }

    /// The words of a small file; none when it cannot be read.
    static func words(ofFile path: String) -> [String] {
        let descriptor = open(path, O_RDONLY | O_CLOEXEC)
        guard descriptor >= 0 else { return [] }
        defer { close(descriptor) }
        var bytes = [UInt8](repeating: 0, count: 4096)
        let count = read(descriptor, &bytes, bytes.count)
        guard count > 0 else { return [] }
        return String(decoding: bytes.prefix(count), as: UTF8.self)
            .split { $0.isWhitespace }.map(String.init)
    }

    /// Whether the line of `--probe` says so: `limited=yes` among its words.
    static func isLimited(_ line: String) -> Bool {
        line.split(separator: " ").contains { ["limited=yes", "limited=true"].contains($0) }
    }

    /// The kernel's Landlock version, or nil without Landlock.
    ///
    /// - Source: Linux `Documentation/userspace-api/landlock.rst`, "Landlock ABI versions".
    static func landlockVersion() -> Int? {
        // `syscall` is variadic, which Swift does not import. On x86-64 integers are passed to a
        // variadic function as to any other, and this one takes integers only.
        typealias SystemCall = @convention(c) (Int, Int, Int, Int) -> Int
        guard let symbol = dlsym(nil, "syscall") else { return nil }
        let call = unsafeBitCast(symbol, to: SystemCall.self)
        let createRuleset = 444
        let onlyVersion = 1
        let version = call(createRuleset, 0, 0, onlyVersion)
        return version > 0 ? version : nil
    }
}

// MARK: - Programs

extension Probe {
    /// Runs a program with standard output and error in one pipe, and kills it after `timeout`.
    static func run(_ words: [String]) -> Result {
        let failed = Result(isSuccess: false, firstLine: "")
        var ends: [Int32] = [-1, -1]
        guard let program = words.first, pipe(&ends) == 0 else { return failed }
        defer { close(ends[0]) }
        for end in ends { _ = fcntl(end, F_SETFD, FD_CLOEXEC) }
        let pid = spawn(program, words, output: ends[1])
        close(ends[1])
        guard let pid else { return failed }
        let output = readAll(ends[0])
        if output == nil { kill(pid, SIGKILL) }
        var status: Int32 = 0
        while waitpid(pid, &status, 0) < 0, errno == EINTR {}
        let text = String(decoding: output ?? [], as: UTF8.self)
        let line = text.split(whereSeparator: \.isNewline).first.map(String.init) ?? ""
        return Result(isSuccess: output != nil && status == 0, firstLine: line)
    }

    private static func spawn(_ program: String, _ words: [String], output: Int32) -> pid_t? {
        var actions = posix_spawn_file_actions_t()
        posix_spawn_file_actions_init(&actions)
        defer { posix_spawn_file_actions_destroy(&actions) }
        posix_spawn_file_actions_addopen(&actions, 0, "/dev/null", O_RDONLY, 0)
        posix_spawn_file_actions_adddup2(&actions, output, 1)
        posix_spawn_file_actions_adddup2(&actions, output, 2)
        var attributes = posix_spawnattr_t()
        posix_spawnattr_init(&attributes)
        defer { posix_spawnattr_destroy(&attributes) }
        // This thread may block signals; a child must not inherit that.
        var none = sigset_t()
        sigemptyset(&none)
        posix_spawnattr_setsigmask(&attributes, &none)
        posix_spawnattr_setflags(&attributes, Int16(POSIX_SPAWN_SETSIGMASK))
        var arguments = words.map { strdup($0) }
        arguments.append(nil)
        defer { arguments.forEach { free($0) } }
        var pid: pid_t = 0
        let code = posix_spawnp(&pid, program, &actions, &attributes, arguments, environ)
        return code == 0 ? pid : nil
    }

    /// Everything until the end of the pipe; nil when that takes too long or is too much.
    private static func readAll(_ descriptor: Int32) -> [UInt8]? {
        let deadline = ContinuousClock.now + timeout
        var bytes: [UInt8] = []
        var chunk = [UInt8](repeating: 0, count: 4096)
        while bytes.count <= byteCountMax {
            let left = (deadline - ContinuousClock.now).components
            guard left.seconds >= 0, left.attoseconds >= 0 else { return nil }
            var entry = pollfd(fd: descriptor, events: Int16(POLLIN), revents: 0)
            let ready = poll(&entry, 1, Int32(left.seconds * 1000) + 1)
            if ready < 0, errno != EINTR { return nil }
            guard ready > 0 else { continue }
            let count = read(descriptor, &chunk, chunk.count)
            if count == 0 { return bytes }
            guard count > 0 else { return nil }
            bytes.append(contentsOf: chunk.prefix(count))
        }
        return nil
    }
}
