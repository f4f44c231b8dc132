package servicebus

import (
	"bufio"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"net"
	"testing"
	"time"

	"github.com/Azure/go-amqp"
)

// peer is a client that speaks the protocol frame by frame, also wrongly.
type peer struct {
	t   *testing.T
	net net.Conn
	in  *bufio.Reader
	buf []byte
}

func startBroker(t *testing.T, o Options) *Broker {
	t.Helper()
	if o.Queues == nil {
		o.Queues = []Queue{{Name: "q"}}
	}
	b, err := Start(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := b.Close(); err != nil {
			t.Error(err)
		}
	})
	return b
}

// patience is how long a test waits for what must come: it only ends one that hangs, and a busy machine takes
// long.
const patience = 3 * time.Minute

// dial connects without a word.
func dial(t *testing.T, b *Broker) *peer {
	t.Helper()
	var nc net.Conn
	var err error
	if p, ok := b.listener.(*Pipes); ok {
		nc, err = p.Dial(t.Context())
	} else {
		nc, err = net.Dial("tcp", b.Addr())
	}
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { nc.Close() })
	if err := nc.SetDeadline(time.Now().Add(patience)); err != nil {
		t.Fatal(err)
	}
	return &peer{t: t, net: nc, in: bufio.NewReader(nc), buf: make([]byte, maxFrameSize)}
}

// opened is a peer after the handshake.
func opened(t *testing.T, b *Broker, o open) *peer {
	t.Helper()
	p := dial(t, b)
	p.header(3)
	p.frame()
	p.sendFrame(frameTypeSASL, &saslInit{"ANONYMOUS"}, nil)
	p.frame()
	p.header(0)
	o.containerID = "peer"
	if o.maxFrameSize == 0 {
		o.maxFrameSize = maxFrameSize
	}
	p.send(&o)
	expect[*open](p)
	return p
}

// attached is a peer with a session, a token for q and a link to q.
func attached(t *testing.T, b *Broker, o open, window uint32, a attach) *peer {
	t.Helper()
	p := opened(t, b, o)
	p.send(&begin{incomingWindow: window, outgoingWindow: 100})
	expect[*begin](p)
	p.putToken("q")
	a.name = "link"
	if a.source == nil {
		a.source = &terminus{code: codeSource}
	}
	if a.target == nil {
		a.target = &terminus{code: codeTarget}
	}
	a.initialDeliveryCount = new(uint32)
	p.send(&a)
	answer := expect[*attach](p)
	if answer.receiver == a.receiver || answer.sndSettle != a.sndSettle || answer.rcvSettle != a.rcvSettle {
		t.Fatalf("attach answered with %+v", answer)
	}
	return p
}

func fromQ() attach { return attach{receiver: true, source: &terminus{code: codeSource, address: "q"}} }

func toQ() attach {
	return attach{sndSettle: sndMixed, target: &terminus{code: codeTarget, address: "q"}}
}

// jwt is a token as Entra ID issues it for Service Bus, but for its signature.
func jwt(expires time.Time) string {
	body := fmt.Sprintf(`{"aud":"https://servicebus.azure.net","exp":%d}`, expires.Unix())
	return "header." + base64.RawURLEncoding.EncodeToString([]byte(body)) + ".signature"
}

// putToken uses the handles 200 and 201.
func (p *peer) putToken(entity string) {
	p.t.Helper()
	p.send(&attach{name: "put", handle: 200, initialDeliveryCount: new(uint32),
		source: &terminus{code: codeSource}, target: &terminus{code: codeTarget, address: "$cbs"}})
	expect[*attach](p)
	expect[*flow](p)
	p.send(&attach{name: "answers", handle: 201, receiver: true, sndSettle: sndSettled,
		source: &terminus{code: codeSource, address: "$cbs"}, target: &terminus{code: codeTarget, address: "me"}})
	expect[*attach](p)
	credit, handle := uint32(1), uint32(201)
	p.send(&flow{handle: &handle, linkCredit: &credit, incomingWindow: 100})
	to := "me"
	request := &amqp.Message{
		Properties: &amqp.MessageProperties{MessageID: "1", ReplyTo: &to},
		ApplicationProperties: map[string]any{
			"operation": "put-token", "type": "jwt", "name": "amqp://host/" + entity,
		},
		Value: jwt(time.Now().Add(time.Hour)),
	}
	p.transfer(200, request, false)
	if state := expect[*transfer](p); !state.settled {
		p.t.Fatal("the answer wasn't settled in advance")
	}
	if d := expect[*disposition](p); d.state.code != codeAccepted {
		p.t.Fatalf("request answered with %+v", d.state)
	}
	for _, handle := range []uint32{200, 201} {
		p.send(&detach{handle: handle, closed: true})
		expect[*detach](p)
	}
}

func (p *peer) transfer(handle uint32, m *amqp.Message, settled bool) {
	p.t.Helper()
	raw, err := m.MarshalBinary()
	if err != nil {
		p.t.Fatal(err)
	}
	p.sendFrame(frameTypeAMQP, &transfer{
		handle: handle, deliveryID: new(uint32), deliveryTag: []byte("t"), messageFormat: new(uint32), settled: settled,
	}, raw)
}

func (p *peer) send(performative performative) {
	p.t.Helper()
	p.sendFrame(frameTypeAMQP, performative, nil)
}

func (p *peer) sendFrame(kind byte, performative performative, payload []byte) {
	p.t.Helper()
	p.write(appendFrame(nil, kind, 0, performative, payload))
}

func (p *peer) write(b []byte) {
	p.t.Helper()
	if _, err := p.net.Write(b); err != nil {
		p.t.Fatal(err)
	}
}

func (p *peer) header(protocol byte) {
	p.t.Helper()
	want := headerOf(protocol)
	p.write(want[:])
	var got protocolHeader
	if _, err := io.ReadFull(p.in, got[:]); err != nil || got != want {
		p.t.Fatalf("protocol header %x, %v", got, err)
	}
}

func (p *peer) frame() frame {
	p.t.Helper()
	f, err := readFrame(p.in, p.buf)
	if err != nil {
		p.t.Fatal(err)
	}
	return f
}

// expect reads the next frame, which must hold a T; keep-alives don't count.
func expect[T performative](p *peer) T {
	p.t.Helper()
	v, _ := expectPayload[T](p)
	return v
}

func expectPayload[T performative](p *peer) (T, []byte) {
	p.t.Helper()
	f := p.frame()
	for len(f.body) == 0 {
		f = p.frame()
	}
	got, payload, err := parsePerformative(f.body)
	if err != nil {
		p.t.Fatal(err)
	}
	v, ok := got.(T)
	if !ok {
		p.t.Fatalf("got %T %+v, want %T", got, got.composite(), v)
	}
	return v, payload
}

// gone checks that the broker has closed the connection.
func (p *peer) gone() {
	p.t.Helper()
	if f, err := readFrame(p.in, p.buf); err == nil {
		p.t.Fatalf("connection is open, frame of %d bytes", len(f.body))
	} else if e, ok := errors.AsType[net.Error](err); ok && e.Timeout() {
		p.t.Fatal("connection is open")
	}
}
