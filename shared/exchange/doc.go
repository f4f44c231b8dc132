// Package exchange writes into Exchange Online mailboxes: users, folders and look-ups over Microsoft
// Graph, messages by IMAP APPEND (RFC 9051 section 6.3.12) with XOAUTH2.
//
// It implements migrate.Directory and migrate.Target. It is the only package that knows
// msgraph-sdk-go.
package exchange
