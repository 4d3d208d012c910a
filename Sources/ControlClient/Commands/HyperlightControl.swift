package import ArgumentParser

/// The command tree of `hyperlight-ctl`.
package struct HyperlightControl: AsyncParsableCommand {
    package static let configuration = CommandConfiguration(
        commandName: "hyperlight-ctl",
        abstract: "Looks at and controls the sandboxes of a running hyperlight-supervisor.",
        discussion: """
            EXAMPLES
              hyperlight-ctl status
              hyperlight-ctl status counter --format json
              hyperlight-ctl debug counter -- -ex 'break tick'
              hyperlight-ctl resume counter
              hyperlight-ctl restart counter
              hyperlight-ctl doctor

            EXIT CODES
              0 done; 1 a check of doctor failed; 3 sandbox not running; 4 no such sandbox;
              64 usage; 69 supervisor not reachable, or gdb not found; 70 internal error;
              71 error of the system; 73 no runtime folder known, or a file cannot be made;
              75 not possible now; 77 not permitted.
            """,
        subcommands: [
            StatusCommand.self, ShowCommand.self, StartCommand.self, StopCommand.self,
            RestartCommand.self, ResumeCommand.self, StubCommand.self,
            DebugCommand.self, GDBPipeCommand.self, DebugConfigCommand.self, DoctorCommand.self,
        ])

    package init() {}
}

/// The whole program: parses the process arguments, runs the verb and ends the process.
package func runHyperlightControl() async {
    await HyperlightControl.main()
}
