{{/* Parts of pods. Maps of the user's go in as JSON, which is YAML too: the
     text of a pod then never depends on how YAML is written out. */}}

{{/* Where a pod may run. Takes root, component, label (of .Values.labels),
     tolerations, affinity (extra), and anti: how replicas keep apart, or empty. */}}
{{- define "maas.pod.placement" -}}
{{- $anti := .root.Values.pod.affinity.anti -}}
{{- with .label.node_selector_key -}}
nodeSelector:
  {{ . | quote }}: {{ $.label.node_selector_value | quote }}
{{ end -}}
{{- with .tolerations -}}
tolerations: {{ toJson . }}
{{ end -}}
{{- if .anti -}}
{{- $term := dict "topologyKey" $anti.topologyKey.default "labelSelector" (dict "matchLabels" (dict "app.kubernetes.io/name" "maas" "app.kubernetes.io/instance" .root.Release.Name "app.kubernetes.io/component" .component)) -}}
{{- $preferred := dict "preferredDuringSchedulingIgnoredDuringExecution" (list (dict "weight" 10 "podAffinityTerm" $term)) -}}
{{- $required := dict "requiredDuringSchedulingIgnoredDuringExecution" (list $term) -}}
{{- $own := dict "podAntiAffinity" (ternary $required $preferred (eq .anti "requiredDuringSchedulingIgnoredDuringExecution")) -}}
affinity: {{ merge (dict) .affinity $own | toJson }}
{{ else if .affinity -}}
affinity: {{ toJson .affinity }}
{{ end -}}
{{- end -}}

{{- define "maas.pod.spread" -}}
{{- $spread := .root.Values.pod.topology_spread -}}
{{- if $spread.enabled -}}
topologySpreadConstraints:
  - maxSkew: 1
    topologyKey: {{ $spread.topology_key | quote }}
    whenUnsatisfiable: {{ $spread.when_unsatisfiable }}
    labelSelector:
      matchLabels:
        {{- include "maas.selector" . | nindent 8 }}
{{ end -}}
{{- end -}}

{{- define "maas.pod.pull" -}}
{{- with .Values.images.pull_secrets -}}
imagePullSecrets: {{ toJson . }}
{{ end -}}
{{- end -}}

{{/* Image of a container. Takes root, image. */}}
{{- define "maas.container.image" -}}
image: {{ include "maas.image" . | quote }}
imagePullPolicy: {{ .root.Values.images.pull_policy }}
{{- end -}}

{{/* Takes root, resources. */}}
{{- define "maas.container.resources" -}}
{{- if and .root.Values.pod.resources.enabled .resources -}}
resources: {{ toJson .resources }}
{{- else -}}
resources: {}
{{- end -}}
{{- end -}}

{{/* Probes by the deployer's binary. Takes probes, who. */}}
{{- define "maas.container.probes" -}}
{{- $who := .who -}}
{{- with .probes.startup -}}{{- if .enabled -}}
startupProbe:
  exec: {command: [/opt/maas-deployer/maas-deployer, job, probe, {{ $who }}]}
  {{- range $name, $value := .params }}
  {{ $name }}: {{ toJson $value }}
  {{- end }}
{{ end -}}{{- end -}}
{{- with .probes.readiness -}}{{- if .enabled -}}
readinessProbe:
  exec: {command: [/opt/maas-deployer/maas-deployer, job, probe, {{ $who }}]}
  {{- range $name, $value := .params }}
  {{ $name }}: {{ toJson $value }}
  {{- end }}
{{ end -}}{{- end -}}
{{- with .probes.liveness -}}{{- if .enabled -}}
livenessProbe:
  exec: {command: [/opt/maas-deployer/maas-deployer, job, probe, {{ $who }}, --live]}
  {{- range $name, $value := .params }}
  {{ $name }}: {{ toJson $value }}
  {{- end }}
{{ end -}}{{- end -}}
{{- end -}}

{{/* The init container that brings the deployer's binary, and settings, into a
     pod. Takes root, sections. */}}
{{- define "maas.init.deployer" -}}
- name: deployer
  {{- include "maas.container.image" (dict "root" .root "image" .root.Values.images.tags.maas_deployer) | nindent 2 }}
  args: [job, install-self, /opt/maas-deployer]
  env:
    - name: MAAS_DEPLOYER_SETTINGS
      value: {{ include "maas.settings" . | quote }}
  {{- include "maas.container.resources" (dict "root" .root "resources" .root.Values.pod.resources.init) | nindent 2 }}
  securityContext: {{ include "maas.security.unprivileged" . }}
  volumeMounts:
    - {name: deployer, mountPath: /opt/maas-deployer}
{{- end -}}

