{{/* Settings of MAAS: what values of their own say, and extra_settings, which win
     where nobody has set the other. As JSON, for job configure; or, where `show`
     is `conflicts`, lines that name settings in extra_settings of which another
     value, that was set, says otherwise; or, where it is `won`, lines that name
     those that win. Takes root, show.

     Of each setting: `by` is the path of its value, `value` what MAAS is given,
     `sent` whether it is, `default` what the value is where nobody has set it;
     `apart` says that configure is not the only one who uses the value, so that
     extra_settings can never win. */}}
{{- define "maas.config" -}}
{{- $values := .root.Values -}}
{{- $maas := $values.conf.maas -}}
{{- $images := $maas.images -}}
{{- $extra := $maas.extra_settings -}}
{{- $dnssec := toJson $maas.dns.require_dnssec -}}
{{- $cache := $values.conf.cache.enabled -}}
{{- $named := list
  (dict "name" "boot_images_no_proxy" "by" "conf.cache.enabled" "value" $cache "sent" true "default" $cache "apart" false)
  (dict "name" "commissioning_distro_series" "by" "conf.maas.images.commissioning_image" "value" $images.commissioning_image "sent" false "default" "" "apart" true)
  (dict "name" "default_distro_series" "by" "conf.maas.images.default_image" "value" $images.default_image "sent" false "default" "" "apart" true)
  (dict "name" "default_min_hwe_kernel" "by" "conf.maas.images.default_kernel" "value" $images.default_kernel "sent" false "default" "" "apart" true)
  (dict "name" "default_osystem" "by" "conf.maas.images.default_os" "value" $images.default_os "sent" false "default" "" "apart" true)
  (dict "name" "dnssec_validation" "by" "conf.maas.dns.require_dnssec" "value" (ternary "no" (ternary "yes" $maas.dns.require_dnssec (eq $dnssec "true")) (eq $dnssec "false")) "sent" true "default" "no" "apart" false)
  (dict "name" "enable_http_proxy" "by" "conf.maas.proxy.proxy_enabled" "value" $maas.proxy.proxy_enabled "sent" true "default" false "apart" false)
  (dict "name" "http_proxy" "by" "conf.maas.proxy.proxy_server" "value" (default "" $maas.proxy.proxy_server) "sent" true "default" "" "apart" false)
  (dict "name" "maas_proxy_port" "by" "endpoints.maas_region.port.region_proxy.default" "value" (int $values.endpoints.maas_region.port.region_proxy.default) "sent" true "default" "" "apart" true)
  (dict "name" "maas_url" "by" "conf.maas.url.maas_url" "value" (include "maas.region.maas_url" .root) "sent" false "default" "" "apart" true)
  (dict "name" "ntp_external_only" "by" "conf.maas.ntp.use_external_only" "value" $maas.ntp.use_external_only "sent" true "default" false "apart" false)
  (dict "name" "ntp_servers" "by" "conf.maas.ntp.ntp_servers" "value" $maas.ntp.ntp_servers "sent" $maas.ntp.ntp_servers "default" "" "apart" false)
  (dict "name" "prometheus_enabled" "by" "manifests.service_monitor" "value" $values.manifests.service_monitor "sent" true "default" false "apart" false)
  (dict "name" "remote_syslog" "by" "conf.maas.syslog.remote_syslog" "value" $maas.syslog.remote_syslog "sent" $maas.syslog.remote_syslog "default" "" "apart" false)
  (dict "name" "upstream_dns" "by" "conf.maas.dns.dns_servers" "value" $maas.dns.dns_servers "sent" $maas.dns.dns_servers "default" "" "apart" false)
  (dict "name" "use_peer_proxy" "by" "conf.maas.proxy.peer_proxy_enabled" "value" $maas.proxy.peer_proxy_enabled "sent" true "default" false "apart" false)
-}}
{{- $text := "" -}}
{{- $conflicts := "" -}}
{{- $won := "" -}}
{{- range $named -}}
{{- if and .sent (not (hasKey $extra .name)) -}}
{{- $text = printf "%s%s%s:%s" $text (ternary "," "" (ne $text "")) (toJson .name) (toJson .value) -}}
{{- end -}}
{{- end -}}
{{- range $name, $value := $extra -}}
{{- $send := ne (toJson $value) "null" -}}
{{- range $named -}}
{{- if and (eq .name $name) (ne (toJson $value) "null") -}}
{{- $own := include "maas.words" .value -}}
{{- $line := printf "\n  %s: %s" .name .by -}}
{{- if ne $own (include "maas.words" $value) -}}
{{- if or .apart (ne $own (include "maas.words" .default)) -}}
{{- $conflicts = printf "%s%s" $conflicts $line -}}
{{- else -}}
{{- $won = printf "%s%s" $won $line -}}
{{- end -}}
{{- end -}}
{{/* import-images, or the region itself, sets it. */}}
{{- $send = or .sent (not .apart) -}}
{{- end -}}
{{- end -}}
{{- if $send -}}
{{- $text = printf "%s%s%s:%s" $text (ternary "," "" (ne $text "")) (toJson $name) (toJson $value) -}}
{{- end -}}
{{- end -}}
{{- if eq .show "conflicts" -}}
{{- $conflicts -}}
{{- else if eq .show "won" -}}
{{- $won -}}
{{- else -}}
{{- printf "{%s}" $text -}}
{{- end -}}
{{- end -}}

{{/* Any value that is no map as text: of a list its items, of a number its digits. */}}
{{- define "maas.text" -}}
{{- $json := toJson . -}}
{{- $first := $json | trunc 1 -}}
{{- if eq $first "[" -}}
{{- range . }}{{ include "maas.text" . }} {{ end -}}
{{- else if eq $first "\"" -}}
{{- . -}}
{{- else if ne $json "null" -}}
{{- $json -}}
{{- end -}}
{{- end -}}

{{/* The words of such a text: MAAS takes commas for spaces in lists. */}}
{{- define "maas.words" -}}
{{- range splitList "," (include "maas.text" .) -}}
{{- range splitList " " . -}}
{{- if . }}{{ . }} {{ end -}}
{{- end -}}
{{- end -}}
{{- end -}}
