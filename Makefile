# The two commands of a newcomer are `make demo` and `make test`; both install what they need.
export GOFLAGS ?= -buildvcs=false
GO ?= go

.PHONY: demo test check lint format bench package

demo:            ## runs the main job on real servers and shows the result
	$(GO) run ./infra/local demo

test:            ## every test, with the race detector
	$(GO) test -race -timeout 30m ./...

lint:            ## format and vet
	@unformatted="$$(gofmt -l .)"; test -z "$$unformatted" || { echo "not gofmt-ed: $$unformatted"; exit 1; }
	$(GO) vet ./...

check: lint test ## what has to hold before a commit

package:         ## builds dist/mailferry.zip, which is deployed
	$(GO) run ./infra/package

bench:           ## measures; prints figures, fails on nothing but errors
	$(GO) run ./infra/bench
