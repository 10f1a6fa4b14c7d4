{{- define "sie.fullname" -}}
{{- if contains .Chart.Name .Release.Name -}}
{{- .Release.Name | trunc 40 | trimSuffix "-" -}}
{{- else -}}
{{- printf "%s-%s" .Release.Name .Chart.Name | trunc 40 | trimSuffix "-" -}}
{{- end -}}
{{- end }}

{{/* What selects a role's pods: (dict "root" $ "role" "gateway"). Never changes in an upgrade. */}}
{{- define "sie.selector" -}}
app.kubernetes.io/name: {{ .root.Chart.Name }}
app.kubernetes.io/instance: {{ .root.Release.Name }}
app.kubernetes.io/component: {{ .role }}
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
{{- $name := printf "sie-%s:%s" .role ($image.tag | default .root.Chart.AppVersion) -}}
{{- if $image.registry -}}
{{- $digest := required (printf "image.digests.%s is wanted where image.registry is set: docker buildx imagetools inspect %s/%s" .role $image.registry $name) (index $image.digests .role) -}}
{{ $image.registry }}/{{ $name }}@{{ $digest }}
{{- else -}}
{{ $name }}
{{- end -}}
{{- end }}

{{/* The labels of this release's series: the PodMonitor puts them on. */}}
{{- define "sie.ofRelease" -}}
namespace={{ .Release.Namespace | quote }},release={{ .Release.Name | quote }}
{{- end }}

{{- define "sie.configUrl" -}}
http://{{ include "sie.fullname" . }}-config:8081
{{- end }}

{{- define "sie.natsUrl" -}}
{{- if .Values.nats.enabled -}}
nats://{{ include "sie.fullname" . }}-nats:4222
{{- else -}}
{{ required "nats.url is wanted where nats.enabled is false" .Values.nats.url }}
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

{{/* Copies of every stream: those of the brokers that this chart runs. */}}
{{- define "sie.streamReplicas" -}}
{{- if .Values.nats.enabled }}{{ .Values.nats.replicas }}{{ else }}1{{ end -}}
{{- end }}

{{- define "sie.hfSecret" -}}
{{- if .Values.hfToken.existingSecret -}}
{{ .Values.hfToken.existingSecret }}
{{- else if .Values.hfToken.create -}}
{{ include "sie.fullname" . }}-hf-token
{{- end -}}
{{- end }}

{{/* How a role reaches the broker: (dict "root" $ "role" "gateway"), `user` where it is another. */}}
{{- define "sie.busEnv" -}}
{{- $prefix := printf "SIE_%s" (upper .role) -}}
{{- $user := .user | default .role -}}
- name: {{ $prefix }}_NATS_URL
  value: {{ include "sie.natsUrl" .root | quote }}
- name: {{ $prefix }}_NATS_USER
  value: {{ $user }}
- name: {{ $prefix }}_NATS_REPLICAS
  value: {{ include "sie.streamReplicas" .root | quote }}
- name: {{ $prefix }}_NATS_PASSWORD
  valueFrom:
    secretKeyRef:
      name: {{ include "sie.natsSecret" .root }}
      key: {{ $user }}
{{- end }}

{{/* How a follower finds sie-config. */}}
{{- define "sie.followEnv" -}}
{{- $prefix := printf "SIE_%s" (upper .role) -}}
- name: {{ $prefix }}_CONFIG_URL
  value: {{ include "sie.configUrl" .root | quote }}
{{- $secret := .root.Values.auth.followersSecret }}
{{- if .root.Values.auth.existingSecret }}
{{- $secret = required "auth.followersSecret is wanted where auth.existingSecret is set: without its tokens gateways and workers cannot follow" $secret }}
{{- end }}
{{- with $secret }}
- name: {{ $prefix }}_CONFIG_TOKEN
  valueFrom:
    secretKeyRef:
      name: {{ . }}
      key: {{ $.role }}
{{- end }}
{{- end }}

{{/* Where spans go, in OpenTelemetry's own names. */}}
{{- define "sie.tracesEnv" -}}
{{- with .Values.traces.endpoint }}
- name: OTEL_EXPORTER_OTLP_ENDPOINT
  value: {{ . | quote }}
- name: OTEL_TRACES_SAMPLER
  value: parentbased_traceidratio
- name: OTEL_TRACES_SAMPLER_ARG
  value: {{ $.Values.traces.share | quote }}
- name: OTEL_RESOURCE_ATTRIBUTES
  value: {{ printf "service.namespace=%s/%s" $.Release.Namespace $.Release.Name | quote }}
{{- end }}
{{- end }}

{{- define "sie.moreEnv" -}}
{{- range $name, $value := . }}
- name: {{ $name }}
  value: {{ $value | quote }}
{{- end }}
{{- end }}

{{- define "sie.probes" -}}
startupProbe:
  httpGet: {path: /healthz, port: http}
  periodSeconds: 1
  failureThreshold: {{ .startup | default 60 }}
livenessProbe:
  httpGet: {path: /healthz, port: http}
  periodSeconds: 10
  timeoutSeconds: 5
  failureThreshold: 6
readinessProbe:
  httpGet: {path: /readyz, port: http}
  periodSeconds: 2
  timeoutSeconds: 2
{{- end }}

{{- define "sie.podSecurity" -}}
automountServiceAccountToken: false
# A Service named sie-gateway would put SIE_GATEWAY_PORT=tcp://… into every pod.
enableServiceLinks: false
securityContext:
  runAsNonRoot: true
  runAsUser: 10001
  runAsGroup: 10001
  fsGroup: 10001
  fsGroupChangePolicy: OnRootMismatch
  seccompProfile: {type: RuntimeDefault}
{{- end }}

{{- define "sie.containerSecurity" -}}
securityContext:
  allowPrivilegeEscalation: false
  readOnlyRootFilesystem: true
  capabilities: {drop: [ALL]}
{{- end }}
