/// To come.
let kickCases: [ConformanceCase] = []
