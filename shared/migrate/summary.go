package migrate

import (
	"context"
	"strconv"
	"time"
)

// Summary is what a listing shows of a checkpoint, from its metadata.
type Summary struct {
	ID        MailboxID
	Tag       ETag
	Batch     string
	State     State
	Phase     Phase
	Seq       int64
	Due       time.Time
	Since     time.Time
	Restores  int
	Kind      Kind
	Messages  int
	Total     int
	Octets    int64
	Counts    Counts
	Preflight *Preflight // nil: not looked at, or its mail is on the way
}

func (c *Checkpoint) metadata() map[string]string {
	n := c.Counts()
	m := map[string]string{
		"state": string(c.State), "phase": string(c.Phase), "seq": strconv.FormatInt(c.Seq, 10),
		"due": c.Due.Format(time.RFC3339Nano), "since": c.Since.Format(time.RFC3339Nano),
		"batch": c.Mailbox.Batch, "total": strconv.Itoa(c.Total()), "octets": strconv.FormatInt(n.Octets, 10),
		"migrated": strconv.Itoa(n.Migrated), "found": strconv.Itoa(n.Found),
		"skipped": strconv.Itoa(n.Skipped), "failed": strconv.Itoa(n.Failed),
	}
	if c.Restores > 0 {
		m["restores"] = strconv.Itoa(c.Restores)
	}
	if c.Problem != nil {
		m["kind"] = string(c.Problem.Kind)
	}
	if c.Preflight != nil {
		m["preflight"] = c.Preflight.text()
	}
	return m
}

// summarize reads a listing's entry. One that is no checkpoint gives false.
func summarize(endpoint string, e Entry) (Summary, bool) {
	prefix := checkpointPrefix(endpoint)
	if len(e.Name) < len(prefix)+5 {
		return Summary{}, false
	}
	id := MailboxID(endpoint + "/" + e.Name[len(prefix):len(e.Name)-len(".json")])
	if !id.Valid() {
		return Summary{}, false
	}
	m, number := e.Metadata, func(key string) int64 { n, _ := strconv.ParseInt(e.Metadata[key], 10, 64); return n }
	moment := func(key string) time.Time { t, _ := time.Parse(time.RFC3339Nano, m[key]); return t }
	c := Counts{int(number("migrated")), int(number("found")), int(number("skipped")), int(number("failed")), number("octets")}
	return Summary{
		ID: id, Tag: e.ETag, Batch: m["batch"], State: State(m["state"]), Phase: Phase(m["phase"]), Seq: number("seq"),
		Due: moment("due"), Since: moment("since"), Restores: int(number("restores")), Kind: Kind(m["kind"]),
		Messages: c.Messages(), Total: int(number("total")), Octets: c.Octets, Counts: c, Preflight: parsePreflight(m["preflight"]),
	}, true
}

// Summaries lists the checkpoints of an endpoint.
func Summaries(ctx context.Context, s Store, endpoint string, yield func(Summary) error) error {
	return s.List(ctx, checkpointPrefix(endpoint), func(e Entry) error {
		if sum, ok := summarize(endpoint, e); ok {
			return yield(sum)
		}
		return nil
	})
}
