{{/* All variables of one of our processes: those of the chart, then those of the values. */}}
{{- define "sie.env" -}}
{{- $set := printf "%s\n%s\n%s" (.env | trim) (include "sie.commonEnv" . | trim) (include "sie.tracesEnv" .root | trim) | trim -}}
{{- $joined := ternary (printf "SIE_%s_WEB_PAGES" (upper .process)) "" (ne "" (include "sie.webPages" .)) }}
{{ $set }}
{{ include "sie.moreEnv" (merge (dict "set" (fromYamlArray $set) "joined" $joined) .) }}
{{- end }}

{{/* What all processes have, as far as it is theirs: address, broker, sie-config, access. */}}
{{- define "sie.commonEnv" -}}
{{- $prefix := printf "SIE_%s" (upper .process) -}}
- name: {{ $prefix }}_HOST
  value: 0.0.0.0
- name: {{ $prefix }}_PORT
  value: {{ .port | quote }}
{{- if .root.Values.tls.enabled }}
- name: {{ $prefix }}_TLS_CERT_FILE
  value: /etc/sie/tls/tls.crt
- name: {{ $prefix }}_TLS_KEY_FILE
  value: /etc/sie/tls/tls.key
{{- if .root.Values.tls.mutual }}
- name: {{ $prefix }}_TLS_CLIENT_CA_FILE
  value: /etc/sie/tls/ca.crt
{{- end }}
{{- if ne .process "server" }}
- name: {{ $prefix }}_TLS_CA_FILE
  value: /etc/sie/tls/ca.crt
{{- end }}
{{- end }}
{{- if ne .process "server" }}
{{ include "sie.busEnv" . }}
{{- end }}
{{- if has .process (list "gateway" "worker") }}
{{ include "sie.followEnv" . }}
{{- end }}
{{- if and .root.Values.auth.existingSecret (has .process (list "config" "gateway")) }}
- name: {{ $prefix }}_AUTH_FILE
  value: /etc/sie/auth/tokens.json
{{- end }}
{{- with include "sie.webPages" . }}
{{- $told := get ($.own.env | default dict) (printf "%s_WEB_PAGES" $prefix) }}
{{- if kindIs "map" $told }}
- name: TOLD_WEB_PAGES
  {{- toYaml $told | nindent 2 }}
{{- end }}
- name: {{ $prefix }}_WEB_PAGES
  value: {{ . | quote }}
{{- end }}
{{- end }}

{{/*
Without tokens a process answers to no name with a dot but those of private networks and of its web
pages: so its service, what `expose` and `hosts` name, and what its `env` says. What a Secret says is joined
by Kubernetes, as `$(TOLD_WEB_PAGES)`, a variable that stands before it.
*/}}
{{- define "sie.webPages" -}}
{{- $told := get (.own.env | default dict) (printf "SIE_%s_WEB_PAGES" (upper .process)) -}}
{{- if and (has .process (list "config" "gateway")) (not .root.Values.auth.existingSecret) -}}
{{- $scheme := include "sie.scheme" .root -}}
{{- $port := ternary .root.Values.gateway.service.port .port (eq .process "gateway") -}}
{{- $pages := list (printf "%s://%s.%s:%v" $scheme (include "sie.name" .) .root.Release.Namespace $port) -}}
{{- if eq .process "gateway" }}{{ with .root.Values.expose.host }}{{ $pages = append $pages (printf "https://%s" .) }}{{ end }}{{ end -}}
{{- range .root.Values.hosts }}{{ $pages = append $pages (printf "%s://%s" $scheme .) }}{{ end -}}
{{- with $told }}{{ $pages = append $pages (ternary "$(TOLD_WEB_PAGES)" . (kindIs "map" .)) }}{{ end -}}
{{- join "," $pages -}}
{{- end -}}
{{- end }}

{{/* How a process reaches the broker; `user` where it is another than its own name. */}}
{{- define "sie.busEnv" -}}
{{- $prefix := printf "SIE_%s" (upper .process) -}}
{{- $user := .user | default .process -}}
- name: {{ $prefix }}_NATS_URL
  value: {{ include "sie.natsUrl" .root | quote }}
- name: {{ $prefix }}_NATS_USER
  value: {{ $user }}
- name: {{ $prefix }}_NATS_REPLICAS
  value: {{ .root.Values.nats.replicas | quote }}
- name: {{ $prefix }}_NATS_PASSWORD
  valueFrom:
    secretKeyRef:
      name: {{ include "sie.natsSecret" .root }}
      key: {{ $user }}
{{- end }}

{{/* How a follower finds sie-config, and whose signature it takes. */}}
{{- define "sie.followEnv" -}}
{{- $prefix := printf "SIE_%s" (upper .process) -}}
- name: {{ $prefix }}_CONFIG_URL
  value: {{ include "sie.configUrl" .root | quote }}
{{- with .root.Values.config.publicKey }}
- name: {{ $prefix }}_CONFIG_PUBLIC_KEY
  value: {{ . | quote }}
{{- end }}
{{- $secret := .root.Values.auth.followersSecret }}
{{- if .root.Values.auth.existingSecret }}
{{- $secret = required "auth.followersSecret is wanted where auth.existingSecret is set: without its tokens gateways and workers cannot follow" $secret }}
{{- end }}
{{- with $secret }}
- name: {{ $prefix }}_CONFIG_TOKEN
  valueFrom:
    secretKeyRef:
      name: {{ . }}
      key: {{ $.process }}
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

{{/*
Variables of the values, as a name and a value, or a name and a `valueFrom`. Refuses what the chart
has set already, and what this process would refuse at its start: files/settings.txt has its names.
*/}}
{{- define "sie.moreEnv" -}}
{{- $process := .process | default "broker" -}}
{{- $taken := list }}{{ range .set }}{{ $taken = append $taken .name }}{{ end -}}
{{- $known := .root.Files.Get "files/settings.txt" | trim | splitList "\n" -}}
{{- $own := .own.env | default dict -}}
{{- $role := .where | default (printf "%s.env" .role) -}}
{{- range $name, $value := omit (merge (dict) $own .root.Values.pods.env) (.joined | default "") }}
{{- $where := hasKey $own $name | ternary $role "pods.env" }}
{{- if has $name $taken }}
{{- fail (printf "%s: the chart sets %s itself" $where $name) }}
{{- end }}
{{- if hasPrefix (printf "SIE_%s_" (upper $process)) $name }}
{{- if not (has $name $known) }}
{{- fail (printf "%s: %s is no setting of sie-%s (docs/settings.md has their names)" $where $name $process) }}
{{- end }}
{{- else if and (hasPrefix "SIE_" $name) (not (and (hasPrefix "SIE_SECRET_" $name) (eq $process "server"))) }}
{{- fail (printf "%s: %s is not read by %s" $where $name (ternary "the broker" (printf "sie-%s" $process) (eq $process "broker"))) }}
{{- end }}
- name: {{ $name }}
  {{- if kindIs "map" $value }}
  {{- toYaml $value | nindent 2 }}
  {{- else }}
  {{- /* Helm has every number as a float, which would be told as 2.7e+08. */}}
  value: {{ kindIs "float64" $value | ternary (toJson $value) $value | quote }}
  {{- end }}
{{- end }}
{{- end }}
