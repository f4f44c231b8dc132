package migrate

import (
	"context"
	"errors"
	"io"
)

// guarded is a source that is signed in. One that signs in again, when its connection broke, and is
// refused does so once (see imapsource), and the brake counts it once.
type guarded struct {
	Source
	refused func(context.Context) error
	told    bool
}

func (g *guarded) note(ctx context.Context, err error) error {
	if g.told || !counts(err) {
		return err
	}
	g.told = true
	return errors.Join(err, g.refused(context.WithoutCancel(ctx)))
}

func (g *guarded) Folders(ctx context.Context) ([]SourceFolder, error) {
	list, err := g.Source.Folders(ctx)
	return list, g.note(ctx, err)
}

func (g *guarded) States(ctx context.Context, names []string) (map[string]FolderState, error) {
	states, err := g.Source.States(ctx, names)
	return states, g.note(ctx, err)
}

func (g *guarded) Sizes(ctx context.Context, names []string) (map[string]int64, error) {
	sizes, err := g.Source.Sizes(ctx, names)
	return sizes, g.note(ctx, err)
}

func (g *guarded) Open(ctx context.Context, name string) (FolderState, error) {
	state, err := g.Source.Open(ctx, name)
	return state, g.note(ctx, err)
}

func (g *guarded) Survey(ctx context.Context, name string, few UIDSet) (FolderState, UIDSet, []MessageInfo, error) {
	state, uids, described, err := g.Source.Survey(ctx, name, few)
	return state, uids, described, g.note(ctx, err)
}

func (g *guarded) SurveyNew(ctx context.Context, names []string) ([]Surveyed, error) {
	found, err := g.Source.SurveyNew(ctx, names)
	return found, g.note(ctx, err)
}

func (g *guarded) UIDs(ctx context.Context, first, last UID) (UIDSet, error) {
	uids, err := g.Source.UIDs(ctx, first, last)
	return uids, g.note(ctx, err)
}

func (g *guarded) Describe(ctx context.Context, uids UIDSet, yield func(MessageInfo) error) error {
	return g.note(ctx, g.Source.Describe(ctx, uids, yield))
}

func (g *guarded) Headers(ctx context.Context, uids UIDSet, yield func(MessageInfo, []byte) error) error {
	return g.note(ctx, g.Source.Headers(ctx, uids, yield))
}

func (g *guarded) Fetch(ctx context.Context, uids UIDSet, yield func(MessageInfo, int64, io.Reader) error) error {
	return g.note(ctx, g.Source.Fetch(ctx, uids, yield))
}
