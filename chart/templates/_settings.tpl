{{/* Settings of the deployer, as JSON: only the sections that a pod needs, so
     that a change elsewhere changes neither a pod nor a job's name. There is
     never a secret in it. Takes root, sections. */}}
{{- define "maas.settings" -}}
{{- $root := .root -}}
{{- $text := "" -}}
{{- range .sections -}}
{{- $key := ternary "secrets" . (or (eq . "secrets.api_key") (eq . "secrets.region")) -}}
{{- $text = printf "%s%s%s:%s" $text (ternary "," "" (ne $text "")) (toJson $key) (include (printf "maas.settings.%s" .) $root) -}}
{{- end -}}
{{- printf "{%s}" $text -}}
{{- end -}}

{{- define "maas.settings.release" -}}
{{- dict "name" .Release.Name "namespace" .Release.Namespace "fullname" (include "maas.fullname" .) "chart_version" .Chart.Version | toJson -}}
{{- end -}}

{{/* What `job secrets` makes, or, where `generate` is false, checks: the
     database's admin is the operator's to bring unless the chart runs the
     database, and nobody's where db-init is off; MAAS's user is the operator's
     then, as nobody would set a password that was made here. Those whose password stands in the values are left out: the chart
     renders them, after this job. */}}
{{- define "maas.settings.secrets" -}}
{{- $db := .Values.endpoints.maas_db.auth -}}
{{- $admin := .Values.endpoints.maas_region.auth.admin -}}
{{- $text := printf "\"region\":%s" (dict "name" (include "maas.secret.region" .) "generate" true | toJson) -}}
{{- if not $admin.password -}}
{{- $text = printf "%s,\"admin\":%s" $text (dict "name" (include "maas.secret.admin" .) "generate" true "username" $admin.username "email" $admin.email | toJson) -}}
{{- end -}}
{{- if and (not $db.admin.password) (or .Values.manifests.job_db_init .Values.postgresql.enabled) -}}
{{- $text = printf "%s,\"db_admin\":%s" $text (dict "name" (include "maas.secret.db-admin" .) "generate" .Values.postgresql.enabled "username" $db.admin.username | toJson) -}}
{{- end -}}
{{- if and (not $db.user.password) (or .Values.manifests.job_db_init .Values.manifests.job_db_sync .Values.manifests.region_statefulset) -}}
{{- $text = printf "%s,\"db_user\":%s" $text (dict "name" (include "maas.secret.db-user" .) "generate" .Values.manifests.job_db_init "username" $db.user.username | toJson) -}}
{{- end -}}
{{- printf "{%s}" $text -}}
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

{{- define "maas.settings.region" -}}
{{- dict
  "url" (include "maas.region.url" .)
  "maas_url" (include "maas.region.maas_url" .)
  "statefulset" (printf "%s-region" (include "maas.fullname" .))
  "workers" (int .Values.conf.maas.workers)
  | toJson -}}
{{- end -}}

{{/* What only the hook of an upgrade is told: no other job runs anew for it. */}}
{{- define "maas.settings.upgrade" -}}
{{- dict "region_image" (include "maas.image" (dict "root" . "image" .Values.images.tags.maas_region)) | toJson -}}
{{- end -}}

{{- define "maas.settings.tls" -}}
{{- $tls := .Values.conf.maas.tls -}}
{{- dict "enabled" $tls.enabled "insecure" $tls.insecure "port" 5443 "server_name" $tls.server_name | toJson -}}
{{- end -}}

{{- define "maas.settings.mirror" -}}
{{- dict "url" (printf "http://%s-mirror.%s:%d" (include "maas.fullname" .) (include "maas.domain" .) (int .Values.conf.cache.port)) "wait" .Values.jobs.wait_timeout | toJson -}}
{{- end -}}

{{- define "maas.settings.boot_source" -}}
{{- $default := ternary (printf "http://localhost:%d/images/" (int .Values.conf.cache.port)) "https://images.maas.io/ephemeral-v3/stable/" .Values.conf.cache.enabled -}}
{{- dict
  "url" (default $default .Values.conf.maas.images.boot_source)
  "keyring" (eq (include "maas.keyring" .) "true")
  "keyring_filename" .Values.conf.maas.images.keyring_filename
  | toJson -}}
{{- end -}}

{{- define "maas.settings.images" -}}
{{- $images := .Values.conf.maas.images -}}
{{- $given := dict
  "os" $images.default_os
  "release" $images.default_image
  "kernel" $images.default_kernel
  "commissioning_release" $images.commissioning_image
  "arches" $images.arches
  "timeout_s" (int .Values.jobs.import_boot_resources.timeout)
  "stall_s" (int .Values.jobs.import_boot_resources.stall)
  | toJson | trimSuffix "}" -}}
{{- printf "%s,\"releases\":[\"%s\"]}" $given (include "maas.releases" (dict "root" . "separator" "\",\"")) -}}
{{- end -}}

{{/* Settings of MAAS. What is left empty stays as it is in MAAS; extra_settings
     win over the named ones. */}}
{{- define "maas.settings.config" -}}
{{- $maas := .Values.conf.maas -}}
{{- $extra := $maas.extra_settings -}}
{{- $dnssec := toJson $maas.dns.require_dnssec -}}
{{- $named := list
  (dict "name" "boot_images_no_proxy" "value" .Values.conf.cache.enabled "given" true)
  (dict "name" "dnssec_validation" "value" (ternary "no" (ternary "yes" $maas.dns.require_dnssec (eq $dnssec "true")) (eq $dnssec "false")) "given" true)
  (dict "name" "enable_http_proxy" "value" $maas.proxy.proxy_enabled "given" true)
  (dict "name" "http_proxy" "value" (default "" $maas.proxy.proxy_server) "given" true)
  (dict "name" "maas_proxy_port" "value" (int .Values.endpoints.maas_region.port.region_proxy.default) "given" true)
  (dict "name" "ntp_external_only" "value" $maas.ntp.use_external_only "given" true)
  (dict "name" "ntp_servers" "value" $maas.ntp.ntp_servers "given" $maas.ntp.ntp_servers)
  (dict "name" "prometheus_enabled" "value" .Values.manifests.service_monitor "given" true)
  (dict "name" "remote_syslog" "value" $maas.syslog.remote_syslog "given" $maas.syslog.remote_syslog)
  (dict "name" "upstream_dns" "value" $maas.dns.dns_servers "given" $maas.dns.dns_servers)
  (dict "name" "use_peer_proxy" "value" $maas.proxy.peer_proxy_enabled "given" true)
-}}
{{- $text := "" -}}
{{- range $named -}}
{{- if and .given (not (hasKey $extra .name)) -}}
{{- $text = printf "%s%s%s:%s" $text (ternary "," "" (ne $text "")) (toJson .name) (toJson .value) -}}
{{- end -}}
{{- end -}}
{{- range $name, $value := $extra -}}
{{- if ne (toJson $value) "null" -}}
{{- $text = printf "%s%s%s:%s" $text (ternary "," "" (ne $text "")) (toJson $name) (toJson $value) -}}
{{- end -}}
{{- end -}}
{{- printf "{%s}" $text -}}
{{- end -}}
