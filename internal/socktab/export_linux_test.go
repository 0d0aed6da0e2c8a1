package socktab

// NamedBy is named with another uid_map.
var NamedBy = namedBy

// Audited is Own with a walk of the test's own.
var Audited = audited
