/// To come.
let breakpointCases: [ConformanceCase] = []
