{{/* Jobs. Takes root and job, a dict:
       name       the job's name, and its component label
       verb       of `maas-deployer job`
       args       after the verb, if any
       runs       deployer | region: the image of the job's container
       wait       targets of `maas-deployer job wait`, may be empty
       waits      deployer | region: the image that waits
       sections   of settings
       volumes    of maas.volumes, without `deployer`
       account    service account, without the fullname
       api        whether the pod speaks to Kubernetes
       resources  of the container
       security   security context of the container
       notes      annotations of the pod, if any: what else has to run the job again
*/}}

{{/* The pod template. All that it says is written here or as JSON, so its text
     is a function of the values in it and of nothing else. */}}
{{- define "maas.job.template" -}}
{{- $root := .root -}}
{{- $job := .job -}}
{{- $values := .root.Values -}}
{{- $volumes := dict "root" $root "names" $job.volumes -}}
{{- $wait := $job.wait | default list -}}
{{- $copied := or (eq $job.runs "region") (and $wait (eq $job.waits "region")) -}}
metadata:
  labels:
    {{- include "maas.selector" (dict "root" $root "component" $job.name) | nindent 4 }}
  {{- with $job.notes }}
  annotations: {{ toJson . }}
  {{- end }}
spec:
  restartPolicy: Never
  serviceAccountName: {{ include "maas.fullname" $root }}-{{ $job.account }}
  automountServiceAccountToken: {{ $job.api }}
  enableServiceLinks: false
  {{- include "maas.pod.pull" $root | nindent 2 }}
  {{- include "maas.pod.placement" (dict "root" $root "component" $job.name "label" $values.labels.region "tolerations" $values.pod.tolerations.jobs "affinity" $values.pod.affinity.extra.jobs "anti" "") | nindent 2 }}
  securityContext: {{ toJson $values.pod.security_context.jobs.pod }}
  {{- if or $copied $wait }}
  initContainers:
    {{- if $copied }}
    {{- include "maas.init.deployer" (dict "root" $root "sections" $job.sections) | nindent 4 }}
    {{- end }}
    {{- if $wait }}
    {{- include "maas.init.wait" (dict "root" $root "image" $job.waits "targets" $wait "sections" $job.sections "volumes" $volumes) | nindent 4 }}
    {{- end }}
  {{- end }}
  containers:
    - name: {{ $job.name }}
      {{- if eq $job.runs "region" }}
      {{- include "maas.container.image" (dict "root" $root "image" $values.images.tags.maas_region) | nindent 6 }}
      command: [/opt/maas-deployer/maas-deployer]
      {{- else }}
      {{- include "maas.container.image" (dict "root" $root "image" $values.images.tags.maas_deployer) | nindent 6 }}
      {{- end }}
      args: [job, {{ $job.verb }}{{ range $job.args }}, {{ . }}{{ end }}]
      env:
        - name: MAAS_DEPLOYER_SETTINGS
          value: {{ include "maas.settings" (dict "root" $root "sections" $job.sections) | quote }}
        {{- if eq $job.runs "region" }}
        {{- include "maas.libpq.env" $root | nindent 8 }}
        {{- end }}
      {{- include "maas.container.resources" (dict "root" $root "resources" $job.resources) | nindent 6 }}
      securityContext: {{ toJson $job.security }}
      volumeMounts:
        {{- if eq $job.runs "region" }}
        - {name: deployer, mountPath: /opt/maas-deployer, readOnly: true}
        {{- end }}
        - {name: tmp, mountPath: /tmp}
        {{- include "maas.mounts" $volumes | nindent 8 }}
  volumes:
    {{- if $copied }}
    - {name: deployer, emptyDir: {}}
    {{- end }}
    - {name: tmp, emptyDir: {}}
    {{- include "maas.volumes" $volumes | nindent 4 }}
{{- end -}}

