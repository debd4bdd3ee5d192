package httpadapter_test

import (
	"bytes"
	"io"
	"net"
	"sync"
	"testing"

	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"
)

// h2 is a server for HTTP/2 in the clear that does on each connection what its
// script says.
type h2 struct {
	t      *testing.T
	l      net.Listener
	script func(c *h2conn, n int) // n is the number of the connection, from 1
	all    sync.WaitGroup

	mu    sync.Mutex
	conns []net.Conn
}

// h2conn is one of its connections.
type h2conn struct {
	*http2.Framer
	conn net.Conn
}

func newH2(t *testing.T, script func(c *h2conn, n int)) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	s := &h2{t: t, l: l, script: script}
	s.all.Go(s.accept)
	t.Cleanup(func() {
		_ = l.Close()
		s.mu.Lock()
		for _, c := range s.conns {
			_ = c.Close()
		}
		s.mu.Unlock()
		s.all.Wait()
	})
	return l.Addr().String()
}

func (s *h2) accept() {
	for n := 1; ; n++ {
		c, err := s.l.Accept()
		if err != nil {
			return
		}
		s.mu.Lock()
		s.conns = append(s.conns, c)
		s.mu.Unlock()
		s.all.Go(func() {
			defer func() { _ = c.Close() }()
			preface := make([]byte, len(http2.ClientPreface))
			if _, err := io.ReadFull(c, preface); err != nil {
				return
			}
			f := http2.NewFramer(c, c)
			f.ReadMetaHeaders = hpack.NewDecoder(4096, nil)
			s.script(&h2conn{f, c}, n)
		})
	}
}

// next returns the number of the next stream that a request comes on, and answers
// what there is to be answered meanwhile. 0 is the end.
func (c *h2conn) next() uint32 {
	for {
		f, err := c.ReadFrame()
		if err != nil {
			return 0
		}
		switch f := f.(type) {
		case *http2.MetaHeadersFrame:
			return f.StreamID
		case *http2.SettingsFrame:
			if !f.IsAck() {
				_ = c.WriteSettingsAck()
			}
		case *http2.PingFrame:
			if !f.IsAck() {
				_ = c.WritePing(true, f.Data)
			}
		default:
		}
	}
}

// answer answers a request with 200 and a word.
func (c *h2conn) answer(stream uint32, word string) {
	var b bytes.Buffer
	_ = hpack.NewEncoder(&b).WriteField(hpack.HeaderField{Name: ":status", Value: "200"})
	_ = c.WriteHeaders(http2.HeadersFrameParam{StreamID: stream, BlockFragment: b.Bytes(), EndHeaders: true})
	_ = c.WriteData(stream, true, []byte(word))
}
