package sample

import (
	"fmt"
	"mime"
	"strings"

	"golang.org/x/text/encoding"
	"golang.org/x/text/encoding/charmap"
	"golang.org/x/text/encoding/japanese"
)

// kinds take turns. The common ones stand several times.
var kinds = []func(*letter){
	plain, alternative, subjectQ, attachment, plain, eightBit, subjectB, plain, nested, folded,
	plain, noMessageID, alternative, plain, subjectLatin1, noDate, plain, subjectKOI8, signed, plain,
	alternative, subjectJIS, plain, noSubject, attachment, longLine, plain, emptyBody, unclosed,
	plain, bogusCharset, alternative, latinBody, plain, noHeaderButFrom, inlineImage, plain,
}

func plain(l *letter) { l.trace() }

// trace puts the fields of a delivery on top.
func (l *letter) trace() {
	l.extra = fmt.Sprintf("Return-Path: <bounce-%d@lists.example.net>\r\n", l.index) +
		"Received: from mx.example.net (mx.example.net [192.0.2.25])\r\n\tby mail.example.org with ESMTPS id " +
		fmt.Sprintf("%08X", l.rng.Uint32()) + ";\r\n\t" + l.received.Format("Mon, 02 Jan 2006 15:04:05 -0700") + "\r\n"
}

func draft(l *letter) {
	l.messageID, l.to = "", ""
	l.extra = "X-Unsent: 1\r\n"
}

// multipart sets a body of parts, each with its own header and an empty line before the body.
func (l *letter) multipart(subtype string, parts ...string) {
	boundary := fmt.Sprintf("=_%016x", l.rng.Uint64())
	var b strings.Builder
	b.WriteString("This is a message in MIME format.\r\n")
	for _, part := range parts {
		b.WriteString("\r\n--" + boundary + "\r\n" + part)
	}
	b.WriteString("\r\n--" + boundary + "--\r\n")
	l.contentType = fmt.Sprintf("multipart/%s;\r\n\tboundary=\"%s\"", subtype, boundary)
	l.encoding, l.body = "", b.String()
}

func (l *letter) htmlPart() string {
	return "Content-Type: text/html; charset=utf-8\r\nContent-Transfer-Encoding: 8bit\r\n\r\n" +
		"<html><body style=\"font-family: sans-serif\">\r\n<p>" +
		strings.ReplaceAll(l.body, "\r\n\r\n", "</p>\r\n<p>") + "Grüße</p>\r\n</body></html>\r\n"
}

func (l *letter) textPart() string {
	return "Content-Type: text/plain; charset=utf-8\r\nContent-Transfer-Encoding: 8bit\r\n\r\n" + l.body
}

func (l *letter) filePart(mediaType, name, disposition string, octets int) string {
	var b strings.Builder
	fmt.Fprintf(&b, "Content-Type: %s;\r\n\tname=\"%s\"\r\nContent-Transfer-Encoding: base64\r\n"+
		"Content-ID: <part-%d@example.net>\r\nContent-Disposition: %s;\r\n\tfilename=\"%s\"\r\n\r\n",
		mediaType, name, l.index, disposition, name)
	l.base64Lines(&b, octets)
	return b.String()
}

func alternative(l *letter) {
	l.trace()
	l.multipart("alternative", l.textPart(), l.htmlPart())
}

func attachment(l *letter) {
	l.trace()
	l.multipart("mixed", l.textPart(), l.filePart("application/pdf", fmt.Sprintf("Rechnung-%d.pdf", l.index), "attachment", 2048+l.rng.IntN(48<<10)))
}

// bulky is 1 to 3 MiB.
func bulky(l *letter) {
	l.trace()
	l.multipart("mixed", l.textPart(), l.filePart("application/zip", "Fotos.zip", "attachment", 768<<10+l.rng.IntN(1400<<10)))
}

func inlineImage(l *letter) {
	l.multipart("related", l.htmlPart(), l.filePart("image/png", "logo.png", "inline", 1024+l.rng.IntN(8<<10)))
}

