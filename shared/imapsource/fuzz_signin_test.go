package imapsource

import (
	"bytes"
	"net"
	"testing"
	"time"

	"github.com/jcmturner/gokrb5/v8/iana/etypeID"
	"github.com/jcmturner/gokrb5/v8/types"

	"mailferry/shared/migrate"
)

// recording is a connection that plays what a server says and drops what it is told.
type recording struct {
	net.Conn
	said *bytes.Reader
}

func (c recording) Read(p []byte) (int, error)         { return c.said.Read(p) }
func (c recording) Write(p []byte) (int, error)        { return len(p), nil }
func (c recording) Close() error                       { return nil }
func (c recording) SetReadDeadline(t time.Time) error  { return nil }
func (c recording) SetWriteDeadline(t time.Time) error { return nil }

// fuzzCredential can sign in by every mechanism.
func fuzzCredential() credential {
	key := types.EncryptionKey{KeyType: etypeID.AES256_CTS_HMAC_SHA1_96, KeyValue: bytes.Repeat([]byte{7}, 32)}
	return credential{login: "anna", password: "pw", token: "token",
		ticket: &kerberosTicket{realm: "EXAMPLE.TEST", principal: types.NewPrincipalName(1, "anna"), sessionKey: key}}
}

// FuzzSignIn plays octets as a server's side of a sign-in: it ends, and only with an OK for the last
// command in success.
func FuzzSignIn(f *testing.F) {
	f.Add([]byte("* OK [CAPABILITY IMAP4rev1 AUTH=PLAIN SASL-IR] hi\r\na1 OK [CAPABILITY IMAP4rev1] in\r\n"), byte(0))
	f.Add([]byte("* OK hi\r\n* CAPABILITY IMAP4rev1 AUTH=CRAM-MD5\r\na1 OK\r\n+ PDFAYT4=\r\na2 OK in\r\n* CAPABILITY X\r\na3 OK\r\n"), byte(3))
	f.Add([]byte("* OK hi\r\n* CAPABILITY AUTH=SCRAM-SHA-1 SASL-IR\r\na1 OK\r\n+ cj1hLHM9YSxpPTE=\r\na2 NO [AUTHENTICATIONFAILED] no\r\n"), byte(4))
	f.Add([]byte("* BYE [UNAVAILABLE] Too many\r\n"), byte(1))
	f.Add([]byte("* OK [CAPABILITY AUTH=NTLM] {3}\r\n+\r\n+ TlRMTVNTUAACAAAA\r\na1 NO\r\n"), byte(6))
	f.Add([]byte("* OK [CAPABILITY LOGINDISABLED AUTH=LOGIN] x\r\n+ VXNlcm5hbWU6\r\n+ x\r\n+ =\r\n* BYE\r\n"), byte(2))
	f.Fuzz(func(t *testing.T, said []byte, auth byte) {
		names := []string{"auto", "plain", "login", "cram-md5", "scram-sha-1", "scram-sha-256", "ntlm", "gssapi", "xoauth2", "oauthbearer"}
		conn := recording{said: bytes.NewReader(said)}
		d := &dialogue{wire: newWire(conn, conn, time.Minute)}
		err := d.greet()
		if err == nil {
			err = d.signIn(migrate.Endpoint{Auth: names[int(auth)%len(names)], Security: migrate.SecurityNone}, fuzzCredential())
		}
		if err == nil {
			if !bytes.Contains(bytes.ToUpper(said), []byte(" OK")) {
				t.Errorf("signed in by %q", said)
			}
			err = d.handOver()
		}
		if err != nil && err.Error() == "" {
			t.Error("an error without a text")
		}
	})
}

// FuzzChallenges gives each mechanism two challenges: none panics, and none that proves the server
// takes these for a proof.
func FuzzChallenges(f *testing.F) {
	f.Add(byte(0), []byte("<1896.697170952@postoffice.example.net>"), []byte{})
	f.Add(byte(1), []byte("r=abc,s=QSXCR+Q6sek8bf92,i=4096"), []byte("v=rmF9pqV8S7suAoZWja4dJRkFsKQ="))
	f.Add(byte(2), []byte("r=abc,s=W22ZaJ0SNY7soEsUEjb6gQ==,i=99999999999999999999"), []byte("e=other-error"))
	f.Add(byte(3), []byte("NTLMSSP\x00\x02\x00\x00\x00\x0c\x00\x0c\x008\x00\x00\x00\x33\x82\x8a\xe2\x01\x23\x45\x67\x89\xab\xcd\xef\x00\x00\x00\x00\x00\x00\x00\x00\x24\x00\x24\x00\x44\x00\x00\x00"), []byte{})
	f.Add(byte(4), frameToken(apReply, []byte{0x6f, 0x03, 0x30, 0x01, 0x00}), []byte("\x05\x04\x05\xff\x00\x0c\x00\x00"))
	f.Add(byte(4), frameToken(krbError, []byte{0x7e, 0x03, 0x30, 0x01, 0x00}), []byte{})
	f.Add(byte(5), []byte(`{"status":"400","schemes":"Bearer","scope":"https://mail.google.com/"}`), []byte{})
	f.Add(byte(6), []byte("Username:"), []byte("Password:"))
	f.Fuzz(func(t *testing.T, which byte, first, second []byte) {
		list := []string{"cram-md5", "scram-sha-1", "scram-sha-256", "ntlm", "gssapi", "xoauth2", "login"}
		m := named(list[int(which)%len(list)])
		c, err := m.client(fuzzCredential())
		if err != nil {
			t.Fatal(err)
		}
		if g, ok := c.(*gssapiSASL); ok {
			g.key = g.sessionKey // without a ticket there is no Start
		} else if _, _, err := c.Start(); err != nil {
			t.Fatal(err)
		}
		for _, challenge := range [][]byte{first, second} {
			if _, err := c.Next(challenge); err != nil {
				break
			}
		}
		if v, ok := c.(verifier); ok && v.verify() == nil {
			t.Errorf("%s: %q and %q are a proof", m.name, first, second)
		}
		if g, ok := c.(*gssapiSASL); ok {
			if _, err := g.unwrap(first); err == nil {
				t.Errorf("%q is signed", first)
			}
		}
	})
}

// FuzzTokenAnswer reads any answer of a token service and any refusal of a token.
func FuzzTokenAnswer(f *testing.F) {
	f.Add([]byte(`{"error":"invalid_grant","error_description":"AADSTS70008"}`))
	f.Add([]byte(`{"error":{"code":400,"message":"x"}}`))
	f.Add([]byte(`{"status":"invalid_token","schemes":"bearer"}`))
	f.Add([]byte("\xff{"))
	f.Fuzz(func(t *testing.T, body []byte) {
		code, description := oauthError(body)
		for _, text := range []string{code, description, bearerRefusal(body)} {
			if len(text) > 4000 || bytes.ContainsAny([]byte(text), "\r\n\x00") {
				t.Errorf("%q", text)
			}
		}
	})
}
