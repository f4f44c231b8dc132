package rebuild

import (
	"bytes"
	"encoding/base64"
	"io"
	"strings"
	"testing"

	"github.com/emersion/go-message"
)

// show returns the message made of raw, and checks the size that was promised.
func show(t testing.TB, raw string) string {
	t.Helper()
	head := strings.Index(raw, "\n\n") + 2
	if i := strings.Index(raw, "\r\n\r\n"); i >= 0 && (head == 1 || i+4 < head) {
		head = i + 4
	}
	if head < 2 {
		head = len(raw)
	}
	m, err := New(io.NewSectionReader(strings.NewReader(raw), 0, int64(len(raw))), head, "0123456789abcdef0123456789abcdef")
	if err != nil {
		t.Fatal(err)
	}
	var text bytes.Buffer
	if err := m.WriteText(&text); err != nil {
		t.Fatal(err)
	}
	if int64(text.Len()) != m.TextSize() {
		t.Fatalf("%d octets were promised, %d came", m.TextSize(), text.Len())
	}
	return string(m.Header()) + text.String()
}

// lines makes a message of lines.
func lines(all ...string) string { return strings.Join(all, "\r\n") + "\r\n" }

const photo = "iVBORw0KGgoAAAANSUhEUgAAAAUAAAAFCAYAAACNbyblAAAAHElEQVQI12P4//8/w38GIAXDIBKE0DHxgljNBAAO9TXL0Y4OHwAAAABJRU5ErkJggg=="

var mixed = lines(
	"Received: from a by b; Mon, 4 Mar 2019 10:11:12 +0000",
	"Subject: =?iso-8859-1?q?Gr=FC=DFe?=", "subject: second", "X-Own: kept  as it is",
	"To: Anna <anna@contoso.test>, =?utf-8?q?J=C3=BCrgen?= <j@contoso.test>", "Date: Mon, 4 Mar 2019 11:11:00 +0100",
	"From: j@contoso.test", "MIME-Version: 1.0", "Message-Id: <one@contoso.test>",
	`Content-Type: multipart/mixed; boundary="outer"`, "", "This is a preamble.",
	"--outer", `Content-Type: multipart/alternative; boundary=inner`, "",
	"--inner", "Content-Type: text/plain; charset=iso-8859-1; format=flowed", "Content-Transfer-Encoding: 8bit", "X-Part: lost", "",
	"Gr\xfc\xdfe", "--inner", "Content-Type: text/html; charset=utf-8", "Content-Transfer-Encoding: base64", "",
	base64.StdEncoding.EncodeToString([]byte("<p>Grüße</p>")), "--inner--",
	"--outer", `Content-Type: image/png; name="a.png"`, "Content-Transfer-Encoding: base64",
	`Content-Disposition: attachment; filename="a.png"`, "", photo[:40], photo[40:], "--outer--", "This is an epilogue.")

// TestRebuilt shows what of a message stays and what does not (graph.md 1d:
// "converted to MAPI, so a later FETCH is not byte-identical").
func TestRebuilt(t *testing.T) {
	got := show(t, mixed)
	for _, want := range []string{
		"Received: from a by b; Mon, 4 Mar 2019 10:11:12 +0000\r\nFrom: <j@contoso.test>\r\n" +
			"To: \"Anna\" <anna@contoso.test>,\r\n\t=?utf-8?q?J=C3=BCrgen?= <j@contoso.test>\r\nSubject: =?utf-8?b?R3LDvMOfZQ==?=\r\n" +
			"Date: Mon, 4 Mar 2019 11:11:00 +0100\r\nMessage-ID: <one@contoso.test>\r\nX-Own: kept  as it is\r\n" +
			"X-MS-Has-Attach:\r\nX-MS-TNEF-Correlator:\r\nContent-Type: multipart/mixed;\r\n\tboundary=",
		"charset=utf-8\r\nContent-Transfer-Encoding: quoted-printable\r\n\r\nGr=C3=BC=C3=9Fe\r\n",
		"<p>Gr=C3=BC=C3=9Fe</p>", `filename="a.png"`, photo[:76] + "\r\n" + photo[76:] + "\r\n", "MIME-Version: 1.0\r\n\r\n--_001_",
	} {
		if !strings.Contains(got, want) {
			t.Errorf("%q is missing", want)
		}
	}
	for _, gone := range []string{"preamble", "epilogue", "outer", "inner", "second", "X-Part", "flowed", "iso-8859-1"} {
		if strings.Contains(got, gone) {
			t.Errorf("%q is still there", gone)
		}
	}
	if again := show(t, mixed); again != got {
		t.Error("the same message is shown in two ways")
	}
	if t.Failed() {
		t.Log(got)
	}
}

