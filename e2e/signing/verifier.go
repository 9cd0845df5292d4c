// Package verifier stands in for github.com/moby/policy-helpers in the buildkitd of the signing tests.
//
// What stock buildkitd accepts is witnessed by the public sigstore instance, and the root of that
// trust is built in: no test can make such a signature. tools/setup.sh builds a buildkitd of which
// only this one file differs (go build -overlay). Signing, storing, loading and the policy of
// buildkitd.toml are its own; only the question whether a bundle is genuine is answered here.
package verifier

import (
	"context"
	"time"

	"github.com/moby/policy-helpers/image"
	"github.com/moby/policy-helpers/types"
	digest "github.com/opencontainers/go-digest"
	ocispecs "github.com/opencontainers/image-spec/specs-go/v1"
	"github.com/pkg/errors"
	"github.com/sigstore/sigstore-go/pkg/fulcio/certificate"
)

// Seal and a digest make a genuine bundle.
const Seal = "sealed by the tests: "

// Config is what buildkitd makes a Verifier of.
type Config struct {
	UpdateInterval time.Duration
	RequireOnline  bool
	StateDir       string
}

// Verifier knows one seal.
type Verifier struct{}

// NewVerifier needs nothing.
func NewVerifier(Config) (*Verifier, error) {
	return &Verifier{}, nil
}

// ArtifactVerifyOpt asks for less.
type ArtifactVerifyOpt func()

// WithSLSANotRequired changes nothing: a seal says nothing of how something was built.
func WithSLSANotRequired() ArtifactVerifyOpt {
	return func() {}
}

// VerifyArtifact accepts the seal on this very digest, as witnessed once.
func (*Verifier) VerifyArtifact(_ context.Context, dgst digest.Digest, bundle []byte, _ ...ArtifactVerifyOpt) (*types.SignatureInfo, error) {
	if string(bundle) != Seal+dgst.String() {
		return nil, errors.Errorf("the seal is not that of %s", dgst)
	}
	return &types.SignatureInfo{
		Signer:     &certificate.Summary{SubjectAlternativeName: "the tests"},
		Timestamps: []types.TimestampVerificationResult{{Type: "Tlog", Timestamp: time.Now()}},
	}, nil
}

// VerifyImage is not asked for by any test.
func (*Verifier) VerifyImage(context.Context, image.ReferrersProvider, ocispecs.Descriptor, *ocispecs.Platform) (*types.SignatureInfo, error) {
	return nil, errors.New("images are not sealed")
}
