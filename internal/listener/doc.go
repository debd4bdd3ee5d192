// Package listener accepts connections that are secured before anybody sees
// them. A [Handshaker] makes one handshake, bounded in time and number, so that
// peers who are slow on purpose cost next to nothing; a [Listener] puts it
// before a server's Accept.
//
// While a program moves to TLS both kinds of connection may come to one port:
// the first byte tells them apart. What is in plain text is a [*Plain].
package listener
