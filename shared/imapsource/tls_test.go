package imapsource

import (
	"bufio"
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/hex"
	"encoding/pem"
	"errors"
	"math/big"
	"net"
	"strings"
	"sync"
	"testing"
	"time"

	"mailferry/shared/migrate"
)

// certificate makes one that is its own authority.
func certificate(t *testing.T, change func(*x509.Certificate)) (tls.Certificate, *x509.Certificate) {
	t.Helper()
	key, err := rsa.GenerateKey(rand.Reader, 2048) // old versions know no other key well
	if err != nil {
		t.Fatal(err)
	}
	c := &x509.Certificate{
		SerialNumber: big.NewInt(7), Subject: pkix.Name{CommonName: "old mail server"}, DNSNames: []string{"localhost"},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour), IsCA: true, BasicConstraintsValid: true,
		KeyUsage: x509.KeyUsageDigitalSignature | x509.KeyUsageKeyEncipherment | x509.KeyUsageCertSign,
	}
	change(c)
	der, err := x509.CreateCertificate(rand.Reader, c, c, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	parsed, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}, parsed
}

// overTLS runs an IMAP server that lets everybody in, with STARTTLS or TLS from the first octet.
func overTLS(t *testing.T, config *tls.Config, security migrate.Security) migrate.Endpoint {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var conns sync.WaitGroup
	conns.Go(func() {
		for {
			raw, err := l.Accept()
			if err != nil {
				return
			}
			conns.Go(func() {
				defer raw.Close()
				serveTLS(raw, config, security)
			})
		}
	})
	t.Cleanup(func() {
		l.Close()
		conns.Wait()
	})
	return migrate.Endpoint{Host: "localhost", Port: l.Addr().(*net.TCPAddr).Port, Security: security, Auth: "auto"}
}

func serveTLS(raw net.Conn, config *tls.Config, security migrate.Security) {
	if security == migrate.SecuritySTARTTLS {
		p := &peer{raw, bufio.NewReader(raw)}
		p.send("* OK [CAPABILITY IMAP4rev1 STARTTLS LOGINDISABLED] hi\r\n")
		tag, _, err := p.read()
		if err != nil {
			return
		}
		p.send("%s OK go\r\n", tag)
	}
	conn := tls.Server(raw, config)
	p := &peer{conn, bufio.NewReader(conn)}
	if security != migrate.SecuritySTARTTLS {
		p.send("%s\r\n", hello)
	}
	for {
		tag, command, err := p.read()
		if err != nil {
			return
		}
		p.answer(tag, command)
	}
}

// What is wrong with a certificate is told, with what it says of itself; its pin makes up for all of it.
func TestCertificates(t *testing.T) {
	for name, c := range map[string]struct {
		change  func(*x509.Certificate)
		trusted bool // its authority is
		reason  migrate.Reason
	}{
		"good":           {func(*x509.Certificate) {}, true, ""},
		"nobody's":       {func(*x509.Certificate) {}, false, migrate.UnknownAuthority},
		"another's":      {func(c *x509.Certificate) { c.DNSNames = []string{"other.example"} }, true, migrate.CertWrongName},
		"without a name": {func(c *x509.Certificate) { c.DNSNames = nil }, true, migrate.CertWrongName},
		"expired":        {func(c *x509.Certificate) { c.NotAfter = time.Now().Add(-time.Minute) }, true, migrate.CertExpired},
		"not valid yet":  {func(c *x509.Certificate) { c.NotBefore = time.Now().Add(time.Minute) }, true, migrate.CertExpired},
		"of a client":    {func(c *x509.Certificate) { c.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth} }, true, migrate.CertOther},
	} {
		t.Run(name, func(t *testing.T) {
			pair, cert := certificate(t, c.change)
			for _, security := range []migrate.Security{migrate.SecurityTLS, migrate.SecuritySTARTTLS} {
				e := overTLS(t, &tls.Config{Certificates: []tls.Certificate{pair}}, security)
				if c.trusted {
					e.CA = string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: cert.Raw}))
				}
				err := tryDial(t, e)
				if c.reason == "" && err != nil || c.reason != "" && (migrate.ReasonOf(err) != c.reason || migrate.KindOf(err) != migrate.Configuration) {
					t.Errorf("%s: got %v, want %q", security, err, c.reason)
				}
				for _, part := range []string{"CN=old mail server", fingerprintOf(cert), cert.NotAfter.UTC().Format(time.DateOnly)} {
					if err != nil && !strings.Contains(err.Error(), part) {
						t.Errorf("%s: %q is not in %v", security, part, err)
					}
				}
				e.CA = ""
				e.Fingerprint = strings.ToLower(strings.ReplaceAll(fingerprintOf(cert), ":", ""))
				if err := tryDial(t, e); err != nil {
					t.Errorf("%s: pinned: %v", security, err)
				}
			}
		})
	}
}

