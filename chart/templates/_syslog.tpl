{{/* Received lines, in one file that rsyslog itself has rotated by size: there
     is no second process to fail unnoticed. */}}
{{- define "maas.syslog.conf" -}}
{{- $syslog := .Values.conf.syslog -}}
global(workDirectory="/tmp")
module(load="imudp")
module(load="imtcp")
input(type="imudp" port="5514")
input(type="imtcp" port="5515")
*.{{ $syslog.log_level }} action(
  type="omfile"
  file="{{ $syslog.logpath }}/{{ $syslog.logfile }}"
  fileCreateMode="0640"
  rotation.sizeLimit="{{ $syslog.logrotate.size }}"
  rotation.sizeLimitCommand="/bin/sh /etc/maas-syslog/rotate.sh"
)
{{ end -}}

{{- define "maas.syslog.rotate" -}}
#!/bin/sh
# FILE becomes FILE.1.gz, FILE.1.gz becomes FILE.2.gz, and so on.
set -eu
file='{{ .Values.conf.syslog.logpath }}/{{ .Values.conf.syslog.logfile }}'
keep={{ int .Values.conf.syslog.logrotate.rotate }}
number=$keep
while [ "$number" -gt 1 ]; do
    older=$((number - 1))
    if [ -e "$file.$older.gz" ]; then mv -f "$file.$older.gz" "$file.$number.gz"; fi
    number=$older
done
if [ "$keep" -gt 0 ]; then
    mv -f "$file" "$file.1"
    gzip -f "$file.1"
else
    rm -f "$file"
fi
{{ end -}}
