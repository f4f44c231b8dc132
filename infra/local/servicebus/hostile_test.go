package servicebus

import (
	"encoding/binary"
	"io"
	"net"
	"runtime"
	"strconv"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/Azure/go-amqp"
)

// What hostile clients can't do: each test drives one bound to its end and
// measures what the broker holds then.

// heapBytes is what the process holds, garbage not counted.
func heapBytes() int {
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return int(m.HeapAlloc)
}

// grown fails when the heap grew by more than most since before.
func grown(t *testing.T, before, most int) {
	t.Helper()
	if n := heapBytes() - before; n > most {
		t.Errorf("the heap grew by %d KiB, more than %d KiB", n>>10, most>>10)
	}
}

func TestTooManyConnections(t *testing.T) {
	p := NewPipes()
	b := startBroker(t, Options{Listener: p})
	before := heapBytes()
	var conns []net.Conn
	for range maxConnections + 10 {
		c, err := p.Dial(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		conns = append(conns, c)
	}
	for _, c := range conns[maxConnections:] {
		if _, err := c.Read(make([]byte, 1)); err != io.EOF {
			t.Errorf("a connection too many: %v", err)
		}
	}
	b.mu.Lock()
	n := len(b.conns)
	b.mu.Unlock()
	if n != maxConnections {
		t.Errorf("%d connections", n)
	}
	grown(t, before, maxConnections*16<<10)
}

// A connection that doesn't get on with the handshake is dropped in time,
// however it holds it up.
func TestSlowHandshakes(t *testing.T) {
	header, sasl := headerOf(3), appendFrame(nil, frameTypeSASL, 0, &saslInit{"ANONYMOUS"}, nil)
	for name, says := range map[string][]byte{
		"says nothing":       nil,
		"half a header":      header[:4],
		"no mechanism":       header[:],
		"half a mechanism":   append(header[:], sasl[:9]...),
		"nothing after SASL": append(header[:], sasl...),
	} {
		t.Run(name, func(t *testing.T) {
			silent(t, openTimeout, func(c net.Conn) {
				for _, octet := range says {
					if _, err := c.Write([]byte{octet}); err != nil {
						return
					}
					time.Sleep(time.Second)
				}
			})
		})
	}
}

// silent checks in virtual time that a connection is dropped within a time,
// while it says something.
func silent(t *testing.T, within time.Duration, say func(c net.Conn)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		p := NewPipes()
		b := startBroker(t, Options{Listener: p})
		c, err := p.Dial(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		go io.Copy(io.Discard, c)
		start := time.Now()
		say(c)
		for b.count() > 0 && time.Since(start) < time.Hour {
			time.Sleep(time.Second)
		}
		if took := time.Since(start); took > within+time.Second {
			t.Errorf("dropped after %v", took)
		}
	})
}

func (b *Broker) count() int {
	b.mu.Lock()
	defer b.mu.Unlock()
	return len(b.conns)
}

// A frame that trickles in keeps no connection alive.
func TestSlowFrames(t *testing.T) {
	frame := appendFrame(nil, frameTypeAMQP, 0, &begin{incomingWindow: 1, outgoingWindow: 1}, make([]byte, 1000))
	silent(t, 2*defaultIdle, func(c net.Conn) {
		hello := append([]byte(nil), "AMQP\x03\x01\x00\x00"...)
		hello = appendFrame(hello, frameTypeSASL, 0, &saslInit{"ANONYMOUS"}, nil)
		hello = append(hello, "AMQP\x00\x01\x00\x00"...)
		hello = appendFrame(hello, frameTypeAMQP, 0, &open{containerID: "c", maxFrameSize: maxFrameSize}, nil)
		if _, err := c.Write(hello); err != nil {
			t.Error(err)
		}
		for _, octet := range frame {
			if _, err := c.Write([]byte{octet}); err != nil {
				return
			}
			time.Sleep(time.Second)
		}
	})
}

func TestTooManyLinks(t *testing.T) {
	b := startBroker(t, Options{})
	p := opened(t, b, open{})
	before := heapBytes()
	name := strings.Repeat("n", maxName)
	long := &terminus{code: codeSource, address: strings.Repeat("a", maxName)} // nobody's
	sent := 0
	for channel := 0; sent <= maxLinks; channel++ {
		p.write(appendFrame(nil, frameTypeAMQP, uint16(channel), &begin{incomingWindow: 1, outgoingWindow: 1}, nil))
		expect[*begin](p)
		for handle := 0; handle <= handleMax && sent <= maxLinks; handle++ {
			p.write(appendFrame(nil, frameTypeAMQP, uint16(channel), &attach{name: name, handle: uint32(handle), receiver: true, source: long}, nil))
			if sent++; sent <= maxLinks {
				expect[*attach](p)
				expect[*detach](p) // refused, and kept until the client says so too
			}
		}
	}
	refused(t, expect[*end](p).err, condResourceLimit)
	grown(t, before, maxLinks*4<<10)
}

