package exchange

import (
	"bufio"
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/base64"
	"fmt"
	"io"
	"math/big"
	"net"
	"net/http"
	"net/http/httptest"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/Azure/azure-sdk-for-go/sdk/azcore"
	"github.com/Azure/azure-sdk-for-go/sdk/azcore/policy"
	"go.uber.org/goleak"

	"mailferry/shared/migrate"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// certificate makes one for 127.0.0.1 and the pool that trusts it.
func certificate(t *testing.T) (tls.Certificate, *x509.CertPool) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}, IsCA: true, BasicConstraintsValid: true,
		KeyUsage: x509.KeyUsageDigitalSignature | x509.KeyUsageCertSign,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	leaf, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	roots := x509.NewCertPool()
	roots.AddCert(leaf)
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}, roots
}

// credential gives token-1, token-2 and so on.
type credential struct {
	mu     sync.Mutex
	given  int
	scopes []string
	err    error
}

func (c *credential) GetToken(_ context.Context, o policy.TokenRequestOptions) (azcore.AccessToken, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.err != nil {
		return azcore.AccessToken{}, c.err
	}
	c.given++
	c.scopes = append(c.scopes, o.Scopes...)
	return azcore.AccessToken{Token: fmt.Sprintf("token-%d", c.given), ExpiresOn: time.Now().Add(time.Hour)}, nil
}

// peer is a scripted IMAP server: each connection runs one script, the last one again and again.
type peer struct {
	addr  string
	roots *x509.CertPool

	mu    sync.Mutex
	conns int
	now   int
	most  int
}

type script func(w *wire)

func newPeer(t *testing.T, scripts ...script) *peer {
	t.Helper()
	cert, roots := certificate(t)
	listener, err := tls.Listen("tcp", "127.0.0.1:0", &tls.Config{Certificates: []tls.Certificate{cert}})
	if err != nil {
		t.Fatal(err)
	}
	p := &peer{addr: listener.Addr().String(), roots: roots}
	var running sync.WaitGroup
	running.Go(func() {
		for {
			conn, err := listener.Accept()
			if err != nil {
				return
			}
			play := scripts[min(p.opened(1), len(scripts))-1]
			running.Go(func() {
				defer p.opened(-1)
				defer conn.Close()
				w := &wire{t: t, conn: conn, r: bufio.NewReader(conn)}
				play(w)
			})
		}
	})
	t.Cleanup(func() { listener.Close(); running.Wait() })
	return p
}

// opened counts connections and returns how many there were.
func (p *peer) opened(n int) int {
	p.mu.Lock()
	defer p.mu.Unlock()
	if n > 0 {
		p.conns++
	}
	p.now += n
	p.most = max(p.most, p.now)
	return p.conns
}

func (p *peer) total() int { p.mu.Lock(); defer p.mu.Unlock(); return p.conns }

// wire is the server's end of a connection. Its methods give zero values once it has ended.
type wire struct {
	t     *testing.T
	conn  net.Conn
	r     *bufio.Reader
	token string
}

func (w *wire) say(format string, args ...any) { fmt.Fprintf(w.conn, format+"\r\n", args...) }

// command reads the next command, answering CAPABILITY with what Exchange says.
func (w *wire) command() (tag, rest string) {
	for {
		line, err := w.r.ReadString('\n')
		if err != nil {
			return "", ""
		}
		tag, rest, _ = strings.Cut(strings.TrimRight(line, "\r\n"), " ")
		if rest != "CAPABILITY" {
			return tag, rest
		}
		w.say("* CAPABILITY IMAP4 IMAP4rev1 AUTH=PLAIN AUTH=XOAUTH2 SASL-IR UIDPLUS MOVE ID UNSELECT CHILDREN IDLE NAMESPACE LITERAL+")
		w.say("%s OK CAPABILITY completed.", tag)
	}
}

