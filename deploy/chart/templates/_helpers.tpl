{{/* Names are at most 63 characters; "-gateway-0" of a pod must fit, too. */}}
{{- define "buildkit-gha.fullname" -}}
{{- $name := .Release.Name -}}
{{- if not (contains .Chart.Name $name) -}}
{{- $name = printf "%s-%s" $name .Chart.Name -}}
{{- end -}}
{{- default $name .Values.fullnameOverride | trunc 45 | trimSuffix "-" -}}
{{- end -}}

{{/* What selects pods: (list . "serve"). It never changes. */}}
{{- define "buildkit-gha.selector" -}}
{{- $root := index . 0 -}}
app.kubernetes.io/name: {{ $root.Chart.Name }}
app.kubernetes.io/instance: {{ $root.Release.Name }}
app.kubernetes.io/component: {{ index . 1 }}
{{- end -}}

{{- define "buildkit-gha.labels" -}}
{{- $root := index . 0 -}}
{{ include "buildkit-gha.selector" . }}
app.kubernetes.io/version: {{ $root.Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ $root.Release.Service }}
helm.sh/chart: {{ printf "%s-%s" $root.Chart.Name $root.Chart.Version | replace "+" "_" }}
{{- with $root.Values.commonLabels }}
{{ toYaml . }}
{{- end }}
{{- end -}}

{{/* The image of a part: (list . .Values.serve "-serve") */}}
{{- define "buildkit-gha.image" -}}
{{- $root := index . 0 -}}
{{- $own := (index . 1).image -}}
{{- $suffix := index . 2 -}}
{{- $repository := default $root.Values.image.repository $own.repository -}}
{{- $digest := default (ternary "" $root.Values.image.digest (ne $suffix "")) $own.digest -}}
{{- $tag := default (printf "%s%s" (default $root.Chart.AppVersion $root.Values.image.tag) $suffix) $own.tag -}}
{{- if $digest -}}
{{ $repository }}@{{ $digest }}
{{- else -}}
{{ $repository }}:{{ $tag }}
{{- end -}}
{{- end -}}

{{/* Where and with what pods run: .Values.serve */}}
{{- define "buildkit-gha.scheduling" -}}
{{- with .nodeSelector }}
nodeSelector: {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .tolerations }}
tolerations: {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .affinity }}
affinity: {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .priorityClassName }}
priorityClassName: {{ . }}
{{- end }}
{{- end -}}

{{/* Where the gateway finds `serve` of this release. */}}
{{- define "buildkit-gha.cacheUrl" -}}
{{- if .Values.gateway.cache.url -}}
{{ .Values.gateway.cache.url }}
{{- else if .Values.serve.enabled -}}
{{ ternary "https" "http" (ne .Values.serve.tlsSecret "") }}://{{ include "buildkit-gha.fullname" . }}-serve.{{ .Release.Namespace }}.svc:{{ .Values.serve.service.port }}/
{{- end -}}
{{- end -}}

{{/*
Whether `serve` runs as replicas; empty if one pod has the data. It refuses values that would start and not work.
*/}}
{{- define "buildkit-gha.replicated" -}}
{{- $serve := .Values.serve -}}
{{- if and $serve.store.url (not $serve.database.existingSecret) -}}
{{- fail "serve.store.url is set and serve.database.existingSecret is empty: content in a bucket needs its entries in PostgreSQL" -}}
{{- end -}}
{{- if $serve.store.url -}}
{{- if and $serve.tlsSecret (not $serve.advertise) -}}
{{- fail "serve.tlsSecret is set and serve.advertise is empty: replicas call each other by the address of a pod, which no certificate has. Let an ingress end TLS, or set serve.advertise to what the certificate has" -}}
{{- end -}}
yes
{{- else if gt (int $serve.replicas) 1 -}}
{{- fail "serve.replicas is more than 1: that needs serve.database.existingSecret and serve.store.url" -}}
{{- end -}}
{{- end -}}
