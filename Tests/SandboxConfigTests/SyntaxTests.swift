import SandboxConfig
import Testing

struct SyntaxTests {
    @Test(arguments: Self.refused)
    func `what is not strict JSON is refused with its place`(_ mistake: MistakeCase) {
        let report = report(mistake.text)
        #expect(report.outcome == .invalid)
        #expect(
            report.problems.map { String($0.text.dropFirst("f.json:".count)) } == mistake.messages)
    }

    static let refused: [MistakeCase] = [
        MistakeCase("empty", "", "1:1: error: the file is empty"),
        MistakeCase("blank", " \n ", "2:2: error: the file is empty"),
        MistakeCase(
            "comment", "{\n// no\n}",
            """
            2:1: error: expected a key in double quotes, found "/"
                hint: comments are not JSON
            """),
        MistakeCase(
            "YAML", "version: 1", #"1:1: error: expected a value, found "v""#),
        MistakeCase(
            "single quotes", "{'a':1}",
            #"1:2: error: expected a key in double quotes, found "'""#),
        MistakeCase("not a number", #"{"a":NaN}"#, "1:6: error: a: NaN and Infinity are not JSON"),
        MistakeCase("leading zero", #"{"a":01}"#, "1:7: error: a: a number may not start with 0"),
        MistakeCase("plus", #"{"a":+1}"#, #"1:6: error: a: expected a value, found "+""#),
        MistakeCase("bare point", #"{"a":1.}"#, #"1:8: error: a: expected a digit, found "}""#),
        MistakeCase(
            "comma at the end of an object", #"{"a":1,}"#,
            #"1:8: error: a: a comma before "}" is not JSON"#),
        MistakeCase(
            "comma at the end of an array", "[1,]",
            #"1:4: error: [1]: a comma before "]" is not JSON"#),
        MistakeCase("two commas", "[1,,2]", #"1:4: error: [1]: expected a value, found ",""#),
        MistakeCase(
            "cut", #"{"a":"#, "1:6: error: a: the file ends where a value should be"),
        MistakeCase("open string", #"{"a":"x"#, "1:6: error: a: the string does not end"),
        MistakeCase(
            "second value", "{} {}", "1:4: error: unexpected text after the end of the value"),
        MistakeCase(
            "two documents", "{}\n---\n{}",
            "2:1: error: unexpected text after the end of the value"),
        MistakeCase("anchor", #"{"a":&x 1}"#, #"1:6: error: a: expected a value, found "&""#),
        MistakeCase(
            "tab in a string", "{\"a\":\"\t\"}",
            "1:7: error: a: character U+9 must be written as an escape in a string"),
        MistakeCase(
            "line separator in a string", "{\"a\":\"\u{2028}\"}",
            "1:7: error: a: character U+2028 must be written as an escape in a string"),
        MistakeCase(
            "unknown escape", #"{"a":"\x41"}"#, "1:7: error: a: unknown escape in a string"),
        MistakeCase(
            "short escape", #"{"a":"\u00g0"}"#, #"1:7: error: a: \u needs four hex digits"#),
        MistakeCase("zero escape", #"{"a":"\u0000"}"#, #"1:7: error: a: \u0000 is not allowed"#),
        MistakeCase(
            "surrogate escapes", #"{"a":"\ud83d\ude00"}"#,
            """
            1:7: error: a: surrogate escapes are not supported
                hint: write the character itself, in UTF-8
            """),
        MistakeCase(
            "key over two lines", "{\"a\"\n:1}",
            "1:2: error: a key and its \":\" must stand in one line"),
        MistakeCase(
            "33 levels", String(repeating: "[", count: 33),
            "1:33: error: " + String(repeating: "[0]", count: 32) + ": nested deeper than 32 levels"
        ),
        MistakeCase(
            "byte order mark", "\u{FEFF}{}",
            """
            1:1: error: starts with a byte order mark
                hint: save the file as UTF-8 without BOM
            """),
        MistakeCase(
            "long key", "{\"" + String(repeating: "k", count: 257) + "\":1}",
            "1:2: error: key longer than 256 characters"),
    ]

    @Test(
        arguments: [
            [0x7B, 0xFF], [0xC0, 0x80], [0xED, 0xA0, 0x80], [0xF4, 0x90, 0x80, 0x80],
            [0x22, 0xE2, 0x82],
        ] as [[UInt8]])
    func `invalid UTF-8 is refused`(_ bytes: [UInt8]) {
        let report = SandboxFile.load(bytes: bytes, name: "f", folder: "/")
        #expect(report.problems.map(\.code) == [.invalidText])
        #expect(report.problems.map(\.message) == ["not UTF-8"])
    }

    @Test(
        arguments: [
            #"{"version":1,"sandboxes":[]}"#,
            #"{"version":1,"sandboxes": [ ] } "#,
            "{\"$schema\":\"\\/\\b\\f\\n\\r\\t\\u00e9\\\"\\\\ é😀 # & * - : {\",\"version\":1,\"sandboxes\":[]}",
            "\r\n{\r\n\t\"version\": 1,\r\n\t\"sandboxes\": []\r\n}\r\n",
        ])
    func `strict JSON of every form is read`(_ text: String) {
        #expect(report(text).text == "")
    }

    @Test func `nothing that is cut anywhere ends the program`() {
        let text = Array(
            #"{"version":1,"x":[-1.5e+3,true,null,"é\u00e9"],"sandboxes":[{"name":"a","guest":"a"}]}"#
                .utf8)
        for count in 0..<text.count {
            let report = SandboxFile.load(bytes: Array(text.prefix(count)), name: "f", folder: "/")
            #expect(report.outcome == .invalid)
            #expect(report.problems.count == 1)
        }
    }

    @Test func `thirty-two levels and many duplicates are read`() {
        let nested = String(repeating: "[", count: 31) + String(repeating: "]", count: 31)
        let found = report(
            #"{"a":"# + nested
                + #","a":{"b":1,"b":2},"a":[{"c":1,"c":1}],"version":1,"sandboxes":[]}"#)
        #expect(found.problems.map(\.path) == ["a", "a", "a.b", "a", "a[0].c"])
        #expect(
            found.problems.map(\.code) == [
                .unknownKey, .duplicateKey, .duplicateKey, .duplicateKey, .duplicateKey,
            ])
    }

    @Test func `more values than the tree may hold are refused`() {
        let text = "[" + String(repeating: "0,", count: 200_000) + "0]"
        #expect(report(text).problems.map(\.code) == [.tooLarge])
    }
}
