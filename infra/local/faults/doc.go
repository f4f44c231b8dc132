// Package faults makes the parts of the local stack misbehave on demand.
//
// A Plan holds rules. A stand-in asks its plan at named points of its work whether something is to
// happen there, and does it. Rules are added by a test or over HTTP. What is done at once rather than
// at a point, such as a restart, is a verb. A Proxy carries TCP between any two parts and an HTTPProxy
// carries HTTP, for parts that are real and know no plan; their points are listed with them.
//
// Over HTTP, a Plan is:
//
//	GET    /faults       the rules, with how often each was taken
//	POST   /faults       adds a rule; answers 201 with its id
//	DELETE /faults       removes all
//	DELETE /faults/{id}  removes one
//	GET    /do           the verbs
//	POST   /do/{verb}    does it; the body, if any, is the verb's JSON argument
package faults
