{{- /* The entries of the Secret that this installation needs, by the setting that reads each from a file. */ -}}
{{- define "gateway.secretKeys" -}}
{{- $keys := .Values.existingSecret.keys -}}
{{- $needed := dict -}}
{{- $postgresql := include "gateway.onPostgresql" . -}}
{{- if or $postgresql (eq .Values.mode "gateway") -}}
{{- $_ := set $needed "GATEWAY_MASTER_KEY_FILE" $keys.masterKey -}}
{{- end -}}
{{- if $keys.previousMasterKey -}}
{{- $_ := set $needed "GATEWAY_PREVIOUS_MASTER_KEY_FILE" $keys.previousMasterKey -}}
{{- end -}}
{{- if $keys.adminToken -}}
{{- $_ := set $needed "GATEWAY_ADMIN_TOKEN_FILE" $keys.adminToken -}}
{{- end -}}
{{- if $postgresql -}}
{{- $_ := set $needed "DATABASE_URL_FILE" $keys.databaseUrl -}}
{{- end -}}
{{- if eq .Values.mode "sidecar" -}}
{{- $_ := set $needed "PHOTOGPT_API_KEY_FILE" $keys.apiKey -}}
{{- $_ := set $needed "GATEWAY_TOKEN_FILE" $keys.token -}}
{{- end -}}
{{- $needed | toJson -}}
{{- end -}}

{{- /* A volume of some of its entries. Takes (dict "root" $ "keys" (dict SETTING KEY ...)). */ -}}
{{- define "gateway.secrets" -}}
- name: secrets
  secret:
    secretName: {{ required "existingSecret.name: name a Secret that has the keys (README.md)" .root.Values.existingSecret.name }}
    defaultMode: 0440
    items:
      {{- range $setting, $key := .keys }}
      - key: {{ required (printf "existingSecret.keys: %s has no name" $setting) $key }}
        path: {{ $key }}
      {{- end }}
{{- end -}}

{{- /* Takes (dict "root" $ "component" ...). What bounds one process is divided by the number of workers, unless set. */ -}}
{{- define "gateway.environment" -}}
{{- $root := .root -}}
{{- $values := $root.Values -}}
{{- $environment := dict "GATEWAY_MODE" $values.mode "GATEWAY_HOST" "0.0.0.0" -}}
{{- if include "gateway.hasWorkers" $root -}}
{{- $_ := set $environment "GATEWAY_ROLE" (ternary "worker" "api" (eq .component "worker")) -}}
{{- end -}}
{{- if and (include "gateway.hasWorkers" $root) (eq .component "worker") -}}
{{- $number := int $values.workers.replicas -}}
{{- $_ := set $environment "GATEWAY_POLLS_PER_SECOND" (max 1 (div 150 $number)) -}}
{{- $_ := set $environment "GATEWAY_POLLS_PER_KEY" (max 1 (div 4 $number)) -}}
{{- $_ := set $environment "GATEWAY_DELIVERIES_PER_HOST" (max 1 (div 8 $number)) -}}
{{- end -}}
{{- range $setting, $key := include "gateway.secretKeys" $root | fromJson -}}
{{- $_ := set $environment $setting (printf "/run/secrets/gateway/%s" $key) -}}
{{- end -}}
{{- range $name, $value := mergeOverwrite $environment (deepCopy $values.settings) }}
- name: {{ $name }}
  value: {{ $value | toString | quote }}
{{- end -}}
{{- end -}}
