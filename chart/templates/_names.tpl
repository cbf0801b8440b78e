{{/* What every object's name begins with. 39 characters: the longest name that
     is made of it, a Job's, has to stay within 63. */}}
{{- define "maas.fullname" -}}
{{- if contains "." .Release.Name -}}
{{- fail (printf "the release's name %s has a dot, which names of Services cannot have: choose another" .Release.Name) -}}
{{- end -}}
{{- if contains (.Release.Name | trunc 1) "0123456789" -}}
{{- fail (printf "the release's name %s begins with a digit, which names of Services cannot: choose another" .Release.Name) -}}
{{- end -}}
{{- if contains "maas" .Release.Name -}}
{{- .Release.Name | trunc 39 | trimSuffix "-" -}}
{{- else -}}
{{- printf "%s-maas" .Release.Name | trunc 39 | trimSuffix "-" -}}
{{- end -}}
{{- end -}}

{{/* Labels by which selectors find pods; also of pods and volume claims. They
     must never change. Takes root, component. */}}
{{- define "maas.selector" -}}
app.kubernetes.io/name: maas
app.kubernetes.io/instance: {{ .root.Release.Name | quote }}
app.kubernetes.io/component: {{ .component }}
{{- end -}}

{{/* Labels of objects. Takes root, component. */}}
{{- define "maas.labels" -}}
{{ include "maas.selector" . }}
app.kubernetes.io/managed-by: {{ .root.Release.Service }}
app.kubernetes.io/version: {{ .root.Chart.AppVersion | quote }}
helm.sh/chart: {{ printf "%s-%s" .root.Chart.Name .root.Chart.Version | quote }}
{{- end -}}

{{/* An image's name, with the registry put before it. Takes root, image. */}}
{{- define "maas.image" -}}
{{- if .root.Values.images.registry -}}
{{- printf "%s/%s" (.root.Values.images.registry | trimSuffix "/") .image -}}
{{- else -}}
{{- .image -}}
{{- end -}}
{{- end -}}

{{/* Names of Secrets: the given one, or one of the release's own. */}}
{{- define "maas.secret.db-admin" -}}
{{- .Values.secrets.maas_db.admin | default (printf "%s-db-admin" (include "maas.fullname" .)) -}}
{{- end -}}
{{- define "maas.secret.db-user" -}}
{{- .Values.secrets.maas_db.user | default (printf "%s-db-user" (include "maas.fullname" .)) -}}
{{- end -}}
{{- define "maas.secret.admin" -}}
{{- .Values.secrets.maas_users.admin | default (printf "%s-admin" (include "maas.fullname" .)) -}}
{{- end -}}
{{- define "maas.secret.region" -}}
{{- .Values.secrets.maas_region.name | default (printf "%s-region-secret" (include "maas.fullname" .)) -}}
{{- end -}}
{{- define "maas.secret.ssh" -}}
{{- .Values.secrets.ssh_key | default (printf "%s-ssh-private-key" (include "maas.fullname" .)) -}}
{{- end -}}
{{- define "maas.secret.tls" -}}
{{- .Values.secrets.maas_cert | default (printf "%s-region-api-tls" (include "maas.fullname" .)) -}}
{{- end -}}
{{- define "maas.secret.ingress-tls" -}}
{{- .Values.secrets.maas_ingress_cert | default (printf "%s-region-api-ingress-tls" (include "maas.fullname" .)) -}}
{{- end -}}
{{- define "maas.secret.api-key" -}}
{{- .Values.conf.maas.credentials.secret.name | default (printf "%s-api-key" (include "maas.fullname" .)) -}}
{{- end -}}
{{- define "maas.secret.api-key.namespace" -}}
{{- .Values.conf.maas.credentials.secret.namespace | default .Release.Namespace -}}
{{- end -}}

{{/* The domain of this namespace's Services. */}}
{{- define "maas.domain" -}}
{{- printf "%s.svc.%s" .Release.Namespace .Values.endpoints.cluster_domain_suffix -}}
{{- end -}}

{{/* The host of the database. */}}
{{- define "maas.database.host" -}}
{{- $db := .Values.endpoints.maas_db -}}
{{- if .Values.postgresql.enabled -}}
{{- printf "%s-postgresql.%s" (include "maas.fullname" .) (include "maas.domain" .) -}}
{{- else if $db.host_fqdn_override.default -}}
{{- $db.host_fqdn_override.default -}}
{{- else if contains "." $db.hosts.default -}}
{{- $db.hosts.default -}}
{{- else -}}
{{- printf "%s.%s.svc.%s" $db.hosts.default (default .Release.Namespace $db.namespace) .Values.endpoints.cluster_domain_suffix -}}
{{- end -}}
{{- end -}}

