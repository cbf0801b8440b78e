{{/* A Role without its rules, after the binding to the component's service
     account. Takes root, component, namespace, suffix. */}}
{{- define "maas.role" -}}
{{- $fullname := include "maas.fullname" .root -}}
apiVersion: rbac.authorization.k8s.io/v1
kind: RoleBinding
metadata:
  name: {{ $fullname }}-{{ .component }}{{ .suffix }}
  namespace: {{ .namespace }}
  labels:
    {{- include "maas.labels" . | nindent 4 }}
roleRef: {apiGroup: rbac.authorization.k8s.io, kind: Role, name: {{ $fullname }}-{{ .component }}{{ .suffix }}}
subjects:
  - {kind: ServiceAccount, name: {{ $fullname }}-{{ .component }}, namespace: {{ .root.Release.Namespace }}}
---
apiVersion: rbac.authorization.k8s.io/v1
kind: Role
metadata:
  name: {{ $fullname }}-{{ .component }}{{ .suffix }}
  namespace: {{ .namespace }}
  labels:
    {{- include "maas.labels" . | nindent 4 }}
{{- end -}}
