package graph

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"regexp"
	"slices"
	"strings"
	"time"
)

type emailAddress struct {
	Name    string `json:"name"`
	Address string `json:"address"`
}

type recipient struct {
	EmailAddress emailAddress `json:"emailAddress"`
}

type header struct {
	Name  string `json:"name"`
	Value string `json:"value"`
}

type itemBody struct {
	ContentType string `json:"contentType"`
	Content     string `json:"content"`
}

type followupFlag struct {
	FlagStatus        string `json:"flagStatus"`
	CompletedDateTime any    `json:"completedDateTime"`
	DueDateTime       any    `json:"dueDateTime"`
	StartDateTime     any    `json:"startDateTime"`
}

// messageBody is a message as clients write it. Pointers tell absent from
// empty. What is read-only is read and ignored, as long as it is of its type:
// dates that are no dates are refused (microsoft-graph-docs-contrib issue 1158).
type messageBody struct {
	Subject                *string       `json:"subject"`
	Body                   *itemBody     `json:"body"`
	From                   *recipient    `json:"from"`
	Sender                 *recipient    `json:"sender"`
	To                     []recipient   `json:"toRecipients"`
	Cc                     []recipient   `json:"ccRecipients"`
	Bcc                    []recipient   `json:"bccRecipients"`
	ReplyTo                []recipient   `json:"replyTo"`
	InternetMessageID      *string       `json:"internetMessageId"`
	Importance             *string       `json:"importance"`
	IsRead                 *bool         `json:"isRead"`
	IsReadReceiptRequested *bool         `json:"isReadReceiptRequested"`
	Categories             *[]string     `json:"categories"`
	Flag                   *followupFlag `json:"flag"`
	Headers                *[]header     `json:"internetMessageHeaders"`
	Properties             []property    `json:"singleValueExtendedProperties"`
	Attachments            []fileBody    `json:"attachments"`

	ReceivedDateTime           *time.Time `json:"receivedDateTime"`
	SentDateTime               *time.Time `json:"sentDateTime"`
	CreatedDateTime            *time.Time `json:"createdDateTime"`
	LastModifiedDateTime       *time.Time `json:"lastModifiedDateTime"`
	IsDraft                    *bool      `json:"isDraft"`
	HasAttachments             *bool      `json:"hasAttachments"`
	IsDeliveryReceiptRequested *bool      `json:"isDeliveryReceiptRequested"`
	ID                         *string    `json:"id"`
	ChangeKey                  *string    `json:"changeKey"`
	ParentFolderID             *string    `json:"parentFolderId"`
	ConversationID             *string    `json:"conversationId"`
	ConversationIndex          *string    `json:"conversationIndex"`
	BodyPreview                *string    `json:"bodyPreview"`
	WebLink                    *string    `json:"webLink"`
	InferenceClassification    *string    `json:"inferenceClassification"`
	UniqueBody                 *itemBody  `json:"uniqueBody"`

	// Not played.
	MultiValueProperties []any `json:"multiValueExtendedProperties"`
	Extensions           []any `json:"extensions"`
}

func (b *messageBody) headers() []header {
	if b.Headers == nil {
		return nil
	}
	return *b.Headers
}

var customHeader = regexp.MustCompile(`^[xX]-[!-9;-~]+$`)

// checkHeaders applies the rules for custom headers
// (https://learn.microsoft.com/graph/api/resources/internetmessageheader;
// contao-notification_center issue 436, msgraph-sdk-dotnet issue 2208).
func (b *messageBody) checkHeaders() error {
	if b.Headers == nil {
		return nil
	}
	if len(*b.Headers) == 0 || len(*b.Headers) > 5 {
		return errHeaderCount
	}
	for _, h := range *b.Headers {
		if !customHeader.MatchString(h.Name) {
			return refuse(400, "InvalidInternetMessageHeader",
				"The internet message header name '"+h.Name+"' should start with 'x-' or 'X-'.")
		}
		if len(h.Value) > 995 || strings.ContainsAny(h.Name+h.Value, "\r\n") {
			return refuse(400, "InvalidInternetMessageHeader",
				"The value of the internet message header '"+h.Name+"' is invalid.")
		}
	}
	return nil
}

