{{/* `tftraining` becomes `tftraining-operator`, a release that is called so already keeps its name. */}}
{{- define "tftraining.name" -}}
{{- if hasSuffix "operator" .Release.Name }}{{ .Release.Name | trunc 63 }}{{ else }}{{ printf "%s-operator" (.Release.Name | trunc 54) }}{{ end }}
{{- end }}

{{- define "tftraining.reportsName" -}}
{{ include "tftraining.name" . | trunc 55 | trimSuffix "-" }}-reports
{{- end }}

{{- define "tftraining.devName" -}}
{{ .Release.Name | trunc 56 }}-dev-s3
{{- end }}

{{- define "tftraining.selector" -}}
app.kubernetes.io/name: {{ .Chart.Name }}
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end }}

{{- define "tftraining.labels" -}}
{{ include "tftraining.selector" . }}
app.kubernetes.io/component: operator
{{ include "tftraining.chartLabels" . }}
{{- end }}

{{- define "tftraining.devSelector" -}}
app.kubernetes.io/name: tftraining-dev-s3
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end }}

{{- define "tftraining.devLabels" -}}
{{ include "tftraining.devSelector" . }}
app.kubernetes.io/component: object-store
{{ include "tftraining.chartLabels" . }}
{{- end }}

{{- define "tftraining.chartLabels" -}}
app.kubernetes.io/part-of: tftraining
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version }}
{{- end }}

{{/* What Pod Security `restricted` asks of a pod; both images name their own numeric user. */}}
{{- define "tftraining.podSecurity" -}}
runAsNonRoot: true
seccompProfile:
  type: RuntimeDefault
{{- end }}

{{- define "tftraining.containerSecurity" -}}
allowPrivilegeEscalation: false
readOnlyRootFilesystem: true
capabilities:
  drop: [ALL]
{{- end }}

{{- define "tftraining.pullSecrets" -}}
{{- with .Values.image.pullSecrets }}
imagePullSecrets:
  {{- range . }}
  - name: {{ . }}
  {{- end }}
{{- end }}
{{- end }}

{{/* Where `helm test` runs its job: a namespace that the operator watches. */}}
{{- define "tftraining.testNamespace" -}}
{{- if or (not .Values.watchNamespaces) (has .Release.Namespace .Values.watchNamespaces) }}{{ .Release.Namespace }}{{ else }}{{ first .Values.watchNamespaces }}{{ end }}
{{- end }}

{{/* What the operator may do with jobs and their pods: the same in a Role and in a ClusterRole. */}}
{{- define "tftraining.jobRules" -}}
- apiGroups: [tftraining.dev]
  resources: [tftrainingjobs]
  verbs: [get, list, watch, delete]
- apiGroups: [tftraining.dev]
  resources: [tftrainingjobs/status]
  verbs: [patch]
- apiGroups: [""]
  resources: [pods]
  verbs: [get, list, watch, create, delete]
- apiGroups: [""]
  resources: [configmaps, services]
  verbs: [create]
- apiGroups: [events.k8s.io]
  resources: [events]
  verbs: [create]
{{- if .Values.kueue.enabled }}
- apiGroups: [kueue.x-k8s.io]
  resources: [workloads]
  verbs: [get, list, watch, create, delete]
- apiGroups: [kueue.x-k8s.io]
  resources: [workloads/status]
  verbs: [patch]
{{- end }}
{{- end }}

{{/* The store's keys, in the variables that are named for each. */}}
{{- define "tftraining.devCredentials" -}}
{{- range $key := list "accessKey" "secretKey" }}
- name: {{ get $ $key }}
  valueFrom:
    secretKeyRef:
      name: {{ $.root.Values.defaults.storageSecretName }}
      key: {{ $key }}
{{- end }}
{{- end }}
