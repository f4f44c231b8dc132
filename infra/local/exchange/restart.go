package exchange

import (
	"context"
	"errors"
	"fmt"
	"os"
)

// Restart cuts all connections and starts anew on the same addresses from what is
// on disk, as after a kill. Work that was to be done late is lost.
func (s *Server) Restart(ctx context.Context) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return errors.New("restart Exchange stand-in: it is closed")
	}
	o := s.o
	o.GraphAddr, o.UploadAddr, o.IMAPAddr = s.graph.Addr().String(), s.uploads.Addr().String(), s.imapOn
	if err := s.halt(); err != nil {
		return fmt.Errorf("restart Exchange stand-in: %w", err)
	}
	if err := s.start(ctx, o); err != nil {
		return fmt.Errorf("restart Exchange stand-in: %w", err)
	}
	return nil
}

// Close ends all connections and closes the files. Later calls return what the
// first one did.
func (s *Server) Close() error {
	if s.stop != nil {
		s.stop()
	}
	return s.close()
}

func (s *Server) shutdown() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.closed = true
	err := s.halt()
	if s.temp != "" {
		err = errors.Join(err, os.RemoveAll(s.temp))
	}
	return err
}

// halt stops what start started.
func (s *Server) halt() error {
	var errs []error
	if s.imap != nil {
		errs = append(errs, s.imap.Close())
	}
	for _, server := range s.http {
		errs = append(errs, server.Close())
	}
	s.serving.Wait()
	for _, h := range s.late {
		h.Close()
	}
	if s.store != nil {
		errs = append(errs, s.store.Close())
	}
	s.imap, s.http, s.late = nil, nil, nil
	return errors.Join(errs...)
}
