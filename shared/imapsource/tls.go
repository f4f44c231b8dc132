package imapsource

import (
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"encoding/hex"
	"errors"
	"fmt"
	"net"
	"os"
	"strings"
	"syscall"
	"time"

	"mailferry/shared/migrate"
)

var tlsVersions = map[string]uint16{"1.0": tls.VersionTLS10, "1.1": tls.VersionTLS11, "1.2": tls.VersionTLS12, "1.3": tls.VersionTLS13}

// tlsConfig is what the endpoint trusts and how old it lets TLS be.
func tlsConfig(endpoint migrate.Endpoint) (*tls.Config, error) {
	roots, err := trusted(endpoint)
	if err != nil {
		return nil, &migrate.Error{Kind: migrate.Configuration, Err: err}
	}
	c := &tls.Config{ServerName: endpoint.Host, RootCAs: roots, MinVersion: tls.VersionTLS12}
	if v, ok := tlsVersions[endpoint.MinTLS]; ok {
		c.MinVersion = v
	}
	if c.MinVersion < tls.VersionTLS12 {
		// Servers that stop at TLS 1.0 or 1.1 often have only RSA key exchange or 3DES, which Go
		// offers no longer by itself (https://go.dev/doc/go1.22#cryptotlspkgcryptotls).
		for _, suite := range append(tls.CipherSuites(), tls.InsecureCipherSuites()...) {
			c.CipherSuites = append(c.CipherSuites, suite.ID)
		}
	}
	if endpoint.Fingerprint != "" {
		// The pin replaces the chain, the name and the dates.
		c.InsecureSkipVerify = true
		c.VerifyConnection = func(s tls.ConnectionState) error { return checkPin(s, endpoint.Fingerprint) }
	}
	return c, nil
}

// checkPin compares the server's certificate with the one that the endpoint pins.
func checkPin(s tls.ConnectionState, fingerprint string) error {
	c := s.PeerCertificates[0]
	sum := sha256.Sum256(c.Raw)
	if hex.EncodeToString(sum[:]) == fingerprint {
		return nil
	}
	return &migrate.Error{Kind: migrate.Configuration, Reason: migrate.CertChanged,
		Err: fmt.Errorf("the server's certificate is not the one whose fingerprint the endpoint has: %s", describeCertificate(c))}
}

// trusted returns the system's certificate authorities and the endpoint's own; nil stands for the
// system's alone.
func trusted(endpoint migrate.Endpoint) (*x509.CertPool, error) {
	pem := []byte(endpoint.CA)
	if endpoint.CA == "" && endpoint.CAFile != "" {
		var err error
		if pem, err = os.ReadFile(endpoint.CAFile); err != nil {
			return nil, fmt.Errorf("read the endpoint's caFile: %w", err)
		}
	}
	if len(pem) == 0 {
		return nil, nil
	}
	roots, err := x509.SystemCertPool()
	if err != nil {
		roots = x509.NewCertPool()
	}
	if !roots.AppendCertsFromPEM(pem) {
		return nil, errors.New("the endpoint's certificate authority is not a PEM certificate")
	}
	return roots, nil
}

// describeCertificate shows a certificate so that it can be compared with what the server's
// administrator says.
func describeCertificate(c *x509.Certificate) string {
	names := append([]string(nil), c.DNSNames...)
	for _, ip := range c.IPAddresses {
		names = append(names, ip.String())
	}
	return fmt.Sprintf("subject %q, issuer %q, names %q, valid from %s to %s, SHA-256 %s", c.Subject, c.Issuer, strings.Join(names, " "),
		c.NotBefore.UTC().Format(time.DateOnly), c.NotAfter.UTC().Format(time.DateOnly), fingerprintOf(c))
}

// fingerprintOf writes a certificate's SHA-256 as openssl and browsers do.
func fingerprintOf(c *x509.Certificate) string {
	sum := sha256.Sum256(c.Raw)
	pairs := make([]string, len(sum))
	for i, b := range sum {
		pairs[i] = fmt.Sprintf("%02X", b)
	}
	return strings.Join(pairs, ":")
}

// notTrusted makes the error of a certificate that did not verify.
func notTrusted(err *tls.CertificateVerificationError) *migrate.Error {
	e := &migrate.Error{Kind: migrate.Configuration, Reason: migrate.CertOther, Err: err}
	var authority x509.UnknownAuthorityError
	var name x509.HostnameError
	var invalid x509.CertificateInvalidError
	switch {
	case errors.As(err.Err, &authority):
		e.Reason = migrate.UnknownAuthority
	case errors.As(err.Err, &name):
		e.Reason = migrate.CertWrongName
	case errors.As(err.Err, &invalid) && invalid.Reason == x509.Expired:
		e.Reason = migrate.CertExpired
	}
	if len(err.UnverifiedCertificates) > 0 {
		e.Err = fmt.Errorf("the server's certificate (%s) is not trusted: %w", describeCertificate(err.UnverifiedCertificates[0]), err.Err)
	}
	return e
}

// connectionReason says why a connection was not made. crypto/tls gives the alerts of the other
// side, and its own complaints, as texts only.
func connectionReason(err error) (migrate.Kind, migrate.Reason) {
	var notTLS tls.RecordHeaderError
	var dns *net.DNSError
	var timeout net.Error
	text := err.Error()
	switch {
	case errors.As(err, &notTLS):
		return migrate.Configuration, migrate.NotTLS
	case strings.Contains(text, "parse certificate"), strings.Contains(text, "keys are insecure"):
		return migrate.Configuration, migrate.CertUnreadable
	case strings.Contains(text, "unrecognized name"): // the server has no certificate for the host's name
		return migrate.Configuration, migrate.CertWrongName
	case strings.Contains(text, "protocol version"), strings.Contains(text, "handshake failure"), strings.Contains(text, "insufficient security"):
		return migrate.Configuration, migrate.TLSTooOld
	case errors.As(err, &dns) && dns.IsNotFound:
		return migrate.Unreachable, migrate.NoSuchHost
	case errors.Is(err, syscall.ECONNREFUSED):
		return migrate.Unreachable, migrate.ConnectRefused
	case errors.As(err, &timeout) && timeout.Timeout():
		return migrate.Unreachable, migrate.ConnectTimeout
	}
	return migrate.Unreachable, ""
}
