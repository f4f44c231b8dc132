package servicebus

import (
	"bytes"
	"context"
	"io"
	"reflect"
	"testing"
)

func refused(t *testing.T, err *amqpError, want symbol) {
	t.Helper()
	if err == nil || err.condition != want {
		t.Fatalf("error %v, want %s", err, want)
	}
}

func TestHandshakeRefusals(t *testing.T) {
	b := startBroker(t, Options{})
	t.Run("another protocol", func(t *testing.T) {
		p := dial(t, b)
		p.write([]byte("GET / HTTP/1.1\r\n\r\n"))
		got := make([]byte, 8)
		if _, err := io.ReadFull(p.in, got); err != nil || string(got) != "AMQP\x03\x01\x00\x00" {
			t.Fatalf("answered %q, %v", got, err)
		}
		p.gone()
	})
	t.Run("without SASL", func(t *testing.T) {
		p := dial(t, b)
		want := headerOf(0)
		p.write(want[:])
		got := make([]byte, 8)
		if _, err := io.ReadFull(p.in, got); err != nil || got[4] != 3 {
			t.Fatalf("answered %q, %v", got, err)
		}
		p.gone()
	})
	t.Run("another mechanism", func(t *testing.T) {
		p := dial(t, b)
		p.header(3)
		p.frame()
		p.sendFrame(frameTypeSASL, &saslInit{"PLAIN"}, nil)
		v, err := (&reader{p.frame().body}).value(0)
		if want := compose(codeOutcome, uint8(1)); err != nil || !reflect.DeepEqual(v, any(want)) {
			t.Fatalf("outcome %#v, %v", v, err)
		}
		p.gone()
	})
	t.Run("a frame that isn't open", func(t *testing.T) {
		p := dial(t, b)
		p.header(3)
		p.frame()
		p.sendFrame(frameTypeSASL, &saslInit{"ANONYMOUS"}, nil)
		p.frame()
		p.header(0)
		p.send(&begin{})
		p.gone()
	})
}

// The broker's open names the limits that Service Bus names.
func TestOpenNamesTheLimits(t *testing.T) {
	p := dial(t, startBroker(t, Options{}))
	p.header(3)
	if v, err := (&reader{p.frame().body}).value(0); err != nil || !reflect.DeepEqual(v, any(compose(codeMechanisms, symbol("ANONYMOUS")))) {
		t.Fatalf("mechanisms %#v, %v", v, err)
	}
	p.sendFrame(frameTypeSASL, &saslInit{"ANONYMOUS"}, nil)
	if v, err := (&reader{p.frame().body}).value(0); err != nil || !reflect.DeepEqual(v, any(compose(codeOutcome, uint8(0)))) {
		t.Fatalf("outcome %#v, %v", v, err)
	}
	p.header(0)
	p.send(&open{containerID: "c"})
	if o := expect[*open](p); o.maxFrameSize != 65536 || o.channelMax != 4999 || o.idleTimeout != 120_000 || o.containerID == "" {
		t.Errorf("opened with %+v", o)
	}
	p.send(&begin{incomingWindow: 1, outgoingWindow: 1})
	if b := expect[*begin](p); b.incomingWindow != 5000 || b.handleMax != 255 || b.remoteChannel == nil || *b.remoteChannel != 0 {
		t.Errorf("began with %+v", b)
	}
}

// A sender's attach is answered with the size of a message and of a batch.
func TestAttachNamesTheMaximumSize(t *testing.T) {
	p := attached(t, startBroker(t, Options{}), open{}, 100, fromQ())
	p.send(&attach{name: "x", handle: 1, sndSettle: sndMixed, initialDeliveryCount: new(uint32), target: &terminus{code: codeTarget, address: "Q"}})
	a := expect[*attach](p)
	if a.maxMessageSize != 256<<10 || a.properties[maxMessageBatchSize] != uint64(256<<10) || a.target.address != "Q" {
		t.Errorf("attached with %+v", a)
	}
}

