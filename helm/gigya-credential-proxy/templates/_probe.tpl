{{- define "proxy.proberStays" -}}
{{- if eq (default (ternary "Deployment" "CronJob" .Values.serviceMonitor.enabled) .Values.prober.kind) "Deployment" }}true{{ end -}}
{{- end -}}

{{- /* Takes (root, whether it stays); a pod that asks with its own projected token. */ -}}
{{- define "proxy.probePod" -}}
{{- $root := index . 0 -}}
{{- $stays := index . 1 -}}
{{- include "proxy.pod" $root }}
serviceAccountName: {{ include "proxy.fullname" $root }}-prober
restartPolicy: {{ ternary "Always" "Never" $stays }}
containers:
  - name: probe
    {{- include "proxy.container" $root | nindent 4 }}
    args:
      - probe
      - --url={{ include "proxy.url" $root }}
      - --token-file=/token/token
      - --site={{ $root.Values.prober.site }}
      - --provider={{ $root.Values.prober.provider }}
      - --uid={{ $root.Values.prober.uid }}
      {{- with include "proxy.caFile" $root }}
      - --ca-file={{ . }}
      - --ca-file-may-be-absent
      {{- end }}
      {{- if not $root.Values.prober.tokenSecret }}
      - --other-audience-token-file=/token/other
      {{- end }}
      {{- if $stays }}
      - --every={{ int $root.Values.prober.interval }}
      - --metrics-port=9090
    ports:
      - {name: management, containerPort: 9090, protocol: TCP}
    livenessProbe:
      httpGet: {path: /metrics, port: management}
      {{- end }}
    resources:
      requests: {cpu: 10m, memory: 64Mi}
      limits: {memory: 128Mi}
    volumeMounts:
      - {name: token, mountPath: /token, readOnly: true}
      {{- include "proxy.caMount" $root | nindent 6 }}
volumes:
  - name: token
    {{- with $root.Values.prober.tokenSecret }}
    secret: {secretName: {{ . }}, defaultMode: 0440, items: [{key: token, path: token}]}
    {{- else }}
    projected:
      defaultMode: 0440
      sources:
        - serviceAccountToken: {path: token, expirationSeconds: 3600, audience: {{ $root.Values.prober.audience }}}
        - serviceAccountToken: {path: other, expirationSeconds: 3600, audience: {{ $root.Values.prober.audience }}-other}
    {{- end }}
  {{- include "proxy.caVolume" $root | nindent 2 }}
{{- end -}}

{{- /* Whom to believe at the API port, if anything may hold it. */ -}}
{{- define "proxy.caFile" -}}
{{- if and .Values.tests.caKey (include "proxy.hasTls" .) (or .Values.tests.caConfigMap (include "proxy.tlsSecret" .)) -}}
/tls/{{ .Values.tests.caKey }}
{{- end -}}
{{- end -}}

{{- define "proxy.caMount" -}}
{{- if include "proxy.caFile" . -}}
- {name: tls, mountPath: /tls, readOnly: true}
{{- end -}}
{{- end -}}

{{- define "proxy.caVolume" -}}
{{- if include "proxy.caFile" . -}}
- name: tls
  {{- if .Values.tests.caConfigMap }}
  configMap:
    name: {{ .Values.tests.caConfigMap }}
  {{- else }}
  secret:
    secretName: {{ include "proxy.tlsSecret" . }}
    defaultMode: 0440
  {{- end }}
    # The CA alone, never the key. A certificate of a public authority comes without one.
    items: [{key: {{ .Values.tests.caKey | quote }}, path: {{ .Values.tests.caKey | quote }}}]
    optional: true
{{- end -}}
{{- end -}}