func TestTooLongNames(t *testing.T) {
	b := startBroker(t, Options{})
	long := strings.Repeat("n", maxName+1)
	p := attached(t, b, open{}, 100, fromQ())
	p.send(&attach{name: "x", handle: 1, receiver: true, source: &terminus{code: codeSource, address: long}})
	expect[*attach](p)
	refused(t, expect[*detach](p).err, condInvalidField)
	p.send(&attach{name: long, handle: 2, receiver: true, source: &terminus{code: codeSource, address: "q"}})
	refused(t, expect[*end](p).err, condInvalidField)
}

func TestTooManySessions(t *testing.T) {
	p := opened(t, startBroker(t, Options{}), open{})
	before := heapBytes()
	for channel := range channelMax + 1 {
		p.write(appendFrame(nil, frameTypeAMQP, uint16(channel), &begin{incomingWindow: 1, outgoingWindow: 1}, nil))
		expect[*begin](p)
	}
	grown(t, before, channelMax*4<<10)
	p.write(appendFrame(nil, frameTypeAMQP, channelMax+1, &begin{incomingWindow: 1, outgoingWindow: 1}, nil))
	refused(t, expect[*closing](p).err, condNotAllowed)
}

// manager is a peer with a pair of links to q's management, which answers on
// handle 1. It gives no credit yet.
func manager(t *testing.T, b *Broker, window uint32) *peer {
	t.Helper()
	p := attached(t, b, open{}, window, fromQ())
	p.putToken("q/$management")
	p.send(&attach{name: "requests", handle: 2, initialDeliveryCount: new(uint32),
		source: &terminus{code: codeSource}, target: &terminus{code: codeTarget, address: "q/$management"}})
	expect[*attach](p)
	expect[*flow](p)
	p.send(&attach{name: "responses", handle: 1, receiver: true, sndSettle: sndSettled,
		source: &terminus{code: codeSource, address: "q/$management"}, target: &terminus{code: codeTarget, address: "here"}})
	expect[*attach](p)
	return p
}

func (p *peer) peek() {
	to := "here"
	p.transfer(2, &amqp.Message{
		Properties:            &amqp.MessageProperties{MessageID: "1", ReplyTo: &to},
		ApplicationProperties: map[string]any{"operation": "com.microsoft:peek-message"},
		Value:                 map[string]any{"from-sequence-number": int64(0), "message-count": int32(1)},
	}, true)
}

// Answers that nobody takes end the link that they were for.
func TestAnswersThatNobodyTakes(t *testing.T) {
	b := startBroker(t, Options{})
	fill(t, b, 200<<10)
	p := manager(t, b, 100)
	for range maxReplyBytes/(200<<10) + 1 {
		p.peek()
	}
	d := expect[*detach](p)
	refused(t, d.err, condResourceLimit)
	b.mu.Lock()
	defer b.mu.Unlock()
	for c := range b.conns {
		if c.waiting != 0 {
			t.Errorf("%d bytes wait", c.waiting)
		}
	}
}

// With credit but no window, too, no more answers pile up than without credit.
func TestAnswersWaitForTheWindow(t *testing.T) {
	b := startBroker(t, Options{})
	fill(t, b, 200<<10)
	p := manager(t, b, 2)
	next, credit, handle := uint32(2), uint32(1000), uint32(1)
	p.send(&flow{nextIncomingID: &next, incomingWindow: 0, handle: &handle, linkCredit: &credit})
	for range maxReplyBytes/(200<<10) + 2 {
		p.peek()
	}
	refused(t, expect[*detach](p).err, condResourceLimit)
	b.mu.Lock()
	for c := range b.conns {
		for _, s := range c.sessions {
			if n := len(s.outbox); n > 5 {
				t.Errorf("%d frames wait for the window", n)
			}
		}
	}
	b.mu.Unlock()
}

// fill puts a message of so many bytes into q.
func fill(t *testing.T, b *Broker, size int) {
	t.Helper()
	p := attached(t, b, open{}, 100, toQ())
	expect[*flow](p)
	raw, err := amqp.NewMessage(make([]byte, size)).MarshalBinary()
	if err != nil {
		t.Fatal(err)
	}
	p.parts(raw, true)
	if d := expect[*disposition](p); d.state.code != codeAccepted {
		t.Fatalf("disposition %+v", d.state)
	}
}