// nested holds a forwarded message as message/rfc822.
func nested(l *letter) {
	inner := newLetter(l.rng.Uint64(), "someone@example.org", l.index)
	l.subject = "Fwd: " + inner.subject
	l.multipart("mixed", l.textPart(), "Content-Type: message/rfc822\r\nContent-Disposition: attachment\r\n\r\n"+string(inner.octets()))
}

// signed looks like S/MIME (RFC 8551 section 3.5.3); its signature is random octets.
func signed(l *letter) {
	l.multipart("signed; protocol=\"application/pkcs7-signature\"; micalg=sha-256", l.textPart(),
		l.filePart("application/pkcs7-signature", "smime.p7s", "attachment", 2400))
}

func eightBit(l *letter) {
	l.contentType, l.encoding = "text/plain; charset=utf-8", "8bit"
	l.body += "Mit freundlichen Grüßen – 敬具 – С уважением – 🙂\r\n"
}

// latinBody has octets that are no UTF-8.
func latinBody(l *letter) {
	l.contentType, l.encoding = "text/plain; charset=iso-8859-1", "8bit"
	l.body += encode(charmap.ISO8859_1, "Schöne Grüße aus Köln, à bientôt\r\n")
}

func encode(e encoding.Encoding, text string) string {
	s, err := e.NewEncoder().String(text)
	if err != nil {
		panic("sample: " + err.Error()) // the texts are constants of this package
	}
	return s
}

func subjectQ(l *letter) {
	l.subject = mime.QEncoding.Encode("utf-8", "Übergabeprotokoll für Straße 5 – bitte prüfen")
}

// subjectB is long enough to be split into several encoded words.
func subjectB(l *letter) {
	l.subject = strings.ReplaceAll(mime.BEncoding.Encode("UTF-8", "東京オフィスの会議室の予約について、来週の水曜日の午後は空いていますか"), "?= =?", "?=\r\n =?")
}

func subjectLatin1(l *letter) {
	l.subject = mime.QEncoding.Encode("iso-8859-1", encode(charmap.ISO8859_1, "Prüfung der Verträge"))
}

func subjectKOI8(l *letter) {
	l.subject = mime.BEncoding.Encode("koi8-r", encode(charmap.KOI8R, "Отчёт за третий квартал"))
	l.contentType, l.encoding = "text/plain; charset=koi8-r", "8bit"
	l.body += encode(charmap.KOI8R, "С уважением, Иван\r\n")
}

func subjectJIS(l *letter) {
	l.subject = mime.BEncoding.Encode("iso-2022-jp", encode(japanese.ISO2022JP, "見積書の件"))
	l.contentType = "text/plain; charset=iso-2022-jp"
	l.body += encode(japanese.ISO2022JP, "よろしくお願いします。\r\n")
}

// folded has a header of many folded lines.
func folded(l *letter) {
	l.trace()
	var b strings.Builder
	b.WriteString("References:")
	for range 12 {
		fmt.Fprintf(&b, "\r\n <%016x@mail.example.net>", l.rng.Uint64())
	}
	l.extra += b.String() + "\r\nDisposition-Notification-To: sender@example.net\r\n"
	l.subject = strings.ReplaceAll(pick(l, subjects), " ", "\r\n ")
}

func noMessageID(l *letter) { l.messageID = "" }

func noDate(l *letter) { l.date = "" }

func noSubject(l *letter) { l.subject = "" }

func noHeaderButFrom(l *letter) { l.messageID, l.date, l.subject, l.to = "", "", "", "" }

// longLine breaks the 998 characters of RFC 5322 section 2.1.1, as real mail does, and stays below the
// 10,500 that Exchange takes over IMAP.
func longLine(l *letter) {
	l.body = strings.Repeat("A line without an end, as some programs write them. ", 190) + "\r\n"
}

func emptyBody(l *letter) { l.body = "" }

// unclosed ends before its closing boundary.
func unclosed(l *letter) {
	l.multipart("mixed", l.textPart(), l.filePart("image/png", "cut.png", "attachment", 600))
	l.body = l.body[:strings.LastIndex(l.body, "\r\n--")]
}

func bogusCharset(l *letter) {
	l.contentType, l.encoding = "text/plain; charset=\"x-no-such-charset\"", "8bit"
	l.body += "\xfe\xff\x80 end\r\n"
}
