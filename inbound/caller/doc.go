// Package caller says who calls: the one whose certificate the connection has
// shown, or the one whom a peer names that may speak for others.
//
// Names count only as far as they are proven. A connection's certificate is
// checked here against our own roots, once a connection, whoever has secured it.
// What peers say of their callers in x-forwarded-client-cert is believed of
// those alone that an option names, and taken out of everybody else's requests.
package caller
