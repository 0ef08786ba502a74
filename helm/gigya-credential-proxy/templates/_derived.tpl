{{- /* What follows from `config`: files that it names, peers that it talks to. Results are JSON. */ -}}

{{- define "proxy.serviceAccountDirectory" -}}/var/run/secrets/kubernetes.io/serviceaccount{{- end -}}

{{- /* Takes (node, path, found); puts every file that the configuration names into found: file -> where. */ -}}
{{- define "proxy.collectFiles" -}}
{{- $node := index . 0 -}}{{- $path := index . 1 -}}{{- $found := index . 2 -}}
{{- if kindIs "map" $node -}}
{{- range $key, $value := $node -}}
{{- $here := ternary $key (printf "%s.%s" $path $key) (eq $path "") -}}
{{- if and (kindIs "string" $value) (or (hasSuffix "_file" $key) (eq $key "file") (and (eq $key "path") (hasPrefix "audit.sinks" $path))) -}}
{{- $_ := set $found $value $here -}}
{{- else if and (hasSuffix "_files" $key) (kindIs "slice" $value) -}}
{{- range $value -}}{{- $_ := set $found . $here -}}{{- end -}}
{{- else -}}
{{- include "proxy.collectFiles" (list $value $here $found) -}}
{{- end -}}
{{- end -}}
{{- else if kindIs "slice" $node -}}
{{- range $at, $value := $node -}}
{{- include "proxy.collectFiles" (list $value (printf "%s[%d]" $path $at) $found) -}}
{{- end -}}
{{- end -}}
{{- end -}}

{{- define "proxy.files" -}}
{{- $found := dict -}}
{{- include "proxy.collectFiles" (list .Values.config "" $found) -}}
{{- toJson $found -}}
{{- end -}}

{{- /* Directories that something is mounted at. */ -}}
{{- define "proxy.mountPaths" -}}
{{- $paths := list (include "proxy.serviceAccountDirectory" .) -}}
{{- range .Values.secretMounts -}}{{- $paths = append $paths (printf "/secrets/%s" .name) -}}{{- end -}}
{{- if .Values.simulator.enabled -}}{{- $paths = append $paths "/secrets/simulator" -}}{{- end -}}
{{- if include "proxy.tlsSecret" . -}}{{- $paths = append $paths "/tls" -}}{{- end -}}
{{- if .Values.audit.volume -}}{{- $paths = append $paths "/audit" -}}{{- end -}}
{{- range .Values.extraVolumeMounts -}}{{- $paths = append $paths (trimSuffix "/" .mountPath) -}}{{- end -}}
{{- toJson $paths -}}
{{- end -}}

{{- /* Whether our own token, and the cluster's CA, are read. */ -}}
{{- define "proxy.needsToken" -}}
{{- if hasKey (include "proxy.files" . | fromJson) (printf "%s/token" (include "proxy.serviceAccountDirectory" .)) }}true{{ end -}}
{{- end -}}

{{- define "proxy.needsClusterCa" -}}
{{- if hasKey (include "proxy.files" . | fromJson) (printf "%s/ca.crt" (include "proxy.serviceAccountDirectory" .)) }}true{{ end -}}
{{- end -}}

{{- define "proxy.usesTokenReview" -}}
{{- range .Values.config.authentication }}{{ if eq .method "token_review" }}true{{ end }}{{ end -}}
{{- end -}}

{{- define "proxy.readsClusterKeys" -}}
{{- $token := printf "%s/token" (include "proxy.serviceAccountDirectory" .) -}}
{{- range .Values.config.authentication }}{{ if and (eq .method "jwt") (eq (.token_file | default "") $token) }}true{{ end }}{{ end -}}
{{- end -}}

{{- /* Takes a URL; its port. */ -}}
{{- define "proxy.portOf" -}}
{{- $url := urlParse . -}}
{{- $port := regexFind ":[0-9]+$" $url.host | trimPrefix ":" -}}
{{- default (ternary "443" "80" (eq $url.scheme "https")) $port -}}
{{- end -}}

{{- define "proxy.isApiServer" -}}
{{- if regexMatch "^kubernetes(\\.default(\\.svc(\\..+)?)?)?$" (regexReplaceAll ":[0-9]+$" (urlParse .).host "") }}true{{ end -}}
{{- end -}}

{{- /* Ports of issuers that are asked for keys, and "apiServer" if one of them is the API server. */ -}}
{{- define "proxy.issuerPorts" -}}
{{- $ports := list -}}
{{- range .Values.config.authentication -}}
{{- if and (eq .method "jwt") (not (dig "keys" "file" nil .)) -}}
{{- $url := default .issuer (dig "keys" "jwks_uri" nil .) -}}
{{- $ports = append $ports (ternary "apiServer" (include "proxy.portOf" $url) (eq (include "proxy.isApiServer" $url) "true")) -}}
{{- end -}}
{{- end -}}
{{- $ports | uniq | toJson -}}
{{- end -}}

{{- /* Ports by which Gigya is called directly: of sites without a simulator, where no proxy is in the way. */ -}}
{{- define "proxy.callsGigya" -}}
{{- range .Values.config.sites }}{{ if not .simulator }}true{{ end }}{{ end -}}
{{- end -}}

{{- /* Namespaces of callers, or nothing if not every identity names one. */ -}}
{{- define "proxy.callerNamespaces" -}}
{{- $ways := dict -}}
{{- range .Values.config.authentication -}}
{{- if or (eq .method "token_review") (eq (.kind | default "") "service_account") -}}{{- $_ := set $ways .name true -}}{{- end -}}
{{- end -}}
{{- $found := list -}}{{- $open := false -}}
{{- range .Values.config.callers -}}{{- range .identities -}}
{{- $namespace := splitList "/" (default .subject_pattern .subject) | first -}}
{{- if and (hasKey $ways .via) (not (contains "*" $namespace)) -}}
{{- $found = append $found $namespace -}}
{{- else -}}{{- $open = true -}}{{- end -}}
{{- end -}}{{- end -}}
{{- if $open -}}{{- $found = list -}}{{- end -}}
{{- $found | uniq | sortAlpha | toJson -}}
{{- end -}}
