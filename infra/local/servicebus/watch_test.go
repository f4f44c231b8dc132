package servicebus

import (
	"context"
	"errors"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	sb "github.com/Azure/azure-sdk-for-go/sdk/messaging/azservicebus"
)

// links counts the attached links of every connection.
func (b *bench) links() (n int) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for c := range b.conns {
		for _, s := range c.sessions {
			for _, l := range s.links {
				if !l.detached {
					n++
				}
			}
		}
	}
	return n
}

func TestIdleLinksEnd(t *testing.T) {
	virtually(t, Options{}, func(b *bench) {
		b.send("a")
		time.Sleep(linkIdle - time.Second)
		synctest.Wait()
		if b.links() == 0 {
			b.t.Fatal("the sender's link ended early")
		}
		b.send("b") // keeps it
		time.Sleep(linkIdle - time.Second)
		synctest.Wait()
		if b.links() == 0 {
			b.t.Fatal("the sender's link ended although it was used")
		}
		time.Sleep(2 * time.Second)
		synctest.Wait()
		if n := b.links(); n != 0 {
			b.t.Fatalf("%d links outlive their idle time", n)
		}
		b.send("c") // attaches anew
		if c := b.Counts("q"); c.Active != 3 {
			b.t.Errorf("counts %+v", c)
		}
	})
}

// A receiver that waits is idle too; azservicebus returns from ReceiveMessages
// with nothing, and attaches anew at the next call.
func TestIdleReceiverEnds(t *testing.T) {
	virtually(t, Options{}, func(b *bench) {
		r, start := b.receiver(nil), time.Now()
		messages, err := r.ReceiveMessages(b.ctx, 1, nil)
		if err != nil || len(messages) != 0 || time.Since(start) != linkIdle {
			b.t.Fatalf("received %v, %v after %v", messages, err, time.Since(start))
		}
		b.send("a")
		b.must(r.CompleteMessage(b.ctx, b.take(r, "a"), nil))
		time.Sleep(3 * linkIdle) // the management's links end too
		if peeked, err := r.PeekMessages(b.ctx, 1, nil); err != nil || len(peeked) != 0 {
			b.t.Errorf("peeked %v, %v", peeked, err)
		}
	})
}

// Renewing a lock names the receiver's link, which counts as its use.
func TestRenewalKeepsALinkInUse(t *testing.T) {
	virtually(t, Options{Queues: []Queue{{Name: "q", LockDuration: 5 * time.Minute}}}, func(b *bench) {
		r := b.receiver(nil)
		b.send("a")
		m := b.take(r, "a")
		for range 10 {
			time.Sleep(4 * time.Minute)
			b.must(r.RenewMessageLock(b.ctx, m, nil))
		}
		b.mu.Lock()
		attached := len(b.entities["q"].receivers)
		b.mu.Unlock()
		if attached != 1 {
			b.t.Errorf("%d receivers attached", attached)
		}
		b.must(r.CompleteMessage(b.ctx, m, nil))
	})
}

// azservicebus renews its claims, so that links live for longer than a token.
func TestClaimsAreRenewed(t *testing.T) {
	virtually(t, Options{}, func(b *bench) {
		r := b.receiver(nil)
		for range 60 { // five hours; a token is good for two
			b.send("a")
			b.must(r.CompleteMessage(b.ctx, b.take(r, "a"), nil))
			time.Sleep(5 * time.Minute)
		}
		if c := b.Counts("q"); c.Delivered != 60 {
			b.t.Errorf("counts %+v", c)
		}
	})
}

// A token that can't be renewed ends what it was put for.
func TestExpiredClaimDetachesLinks(t *testing.T) {
	virtually(t, Options{}, func(b *bench) {
		token := sasToken(b.keys[0], "broker.test", time.Now().Add(5*time.Minute))
		client := b.connect("Endpoint=sb://broker.test;UseDevelopmentEmulator=true;SharedAccessSignature=" + token)
		r, err := client.NewReceiverForQueue("q", nil)
		b.must(err)
		start := time.Now()
		if messages, err := r.ReceiveMessages(b.ctx, 1, nil); err != nil || len(messages) != 0 {
			b.t.Fatalf("received %v, %v", messages, err)
		}
		if d := time.Since(start); d != 5*time.Minute {
			b.t.Errorf("the link ended after %v", d)
		}
		_, err = r.ReceiveMessages(b.ctx, 1, nil)
		b.code(err, sb.CodeUnauthorizedAccess)
		if !strings.Contains(err.Error(), "status code 401 and description: ExpiredToken: The token is expired. Expiration time: '") {
			b.t.Errorf("error %v", err)
		}
	})
}

// Keep-alives alone hold a connection.
func TestKeepAlivesInBothDirections(t *testing.T) {
	virtually(t, Options{}, func(b *bench) {
		ctx, cancel := context.WithTimeout(b.ctx, 9*time.Minute)
		defer cancel()
		if _, err := b.receiver(nil).ReceiveMessages(ctx, 1, nil); !errors.Is(err, context.DeadlineExceeded) {
			b.t.Fatalf("receive: %v", err)
		}
	})
}

// A connection to which nothing was attached for five minutes is closed.
func TestConnectionWithoutLinksEnds(t *testing.T) {
	clock := &handClock{}
	b := startBroker(t, Options{Now: clock.Now})
	p := attached(t, b, open{}, 100, fromQ())
	clock.pass(connIdle)
	p.send(&detach{closed: true})
	expect[*detach](p)
	clock.pass(connIdle - time.Second)
	p.send(&flow{echo: true})
	expect[*flow](p)
	clock.pass(time.Second)
	refused(t, expect[*closing](p).err, condConnectionForced)
	p.gone()
}

// An expired token ends a link in mid-use, whatever the client does.
func TestExpiredTokenDetachesAPeer(t *testing.T) {
	clock := &handClock{}
	b := startBroker(t, Options{Now: clock.Now})
	p := attached(t, b, open{}, 100, toQ())
	expect[*flow](p)
	clock.pass(time.Hour + time.Second)
	d := expect[*detach](p)
	refused(t, d.err, condDetachForced)
	if !strings.Contains(d.err.description, "Code: RenewToken. Details: Unauthorized access. 'Send' claim(s)") {
		t.Errorf("detached with %q", d.err.description)
	}
}

// One pair of links to $cbs is all that a connection may have at a time.
func TestSecondClaimsLinkIsRefused(t *testing.T) {
	p := attached(t, startBroker(t, Options{}), open{}, 100, fromQ()) // has closed its pair
	toClaims := attach{name: "first", handle: 10, initialDeliveryCount: new(uint32),
		source: &terminus{code: codeSource}, target: &terminus{code: codeTarget, address: "$cbs"}}
	p.send(&toClaims)
	expect[*attach](p)
	expect[*flow](p)
	toClaims.name, toClaims.handle = "second", 11
	p.send(&toClaims)
	expect[*attach](p)
	refused(t, expect[*detach](p).err, condNotAllowed)
}
