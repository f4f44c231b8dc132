package functionhost

import (
	"fmt"
	"regexp"
	"strings"
)

// blobPattern is the path of a blobTrigger, such as input/{name}.csv.
type blobPattern struct {
	container string
	prefix    string // what every matching name starts with
	name      *regexp.Regexp
}

var blobToken = regexp.MustCompile(`^[A-Za-z_][A-Za-z0-9_]*$`)

// parseBlobPattern reads container/name with {token} anywhere in name; {{ and
// }} stand for the braces themselves. A token matches any text, also none and
// also slashes, as much as possible and the first token first: the real host
// makes the greedy expression ^(?<token>.*)$ of it
// (BindingTemplateSource.BuildCapturePattern in azure-webjobs-sdk), so the path
// in/{a}/{b}.csv takes in/x/y/z.csv with a = x/y.
func parseBlobPattern(path string) (*blobPattern, error) {
	container, name, ok := strings.Cut(path, "/")
	if !ok || container == "" || name == "" {
		return nil, fmt.Errorf("path %q: must be container/name", path)
	}
	if strings.ContainsAny(container, "{}") {
		return nil, fmt.Errorf("path %q: a container in braces is not supported", path)
	}
	pattern := &blobPattern{container: container}
	expression := "(?s)^"
	seen := map[string]bool{}
	for name != "" {
		literal, rest, token, err := nextToken(name)
		if err != nil || seen[token] {
			return nil, fmt.Errorf("path %q: braces must hold a name, each its own", path)
		}
		if len(seen) == 0 {
			pattern.prefix += literal
		}
		expression += regexp.QuoteMeta(literal)
		if token != "" {
			seen[token] = true
			expression += "(?P<" + token + ">.*)"
		}
		name = rest
	}
	compiled, err := regexp.Compile(expression + "$")
	if err != nil {
		return nil, fmt.Errorf("path %q: %w", path, err)
	}
	pattern.name = compiled
	return pattern, nil
}

// nextToken splits text into a literal, the token that follows it, and the
// rest. token is empty at the end of text.
func nextToken(text string) (literal, rest, token string, err error) {
	for i := 0; i < len(text); i++ {
		doubled := i+1 < len(text) && text[i+1] == text[i]
		switch c := text[i]; {
		case (c == '{' || c == '}') && doubled:
			literal += string(c)
			i++
		case c == '{':
			token, rest, found := strings.Cut(text[i+1:], "}")
			if !found || !blobToken.MatchString(token) {
				return "", "", "", fmt.Errorf("no token in %q", text[i:])
			}
			return literal, rest, token, nil
		case c == '}':
			return "", "", "", fmt.Errorf("brace without a start in %q", text)
		default:
			literal += string(c)
		}
	}
	return literal, "", "", nil
}

// match returns the tokens of a blob's name, or false when it doesn't match.
func (p *blobPattern) match(name string) (map[string]string, bool) {
	groups := p.name.FindStringSubmatch(name)
	if groups == nil {
		return nil, false
	}
	tokens := map[string]string{}
	for i, token := range p.name.SubexpNames() {
		if token != "" {
			tokens[token] = groups[i]
		}
	}
	return tokens, true
}
