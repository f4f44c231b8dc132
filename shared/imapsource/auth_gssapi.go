package imapsource

import (
	"cmp"
	"encoding/asn1"
	"encoding/binary"
	"errors"
	"fmt"
	"time"

	"github.com/emersion/go-sasl"
	"github.com/jcmturner/gokrb5/v8/asn1tools"
	"github.com/jcmturner/gokrb5/v8/crypto"
	"github.com/jcmturner/gokrb5/v8/gssapi"
	"github.com/jcmturner/gokrb5/v8/iana/chksumtype"
	"github.com/jcmturner/gokrb5/v8/iana/flags"
	"github.com/jcmturner/gokrb5/v8/iana/keyusage"
	"github.com/jcmturner/gokrb5/v8/messages"
	"github.com/jcmturner/gokrb5/v8/types"

	"mailferry/shared/migrate"
)

// gssapiSASL is the GSSAPI mechanism (RFC 4752) with Kerberos 5 (RFC 4121), mutual authentication
// and no security layer. gokrb5 has the messages and no SASL; of the session keys it can use those
// of AES only.
type gssapiSASL struct {
	*kerberosTicket
	authzid string

	authenticator types.Authenticator
	key           types.EncryptionKey // for wrap tokens, once the server has answered
	subkey        bool                // it is the acceptor's
	state         gssapiState
}

type gssapiState int

const (
	gssapiSent gssapiState = iota // the AP-REQ
	gssapiProven
	gssapiDone
)

func gssapiClient(c credential) (sasl.Client, error) {
	if c.ticket == nil {
		return nil, configuration("auth gssapi needs the endpoint's kerberos")
	}
	// Without a name, servers derive one from the principal, each in its way.
	return &gssapiSASL{kerberosTicket: c.ticket, authzid: cmp.Or(c.authzid, c.login)}, nil
}

// Start makes the initial token (RFC 4121 section 4.1).
func (g *gssapiSASL) Start() (string, []byte, error) {
	var err error
	if g.authenticator, err = types.NewAuthenticator(g.realm, g.principal); err != nil {
		return "", nil, fmt.Errorf("make a Kerberos authenticator: %w", err)
	}
	checksum := make([]byte, 24) // no channel bindings (RFC 4121 section 4.1.1)
	binary.LittleEndian.PutUint32(checksum, 16)
	binary.LittleEndian.PutUint32(checksum[20:], gssapi.ContextFlagMutual|gssapi.ContextFlagInteg)
	g.authenticator.Cksum = types.Checksum{CksumType: chksumtype.GSSAPI, Checksum: checksum}
	request, err := messages.NewAPReq(g.ticket, g.sessionKey, g.authenticator)
	if err != nil {
		return "", nil, fmt.Errorf("make a Kerberos request: %w", err)
	}
	types.SetFlag(&request.APOptions, flags.APOptionMutualRequired)
	body, err := request.Marshal()
	if err != nil {
		return "", nil, fmt.Errorf("write a Kerberos request: %w", err)
	}
	return "GSSAPI", frameToken(apRequest, body), nil
}

// Next answers the server's AP-REP with nothing, and its offer of layers with none of them.
func (g *gssapiSASL) Next(challenge []byte) ([]byte, error) {
	switch g.state {
	case gssapiSent:
		g.state = gssapiProven
		return nil, g.checkReply(challenge)
	case gssapiProven:
		g.state = gssapiDone
		return g.refuseLayers(challenge)
	}
	return nil, errors.New("the server goes on after the last GSSAPI message")
}

func (g *gssapiSASL) verify() error {
	if g.state == gssapiDone {
		return nil
	}
	return &migrate.Error{Kind: migrate.Configuration, Reason: migrate.ServerUnproven, Err: errors.New("the server let us in before it proved by GSSAPI who it is")}
}

// The token ids of RFC 4121 section 4.1.
var (
	apRequest = [2]byte{1, 0}
	apReply   = [2]byte{2, 0}
	krbError  = [2]byte{3, 0}
)

var kerberosOID = asn1.ObjectIdentifier{1, 2, 840, 113554, 1, 2, 2}

// frameToken puts the framing of RFC 2743 section 3.1 around a message.
func frameToken(id [2]byte, body []byte) []byte {
	oid, _ := asn1.Marshal(kerberosOID) // of a constant
	return asn1tools.AddASNAppTag(append(append(oid, id[:]...), body...), 0)
}

// cutToken takes the framing off.
func cutToken(b []byte) (id [2]byte, body []byte, err error) {
	var outer asn1.RawValue
	var oid asn1.ObjectIdentifier
	if _, err := asn1.Unmarshal(b, &outer); err != nil || outer.Class != asn1.ClassApplication || outer.Tag != 0 {
		return id, nil, errors.New("the server's GSSAPI token has no framing")
	}
	rest, err := asn1.Unmarshal(outer.Bytes, &oid)
	if err != nil || !oid.Equal(kerberosOID) || len(rest) < 2 {
		return id, nil, errors.New("the server's GSSAPI token is not of Kerberos")
	}
	return [2]byte(rest), rest[2:], nil
}

