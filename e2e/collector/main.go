// A collector of OpenTelemetry traces, with OpenTelemetry's own types and gRPC's own server: it prints what it
// is given, a span a line.
package main

import (
	"compress/gzip"
	"context"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"os"
	"sync"

	collector "go.opentelemetry.io/proto/otlp/collector/trace/v1"
	common "go.opentelemetry.io/proto/otlp/common/v1"
	"google.golang.org/grpc"
	_ "google.golang.org/grpc/encoding/gzip"
	"google.golang.org/grpc/metadata"
	"google.golang.org/protobuf/proto"
)

// line is a span as it is printed.
type line struct {
	Via           string            `json:"via"`
	Authorization string            `json:"authorization,omitempty"`
	Service       string            `json:"service"`
	Name          string            `json:"name"`
	Trace         string            `json:"trace"`
	Span          string            `json:"span"`
	Parent        string            `json:"parent,omitempty"`
	Attributes    map[string]string `json:"attributes"`
	Error         string            `json:"error,omitempty"`
}

var printing sync.Mutex

func attributes(list []*common.KeyValue) map[string]string {
	all := map[string]string{}
	for _, attribute := range list {
		switch value := attribute.GetValue().GetValue().(type) {
		case *common.AnyValue_StringValue:
			all[attribute.Key] = value.StringValue
		case *common.AnyValue_IntValue:
			all[attribute.Key] = fmt.Sprint(value.IntValue)
		default:
			all[attribute.Key] = attribute.GetValue().String()
		}
	}
	return all
}

func show(via, authorization string, request *collector.ExportTraceServiceRequest) {
	printing.Lock()
	defer printing.Unlock()
	out := json.NewEncoder(os.Stdout)
	for _, resource := range request.ResourceSpans {
		service := attributes(resource.GetResource().GetAttributes())["service.name"]
		for _, scope := range resource.ScopeSpans {
			for _, span := range scope.Spans {
				_ = out.Encode(line{
					Via:           via,
					Authorization: authorization,
					Service:       service,
					Name:          span.Name,
					Trace:         hex.EncodeToString(span.TraceId),
					Span:          hex.EncodeToString(span.SpanId),
					Parent:        hex.EncodeToString(span.ParentSpanId),
					Attributes:    attributes(span.Attributes),
					Error:         span.GetStatus().GetMessage(),
				})
			}
		}
	}
}

type service struct {
	collector.UnimplementedTraceServiceServer
}

func (service) Export(ctx context.Context, request *collector.ExportTraceServiceRequest) (*collector.ExportTraceServiceResponse, error) {
	authorization := ""
	if values := metadata.ValueFromIncomingContext(ctx, "authorization"); len(values) > 0 {
		authorization = values[0]
	}
	show("grpc", authorization, request)
	return &collector.ExportTraceServiceResponse{}, nil
}

func traces(response http.ResponseWriter, request *http.Request) {
	var body io.Reader = request.Body
	if request.Header.Get("Content-Encoding") == "gzip" {
		unzipped, err := gzip.NewReader(body)
		if err != nil {
			http.Error(response, err.Error(), http.StatusBadRequest)
			return
		}
		body = unzipped
	}
	message, err := io.ReadAll(body)
	var parsed collector.ExportTraceServiceRequest
	if err == nil {
		err = proto.Unmarshal(message, &parsed)
	}
	if err != nil || request.Header.Get("Content-Type") != "application/x-protobuf" {
		http.Error(response, "no spans in protobuf", http.StatusBadRequest)
		return
	}
	show("http", request.Header.Get("Authorization"), &parsed)
	answer, _ := proto.Marshal(&collector.ExportTraceServiceResponse{})
	response.Header().Set("Content-Type", "application/x-protobuf")
	_, _ = response.Write(answer)
}

func listen() net.Listener {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		log.Fatal(err)
	}
	return listener
}

func main() {
	overGRPC, overHTTP := listen(), listen()
	fmt.Printf("listening for gRPC on %s\nlistening for HTTP on %s\n", overGRPC.Addr(), overHTTP.Addr())
	server := grpc.NewServer()
	collector.RegisterTraceServiceServer(server, service{})
	mux := http.NewServeMux()
	mux.HandleFunc("POST /v1/traces", traces)
	go func() { log.Fatal(http.Serve(overHTTP, mux)) }()
	log.Fatal(server.Serve(overGRPC))
}