// A certificate that breaks the rules can be pinned as far as it can be read: old servers have serial numbers
// below zero. One that cannot is no broken connection.
func TestMalformedCertificates(t *testing.T) {
	pair, cert := certificate(t, func(*x509.Certificate) {})
	negative := bytes.Replace(cert.Raw, []byte{2, 1, 7}, []byte{2, 1, 0xf7}, 1)
	for name, c := range map[string]struct {
		raw    []byte
		reason migrate.Reason
		pinned migrate.Reason
	}{
		"negative": {negative, migrate.UnknownAuthority, ""},
		"cut":      {cert.Raw[:len(cert.Raw)-1], migrate.CertUnreadable, migrate.CertUnreadable},
	} {
		e := overTLS(t, &tls.Config{Certificates: []tls.Certificate{{Certificate: [][]byte{c.raw}, PrivateKey: pair.PrivateKey}}}, migrate.SecurityTLS)
		if err := tryDial(t, e); migrate.ReasonOf(err) != c.reason || migrate.KindOf(err) != migrate.Configuration {
			t.Errorf("%s: %v", name, err)
		}
		sum := sha256.Sum256(c.raw)
		e.Fingerprint = hex.EncodeToString(sum[:])
		if err := tryDial(t, e); migrate.ReasonOf(err) != c.pinned || (err == nil) != (c.pinned == "") {
			t.Errorf("%s, pinned: %v", name, err)
		}
	}
}

// A server that has no certificate for the host's name may say so instead of showing another.
func TestServerWithoutTheName(t *testing.T) {
	e := overTLS(t, &tls.Config{GetCertificate: func(*tls.ClientHelloInfo) (*tls.Certificate, error) { return nil, nil }}, migrate.SecurityTLS)
	if err := tryDial(t, e); migrate.ReasonOf(err) != migrate.CertWrongName || migrate.KindOf(err) != migrate.Configuration {
		t.Errorf("got %v", err)
	}
}

// A pin trusts one certificate, whoever signed another.
func TestPin(t *testing.T) {
	pair, cert := certificate(t, func(*x509.Certificate) {})
	e := overTLS(t, &tls.Config{Certificates: []tls.Certificate{pair}}, migrate.SecurityTLS)
	e.CA = string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: cert.Raw}))
	e.Fingerprint = strings.Repeat("00", 32)
	err := tryDial(t, e)
	if migrate.ReasonOf(err) != migrate.CertChanged || !strings.Contains(err.Error(), fingerprintOf(cert)) {
		t.Errorf("got %v", err)
	}
}

