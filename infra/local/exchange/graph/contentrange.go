package graph

import (
	"fmt"
	"net/http"
	"strconv"
	"strings"
)

// checkRange checks that a chunk is the next one.
func (u *upload) checkRange(r *http.Request) (from, to int64, err error) {
	from, to, total, err := parseContentRange(r.Header.Get("Content-Range"))
	switch {
	case err != nil:
		return 0, 0, err
	case total != u.file.size:
		return 0, 0, badRequest("The total size of the Content-Range differs from that of the upload session.")
	case r.ContentLength != to-from+1:
		// microsoft-graph-docs-contrib issue 8097.
		return 0, 0, badRequest("The Content-Range header length does not match the provided number of bytes.")
	case to-from+1 > maxChunk:
		return 0, 0, errTooLong
	case from != u.received:
		return 0, 0, refuse(http.StatusRequestedRangeNotSatisfiable, "ErrorInvalidRequest",
			fmt.Sprintf("The uploaded range is not the expected one, which starts at %d.", u.received))
	}
	return from, to, nil
}

// parseContentRange reads "bytes 0-2097151/3483322" (RFC 9110, section 14.4).
func parseContentRange(text string) (from, to, total int64, err error) {
	bad := badRequest("The Content-Range header is missing or malformed.")
	rest, ok := strings.CutPrefix(text, "bytes ")
	span, size, ok2 := strings.Cut(rest, "/")
	first, last, ok3 := strings.Cut(span, "-")
	if !ok || !ok2 || !ok3 {
		return 0, 0, 0, bad
	}
	from, err1 := parseOctets(first)
	to, err2 := parseOctets(last)
	total, err3 := parseOctets(size)
	if err1 != nil || err2 != nil || err3 != nil || from > to || to >= total {
		return 0, 0, 0, bad
	}
	return from, to, total, nil
}

// parseOctets reads a number without a sign.
func parseOctets(s string) (int64, error) {
	n, err := strconv.ParseUint(s, 10, 62)
	return int64(n), err
}
