{{- /* What the schema cannot say: values that would be insecure or broken. Each has a test. */ -}}
{{- define "proxy.refusals" -}}
{{- $config := .Values.config -}}
{{- $tls := dig "listeners" "api" "tls" nil $config -}}
{{- if and (not $tls) (not .Values.tls.acceptPlainHttp) -}}
{{- fail "config.listeners.api.tls is missing: answers hold tokens. Set it, or tls.acceptPlainHttp where a mesh encrypts" -}}
{{- end -}}
{{- if and $tls .Values.tls.acceptPlainHttp -}}
{{- fail "tls.acceptPlainHttp is set, but config.listeners.api.tls is too: take one of them out" -}}
{{- end -}}
{{- if and .Values.tls.secretName .Values.tls.certificate.enabled -}}
{{- fail "tls.secretName and tls.certificate.enabled are both set: take one of them" -}}
{{- end -}}
{{- if and .Values.tls.certificate.enabled (not .Values.tls.certificate.issuerRef.name) -}}
{{- fail "tls.certificate.issuerRef.name is missing: cert-manager must know who signs" -}}
{{- end -}}
{{- if and (include "proxy.tlsSecret" .) (not $tls) -}}
{{- fail "a TLS Secret is mounted at /tls, but config.listeners.api.tls does not use it" -}}
{{- end -}}
{{- range $name := list "api" "management" -}}
{{- $host := dig "listeners" $name "host" "0.0.0.0" $config -}}
{{- if or (hasPrefix "127." $host) (eq $host "::1") (eq $host "localhost") -}}
{{- fail (printf "config.listeners.%s.host is this pod alone: nobody would reach it" $name) -}}
{{- end -}}
{{- if eq (dig "listeners" $name "port" 1 $config | int) 0 -}}
{{- fail (printf "config.listeners.%s.port is 0: the Service could not name it" $name) -}}
{{- end -}}
{{- end -}}
{{- if eq (include "proxy.apiPort" .) (include "proxy.managementPort" .) -}}
{{- fail "config.listeners.management.port is the API's: metrics would be open to callers" -}}
{{- end -}}
{{- $mounts := include "proxy.mountPaths" . | fromJsonArray -}}
{{- range $file, $where := include "proxy.files" . | fromJson -}}
{{- $is := dict "mounted" false -}}
{{- range $mounts -}}{{- if hasPrefix (printf "%s/" .) $file -}}{{- $_ := set $is "mounted" true -}}{{- end -}}{{- end -}}
{{- if not $is.mounted -}}
{{- fail (printf "config.%s names a file that nothing mounts: %s" $where $file) -}}
{{- end -}}
{{- range $directory, $keys := include "proxy.projected" $ | fromJson -}}
{{- $name := trimPrefix (printf "%s/" $directory) $file -}}
{{- if and (ne $name $file) (not (has $name $keys)) -}}
{{- fail (printf "config.%s names a file that the mount at %s does not have: %s" $where $directory $name) -}}
{{- end -}}
{{- end -}}
{{- end -}}
{{- $names := list -}}
{{- range .Values.secretMounts -}}
{{- if has .name $names -}}{{- fail (printf "secretMounts has the name %s twice" .name) -}}{{- end -}}
{{- if and (eq .name "simulator") $.Values.simulator.enabled -}}{{- fail "secretMounts has the name simulator, which is the simulator's" -}}{{- end -}}
{{- $names = append $names .name -}}
{{- end -}}
{{- $simulated := false -}}
{{- range $name, $site := $config.sites -}}
{{- if $site.simulator -}}
{{- $simulated = true -}}
{{- if not $.Values.simulator.enabled -}}
{{- fail (printf "config.sites.%s is a simulator's, but simulator.enabled is false: no production release asks a simulator" $name) -}}
{{- end -}}
{{- $host := regexReplaceAll ":[0-9]+$" (urlParse $site.simulator.url).host "" -}}
{{- if not (has $host (list (include "proxy.simulatorName" $) (include "proxy.simulatorHost" $))) -}}
{{- fail (printf "config.sites.%s.simulator.url is not this release's simulator: https://%s:9321" $name (include "proxy.simulatorHost" $)) -}}
{{- end -}}
{{- end -}}
{{- end -}}
{{- if and .Values.simulator.enabled (not $simulated) -}}
{{- fail "simulator.enabled is set, but no site in config.sites has a simulator" -}}
{{- end -}}
{{- if and .Values.autoscaling.enabled (not (dig "requests" "cpu" nil .Values.resources)) -}}
{{- fail "autoscaling.enabled needs resources.requests.cpu: utilization is a share of it" -}}
{{- end -}}
{{- if and .Values.autoscaling.enabled (gt (int .Values.autoscaling.minReplicas) (int .Values.autoscaling.maxReplicas)) -}}
{{- fail "autoscaling.minReplicas is more than autoscaling.maxReplicas" -}}
{{- end -}}
{{- if and .Values.podSecurity.runAsUser (not .Values.podSecurity.fsGroup) -}}
{{- fail "podSecurity.fsGroup is null, but runAsUser is not: secrets of mode 0440 would be root's alone" -}}
{{- end -}}
{{- if eq .Values.image.tag "latest" -}}
{{- fail "image.tag latest is not a version: what runs would change without a release" -}}
{{- end -}}
{{- include "proxy.proberRefusals" . -}}
{{- include "proxy.sinkRefusals" . -}}
{{- if and .Values.audit.volume (not (regexMatch "\"/audit/" (include "proxy.files" .))) -}}
{{- fail "audit.volume is mounted at /audit, but no sink in config.audit.sinks is there" -}}
{{- end -}}
{{- end -}}

