import Foundation
import FuzzTargets
import Testing

/// The kept inputs of all fuzz targets, through the same functions that libFuzzer calls.
struct CorpusTests {
    @Test(arguments: FuzzTarget.allCases)
    func `everything that is kept for a target holds`(_ target: FuzzTarget) throws {
        let inputs = try Corpus.inputs(of: target)
        #expect(!inputs.isEmpty)
        for (name, input) in inputs {
            #expect(target.mistakes(with: input) == [], "\(target) \(name)")
        }
    }

    /// Cut and changed inputs go other ways than those that were kept.
    @Test(arguments: FuzzTarget.allCases)
    func `inputs that are cut or changed hold too`(_ target: FuzzTarget) throws {
        for (name, input) in try Corpus.inputs(of: target) where input.count > 1 {
            let changed = input.enumerated().map { $0.offset % 16 == 5 ? ~$0.element : $0.element }
            let half = Array(input[..<(input.count / 2)])
            #expect(target.mistakes(with: half) == [], "the first half of \(target) \(name)")
            #expect(target.mistakes(with: changed) == [], "\(target) \(name), changed")
        }
    }

    @Test func `the corpora are small`() throws {
        let bytes = try FuzzTarget.allCases.flatMap(Corpus.inputs).reduce(0) { $0 + $1.1.count }
        #expect(bytes < 1 << 20)
    }
}

/// `Tests/Fuzz/Corpus`: a folder for each target, a file for each input.
enum Corpus {
    private static let folder = URL(filePath: #filePath).deletingLastPathComponent()
        .deletingLastPathComponent().appending(path: "Fuzz/Corpus")

    static func inputs(of target: FuzzTarget) throws -> [(String, [UInt8])] {
        let folder = folder.appending(path: target.rawValue)
        return try FileManager.default.contentsOfDirectory(atPath: folder.path).sorted().map {
            ($0, Array(try Data(contentsOf: folder.appending(path: $0))))
        }
    }
}
