import ArgumentParser
import ControlAPI
import GuestModel

struct ShowCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "show",
        abstract: "Prints everything about one sandbox.",
        discussion: """
            EXAMPLES
              hyperlight-ctl show counter
              hyperlight-ctl show counter --format json
            """)

    @OptionGroup var sandbox: SandboxArgument

    @Option(help: "table or json.")
    var format: OutputFormat = .table

    @OptionGroup var options: ControlOptions

    func run() async throws {
        try await reportingFailure { () async throws(Failure) in
            let details: SandboxDetails = try await options.connection()
                .value(of: .details(try sandbox.checkedName()))
            switch format {
            case .table: Output.write(DetailsText.text(details, now: Output.now))
            case .json: Output.writeJSON(details)
            }
        }
    }
}

/// The name of one sandbox.
struct SandboxArgument: ParsableArguments {
    @Argument(help: "The sandbox, as named in the configuration.")
    var name: String

    /// What cannot be a name cannot be known either, so it need not be asked for.
    func checkedName() throws(Failure) -> SandboxName {
        guard let checked = SandboxName(name) else { throw .unknownSandboxes([name]) }
        return checked
    }
}