{{/* The database's sslmode: the bundled server has no TLS. */}}
{{- define "maas.database.mode" -}}
{{- ternary "disable" .Values.endpoints.maas_db.tls.mode .Values.postgresql.enabled -}}
{{- end -}}

{{/* What makes a certificate authority of the database be mounted. */}}
{{- define "maas.database.ca" -}}
{{- if and .Values.endpoints.maas_db.tls.ca (not .Values.postgresql.enabled) -}}true{{- end -}}
{{- end -}}

{{/* The API inside the cluster. MAAS keeps plain HTTP on 5240 with TLS on too,
     and redirects from there what it serves over TLS alone. Where this release has
     no region, it is where the region that is elsewhere says. */}}
{{- define "maas.region.url" -}}
{{- $elsewhere := and (not .Values.manifests.region_statefulset) .Values.conf.maas.url.maas_url -}}
{{- $elsewhere | default (printf "http://%s-region.%s:5240%s" (include "maas.fullname" .) (include "maas.domain" .) .Values.endpoints.maas_region.path.default) -}}
{{- end -}}

{{/* The URL that racks and machines use. */}}
{{- define "maas.region.maas_url" -}}
{{- .Values.conf.maas.url.maas_url | default (printf "http://%s-region.%s%s" (include "maas.fullname" .) (include "maas.domain" .) .Values.endpoints.maas_region.path.default) -}}
{{- end -}}

{{/* The name under which jobs verify the API's certificate. */}}
{{- define "maas.tls.name" -}}
{{- .Values.conf.maas.tls.server_name | default (printf "%s-region.%s" (include "maas.fullname" .) (include "maas.domain" .)) -}}
{{- end -}}

{{/* The host of a URL: a name or an address, without brackets. */}}
{{- define "maas.url.host" -}}
{{- range $at, $part := splitList "/" . -}}
{{- if eq $at 2 -}}
{{- $bracketed := contains "]" $part -}}
{{- range $piece, $text := splitList (ternary "]" ":" $bracketed) $part -}}
{{- if eq $piece 0 -}}
{{- range splitList "[" $text }}{{ . }}{{ end -}}
{{- end -}}
{{- end -}}
{{- end -}}
{{- end -}}
{{- end -}}

{{/* Not empty where a host is an IP address: only those have a colon, or a
     number at their end. */}}
{{- define "maas.host.is_address" -}}
{{- $last := "" -}}
{{- range splitList "." . -}}
{{- $last = . -}}
{{- end -}}
{{- if or (contains ":" .) (eq (printf "%d" (int $last)) $last) -}}true{{- end -}}
{{- end -}}

{{/* The host name of the Ingress. */}}
{{- define "maas.ingress.host" -}}
{{- .Values.endpoints.maas_region.host_fqdn_override.public | default .Values.endpoints.maas_region.hosts.public -}}
{{- end -}}

{{/* Not empty where a keyring was given. */}}
{{- define "maas.keyring" -}}
{{- $keyring := .Values.conf.cache.keyring -}}
{{- if or $keyring.data $keyring.config_map $keyring.secret -}}true{{- end -}}
{{- end -}}

{{/* The releases of images: deployed, commissioned with, and more; each once,
     sorted. Takes root, separator. */}}
{{- define "maas.releases" -}}
{{- $images := .root.Values.conf.maas.images -}}
{{- $names := dict $images.default_image true $images.commissioning_image true -}}
{{- range $images.releases -}}
{{- $names = merge (dict . true) $names -}}
{{- end -}}
{{- $separator := .separator -}}
{{- $text := "" -}}
{{- range $name, $wanted := $names -}}
{{- $text = printf "%s%s%s" $text (ternary $separator "" (ne $text "")) $name -}}
{{- end -}}
{{- $text -}}
{{- end -}}

{{/* Texts of a list, with a separator. Takes list, separator. */}}
{{- define "maas.join" -}}
{{- $separator := .separator -}}
{{- $text := "" -}}
{{- range .list -}}
{{- $text = printf "%s%s%s" $text (ternary $separator "" (ne $text "")) . -}}
{{- end -}}
{{- $text -}}
{{- end -}}
