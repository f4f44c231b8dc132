// Package imapsource reads mailboxes of IMAP servers with emersion/go-imap (RFC 3501, RFC 9051). It
// is the migrate.Source of every server that is not Exchange Online.
//
// The library ends a connection at the first response that it cannot parse, sets deadlines for
// whole literals and reports a connection that was cut as the end of a message. Between it and the
// server therefore stands a wire, which knows progress deadlines only, remembers why a connection
// ended, and passes on responses that the library can read.
//
// Idle connections are neither kept alive nor given up early. A run lasts four minutes, and servers end a
// session that says nothing after more: Dovecot after 30 minutes (imap-common.h:5), Courier (mainloop.C:113)
// and Exchange (learn.microsoft.com, "Set connection time-out limits for IMAP4") as well, Zimbra (LC.java:729,
// 1800 s), Cyrus after 32 (lib/imapoptions/timeout), hMailServer after 5 to 30 by its load (IMAPConnection.cpp:62-67). They
// are less patient with a client that does not read, as happens while the target is slow and the spool is
// full: Dovecot waits 5 minutes (imap-common.h:8), Courier 60 seconds (imapwrite.C:45), Zimbra 10 (LC.java:725).
// NOOP would not help in the middle of a FETCH. The session that was ended is replaced when somebody reads
// on, and the message goes on at the octet where it stopped; one that broke between commands, when the next
// is sent.
//
// What servers do that no RFC says stands in QUIRKS.md beside this file: server, quirk, evidence and
// the test that replays it.
package imapsource
