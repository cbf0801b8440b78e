{{/* Keys of the earlier chart (0.2) that were given and mean nothing any more,
     a line each, indented. values.schema.json accepts the same. */}}
{{- define "maas.ignored" -}}
{{- $old := list
  (dict "path" "dependencies" "given" (hasKey .Values "dependencies"))
  (dict "path" "images.local_registry" "given" (hasKey .Values.images "local_registry"))
  (dict "path" "images.tags.bootstrap" "given" (hasKey .Values.images.tags "bootstrap"))
  (dict "path" "images.tags.db_init" "given" (hasKey .Values.images.tags "db_init"))
  (dict "path" "images.tags.db_sync" "given" (hasKey .Values.images.tags "db_sync"))
  (dict "path" "images.tags.dep_check" "given" (hasKey .Values.images.tags "dep_check"))
  (dict "path" "images.tags.enable_tls" "given" (hasKey .Values.images.tags "enable_tls"))
  (dict "path" "images.tags.error_pages" "given" (hasKey .Values.images.tags "error_pages"))
  (dict "path" "images.tags.export_api_key" "given" (hasKey .Values.images.tags "export_api_key"))
  (dict "path" "images.tags.ingress" "given" (hasKey .Values.images.tags "ingress"))
  (dict "path" "images.tags.ingress_vip" "given" (hasKey .Values.images.tags "ingress_vip"))
  (dict "path" "jobs.import_boot_resources.retry_timer" "given" (hasKey .Values.jobs.import_boot_resources "retry_timer"))
  (dict "path" "jobs.import_boot_resources.try_limit" "given" (hasKey .Values.jobs.import_boot_resources "try_limit"))
  (dict "path" "labels.ingress" "given" (hasKey .Values.labels "ingress"))
  (dict "path" "manifests.configmap_ingress" "given" (hasKey .Values.manifests "configmap_ingress"))
  (dict "path" "manifests.maas_ingress" "given" (hasKey .Values.manifests "maas_ingress"))
  (dict "path" "manifests.maas_syslog" "given" (hasKey .Values.manifests "maas_syslog"))
  (dict "path" "manifests.rack_deployment" "given" (hasKey .Values.manifests "rack_deployment"))
  (dict "path" "network.gui" "given" (hasKey .Values.network "gui"))
  (dict "path" "network.maas_ingress" "given" (hasKey .Values.network "maas_ingress"))
  (dict "path" "network.port" "given" (hasKey .Values.network "port"))
  (dict "path" "network.proxy" "given" (hasKey .Values.network "proxy"))
  (dict "path" "network.region_api.ingress.classes.namespace" "given" (hasKey .Values.network.region_api.ingress.classes "namespace"))
  (dict "path" "conf.maas.append" "given" (hasKey .Values.conf.maas "append"))
  (dict "path" "conf.maas.cgroups" "given" (hasKey .Values.conf.maas "cgroups"))
  (dict "path" "conf.maas.http_boot" "given" (hasKey .Values.conf.maas "http_boot"))
  (dict "path" "conf.maas.override" "given" (hasKey .Values.conf.maas "override"))
  (dict "path" "secrets.maas_region.value" "given" (hasKey .Values.secrets.maas_region "value"))
  (dict "path" "pod.affinity.anti.type.rack" "given" (hasKey .Values.pod.affinity.anti.type "rack"))
  (dict "path" "pod.mounts.export_api_key" "given" (hasKey .Values.pod.mounts "export_api_key"))
  (dict "path" "pod.mounts.maas_ingress" "given" (hasKey .Values.pod.mounts "maas_ingress"))
  (dict "path" "pod.probes.export-api-key" "given" (hasKey .Values.pod.probes "export-api-key"))
  (dict "path" "pod.probes.import-resources" "given" (hasKey .Values.pod.probes "import-resources"))
  (dict "path" "pod.probes.rack.maas-rack" "given" (hasKey .Values.pod.probes.rack "maas-rack"))
  (dict "path" "pod.replicas.ingress" "given" (hasKey .Values.pod.replicas "ingress"))
  (dict "path" "pod.replicas.ingress_errors" "given" (hasKey .Values.pod.replicas "ingress_errors"))
  (dict "path" "pod.resources.maas_ingress" "given" (hasKey .Values.pod.resources "maas_ingress"))
  (dict "path" "pod.resources.maas_ingress_errors" "given" (hasKey .Values.pod.resources "maas_ingress_errors"))
  (dict "path" "pod.resources.maas_ingress_vip" "given" (hasKey .Values.pod.resources "maas_ingress_vip"))
  (dict "path" "pod.security_context.api_test" "given" (hasKey .Values.pod.security_context "api_test"))
  (dict "path" "pod.security_context.bootstrap_admin_user" "given" (hasKey .Values.pod.security_context "bootstrap_admin_user"))
  (dict "path" "pod.security_context.db_init" "given" (hasKey .Values.pod.security_context "db_init"))
  (dict "path" "pod.security_context.db_sync" "given" (hasKey .Values.pod.security_context "db_sync"))
  (dict "path" "pod.security_context.export_api_key" "given" (hasKey .Values.pod.security_context "export_api_key"))
  (dict "path" "pod.security_context.import_resources" "given" (hasKey .Values.pod.security_context "import_resources"))
  (dict "path" "pod.security_context.ingress" "given" (hasKey .Values.pod.security_context "ingress"))
  (dict "path" "pod.security_context.ingress_errors" "given" (hasKey .Values.pod.security_context "ingress_errors"))
  (dict "path" "pod.security_context.syslog.container.logrotate" "given" (hasKey .Values.pod.security_context.syslog.container "logrotate"))
  (dict "path" "endpoints.maas_db.path" "given" (hasKey .Values.endpoints.maas_db "path"))
  (dict "path" "endpoints.maas_ingress" "given" (hasKey .Values.endpoints "maas_ingress"))
  (dict "path" "endpoints.maas_region.host_fqdn_override.default" "given" (hasKey .Values.endpoints.maas_region.host_fqdn_override "default"))
  (dict "path" "endpoints.maas_region.hosts.default" "given" (hasKey .Values.endpoints.maas_region.hosts "default"))
  (dict "path" "endpoints.maas_region.name" "given" (hasKey .Values.endpoints.maas_region "name"))
  (dict "path" "endpoints.maas_region.port.region_api.default" "given" (hasKey .Values.endpoints.maas_region.port.region_api "default"))
  (dict "path" "endpoints.maas_region.port.region_api.podport" "given" (hasKey .Values.endpoints.maas_region.port.region_api "podport"))
  (dict "path" "endpoints.maas_region.port.region_api.podporttls" "given" (hasKey .Values.endpoints.maas_region.port.region_api "podporttls"))
  (dict "path" "endpoints.maas_region.port.region_api.public" "given" (hasKey .Values.endpoints.maas_region.port.region_api "public"))
  (dict "path" "endpoints.maas_region.port.region_api.secure" "given" (hasKey .Values.endpoints.maas_region.port.region_api "secure"))
  (dict "path" "endpoints.maas_region.port.region_proxy.podport" "given" (hasKey .Values.endpoints.maas_region.port.region_proxy "podport"))
  (dict "path" "endpoints.maas_region.port.region_proxy.public" "given" (hasKey .Values.endpoints.maas_region.port.region_proxy "public"))
  (dict "path" "endpoints.maas_region.scheme" "given" (hasKey .Values.endpoints.maas_region "scheme"))
  (dict "path" "endpoints.maas_region_ui" "given" (hasKey .Values.endpoints "maas_region_ui"))
  (dict "path" "endpoints.maas_syslog.host_fqdn_override" "given" (hasKey .Values.endpoints.maas_syslog "host_fqdn_override"))
  (dict "path" "endpoints.maas_syslog.hosts" "given" (hasKey .Values.endpoints.maas_syslog "hosts"))
  (dict "path" "endpoints.maas_syslog.port.syslog.podport" "given" (hasKey .Values.endpoints.maas_syslog.port.syslog "podport"))
  (dict "path" "endpoints.physicalprovisioner" "given" (hasKey .Values.endpoints "physicalprovisioner"))
-}}
{{- range $old -}}
{{- if .given }}
  {{ .path }}
{{- end -}}
{{- end -}}
{{- range $name, $value := .Values.endpoints.maas_region.port -}}
{{- if not (or (eq $name "region_api") (eq $name "region_proxy")) }}
  endpoints.maas_region.port.{{ $name }}
{{- end -}}
{{- end -}}
{{- end -}}
