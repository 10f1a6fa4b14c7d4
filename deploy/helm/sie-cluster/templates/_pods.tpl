{{/*
Every pod of the chart is one form, and every container of ours too. A role gives a dict:
root, role, kind (of a worker), values (its part of values.yaml), containers (their text),
volumes (theirs) and grace (seconds).
*/}}
{{- define "sie.pod" -}}
{{- $common := .root.Values.pods -}}
{{- $own := .values -}}
{{- $volumes := include "sie.volumes" . -}}
{{- $fleeting := list -}}
{{- range $volumes | fromYamlArray }}{{ if or (hasKey . "emptyDir") (hasKey . "hostPath") }}{{ $fleeting = append $fleeting .name }}{{ end }}{{ end -}}
{{- /* Nothing on them is missed: a node that is hardly used may be emptied by the autoscaler. */}}
{{- $leaves := dict "cluster-autoscaler.kubernetes.io/safe-to-evict-local-volumes" (join "," $fleeting) -}}
metadata:
  labels:
    {{- include "sie.labels" . | nindent 4 }}
    {{- with merge (dict) ($own.podLabels | default dict) $common.podLabels }}
    {{- toYaml . | nindent 4 }}
    {{- end }}
  {{- with merge (dict) (.annotations | default dict) ($own.podAnnotations | default dict) $common.podAnnotations $leaves }}
  annotations: {{- toYaml . | nindent 4 }}
  {{- end }}
spec:
  serviceAccountName: {{ include "sie.account" . }}
  automountServiceAccountToken: false
  {{- with .shareProcessNamespace }}
  shareProcessNamespace: {{ . }}
  {{- end }}
  # A Service named sie-gateway would put SIE_GATEWAY_PORT=tcp://… into every pod.
  enableServiceLinks: false
  securityContext:
    runAsNonRoot: true
    runAsUser: 10001
    runAsGroup: 10001
    fsGroup: 10001
    fsGroupChangePolicy: OnRootMismatch
    seccompProfile: {type: RuntimeDefault}
  {{- with .root.Values.image.pullSecrets }}
  imagePullSecrets: {{- toYaml . | nindent 4 }}
  {{- end }}
  {{- with merge (dict) ($own.nodeSelector | default dict) $common.nodeSelector }}
  nodeSelector: {{- toYaml . | nindent 4 }}
  {{- end }}
  {{- with $own.tolerations | default $common.tolerations }}
  tolerations: {{- toYaml . | nindent 4 }}
  {{- end }}
  {{- with $own.affinity | default .affinity | default $common.affinity }}
  affinity: {{- toYaml . | nindent 4 }}
  {{- end }}
  {{- with $own.priorityClassName | default $common.priorityClassName }}
  priorityClassName: {{ . }}
  {{- end }}
  {{- with $own.runtimeClassName }}
  runtimeClassName: {{ . }}
  {{- end }}
  {{- with $own.topologySpreadConstraints | default $common.topologySpreadConstraints }}
  topologySpreadConstraints:
    {{- $pods := dict "labelSelector" (dict "matchLabels" (include "sie.selector" $ | fromYaml)) }}
    {{- range . }}
    - {{ hasKey . "labelSelector" | ternary . (merge (dict) . $pods) | toYaml | nindent 6 | trim }}
    {{- end }}
  {{- else }}
  topologySpreadConstraints:
    - maxSkew: 1
      topologyKey: kubernetes.io/hostname
      whenUnsatisfiable: ScheduleAnyway
      labelSelector:
        matchLabels: {{- include "sie.selector" . | nindent 10 }}
  {{- end }}
  {{- with .restartPolicy }}
  restartPolicy: {{ . }}
  {{- end }}
  terminationGracePeriodSeconds: {{ .grace }}
  {{- with .initContainers }}
  initContainers:
    {{- . | trim | nindent 4 }}
  {{- end }}
  containers:
    {{- .containers | trim | nindent 4 }}
  {{- $more := concat $common.extraVolumes ($own.extraVolumes | default list) }}
  {{- $all := concat ($volumes | fromYamlArray) $more }}
  {{- include "sie.twice" (list "name" $all .role "extraVolumes") }}
  {{- $there := list "data" }}{{ range $all }}{{ $there = append $there .name }}{{ end }}
  {{- range concat (.initContainers | default "" | fromYamlArray) (.containers | fromYamlArray) }}
  {{- range .volumeMounts }}
  {{- if not (has .name $there) }}{{ fail (printf "%s.extraVolumeMounts: there is no volume %s; name it in extraVolumes" $.role .name) }}{{ end }}
  {{- end }}
  {{- end }}
  volumes:
    {{- $volumes | nindent 4 }}
    {{- with $more }}
    {{- toYaml . | nindent 4 }}
    {{- end }}
{{- end }}

