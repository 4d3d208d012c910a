package import LinuxSystem
import NIOConcurrencyHelpers

/// The one way from the control server's threads to the supervision loop.
///
/// Any thread puts a question in and waits; the loop takes all questions at once, answers them, and
/// never waits itself.
package final class CoreMailbox: SupervisorCore {
    /// One request and where its answer goes.
    struct Question: Sendable {
        let request: ControlRequest
        fileprivate let continuation: CheckedContinuation<ControlReply, Never>

        func answer(_ reply: ControlReply) { continuation.resume(returning: reply) }
    }

    /// Questions that may wait; the HTTP server serves fewer connections than this.
    private static let questionsMax = 256

    private struct State {
        var questions: [Question] = []
        var isClosed = false
        var controlProblem: String?
    }

    private let state = NIOLockedValueBox(State())
    private let wakeUp: WakeUp

    package init() throws(SystemCallError) {
        wakeUp = try WakeUp()
    }

    /// Readable when there is something to take.
    var descriptor: Int32 { wakeUp.descriptor.rawValue }

    package func ask(_ request: ControlRequest) async -> ControlReply {
        await withCheckedContinuation { continuation in
            let refusal: String? = state.withLockedValue { state in
                guard !state.isClosed else { return "the supervisor is stopping" }
                guard state.questions.count < Self.questionsMax else { return "too many requests" }
                state.questions.append(Question(request: request, continuation: continuation))
                return nil
            }
            guard let refusal else { return wakeUp.raise() }
            continuation.resume(returning: .unavailable(refusal))
        }
    }

    func take() -> [Question] {
        wakeUp.clear()
        return state.withLockedValue { state in
            defer { state.questions = [] }
            return state.questions
        }
    }

    /// Refuses everything from now on, also what waits.
    func close() {
        let left = state.withLockedValue { state in
            state.isClosed = true
            defer { state.questions = [] }
            return state.questions
        }
        for question in left { question.answer(.unavailable("the supervisor is stopping")) }
    }

    func controlServerEnded(_ problem: String?) {
        guard let problem else { return }
        state.withLockedValue { $0.controlProblem = problem }
        wakeUp.raise()
    }

    /// Why the control server is gone, once.
    func controlProblem() -> String? {
        state.withLockedValue { state in
            defer { state.controlProblem = nil }
            return state.controlProblem
        }
    }
}
