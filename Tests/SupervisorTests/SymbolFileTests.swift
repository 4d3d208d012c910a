import Testing

@testable import Supervisor

@Suite struct SymbolFileTests {
    struct Case: Sendable, CustomTestStringConvertible {
        let path: String
        let shown: String

        init(_ path: String, _ shown: String) {
            self.path = path
            self.shown = shown
        }

        var testDescription: String { path }
    }

    @Test(arguments: [
        Case("/srv/guests/counter", "/guest/counter"),
        Case("/counter.debug", "/guest/counter.debug"),
        Case("/a/hello-swift_2.elf+dwarf", "/guest/hello-swift_2.elf+dwarf"),
        Case("/a/b#c$d}e*f:g", "/guest/b_c_d_e_f_g"),
        Case("/a/two words\n\u{1}\u{7F}", "/guest/two_words___"),
        Case("/a/;`'\"\\|&<>(){}[]~?,=%@!^", "/guest/" + String(repeating: "_", count: 23)),
        // Two bytes each in UTF-8.
        Case("/a/zähler", "/guest/z__hler"),
        Case("/a/..", "/guest/symbols"),
        Case("/", "/guest/symbols"),
        Case("", "/guest/symbols"),
        Case(
            "/a/" + String(repeating: "x", count: 57), "/guest/" + String(repeating: "x", count: 57)
        ),
        Case(
            "/a/" + String(repeating: "x", count: 58), "/guest/" + String(repeating: "x", count: 57)
        ),
    ])
    func `a name that is shown has no folder of the host and no sign of gdb's protocol`(
        _ name: Case
    ) {
        let shown = SymbolFile.shownName(of: name.path)
        #expect(shown == name.shown)
        #expect(shown.utf8.count <= SymbolFile.nameBytesMax)
    }
}
