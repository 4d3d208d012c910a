/// To come.
let memoryCases: [ConformanceCase] = []
