package imapsource

import (
	"context"
	"encoding/base64"
	"encoding/binary"
	"errors"
	"strings"
	"testing"

	"github.com/emersion/go-imap/v2"
	"github.com/jcmturner/gokrb5/v8/gssapi"
	"github.com/jcmturner/gokrb5/v8/iana/etypeID"
	"github.com/jcmturner/gokrb5/v8/iana/keyusage"
	"github.com/jcmturner/gokrb5/v8/types"
	"github.com/xdg-go/scram"

	"mailferry/shared/migrate"
)

func capSet(names string) imap.CapSet {
	caps := imap.CapSet{}
	for _, name := range strings.Fields(names) {
		caps[imap.Cap(name)] = struct{}{}
	}
	return caps
}

// TestAuto gives the order of auto, and never a password in clear text where there is another way.
func TestAuto(t *testing.T) {
	const all = "AUTH=PLAIN AUTH=LOGIN AUTH=CRAM-MD5 AUTH=NTLM AUTH=SCRAM-SHA-1 AUTH=SCRAM-SHA-256 AUTH=GSSAPI AUTH=XOAUTH2 AUTH=OAUTHBEARER"
	password := credential{login: "u", password: "pw"}
	admin := credential{login: "a", authzid: "u", password: "pw"}
	token := credential{login: "u", token: "t"}
	ticket := credential{login: "u", ticket: &kerberosTicket{}}
	for _, c := range []struct {
		with     credential
		security migrate.Security
		caps     string
		want     string // empty: none
	}{
		{password, migrate.SecurityTLS, all, "scram-sha-256"},
		{password, migrate.SecurityTLS, "AUTH=SCRAM-SHA-1 AUTH=PLAIN", "scram-sha-1"},
		{password, migrate.SecurityTLS, "AUTH=PLAIN AUTH=LOGIN AUTH=CRAM-MD5 AUTH=NTLM", "plain"},
		{password, migrate.SecuritySTARTTLS, "AUTH=CRAM-MD5", "login"},
		{password, migrate.SecurityTLS, "LOGINDISABLED AUTH=LOGIN AUTH=CRAM-MD5", "login"},
		{password, migrate.SecurityTLS, "LOGINDISABLED AUTH=NTLM AUTH=CRAM-MD5", "cram-md5"},
		{password, migrate.SecurityTLS, "LOGINDISABLED AUTH=NTLM", "ntlm"},
		{password, migrate.SecurityTLS, "LOGINDISABLED AUTH=GSSAPI AUTH=XOAUTH2", ""},
		{password, migrate.SecurityNone, all, "scram-sha-256"},
		{password, migrate.SecurityNone, "AUTH=PLAIN AUTH=NTLM AUTH=CRAM-MD5", "ntlm"},
		{password, migrate.SecurityNone, "AUTH=PLAIN AUTH=CRAM-MD5", "cram-md5"},
		{password, migrate.SecurityNone, "AUTH=PLAIN", "plain"},
		{password, migrate.SecurityNone, "IDLE", "login"},
		{password, migrate.SecurityNone, "LOGINDISABLED STARTTLS", ""},
		{admin, migrate.SecurityTLS, all, "scram-sha-256"},
		{admin, migrate.SecurityTLS, "AUTH=CRAM-MD5 AUTH=LOGIN AUTH=PLAIN", "plain"},
		{admin, migrate.SecurityTLS, "AUTH=CRAM-MD5 AUTH=LOGIN", ""}, // LOGIN would open the administrator's own
		{admin, migrate.SecurityNone, "AUTH=PLAIN AUTH=CRAM-MD5", ""},
		{admin, migrate.SecurityNone, "AUTH=PLAIN", "plain"},
		{token, migrate.SecurityTLS, all, "oauthbearer"},
		{token, migrate.SecurityTLS, "AUTH=PLAIN AUTH=XOAUTH2", "xoauth2"},
		{token, migrate.SecurityTLS, "AUTH=PLAIN", ""},
		{ticket, migrate.SecurityNone, all, "gssapi"},
		{ticket, migrate.SecurityTLS, "AUTH=PLAIN", ""},
	} {
		m, err := chooseMechanism(migrate.Endpoint{Auth: "auto", Security: c.security}, c.with, capSet(c.caps))
		if m.name != c.want || (err == nil) != (c.want != "") || err != nil && migrate.ReasonOf(err) != migrate.NoMechanism {
			t.Errorf("%s over %s: %q, %v; want %q", c.caps, c.security, m.name, err, c.want)
		}
	}
}

