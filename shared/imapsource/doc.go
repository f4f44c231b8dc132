// Package imapsource reads mailboxes of IMAP servers with emersion/go-imap (RFC 3501, RFC 9051). It
// is the migrate.Source of every server that is not Exchange Online.
//
// The library ends a connection at the first response that it cannot parse, sets deadlines for
// whole literals and reports a connection that was cut as the end of a message. Between it and the
// server therefore stands a wire, which knows progress deadlines only, remembers why a connection
// ended, and passes on responses that the library can read.
//
// What servers do that no RFC says stands in QUIRKS.md beside this file: server, quirk, evidence and
// the test that replays it.
package imapsource
