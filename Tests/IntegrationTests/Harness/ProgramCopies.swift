import Foundation

/// A folder with a supervisor and children of which some are not what they should be.
final class ProgramCopies {
    let folder: String

    /// The children are those of the build, until they are replaced.
    init() throws {
        folder = try RunningSupervisor.makeFolder()
        // The supervisor looks for its children where its own file is: no link will do.
        try FileManager.default.copyItem(
            atPath: Machine.program("hyperlight-supervisor"),
            toPath: folder + "/hyperlight-supervisor")
        for name in ["hyperlight-worker", "hyperlight-worker-emulator", "hyperlight-gdbstub"] {
            try FileManager.default.createSymbolicLink(
                atPath: folder + "/" + name, withDestinationPath: Machine.program(name))
        }
    }

    deinit { try? FileManager.default.removeItem(atPath: folder) }

    private func replace(_ name: String, by bytes: Data) throws {
        let path = folder + "/" + name
        try FileManager.default.removeItem(atPath: path)
        try bytes.write(to: URL(fileURLWithPath: path))
        try FileManager.default.setAttributes([.posixPermissions: 0o700], ofItemAtPath: path)
    }

    /// The emulator's worker becomes a shell script that says it can do everything, and then this.
    func replaceWorker(by script: String) throws {
        let text = """
            #!/bin/sh
            if [ "$1" = --probe ]; then
                echo driver=emulator usable=yes capabilities=31
                exit 0
            fi
            \(script)
            """
        try replace("hyperlight-worker-emulator", by: Data(text.utf8))
    }

    /// The build id of the programs.
    static var build: String {
        get throws {
            let program = Machine.program("hyperlight-supervisor")
            let version = try RunningProgram(program, ["--version"])
            try version.waitForEnd(.seconds(10))
            _ = version.output.waitForEnd(.seconds(5))
            guard let match = version.output.text.firstMatch(of: #/ \(([^,]+),/#) else {
                throw HarnessError("no build in \(version.output.text)")
            }
            return String(match.1)
        }
    }

    /// The stub becomes a shell script.
    func replaceStub(by script: String) throws {
        try replace("hyperlight-gdbstub", by: Data("#!/bin/sh\n\(script)\n".utf8))
    }

    /// The stub becomes one of another build of the same length.
    func replaceStubByAnotherBuild() throws {
        let build = Data(try Self.build.utf8)
        var bytes = try Data(
            contentsOf: URL(fileURLWithPath: Machine.program("hyperlight-gdbstub")))
        var start = bytes.startIndex
        var count = 0
        while let range = bytes.range(of: build, in: start..<bytes.endIndex) {
            bytes.replaceSubrange(
                range, with: Data(repeating: UInt8(ascii: "z"), count: build.count))
            start = range.upperBound
            count += 1
        }
        guard count > 0 else { throw HarnessError("the stub does not know its build") }
        try replace("hyperlight-gdbstub", by: bytes)
    }
}
