{{/* Settings of the deployer, as JSON: only the sections that a pod needs, so
     that a change elsewhere changes neither a pod nor a job's name. A section of
     which only a part is needed has a name of its own for that, after a dot.
     There is never a secret in it. Takes root, sections. */}}
{{- define "maas.settings" -}}
{{- $root := .root -}}
{{- $text := "" -}}
{{- range .sections -}}
{{- $key := "" -}}
{{- range $at, $part := splitList "." . -}}
{{- if eq $at 0 -}}{{- $key = $part -}}{{- end -}}
{{- end -}}
{{- $text = printf "%s%s%s:%s" $text (ternary "," "" (ne $text "")) (toJson $key) (include (printf "maas.settings.%s" .) $root) -}}
{{- end -}}
{{- printf "{%s}" $text -}}
{{- end -}}

{{/* Every pod has it: what a person is told to type has the release's names. */}}
{{- define "maas.settings.release" -}}
{{- dict "name" .Release.Name "namespace" .Release.Namespace "fullname" (include "maas.fullname" .) | toJson -}}
{{- end -}}

{{/* What `job secrets` makes, or, where `generate` is false, checks: the
     database's admin is the operator's to bring unless the chart runs the
     database, and nobody's where db-init is off; MAAS's user is the operator's
     then, as nobody would set a password that was made here. What racks share with
     a region that is elsewhere is that region's; MAAS's admin is of those who use
     it. Those whose password stands in the values are left out: the chart
     renders them, after this job. */}}
{{- define "maas.settings.secrets" -}}
{{- $db := .Values.endpoints.maas_db.auth -}}
{{- $admin := .Values.endpoints.maas_region.auth.admin -}}
{{- $on := .Values.manifests -}}
{{- $region := or $on.region_statefulset $on.job_seed_secret -}}
{{- $secrets := list
  (dict "key" "region" "wanted" (or $region $on.rack_statefulset) "told" (dict "name" (include "maas.secret.region" .) "generate" $region))
  (dict "key" "admin" "wanted" (and (not $admin.password) (include "maas.admin.is_used" .)) "told" (dict "name" (include "maas.secret.admin" .) "generate" true "username" $admin.username "email" $admin.email))
  (dict "key" "db_admin" "wanted" (and (not $db.admin.password) (or $on.job_db_init .Values.postgresql.enabled)) "told" (dict "name" (include "maas.secret.db-admin" .) "generate" .Values.postgresql.enabled "username" $db.admin.username))
  (dict "key" "db_user" "wanted" (and (not $db.user.password) (or $on.job_db_init $on.job_db_sync $on.region_statefulset)) "told" (dict "name" (include "maas.secret.db-user" .) "generate" $on.job_db_init "username" $db.user.username))
-}}
{{- $text := "" -}}
{{- range $secrets -}}
{{- if .wanted -}}
{{- $text = printf "%s%s%s:%s" $text (ternary "," "" (ne $text "")) (toJson .key) (toJson .told) -}}
{{- end -}}
{{- end -}}
{{- printf "{%s}" $text -}}
{{- end -}}

{{/* Not empty where a pod mounts MAAS's admin. */}}
{{- define "maas.admin.is_used" -}}
{{- $manifests := .Values.manifests -}}
{{- if or $manifests.job_create_admin $manifests.job_configure $manifests.job_export_api_key $manifests.job_import_images $manifests.test_maas_api -}}true{{- end -}}
{{- end -}}

{{/* Of that section, what the jobs need that write these two. */}}
{{- define "maas.settings.secrets.region" -}}
{{- dict "region" (dict "name" (include "maas.secret.region" .)) | toJson -}}
{{- end -}}
{{- define "maas.settings.secrets.api_key" -}}
{{- dict "api_key" (dict "name" (include "maas.secret.api-key" .) "namespace" (include "maas.secret.api-key.namespace" .)) | toJson -}}
{{- end -}}