func TestConnectionErrors(t *testing.T) {
	b := startBroker(t, Options{})
	for name, c := range map[string]struct {
		send []byte
		want symbol
	}{
		"frame too large":      {[]byte("\x7f\xff\xff\xff\x02\x00\x00\x00"), condFraming},
		"frame too small":      {[]byte("\x00\x00\x00\x07\x02\x00\x00\x00"), condFraming},
		"data offset too low":  {[]byte("\x00\x00\x00\x08\x01\x00\x00\x00"), condFraming},
		"SASL frame":           {appendFrame(nil, frameTypeSASL, 0, &saslInit{"ANONYMOUS"}, nil), condFraming},
		"garbage":              {[]byte("\x00\x00\x00\x0a\x02\x00\x00\x00\x40\x40"), condDecode},
		"unknown performative": {appendFrame(nil, frameTypeAMQP, 0, &saslOutcome{}, nil), condDecode},
		"missing field":        {append([]byte("\x00\x00\x00\x0c\x02\x00\x00\x00"), "\x00\x53\x12\x45"...), condDecode},
		"second open":          {appendFrame(nil, frameTypeAMQP, 0, &open{containerID: "x"}, nil), condIllegalState},
		"no session":           {appendFrame(nil, frameTypeAMQP, 7, &flow{}, nil), condNotAllowed},
		"end without begin":    {appendFrame(nil, frameTypeAMQP, 7, &end{}, nil), condNotAllowed},
		"channel too high":     {appendFrame(nil, frameTypeAMQP, 60000, &begin{}, nil), condNotAllowed},
	} {
		t.Run(name, func(t *testing.T) {
			p := opened(t, b, open{})
			p.write(c.send)
			refused(t, expect[*closing](p).err, c.want)
			p.gone()
		})
	}
}

func TestCloseIsAnswered(t *testing.T) {
	p := opened(t, startBroker(t, Options{}), open{})
	p.send(&closing{})
	if err := expect[*closing](p).err; err != nil {
		t.Error(err)
	}
	p.gone()
}

func TestSessionErrors(t *testing.T) {
	b := startBroker(t, Options{})
	nine := uint32(9)
	for name, c := range map[string]struct {
		send performative
		want symbol
	}{
		"flow to no link":     {&flow{handle: &nine}, condUnattachedHandle},
		"transfer to no link": {&transfer{handle: 9}, condUnattachedHandle},
		"detach of no link":   {&detach{handle: 9}, condUnattachedHandle},
		"handle too high":     {&attach{name: "x", handle: 1000, receiver: true}, condNotAllowed},
		"handle in use":       {&attach{name: "x", handle: 0, receiver: true}, condHandleInUse},
		"transfer to source":  {&transfer{handle: 0, deliveryID: &nine}, condNotAllowed},
		"no delivery count":   {&attach{name: "x", handle: 1}, condInvalidField},
	} {
		t.Run(name, func(t *testing.T) {
			p := attached(t, b, open{}, 100, fromQ())
			p.send(c.send)
			refused(t, expect[*end](p).err, c.want)
			p.send(&flow{handle: &nine}) // ignored: the session has ended
			p.send(&end{})
			p.send(&begin{})
			expect[*begin](p) // the channel is free again
		})
	}
}

func TestLinkRefusals(t *testing.T) {
	b := startBroker(t, Options{})
	source := func(address string) *attach {
		return &attach{receiver: true, source: &terminus{code: codeSource, address: address}}
	}
	target := func(address string) *attach {
		return &attach{target: &terminus{code: codeTarget, address: address}, initialDeliveryCount: new(uint32)}
	}
	for name, c := range map[string]struct {
		attach *attach
		want   symbol
	}{
		"unknown source":        {source("nowhere"), condNotFound},
		"unknown target":        {target("nowhere"), condNotFound},
		"unknown management":    {target("nowhere/$management"), condNotFound},
		"no terminus":           {&attach{receiver: true}, condInvalidField},
		"transactions":          {&attach{target: &terminus{code: 0x30}, initialDeliveryCount: new(uint32)}, condNotImplemented},
		"no claim":              {source("other"), condUnauthorized},
		"target of dead letter": {target("q/$DeadLetterQueue"), condNotAllowed},
	} {
		t.Run(name, func(t *testing.T) {
			b := b
			if name == "no claim" {
				b = startBroker(t, Options{Queues: []Queue{{Name: "q"}, {Name: "other"}}})
			}
			p := attached(t, b, open{}, 100, fromQ())
			p.putToken("q/$DeadLetterQueue")
			c.attach.name, c.attach.handle = "x", 5
			p.send(c.attach)
			if answer := expect[*attach](p); answer.source != nil || answer.target != nil {
				t.Errorf("refused with source %v, target %v", answer.source, answer.target)
			}
			d := expect[*detach](p)
			refused(t, d.err, c.want)
			if !d.closed || d.handle != 5 {
				t.Errorf("detached %+v", d)
			}
			five := uint32(5)
			p.send(&flow{handle: &five, echo: true}) // was on its way
			p.send(&detach{handle: 5, closed: true})
			p.send(&flow{echo: true})
			if f := expect[*flow](p); f.handle != nil {
				t.Errorf("flow for handle %d", *f.handle)
			}
		})
	}
}

