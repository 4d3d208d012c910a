import ControlAPI
import FoundationEssentials
import GuestModel
import Testing

/// The field names are an interface: these texts must never change.
struct ModelTests {
    private func json(_ value: some Encodable) throws -> String {
        let encoder = JSONEncoder()
        encoder.outputFormatting = [.sortedKeys, .withoutEscapingSlashes]
        return String(decoding: try encoder.encode(value), as: UTF8.self)
    }

    @Test func `a status leaves out what is absent`() throws {
        let status = SandboxStatus(
            name: "hello", state: .stoppedByDebugger, since: "1970-01-01T00:00:00Z",
            debug: DebugStatus(state: .off))
        let text =
            #"{"debug":{"state":"off"},"generation":0,"name":"hello","restarts":0,"#
            + #""since":"1970-01-01T00:00:00Z","state":"stopped-by-debugger"}"#
        #expect(try json(status) == text)
        #expect(try JSONDecoder().decode(SandboxStatus.self, from: Data(text.utf8)) == status)
    }

    @Test func `a full status has these names`() throws {
        var status = SandboxStatus(
            name: "a", state: .running, since: "s",
            debug: DebugStatus(
                state: .attached, address: "127.0.0.1:9001", unixSocket: "/run/x", client: "c",
                detail: "d"))
        status.driver = DriverStatus(name: .kvm, isLimited: true, reason: "no SSE")
        status.workerPID = 1
        status.stubPID = 2
        status.workerResidentBytes = 3
        status.lastError = "e"
        #expect(
            try json(status)
                == #"{"debug":{"address":"127.0.0.1:9001","client":"c","detail":"d","#
                + #""state":"attached","unixSocket":"/run/x"},"#
                + #""driver":{"limited":true,"name":"kvm","reason":"no SSE"},"generation":0,"#
                + #""lastError":"e","name":"a","restarts":0,"since":"s","state":"running","#
                + #""stubPID":2,"workerPID":1,"workerResidentBytes":3}"#)
    }

    @Test func `a problem repeats its HTTP status`() throws {
        let problem = Problem(code: .conflict, detail: "d", sandbox: "a")
        #expect(
            try json(problem) == #"{"code":"conflict","detail":"d","sandbox":"a","status":409}"#)
    }

    @Test func `the worst check decides for the doctor`() {
        func report(_ verdicts: DoctorReport.Verdict...) -> DoctorReport.Verdict {
            DoctorReport(checks: verdicts.map { .init(name: "n", verdict: $0, detail: "") }).verdict
        }
        #expect(report() == .pass)
        #expect(report(.pass, .warn) == .warn)
        #expect(report(.fail, .warn, .pass) == .fail)
    }
}
