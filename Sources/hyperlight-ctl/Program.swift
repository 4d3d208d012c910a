import ControlClient

@main
struct Program {
    static func main() async {
        await runHyperlightControl()
    }
}