{{/* The volumes that every pod of a role has: its own, a folder to write to, its certificates. */}}
{{- define "sie.volumes" -}}
{{- $volumes := printf "- name: tmp\n  emptyDir: {}\n%s" (.volumes | default "" | trim) | trim }}
{{- if and .root.Values.tls.enabled (include "sie.tlsSecret" .) }}
{{- $volumes = printf "%s\n- name: tls\n  secret: {secretName: %s, defaultMode: 0440}" $volumes (include "sie.tlsSecret" .) }}
{{- end }}
{{- $volumes -}}
{{- end }}

{{/* Refuses a list in which two have one word under a key: (list KEY LIST ROLE VALUE). */}}
{{- define "sie.twice" -}}
{{- $seen := list -}}
{{- range index . 1 -}}
{{- $word := get . (index $ 0) -}}
{{- if has $word $seen }}{{ fail (printf "%s.%s: %s is there already" (index $ 2) (index $ 3) $word) }}{{ end -}}
{{- $seen = append $seen $word -}}
{{- end -}}
{{- end }}

{{/* The certificates of a role; that of `helm test` is a gateway's. Empty for one that has none. */}}
{{- define "sie.tlsSecret" -}}
{{- $role := eq .role "test" | ternary "gateway" .role -}}
{{- get .root.Values.tls.secrets $role -}}
{{- end }}

{{/* The service account of a role: its own, without rights, unless one is named. */}}
{{- define "sie.account" -}}
{{- (.values.serviceAccount | default dict).name | default (include "sie.name" .) -}}
{{- end }}

{{- define "sie.accountDocument" -}}
{{- $account := .values.serviceAccount | default dict -}}
{{- if not $account.name -}}
apiVersion: v1
kind: ServiceAccount
metadata:
  name: {{ include "sie.name" . }}
  labels: {{- include "sie.labels" . | nindent 4 }}
  {{- with $account.annotations }}
  annotations: {{- toYaml . | nindent 4 }}
  {{- end }}
automountServiceAccountToken: false
---
{{- end -}}
{{- end }}

{{/*
A container of one of our processes. Beside what a pod's dict has: process (config, gateway, worker,
server), image, port, own (its values), env and mounts (text of what it alone has), startup
(seconds), lifecycle.
*/}}
{{- define "sie.container" -}}
- name: {{ .process }}
  image: {{ include "sie.image" . }}
  imagePullPolicy: {{ .root.Values.image.pullPolicy }}
  {{- with .restartPolicy }}
  restartPolicy: {{ . }}
  {{- end }}
  env:
    {{- include "sie.env" . | trim | nindent 4 }}
  ports:
    - {name: http, containerPort: {{ .port }}}
  {{- with .lifecycle }}
  lifecycle: {{- toYaml . | nindent 4 }}
  {{- end }}
  startupProbe:
    httpGet: {path: /healthz, port: http, scheme: {{ include "sie.scheme" .root | upper }}}
    periodSeconds: 1
    failureThreshold: {{ .startup }}
  livenessProbe:
    httpGet: {path: /healthz, port: http, scheme: {{ include "sie.scheme" .root | upper }}}
    periodSeconds: 10
    timeoutSeconds: 5
    failureThreshold: 6
  readinessProbe:
    httpGet: {path: /readyz, port: http, scheme: {{ include "sie.scheme" .root | upper }}}
    periodSeconds: 2
    timeoutSeconds: 2
  {{- include "sie.containerEnd" . | nindent 2 }}
{{- end }}

{{/* What every container ends with: no rights, resources, mounts. */}}
{{- define "sie.containerEnd" -}}
securityContext:
  allowPrivilegeEscalation: false
  readOnlyRootFilesystem: true
  capabilities: {drop: [ALL]}
{{- include "sie.withinLimits" (dict "resources" .own.resources "where" (.where | default .role | trimSuffix ".env")) }}
resources: {{- toYaml .own.resources | nindent 2 }}
{{- $mounts := printf "- {name: tmp, mountPath: /tmp}\n%s" (.mounts | default "" | trim) | trim }}
{{- if and .root.Values.tls.enabled (include "sie.tlsSecret" .) }}
{{- $mounts = printf "%s\n- {name: tls, mountPath: /etc/sie/tls, readOnly: true}" $mounts }}
{{- end }}
{{- $more := concat .root.Values.pods.extraVolumeMounts (.own.extraVolumeMounts | default list) }}
{{- include "sie.twice" (list "mountPath" (concat ($mounts | fromYamlArray) $more) .role "extraVolumeMounts") }}
volumeMounts:
  {{- $mounts | nindent 2 }}
  {{- with $more }}
  {{- toYaml . | nindent 2 }}
  {{- end }}
{{- end }}
