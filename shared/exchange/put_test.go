package exchange

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"mailferry/shared/migrate"
)

func asError(t *testing.T, err error) *migrate.Error {
	t.Helper()
	var e *migrate.Error
	if !errors.As(err, &e) {
		t.Fatalf("error %v (%T) is no *migrate.Error", err, err)
	}
	return e
}

func TestPut(t *testing.T) {
	var got []appended
	p := newPeer(t, func(w *wire) {
		w.welcome()
		w.accept(func(a appended) { got = append(got, a) })
	})
	tgt, c := open(t, p, nil)
	folder := migrate.TargetFolder{Path: []string{"Gelöschte", "R&D"}}
	received := time.Date(2019, 3, 4, 23, 11, 12, 0, time.FixedZone("", -5*3600))
	for i, size := range []int{0, 1, 4096, 4097, 32 << 10, 1 << 20} {
		body := strings.Repeat("x", size)
		m := message(body)
		m.Received = received
		m.Flags = []migrate.Flag{`\seen`, `\Deleted`, `\Recent`, "$Forwarded", "bad]flag", migrate.Draft}
		receipt, err := tgt.Put(t.Context(), folder, m)
		if err != nil {
			t.Fatal(err)
		}
		if want := (migrate.Receipt{UIDValidity: 14, UID: migrate.UID(i + 1)}); receipt != want {
			t.Errorf("receipt %v, want %v", receipt, want)
		}
		if string(got[i].body) != body || !got[i].whole {
			t.Errorf("size %d: %d octets arrived", size, len(got[i].body))
		}
		if want := `"Gel&APY-schte/R&-D" (\Seen \Draft) " 5-Mar-2019 04:11:12 +0000"`; got[i].args != want {
			t.Errorf("arguments %s, want %s", got[i].args, want)
		}
	}
	if p.total() != 1 {
		t.Errorf("%d connections for one Put at a time", p.total())
	}
	if want := []string{imapScope}; !slices.Equal(c.scopes, want) {
		t.Errorf("tokens asked for %v, want %v", c.scopes, want)
	}
}

// Exchange refuses by text; none of these leaves a message behind, and the next Put works although
// the answer before the literal ends the connection.
func TestPutRefused(t *testing.T) {
	const small, large = 10, defaultReceiveLimit + 1
	tests := []struct {
		answer string
		size   int64
		kind   migrate.Kind
		after  time.Duration
	}{
		{"BAD Command Argument Error. 11", small, migrate.Refused, 0},
		{"BAD Command Argument Error. 11", large, migrate.TooLarge, 0},
		{"BAD Command Error. 10", small, migrate.Refused, 0},
		{"NO Maximum size of appendable message has been exceeded.", small, migrate.TooLarge, 0},
		{"NO [OVERQUOTA] Mailbox full", small, migrate.Full, 0},
		{"NO The mailbox has exceeded its quota", small, migrate.Full, 0},
		{"NO [TRYCREATE] The requested folder could not be found.", small, migrate.NoFolder, 0},
		{"NO Folder doesn't exist", small, migrate.NoFolder, 0},
		{"NO Request is throttled. Suggested Backoff Time: 299609 milliseconds", small, migrate.Throttled, 299609 * time.Millisecond},
		{"BAD Request is throttled. Suggested Backoff Time: 5 milliseconds", small, migrate.Throttled, 5 * time.Millisecond},
		{"NO [UNAVAILABLE] Server Unavailable. 15", small, migrate.Unreachable, 0},
		{"BAD User is authenticated but not connected.", small, migrate.Permission, 0},
		{"NO something new", small, migrate.Unexpected, 0},
	}
	for _, when := range []string{"before", "after"} {
		for _, test := range tests {
			if when == "after" && test.size == large {
				continue
			}
			t.Run(when+" the literal "+test.answer, func(t *testing.T) {
				p := newPeer(t, func(w *wire) {
					w.welcome()
					for refused := false; ; refused = true {
						a, size, sync := w.header()
						if a.tag == "" {
							return
						}
						if when == "before" && sync && !refused && size == max(test.size, 5000) {
							w.say("%s %s", a.tag, test.answer)
							continue
						}
						if sync {
							w.say("+ go")
						}
						io.CopyN(io.Discard, w.r, size)
						w.r.ReadString('\n')
						if when == "after" && !refused {
							w.say("%s %s", a.tag, test.answer)
						} else {
							w.say("%s OK APPEND completed.", a.tag)
						}
					}
				})
				tgt, _ := open(t, p, nil)
				m := message("")
				m.Size = test.size
				if when == "before" {
					m.Size = max(m.Size, 5000) // larger than what goes without being asked for
				}
				m.Open = func() (io.ReadCloser, error) {
					return io.NopCloser(io.LimitReader(zeros{}, m.Size)), nil
				}
				_, err := tgt.Put(t.Context(), inbox, m)
				e := asError(t, err)
				if e.Kind != test.kind || e.RetryAfter != test.after || e.Unknown {
					t.Errorf("got kind %s, retry after %v, unknown %v (%v)", e.Kind, e.RetryAfter, e.Unknown, err)
				}
				if _, err := tgt.Put(t.Context(), inbox, message("next")); err != nil {
					t.Errorf("next message: %v", err)
				}
				want := map[string]int{"before": 2, "after": 1}[when]
				if p.total() != want {
					t.Errorf("%d connections, want %d", p.total(), want)
				}
			})
		}
	}
}

