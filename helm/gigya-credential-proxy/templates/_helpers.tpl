{{- /* 45 characters, as a CronJob's name may have 52 and "-prober" is one of them. */ -}}
{{- define "proxy.fullname" -}}
{{- if .Values.fullnameOverride -}}
{{- .Values.fullnameOverride | trunc 45 | trimSuffix "-" -}}
{{- else -}}
{{- $name := default .Chart.Name .Values.nameOverride -}}
{{- if contains $name .Release.Name -}}
{{- .Release.Name | trunc 45 | trimSuffix "-" -}}
{{- else -}}
{{- printf "%s-%s" .Release.Name $name | trunc 45 | trimSuffix "-" -}}
{{- end -}}
{{- end -}}
{{- end -}}

{{- /* Takes (root, component); what selects the pods of a component. */ -}}
{{- define "proxy.selector" -}}
{{- $root := index . 0 -}}
app.kubernetes.io/name: {{ default $root.Chart.Name $root.Values.nameOverride | trunc 50 | trimSuffix "-" | quote }}
app.kubernetes.io/instance: {{ $root.Release.Name | quote }}
app.kubernetes.io/component: {{ index . 1 }}
{{- end -}}

{{- /* Takes (root, component, more labels...); ours go before all others, so that selectors hold. */ -}}
{{- define "proxy.labels" -}}
{{- $root := index . 0 -}}
{{- $labels := dict
  "app.kubernetes.io/version" $root.Chart.AppVersion
  "app.kubernetes.io/managed-by" $root.Release.Service
  "helm.sh/chart" (printf "%s-%s" $root.Chart.Name $root.Chart.Version | replace "+" "_") -}}
{{- $labels = merge $labels (include "proxy.selector" . | fromYaml) -}}
{{- range slice . 2 -}}{{- $labels = merge $labels . -}}{{- end -}}
{{- merge $labels $root.Values.commonLabels | toYaml -}}
{{- end -}}

{{- /* Labels of pods: without versions, so that a new chart alone restarts nothing. */ -}}
{{- define "proxy.podLabels" -}}
{{- $labels := include "proxy.selector" . | fromYaml -}}
{{- range slice . 2 -}}{{- $labels = merge $labels . -}}{{- end -}}
{{- merge $labels (index . 0).Values.commonLabels | toYaml -}}
{{- end -}}

{{- /* Takes (root, component, suffix of the name, more labels...); name, namespace and labels of an object. */ -}}
{{- define "proxy.metadata" -}}
{{- $root := index . 0 -}}
name: {{ include "proxy.fullname" $root }}{{ index . 2 }}
namespace: {{ $root.Release.Namespace }}
labels:
  {{- include "proxy.labels" (concat (list $root (index . 1)) (slice . 3)) | nindent 2 }}
{{- end -}}

{{- define "proxy.image" -}}
{{- $image := .Values.image -}}
{{- if $image.digest -}}
{{ $image.repository }}@{{ $image.digest }}
{{- else -}}
{{ $image.repository }}:{{ default .Chart.AppVersion $image.tag }}
{{- end -}}
{{- end -}}

{{- define "proxy.serviceAccountName" -}}
{{- if .Values.serviceAccount.create -}}
{{ default (include "proxy.fullname" .) .Values.serviceAccount.name }}
{{- else -}}
{{ required "serviceAccount.name is needed where serviceAccount.create is false" .Values.serviceAccount.name }}
{{- end -}}
{{- end -}}

{{- define "proxy.tlsSecret" -}}
{{- if .Values.tls.certificate.enabled -}}
{{ include "proxy.fullname" . }}-tls
{{- else -}}
{{ .Values.tls.secretName }}
{{- end -}}
{{- end -}}

{{- define "proxy.hasTls" -}}
{{- if dig "listeners" "api" "tls" nil .Values.config }}true{{ end -}}
{{- end -}}

{{- define "proxy.apiPort" -}}
{{- dig "listeners" "api" "port" 8080 .Values.config | int -}}
{{- end -}}

{{- define "proxy.managementPort" -}}
{{- dig "listeners" "management" "port" 9090 .Values.config | int -}}
{{- end -}}

{{- define "proxy.servicePort" -}}
{{- $ours := ternary 443 80 (eq (include "proxy.hasTls" .) "true") -}}
{{- default $ours .Values.service.port | int -}}
{{- end -}}

{{- define "proxy.url" -}}
{{- $scheme := ternary "https" "http" (eq (include "proxy.hasTls" .) "true") -}}
{{ $scheme }}://{{ include "proxy.fullname" . }}.{{ .Release.Namespace }}.svc:{{ include "proxy.servicePort" . }}
{{- end -}}

{{- /* What of the configuration a running pod cannot take (service/settings/reload.py has the rest). */ -}}
{{- define "proxy.fixedConfig" -}}
{{- $fixed := omit .Values.config "callers" "logging" -}}
{{- $logging := omit (default dict .Values.config.logging) "level" -}}
{{- merge (dict "logging" $logging) $fixed | toJson -}}
{{- end -}}

{{- /* Seconds from SIGTERM until the kubelet kills. */ -}}
{{- define "proxy.terminationGracePeriod" -}}
{{- $delay := dig "shutdown" "delay" 5 .Values.config -}}
{{- $drain := dig "shutdown" "drain" 25 .Values.config -}}
{{- ceil (addf $delay $drain .Values.terminationMargin) | int -}}
{{- end -}}

{{- define "proxy.podSecurity" -}}
runAsNonRoot: true
{{- range $key := list "runAsUser" "runAsGroup" "fsGroup" }}
{{- with index $.Values.podSecurity $key }}
{{ $key }}: {{ int . }}
{{- end }}
{{- end }}
{{- if .Values.podSecurity.fsGroup }}
fsGroupChangePolicy: OnRootMismatch
{{- end }}
seccompProfile:
  type: RuntimeDefault
{{- end -}}

{{- define "proxy.containerSecurity" -}}
allowPrivilegeEscalation: false
readOnlyRootFilesystem: true
capabilities:
  drop: [ALL]
{{- end -}}

{{- define "proxy.pod" -}}
automountServiceAccountToken: false
enableServiceLinks: false
{{- with .Values.imagePullSecrets }}
imagePullSecrets:
  {{- toYaml . | nindent 2 }}
{{- end }}
securityContext:
  {{- include "proxy.podSecurity" . | nindent 2 }}
{{- end -}}

{{- define "proxy.container" -}}
image: {{ include "proxy.image" . }}
imagePullPolicy: {{ .Values.image.pullPolicy }}
securityContext:
  {{- include "proxy.containerSecurity" . | nindent 2 }}
{{- end -}}
