{{/* Configuration files for region and rack, a line `"name": "content"` each;
     empty where the image's own are right. Both name and content are JSON, so
     their digest is that of the values. */}}

{{/* Keeps chrony from running, in a way that MAAS, which watches it, takes for
     a running one. */}}
{{- define "maas.file.chrony" -}}
[Service]
Type=exec
PIDFile=
ExecStart=
ExecStart=/bin/sleep infinity
{{ end -}}

{{/* MAAS's nginx.conf is written by its package: two numbers in it are set
     before it is read. Without backslashes, of which systemd takes some away. */}}
{{- define "maas.file.http" -}}
[Service]
{{- with .Values.conf.nginx.worker_processes }}
ExecStartPre=-/bin/sed -i 's/^worker_processes .*/worker_processes {{ include "maas.text" . }};/' /var/lib/maas/http/nginx.conf
{{- end }}
{{- with .Values.conf.nginx.worker_connections }}
ExecStartPre=-/bin/sed -i 's/^ *worker_connections .*/    worker_connections {{ int . }};/' /var/lib/maas/http/nginx.conf
{{- end }}
{{ end -}}

{{/* Services do not see the container's environment. These three take libpq's
     variables; Temporal's own server, maas-temporal.service, takes none. */}}
{{- define "maas.file.libpq" -}}
[Service]
Environment=PGSSLMODE={{ include "maas.database.mode" . }}
{{- if include "maas.database.ca" . }}
Environment=PGSSLROOTCERT=/etc/maas-deployer/database-ca/ca.crt
{{- end }}
{{ end -}}

{{- define "maas.file.named" -}}
RESOLVCONF=no
OPTIONS="-u bind -4 -n {{ include "maas.text" .Values.conf.bind.cpus }}"
{{ end -}}

{{- define "maas.file.named-options" -}}
{{- $bind := .Values.conf.bind -}}
{{- with $bind.prefix }}{{ . }}
{{ end -}}
{{- if $bind.override -}}
{{ $bind.override }}
{{ else -}}
options {
    directory "/var/cache/bind";
    auth-nxdomain no;
    listen-on-v6 { none; };
    include "/etc/bind/maas/named.conf.options.inside.maas";
};
{{ end -}}
{{- with $bind.append }}{{ . }}
{{ end -}}
{{- end -}}

{{- define "maas.file.drivers" -}}
drivers:
{{- range .Values.conf.drivers }}
- comment: {{ .comment | default "" | quote }}
  {{- if .key_binary }}
  key_binary: !!binary {{ .key_binary | quote }}
  {{- end }}
  {{- if .repository }}
  repository: {{ .repository | quote }}
  {{- end }}
  modaliases: {{ .modaliases | default list | toJson }}
  module: {{ .module | quote }}
  package: {{ .package | default "" | quote }}
  {{- if .blacklist }}
  blacklist: {{ .blacklist | quote }}
  {{- end }}
{{- end }}
{{ end -}}

{{/* Takes root, who (region | rack). Each file has a mount in maas.files.mounts. */}}
{{- define "maas.files" -}}
{{- $values := .root.Values -}}
{{- $region := eq .who "region" -}}
{{- if ternary $values.conf.maas.ntp.disable_ntpd_region $values.conf.maas.ntp.disable_ntpd_rack $region -}}
"chrony.conf": {{ include "maas.file.chrony" .root | toJson }}
{{ end -}}
{{- if and $region $values.conf.drivers -}}
"drivers.yaml": {{ include "maas.file.drivers" .root | toJson }}
{{ end -}}
{{- if and (not $region) (or $values.conf.nginx.worker_processes $values.conf.nginx.worker_connections) -}}
"http.conf": {{ include "maas.file.http" .root | toJson }}
{{ end -}}
{{- if and $region (include "maas.files.libpq" .root) -}}
"libpq.conf": {{ include "maas.file.libpq" .root | toJson }}
{{ end -}}
{{- if $values.conf.bind.cpus -}}
"named": {{ include "maas.file.named" .root | toJson }}
{{ end -}}
{{- if or $values.conf.bind.override $values.conf.bind.prefix $values.conf.bind.append -}}
"named.conf.options": {{ include "maas.file.named-options" .root | toJson }}
{{ end -}}
{{- end -}}

{{/* libpq prefers TLS by itself. */}}
{{- define "maas.files.libpq" -}}
{{- if or (ne (include "maas.database.mode" .) "prefer") (include "maas.database.ca" .) -}}true{{- end -}}
{{- end -}}