type zeros struct{}

func (zeros) Read(b []byte) (int, error) { clear(b); return len(b), nil }

// The outcome is unknown exactly when the last octet may have arrived.
func TestPutConnectionLost(t *testing.T) {
	big := strings.Repeat("m", 1<<20)
	tests := []struct {
		name    string
		die     script
		unknown bool
		kind    migrate.Kind
		reason  migrate.Reason
	}{
		{"before the command", func(w *wire) { w.welcome(); w.conn.Close() }, false, migrate.Unreachable, ""},
		{"instead of asking for the literal", func(w *wire) { w.welcome(); w.header() }, false, migrate.Unreachable, migrate.BrokeOff},
		{"within the literal", func(w *wire) {
			w.welcome()
			w.header()
			w.say("+ go")
			io.CopyN(io.Discard, w.r, 1000)
		}, false, migrate.Unreachable, migrate.BrokeOff},
		{"after the literal", func(w *wire) { w.welcome(); w.receive() }, true, migrate.Unreachable, migrate.BrokeOff},
		{"after the literal with a farewell", func(w *wire) {
			w.welcome()
			w.receive()
			w.say("* BYE Session invalidated - throttled. Suggested Backoff Time: 1000 milliseconds")
		}, true, migrate.Throttled, ""},
		{"before signing in", func(w *wire) { w.say("* BYE Server shutting down") }, false, migrate.Unreachable, ""},
		{"while signing in", func(w *wire) { w.login() }, false, migrate.Unreachable, ""},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			// More than sockets hold, so that what is not read was not all sent.
			p := newPeer(t, test.die, func(w *wire) { w.welcome(); w.accept(nil) })
			tgt, _ := open(t, p, nil)
			m := message(strings.Repeat(big, 16))
			_, err := tgt.Put(t.Context(), inbox, m)
			if e := asError(t, err); e.Kind != test.kind || e.Unknown != test.unknown || e.Reason != test.reason {
				t.Errorf("got %v, unknown %v, reason %q", err, e.Unknown, e.Reason)
			}
			if _, err := tgt.Put(t.Context(), inbox, message("next")); err != nil {
				t.Errorf("next message: %v", err)
			}
		})
	}
}

// An idle connection that the server has ended costs nothing but a new one.
func TestPutAfterIdleConnectionEnded(t *testing.T) {
	p := newPeer(t,
		func(w *wire) {
			w.welcome()
			a := w.receive()
			w.say("%s OK APPEND completed.", a.tag)
			w.header() // the client does not see the end before it has sent this
		},
		func(w *wire) { w.welcome(); w.accept(nil) })
	tgt, _ := open(t, p, nil)
	for range 3 {
		if _, err := tgt.Put(t.Context(), inbox, message(strings.Repeat("m", 5000))); err != nil {
			t.Fatal(err)
		}
	}
	if p.total() != 2 {
		t.Errorf("%d connections, want 2", p.total())
	}
}

