/// To come.
let stepCases: [ConformanceCase] = []