// login greets and returns the tag of the AUTHENTICATE command.
func (w *wire) login() (tag string) {
	w.say("* OK The Microsoft Exchange IMAP4 service is ready.")
	tag, rest := w.command()
	initial, ok := strings.CutPrefix(rest, "AUTHENTICATE XOAUTH2 ")
	if !ok {
		return ""
	}
	plain, _ := base64.StdEncoding.DecodeString(initial)
	_, bearer, _ := strings.Cut(string(plain), "\x01auth=Bearer ")
	w.token = strings.TrimRight(bearer, "\x01")
	return tag
}

func (w *wire) welcome() {
	if tag := w.login(); tag != "" {
		w.say("%s OK AUTHENTICATE completed.", tag)
	}
}

func (w *wire) refuse() {
	tag := w.login()
	w.say("+ %s", base64.StdEncoding.EncodeToString([]byte(`{"status":"401","schemes":"bearer"}`)))
	w.r.ReadString('\n')
	w.say("%s NO AUTHENTICATE failed.", tag)
}

// appended is an APPEND as it was received.
type appended struct {
	tag, args string
	body      []byte
	whole     bool
}

// header reads an APPEND command up to its literal.
func (w *wire) header() (a appended, size int64, sync bool) {
	tag, rest := w.command()
	if tag == "" {
		return a, 0, false
	}
	open := strings.LastIndexByte(rest, '{')
	if !strings.HasPrefix(rest, "APPEND ") || open < 0 {
		w.t.Errorf("unexpected command %q", rest)
		return a, 0, false
	}
	count := strings.TrimSuffix(rest[open+1:], "}")
	count, plus := strings.CutSuffix(count, "+")
	size, _ = strconv.ParseInt(count, 10, 64)
	return appended{tag: tag, args: strings.TrimSpace(rest[len("APPEND "):open])}, size, !plus
}

// receive reads a whole APPEND.
func (w *wire) receive() appended {
	a, size, sync := w.header()
	if a.tag == "" {
		return a
	}
	if sync {
		w.say("+ Ready for additional command text.")
	}
	var body bytes.Buffer
	n, _ := io.CopyN(&body, w.r, size)
	_, err := w.r.ReadString('\n')
	a.body, a.whole = body.Bytes(), n == size && err == nil
	return a
}

// accept takes messages until the client leaves.
func (w *wire) accept(got func(appended)) {
	for uid := 1; ; uid++ {
		a := w.receive()
		if a.tag == "" {
			return
		}
		if got != nil {
			got(a)
		}
		w.say("%s OK [APPENDUID 14 %d] APPEND completed.", a.tag, uid)
	}
}

// drain waits for the client to leave.
func (w *wire) drain() { io.Copy(io.Discard, w.r) }

var anyMailbox = migrate.Mailbox{Target: migrate.TargetMailbox{GUID: "g", UserID: "user-1", Address: "anna@contoso.example"}}

// open gives a target whose IMAP is p and whose Graph is handler; both may be nil.
func open(t *testing.T, p *peer, handler http.Handler, change ...func(*Options)) (*target, *credential) {
	t.Helper()
	x, c := newExchange(t, p, handler, change...)
	tgt, err := x.Open(t.Context(), anyMailbox)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { tgt.Close() })
	return tgt.(*target), c
}

func newExchange(t *testing.T, p *peer, handler http.Handler, change ...func(*Options)) (*Exchange, *credential) {
	t.Helper()
	c := &credential{}
	o := Options{Graph: c, GraphURL: "http://127.0.0.1:1/v1.0", IMAPAddr: "127.0.0.1:1", Stall: time.Minute}
	if p != nil {
		o.IMAPAddr, o.RootCAs = p.addr, p.roots
	}
	if handler != nil {
		server := httptest.NewServer(handler)
		t.Cleanup(server.Close)
		o.GraphURL = server.URL + "/v1.0"
	}
	for _, f := range change {
		f(&o)
	}
	x, err := New(o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { x.Close() })
	return x, c
}

// message is an Outgoing of that body.
func message(body string) migrate.Outgoing {
	return migrate.Outgoing{Size: int64(len(body)), Open: func() (io.ReadCloser, error) {
		return io.NopCloser(strings.NewReader(body)), nil
	}}
}

var inbox = migrate.TargetFolder{ID: "inbox-id", Path: []string{"INBOX"}}
