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
{{- if not (include "maas.mirror.login" .) }}
- --upstream
- {{ $cache.upstream | quote }}
{{- end }}
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

{{/* Not empty where the upstream's URL has a login, which no argument may. */}}
{{- define "maas.mirror.login" -}}
{{- $cache := .Values.conf.cache -}}
{{- if and $cache.upstream (not $cache.baked) -}}
{{- if contains "@" $cache.upstream -}}true{{- end -}}
{{- end -}}
{{- end -}}

{{/* The mirror's environment, a line `"name": "base64"` each. It stands in a
     Secret: a proxy's URL may have a login. */}}
{{- define "maas.mirror.env" -}}
{{- $env := .Values.conf.cache.env -}}
{{- if include "maas.mirror.login" . -}}
{{- $env = merge (dict "MAAS_MIRROR_UPSTREAM" .Values.conf.cache.upstream) $env -}}
{{- end -}}
{{- range $name, $value := $env -}}
{{ toJson $name }}: {{ include "maas.text" $value | b64enc | quote }}
{{ end -}}
{{- end -}}

{{/* That environment as the container names it. */}}
{{- define "maas.mirror.env.refs" -}}
{{- $fullname := include "maas.fullname" . -}}
{{- $env := .Values.conf.cache.env -}}
{{- if include "maas.mirror.login" . -}}
{{- $env = merge (dict "MAAS_MIRROR_UPSTREAM" "") $env -}}
{{- end -}}
{{- range $name, $value := $env -}}
- {name: {{ $name | quote }}, valueFrom: {secretKeyRef: {name: {{ $fullname }}-mirror-env, key: {{ $name | quote }}}}}
{{ end -}}
{{- end -}}
