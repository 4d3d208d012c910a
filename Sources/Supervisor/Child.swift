import Glibc
import LinuxSystem
import WireProtocol

/// A running worker or stub, with the supervisor's ends of its sockets.
final class Child {
    /// How long a child may take from its start to its first frame.
    static let greetingNanoseconds: UInt64 = 5_000_000_000

    let processID: Int32
    private let process: ChildProcess
    private let control: MessageSocket
    private let output: LineReader
    private(set) var stage: Stage

    enum Stage {
        /// Its first frame has not come.
        case greeting(deadline: UInt64)
        case serving
        /// Asked to end.
        case leaving
    }

    init(
        process: consuming ChildProcess, control: consuming OwnedDescriptor,
        output: consuming OwnedDescriptor
    ) {
        processID = process.processID
        self.process = process
        self.control = MessageSocket(control, byteCountMax: WireLimits.frameBytesMax)
        self.output = LineReader(output)
        stage = .greeting(deadline: monotonicNanoseconds() + Self.greetingNanoseconds)
    }

    /// What to wait for input on.
    var descriptors: [Int32] { [process.pidfd.rawValue, control.rawValue, output.rawValue] }

    /// At most this many notices are taken in one turn, so that no child can keep the loop busy.
    private static let noticesPerTurn = 64

    /// The frames that have come, at most 64; a broken one ends the child's credit.
    func notices<Notice: WireMessage>(_: Notice.Type) throws(WireError) -> [Notice] {
        var notices: [Notice] = []
        while notices.count < Self.noticesPerTurn, case .bytes(let count) = control.receive() {
            notices.append(try Notice(frame: control.message, count: count))
        }
        return notices
    }

    /// Lines of its standard output and error: only a crash writes there.
    func lines() -> [String] { output.lines() }

    /// False when the child does not take it any more.
    @discardableResult
    func send(_ order: some WireMessage) -> Bool { control.send(order.encoded()) }

    func greeted() { stage = .serving }

    func leave(_ order: some WireMessage) {
        stage = .leaving
        // A child that does not read is killed when its time is over.
        send(order)
    }

    func kill() {
        process.signal(SIGKILL)
    }

    func reap() -> ProcessEnd? { process.reap() }
}
