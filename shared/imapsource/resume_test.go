package imapsource

import (
	"bytes"
	"fmt"
	"io"
	"math/rand/v2"
	"strings"
	"testing"

	"mailferry/shared/migrate"
)

// noise has no repetitions.
var noise = func() string {
	text := make([]byte, 1<<20+100)
	rand.NewChaCha8([32]byte{1}).Read(text)
	return string(text)
}()

// long is a message of about a megabyte.
func long(uid migrate.UID) string { return noise[uid : 1<<20+2*uid] }

// A connection that is cut every so many octets: each message goes on inside itself, by parts where
// the server does them right, else by the whole message again.
func TestMessageGoesOnInsideItself(t *testing.T) {
	for partial, allowed := range map[string]int{"": 100_000, "ignored": 1_500_000, "shifted": 1_500_000, "refused": 1_500_000} {
		t.Run("partial "+partial, func(t *testing.T) {
			shelf := newShelf(4, long)
			shelf.partial, shelf.allowed = partial, allowed
			got, refused, err := sorted(t, shelf.open(t), shelf.all())
			if err != nil || len(got) != 4 || len(refused) != 0 {
				t.Fatalf("%d messages came, refused %v: %v", len(got), refused, err)
			}
			for uid, text := range got {
				if text != long(uid) {
					t.Errorf("UID %d has other octets", uid)
				}
			}
			if n := shelf.connections(); partial == "" && (n < 40 || n > 60) {
				t.Errorf("%d connections for 4 MiB at 100,000 octets each", n)
			}
		})
	}
}

// What was given stands, whatever comes later: a message that changes while it is read is an error,
// never a mixture.
func TestChangedMessageIsNoMixture(t *testing.T) {
	for _, partial := range []string{"", "ignored"} {
		for name, change := range map[string]func(string) string{
			"longer":  func(s string) string { return s + "x" },
			"shorter": func(s string) string { return s[:len(s)-1] },
			"other":   func(s string) string { return strings.Repeat("y", len(s)) },
		} {
			t.Run(partial+" "+name, func(t *testing.T) {
				shelf := newShelf(1, nil)
				shelf.partial, shelf.allowed = partial, 700_000
				shelf.text = func(uid migrate.UID) string {
					if shelf.conns == 1 {
						return long(uid)
					}
					shelf.allowed = 0 // the new connection holds
					return change(long(uid))
				}
				var got bytes.Buffer
				var read error
				err := shelf.open(t).Fetch(t.Context(), shelf.all(), func(_ migrate.MessageInfo, _ int64, body io.Reader) error {
					_, read = io.Copy(&got, body)
					return read
				})
				if read == nil || err == nil {
					t.Fatal("the change passed unnoticed")
				}
				if !strings.HasPrefix(long(10), got.String()) {
					t.Error("octets of both were given")
				}
			})
		}
	}
}

// A message that cannot be passed at one octet is the message's fault, and the others come.
func TestMessageThatNeverPassesAnOctet(t *testing.T) {
	shelf := newShelf(5, long)
	shelf.body = func(p *peer, uid migrate.UID, seq int) bool {
		if uid != 12 {
			return shelf.answer(p, "", uid, seq)
		}
		p.send("* %d FETCH (UID %d %s BODY[] {1000}\r\n%s", seq, uid, meta, strings.Repeat("z", 500))
		return false
	}
	got, refused, err := sorted(t, shelf.open(t), shelf.all())
	if err != nil || len(got) != 4 || !strings.Contains(fmt.Sprint(refused[12]), "at octet 500 of 1000") {
		t.Errorf("%d came, refused %v: %v", len(got), refused, err)
	}
}

// What a yield leaves unread of a message that went on elsewhere does not hinder the others.
func TestUnreadRestAfterGoingOn(t *testing.T) {
	shelf := newShelf(3, long)
	shelf.allowed = 1_500_000
	n := 0
	err := shelf.open(t).Fetch(t.Context(), shelf.all(), func(_ migrate.MessageInfo, _ int64, body io.Reader) error {
		n++
		_, err := io.CopyN(io.Discard, body, 600_000)
		return err
	})
	if err != nil || n != 3 {
		t.Errorf("%d messages: %v", n, err)
	}
}

// The folder's odd name is sent as the server spells it over the new connection too.
func TestOddNameOutlivesTheConnection(t *testing.T) {
	shelf := newShelf(2, long)
	shelf.allowed = 1_200_000
	var examined []string
	s := dial(t, scripted(t, hello, func(p *peer, tag, command string) bool {
		switch {
		case strings.HasPrefix(command, "LIST"):
			p.send("* LIST () \"/\" \"R&D\"\r\n%s OK done\r\n", tag)
			return true
		case strings.HasPrefix(command, "EXAMINE"):
			examined = append(examined, command)
		}
		return shelf.hook(p, tag, command)
	}))
	if _, err := s.Folders(t.Context()); err != nil {
		t.Fatal(err)
	}
	if _, err := s.Open(t.Context(), "R&D"); err != nil {
		t.Fatal(err)
	}
	if got, err := collect(t, s, shelf.all()); err != nil || len(got) != 2 {
		t.Fatalf("%d messages: %v", len(got), err)
	}
	if len(examined) < 2 || examined[len(examined)-1] != `EXAMINE "R&D"` {
		t.Errorf("examined %q", examined)
	}
}

// A server that makes a message anew each time, with other boundaries of the same length, gives no
// mixture of two.
func TestMessageMadeAnewIsNoMixture(t *testing.T) {
	shelf := newShelf(1, nil)
	shelf.allowed = 700_000
	shelf.text = func(migrate.UID) string {
		return fmt.Sprintf("Content-Type: multipart/mixed; boundary=%d\r\n\r\n--%[1]d\r\n\r\n%s\r\n--%[1]d--\r\n", shelf.conns%10, noise)
	}
	got, refused, err := sorted(t, shelf.open(t), shelf.all())
	if err == nil || len(refused) != 0 {
		t.Errorf("refused %v, %v", refused, err)
	}
	for _, text := range got {
		if len(text) > 700_000 {
			t.Errorf("%d octets come, also of another one", len(text))
		}
	}
}
