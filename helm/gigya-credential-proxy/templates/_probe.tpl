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
      {{- if and (include "proxy.tlsSecret" $root) $root.Values.tests.caKey }}
      - --ca-file=/tls/{{ $root.Values.tests.caKey }}
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

{{- /* The CA of the API port alone, never its key. */ -}}
{{- define "proxy.caMount" -}}
{{- if and (include "proxy.tlsSecret" .) .Values.tests.caKey -}}
- {name: tls, mountPath: /tls, readOnly: true}
{{- end -}}
{{- end -}}

{{- define "proxy.caVolume" -}}
{{- if and (include "proxy.tlsSecret" .) .Values.tests.caKey -}}
- name: tls
  secret:
    secretName: {{ include "proxy.tlsSecret" . }}
    defaultMode: 0440
    items: [{key: {{ .Values.tests.caKey }}, path: {{ .Values.tests.caKey }}}]
{{- end -}}
{{- end -}}
