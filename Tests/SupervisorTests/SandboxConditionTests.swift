import GuestModel
import Testing

@testable import Supervisor

struct SandboxConditionTests {
    @Test
    func `a state with the same reason is not entered twice`() {
        var condition = SandboxCondition(.starting, since: 1)
        let texts = ["", "", "again", ""]
        let changes = zip(texts, [2, 3, 4, 5]).map { condition.enter(.running, $0, at: $1) }
        #expect(changes == [true, false, true, true])
        #expect(condition.since == 5)
    }

    @Test
    func `the last trouble stays known`() {
        var condition = SandboxCondition(.starting, since: 1)
        #expect(condition.lastError == nil)
        _ = condition.enter(.crashed, "page fault", at: 2)
        _ = condition.enter(.stopping, "", at: 3)
        #expect(condition.lastError == "page fault")
        #expect(condition.isStopping && condition.isOver)
    }

    @Test(arguments: SandboxState.allCases)
    func `whoever is stopping is over`(state: SandboxState) {
        let condition = SandboxCondition(state, since: 0)
        #expect(!condition.isStopping || condition.isOver)
        #expect(SandboxCondition.isTrouble(state) == [.failed, .crashed, .backoff].contains(state))
    }
}
