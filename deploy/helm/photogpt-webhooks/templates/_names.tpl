{{- /* The name of what is installed. */ -}}
{{- define "gateway.name" -}}
{{- if .Values.fullnameOverride -}}
{{- .Values.fullnameOverride | trunc 50 | trimSuffix "-" -}}
{{- else -}}
{{- $name := default .Chart.Name .Values.nameOverride -}}
{{- if contains $name .Release.Name -}}
{{- .Release.Name | trunc 50 | trimSuffix "-" -}}
{{- else -}}
{{- printf "%s-%s" .Release.Name $name | trunc 50 | trimSuffix "-" -}}
{{- end -}}
{{- end -}}
{{- end -}}

{{- /* What selects all Pods of the release. */ -}}
{{- define "gateway.selector" -}}
app.kubernetes.io/name: {{ default .Chart.Name .Values.nameOverride }}
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end -}}

{{- define "gateway.labels" -}}
{{ include "gateway.selector" . }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version }}
{{- end -}}

{{- define "gateway.image" -}}
{{- if .Values.image.digest -}}
{{ .Values.image.repository }}@{{ .Values.image.digest }}
{{- else -}}
{{ .Values.image.repository }}:{{ default .Chart.AppVersion .Values.image.tag }}
{{- end -}}
{{- end -}}

{{- define "gateway.onPostgresql" -}}
{{- if eq .Values.database.kind "postgresql" }}true{{ end -}}
{{- end -}}

{{- /* Whether some Pods answer requests and others poll and deliver. */ -}}
{{- define "gateway.hasWorkers" -}}
{{- if and (include "gateway.onPostgresql" .) (gt (int .Values.workers.replicas) 0) }}true{{ end -}}
{{- end -}}

{{- define "gateway.claim" -}}
{{- default (include "gateway.name" .) .Values.persistence.existingClaim -}}
{{- end -}}