// parts sends a message on handle 0 in frames of the largest size.
func (p *peer) parts(raw []byte, whole bool) {
	p.t.Helper()
	for len(raw) > 0 {
		n := min(len(raw), maxFrameSize-100)
		p.sendFrame(frameTypeAMQP, &transfer{deliveryID: new(uint32), messageFormat: new(uint32), more: !whole || n < len(raw)}, raw[:n])
		raw = raw[n:]
	}
}

// Messages that are never finished take no more than their share, over all
// connections, and give it back.
func TestUnfinishedMessages(t *testing.T) {
	const most = 8 << 20
	b := startBroker(t, Options{Queues: []Queue{{Name: "q", MaxMessageSize: 100 << 20}}, partial: most})
	before := heapBytes()
	part := make([]byte, maxFrameSize-100)
	var peers []*peer
	for range 2 {
		p := attached(t, b, open{}, 100, toQ())
		expect[*flow](p)
		peers = append(peers, p)
	}
	for range most/len(part)/2 + 1 {
		for _, p := range peers {
			p.parts(part, false)
		}
	}
	var d *detach
	for _, p := range peers {
		p.send(&flow{echo: true})
		for {
			got := p.any()
			if found, ok := got.(*detach); ok {
				d = found
			}
			if f, ok := got.(*flow); ok && f.handle == nil {
				break
			}
		}
	}
	if d == nil {
		t.Fatal("no link was detached")
	}
	refused(t, d.err, condResourceLimit)
	grown(t, before, 2*most) // append doubles
	for _, p := range peers {
		p.send(&closing{})
		for {
			if _, ok := p.any().(*closing); ok {
				break
			}
		}
		p.gone()
	}
	b.Close() // returns when every connection has given back what it held
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.partial != 0 {
		t.Errorf("%d bytes are kept of messages whose links are gone", b.partial)
	}
}

// any reads the next performative.
func (p *peer) any() performative {
	p.t.Helper()
	for {
		f := p.frame()
		if len(f.body) == 0 {
			continue
		}
		got, _, err := parsePerformative(f.body)
		if err != nil {
			p.t.Fatal(err)
		}
		return got
	}
}

// A queue weighs messages by what they take in memory, not by their encoding.
func TestHostileMessagesTakeNoMoreThanTheirQueue(t *testing.T) {
	const room = 8 << 20
	nulls := func(n int) []byte { // an amqp-sequence of nulls, 16 times as large when decoded
		list := append([]byte("\x00\x53\x76\xd0"), binary.BigEndian.AppendUint32(nil, uint32(n+4))...)
		return append(binary.BigEndian.AppendUint32(list, uint32(n)), strings.Repeat("\x40", n)...)
	}
	encoded := func(m *amqp.Message) []byte {
		raw, err := m.MarshalBinary()
		if err != nil {
			t.Fatal(err)
		}
		return raw
	}
	many := &amqp.Message{Data: [][]byte{nil}, ApplicationProperties: map[string]any{}}
	for i := range 3000 {
		many.ApplicationProperties[strconv.Itoa(i)] = int8(1)
	}
	for name, raw := range map[string][]byte{
		"tiny":            encoded(amqp.NewMessage(nil)),
		"lists of nulls":  nulls(60_000),
		"many properties": encoded(many),
		"plain":           encoded(amqp.NewMessage(make([]byte, 200<<10))),
	} {
		t.Run(name, func(t *testing.T) {
			q := newClock(t, Queue{MaxSize: room})
			before, n := heapBytes(), 0
			for ; ; n++ {
				parcels, err := parseTransfer(0, append([]byte(nil), raw...))
				if err != nil {
					t.Fatal(err)
				}
				if _, err := q.queue.send(q.now, parcels...); err != nil {
					break
				}
			}
			grown(t, before, room*5/4)
			t.Logf("%d messages, %d KiB", n, (heapBytes()-before)>>10)
			runtime.KeepAlive(q)
		})
	}
}

// Giving a message back with ever more properties doesn't make it grow.
func TestPropertiesAreBounded(t *testing.T) {
	q := newClock(t, Queue{MaxSize: 4 << 20, MaxDeliveryCount: 2000})
	q.send(text("a"))
	var err error
	for i := 0; err == nil && i < 100; i++ {
		err = q.queue.settle(q.now, q.take("a").token, settlement{kind: settleAbandon,
			properties: map[string]any{strconv.Itoa(i): strings.Repeat("x", 10_000)}})
	}
	refused(t, asAMQP(err, ""), condMessageSize)
	if n := q.count[stateLocked]; n != 1 || q.bytes > 3<<20 {
		t.Errorf("%d locked, %d bytes", n, q.bytes)
	}
	sent := text("b")
	sent.ApplicationProperties = map[string]any{"x": strings.Repeat("x", maxProperties)}
	raw, err := sent.MarshalBinary()
	if err != nil {
		t.Fatal(err)
	}
	_, err = parseTransfer(0, raw)
	refused(t, asAMQP(err, ""), condMessageSize)
}

