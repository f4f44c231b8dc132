package migrate_test

import (
	"mime"
	"strings"
	"testing"
	"time"

	"mailferry/shared/migrate"
)

func TestReadFingerprint(t *testing.T) {
	header := "Received: by x\r\n\tfor y; now\r\nthis line is no field\r\nMESSAGE-ID:\r\n <a@b>\r\nMessage-ID: <second@b>\r\n" +
		"Date: Mon, 5 Feb 2018 10:00:00 +0100 (CET)\r\nFrom: =?utf-8?q?J=C3=BCrgen?= <Ann@Example.COM>, b@c\r\n" +
		"Subject: =?utf-8?q?Gr=C3=BC=C3=9Fe?=\r\n  aus   =?iso-8859-1?q?K=F6ln?=\r\n\r\nSubject: body\r\n"
	got := migrate.ReadFingerprint([]byte(header), received.Add(400*time.Millisecond), new(mime.WordDecoder))
	want := migrate.Fingerprint{MessageID: "<a@b>", Date: received, From: "ann@example.com", Subject: "Grüße aus Köln", Received: received}
	if got != want {
		t.Errorf("got  %+v\nwant %+v", got, want)
	}
	bare := migrate.ReadFingerprint([]byte(strings.ReplaceAll(header, "\r\n", "\n")), received, new(mime.WordDecoder))
	if bare != want || bare.Key() != want.Key() || len(want.Key()) != 16 {
		t.Errorf("with bare line feeds %+v", bare)
	}
}

func TestFingerprintMatches(t *testing.T) {
	full := migrate.Fingerprint{MessageID: "<a@b>", Date: received, From: "a@b", Subject: "s", Received: received}
	if !full.Matches(full) || !(migrate.Fingerprint{}).Matches(full) {
		t.Error("does not match itself, or what it knows nothing of")
	}
	for name, change := range map[string]func(*migrate.Fingerprint){
		"id": func(f *migrate.Fingerprint) { f.MessageID = "<c@d>" }, "date": func(f *migrate.Fingerprint) { f.Date = f.Date.Add(time.Second) },
		"from": func(f *migrate.Fingerprint) { f.From = "c@d" }, "subject": func(f *migrate.Fingerprint) { f.Subject = "t" },
		"received": func(f *migrate.Fingerprint) { f.Received = f.Received.Add(time.Second) },
	} {
		other := full
		change(&other)
		if full.Matches(other) || full.Key() == other.Key() {
			t.Errorf("another %s does not make it another message", name)
		}
	}
}

func FuzzReadFingerprint(f *testing.F) {
	f.Add([]byte("Message-ID: <a@b>\r\nSubject: =?utf-8?b?w7w=?=\r\n x\r\nFrom: a@b\r\nDate: Mon, 5 Feb 2018 10:00:00 +0100\r\n"))
	f.Add([]byte("\n"))
	f.Add([]byte(" folded from nothing\r\n:\r\nSubject"))
	f.Add([]byte("From: \"a\" <a@b\r\nSubject: =?x?q?=?="))
	f.Fuzz(func(t *testing.T, header []byte) {
		print := migrate.ReadFingerprint(header, received, new(mime.WordDecoder))
		if print.Normal() != print {
			t.Errorf("%+v is not normal: %+v", print, print.Normal())
		}
		if !print.Matches(print) || len(print.Key()) != 16 {
			t.Errorf("%+v does not match itself", print)
		}
	})
}
