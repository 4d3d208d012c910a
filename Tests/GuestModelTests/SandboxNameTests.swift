import GuestModel
import Testing

@Suite struct SandboxNameTests {
    @Test(arguments: ["a", "0", "web-1", "a-b--c", String(repeating: "x", count: 63)])
    func `a name of lower case letters, digits and inner hyphens is taken`(_ text: String) {
        #expect(SandboxName(text)?.text == text)
        #expect(SandboxName(text)?.description == text)
    }

    @Test(arguments: [
        "", "-", "-a", "a-", "A", "a b", "a_b", "a.b", "a/b", "../a", "ä", "a\0", "a\n",
        String(repeating: "x", count: 64),
    ])
    func `any other text is refused`(_ text: String) {
        #expect(SandboxName(text) == nil)
    }

    @Test func `names sort by their text`() throws {
        let names = ["b", "a-1", "a"].compactMap(SandboxName.init)
        #expect(names.sorted().map(\.text) == ["a", "a-1", "b"])
    }
}
