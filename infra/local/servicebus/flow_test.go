package servicebus

import (
	"bytes"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/Azure/go-amqp"
)

// A message of several frames waits for the client's window.
func TestWindowLimitsTransfers(t *testing.T) {
	b := startBroker(t, Options{})
	body := strings.Repeat("x", 1500)
	sender := attached(t, b, open{}, 100, toQ())
	expect[*flow](sender)
	sender.transfer(0, amqp.NewMessage([]byte(body)), false)
	expect[*disposition](sender)

	p := attached(t, b, open{maxFrameSize: 1}, 2, fromQ()) // frames of 512 bytes
	credit, next := uint32(10), uint32(1)
	p.send(&flow{nextIncomingID: &next, incomingWindow: 2, handle: new(uint32), linkCredit: &credit})
	var raw []byte
	for {
		for range 2 {
			first := len(raw) == 0
			part, payload := expectPayload[*transfer](p)
			if n := len(payload); n > 512 || (part.deliveryID != nil) != first {
				t.Fatalf("transfer %+v with %d bytes", part, n)
			}
			next++
			if raw = append(raw, payload...); !part.more {
				m, err := parseMessage(raw)
				if err != nil || string(m.GetData()) != body {
					t.Fatalf("message of %d bytes, %v", len(raw), err)
				}
				return
			}
		}
		p.send(&flow{echo: true, nextIncomingID: &next, incomingWindow: 0})
		expect[*flow](p) // and no transfer
		p.send(&flow{nextIncomingID: &next, incomingWindow: 2})
	}
}

// A client may grant as much as the fields hold.
func TestBoundlessWindowAndCredit(t *testing.T) {
	b := startBroker(t, Options{})
	p := attached(t, b, open{}, 1<<32-1, fromQ())
	credit, next := uint32(1<<32-1), uint32(1)
	p.send(&flow{nextIncomingID: &next, incomingWindow: 1<<32 - 1, handle: new(uint32), linkCredit: &credit})
	sender := attached(t, b, open{}, 100, toQ())
	expect[*flow](sender)
	sender.transfer(0, text("a"), true)
	expect[*transfer](p)
}

func TestDrain(t *testing.T) {
	b := startBroker(t, Options{})
	sender := attached(t, b, open{}, 100, toQ())
	expect[*flow](sender)
	sender.transfer(0, text("a"), false)
	expect[*disposition](sender)

	p := attached(t, b, open{}, 100, fromQ())
	credit, next := uint32(5), uint32(1)
	p.send(&flow{nextIncomingID: &next, incomingWindow: 100, handle: new(uint32), deliveryCount: new(uint32), linkCredit: &credit, drain: true})
	expect[*transfer](p)
	f := expect[*flow](p)
	if *f.linkCredit != 0 || *f.deliveryCount != 5 || !f.drain {
		t.Fatalf("drained with credit %d, count %d, drain %v", *f.linkCredit, *f.deliveryCount, f.drain)
	}
	sender.transfer(0, text("b"), false)
	expect[*disposition](sender)
	one, five := uint32(1), uint32(5)
	p.send(&flow{echo: true, nextIncomingID: &next, incomingWindow: 100})
	expect[*flow](p) // b didn't come
	p.send(&flow{nextIncomingID: &next, incomingWindow: 100, handle: new(uint32), deliveryCount: &five, linkCredit: &one})
	expect[*transfer](p)
}

func TestDispositionOfARange(t *testing.T) {
	b := startBroker(t, Options{})
	sender := attached(t, b, open{}, 100, toQ())
	expect[*flow](sender)
	for range 3 {
		sender.transfer(0, text("x"), true)
	}
	p := attached(t, b, open{}, 100, fromQ())
	credit, next := uint32(3), uint32(1)
	p.send(&flow{nextIncomingID: &next, incomingWindow: 100, handle: new(uint32), linkCredit: &credit})
	for range 3 {
		expect[*transfer](p)
	}
	if c := b.Counts("q"); c.Locked != 3 {
		t.Fatalf("counts %+v", c)
	}
	p.send(&disposition{receiver: true, first: 0, last: 1<<32 - 1, settled: true, state: &deliveryState{code: codeAccepted}})
	p.send(&disposition{receiver: true, first: 1, last: 1, state: &deliveryState{code: codeAccepted}})
	d := expect[*disposition](p)
	if d.first != 1 || d.state.code != codeRejected {
		t.Fatalf("disposition %+v", d)
	}
	refused(t, d.state.err, condMessageLockLost)
	if c := b.Counts("q"); c.Locked+c.Active != 0 {
		t.Errorf("counts %+v", c)
	}
}

