import GuestModel
import Testing
import WireProtocol

/// Frames byte by byte: a change here is a change of the protocol's version.
@Suite struct GoldenFrameTests {
    @Test func `readMemory`() {
        let fields = [
            "0200",  // type
            "0000",  // zero
            "0c000000",  // payload length
            "8877665544332211",  // address
            "00100000",  // byte count
        ]
        let address = GuestVirtualAddress(0x1122_3344_5566_7788)
        #expect(DebugRequest.readMemory(address, byteCount: 4096).encoded() == bytes(fields))
    }

    @Test func `insertBreakpoint`() {
        let fields = [
            "0600", "0000", "09000000",
            "01",  // hardware
            "0010400000000000",  // address
        ]
        let request = DebugRequest.insertBreakpoint(.hardware, GuestVirtualAddress(0x401000))
        #expect(request.encoded() == bytes(fields))
    }

    @Test func `resume by range`() {
        let fields = [
            "0800", "0000", "11000000",
            "02",  // step range
            "1000000000000000",  // start
            "2000000000000000",  // end
        ]
        let mode = ResumeMode.stepRange(
            start: GuestVirtualAddress(0x10), end: GuestVirtualAddress(0x20))
        #expect(DebugRequest.resume(mode).encoded() == bytes(fields))
    }

    @Test func `hello of a worker`() {
        let fields = [
            "2d01", "0000", "18000000",
            "04000000",  // protocol version
            "03000000",  // length of the build id
            "616263",  // "abc"
            "07",  // Landlock ABI
            "12",  // network and PID namespace
            "01",  // one measure is missing:
            "06",  // control group
            "01000000", "78",  // "x" was refused
            "02000000",  // with ENOENT
        ]
        let report = ConfinementReport(
            landlockABI: 7, namespaces: [.network, .pid],
            missing: [MissingMeasure(.cgroup, step: "x", code: 2)])
        let hello = Hello(buildID: "abc", confinement: report)
        #expect(WorkerNotice.hello(hello).encoded() == bytes(fields))
    }

    @Test func `a ping and its answer`() {
        let number = ["0000", "04000000", "0a000000"]
        #expect(WorkerOrder.ping(10).encoded() == bytes(["cc00"] + number))
        #expect(WorkerNotice.pong(10).encoded() == bytes(["3101"] + number))
        #expect(StubOrder.ping(10).encoded() == bytes(["9301"] + number))
        #expect(StubNotice.pong(10).encoded() == bytes(["fa01"] + number))
    }

    @Test func `an end by an unexpected port`() {
        let fields = [
            "6b00", "0000", "04000000",
            "01",  // crashed
            "04",  // unexpected port
            "8000",  // the port
        ]
        #expect(DebugReply.ended(.crashed(.unexpectedPort(128))).encoded() == bytes(fields))
    }

    @Test func `a stop carries all registers in fixed places`() {
        let stop = StopEvent(reason: .stepped, state: Samples.state, windows: [])
        let frame = DebugReply.stopped(stop).encoded()
        #expect(frame.prefix(8) == bytes(["6a00", "0000", "5e010000"])[...])
        #expect(frame[8] == 3)  // stepped
        #expect(frame[9..<17] == bytes(["0007060504030201"])[...])  // rax
        #expect(frame[137..<145] == bytes(["1007060504030201"])[...])  // rip
        #expect(frame[frame.count - 1] == 0)  // windows
    }

    @Test func `an extended state without AVX`() throws {
        let fxsave = [UInt8](repeating: 0x5A, count: 512)
        let state = try #require(ExtendedState(fxsave: fxsave, kernelGSBase: 0x1122))
        let frame = DebugReply.extendedState(state).encoded()
        #expect(frame.prefix(12) == bytes(["6900", "0000", "11020000", "00020000"])[...])
        let rest = [
            "00000000",  // no upper halves
            "01",  // the kernel GS base is known:
            "2211000000000000",
        ]
        #expect(frame.suffix(13) == bytes(rest)[...])
        #expect(
            DebugReply.extendedState(nil).encoded()
                == bytes(["6900", "0000", "04000000", "00000000"]))
    }

    private func bytes(_ fields: [String]) -> [UInt8] { hex(fields.joined()) }
}