{{- define "proxy.proberRefusals" -}}
{{- $prober := .Values.prober -}}
{{- if $prober.enabled -}}
{{- range $key := list "site" "provider" "uid" -}}
{{- if not (index $prober $key) -}}{{- fail (printf "prober.%s is missing" $key) -}}{{- end -}}
{{- end -}}
{{- if not (hasKey .Values.config.sites $prober.site) -}}
{{- fail (printf "prober.site is not in config.sites: %s" $prober.site) -}}
{{- end -}}
{{- if dig "listeners" "api" "tls" "client_ca_file" nil .Values.config -}}
{{- fail "prober.enabled is set, but config.listeners.api.tls.client_ca_file asks for a certificate, and the prober has none" -}}
{{- end -}}
{{- if not $prober.tokenSecret -}}
{{- $ways := include "proxy.proberWays" . | fromJsonArray -}}
{{- if not $ways -}}
{{- fail (printf "prober.tokenSecret is empty, and nothing in config.authentication takes a service account's token for %s" $prober.audience) -}}
{{- end -}}
{{- $account := printf "%s-prober" (include "proxy.fullname" .) -}}
{{- $subjects := list (printf "%s/%s" .Release.Namespace $account) (printf "system:serviceaccount:%s:%s" .Release.Namespace $account) -}}
{{- $is := dict "known" false -}}
{{- range .Values.config.callers -}}{{- range .identities -}}
{{- if has .via $ways -}}
{{- $pattern := regexQuoteMeta (default .subject .subject_pattern) | replace "\\*" "[^/]*" | printf "^%s$" -}}
{{- range $subjects -}}{{- if regexMatch $pattern . -}}{{- $_ := set $is "known" true -}}{{- end -}}{{- end -}}
{{- end -}}
{{- end -}}{{- end -}}
{{- if not $is.known -}}
{{- fail (printf "no caller in config.callers is the prober: its subject is %s" (first $subjects)) -}}
{{- end -}}
{{- end -}}
{{- end -}}
{{- end -}}

{{- define "proxy.sinkRefusals" -}}
{{- $secrets := include "proxy.secretPaths" . | fromJsonArray -}}
{{- $readOnly := $secrets -}}
{{- range .Values.extraVolumeMounts -}}
{{- if .readOnly -}}{{- $readOnly = append $readOnly (trimSuffix "/" .mountPath) -}}{{- end -}}
{{- end -}}
{{- range $at, $sink := dig "audit" "sinks" list .Values.config -}}
{{- range ternary $readOnly $secrets (eq $sink.type "file") -}}
{{- if hasPrefix (printf "%s/" .) (default "" $sink.path) -}}
{{- fail (printf "config.audit.sinks[%d].path is in a mount that is read-only: %s" $at .) -}}
{{- end -}}
{{- end -}}
{{- end -}}
{{- end -}}