// The token is revoked between the pool's first connection and its second.
func TestTokenRevokedMidPool(t *testing.T) {
	second := make(chan struct{})
	var tokens [3]string // by connection
	var noted sync.WaitGroup
	noted.Add(len(tokens))
	note := func(connection int, w *wire) {
		tokens[connection] = w.token
		noted.Done()
	}
	p := newPeer(t,
		func(w *wire) {
			w.welcome()
			note(0, w)
			a := w.receive()
			<-second
			w.say("%s OK APPEND completed.", a.tag)
			w.accept(nil)
		},
		func(w *wire) { w.refuse(); note(1, w) },
		func(w *wire) { w.welcome(); note(2, w); w.accept(nil) })
	tgt, _ := open(t, p, nil)
	var first error
	var done sync.WaitGroup
	sent := make(chan struct{})
	m := message("first")
	content := m.Open
	m.Open = func() (io.ReadCloser, error) { close(sent); return content() }
	done.Go(func() { _, first = tgt.Put(t.Context(), inbox, m) })
	<-sent
	_, err := tgt.Put(t.Context(), inbox, message("second"))
	close(second)
	done.Wait()
	if err != nil || first != nil {
		t.Fatalf("first: %v, second: %v", first, err)
	}
	noted.Wait()
	if want := [3]string{"token-1", "token-1", "token-2"}; tokens != want {
		t.Errorf("tokens %v, want %v", tokens, want)
	}
}

func TestSignInRefused(t *testing.T) {
	p := newPeer(t, func(w *wire) { w.refuse() })
	tgt, _ := open(t, p, nil)
	_, err := tgt.Put(t.Context(), inbox, message("m"))
	e := asError(t, err)
	if e.Kind != migrate.Permission || !strings.Contains(e.Advice, "Add-MailboxPermission") || e.Unknown {
		t.Errorf("got %v, advice %q", err, e.Advice)
	}
	if p.total() != 2 {
		t.Errorf("signed in %d times, want 2", p.total())
	}
}

func TestTooManyConnections(t *testing.T) {
	release := make(chan struct{})
	p := newPeer(t,
		func(w *wire) {
			w.welcome()
			a := w.receive()
			<-release
			w.say("%s OK APPEND completed.", a.tag)
			w.drain()
		},
		func(w *wire) {
			w.welcome()
			a := w.receive()
			w.say("%s BAD User is authenticated but not connected.", a.tag)
			w.drain()
		})
	tgt, _ := open(t, p, nil)
	sent := make(chan struct{})
	m := message("first")
	content := m.Open
	m.Open = func() (io.ReadCloser, error) { close(sent); return content() }
	var done sync.WaitGroup
	var first error
	done.Go(func() { _, first = tgt.Put(t.Context(), inbox, m) })
	<-sent
	_, err := tgt.Put(t.Context(), inbox, message("second"))
	if e := asError(t, err); e.Kind != migrate.Throttled {
		t.Errorf("got %v", err)
	}
	close(release)
	done.Wait()
	if first != nil {
		t.Error(first)
	}
}

func TestPutCancelled(t *testing.T) {
	t.Run("after the message", func(t *testing.T) {
		got := make(chan struct{})
		p := newPeer(t, func(w *wire) { w.welcome(); w.receive(); close(got); w.drain() })
		tgt, _ := open(t, p, nil)
		ctx, cancel := context.WithCancel(t.Context())
		go func() { <-got; cancel() }()
		_, err := tgt.Put(ctx, inbox, message("m"))
		if !migrate.OutcomeUnknown(err) || !errors.Is(err, context.Canceled) {
			t.Errorf("got %v", err)
		}
	})
	t.Run("before the message", func(t *testing.T) {
		got := make(chan struct{})
		p := newPeer(t, func(w *wire) { w.welcome(); w.header(); close(got); w.drain() })
		tgt, _ := open(t, p, nil)
		ctx, cancel := context.WithCancelCause(t.Context())
		cause := errors.New("lease lost")
		go func() { <-got; cancel(cause) }()
		_, err := tgt.Put(ctx, inbox, message(strings.Repeat("m", 5000)))
		if migrate.OutcomeUnknown(err) || !errors.Is(err, cause) {
			t.Errorf("got %v", err)
		}
	})
	t.Run("while signing in", func(t *testing.T) {
		got := make(chan struct{})
		p := newPeer(t, func(w *wire) { w.login(); close(got); w.drain() })
		tgt, _ := open(t, p, nil)
		ctx, cancel := context.WithCancel(t.Context())
		go func() { <-got; cancel() }()
		_, err := tgt.Put(ctx, inbox, message("m"))
		if !errors.Is(err, context.Canceled) {
			t.Errorf("got %v", err)
		}
	})
}

