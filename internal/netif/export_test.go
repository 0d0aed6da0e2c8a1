package netif

// What the tests reach inside for.
var Sources = sources

const MaxSources = maxSources
