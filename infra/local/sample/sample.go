// Package sample makes real-looking mail for the demonstration and the tests: the same seed always
// makes the same octets. All names and addresses are invented and lie in domains reserved by RFC 2606.
package sample

import (
	"encoding/base64"
	"fmt"
	"hash/fnv"
	"math/rand/v2"
	"strings"
	"time"

	"mailferry/infra/local/dovecot"
)

// folders are where mail lies, each with its share of a mailbox in percent. The names with a special
// use are those that the local Dovecot announces.
var folders = []struct {
	name  string
	share int
}{
	{"INBOX", 42},
	{"Sent", 14},
	{"Drafts", 3},
	{"Archive", 8},
	{"Trash", 4},
	{"Junk", 4},
	{"Projekte/2019/Übergabe", 6},
	{"Projekte/2019", 3},
	{"Kunden/東京", 5},
	{"Kunden/Żółw & Söhne", 4},
	{"R&D", 4},
	{"Lists/Go Nuts (weekly)", 3},
}

// Mailbox returns n messages of owner's mailbox, in the order of delivery: New(seed, owner, 0) up to
// New(seed, owner, n-1). Every folder has one from n = 12 on, and every kind of message from n = 50.
func Mailbox(seed uint64, owner string, n int) []dovecot.Item {
	items := make([]dovecot.Item, n)
	for i := range items {
		items[i] = New(seed, owner, i)
	}
	return items
}

// New returns message i of owner's mailbox. Received lies between 2009 and the middle of 2026, to the
// second, and differs from the Date field. Every fiftieth message is its predecessor's twin: the same
// octets in the same folder, received in the same second with the same flags.
func New(seed uint64, owner string, i int) dovecot.Item {
	if i%50 == 20 {
		i--
	}
	l := newLetter(seed, owner, i)
	folder := l.chooseFolder()
	kind := kinds[i%len(kinds)]
	switch folder {
	case "Drafts":
		kind = draft
	case "Sent":
		l.from, l.to = l.to, l.from
	}
	if i%700 == 11 {
		kind = bulky
	}
	kind(l)
	return dovecot.Item{Folder: folder, Message: l.octets(), Received: l.received, Flags: l.flags(folder)}
}

// Large returns one message of exactly size octets, at least 1 KiB, for INBOX: a short text with one
// attachment. The same size gives the same octets.
func Large(size int) dovecot.Item {
	l := newLetter(uint64(size), "large@example.com", 0)
	l.subject = "The scans you asked for"
	head := "Content-Type: text/plain; charset=utf-8\r\n\r\nHere they are. "
	between := "\r\n--large-boundary\r\nContent-Type: application/octet-stream; name=\"scans.bin\"\r\n" +
		"Content-Transfer-Encoding: base64\r\nContent-Disposition: attachment; filename=\"scans.bin\"\r\n\r\n"
	const line = 78 // 76 characters and CRLF, RFC 2045 section 6.8
	l.contentType, l.encoding = `multipart/mixed; boundary="large-boundary"`, ""
	l.body = "--large-boundary\r\n" + head + between + "--large-boundary--\r\n"
	room := max(size, 1024) - len(l.octets())
	body := strings.Repeat("x", room%line) + between
	var b strings.Builder
	b.Grow(max(size, 1024))
	b.WriteString("--large-boundary\r\n" + head + body)
	l.base64Lines(&b, room/line*57)
	b.WriteString("--large-boundary--\r\n")
	l.body = b.String()
	return dovecot.Item{Folder: "INBOX", Message: l.octets(), Received: l.received}
}

// letter is a message in the making. An empty field is left out of the header.
type letter struct {
	rng      *rand.Rand
	index    int
	received time.Time

	from, to, subject, messageID, date string
	extra                              string // header lines with their line ends
	contentType, encoding, body        string
}

func newLetter(seed uint64, owner string, i int) *letter {
	h := fnv.New64a()
	_, _ = h.Write([]byte(owner))
	l := &letter{rng: rand.New(rand.NewPCG(seed^h.Sum64(), uint64(i))), index: i}
	first := time.Date(2009, 1, 1, 0, 0, 0, 0, time.UTC)
	span := int64(time.Date(2026, 6, 30, 0, 0, 0, 0, time.UTC).Sub(first) / time.Second)
	l.received = first.Add(time.Duration(l.rng.Int64N(span)) * time.Second)
	zone := time.FixedZone("", (l.rng.IntN(25)-12)*3600)
	sent := l.received.Add(-time.Duration(1+l.rng.IntN(7200)) * time.Second).In(zone)
	l.date = sent.Format(time.RFC1123Z)
	l.messageID = fmt.Sprintf("<%016x.%d@mail.example.net>", l.rng.Uint64(), i)
	l.from, l.to = pick(l, correspondents), owner
	l.subject = pick(l, subjects)
	if l.rng.IntN(4) == 0 {
		l.subject = "Re: " + l.subject
	}
	l.contentType, l.encoding = "text/plain; charset=us-ascii", "7bit"
	l.body = l.prose(2 + l.rng.IntN(6))
	return l
}

func (l *letter) chooseFolder() string {
	if l.index < len(folders) {
		return folders[l.index].name
	}
	at := l.rng.IntN(100)
	for _, f := range folders {
		if at -= f.share; at < 0 {
			return f.name
		}
	}
	return "INBOX"
}

func (l *letter) flags(folder string) []string {
	if folder == "Drafts" {
		return []string{`\Draft`, `\Seen`}
	}
	var flags []string
	for _, f := range []struct {
		name    string
		percent int
	}{{`\Seen`, 75}, {`\Answered`, 20}, {`\Flagged`, 8}} {
		if l.rng.IntN(100) < f.percent {
			flags = append(flags, f.name)
		}
	}
	return flags
}

func (l *letter) octets() []byte {
	var b strings.Builder
	b.Grow(len(l.body) + len(l.extra) + 1024)
	field := func(name, value string) {
		if value != "" {
			b.WriteString(name + ": " + value + "\r\n")
		}
	}
	b.WriteString(l.extra)
	field("Message-ID", l.messageID)
	field("Date", l.date)
	field("From", l.from)
	field("To", l.to)
	field("Subject", l.subject)
	field("MIME-Version", "1.0")
	field("Content-Type", l.contentType)
	field("Content-Transfer-Encoding", l.encoding)
	b.WriteString("\r\n")
	b.WriteString(l.body)
	return []byte(b.String())
}

// base64Lines writes n random octets in lines of 76 characters.
func (l *letter) base64Lines(b *strings.Builder, n int) {
	var octets [57]byte
	for n > 0 {
		for i := 0; i < len(octets); i += 8 {
			v := l.rng.Uint64()
			for j := i; j < min(i+8, len(octets)); j++ {
				octets[j] = byte(v)
				v >>= 8
			}
		}
		size := min(n, len(octets))
		b.WriteString(base64.StdEncoding.EncodeToString(octets[:size]) + "\r\n")
		n -= size
	}
}

// prose returns paragraphs of English with CRLF line ends.
func (l *letter) prose(paragraphs int) string {
	var b strings.Builder
	for range paragraphs {
		for range 2 + l.rng.IntN(5) {
			b.WriteString(pick(l, sentences) + "\r\n")
		}
		b.WriteString("\r\n")
	}
	return b.String()
}

func pick(l *letter, from []string) string { return from[l.rng.IntN(len(from))] }
