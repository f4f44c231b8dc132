package imapsource

import (
	"bytes"
	"context"
	"encoding/base64"
	"fmt"
	"log/slog"
	"strings"
	"testing"
	"testing/synctest"

	"mailferry/shared/migrate"
)

// A server or token service that repeats what it was sent gets no secret into an error or a log,
// neither plain nor in base64.
func TestSecretsStayOut(t *testing.T) {
	r := wholeRealm(t)
	r.tokens.reset()
	const secret = "pw+of/änna"
	var log bytes.Buffer
	logger := slog.New(slog.NewTextHandler(&log, &slog.HandlerOptions{Level: slog.LevelDebug}))
	var texts []string
	fails := func(t *testing.T, d Dialer, e migrate.Endpoint) {
		d.Logger = logger
		s, err := d.Dial(t.Context(), e, migrate.Mailbox{Login: "anna"})
		if err == nil { // what breaks later must not tell either
			_, err = s.Open(t.Context(), "INBOX")
			s.Close()
		}
		if err == nil {
			t.Error("no error to look at")
			return
		}
		texts = append(texts, err.Error(), fmt.Sprintf("%+v", err))
	}
	for _, caps := range []string{"AUTH=PLAIN SASL-IR", "AUTH=PLAIN", "IDLE", "AUTH=SCRAM-SHA-256 SASL-IR", "AUTH=CRAM-MD5"} {
		for _, ending := range []string{"%[1]s NO I heard %[2]s\r\n", "%[1]s BAD %[2]s\r\n", "* BYE %[2]s\r\n", "* NO %[2]s\r\n%[1]s NO no\r\n", "* NO %[2]s\r\n%[1]s OK in\r\n"} {
			synctest.Test(t, func(t *testing.T) {
				d := inMemory(t, "* OK [CAPABILITY IMAP4rev1 "+caps+"] hi", func(p *peer, tag, command string) bool {
					switch {
					case strings.HasPrefix(command, "CAPABILITY"), strings.HasPrefix(command, "LOGOUT"):
						return false
					case strings.HasPrefix(command, "EXAMINE"):
						p.Close()
						return true
					}
					heard := command
					for {
						if strings.HasSuffix(command, "}") || strings.HasPrefix(command, "AUTHENTICATE") && len(strings.Fields(command)) == 2 {
							p.send("+ \r\n")
							first, rest, _ := p.read()
							command = first + " " + rest
							heard += " " + command
							continue
						}
						break
					}
					p.send(ending, tag, heard+" "+secret+" "+base64.StdEncoding.EncodeToString([]byte("\x00anna\x00"+secret)))
					return true
				})
				d.Password = func(context.Context, migrate.Mailbox) (string, error) { return secret, nil }
				fails(t, d, clearly)
			})
		}
	}
	vault := "refresh-of-somebody"
	fails(t, oauthDialer(r, &vault), oauthEndpoint(r, "auto", refreshGrant)) // the answer repeats it
	wrong := oauthDialer(r, &vault)
	wrong.Setting = func(string) (string, error) { return secret, nil }
	fails(t, wrong, oauthEndpoint(r, "auto", clientGrant))  // likewise
	fails(t, wrong, oauthEndpoint(r, "auto", accountGrant)) // no key
	kerberos := gssapiEndpoint(r, "auto")
	fails(t, r.dialer(secret, nil), kerberos)
	kerberos.Kerberos.KeytabSetting = "SOURCE_KEYTAB"
	fails(t, wrong, kerberos) // no keytab
	all := strings.Join(texts, "\n") + log.String()
	for _, leak := range []string{secret, "pw+of", "refresh-of-somebody", base64.StdEncoding.EncodeToString([]byte("\x00anna\x00" + secret))} {
		if i := strings.Index(all, leak); i >= 0 {
			t.Errorf("%q is in %q", leak, all[max(0, i-200):min(len(all), i+100)])
		}
	}
}

// A server that repeats an access token gets it into no error either, whatever it repeats it in.
func TestTokensStayOut(t *testing.T) {
	r := wholeRealm(t)
	r.tokens.reset()
	for _, mechanism := range []string{"XOAUTH2", "OAUTHBEARER"} {
		for _, ending := range []string{"NO I heard %s", "BAD [ALERT] %s", "challenge %s"} {
			var heard, token string
			plain := scripted(t, "* OK [CAPABILITY IMAP4rev1 SASL-IR AUTH="+mechanism+"] hi", func(p *peer, tag, command string) bool {
				words := strings.Fields(command)
				if words[0] != "AUTHENTICATE" || len(words) < 3 {
					return false
				}
				heard = words[2]
				sent, _ := base64.StdEncoding.DecodeString(heard)
				_, rest, _ := strings.Cut(string(sent), "Bearer ")
				token, _, _ = strings.Cut(rest, "\x01")
				if strings.HasPrefix(ending, "challenge") {
					p.send("+ %s\r\n", base64.StdEncoding.EncodeToString([]byte(`{"status":"`+token+`","scope":"`+heard+`"}`)))
					_, _, _ = p.read()
					p.send("%s NO %s\r\n", tag, token)
					return true
				}
				p.send("%s "+ending+"\r\n", tag, strings.Repeat("-", 280)+token+" "+heard)
				return true
			})
			vault := "refresh-of-anna"
			e := oauthEndpoint(r, "auto", refreshGrant)
			e.Port, e.Host, e.Security = plain.Port, plain.Host, plain.Security
			_, err := oauthDialer(r, &vault).Dial(t.Context(), e, migrate.Mailbox{Login: "anna"})
			if err == nil || migrate.ReasonOf(err) == "" && migrate.KindOf(err) != migrate.Configuration || len(token) < 8 {
				t.Fatalf("%s, %s: the token is %q, the error %v", mechanism, ending, token, err)
			}
			if leak := leaked(err.Error(), token, 10); leak != "" || strings.Contains(err.Error(), heard[:20]) {
				t.Errorf("%s, %s: %q of the token %q is in %v", mechanism, ending, leak, token, err)
			}
		}
	}
}