// In mode second the broker, as a receiver, leaves the settling to the client.
func TestSenderInModeSecond(t *testing.T) {
	a := toQ()
	a.rcvSettle = rcvSecond
	p := attached(t, startBroker(t, Options{}), open{}, 100, a)
	expect[*flow](p)
	p.transfer(0, text("x"), false)
	if d := expect[*disposition](p); d.settled || d.state.code != codeAccepted {
		t.Fatalf("disposition %+v", d)
	}
}

func TestKeepAlives(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := opened(t, startBroker(t, Options{Listener: NewPipes()}), open{idleTimeout: 20_000})
		if err := p.net.SetDeadline(time.Time{}); err != nil {
			t.Fatal(err)
		}
		var since time.Time
		for range 3 {
			since = time.Now()
			if f := p.frame(); len(f.body) != 0 || time.Since(since) != 10*time.Second {
				t.Fatalf("frame with %d bytes after %s", len(f.body), time.Since(since))
			}
			since = time.Now()
			p.write(emptyFrame)
		}
		// A peer that falls silent is given up, before its connection ends for having no link.
		for {
			if _, err := readFrame(p.in, p.buf); err != nil {
				break
			}
		}
		if took := time.Since(since); took != 2*defaultIdle {
			t.Errorf("given up after %s", took)
		}
	})
}

// A peer that takes nothing must not make the broker hold ever more for it,
// and must not hold up others.
func TestPeerThatReadsNothing(t *testing.T) {
	b := startBroker(t, Options{})
	lazy := attached(t, b, open{}, 1<<30, fromQ())
	credit, next := uint32(1<<30), uint32(1)
	lazy.send(&flow{nextIncomingID: &next, incomingWindow: 1 << 30, handle: new(uint32), linkCredit: &credit})
	sender := attached(t, b, open{}, 100, toQ())
	expect[*flow](sender)
	body := strings.Repeat("x", 60_000)
	for range 400 {
		sender.transfer(0, amqp.NewMessage([]byte(body)), false)
		expect[*disposition](sender)
	}
	b.mu.Lock()
	for c := range b.conns {
		if n := len(c.unsent); n > maxUnsentBytes+(1<<20) {
			t.Errorf("%d bytes wait for one peer", n)
		}
	}
	b.mu.Unlock()
	if c := b.Counts("q"); c.Active == 0 {
		t.Errorf("everything was delivered to a peer that reads nothing: %+v", c)
	}
	for range 400 {
		if part := expect[*transfer](lazy); part.more {
			t.Fatal("message came in parts")
		}
	}
}

// A peer that asks and never reads is not read any further.
func TestPeerThatOnlyAsks(t *testing.T) {
	b := startBroker(t, Options{})
	p := attached(t, b, open{}, 100, fromQ())
	asks := bytes.Repeat(appendFrame(nil, frameTypeAMQP, 0, &flow{echo: true}, nil), 2000)
	if err := p.net.SetWriteDeadline(time.Now().Add(2 * time.Second)); err != nil {
		t.Fatal(err)
	}
	for total := 0; ; total += len(asks) {
		if _, err := p.net.Write(asks); err != nil {
			break
		}
		if total > 1<<30 {
			t.Fatal("the broker reads without end")
		}
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	for c := range b.conns {
		if n := len(c.unsent); n > maxUnsentBytes+maxFrameSize {
			t.Errorf("%d bytes wait for one peer", n)
		}
	}
}
