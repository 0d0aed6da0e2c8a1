package socktab

// NamedBy is named with another uid_map.
var NamedBy = namedBy
