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

{{- /* Directories that hold secrets, which are read-only. */ -}}
{{- define "proxy.secretPaths" -}}
{{- $paths := list (include "proxy.serviceAccountDirectory" .) -}}
{{- range .Values.secretMounts -}}{{- $paths = append $paths (printf "/secrets/%s" .name) -}}{{- end -}}
{{- if .Values.simulator.enabled -}}{{- $paths = append $paths "/secrets/simulator" -}}{{- end -}}
{{- if include "proxy.tlsSecret" . -}}{{- $paths = append $paths "/tls" -}}{{- end -}}
{{- toJson $paths -}}
{{- end -}}

{{- /* What the simulator's Secret gives to the proxy. */ -}}
{{- define "proxy.simulatorFiles" -}}
{{- list "ca.pem" "partner-secret" "user-secret" "user-key.pem" "audit-key" | toJson -}}
{{- end -}}

{{- /* The files of those directories whose files are known: directory -> names. */ -}}
{{- define "proxy.projected" -}}
{{- $known := dict (include "proxy.serviceAccountDirectory" .) (list "token" "ca.crt") -}}
{{- range .Values.secretMounts -}}
{{- if .items -}}
{{- $paths := list -}}{{- range .items -}}{{- $paths = append $paths .path -}}{{- end -}}
{{- $_ := set $known (printf "/secrets/%s" .name) $paths -}}
{{- end -}}
{{- end -}}
{{- if .Values.simulator.enabled -}}
{{- $_ := set $known "/secrets/simulator" (include "proxy.simulatorFiles" . | fromJsonArray) -}}
{{- end -}}
{{- toJson $known -}}
{{- end -}}

{{- /* Names of the ways that take a token for the prober's audience. */ -}}
{{- define "proxy.proberWays" -}}
{{- $ways := list -}}
{{- range .Values.config.authentication -}}
{{- $audiences := ternary (list (.audience | default "")) (.audiences | default list) (eq .method "token_review") -}}
{{- if has $.Values.prober.audience $audiences -}}{{- $ways = append $ways .name -}}{{- end -}}
{{- end -}}
{{- toJson $ways -}}
{{- end -}}

{{- /* Directories that something is mounted at. */ -}}
{{- define "proxy.mountPaths" -}}
{{- $paths := include "proxy.secretPaths" . | fromJsonArray -}}
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

{{- /* Takes a row of authentication; the URL of the API server that is asked for reviews. */ -}}
{{- define "proxy.reviewer" -}}
{{- .api_server | default "https://kubernetes.default.svc" -}}
{{- end -}}

{{- /* Whether this cluster's API server is asked for reviews: another cluster's knows no account of ours. */ -}}
{{- define "proxy.usesTokenReview" -}}
{{- range .Values.config.authentication }}{{ if eq .method "token_review" }}{{ include "proxy.isApiServer" (include "proxy.reviewer" .) }}{{ end }}{{ end -}}
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

{{- /* URLs that are asked who a caller is: API servers for reviews, issuers for keys. */ -}}
{{- define "proxy.authorities" -}}
{{- $urls := list -}}
{{- range .Values.config.authentication -}}
{{- if eq .method "token_review" -}}
{{- $urls = append $urls (include "proxy.reviewer" .) -}}
{{- else if and (eq .method "jwt") (not (dig "keys" "file" nil .)) -}}
{{- $urls = append $urls (default .issuer (dig "keys" "jwks_uri" nil .)) -}}
{{- end -}}
{{- end -}}
{{- toJson $urls -}}
{{- end -}}

{{- /* Ports of this cluster's API server, if it is one of them: as values have them, and as a URL names them. */ -}}
{{- define "proxy.apiServerPorts" -}}
{{- $ports := list -}}
{{- range include "proxy.authorities" . | fromJsonArray -}}
{{- if include "proxy.isApiServer" . -}}
{{- $ports = concat $ports $.Values.networkPolicy.apiServerPorts (list (include "proxy.portOf" . | int)) -}}
{{- end -}}
{{- end -}}
{{- $whole := list -}}{{- range $ports -}}{{- $whole = append $whole (int .) -}}{{- end -}}
{{- $whole | uniq | toJson -}}
{{- end -}}

{{- /* Ports of the others. */ -}}
{{- define "proxy.issuerPorts" -}}
{{- $ports := list -}}
{{- range include "proxy.authorities" . | fromJsonArray -}}
{{- if not (include "proxy.isApiServer" .) -}}{{- $ports = append $ports (include "proxy.portOf" .) -}}{{- end -}}
{{- end -}}
{{- $ports | uniq | toJson -}}
{{- end -}}

{{- /* Values of networkPolicy that are empty although something goes out by them: to anywhere. */ -}}
{{- define "proxy.openPeers" -}}
{{- $needed := dict
  "apiServer" (include "proxy.apiServerPorts" . | fromJsonArray)
  "issuers" (include "proxy.issuerPorts" . | fromJsonArray)
  "proxy" (dig "upstream" "proxy_url" nil .Values.config)
  "otlp" (dig "tracing" "endpoint" nil .Values.config) -}}
{{- $open := list -}}
{{- range $key, $is := $needed -}}
{{- if and $is (not (index $.Values.networkPolicy $key)) -}}{{- $open = append $open (printf "networkPolicy.%s" $key) -}}{{- end -}}
{{- end -}}
{{- toJson $open -}}
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
