{{/* The mirror beside the region. */}}

{{- define "maas.mirror.mount" -}}
{{- if .Values.storage.mirror.pvc.enabled -}}
- {name: mirror, mountPath: /var/lib/maas-mirror}
{{- else -}}
- {name: data, mountPath: /var/lib/maas-mirror, subPath: mirror}
{{- end -}}
{{- end -}}

{{/* Where a store is baked in, or no upstream is named, nothing is fetched. */}}
{{- define "maas.mirror.args" -}}
{{- $cache := .Values.conf.cache -}}
- serve
- --store
- /var/lib/maas-mirror
- --listen
- {{ printf "%s:%d" $cache.listen (int $cache.port) | quote }}
{{- if and $cache.upstream (not $cache.baked) }}
- --upstream
- {{ $cache.upstream | quote }}
{{- if eq $cache.every "never" }}
- --once
{{- else }}
- --every
- {{ $cache.every | quote }}
{{- end }}
- --release
- {{ ternary (include "maas.join" (dict "list" $cache.releases "separator" ",")) (include "maas.releases" (dict "root" . "separator" ",")) (ne (toJson $cache.releases) "[]") | quote }}
- --arch
- {{ include "maas.join" (dict "list" ($cache.arches | default .Values.conf.maas.images.arches) "separator" ",") | quote }}
{{- if $cache.kernels }}
- --kernel
- {{ include "maas.join" (dict "list" $cache.kernels "separator" ",") | quote }}
{{- end }}
- --max-versions
- {{ ternary "all" (printf "%d" (int $cache.max_versions)) (eq (toJson $cache.max_versions) "\"all\"") | quote }}
{{- if $cache.no_bootloaders }}
- --no-bootloaders
{{- end }}
{{- if $cache.pull_through }}
- --pull-through
{{- end }}
{{- if include "maas.keyring" . }}
- --keyring
- /etc/maas-deployer/keyring/keyring.gpg
{{- end }}
{{- if $cache.ca }}
- --ca-file
- /etc/maas-mirror/ca/ca.crt
{{- end }}
{{- end }}
{{- range $cache.extra_args }}
- {{ . | quote }}
{{- end }}
{{- end -}}