{{- define "maas.files.mounts" -}}
{{- $values := .root.Values -}}
{{- $region := eq .who "region" -}}
{{- if ternary $values.conf.maas.ntp.disable_ntpd_region $values.conf.maas.ntp.disable_ntpd_rack $region -}}
- {name: files, subPath: chrony.conf, mountPath: /etc/systemd/system/chrony.service.d/50-chart.conf, readOnly: true}
{{ end -}}
{{- if and $region $values.conf.drivers -}}
- {name: files, subPath: drivers.yaml, mountPath: /etc/maas/drivers.yaml, readOnly: true}
{{ end -}}
{{- if and (not $region) (or $values.conf.nginx.worker_processes $values.conf.nginx.worker_connections) -}}
- {name: files, subPath: http.conf, mountPath: /etc/systemd/system/maas-http.service.d/50-chart.conf, readOnly: true}
{{ end -}}
{{- if and $region (include "maas.files.libpq" .root) -}}
- {name: files, subPath: libpq.conf, mountPath: /etc/systemd/system/maas-regiond.service.d/50-chart.conf, readOnly: true}
- {name: files, subPath: libpq.conf, mountPath: /etc/systemd/system/maas-apiserver.service.d/50-chart.conf, readOnly: true}
- {name: files, subPath: libpq.conf, mountPath: /etc/systemd/system/maas-temporal-worker.service.d/50-chart.conf, readOnly: true}
{{ end -}}
{{- if $values.conf.bind.cpus -}}
- {name: files, subPath: named, mountPath: /etc/default/named, readOnly: true}
{{ end -}}
{{- if or $values.conf.bind.override $values.conf.bind.prefix $values.conf.bind.append -}}
- {name: files, subPath: named.conf.options, mountPath: /etc/bind/named.conf.options, readOnly: true}
{{ end -}}
{{- end -}}

{{/* Templates from which MAAS makes what machines are told. They may hold
     passwords: they stand in a Secret. */}}
{{- define "maas.curtin" -}}
{{- $conf := .Values.conf -}}
{{- if or $conf.curtin.override $conf.curtin.userdata $conf.curtin.late_commands $conf.drydock.bootaction_url $conf.maas.system_passwd -}}true{{- end -}}
{{- end -}}

{{/* Of what they are made of. Without the password: a digest of it could be guessed from. */}}
{{- define "maas.preseeds.digest" -}}
{{- $conf := .Values.conf -}}
{{- $userdata := $conf.curtin.userdata | default "" -}}
{{- $user := ternary $conf.maas.system_user "" (ne (toJson $conf.maas.system_passwd) "null") -}}
{{- $curtin := ternary (list $userdata) (list $conf.curtin.late_commands $conf.drydock.bootaction_url $user) (ne $userdata "") -}}
{{- list (ternary $curtin list (eq (include "maas.curtin" .) "true")) (ternary (list $conf.cloudconfig.sections) list $conf.cloudconfig.override) | toJson | sha256sum | trunc 16 -}}
{{- end -}}

{{- define "maas.preseed.curtin_userdata" -}}
{{- $conf := .Values.conf -}}
#cloud-config
debconf_selections:
 maas: |
  {{ "{{for line in str(curtin_preseed).splitlines()}}" }}
  {{ "{{line}}" }}
  {{ "{{endfor}}" }}
late_commands:
  maas: [wget, '--no-proxy', {{ "{{node_disable_pxe_url|escape.json}}" }}, '--post-data', {{ "{{node_disable_pxe_data|escape.json}}" }}, '-O', '/dev/null']
{{- with $conf.drydock.bootaction_url }}
{{ "{{py: keys = [tag.split('__baid__')[1] for tag in node.tag_names() if tag.startswith(node.hostname + '__baid__')]}}" }}
{{ "{{if keys}}" }}
  drydock_01: [curtin, in-target, '--', sh, '-c', 'wget --no-proxy --no-check-certificate --header="X-Bootaction-Key: {{ "{{keys[0]}}" }}" -O /tmp/bootaction-units.tar.gz {{ . }}/bootactions/nodes/{{ "{{node.hostname}}" }}/units']
  drydock_02: [curtin, in-target, '--', sh, '-c', 'wget --no-proxy --no-check-certificate --header="X-Bootaction-Key: {{ "{{keys[0]}}" }}" -O /tmp/bootaction-files.tar.gz {{ . }}/bootactions/nodes/{{ "{{node.hostname}}" }}/files']
  drydock_03: [curtin, in-target, '--', sh, '-c', 'tar --owner=root -xPzf /tmp/bootaction-files.tar.gz']
  drydock_04: [curtin, in-target, '--', sh, '-c', 'tar --owner=root -xPzvf /tmp/bootaction-units.tar.gz | while read -r unit; do systemctl enable "$(basename "$unit")" || true; done']
{{ "{{endif}}" }}
{{- end }}
{{- range $name, $command := $conf.curtin.late_commands }}
  {{ toJson $name }}: {{ toJson $command }}
{{- end }}
{{- if and $conf.maas.system_user $conf.maas.system_passwd }}
write_files:
  userconfig:
    path: /etc/cloud/cloud.cfg.d/00-user.cfg
    content: |
      ssh_pwauth: yes
      disable_root: false
      system_info:
        default_user:
          name: {{ toJson $conf.maas.system_user }}
          lock_passwd: false
          plain_text_passwd: {{ toJson $conf.maas.system_passwd }}
{{- end }}
{{ end -}}

{{- define "maas.preseed.sections" -}}
{{ "{{preseed_data}}" }}
{{- range $name, $value := .Values.conf.cloudconfig.sections }}
{{ toJson $name }}: {{ toJson $value }}
{{- end }}
{{ end -}}
