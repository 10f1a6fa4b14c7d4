{{/* What no schema can say: values that hold each for itself and cannot work together. */}}
{{- define "sie.checks" -}}
{{- $values := .Values -}}
{{- /* With --reuse-values the older chart's defaults stand in for these, and a new one would be nothing. */ -}}
{{- range $path := .Files.Get "files/values.txt" | trim | splitList "\n" -}}
{{- $at := $values -}}
{{- range $part := splitList "." $path -}}
{{- if not (hasKey $at $part) }}{{ fail (printf "%s is not among the values: those of an older chart were reused, or it was set to null. Upgrade with --reset-then-reuse-values, which takes your own values and this chart's defaults" $path) }}{{ end -}}
{{- $at = get $at $part -}}
{{- end -}}
{{- end -}}
{{- /* Helm takes other names, and the cluster refuses the Services of such a release half-way. */ -}}
{{- if not (regexMatch "^[a-z]([a-z0-9-]*[a-z0-9])?$" (include "sie.fullname" .)) }}{{ fail (printf "a release's name is of small letters, digits and -, and begins with a letter: its Services are named by it (%s)" (include "sie.fullname" .)) }}{{ end -}}
{{- with $values.gateway.autoscaling -}}
{{- if gt (int .min) (int .max) }}{{ fail (printf "gateway.autoscaling.min (%d) is above max (%d)" (int .min) (int .max)) }}{{ end -}}
{{- if and .enabled (not (dig "requests" "cpu" "" $values.gateway.resources)) }}{{ fail "gateway.resources.requests.cpu is wanted where gateway.autoscaling.enabled is true: gateways are counted by their share of it" }}{{ end -}}
{{- end -}}
{{- $kinds := dict -}}
{{- range $kind, $worker := $values.workers -}}
{{- $place := printf "%s/%s/%s" $worker.pool $worker.machineProfile $worker.bundle -}}
{{- if and $values.keda.enabled (hasKey $kinds $place) }}{{ fail (printf "workers.%s and workers.%s are one kind (%s): KEDA would start both for each request. Give one another pool or machineProfile" (get $kinds $place) $kind $place) }}{{ end -}}
{{- $_ := set $kinds $place $kind -}}
{{- $min := ($worker.scaling | default dict).min | default 0 | int -}}
{{- $max := ($worker.scaling | default dict).max | default 4 | int -}}
{{- if gt $min $max }}{{ fail (printf "workers.%s.scaling.min (%d) is above max (%d)" $kind $min $max) }}{{ end -}}
{{- range $name, $count := (($worker.server.resources | default dict).limits | default dict) -}}
{{- if and (hasSuffix ".com/gpu" $name) (gt (int $count) 1) }}{{ fail (printf "workers.%s.server.resources: %s is %d, and model execution runs on one device: more workers, not more of them for each" $kind $name (int $count)) }}{{ end -}}
{{- end -}}
{{- $image := $worker.server.image | default "server" -}}
{{- if and (eq $worker.bundle "gliner") (ne $image "server-gliner") }}
{{- fail (printf "workers.%s is of the bundle gliner: its packages are in workers.%s.server.image=server-gliner alone" $kind $kind) }}
{{- end -}}
{{- end -}}
{{- with $values.tls -}}
{{- if .enabled -}}
{{- range $role, $secret := .secrets -}}
{{- if and (not $secret) (or (ne $role "nats") $values.nats.enabled) }}{{ fail (printf "tls.secrets.%s is wanted where tls.enabled is true" $role) }}{{ end -}}
{{- end -}}
{{- if and .mutual $values.serviceMonitor.enabled (not .monitoringSecret) }}{{ fail "tls.monitoringSecret is wanted where tls.mutual is true: without a certificate nothing can be scraped" }}{{ end -}}
{{- else if .mutual }}{{ fail "tls.mutual is used only with tls.enabled=true" }}
{{- end -}}
{{- end -}}
{{- with $values.hfToken -}}
{{- if and .create .existingSecret }}{{ fail "hfToken.create makes a Secret, and hfToken.existingSecret names another: give one of them" }}{{ end -}}
{{- if and .create (not .value) }}{{ fail "hfToken.value is wanted where hfToken.create is true" }}{{ end -}}
{{- if and .value (not .create) }}{{ fail "hfToken.value is used only with hfToken.create=true" }}{{ end -}}
{{- end -}}
{{- range $name, $from := $values.hubTokens -}}
{{- if hasSuffix "-file" $name }}{{ fail (printf "hubTokens.%s: a secret's name does not end in -file" $name) }}{{ end -}}
{{- end -}}
{{- if and $values.hubTokens (not $values.networkPolicy.hub) }}{{ fail "hubTokens are used only with networkPolicy.hub=true: without it no hub is asked" }}{{ end -}}
{{- with $values.nats -}}
{{- if and .enabled .url }}{{ fail "nats.url names a broker of your own: set nats.enabled=false with it" }}{{ end -}}
{{- if not (or .enabled .url) }}{{ fail "nats.url is wanted where nats.enabled is false" }}{{ end -}}
{{- if .enabled -}}
{{- /* Beside what is set apart: queues, leases and the log's stream. In 256 MiB are 100,000 jobs of 2.6 KB. */ -}}
{{- $wanted := add (include "sie.natsBytesReserved" $ | int64) 268435456 -}}
{{- if lt (include "sie.natsBytesMax" $ | int64) $wanted }}{{ fail (printf "nats.persistence.size (%s) is too small: a broker uses nine tenths of it and sets apart room for large jobs and dead letters, so the queues would not be made. Give it %dMi or more, or hold large jobs to less with config.env.SIE_CONFIG_PAYLOAD_STORE_BYTES_MAX" (toString .persistence.size) (divf $wanted 0.9 1048576 | ceil | int64)) }}{{ end -}}
{{- $name := include "sie.name" (dict "root" $ "role" "nats") -}}
{{- /* Nothing is found where templates are rendered without the cluster. */ -}}
{{- $there := lookup "apps/v1" "StatefulSet" $.Release.Namespace $name | default dict -}}
{{- $before := dig "spec" "replicas" 0 $there | int -}}
{{- if and $before (ne (gt $before 1) (gt (int .replicas) 1)) }}{{ fail (printf "nats.replicas is %d in the cluster and %d here: a lone broker and several do not read each other's store, and dead letters are lost. Run those again that you need (sie dlq ls), then: kubectl -n %s delete statefulset %s, and upgrade" $before (int .replicas) $.Release.Namespace $name) }}{{ end -}}
{{- end -}}
{{- end -}}
{{- with $values.auth -}}
{{- if and .existingSecret $values.serviceMonitor.enabled (not $values.serviceMonitor.tokenSecret) }}
{{- fail "serviceMonitor.tokenSecret is wanted where auth.existingSecret is set: without a token of the role metrics nothing can be scraped" }}
{{- end -}}
{{- end -}}
{{- with $values.expose -}}
{{- $enabled := or .ingress.enabled .gatewayApi.enabled -}}
{{- $makes := and .gatewayApi.enabled (not .gatewayApi.parentRefs) -}}
{{- if and $enabled (not .host) }}{{ fail "expose.host is wanted: the name that clients call the gateways by" }}{{ end -}}
{{- if and (not $enabled) (or .host .configHost) }}{{ fail "expose.host and expose.configHost are used only with expose.ingress.enabled or expose.gatewayApi.enabled" }}{{ end -}}
{{- if and .host (eq .host .configHost) }}{{ fail "expose.host and expose.configHost are two services: give each a name of its own" }}{{ end -}}
{{- if and $enabled (not .tlsSecret) (not .tlsElsewhere) }}{{ fail "expose.tlsSecret is wanted: tokens never travel in the clear. expose.tlsElsewhere=true says that the certificate is named by an annotation or at a Gateway" }}{{ end -}}
{{- if and $makes (not .tlsSecret) }}{{ fail "expose.tlsSecret is wanted for the Gateway that the chart makes; expose.gatewayApi.parentRefs names one that is there" }}{{ end -}}
{{- if and $makes (not .gatewayApi.className) }}{{ fail "expose.gatewayApi.className is wanted, or parentRefs with a Gateway that is there" }}{{ end -}}
{{- if and $enabled .configHost $values.networkPolicy.enabled (not $values.networkPolicy.operators) }}
{{- fail "networkPolicy.operators is wanted where expose.configHost is set: without it the proxy outside cannot reach sie-config" }}
{{- end -}}
{{- if and $enabled .configHost (not $values.auth.existingSecret) }}
{{- fail "auth.existingSecret is wanted where expose.configHost is set: everybody outside could change the configuration" }}
{{- end -}}
{{- end -}}
{{- end }}

