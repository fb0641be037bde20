{{- /* The Pod of a gateway. Takes (dict "root" $ "component" "gateway" or "worker"). */ -}}
{{- define "gateway.pod" -}}
{{- $root := .root -}}
{{- $values := $root.Values -}}
{{- $worker := eq .component "worker" -}}
metadata:
  labels:
    {{- include "gateway.labels" $root | nindent 4 }}
    app.kubernetes.io/component: {{ .component }}
    {{- with $values.podLabels }}
    {{- toYaml . | nindent 4 }}
    {{- end }}
  {{- with $values.podAnnotations }}
  annotations:
    {{- toYaml . | nindent 4 }}
  {{- end }}
spec:
  {{- include "gateway.podSecurity" $root | nindent 2 }}
  terminationGracePeriodSeconds: {{ $values.terminationGracePeriodSeconds }}
  {{- with $values.priorityClassName }}
  priorityClassName: {{ . }}
  {{- end }}
  {{- with $values.nodeSelector }}
  nodeSelector:
    {{- toYaml . | nindent 4 }}
  {{- end }}
  {{- with $values.tolerations }}
  tolerations:
    {{- toYaml . | nindent 4 }}
  {{- end }}
  {{- with $values.affinity }}
  affinity:
    {{- toYaml . | nindent 4 }}
  {{- end }}
  {{- if include "gateway.onPostgresql" $root }}
  topologySpreadConstraints:
    {{- range list "kubernetes.io/hostname" "topology.kubernetes.io/zone" }}
    - topologyKey: {{ . }}
      maxSkew: 1
      whenUnsatisfiable: ScheduleAnyway
      labelSelector:
        matchLabels:
          {{- include "gateway.selector" $root | nindent 10 }}
          app.kubernetes.io/component: {{ $.component }}
    {{- end }}
  {{- end }}
  containers:
    - name: gateway
      image: {{ include "gateway.image" $root }}
      imagePullPolicy: {{ $values.image.pullPolicy }}
      env:
        {{- include "gateway.environment" . | trim | nindent 8 }}
      ports:
        {{- if not $worker }}
        - name: api
          containerPort: 8470
        {{- end }}
        - name: health
          containerPort: 8471
      startupProbe:
        httpGet:
          path: /readyz
          port: health
        periodSeconds: 1
        failureThreshold: 120
      readinessProbe:
        httpGet:
          path: /readyz
          port: health
        periodSeconds: 5
        timeoutSeconds: 5
        failureThreshold: 2
      livenessProbe:
        httpGet:
          path: /livez
          port: health
        periodSeconds: 10
        timeoutSeconds: 5
        failureThreshold: 6
      {{- if not $worker }}
      lifecycle:
        # Until the Service has noticed that this Pod is ending; not `sleep`, which 1.29 does not have yet, and no shell.
        preStop:
          exec:
            command: ["python", "-ISc", "import time; time.sleep(5)"]
      {{- end }}
      resources:
        {{- toYaml $values.resources | nindent 8 }}
      securityContext:
        {{- include "gateway.containerSecurity" $root | nindent 8 }}
      volumeMounts:
        - name: secrets
          mountPath: /run/secrets/gateway
          readOnly: true
        {{- if not (include "gateway.onPostgresql" $root) }}
        - name: state
          mountPath: /data
        {{- end }}
  volumes:
    {{- include "gateway.secrets" (dict "root" $root "keys" (include "gateway.secretKeys" $root | fromJson)) | nindent 4 }}
    {{- if not (include "gateway.onPostgresql" $root) }}
    - name: state
      persistentVolumeClaim:
        claimName: {{ include "gateway.claim" $root }}
    {{- end }}
{{- end -}}

{{- /* The Pod Security Standard "restricted"; nothing here talks to Kubernetes. */ -}}
{{- define "gateway.podSecurity" -}}
automountServiceAccountToken: false
securityContext:
  runAsNonRoot: true
  runAsUser: 10001
  runAsGroup: 10001
  fsGroup: 10001
  fsGroupChangePolicy: OnRootMismatch
  seccompProfile:
    type: RuntimeDefault
{{- with .Values.imagePullSecrets }}
imagePullSecrets:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- end -}}

{{- define "gateway.containerSecurity" -}}
allowPrivilegeEscalation: false
readOnlyRootFilesystem: true
capabilities:
  drop:
    - ALL
{{- end -}}