func TestDuplicateHistoryIsBounded(t *testing.T) {
	q := newClock(t, Queue{DuplicateDetection: time.Hour})
	q.history.limit = 2
	q.send(text("a"))
	q.settle(q.take("a"), settleComplete)
	q.send(text("b"))
	_, err := q.queue.send(q.now, parcel{text("c"), 1})
	refused(t, asAMQP(err, ""), condResourceLimit)
	q.pass(time.Hour)
	q.send(text("c"))
}

// What a peer never settles is forgotten with its link; the locks run out.
func TestUnsettledDeliveriesGoWithTheirLink(t *testing.T) {
	b := startBroker(t, Options{})
	sender := attached(t, b, open{}, 100, toQ())
	expect[*flow](sender)
	const n = 400
	for range n {
		sender.transfer(0, text("x"), true)
	}
	p := attached(t, b, open{}, 1<<31, fromQ())
	credit, next := uint32(1<<32-1), uint32(1)
	p.send(&flow{nextIncomingID: &next, incomingWindow: 1 << 31, handle: new(uint32), linkCredit: &credit})
	for range n {
		expect[*transfer](p)
	}
	p.send(&detach{closed: true})
	expect[*detach](p)
	b.mu.Lock()
	defer b.mu.Unlock()
	for c := range b.conns {
		for _, s := range c.sessions {
			if len(s.unsettled) > 0 || len(s.links) > 1 {
				t.Errorf("%d deliveries and %d links are left", len(s.unsettled), len(s.links))
			}
		}
	}
	if q := b.entities["q"].queue; len(q.locked) != n {
		t.Errorf("%d locks", len(q.locked))
	}
}

// Nesting is refused in a frame and in a message, on the wire.
func TestDeepValuesOnTheWire(t *testing.T) {
	b := startBroker(t, Options{})
	p := attached(t, b, open{}, 100, toQ())
	expect[*flow](p)
	p.sendFrame(frameTypeAMQP, &transfer{deliveryID: new(uint32)}, []byte("\x00\x53\x77"+deepList(1000)))
	refused(t, expect[*disposition](p).state.err, condDecode)
	body := "\x00\x53\x12" + deepList(1000)
	p.write(append([]byte{0, 0, byte((8 + len(body)) >> 8), byte(8 + len(body)), 2, 0, 0, 0}, body...))
	refused(t, expect[*closing](p).err, condDecode)
	p.gone()
}

// FuzzConnection says anything after a good opening: it ends in good order.
func FuzzConnection(f *testing.F) {
	for _, seed := range frameSeeds() {
		f.Add(seed)
	}
	session := appendFrame(nil, frameTypeAMQP, 1, &begin{incomingWindow: 9, outgoingWindow: 9}, nil)
	claims := appendFrame(session, frameTypeAMQP, 1, &attach{name: "l", initialDeliveryCount: new(uint32),
		target: &terminus{code: codeTarget, address: "$cbs"}}, nil)
	raw, err := amqp.NewMessage([]byte("x")).MarshalBinary()
	if err != nil {
		f.Fatal(err)
	}
	f.Add(appendFrame(claims, frameTypeAMQP, 1, &transfer{deliveryID: new(uint32)}, raw))
	f.Add(appendFrame(claims, frameTypeAMQP, 1, &disposition{receiver: true, last: 1<<32 - 1, settled: true}, nil))
	b, err := Start(f.Context(), Options{Queues: []Queue{{Name: "q"}}})
	if err != nil {
		f.Fatal(err)
	}
	f.Cleanup(func() { b.Close() })
	hello := append([]byte(nil), "AMQP\x03\x01\x00\x00"...)
	hello = appendFrame(hello, frameTypeSASL, 0, &saslInit{"ANONYMOUS"}, nil)
	hello = append(hello, "AMQP\x00\x01\x00\x00"...)
	hello = appendFrame(hello, frameTypeAMQP, 0, &open{containerID: "c", maxFrameSize: maxFrameSize}, nil)
	f.Fuzz(func(t *testing.T, data []byte) {
		client, server := net.Pipe()
		c := b.register(server)
		c.claims[""] = claim{time.Now().Add(time.Hour), true, true}
		read := make(chan struct{})
		go func() {
			defer close(read)
			io.Copy(io.Discard, client)
		}()
		go func() {
			client.Write(hello)
			client.Write(data) // fails when the broker has had enough
			client.Close()
		}()
		c.serve()
		<-read
	})
}