// TestSignedIsKept shows that S/MIME survives (MS-OXOSMIME; graph.md 1d): the
// signed entity with its boundary, and the octets of an opaque one.
func TestSignedIsKept(t *testing.T) {
	body := lines("", "--sig", "Content-Type: text/plain; charset=iso-8859-1", "Content-Transfer-Encoding: 8bit", "", "Gr\xfc\xdfe  ", "",
		"--sig", "Content-Type: application/pkcs7-signature", "Content-Transfer-Encoding: base64", "", "MIIB", "--sig--", "after")
	got := show(t, "Subject: x\r\nContent-Type: multipart/signed; protocol=\"application/pkcs7-signature\";\r\n boundary=\"sig\"\r\n"+body)
	if !strings.HasSuffix(got, body) || !strings.Contains(got, "Content-Type: multipart/signed; protocol=\"application/pkcs7-signature\";\r\n boundary=\"sig\"\r\n") {
		t.Errorf("got %q", got)
	}
	octets := strings.Repeat("\x30\x82\x00\xff", 60)
	got = show(t, "Subject: x\r\nContent-Type: application/pkcs7-mime; smime-type=enveloped-data\r\nContent-Transfer-Encoding: base64\r\n\r\n"+
		base64.StdEncoding.EncodeToString([]byte(octets))+"\r\n")
	m, err := message.Read(strings.NewReader(got))
	if err != nil {
		t.Fatal(err)
	}
	if b, err := io.ReadAll(m.Body); err != nil || string(b) != octets {
		t.Errorf("got %q, %v", b, err)
	}
}

// TestBroken shows that what cannot be parsed is passed on.
func TestBroken(t *testing.T) {
	for _, raw := range []string{
		"Subject: x\r\nContent-Type: multipart/mixed; boundary=b\r\n\r\n--b\r\n\r\nnever closed\r\n",
		"Subject: x\r\nContent-Type: multipart/mixed\r\n\r\nno boundary\r\n",
		"Subject: x\r\nContent-Transfer-Encoding: base64\r\n\r\nno*base*64\r\n",
		"Subject: x\r\nContent-Transfer-Encoding: rot13\r\n\r\nuryyb\r\n",
		"Subject: x\r\nno field\r\n\r\ntext\r\n",
		"Subject: x\r\nContent-Type: multipart/mixed; boundary=b\r\n\r\n--b\r\nno field\r\n\r\ntext\r\n--b--\r\n",
		"Subject: x\r\nContent-Type: multipart/mixed; boundary=b\r\n\r\n" + strings.Repeat("--b\r\nContent-Type: multipart/mixed; boundary=b\r\n\r\n", 90),
	} {
		text := raw[strings.Index(raw, "\r\n\r\n")+4:]
		if got := show(t, raw); !strings.HasSuffix(got, "\r\n\r\n"+text) {
			t.Errorf("%q became %q", raw, got)
		}
	}
}

// TestTextOfUnknownCharset keeps octets it cannot decode, NULs included.
func TestTextOfUnknownCharset(t *testing.T) {
	got := show(t, "Subject: x\r\nContent-Type: text/plain; charset=x-none\r\n\r\n\xfe\x00.\r\n")
	if !strings.HasSuffix(got, "charset=x-none\r\nContent-Transfer-Encoding: quoted-printable\r\nMIME-Version: 1.0\r\n\r\n=FE=00.\r\n") {
		t.Errorf("got %q", got)
	}
}

// FuzzMessage checks that any octets are shown, with the size that was promised,
// and that what was rebuilt can be rebuilt.
func FuzzMessage(f *testing.F) {
	f.Add(mixed)
	f.Add("Subject: =?utf-8?b?w7w=?=\r\n\r\nbody")
	f.Add("Content-Type: message/rfc822\r\n\r\nSubject: inner\r\n\r\ntext\r\n")
	f.Add("Content-Type: multipart/mixed; boundary=b\r\n\r\n--b\r\nContent-Type: message/rfc822\r\n\r\nSubject: y\r\n\r\nz\r\n--b--\r\n")
	f.Fuzz(func(t *testing.T, raw string) {
		got := show(t, raw)
		show(t, got)
	})
}
