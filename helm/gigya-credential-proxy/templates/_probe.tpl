{{- /* Takes (root, component); a pod that asks with its own projected token. */ -}}
{{- define "proxy.probePod" -}}
{{- $root := index . 0 -}}
{{- include "proxy.pod" $root }}
serviceAccountName: {{ include "proxy.fullname" $root }}-prober
restartPolicy: Never
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
    resources:
      requests: {cpu: 10m, memory: 64Mi}
      limits: {memory: 128Mi}
    volumeMounts:
      - {name: token, mountPath: /token, readOnly: true}
      {{- include "proxy.caMount" $root | nindent 6 }}
volumes:
  - name: token
    projected:
      defaultMode: 0440
      sources:
        - serviceAccountToken: {path: token, expirationSeconds: 3600, audience: {{ $root.Values.prober.audience }}}
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
