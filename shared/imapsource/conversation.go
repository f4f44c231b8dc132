package imapsource

import (
	"context"
	"errors"
	"math"

	"github.com/emersion/go-imap/v2"
	"github.com/emersion/go-imap/v2/imapclient"

	"mailferry/shared/migrate"
)

// conversation is a row of FETCH commands that goes on over another connection when one is lost, be
// it by the network, by a server that ends it over one message, or by a response that the library
// cannot read.
type conversation struct {
	s      *source
	ctx    context.Context
	op     string
	losses int // connections lost
	dry    int // of these, since the last message came
	ills   int // refusals since then
}

// maxDry bounds the connections that are lost in a row without a message, until the server proves that
// it is not ill. A window of 1000 messages takes 10 to find the one that does it, and that one takes 3.
const maxDry = 40

// maxIlls is how often a server may say that it is ill, likewise.
const maxIlls = 12

// came notes that a message came.
func (c *conversation) came() { c.dry, c.ills = 0, 0 }

// close ends a command. A gap says why messages may be missing although the conversation goes on;
// err is why it does not.
func (c *conversation) close(cmd *imapclient.FetchCommand) (gap, err error) {
	err = cmd.Close()
	if err == nil {
		return nil, nil
	}
	failed := c.s.fail(c.ctx, c.op, c.s.folder, err)
	if c.ctx.Err() != nil || c.s.closed.Load() || migrate.KindOf(failed) == migrate.Throttled && !ill(failed) {
		return nil, failed
	}
	var answer *imap.Error
	if errors.As(err, &answer) && answer.Type != imap.StatusResponseTypeBye && c.s.wire.failure() == nil {
		if c.ills++; ill(failed) && c.ills > maxIlls && !c.sound() {
			return nil, failed
		}
		return failed, nil
	}
	return c.lost(failed)
}

// lost goes on over another connection, or returns the reason as an error where that cannot be.
func (c *conversation) lost(reason error) (gap, err error) {
	c.losses++
	if c.s.redial == nil {
		return nil, reason
	}
	if err := c.s.reconnect(c.ctx); err != nil {
		return reason, err
	}
	if c.dry++; c.dry <= maxDry {
		return reason, nil
	}
	if !c.sound() {
		return nil, reason
	}
	c.dry = 0
	return reason, nil
}

// suspect is a message that exists and does not come even when it is asked for alone.
type suspect struct {
	info  migrate.MessageInfo
	why   error // *migrate.Error of kind Unreadable, with the server's words
	ended bool  // it ended connections; otherwise the server answered
	ill   error // the server's word that it is ill, instead of this message
}

func (c *conversation) suspect(info migrate.MessageInfo, gap error, ended bool) suspect {
	why := words(gap)
	if gap == nil {
		why = errors.New("the server answers OK without this message")
	}
	m := suspect{info: info, ended: ended}
	m.why = &migrate.Error{Op: "fetch message", Folder: c.s.folder, UID: info.UID, Kind: migrate.Unreadable, Err: why}
	if ill(gap) {
		m.ill = gap
	}
	return m
}

// words returns what a domain error says without where it happened.
func words(err error) error {
	var e *migrate.Error
	if errors.As(err, &e) && e.Err != nil {
		return e.Err
	}
	return err
}

// breakOff ends a command that nobody waits for. The connection goes with it: what the server still
// sends may be long, and the library cannot be told to leave it.
func breakOff(on *session, cmd *imapclient.FetchCommand, reason error) {
	on.wire.abort(reason)
	_ = cmd.Close()
}

// halves splits a set of at least two.
func halves(uids migrate.UIDSet) (lower, upper migrate.UIDSet) {
	upper = uids.Newest(uids.Len() / 2)
	return uids.Minus(upper), upper
}

// maxSet keeps a command line below the 8192 octets that servers must accept (RFC 7162 section 4).
const maxSet = 7500

// batches splits uids into sets that fit on a command line.
func batches(uids migrate.UIDSet) []migrate.UIDSet {
	var out []migrate.UIDSet
	length := math.MaxInt
	for _, r := range uids.Ranges() {
		const longest = len("4294967295:4294967295,")
		if length+longest > maxSet || len(out) == 0 {
			out = append(out, migrate.UIDSet{})
			length = 0
		}
		length += longest
		out[len(out)-1].AddRange(r.First, r.Last)
	}
	return out
}

// uidSet is uids for the library.
func uidSet(uids migrate.UIDSet) imap.UIDSet {
	out := make(imap.UIDSet, 0, len(uids.Ranges()))
	for _, r := range uids.Ranges() {
		out = append(out, imap.UIDRange{Start: imap.UID(r.First), Stop: imap.UID(r.Last)})
	}
	return out
}
