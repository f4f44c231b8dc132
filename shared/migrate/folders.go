package migrate

import (
	"fmt"
	"slices"
)

// refreshFolders lists the source's folders and keeps the cursors of those known. The order of the
// cursors is that of their discovery.
func (m *mailboxRun) refreshFolders() error {
	listed, err := m.source.Folders(m.ctx)
	if err != nil {
		return err
	}
	uses := make(map[string]SourceFolder)
	for _, f := range listed {
		if f.Use != "" {
			uses[pathKey(f.Path)] = f
		}
	}
	for _, cursor := range m.cp.Folders {
		cursor.Gone = true
	}
	for _, f := range listed {
		if !f.Selectable || f.Use == UseFlagged || m.excluded(f) {
			continue // what a virtual folder shows stands in its own folder
		}
		key := folderKey(f.Name)
		cursor := m.cp.folder(key)
		if cursor == nil {
			cursor = &FolderCursor{Name: f.Name, Key: key}
			m.cp.Folders = append(m.cp.Folders, cursor)
		}
		cursor.Gone = false
		cursor.Use, cursor.Path = placement(f, uses)
	}
	for _, cursor := range m.cp.Folders {
		if cursor.Gone {
			cursor.Total = 0
		}
	}
	return nil
}

// placement finds the role and the path below it for a folder: its own, or that of the nearest
// folder above it that has one, so that what lies below Sent comes to lie below Sent Items.
func placement(f SourceFolder, uses map[string]SourceFolder) (SpecialUse, []string) {
	for n := len(f.Path); n > 0; n-- {
		if above, ok := uses[pathKey(f.Path[:n])]; ok && above.Use != UseAll && above.Use != UseFlagged {
			return above.Use, slices.Clone(f.Path[n-1:])
		}
	}
	return f.Use, slices.Clone(f.Path)
}

func pathKey(path []string) string { return fmt.Sprintf("%q", path) }

func (m *mailboxRun) excluded(f SourceFolder) bool {
	path := ""
	for i, segment := range f.Path {
		if i > 0 {
			path += "/"
		}
		path += segment
		if slices.Contains(m.endpoint.ExcludeFolder, path) {
			return true
		}
	}
	return false
}