// decode reads a JSON body strictly: names have their case, unknown ones are
// refused, annotations (names with "@") are left aside but for the type of an
// attachment. typ is Graph's name of the type.
func (r *request) decode(into any, typ string) error {
	raw, err := io.ReadAll(r.Body)
	if err != nil {
		return err
	}
	return decodeStrictly(raw, into, typ)
}

// decodeAction reads the parameters of an action, whose names come in either
// case: "destinationId" in the documentation, "DestinationId" in the SDKs.
func (r *request) decodeAction(into any, action string) error {
	raw, err := io.ReadAll(r.Body)
	if err != nil {
		return err
	}
	return decodeKnown(raw, into, action, false)
}

func decodeStrictly(raw []byte, into any, typ string) error {
	return decodeKnown(raw, into, typ, true)
}

// decodeKnown refuses unknown names, and where withCase is set known ones in
// another case on the top level.
func decodeKnown(raw []byte, into any, typ string, withCase bool) error {
	// Decoded twice, as encoding/json takes names in any case.
	var tree map[string]any
	if err := decodeWhole(raw, &tree); err != nil || tree == nil {
		return fmt.Errorf("%w: %w", errBody, errors.Join(err))
	}
	clean, err := json.Marshal(withoutAnnotations(tree))
	if err != nil {
		return fmt.Errorf("%w: %w", errBody, err)
	}
	dec := json.NewDecoder(bytes.NewReader(clean))
	dec.DisallowUnknownFields()
	err = dec.Decode(into)
	if err == nil && withCase {
		err = checkCase(tree, into)
	}
	if err == nil {
		return nil
	}
	if m := unknownField.FindStringSubmatch(err.Error()); m != nil {
		// msgraph-sdk-dotnet issue 450.
		return refuse(http.StatusBadRequest, "RequestBodyRead", "The property '"+m[1]+"' does not exist on type 'microsoft.graph."+typ+
			"'. Make sure to only use property names that are defined by the type.")
	}
	return fmt.Errorf("%w: %w", errBody, err)
}

var unknownField = regexp.MustCompile(`unknown field "(.*)"`)

func decodeWhole(raw []byte, into any) error {
	dec := json.NewDecoder(bytes.NewReader(raw))
	dec.UseNumber()
	if err := dec.Decode(into); err != nil {
		return err
	}
	if _, err := dec.Token(); err != io.EOF {
		return errors.New("more follows")
	}
	return nil
}

// checkCase refuses top-level names that differ in case only.
func checkCase(tree map[string]any, into any) error {
	canonical, err := json.Marshal(into)
	if err != nil {
		return err
	}
	var known map[string]json.RawMessage
	if err := json.Unmarshal(canonical, &known); err != nil {
		return err
	}
	for name := range tree {
		if _, ok := known[name]; !ok && !strings.Contains(name, "@") {
			return fmt.Errorf("unknown field %q", name)
		}
	}
	return nil
}

// typeName is what an @odata.type becomes.
const typeName = "odataType"

// typed are the members in which the type of an object decides.
var typed = []string{"attachments"}

func withoutAnnotations(tree map[string]any) map[string]any {
	out := clean(tree, false).(map[string]any)
	if t, _ := tree["@odata.type"].(string); strings.HasSuffix(t, "Attachment") {
		out[typeName] = t
	}
	return out
}

func clean(v any, keepType bool) any {
	switch v := v.(type) {
	case map[string]any:
		out := map[string]any{}
		for name, member := range v {
			switch {
			case name == "@odata.type" && keepType:
				out[typeName] = member
			case strings.Contains(name, "@"):
			default:
				out[name] = clean(member, slices.Contains(typed, name))
			}
		}
		return out
	case []any:
		out := []any{}
		for _, member := range v {
			out = append(out, clean(member, keepType))
		}
		return out
	}
	return v
}