// Old versions, and the cipher suites that go with them, are spoken only when asked for.
func TestOldTLS(t *testing.T) {
	pair, cert := certificate(t, func(*x509.Certificate) {})
	authority := string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: cert.Raw}))
	for _, c := range []struct {
		max    uint16
		suites []uint16
		min    string
		ok     bool
	}{
		{tls.VersionTLS10, nil, "1.0", true},
		{tls.VersionTLS10, nil, "1.1", false},
		{tls.VersionTLS10, nil, "1.2", false},
		{tls.VersionTLS10, nil, "", false},
		{tls.VersionTLS11, nil, "1.1", true},
		{tls.VersionTLS11, nil, "1.2", false},
		{tls.VersionTLS12, nil, "1.2", true},
		{tls.VersionTLS12, nil, "1.3", false},
		{tls.VersionTLS13, nil, "1.3", true},
		{tls.VersionTLS10, []uint16{tls.TLS_RSA_WITH_3DES_EDE_CBC_SHA}, "1.0", true},
		{tls.VersionTLS10, []uint16{tls.TLS_RSA_WITH_AES_128_CBC_SHA}, "1.0", true},
		{tls.VersionTLS12, []uint16{tls.TLS_RSA_WITH_AES_128_CBC_SHA}, "1.2", false},
		{tls.VersionTLS12, []uint16{tls.TLS_RSA_WITH_RC4_128_SHA}, "1.0", true},
	} {
		e := overTLS(t, &tls.Config{Certificates: []tls.Certificate{pair}, MinVersion: tls.VersionTLS10, MaxVersion: c.max, CipherSuites: c.suites}, migrate.SecurityTLS)
		e.CA, e.MinTLS = authority, c.min
		err := tryDial(t, e)
		if c.ok && err != nil || !c.ok && (migrate.ReasonOf(err) != migrate.TLSTooOld || migrate.KindOf(err) != migrate.Configuration) {
			t.Errorf("server up to %s with %x, minTLS %q: %v", tls.VersionName(c.max), c.suites, c.min, err)
		}
	}
}

// Connections that are not made say why.
func TestConnectionReasons(t *testing.T) {
	closed, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	port := closed.Addr().(*net.TCPAddr).Port
	closed.Close()
	plain := scripted(t, hello, func(*peer, string, string) bool { return false })
	plain.Security = migrate.SecurityTLS
	for _, c := range []struct {
		e      migrate.Endpoint
		kind   migrate.Kind
		reason migrate.Reason
	}{
		{migrate.Endpoint{Host: "127.0.0.1", Port: port, Security: migrate.SecurityTLS}, migrate.Unreachable, migrate.ConnectRefused},
		{plain, migrate.Configuration, migrate.NotTLS},
	} {
		err := tryDial(t, c.e)
		if migrate.KindOf(err) != c.kind || migrate.ReasonOf(err) != c.reason {
			t.Errorf("got %v, want %s %s", err, c.kind, c.reason)
		}
	}
	for want, err := range map[migrate.Reason]error{
		migrate.ConnectTimeout: timeout{}, migrate.NoSuchHost: &net.DNSError{IsNotFound: true}, "": &net.DNSError{IsTemporary: true},
	} {
		if kind, reason := connectionReason(&net.OpError{Op: "dial", Err: err}); kind != migrate.Unreachable || reason != want {
			t.Errorf("%v is %s %s", err, kind, reason)
		}
	}
}

type timeout struct{}

func (timeout) Error() string   { return "i/o timeout" }
func (timeout) Timeout() bool   { return true }
func (timeout) Temporary() bool { return true }

// A server that is not trusted gets nothing.
func TestWrongCertificateKeepsThePassword(t *testing.T) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	c := &x509.Certificate{SerialNumber: big.NewInt(1), DNSNames: []string{"localhost"}, NotBefore: time.Now(), NotAfter: time.Now().Add(time.Hour)}
	der, err := x509.CreateCertificate(rand.Reader, c, c, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	got := make(chan error, 1)
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	go func() {
		raw, err := l.Accept()
		if err == nil {
			conn := tls.Server(raw, &tls.Config{Certificates: []tls.Certificate{{Certificate: [][]byte{der}, PrivateKey: key}}})
			var n int
			n, err = conn.Read(make([]byte, 100))
			if n > 0 {
				err = errors.New("the client sent something")
			}
			raw.Close()
		}
		got <- err
	}()
	err = tryDial(t, migrate.Endpoint{Host: "localhost", Port: l.Addr().(*net.TCPAddr).Port, Security: migrate.SecurityTLS, Auth: "auto"})
	if migrate.ReasonOf(err) != migrate.UnknownAuthority {
		t.Errorf("got %v", err)
	}
	if err := <-got; err == nil || strings.Contains(err.Error(), "sent something") {
		t.Errorf("the server saw %v", err)
	}
}