{{/* Of init containers that need nothing. */}}
{{- define "maas.security.unprivileged" -}}
{"allowPrivilegeEscalation":false,"capabilities":{"drop":["ALL"]},"readOnlyRootFilesystem":true,"runAsGroup":65532,"runAsNonRoot":true,"runAsUser":65532,"seccompProfile":{"type":"RuntimeDefault"}}
{{- end -}}

{{/* Of init containers that read Secrets or change owners as root, with the
     given capabilities only. Takes add. */}}
{{- define "maas.security.root" -}}
{{- dict "allowPrivilegeEscalation" false "capabilities" (dict "drop" (list "ALL") "add" .add) "readOnlyRootFilesystem" true "runAsNonRoot" false "runAsUser" 0 "runAsGroup" 0 "seccompProfile" (dict "type" "RuntimeDefault") | toJson -}}
{{- end -}}

{{/* Where the deployer looks for Secrets and the like: one volume each, by the
     names that a pod asks for. Those that were not given are left out.
     Takes root, names. Modes are decimal, since readers of YAML differ about
     0440: 288 is 0440, 292 is 0444, 256 is 0400. */}}
{{- define "maas.volumes" -}}
{{- $root := .root -}}
{{- $fullname := include "maas.fullname" .root -}}
{{- range .names -}}
{{- if eq . "deployer" -}}
- {name: deployer, emptyDir: {}}
{{ else if eq . "db-admin" -}}
- {name: db-admin, secret: {secretName: {{ include "maas.secret.db-admin" $root | quote }}, defaultMode: 288, items: [{key: DATABASE_USERNAME, path: DATABASE_USERNAME}, {key: DATABASE_PASSWORD, path: DATABASE_PASSWORD}]}}
{{ else if eq . "db-user" -}}
- {name: db-user, secret: {secretName: {{ include "maas.secret.db-user" $root | quote }}, defaultMode: 288, items: [{key: DATABASE_USERNAME, path: DATABASE_USERNAME}, {key: DATABASE_PASSWORD, path: DATABASE_PASSWORD}]}}
{{/* Hooks run before the release's objects are there: what a hook brings is its
     own, and what may be there already is optional, since a pod whose Secret is
     missing would never start, nor say why. */}}
{{- else if eq . "hook-db-user" -}}
{{- $items := "[{key: DATABASE_USERNAME, path: DATABASE_USERNAME}, {key: DATABASE_PASSWORD, path: DATABASE_PASSWORD}]" -}}
{{- if $root.Values.endpoints.maas_db.auth.user.password -}}
- {name: db-user, secret: {secretName: {{ $fullname }}-quiesce, defaultMode: 288}}
- {name: db-user-present, secret: {secretName: {{ include "maas.secret.db-user" $root | quote }}, defaultMode: 288, optional: true, items: {{ $items }}}}
{{ else -}}
- {name: db-user, secret: {secretName: {{ include "maas.secret.db-user" $root | quote }}, defaultMode: 288, optional: true, items: {{ $items }}}}
{{ end -}}
{{- else if eq . "hook-database-ca" -}}
{{- if include "maas.database.ca" $root -}}
- {name: database-ca, configMap: {name: {{ $fullname }}-quiesce, defaultMode: 292}}
{{ end -}}
{{- else if eq . "admin" -}}
- {name: admin, secret: {secretName: {{ include "maas.secret.admin" $root | quote }}, defaultMode: 288, items: [{key: USERNAME, path: USERNAME}, {key: PASSWORD, path: PASSWORD}, {key: EMAIL, path: EMAIL}]}}
{{ else if eq . "region-secret" -}}
- {name: region-secret, secret: {secretName: {{ include "maas.secret.region" $root | quote }}, defaultMode: 288, items: [{key: REGION_SECRET, path: REGION_SECRET}]}}
{{ else if eq . "api-key" -}}
{{- if eq (include "maas.secret.api-key.namespace" $root) $root.Release.Namespace -}}
- {name: api-key, secret: {secretName: {{ include "maas.secret.api-key" $root | quote }}, defaultMode: 288, optional: true}}
{{ end -}}
{{- else if eq . "maas-settings" -}}
- {name: maas-settings, secret: {secretName: {{ $fullname }}-settings, defaultMode: 288}}
{{ else if eq . "own-settings" -}}
{{- with $root.Values.secrets.maas_settings -}}
- {name: own-settings, secret: {secretName: {{ . | quote }}, defaultMode: 288}}
{{ end -}}
{{- else if eq . "keyring" -}}
{{- $keyring := $root.Values.conf.cache.keyring -}}
{{- if $keyring.secret -}}
- {name: keyring, secret: {secretName: {{ $keyring.secret | quote }}, defaultMode: 292, items: [{key: {{ $keyring.key | quote }}, path: keyring.gpg}]}}
{{ else if include "maas.keyring" $root -}}
- {name: keyring, configMap: {name: {{ $keyring.config_map | default (printf "%s-keyring" $fullname) | quote }}, defaultMode: 292, items: [{key: {{ ternary $keyring.key "keyring.gpg" (ne $keyring.config_map "") | quote }}, path: keyring.gpg}]}}
{{ end -}}
{{- else if eq . "database-ca" -}}
{{- if include "maas.database.ca" $root -}}
- {name: database-ca, configMap: {name: {{ $fullname }}-database-ca, defaultMode: 292}}
{{ end -}}
{{- else if eq . "maas-tls" -}}
- {name: maas-tls, secret: {secretName: {{ include "maas.secret.tls" $root | quote }}, defaultMode: 288}}
{{ else if eq . "maas-ca" -}}
{{- if $root.Values.conf.maas.tls.enabled -}}
- {name: maas-ca, secret: {secretName: {{ include "maas.secret.tls" $root | quote }}, defaultMode: 292, optional: true, items: [{key: ca.crt, path: ca.crt}]}}
{{ end -}}
{{- else -}}
{{- fail (printf "no volume is called %s" .) -}}
{{- end -}}
{{- end -}}
{{- end -}}

