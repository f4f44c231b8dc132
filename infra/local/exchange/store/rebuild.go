package store

import (
	"bytes"
	"strings"
)

// Rebuild makes the header as Exchange shows it, the empty line included:
// generated from properties, so with other fields and another order than what
// was given.
func Rebuild(raw []byte) []byte {
	var b, last bytes.Buffer
	for _, f := range ParseHeader(raw) {
		to := &b
		if strings.EqualFold(f.Name, "MIME-Version") {
			to = &last
		}
		line := bytes.ReplaceAll(bytes.TrimRight(f.Raw, "\r\n"), []byte("\r\n"), []byte("\n"))
		to.Write(bytes.ReplaceAll(line, []byte("\n"), []byte("\r\n")))
		to.WriteString("\r\n")
	}
	b.WriteString("X-MS-Has-Attach:\r\nX-MS-TNEF-Correlator:\r\n")
	b.Write(last.Bytes())
	b.WriteString("\r\n")
	return b.Bytes()
}