// checkReply reads the AP-REP, by which the server proves that it could read the ticket, and takes
// its key.
func (g *gssapiSASL) checkReply(b []byte) error {
	id, body, err := cutToken(b)
	if err != nil {
		return err
	}
	if id == krbError {
		return serverKerberosError(body)
	}
	var reply messages.APRep
	if id != apReply || guard(func() error { return reply.Unmarshal(body) }) != nil {
		return errors.New("the server's GSSAPI token is no AP-REP")
	}
	var part messages.EncAPRepPart
	err = guard(func() error {
		plain, err := crypto.DecryptEncPart(reply.EncPart, g.sessionKey, keyusage.AP_REP_ENCPART)
		if err == nil {
			err = part.Unmarshal(plain)
		}
		return err
	})
	if err != nil || part.Cusec != g.authenticator.Cusec || !part.CTime.Equal(g.authenticator.CTime.Truncate(time.Second)) {
		return &migrate.Error{Kind: migrate.Configuration, Reason: migrate.ServerUnproven, Err: errors.New("the server's answer does not prove that it has the service's key")}
	}
	g.key = g.sessionKey
	if len(part.Subkey.KeyValue) > 0 {
		g.key, g.subkey = part.Subkey, true
	}
	return nil
}

// serverKerberosError reads a KRB-ERROR of the server.
func serverKerberosError(body []byte) error {
	var e messages.KRBError
	if guard(func() error { return e.Unmarshal(body) }) != nil {
		return errors.New("the server refuses the Kerberos ticket")
	}
	return kerberosError("sign in by GSSAPI", fmt.Errorf("the server refuses the Kerberos ticket: %w", e))
}

// The security layers of RFC 4752 section 3.3, and the flags of RFC 4121 section 4.2.2.
const (
	layerNone         = 1
	fromAcceptor      = 1
	flagSubkey   byte = 4
)

// refuseLayers answers the server's offer: no layer, no buffer, and whose mailbox it is.
func (g *gssapiSASL) refuseLayers(b []byte) ([]byte, error) {
	offer, err := g.unwrap(b)
	if err != nil {
		return nil, err
	}
	if len(offer) != 4 {
		return nil, errors.New("the server's offer of GSSAPI layers is not four octets long")
	}
	if offer[0]&layerNone == 0 {
		return nil, configuration("the server insists on a GSSAPI security layer; use TLS and let it allow none")
	}
	etype, err := crypto.GetEtype(g.key.KeyType)
	if err != nil {
		return nil, fmt.Errorf("use the server's Kerberos key: %w", err)
	}
	token := gssapi.WrapToken{EC: uint16(etype.GetHMACBitLength() / 8), Payload: append([]byte{layerNone, 0, 0, 0}, g.authzid...), SndSeqNum: uint64(g.authenticator.SeqNumber)}
	if g.subkey {
		token.Flags = flagSubkey
	}
	if err := token.SetCheckSum(g.key, keyusage.GSSAPI_INITIATOR_SEAL); err != nil {
		return nil, fmt.Errorf("sign the answer by Kerberos: %w", err)
	}
	return token.Marshal()
}

// unwrap checks a wrap token without confidentiality (RFC 4121 section 4.2.4) and returns what it
// holds.
func (g *gssapiSASL) unwrap(b []byte) ([]byte, error) {
	if len(b) < gssapi.HdrLen {
		return nil, errors.New("the server's GSSAPI token is too short")
	}
	// gokrb5 leaves the rotation (section 4.2.5) to its caller; Heimdal rotates.
	data := append([]byte(nil), b[gssapi.HdrLen:]...)
	if n := len(data); n > 0 {
		by := int(binary.BigEndian.Uint16(b[6:8])) % n
		data = append(data[by:], data[:by]...)
	}
	var token gssapi.WrapToken
	err := guard(func() error {
		if err := token.Unmarshal(append(append([]byte(nil), b[:gssapi.HdrLen]...), data...), true); err != nil {
			return err
		}
		_, err := token.Verify(g.key, keyusage.GSSAPI_ACCEPTOR_SEAL)
		return err
	})
	if err != nil {
		return nil, errors.New("the server's GSSAPI token is not signed with the session's key")
	}
	return token.Payload, nil
}

// guard turns a panic of a library over a malformed message into an error.
func guard(read func() error) (err error) {
	defer func() {
		if recover() != nil {
			err = errors.New("malformed")
		}
	}()
	return read()
}