{{/* The mounts of those volumes. Takes root, names. */}}
{{- define "maas.mounts" -}}
{{- $root := .root -}}
{{- range .names -}}
{{- if eq . "deployer" -}}
- {name: deployer, mountPath: /opt/maas-deployer, readOnly: true}
{{ else if eq . "region-secret" -}}
- {name: region-secret, mountPath: /etc/maas-deployer/secrets/region, readOnly: true}
{{ else if eq . "api-key" -}}
{{- if eq (include "maas.secret.api-key.namespace" $root) $root.Release.Namespace -}}
- {name: api-key, mountPath: /etc/maas-deployer/secrets/api-key, readOnly: true}
{{ end -}}
{{- else if eq . "own-settings" -}}
{{- if $root.Values.secrets.maas_settings -}}
- {name: own-settings, mountPath: /etc/maas-deployer/secrets/own-settings, readOnly: true}
{{ end -}}
{{- else if eq . "keyring" -}}
{{- if include "maas.keyring" $root -}}
- {name: keyring, mountPath: /etc/maas-deployer/keyring, readOnly: true}
{{ end -}}
{{- else if eq . "hook-db-user" -}}
- {name: db-user, mountPath: /etc/maas-deployer/secrets/db-user, readOnly: true}
{{ if $root.Values.endpoints.maas_db.auth.user.password -}}
- {name: db-user-present, mountPath: /etc/maas-deployer/secrets/db-user-present, readOnly: true}
{{ end -}}
{{- else if or (eq . "database-ca") (eq . "hook-database-ca") -}}
{{- if include "maas.database.ca" $root -}}
- {name: database-ca, mountPath: /etc/maas-deployer/database-ca, readOnly: true}
{{ end -}}
{{- else if eq . "maas-tls" -}}
- {name: maas-tls, mountPath: /etc/maas-deployer/maas-tls, readOnly: true}
{{ else if eq . "maas-ca" -}}
{{- if $root.Values.conf.maas.tls.enabled -}}
- {name: maas-ca, mountPath: /etc/maas-deployer/maas-tls, readOnly: true}
{{ end -}}
{{- else -}}
- {name: {{ . }}, mountPath: /etc/maas-deployer/secrets/{{ . }}, readOnly: true}
{{ end -}}
{{- end -}}
{{- end -}}

{{/* How libpq, and with it MAAS, speaks to the database. */}}
{{- define "maas.libpq.env" -}}
- {name: PGSSLMODE, value: {{ include "maas.database.mode" . | quote }}}
{{- if include "maas.database.ca" . }}
- {name: PGSSLROOTCERT, value: /etc/maas-deployer/database-ca/ca.crt}
{{- end }}
{{- end -}}

{{/* A volume claim of a StatefulSet: nothing but its storage may ever change
     in it. Takes root, component, name, pvc. */}}
{{- define "maas.claim" -}}
- metadata:
    name: {{ .name }}
    labels:
      {{- include "maas.selector" . | nindent 6 }}
  spec:
    accessModes: [ReadWriteOnce]
    {{- if eq .pvc.class_name "-" }}
    storageClassName: ""
    {{- else if .pvc.class_name }}
    storageClassName: {{ .pvc.class_name | quote }}
    {{- end }}
    resources:
      requests:
        storage: {{ .pvc.size | quote }}
{{- end -}}