// LOGIN is sent so that every server takes it, whatever the password holds.
func TestLoginLiterals(t *testing.T) {
	got := make(chan string, 1)
	e := scripted(t, "* OK [CAPABILITY IMAP4rev1] hi", func(p *peer, tag, command string) bool {
		if !strings.HasPrefix(command, "LOGIN") {
			return false
		}
		heard := command
		for strings.HasSuffix(heard, "}") {
			p.send("+ go on\r\n")
			line, _ := p.lines.ReadString('\n')
			heard += "\r\n" + strings.TrimSuffix(line, "\r\n")
		}
		got <- heard
		p.send("%s OK [CAPABILITY IMAP4rev1] in\r\n", tag)
		return true
	})
	for _, c := range []struct{ user, password, want string }{
		{`a"b\c`, "p w", `LOGIN "a\"b\\c" "p w"`},
		{"u", "pä", "LOGIN \"u\" {3}\r\npä"},
		{"ü", "pä", "LOGIN {2}\r\nü {3}\r\npä"},
		{"ü", "pw", "LOGIN {2}\r\nü \"pw\""},
		{"u", "", `LOGIN "u" ""`},
	} {
		d := Dialer{Password: func(context.Context, migrate.Mailbox) (string, error) { return c.password, nil }}
		s, err := d.Dial(t.Context(), e, migrate.Mailbox{Login: c.user})
		if err != nil {
			t.Fatal(err)
		}
		s.Close()
		if heard := <-got; heard != c.want {
			t.Errorf("sent %q, want %q", heard, c.want)
		}
	}
}

// saslServer answers an AUTHENTICATE with challenges, and an OK behind the last reply.
func saslServer(t *testing.T, mechanism string, challenge func(step int, reply string) (next string, more bool)) migrate.Endpoint {
	return scripted(t, "* OK [CAPABILITY IMAP4rev1 AUTH="+mechanism+"] hi", func(p *peer, tag, command string) bool {
		if command != "AUTHENTICATE "+mechanism {
			return false
		}
		reply := ""
		for step := 0; ; step++ {
			next, more := challenge(step, reply)
			if !more {
				p.send("%s OK in\r\n", tag)
				return true
			}
			p.send("+ %s\r\n", base64.StdEncoding.EncodeToString([]byte(next)))
			line, _ := p.lines.ReadString('\n')
			if line = strings.TrimSpace(line); line == "*" {
				p.send("%s BAD cancelled\r\n", tag)
				return true
			}
			decoded, _ := base64.StdEncoding.DecodeString(line)
			reply = string(decoded)
		}
	})
}

// A server that lets us in without the proof that its mechanism has is not believed.
func TestServersProveThemselves(t *testing.T) {
	known, err := scram.SHA256.NewClient("u", "pw", "")
	if err != nil {
		t.Fatal(err)
	}
	stored, err := known.GetStoredCredentialsWithError(scram.KeyFactors{Salt: "salt", Iters: 4096})
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		name   string
		steps  func(conv *scram.ServerConversation, step int, reply string) (string, bool)
		reason migrate.Reason
		ok     bool
	}{
		{"honest", func(conv *scram.ServerConversation, step int, reply string) (string, bool) {
			if step == 0 {
				return "", true
			}
			next, err := conv.Step(reply)
			return next, err == nil
		}, "", true},
		{"at once", func(*scram.ServerConversation, int, string) (string, bool) { return "", false }, migrate.ServerUnproven, false},
		{"after the first message", func(_ *scram.ServerConversation, step int, _ string) (string, bool) { return "", step == 0 }, migrate.ServerUnproven, false},
		{"with a wrong signature", func(conv *scram.ServerConversation, step int, reply string) (string, bool) {
			switch step {
			case 0:
				return "", true
			case 1:
				next, _ := conv.Step(reply)
				return next, true
			}
			return "v=" + base64.StdEncoding.EncodeToString(make([]byte, 32)), true
		}, migrate.ServerUnproven, false},
		{"with too many iterations", func(_ *scram.ServerConversation, step int, reply string) (string, bool) {
			if step == 0 {
				return "", true
			}
			nonce := reply[strings.Index(reply, "r=")+2:]
			return "r=" + nonce + "x,s=c2FsdA==,i=2000000000", true
		}, "", false},
		{"with an error", func(_ *scram.ServerConversation, step int, _ string) (string, bool) {
			if step == 0 {
				return "", true
			}
			return "e=invalid-proof", true
		}, migrate.WrongPassword, false},
	} {
		server, err := scram.SHA256.NewServer(func(string) (scram.StoredCredentials, error) { return stored, nil })
		if err != nil {
			t.Fatal(err)
		}
		conv := server.NewConversation()
		err = tryDial(t, saslServer(t, "SCRAM-SHA-256", func(step int, reply string) (string, bool) { return c.steps(conv, step, reply) }))
		if (err == nil) != c.ok || migrate.ReasonOf(err) != c.reason {
			t.Errorf("%s: %v", c.name, err)
		}
		var e *migrate.Error
		if err != nil && !errors.As(err, &e) {
			t.Errorf("%s: %v is no error of the domain", c.name, err)
		}
	}
}