func TestCloseEndsPut(t *testing.T) {
	got := make(chan struct{})
	p := newPeer(t, func(w *wire) { w.welcome(); w.receive(); close(got); w.drain() })
	tgt, _ := open(t, p, nil)
	go func() { <-got; tgt.Close() }()
	_, err := tgt.Put(t.Context(), inbox, message("m"))
	if e := asError(t, err); e.Kind != migrate.Unreachable || !e.Unknown || !errors.Is(err, errClosed) {
		t.Errorf("got %v, unknown %v", err, e.Unknown)
	}
	_, err = tgt.Put(t.Context(), inbox, message("m"))
	if e := asError(t, err); e.Unknown || !errors.Is(err, errClosed) {
		t.Errorf("after Close: %v", err)
	}
}

// A server that says nothing ends the call after the stall time, and no sooner than it must.
func TestPutStalls(t *testing.T) {
	p := newPeer(t, func(w *wire) { w.welcome(); w.receive(); w.drain() })
	const stall = 2 * time.Second // within which a busy machine signs in
	tgt, _ := open(t, p, nil, func(o *Options) { o.Stall = stall })
	begin := time.Now()
	_, err := tgt.Put(t.Context(), inbox, message("m"))
	if e := asError(t, err); e.Kind != migrate.Unreachable || !e.Unknown {
		t.Errorf("got %v, unknown %v", err, e.Unknown)
	}
	if took := time.Since(begin); took < stall {
		t.Errorf("gave up after %v", took)
	}
}

// A body that is not what was announced stores nothing.
func TestPutBody(t *testing.T) {
	broken := errors.New("disk gone")
	bodies := map[string]func() (io.ReadCloser, error){
		"shorter":  func() (io.ReadCloser, error) { return io.NopCloser(strings.NewReader("short")), nil },
		"longer":   func() (io.ReadCloser, error) { return io.NopCloser(strings.NewReader(strings.Repeat("l", 100))), nil },
		"unopened": func() (io.ReadCloser, error) { return nil, broken },
	}
	for name, body := range bodies {
		for _, size := range []int64{10, 5000} {
			if name == "longer" && size > 100 {
				continue
			}
			t.Run(fmt.Sprint(name, size), func(t *testing.T) {
				whole := make(chan bool, 1)
				p := newPeer(t, func(w *wire) {
					w.welcome()
					whole <- w.receive().whole
				}, func(w *wire) { w.welcome(); w.accept(nil) })
				tgt, _ := open(t, p, nil)
				_, err := tgt.Put(t.Context(), inbox, migrate.Outgoing{Size: size, Open: body})
				if e := asError(t, err); e.Kind != migrate.Unexpected || e.Unknown {
					t.Errorf("got %v, unknown %v", err, e.Unknown)
				}
				if name == "unopened" && !errors.Is(err, broken) {
					t.Errorf("cause lost: %v", err)
				}
				tgt.Close()
				if <-whole {
					t.Error("the server has a whole message")
				}
			})
		}
	}
}

func TestWritersBound(t *testing.T) {
	p := newPeer(t, func(w *wire) { w.welcome(); w.accept(nil) })
	tgt, _ := open(t, p, nil, func(o *Options) { o.Writers = 2 })
	var all sync.WaitGroup
	for range 20 {
		all.Go(func() {
			if _, err := tgt.Put(t.Context(), inbox, message("m")); err != nil {
				t.Error(err)
			}
		})
	}
	all.Wait()
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.most > 2 || tgt.Writers() != 2 {
		t.Errorf("%d connections at once", p.most)
	}
}

func TestUntrustedCertificate(t *testing.T) {
	p := newPeer(t, func(w *wire) { w.welcome() })
	tgt, _ := open(t, p, nil, func(o *Options) { o.RootCAs = nil })
	_, err := tgt.Put(t.Context(), inbox, message("m"))
	if e := asError(t, err); e.Kind != migrate.Configuration {
		t.Errorf("got %v", err)
	}
}
