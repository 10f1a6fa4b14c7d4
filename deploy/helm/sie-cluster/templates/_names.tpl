{{- define "sie.fullname" -}}
{{- if contains .Chart.Name .Release.Name -}}
{{- .Release.Name | trunc 40 | trimSuffix "-" -}}
{{- else -}}
{{- printf "%s-%s" .Release.Name .Chart.Name | trunc 40 | trimSuffix "-" -}}
{{- end -}}
{{- end }}

{{/* (dict "root" $ "role" "worker" "kind" "cpu"); a role without kinds has none. */}}
{{- define "sie.name" -}}
{{ include "sie.fullname" .root }}-{{ .role }}{{ with .kind }}-{{ . }}{{ end }}
{{- end }}

{{/* What selects a role's pods. Never changes in an upgrade. */}}
{{- define "sie.selector" -}}
app.kubernetes.io/name: {{ .root.Chart.Name }}
app.kubernetes.io/instance: {{ .root.Release.Name }}
app.kubernetes.io/component: {{ .role }}
{{- with .kind }}
sie/worker: {{ . }}
{{- end }}
{{- end }}

{{- define "sie.labels" -}}
{{ include "sie.selector" . }}
app.kubernetes.io/version: {{ .root.Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .root.Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .root.Chart.Name .root.Chart.Version }}
{{- end }}

{{- /* What a registry may change behind a tag is named by its digest; images on the nodes are as they were loaded. */}}
{{- define "sie.image" -}}
{{- $image := .root.Values.image -}}
{{- $digest := index $image.digests .image -}}
{{- $name := printf "sie-%s:%s" .image ($image.tag | default .root.Chart.AppVersion) -}}
{{- with $image.registry }}{{ $name = printf "%s/%s" . $name }}{{ end -}}
{{- if and $image.registry (not $digest) (not $image.byTag) -}}
{{- fail (printf "image.digests.%s is wanted where image.registry is set: `docker buildx imagetools inspect %s` tells it; image.byTag=true takes whatever the tag names" .image $name) -}}
{{- end -}}
{{ $name }}{{ with $digest }}@{{ . }}{{ end }}
{{- end }}

{{/* The labels of this release's series: the PodMonitor puts them on. */}}
{{- define "sie.ofRelease" -}}
namespace={{ .Release.Namespace | quote }},release={{ .Release.Name | quote }}
{{- end }}

{{- define "sie.scheme" -}}
{{ ternary "https" "http" .Values.tls.enabled }}
{{- end }}

{{- define "sie.configUrl" -}}
{{ include "sie.scheme" . }}://{{ include "sie.fullname" . }}-config:8081
{{- end }}

{{- define "sie.gatewayUrl" -}}
{{ include "sie.scheme" . }}://{{ include "sie.fullname" . }}-gateway:{{ .Values.gateway.service.port }}
{{- end }}

{{/* sie-config as a browser outside reaches it; empty where it stays inside. */}}
{{- define "sie.configPublicUrl" -}}
{{- if and .Values.expose.configHost (or .Values.expose.ingress.enabled .Values.expose.gatewayApi.enabled) -}}
https://{{ .Values.expose.configHost }}
{{- end -}}
{{- end }}

{{- define "sie.natsUrl" -}}
{{- if .Values.nats.enabled -}}
{{ ternary "tls" "nats" .Values.tls.enabled }}://{{ include "sie.fullname" . }}-nats:4222
{{- else -}}
{{ .Values.nats.url }}
{{- end -}}
{{- end }}

{{- define "sie.natsSecret" -}}
{{- .Values.nats.existingSecret | default (printf "%s-nats-users" (include "sie.fullname" .)) -}}
{{- end }}

{{/* The broker's user of a pool's workers: `worker` for the pool `default`. */}}
{{- define "sie.workerUser" -}}
{{- if eq . "default" }}worker{{ else }}worker-{{ . }}{{ end -}}
{{- end }}

{{/* All of them, as JSON. */}}
{{- define "sie.workerUsers" -}}
{{- $users := list "worker" -}}
{{- range .Values.workers }}{{ $users = append $users (include "sie.workerUser" .pool) }}{{ end -}}
{{- $users | uniq | sortAlpha | toJson -}}
{{- end }}

{{/* The broker's users: those of files/users.conf, the line of `worker` once for each pool. */}}
{{- define "sie.natsUsers" -}}
{{- $text := .Files.Get "files/users.conf" -}}
{{- $line := regexFind "(?m)^.*user: \"worker\".*$" $text -}}
{{- $lines := list $line -}}
{{- range $user := include "sie.workerUsers" . | fromJsonArray -}}
{{- if ne $user "worker" -}}
{{- $pool := trimPrefix "worker-" $user -}}
{{- $password := printf "PASSWORD_%s" (upper $user | replace "-" "_") -}}
{{- $other := $line | replace "default" $pool | replace "PASSWORD_WORKER" $password -}}
{{- $other = $other | replace "\"worker\"" ($user | quote) | replace "_INBOX.worker." (printf "_INBOX.%s." $user) -}}
{{- $other = $other | replace "answer.worker.worker." (printf "answer.worker.%s." $user) -}}
{{- $lines = append $lines $other -}}
{{- end -}}
{{- end -}}
{{- replace $line (join "\n" $lines) $text -}}
{{- end }}

{{- define "sie.hfSecret" -}}
{{- if .Values.hfToken.existingSecret -}}
{{ .Values.hfToken.existingSecret }}
{{- else if .Values.hfToken.create -}}
{{ include "sie.fullname" . }}-hf-token
{{- end -}}
{{- end }}