func TestSenderErrorsDetach(t *testing.T) {
	b := startBroker(t, Options{Queues: []Queue{{Name: "q", MaxMessageSize: 1000}}})
	for name, c := range map[string]struct {
		send *transfer
		body int
		want symbol
	}{
		"too large":      {&transfer{deliveryID: new(uint32)}, 1001, condMessageSize},
		"no delivery id": {&transfer{}, 10, condInvalidField},
	} {
		t.Run(name, func(t *testing.T) {
			p := attached(t, b, open{}, 100, toQ())
			expect[*flow](p)
			p.sendFrame(frameTypeAMQP, c.send, make([]byte, c.body))
			refused(t, expect[*detach](p).err, c.want)
			p.sendFrame(frameTypeAMQP, c.send, make([]byte, c.body)) // ignored
			p.send(&detach{closed: true})
			p.send(&end{})
			expect[*end](p)
		})
	}
	t.Run("without credit", func(t *testing.T) {
		p := attached(t, b, open{}, 100, toQ())
		credit := *expect[*flow](p).linkCredit
		p.write(bytes.Repeat(appendFrame(nil, frameTypeAMQP, 0, &transfer{deliveryID: new(uint32), settled: true}, []byte("x")), int(credit/2)))
		p.send(&flow{echo: true})
		if f := expect[*flow](p); f.handle != nil {
			t.Fatal("credit was renewed before half of it was used")
		}
		p.write(bytes.Repeat(appendFrame(nil, frameTypeAMQP, 0, &transfer{deliveryID: new(uint32), settled: true}, []byte("x")), 1))
		if f := expect[*flow](p); f.handle == nil || *f.linkCredit != credit {
			t.Fatalf("credit wasn't renewed: %+v", f)
		}
	})
	t.Run("malformed message", func(t *testing.T) {
		p := attached(t, b, open{}, 100, toQ())
		expect[*flow](p)
		p.sendFrame(frameTypeAMQP, &transfer{deliveryID: new(uint32)}, []byte("garbage"))
		d := expect[*disposition](p)
		if d.state.code != codeRejected || !d.settled {
			t.Fatalf("disposition %+v", d)
		}
		refused(t, d.state.err, condDecode)
	})
}

func TestAbortedMessageIsForgotten(t *testing.T) {
	b := startBroker(t, Options{})
	p := attached(t, b, open{}, 100, toQ())
	expect[*flow](p)
	p.sendFrame(frameTypeAMQP, &transfer{deliveryID: new(uint32), more: true}, []byte("half"))
	aborted := appendValue(nil, compose(codeTransfer, uint32(0), nil, nil, nil, nil, nil, nil, nil, nil, true))
	p.write(append([]byte{0, 0, 0, byte(frameHeaderSize + len(aborted)), 2, 0, 0, 0}, aborted...))
	p.transfer(0, text("whole"), false)
	if d := expect[*disposition](p); d.state.code != codeAccepted {
		t.Fatalf("disposition %+v", d.state)
	}
	if c := b.Counts("q"); c.Active != 1 {
		t.Errorf("counts %+v", c)
	}
}

func TestStartRefusesBadQueues(t *testing.T) {
	for _, queues := range [][]Queue{{{}}, {{Name: "a"}, {Name: "A"}}, {{Name: "a/$DeadLetterQueue"}}, {{Name: "/a"}}} {
		if b, err := Start(t.Context(), Options{Queues: queues}); err == nil {
			b.Close()
			t.Errorf("queues %v were accepted", queues)
		}
	}
	b := startBroker(t, Options{})
	if again, err := Start(t.Context(), Options{Addr: b.Addr()}); err == nil {
		again.Close()
		t.Error("two brokers on one address")
	}
}

func TestEndOfContextStopsTheBroker(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	b, err := Start(ctx, Options{Queues: []Queue{{Name: "q"}}})
	if err != nil {
		t.Fatal(err)
	}
	p := opened(t, b, open{})
	cancel()
	p.gone()
	if err := b.Close(); err != nil {
		t.Error(err)
	}
}
