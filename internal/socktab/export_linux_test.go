package socktab

// What tests of package socktab_test reach inside for.
var (
	NamedBy    = namedBy // named with another uid_map
	Audited    = audited // Own with a walk of the test's own
	Protocol   = protocol
	FamilyName = familyName
	CountUnder = countUnder
)
