package imapsource

import (
	"bytes"
	"context"
	"errors"
	"io"
	"testing"
	"time"

	"mailferry/shared/migrate"
)

// FuzzConversation plays octets as what a server says over several connections, each of which ends
// where its part does, "\x00" between them: finding the message that ends them and going on inside
// one must end, give no message twice, and give no octet that the server did not send for it.
func FuzzConversation(f *testing.F) {
	whole := "* 1 FETCH (UID 1 " + meta + ")\r\n* 2 FETCH (UID 2 " + meta + ")\r\nT1 OK done\r\n" +
		"* 1 FETCH (UID 1 " + meta + " BODY[] {5}\r\nhello)\r\n"
	f.Add([]byte(whole+"\x00* 2 FETCH (UID 2 "+meta+" BODY[] {5}\r\nworld)\r\nT2 OK done\r\n"), byte(255))
	f.Add([]byte(whole+"* 2 FETCH (UID 2 "+meta+" BODY[] {50}\r\nworld\x00* 2 FETCH (UID 2 BODY[]<0> {50}\r\nworld)\r\nT2 OK done\r\n\x00\x00"), byte(7))
	f.Add([]byte("T1 OK\r\nT2 NO no\r\n\x00* BYE x\r\n\x00\x00* 1 FETCH (UID 1 "+meta+" BODY[] {9}\r\n123456789 FLAGS ("), byte(1))
	f.Add([]byte("T1 OK\r\n* 1 FETCH (UID 1 "+meta+" BODY[] {4}\r\nabcd)\r\n* 2 FETCH (UID 2 "+meta+" BODY[] {4}\r\nab"+
		"\x00* 2 FETCH (UID 2 BODY[]<0> {4}\r\nabcd)\r\n"), byte(3))
	f.Fuzz(func(t *testing.T, text []byte, chunk byte) {
		connections := bytes.Split(text, []byte{0})
		next := func() *tape {
			part := []byte(nil)
			if len(connections) > 0 {
				part, connections = connections[0], connections[1:]
			}
			return newTape(inParts(part), int(chunk)+1, time.Millisecond)
		}
		s := played(next())
		s.folder, s.validity = "INBOX", 9
		all := []*session{s.session}
		s.redial = func(context.Context) (*session, error) {
			if len(connections) == 0 {
				return nil, &migrate.Error{Op: "connect", Kind: migrate.Unreachable, Err: errors.New("the tape is over")}
			}
			tape := next()
			examined := []byte("* 2 EXISTS\r\n* OK [UIDVALIDITY 9] -\r\nT1 OK [READ-ONLY] done\r\n")
			tape.parts = append([][]byte{examined}, tape.parts...)
			again := played(tape)
			all = append(all, again.session)
			return again.session, nil
		}
		var given migrate.UIDSet
		_ = s.Fetch(t.Context(), migrate.UIDsOf(1, 2), func(info migrate.MessageInfo, octets int64, body io.Reader) error {
			if given.Contains(info.UID) || info.UID < 1 || info.UID > 2 {
				t.Errorf("UID %d is given", info.UID)
			}
			given.Add(info.UID)
			got, err := io.ReadAll(body)
			if err == nil && int64(len(got)) != octets {
				t.Errorf("%d octets of %d without an error", len(got), octets)
			}
			if err == nil && octets < overlap && !bytes.Contains(bytes.ReplaceAll(text, []byte{0}, nil), got) && len(all) == 1 {
				t.Errorf("%q was never sent", got)
			}
			return nil
		})
		s.Close()
		for _, n := range all {
			n.wire.abort(errReplaced)
			<-n.client.Closed()
		}
	})
}