{{- define "maas.settings.database" -}}
{{- dict
  "host" (include "maas.database.host" .)
  "port" (ternary 5432 (int .Values.endpoints.maas_db.port.postgresql.default) .Values.postgresql.enabled)
  "name" .Values.endpoints.maas_db.auth.user.database
  "bundled" .Values.postgresql.enabled
  "tls" (dict "mode" (include "maas.database.mode" .) "ca" (eq (include "maas.database.ca" .) "true"))
  | toJson -}}
{{- end -}}

{{/* What the region's own configuration is made of. */}}
{{- define "maas.settings.region" -}}
{{- dict
  "url" (include "maas.region.url" .)
  "maas_url" (include "maas.region.maas_url" .)
  "statefulset" (printf "%s-region" (include "maas.fullname" .))
  "workers" (int .Values.conf.maas.workers)
  | toJson -}}
{{- end -}}

{{/* Where to find the region. */}}
{{- define "maas.settings.region.api" -}}
{{- dict "url" (include "maas.region.url" .) "statefulset" (printf "%s-region" (include "maas.fullname" .)) | toJson -}}
{{- end -}}

{{/* What only the hook of an upgrade is told: no other job runs anew for it. */}}
{{- define "maas.settings.upgrade" -}}
{{- dict "region_image" (include "maas.image" (dict "root" . "image" .Values.images.tags.maas_region)) | toJson -}}
{{- end -}}

{{- define "maas.settings.tls" -}}
{{- $tls := .Values.conf.maas.tls -}}
{{- dict "enabled" $tls.enabled "insecure" $tls.insecure "port" 5443 "server_name" $tls.server_name | toJson -}}
{{- end -}}

{{/* A region imports from the mirror beside it: behind the Service, one that has
     images would answer for those that have none. */}}
{{- define "maas.settings.mirror" -}}
{{- $fullname := include "maas.fullname" . -}}
{{- $place := printf "%s:%d" (include "maas.domain" .) (int .Values.conf.cache.port) -}}
{{- dict
  "url" (printf "http://%s-mirror.%s" $fullname $place)
  "each" (printf "http://%s-region-{}.%s-region-headless.%s" $fullname $fullname $place)
  "regions" (int .Values.pod.replicas.region)
  "wait" .Values.jobs.wait_timeout
  | toJson -}}
{{- end -}}

{{- define "maas.settings.boot_source" -}}
{{- $default := ternary (printf "http://localhost:%d/images/" (int .Values.conf.cache.port)) "https://images.maas.io/ephemeral-v3/stable/" .Values.conf.cache.enabled -}}
{{- dict
  "url" (default $default .Values.conf.maas.images.boot_source)
  "keyring" (eq (include "maas.keyring" .) "true")
  "keyring_filename" (ternary "" .Values.conf.maas.images.keyring_filename (eq (include "maas.keyring" .) "true"))
  | toJson -}}
{{- end -}}

{{- define "maas.settings.images" -}}
{{- $import := .Values.jobs.import_boot_resources -}}
{{- include "maas.images" (dict "root" . "more" (dict "kernel" .Values.conf.maas.images.default_kernel "timeout_s" (int $import.timeout) "stall_s" (int $import.stall))) -}}
{{- end -}}

{{/* What is selected, and how long the mirror may take to have it. */}}
{{- define "maas.settings.images.selected" -}}
{{- include "maas.images" (dict "root" . "more" (dict "timeout_s" (int .Values.jobs.import_boot_resources.timeout))) -}}
{{- end -}}

{{/* What has to be there. */}}
{{- define "maas.settings.images.wanted" -}}
{{- include "maas.images" (dict "root" . "more" dict) -}}
{{- end -}}

{{/* Takes root, more. */}}
{{- define "maas.images" -}}
{{- $images := .root.Values.conf.maas.images -}}
{{- $given := merge (dict "os" $images.default_os "release" $images.default_image "commissioning_release" $images.commissioning_image "arches" $images.arches) .more | toJson | trimSuffix "}" -}}
{{- printf "%s,\"releases\":[\"%s\"]}" $given (include "maas.releases" (dict "root" .root "separator" "\",\"")) -}}
{{- end -}}
