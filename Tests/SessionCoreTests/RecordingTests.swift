import SessionCore
import Testing

struct RecordingTests {
    @Test func `a recorded gdb gets every answer again`() throws {
        let recording = try Recording(named: "gdb13-counter.rsp")
        #expect(recording.exchanges.count > 90)
        var conversation = Conversation()
        conversation.happens(.clientConnected)
        for (index, exchange) in recording.exchanges.enumerated() {
            let said = try play(conversation.bytes(exchange.sent), index, recording, &conversation)
            let question = String(decoding: exchange.sent, as: UTF8.self)
            let answer = String(decoding: said, as: UTF8.self)
            let recorded = String(decoding: exchange.received, as: UTF8.self)
            #expect(answer == recorded, "\(question)")
        }
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
            case .closeWorker, .closeClient, .reportDetached, .log, .exit:
                Issue.record("\(action)")
            }
        }
        return heard
    }
}
