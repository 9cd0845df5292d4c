module buildkit-gha.invalid/tools/crds

go 1.26.8

// Its ServiceMonitor: the schema that the chart is checked with.
require github.com/prometheus-operator/prometheus-operator v0.85.0
