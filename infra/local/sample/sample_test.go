package sample

import (
	"bytes"
	"crypto/sha256"
	"net/mail"
	"slices"
	"strings"
	"testing"
	"time"

	"mailferry/infra/local/dovecot"
)

type item = dovecot.Item

func TestTheSameSeedMakesTheSameMailbox(t *testing.T) {
	a, b := Mailbox(7, "anna@example.com", 300), Mailbox(7, "anna@example.com", 300)
	for i := range a {
		if !bytes.Equal(a[i].Message, b[i].Message) || a[i].Folder != b[i].Folder ||
			!a[i].Received.Equal(b[i].Received) || !slices.Equal(a[i].Flags, b[i].Flags) {
			t.Fatalf("message %d differs", i)
		}
	}
	for _, other := range []struct {
		seed  uint64
		owner string
	}{{8, "anna@example.com"}, {7, "bert@example.com"}} {
		if bytes.Equal(a[0].Message, New(other.seed, other.owner, 0).Message) {
			t.Errorf("seed %d of %s makes the same message as seed 7 of anna", other.seed, other.owner)
		}
	}
}

func TestAMailboxHoldsEveryFolderAndEveryPeculiarity(t *testing.T) {
	items := Mailbox(1, "anna@example.com", 60)
	inFolder := map[string]int{}
	for _, item := range items {
		inFolder[item.Folder]++
	}
	for _, f := range folders {
		if inFolder[f.name] == 0 {
			t.Errorf("folder %q is empty", f.name)
		}
	}
	for _, want := range []string{
		"=?utf-8?q?", "=?UTF-8?b?", "=?iso-8859-1?q?", "=?koi8-r?b?", "=?iso-2022-jp?b?", "multipart/signed", "message/rfc822",
		"application/pdf", "x-no-such-charset", "multipart/alternative", "References:\r\n <", strings.Repeat("A line without an end, as some programs write them. ", 190),
	} {
		if !slices.ContainsFunc(items, func(i item) bool { return bytes.Contains(i.Message, []byte(want)) }) {
			t.Errorf("no message with %.40q", want)
		}
	}
	for _, absent := range []string{"Message-Id", "Date", "Subject", "To"} {
		if !slices.ContainsFunc(items, func(i item) bool { return header(t, i)[absent] == nil }) {
			t.Errorf("every message has %s", absent)
		}
	}
	for _, flag := range []string{`\Seen`, `\Answered`, `\Flagged`, `\Draft`} {
		if !slices.ContainsFunc(items, func(i item) bool { return slices.Contains(i.Flags, flag) }) {
			t.Errorf("no message has %s", flag)
		}
	}
}

func TestLineEndsReceivedDatesAndTwins(t *testing.T) {
	items := Mailbox(2, "anna@example.com", 2000)
	seen, twins, total, big := map[[32]byte]int{}, 0, 0, 0
	for i, item := range items {
		fields := header(t, item)
		if n := bytes.Count(item.Message, []byte("\n")); n != bytes.Count(item.Message, []byte("\r\n")) || bytes.Count(item.Message, []byte("\r")) != n {
			t.Fatalf("message %d has a bare CR or LF", i)
		}
		if bytes.IndexByte(item.Message, 0) >= 0 {
			t.Fatalf("message %d holds NUL", i)
		}
		if y := item.Received.Year(); y < 2009 || y > 2026 || item.Received.Nanosecond() != 0 {
			t.Errorf("message %d was received at %s", i, item.Received)
		}
		if date, err := fields.Date(); err == nil && date.Equal(item.Received) {
			t.Errorf("message %d was received at its Date", i)
		}
		if (item.Folder == "Drafts") != slices.Contains(item.Flags, `\Draft`) {
			t.Errorf("message %d in %s has flags %v", i, item.Folder, item.Flags)
		}
		sum := sha256.Sum256(item.Message)
		if at, ok := seen[sum]; ok {
			twins++
			if twin := items[at]; twin.Folder != item.Folder || !twin.Received.Equal(item.Received) {
				t.Errorf("messages %d and %d are no twins", at, i)
			}
		}
		seen[sum] = i
		total += len(item.Message)
		if len(item.Message) > 1<<20 {
			big++
		}
	}
	if twins != 40 {
		t.Errorf("%d twins, want 40", twins)
	}
	if big != 3 {
		t.Errorf("%d messages above 1 MiB, want 3", big)
	}
	if average := total / len(items); average < 4<<10 || average > 15<<10 {
		t.Errorf("the average message has %d octets", average)
	}
}

func TestLargeHasTheSizeAsked(t *testing.T) {
	for _, size := range []int{1024, 1500, 1501, 1577, 1578, 5 << 20} {
		item := Large(size)
		if len(item.Message) != size {
			t.Errorf("Large(%d) has %d octets", size, len(item.Message))
		}
		header(t, item)
		if !bytes.HasSuffix(item.Message, []byte("\r\n--large-boundary--\r\n")) {
			t.Errorf("Large(%d) ends with %q", size, item.Message[size-40:])
		}
	}
	if n := len(Large(1).Message); n != 1024 {
		t.Errorf("Large(1) has %d octets, want 1024", n)
	}
}

func TestTwentyThousandMessagesFitTheDemonstration(t *testing.T) {
	const n = 20000
	start, total := time.Now(), 0
	for i := range n {
		total += len(New(3, "anna@example.com", i).Message)
	}
	if total > 300<<20 {
		t.Errorf("%d messages have %d octets", n, total)
	}
	t.Logf("%d messages, %d octets, %s", n, total, time.Since(start))
}

func header(t *testing.T, i item) mail.Header {
	t.Helper()
	message, err := mail.ReadMessage(bytes.NewReader(i.Message))
	if err != nil {
		t.Fatalf("read message: %v\n%.300q", err, i.Message)
	}
	return message.Header
}
