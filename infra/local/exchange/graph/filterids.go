package graph

// propertiesIn lists the extended properties that a filter names, and gives
// the filter with their ids in the normalised form. Each condition on extended
// properties has to name one
// (https://learn.microsoft.com/graph/api/singlevaluelegacyextendedproperty-get).
func propertiesIn(e expr) (expr, []string, error) {
	var p propertyScan
	e = p.outside(e)
	return e, p.ids, p.err
}

type propertyScan struct {
	ids []string
	err error
}

// outside looks for conditions on extended properties.
func (p *propertyScan) outside(e expr) expr {
	switch e := e.(type) {
	case binary:
		e.left, e.right = p.outside(e.left), p.outside(e.right)
		return e
	case negation:
		e.of = p.outside(e.of)
		return e
	case lambda:
		if e.collection[0] != "singleValueExtendedProperties" {
			return e
		}
		before := len(p.ids)
		e.body = p.inside(e.body, e.variable)
		if len(p.ids) == before && p.err == nil {
			p.err = badRequest("The filter expression for singleValueExtendedProperties must name an id.")
		}
		return e
	}
	return e
}

// inside notes each id that the variable is compared with.
func (p *propertyScan) inside(e expr, variable string) expr {
	switch e := e.(type) {
	case negation:
		e.of = p.inside(e.of, variable)
		return e
	case binary:
		of, ok := e.left.(path)
		c, ok2 := e.right.(constant)
		text, ok3 := c.value.(string)
		if !ok || !ok2 || !ok3 || e.op != "eq" || len(of) != 2 || of[0] != variable || of[1] != "id" {
			e.left, e.right = p.inside(e.left, variable), p.inside(e.right, variable)
			return e
		}
		id, err := normalizeID(text)
		if err != nil {
			p.err = err
			return e
		}
		p.ids = append(p.ids, id)
		e.right = constant{propertyID(id)}
		return e
	}
	return e
}
