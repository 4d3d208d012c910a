// jail-probe: a program that confines itself as a role does and then makes one call.
//
//     jail-probe ROLE call NUMBER [ARGUMENT...]   one system call by number
//     jail-probe ROLE i386                        a call of the 32-bit architecture
//     jail-probe ROLE work                        what every confined program does all the time
//     jail-probe ROLE trap                        a programmer's error
//     jail-probe ROLE abort                       what the C library does when its heap is broken
//     jail-probe ROLE compile                     writes a function to memory and calls it
//     jail-probe ROLE overrun                     reads behind its memory; only a sanitizer sees it
//     jail-probe ROLE wait                        one byte on descriptor 3, then waits for its end
//     jail-probe ROLE missing                     exit code: one bit a measure that is missing
//     jail-probe ROLE landlocked                  tries a file and a signal with all but the filter
//     jail-probe ROLE orphan                      confines itself when descriptor 3 has no other end
//     jail-probe free interrupted                 looks at descriptor 3 while signals come all the time
//     jail-probe free wait                        the same without confinement
//
// ROLE is worker, mshv, emulator or stub; with "@nobody" behind it the probe becomes a plain user first. A
// word of `JailPlan` may follow after "/", as in "stub/strict,born=0,enters=47"; without it the
// profile is container. With "diagnose" in it, descriptor 9 must be a socket.
// An argument is a number, or @pid, @parent, @path (of a file that exists), @buffer (zero bytes).
// Exit code 50 says that the process lived on after the call.

import CJailProbe
import Glibc
import GuestModel
import Jail
import LinuxSystem

@main
enum Probe {
    static let survived: Int32 = 50
    static let usage: Int32 = 64
    static let notConfined: Int32 = 70

    static func main() {
        let arguments = Array(CommandLine.arguments.dropFirst())
        guard arguments.count >= 2 else { exit(usage) }
        if arguments[1] == "orphan" { loseSupervisor() }
        let missing = confineProbe(as: arguments[0])
        switch arguments[1] {
        case "call": makeCall(Array(arguments.dropFirst(2)))
        case "i386": _ = cjailprobe_call_as_i386()
        case "work": work()
        case "trap": preconditionFailure("a trap of the probe")
        case "abort": abort()
        case "compile": compile()
        case "overrun": overrun()
        case "wait": waitForEnd()
        case "interrupted": lookWhileInterrupted()
        case "missing": exit(missing)
        default: exit(usage)
        }
        exit(survived)
    }

    /// What could not be had: one bit a measure, in the order of the cases.
    private static func confineProbe(as name: String) -> Int32 {
        let words = name.split(separator: "/", maxSplits: 1)
        let parts = words[0].split(separator: "@")
        if parts.count == 2 { becomeNobody() }
        let argument = words.count == 2 ? String(words[1]) : "container,born=0,enters=0"
        guard let plan = JailPlan(argument: argument) else { exit(usage) }
        let role: ConfinedRole
        switch parts[0] {
        case "worker": role = .workerKVM
        case "mshv": role = .workerMSHV
        case "emulator": role = .workerEmulator
        case "stub": role = .stub
        case "free": return 0
        default: exit(usage)
        }
        do {
            let report = try confine(role, plan) { () throws(ConfinementError) in
                // Behind Landlock and before the filter, which would hide it.
                guard CommandLine.arguments.last == "landlocked" else { return }
                let file = unsafe open("/etc/passwd", O_RDONLY | O_CLOEXEC)
                let isDenied = file < 0 && errno == EACCES
                let cannotSignal = kill(pid_t(parent), 0) < 0 && errno == EPERM
                exit(isDenied && cannotSignal ? survived : notConfined)
            }
            let missing = report.missing.map(\.measure)
            return IsolationMeasure.allCases.enumerated().reduce(0) {
                missing.contains($1.element) ? $0 | 1 << Int32($1.offset) : $0
            }
        } catch {
            writeToStandardError("\(error)\n")
            exit(notConfined)
        }
    }

    /// Descriptor 3 becomes an end of a pair whose other end is closed.
    private static func loseSupervisor() {
        guard var pair = try? SocketPair(), let first = pair.first.take() else { exit(usage) }
        dup2(first.rawValue, ChildDescriptor.control)
    }

    private static func becomeNobody() {
        let nobody: uid_t = 65_534
        guard setgid(nobody) == 0, setuid(nobody) == 0
        else { exit(notConfined) }
    }

    private static func makeCall(_ texts: [String]) {
        let path = unsafe strdup("/etc/passwd")
        let buffer = unsafe calloc(1, 4096)
        var words = [Int](repeating: 0, count: 7)
        for (index, text) in texts.prefix(words.count).enumerated() {
            switch text {
            case "@pid": words[index] = Int(getpid())
            case "@parent": words[index] = parent
            case "@path": words[index] = Int(bitPattern: path)
            case "@buffer": words[index] = Int(bitPattern: buffer)
            default: words[index] = Int(text) ?? 0
            }
        }
        _ = unsafe cjailprobe_call(words[0], Array(words.dropFirst()))
    }

    /// Asked before confinement: getppid is on no list.
    static let parent = Int(getppid())

    /// Memory in all sizes, text, hashing, sorting, time, and standard error.
    private static func work() {
        var table: [String: [UInt64]] = [:]
        for index in 0..<400 {
            table["key \(index)"] = Array(repeating: UInt64(index), count: index * 50)
        }
        let sum = table.values.reduce(into: UInt64(0)) { $0 &+= $1.reduce(0, &+) }
        let sorted = table.keys.sorted().joined(separator: ",")
        table = [:]
        writeToStandardError("\(sum) \(sorted.count) \(monotonicNanoseconds() > 0)\n")
    }

    /// Runs the one instruction RET out of fresh memory.
    private static func compile() {
        let writable = PROT_READ | PROT_WRITE | PROT_EXEC
        guard
            let place = unsafe mmap(
                nil, 4096, writable, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0),
            unsafe place != MAP_FAILED
        else { exit(notConfined) }
        unsafe place.storeBytes(of: 0xC3, as: UInt8.self)
        unsafe cjailprobe_jump(place)
    }

    private static func overrun() {
        let bytes = UnsafeMutablePointer<UInt8>.allocate(capacity: 16)
        unsafe bytes.initialize(repeating: 1, count: 16)
        let behind = unsafe bytes[16]
        writeToStandardError("\(behind)\n")
        unsafe bytes.deallocate()
    }

    /// Lives on when no look at the socket fails, whenever the signal comes.
    private static func lookWhileInterrupted() {
        do throws(SystemCallError) {
            let flag = UnsafeMutablePointer<UInt8>.allocate(capacity: 1)
            unsafe flag.initialize(to: 0)
            unsafe try KickSignal.install(flag: flag)
            for _ in 0..<1000 {
                unsafe flag.pointee = 0
                KickSignal.raise(afterMicroseconds: 50)
                // Mostly the kernel is at it when the signal comes.
                repeat {
                    if try isHungUp(ChildDescriptor.control) { exit(notConfined) }
                } while unsafe flag.pointee == 0
            }
        } catch {
            writeToStandardError("\(error)\n")
            exit(notConfined)
        }
    }

    private static func waitForEnd() {
        let control = OwnedDescriptor(ChildDescriptor.control)
        guard send(control, [1]) == .bytes(1) else { exit(notConfined) }
        _ = waitForInput(control, milliseconds: 60_000)
    }
}
