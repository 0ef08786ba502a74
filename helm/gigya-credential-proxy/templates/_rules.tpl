{{- /* The shipped rules with this release's numbers and links; files/rules.yaml names each. */ -}}
{{- define "proxy.rules" -}}
{{- $values := .Values.prometheusRule -}}
{{- $pods := ternary .Values.autoscaling.minReplicas .Values.replicaCount .Values.autoscaling.enabled -}}
{{- $numbers := dict
  "credential_proxy:slo_budget:ratio availability" (subf 1.0 $values.objectives.availability)
  "credential_proxy:slo_budget:ratio latency" (subf 1.0 $values.objectives.latency)
  "credential_proxy:threshold replicas" (ternary $pods $values.minReplicas (kindIs "invalid" $values.minReplicas))
  "credential_proxy:threshold denials_per_minute" $values.ceilings.denialsPerMinute
  "credential_proxy:ceiling:hour releases" $values.ceilings.releases
  "credential_proxy:ceiling:hour users" $values.ceilings.users
-}}
{{- $rules := .Files.Get "files/rules.yaml" | fromYaml -}}
{{- range $group := $rules.groups -}}
{{- range $rule := $group.rules -}}
{{- if $rule.alert -}}
{{- $_ := set $rule.annotations "runbook_url" (printf "%s/%s.md" (trimSuffix "/" $values.runbookUrlPrefix) $rule.alert) -}}
{{- else -}}
{{- $labels := default dict $rule.labels -}}
{{- $name := printf "%s %s" $rule.record (default "" (or $labels.slo $labels.of)) -}}
{{- if hasKey $numbers $name -}}
{{- $_ := set $rule "expr" (printf "vector(%v)" (get $numbers $name)) -}}
{{- end -}}
{{- end -}}
{{- end -}}
{{- end -}}
{{- $rules | toYaml -}}
{{- end -}}
