{{- define "proxy.simulatorName" -}}
{{- printf "%s-simulator" (include "proxy.fullname" .) -}}
{{- end -}}

{{- define "proxy.simulatorHost" -}}
{{- printf "%s.%s.svc" (include "proxy.simulatorName" .) .Release.Namespace -}}
{{- end -}}

{{- /* Throwaway keys: those that are there already, else made. Where nothing can be looked up (helm template, Argo CD) they are made at each render. */ -}}
{{- define "proxy.simulatorKeys" -}}
{{- $name := include "proxy.simulatorName" . -}}
{{- $there := lookup "v1" "Secret" .Release.Namespace $name -}}
{{- if $there -}}
{{- toJson $there.data -}}
{{- else -}}
{{- $host := include "proxy.simulatorHost" . -}}
{{- $authority := genCA "Gigya simulator, staging" 3650 -}}
{{- $certificate := genSignedCert $host nil (list $host $name "localhost") 3650 $authority -}}
{{- dict
  "ca.pem" (b64enc $authority.Cert)
  "server.pem" (b64enc $certificate.Cert)
  "server-key.pem" (b64enc $certificate.Key)
  "user-key.pem" (genPrivateKey "rsa" | b64enc)
  "partner-secret" (randBytes 32 | b64enc)
  "user-secret" (randBytes 32 | b64enc)
  "audit-key" (randBytes 32 | b64enc) | toJson -}}
{{- end -}}
{{- end -}}

{{- /* Ports by which sites name it. */ -}}
{{- define "proxy.simulatorPorts" -}}
{{- $ports := list -}}
{{- range .Values.config.sites -}}
{{- if .simulator -}}{{- $ports = append $ports (include "proxy.portOf" .simulator.url) -}}{{- end -}}
{{- end -}}
{{- $ports | uniq | toJson -}}
{{- end -}}
