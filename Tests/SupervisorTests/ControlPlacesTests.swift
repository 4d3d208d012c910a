import Testing

@testable import Supervisor

@Suite struct ControlPlacesTests {
    @Test func `F14: sixteen connections of one user, thirty-two of all`() {
        var places = ControlPlaces()
        let ofRoot = (0..<20).count { _ in places.enter(0) }
        let ofAnother = (0..<20).count { _ in places.enter(1000) }
        let beyond = places.enter(1001)
        #expect(ofRoot == 16 && ofAnother == 16 && !beyond)
        places.leave(1000)
        let afterOneLeft = [places.enter(1001), places.enter(1002)]
        #expect(afterOneLeft == [true, false])
        // One that was never let in frees no place.
        places.leave(1002)
        let afterNobodyLeft = places.enter(1002)
        #expect(!afterNobodyLeft)
    }

    @Test func `refusals are counted, and told once a second`() {
        var places = ControlPlaces()
        let told = [5, 6, 1_000_000_004, 1_000_000_005].map { places.refusalsToReport(at: $0) }
        #expect(told == [1, nil, nil, 3])
    }
}
