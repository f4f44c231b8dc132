package graph

import (
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"
)

// expr is a node of a $filter expression (OData 4.01 ABNF, commonExpr), as far
// as Graph's Outlook and directory services take it.
type expr interface{}

type (
	// binary joins two expressions by and, or or a comparison.
	binary struct {
		op          string
		left, right expr
	}
	negation struct{ of expr }
	// constant is a string, time.Time, float64, bool or nil.
	constant struct{ value any }
	// path names a property, such as from/emailAddress/address.
	path []string
	// call is a function such as contains; its name is in lower case.
	call struct {
		name string
		args []expr
	}
	// lambda is collection/any(variable:body); op is "any" or "all".
	lambda struct {
		collection   path
		op, variable string
		body         expr
	}
)

var errFilter = errors.New("filter is malformed")

// maxFilterDepth bounds nesting.
const maxFilterDepth = 50

// parseFilter reads a $filter.
func parseFilter(text string) (expr, error) {
	p := &filterParser{}
	if err := p.split(text); err != nil {
		return nil, err
	}
	e, err := p.or()
	if err != nil {
		return nil, err
	}
	if p.peek() != "" {
		return nil, fmt.Errorf("%w: unexpected %q", errFilter, p.peek())
	}
	return e, nil
}

// filterParser holds tokens: words, 'strings' with their quotes, and the
// characters ( ) , : /.
type filterParser struct {
	tokens []string
	depth  int
}

func (p *filterParser) split(s string) error {
	for s = strings.TrimLeft(s, " \t"); s != ""; s = strings.TrimLeft(s, " \t") {
		n := 1
		switch {
		case s[0] == '\'':
			n = stringLength(s)
			if n < 0 {
				return fmt.Errorf("%w: open string", errFilter)
			}
		case !strings.ContainsRune("(),:/", rune(s[0])):
			n = strings.IndexAny(s, " \t(),/'")
			if n < 0 {
				n = len(s)
			}
			n = wordLength(s[:n])
		}
		p.tokens = append(p.tokens, s[:n])
		s = s[n:]
	}
	return nil
}

// stringLength returns the length of the quoted string at the start of s, in
// which two quotes stand for one, or -1.
func stringLength(s string) int {
	for i := 1; i < len(s); i++ {
		if s[i] != '\'' {
			continue
		}
		if i+1 == len(s) || s[i+1] != '\'' {
			return i + 1
		}
		i++
	}
	return -1
}

// wordLength keeps the colons of a time but ends a lambda variable at its
// colon.
func wordLength(word string) int {
	if c := strings.IndexByte(word, ':'); c > 0 && (word[0] < '0' || word[0] > '9') {
		return c
	}
	return len(word)
}

func (p *filterParser) peek() string {
	if len(p.tokens) == 0 {
		return ""
	}
	return p.tokens[0]
}

func (p *filterParser) next() string {
	t := p.peek()
	if t != "" {
		p.tokens = p.tokens[1:]
	}
	return t
}

func (p *filterParser) take(token string) bool {
	if strings.EqualFold(p.peek(), token) {
		p.next()
		return true
	}
	return false
}

func (p *filterParser) expect(token string) error {
	if !p.take(token) {
		return fmt.Errorf("%w: %q where %q should be", errFilter, p.peek(), token)
	}
	return nil
}

func (p *filterParser) or() (expr, error) {
	if p.depth++; p.depth > maxFilterDepth {
		return nil, fmt.Errorf("%w: too deep", errFilter)
	}
	defer func() { p.depth-- }()
	return p.chain("or", func() (expr, error) { return p.chain("and", p.not) })
}

func (p *filterParser) chain(op string, operand func() (expr, error)) (expr, error) {
	left, err := operand()
	for err == nil && p.take(op) {
		var right expr
		right, err = operand()
		left = binary{op, left, right}
	}
	return left, err
}

func (p *filterParser) not() (expr, error) {
	if p.take("not") {
		e, err := p.comparison()
		return negation{e}, err
	}
	return p.comparison()
}

func (p *filterParser) comparison() (expr, error) {
	left, err := p.operand()
	if err != nil {
		return nil, err
	}
	switch op := strings.ToLower(p.peek()); op {
	case "eq", "ne", "gt", "ge", "lt", "le":
		p.next()
		right, err := p.operand()
		return binary{op, left, right}, err
	}
	return left, nil
}

func (p *filterParser) operand() (expr, error) {
	token := p.next()
	switch {
	case token == "" || strings.Contains("),:/", token):
		return nil, fmt.Errorf("%w: %q where a value should be", errFilter, token)
	case token == "(":
		e, err := p.or()
		if err != nil {
			return nil, err
		}
		return e, p.expect(")")
	case token[0] == '\'':
		return constant{strings.ReplaceAll(token[1:len(token)-1], "''", "'")}, nil
	case p.peek() == "(":
		return p.call(token)
	}
	if strings.EqualFold(token, "datetimeoffset") && strings.HasPrefix(p.peek(), "'") {
		quoted := p.next()
		token = quoted[1 : len(quoted)-1]
	}
	if c, ok := parseConstant(token); ok {
		return c, nil
	}
	return p.path(token)
}

func parseConstant(token string) (constant, bool) {
	switch strings.ToLower(token) {
	case "true", "false":
		return constant{strings.EqualFold(token, "true")}, true
	case "null":
		return constant{nil}, true
	}
	if t, err := time.Parse(time.RFC3339Nano, token); err == nil {
		return constant{t}, true
	}
	if t, err := time.Parse(time.DateOnly, token); err == nil {
		return constant{t}, true
	}
	if n, err := strconv.ParseFloat(token, 64); err == nil && (token[0] == '-' || token[0] >= '0' && token[0] <= '9') {
		return constant{n}, true
	}
	return constant{}, false
}

func (p *filterParser) call(name string) (expr, error) {
	c := call{name: strings.ToLower(name)}
	if err := p.expect("("); err != nil {
		return nil, err
	}
	for {
		arg, err := p.or()
		if err != nil {
			return nil, err
		}
		c.args = append(c.args, arg)
		if !p.take(",") {
			return c, p.expect(")")
		}
	}
}

// path reads the rest of a property path, which may end in a lambda.
func (p *filterParser) path(first string) (expr, error) {
	out := path{first}
	for p.take("/") {
		word := p.next()
		if word == "" || strings.ContainsAny(word, "(),:/'") {
			return nil, fmt.Errorf("%w: %q in a path", errFilter, word)
		}
		if op := strings.ToLower(word); (op == "any" || op == "all") && p.peek() == "(" {
			return p.lambda(out, op)
		}
		out = append(out, word)
	}
	return out, nil
}

func (p *filterParser) lambda(collection path, op string) (expr, error) {
	if err := p.expect("("); err != nil {
		return nil, err
	}
	l := lambda{collection: collection, op: op, variable: p.next()}
	if err := p.expect(":"); err != nil {
		return nil, err
	}
	var err error
	if l.body, err = p.or(); err != nil {
		return nil, err
	}
	return l, p.expect(")")
}

// walk calls visit for e and all expressions in it.
func walk(e expr, visit func(expr)) {
	if e == nil {
		return
	}
	visit(e)
	switch e := e.(type) {
	case binary:
		walk(e.left, visit)
		walk(e.right, visit)
	case negation:
		walk(e.of, visit)
	case call:
		for _, a := range e.args {
			walk(a, visit)
		}
	case lambda:
		walk(e.collection, visit)
		walk(e.body, visit)
	}
}
