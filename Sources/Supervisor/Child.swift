import Glibc
import GuestModel
import Jail
import LinuxSystem
import WireProtocol

/// A running worker or stub, with the supervisor's ends of its sockets.
final class Child {
    /// How long a child may take from its start to its first frame.
    static let greetingNanoseconds: UInt64 = 5_000_000_000
    /// How long a stub may take to let its client go and end.
    static let leavingNanoseconds: UInt64 = 5_000_000_000
    /// How long a child may live without its control socket.
    static let endingNanoseconds: UInt64 = 2_000_000_000

    let processID: Int32
    private let born: UInt64
    private let process: ChildProcess
    private let control: MessageSocket
    private let output: LineReader
    private var violations: ViolationWatch?
    /// What it has to give up, and what is known of it.
    var jail: ChildJail
    var heartbeat = Heartbeat()
    /// Why it was killed, or what it said of its own end.
    var endReason: String?
    private(set) var stage: Stage

    enum Stage {
        /// Its first frame has not come.
        case greeting(deadline: UInt64)
        case serving
        /// Asked to end.
        case leaving(deadline: UInt64)
        /// It has closed its control socket, as every process does that ends.
        case ending(deadline: UInt64)
        /// Nothing is left to be done but to reap it.
        case killed
    }

    init(
        process: consuming ChildProcess, born: UInt64, control: consuming OwnedDescriptor,
        output: consuming OwnedDescriptor, violations: consuming OwnedDescriptor?, jail: ChildJail
    ) {
        processID = process.processID
        self.born = born
        self.process = process
        self.control = MessageSocket(control, byteCountMax: WireLimits.controlFrameBytesMax)
        self.output = LineReader(output)
        if let channel = violations { self.violations = ViolationWatch(channel) }
        self.jail = jail
        stage = .greeting(deadline: monotonicNanoseconds() + Self.greetingNanoseconds)
    }

    /// What to wait for input on.
    var descriptors: [Int32] {
        // A control socket at its end is always readable, and the loop would never rest.
        if isLost { return [process.pidfd.rawValue] }
        if restsUntil != nil { return [process.pidfd.rawValue] }
        let standard = [process.pidfd.rawValue, control.rawValue, output.rawValue]
        guard let number = violations?.rawValue else { return standard }
        return standard + [number]
    }

    /// The forbidden system call that it made and for which it waits; it must be killed then.
    func forbiddenCall() -> ForbiddenCall? { violations?.look() }

    /// Whether its filter's listener is here, if it has one to send; it comes before the greeting.
    func hearsViolations() -> Bool {
        guard jail.plan.reportsViolations, jail.plan.profile != .developer else { return true }
        if !(violations?.isListening ?? false) { _ = violations?.look() }
        return violations?.isListening ?? false
    }

    /// At most this many notices, and at most this many bytes of them and one notice more, are taken
    /// in one turn, so that no child can keep the loop busy.
    private static let noticesPerTurn = 64
    private static let bytesPerTurn = 64 * 1024
    /// How long nobody listens to a child that filled its turn; its sockets fill and it has to drop.
    private static let restNanoseconds: UInt64 = 20_000_000
    private var restsUntil: UInt64?

    /// A child that says more than one turn's worth at once must not have the loop to itself.
    func rest(at now: UInt64) { restsUntil = now + Self.restNanoseconds }

    /// Whether it is to be heard now.
    func isHeard(at now: UInt64) -> Bool {
        if let end = restsUntil, now < end { return false }
        restsUntil = nil
        return true
    }

    /// The frames that have come, at most a turn's worth; a broken one ends the child's credit.
    func notices<Notice: WireMessage>(_: Notice.Type) throws(WireError) -> [Notice] {
        var notices: [Notice] = []
        var byteCount = 0
        mayHaveMore = false
        while notices.count < Self.noticesPerTurn, byteCount < Self.bytesPerTurn {
            switch control.receive() {
            case .bytes(let count):
                notices.append(try Notice(frame: control.message, count: count))
                byteCount += count
            case .nothing: return notices
            case .ended:
                // Killing it now could take the place of the exit code with which it is ending.
                if !isLost {
                    stage = .ending(deadline: monotonicNanoseconds() + Self.endingNanoseconds)
                }
                return notices
            }
        }
        mayHaveMore = true
        return notices
    }

    /// Lines of its standard output and error, at most a turn's worth: only a crash writes there.
    func lines() -> [String] {
        let lines = output.lines()
        mayHaveMoreLines = lines.count >= LineReader.linesMax
        return lines
    }

    /// Whether so much came in this turn that more may be there.
    var isTurnFull: Bool { mayHaveMore || mayHaveMoreLines }
    private var mayHaveMore = false
    private var mayHaveMoreLines = false

    /// False when the child does not take it any more.
    @discardableResult
    func send(_ order: some WireMessage) -> Bool { control.send(order.encoded()) }

    /// Since its start was begun.
    var ageMicroseconds: UInt64 { (monotonicNanoseconds() - born) / 1000 }

    /// Whether it has said, in time, that it is confined.
    private(set) var hasGreeted = false

    func greeted() {
        hasGreeted = true
        if case .greeting = stage { stage = .serving }
    }

    /// Asks it to end, and to do so in time; asking again gives no more of it.
    func leave(_ order: some WireMessage, within nanoseconds: UInt64) {
        // A child that does not read is killed when its time is over.
        send(order)
        expectEnd(within: nanoseconds)
    }

    /// It will end by itself; in time, or it is killed.
    func expectEnd(within nanoseconds: UInt64) {
        switch stage {
        case .leaving, .ending, .killed: return
        case .greeting, .serving: break
        }
        stage = .leaving(deadline: monotonicNanoseconds() + nanoseconds)
    }

    /// When patience ends with a silent newcomer, or with one that was asked to leave.
    var deadline: UInt64? {
        switch stage {
        case .greeting(let deadline), .leaving(let deadline), .ending(let deadline): deadline
        case .serving, .killed: nil
        }
    }

    /// When it is to be looked at although nothing came.
    var nextLook: UInt64? {
        [deadline, restsUntil, isLost ? nil : heartbeat.nextLook].compactMap { $0 }.min()
    }

    /// Whether only its end is still to come.
    var isLost: Bool {
        switch stage {
        case .greeting, .serving, .leaving: false
        case .ending, .killed: true
        }
    }

    var isGreeting: Bool {
        if case .greeting = stage { true } else { false }
    }

    func kill() {
        process.signal(SIGKILL)
        stage = .killed
    }

    func reap() -> ProcessEnd? { process.reap() }

    /// Removes its control group, after it was reaped; how many were killed there for want of memory.
    func leaveGroup() -> UInt64 {
        guard let group = jail.group else { return 0 }
        defer { group.remove() }
        return group.outOfMemoryKills
    }
}