{{/* Refuses requests above their limits: (dict resources where). */}}
{{- define "sie.withinLimits" -}}
{{- $limits := .resources.limits | default dict -}}
{{- range $name, $wanted := .resources.requests | default dict -}}
{{- with get $limits $name -}}
{{- if gt (include "sie.number" $wanted | float64) (include "sie.number" . | float64) -}}
{{- fail (printf "%s.resources: requests.%s (%v) is above limits.%s (%v), so no pod could be made" $.where $name $wanted $name .) -}}
{{- end -}}
{{- end -}}
{{- end -}}
{{- end }}

{{/* A quantity of Kubernetes as a number. */}}
{{- define "sie.number" -}}
{{- $told := kindIs "string" . | ternary . (toJson .) -}}
{{- $unit := get (dict "" 1 "m" 1e-3 "k" 1e3 "M" 1e6 "G" 1e9 "T" 1e12 "P" 1e15 "E" 1e18 "Ki" 1024 "Mi" 1048576 "Gi" 1073741824 "Ti" 1099511627776 "Pi" 1125899906842624 "Ei" 1152921504606846976) (regexFind "[A-Za-z]*$" $told) -}}
{{- /* "1e9" has an exponent, "1E" a unit. */ -}}
{{- mulf (regexFind "^[0-9.]+([eE][+]?[0-9]+)?" $told | float64) ($unit | float64) -}}
{{- end }}