// A password with an emoji, which SASLprep forbids, is used as it is.
func TestSCRAMWithoutSASLprep(t *testing.T) {
	if _, err := scram.SHA256.NewClient("u", "pw😀", ""); err == nil {
		t.Fatal("SASLprep takes an emoji")
	}
	if _, err := scramSHA256Client(credential{login: "u", password: "pw😀"}); err != nil {
		t.Error(err)
	}
}

// TestGSSAPILayers reads the server's offer, rotated as Heimdal does or not, and refuses forged ones.
func TestGSSAPILayers(t *testing.T) {
	key := types.EncryptionKey{KeyType: etypeID.AES256_CTS_HMAC_SHA1_96, KeyValue: []byte(strings.Repeat("k", 32))}
	offer := func(payload []byte, with types.EncryptionKey, rotate int) []byte {
		token := gssapi.WrapToken{Flags: fromAcceptor | flagSubkey, EC: 12, Payload: payload}
		if err := token.SetCheckSum(with, keyusage.GSSAPI_ACCEPTOR_SEAL); err != nil {
			t.Fatal(err)
		}
		b, err := token.Marshal()
		if err != nil {
			t.Fatal(err)
		}
		data := b[gssapi.HdrLen:]
		cut := len(data) - rotate
		binary.BigEndian.PutUint16(b[6:], uint16(rotate))
		return append(append(b[:gssapi.HdrLen:gssapi.HdrLen], data[cut:]...), data[:cut]...)
	}
	other := types.EncryptionKey{KeyType: key.KeyType, KeyValue: []byte(strings.Repeat("x", 32))}
	for name, c := range map[string]struct {
		offer []byte
		ok    bool
	}{
		"plain":         {offer([]byte{7, 0, 16, 0}, key, 0), true},
		"rotated":       {offer([]byte{1, 0, 0, 0}, key, 12), true},
		"no layer-free": {offer([]byte{6, 0, 16, 0}, key, 0), false},
		"too short":     {offer([]byte{1}, key, 0), false},
		"forged":        {offer([]byte{7, 0, 16, 0}, other, 0), false},
		"cut":           {offer([]byte{7, 0, 16, 0}, key, 0)[:20], false},
	} {
		g := &gssapiSASL{kerberosTicket: &kerberosTicket{}, authzid: "anna", key: key, subkey: true, state: gssapiProven}
		reply, err := g.Next(c.offer)
		if (err == nil) != c.ok {
			t.Errorf("%s: %v", name, err)
			continue
		}
		if c.ok && string(reply[gssapi.HdrLen:len(reply)-12]) != "\x01\x00\x00\x00anna" {
			t.Errorf("%s: answered %q", name, reply)
		}
	}
}

// A token as long as those of Windows domains goes behind the command, not into it.
func TestLongInitialResponse(t *testing.T) {
	lines := make(chan string, 2)
	e := scripted(t, "* OK [CAPABILITY IMAP4rev1 AUTH=PLAIN SASL-IR] hi", func(p *peer, tag, command string) bool {
		if !strings.HasPrefix(command, "AUTHENTICATE") {
			return false
		}
		lines <- command
		p.send("+ \r\n")
		line, _ := p.lines.ReadString('\n')
		lines <- strings.TrimSpace(line)
		p.send("%s OK in\r\n", tag)
		return true
	})
	long := strings.Repeat("x", 20000)
	s, err := Dialer{Password: func(context.Context, migrate.Mailbox) (string, error) { return long, nil }}.Dial(t.Context(), e, migrate.Mailbox{Login: "u"})
	if err != nil {
		t.Fatal(err)
	}
	s.Close()
	if first := <-lines; first != "AUTHENTICATE PLAIN" {
		t.Errorf("the command is %d octets long", len(first))
	}
	if second := <-lines; second != base64.StdEncoding.EncodeToString([]byte("\x00u\x00"+long)) {
		t.Errorf("the response is %d octets long", len(second))
	}
}
