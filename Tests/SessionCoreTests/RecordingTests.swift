import SessionCore
import Testing

/// Real debuggers, played to the session again: it must say what it said to them.
struct RecordingTests {
    @Test(arguments: [
        "gdb-13-counter", "gdb-13-counter-pie", "gdb-13-mi-counter-pie", "gdb-16-counter-pie",
        "gdb-17-counter-pie", "gdb-18-counter-pie", "gdb-18-dap-counter-pie",
    ])
    func `a recorded gdb gets every answer again`(_ session: String) throws {
        let sessions = try Recording.sessions(of: session + ".rsp")
        #expect(!sessions.isEmpty)
        for recording in sessions { try replay(recording) }
    }

    private func replay(_ recording: Recording) throws {
        #expect(recording.exchanges.count > 20)
        var conversation = Conversation(symbolFile: RecordedFile(name: recording.fileName))
        conversation.happens(.clientConnected)
        for (index, exchange) in recording.exchanges.enumerated() {
            let said = try play(conversation.bytes(exchange.sent), index, recording, &conversation)
            let question = String(decoding: exchange.sent, as: UTF8.self)
            let answer = String(decoding: said, as: UTF8.self)
            let recorded = String(decoding: exchange.received, as: UTF8.self)
            if recorded.hasPrefix("$C") {
                // What was summed up is not in the recording.
                #expect(answer.hasPrefix("$C"))
            } else {
                #expect(answer == recorded, "\(question)")
            }
        }
    }

    /// Only its name is asked for.
    private struct RecordedFile: SymbolFile {
        let name: String
        let byteCount: UInt64 = 0

        func read(at offset: UInt64, byteCount: Int) -> [UInt8]? { [] }
    }

    /// Does what the session wants until it wants no more; gives what the client heard.
    private func play(
        _ first: [DebugSession.Action], _ index: Int, _ recording: Recording,
        _ conversation: inout Conversation
    ) throws -> [UInt8] {
        var heard: [UInt8] = []
        var actions = first[...]
        while let action = actions.popFirst() {
            switch action {
            case .sendToClient(let bytes): heard += bytes
            case .sendToWorker(let request):
                for reply in try recording.replies(to: request, in: index) {
                    actions += conversation.worker(reply)
                }
            case .reportAttached: break
            case .reportDetached(let reason) where reason == "detached by the client": break
            case .closeWorker, .closeClient, .reportDetached, .log, .exit:
                Issue.record("\(action)")
            }
        }
        return heard
    }
}