{{/* The init container that waits. Takes root, image, targets, sections,
     volumes (or none). In the region's image it runs the copied binary. */}}
{{- define "maas.init.wait" -}}
- name: wait
  {{- if eq .image "region" }}
  {{- include "maas.container.image" (dict "root" .root "image" .root.Values.images.tags.maas_region) | nindent 2 }}
  command: [/opt/maas-deployer/maas-deployer]
  securityContext: {{ include "maas.security.root" (dict "add" list) }}
  {{- else }}
  {{- include "maas.container.image" (dict "root" .root "image" .root.Values.images.tags.maas_deployer) | nindent 2 }}
  securityContext: {{ include "maas.security.unprivileged" . }}
  {{- end }}
  args:
    - job
    - wait
    - --timeout
    - {{ .root.Values.jobs.wait_timeout | quote }}
    {{- range .targets }}
    - {{ . }}
    {{- end }}
  env:
    - name: MAAS_DEPLOYER_SETTINGS
      value: {{ include "maas.settings" (dict "root" .root "sections" .sections) | quote }}
  {{- include "maas.container.resources" (dict "root" .root "resources" .root.Values.pod.resources.init) | nindent 2 }}
  volumeMounts:
    {{- if eq .image "region" }}
    - {name: deployer, mountPath: /opt/maas-deployer, readOnly: true}
    {{- end }}
    {{- include "maas.mounts" .volumes | nindent 4 }}
{{- end -}}

{{/* A job's name ends in a digest of its pod template and the chart's version:
     a job whose content changes is another job, since a job's template cannot
     be changed, and one whose content does not change is not run again. */}}
{{- define "maas.job.name" -}}
{{- $content := printf "%s\n%s\n%s" .root.Chart.Version .root.Values.jobs.rerun (include "maas.job.template" .) -}}
{{- printf "%s-%s-%s" (include "maas.fullname" .root) .job.name ($content | sha256sum | trunc 8) -}}
{{- end -}}

{{- define "maas.job" -}}
apiVersion: batch/v1
kind: Job
metadata:
  name: {{ include "maas.job.name" . }}
  labels:
    {{- include "maas.labels" (dict "root" .root "component" .job.name) | nindent 4 }}
spec:
  {{- include "maas.job.failure" . | nindent 2 }}
  template:
    {{- include "maas.job.template" . | nindent 4 }}
{{- end -}}

{{/* What cannot heal is not tried again: the deployer exits with 5 where it
     refuses and with 64 where it is told nonsense. A pod that was moved, as by a
     drain, did not fail: jobs may wait for days. */}}
{{- define "maas.job.failure" -}}
backoffLimit: {{ int .root.Values.jobs.backoff_limit }}
podFailurePolicy:
  rules:
    - action: FailJob
      onExitCodes: {operator: In, values: [5, 64]}
    - action: Ignore
      onPodConditions: [{type: DisruptionTarget, status: "True"}]
{{- end -}}

{{/* A job that is run by the clock. Its name does not change: its template may.
     Takes also schedule. */}}
{{- define "maas.job.cron" -}}
apiVersion: batch/v1
kind: CronJob
metadata:
  name: {{ include "maas.fullname" .root }}-{{ .job.name }}
  labels:
    {{- include "maas.labels" (dict "root" .root "component" .job.name) | nindent 4 }}
spec:
  schedule: {{ .schedule | quote }}
  concurrencyPolicy: Forbid
  successfulJobsHistoryLimit: 1
  failedJobsHistoryLimit: 1
  jobTemplate:
    metadata:
      labels:
        {{- include "maas.selector" (dict "root" .root "component" .job.name) | nindent 8 }}
    spec:
      {{- include "maas.job.failure" . | nindent 6 }}
      template:
        {{- include "maas.job.template" . | nindent 8 }}
{{- end -}}

{{/* A job that is a hook: its name does not change, since Helm removes it
     before it makes it again, and after it has succeeded. Takes also events,
     weight. */}}
{{- define "maas.job.hook" -}}
apiVersion: batch/v1
kind: Job
metadata:
  name: {{ include "maas.fullname" .root }}-{{ .job.name }}
  labels:
    {{- include "maas.labels" (dict "root" .root "component" .job.name) | nindent 4 }}
  annotations:
    {{- include "maas.hook" . | nindent 4 }}
spec:
  {{- include "maas.job.failure" . | nindent 2 }}
  template:
    {{- include "maas.job.template" . | nindent 4 }}
{{- end -}}

{{/* Nothing of a hook is the release's: what succeeded is removed, so that
     nothing stays behind an uninstall; what failed stays to be looked at.
     Takes events, weight. */}}
{{- define "maas.hook" -}}
helm.sh/hook: {{ .events }}
helm.sh/hook-weight: {{ .weight | quote }}
helm.sh/hook-delete-policy: before-hook-creation,hook-succeeded
{{- end -}}
