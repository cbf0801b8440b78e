{{/* Values that do not go together, which the schema cannot tell: refused, before
     Kubernetes or MAAS would, or, worse, not. */}}
{{- define "maas.refused" -}}
{{- $values := .Values -}}
{{- $network := .Values.network -}}
{{- $port := .Values.endpoints.maas_region.port -}}
{{- if and $values.conf.cache.enabled (not $values.manifests.region_statefulset) -}}
{{- fail "conf.cache.enabled needs manifests.region_statefulset: the mirror runs beside the region. Where the region is elsewhere, so is its mirror" -}}
{{- end -}}
{{- if $values.manifests.region_statefulset -}}
{{- $proxy := int $port.region_proxy.default -}}
{{- if gt 1024 $proxy -}}
{{- fail (printf "endpoints.maas_region.port.region_proxy.default is %d: MAAS takes no port below 1024 for its proxy" $proxy) -}}
{{- end -}}
{{- include "maas.refused.port" (dict "path" "endpoints.maas_region.port.region_proxy.default" "port" $proxy) -}}
{{- if $values.conf.cache.enabled -}}
{{- include "maas.refused.port" (dict "path" "conf.cache.port" "port" (int $values.conf.cache.port)) -}}
{{- if eq (int $values.conf.cache.port) $proxy -}}
{{- fail (printf "conf.cache.port and endpoints.maas_region.port.region_proxy.default are both %d, in one pod: choose another" $proxy) -}}
{{- end -}}
{{- end -}}
{{- $nodes := list
  (dict "path" "region_api.nodeport" "port" (int $port.region_api.nodeport) "wanted" $network.region_api.node_port.enabled)
  (dict "path" "region_api.nodeporttls" "port" (int $port.region_api.nodeporttls) "wanted" (and $network.region_api.node_port.enabled $values.conf.maas.tls.enabled))
  (dict "path" "region_proxy.nodeport" "port" (int $port.region_proxy.nodeport) "wanted" $network.region_proxy.node_port.enabled)
-}}
{{- range $at, $one := $nodes -}}
{{- range $other, $two := $nodes -}}
{{- if and (gt $other $at) $one.wanted $two.wanted (eq $one.port $two.port) -}}
{{- fail (printf "endpoints.maas_region.port.%s and endpoints.maas_region.port.%s are both %d, on every node: choose another" $one.path $two.path $one.port) -}}
{{- end -}}
{{- end -}}
{{- end -}}
{{- end -}}
{{- end -}}

{{/* What listens in the region's pod, whatever the values say; much of it stands in
     its Service too. Takes path, port. */}}
{{- define "maas.refused.port" -}}
{{- $given := . -}}
{{- range list
  (dict "from" 53 "to" 53 "is" "the DNS server")
  (dict "from" 514 "to" 514 "is" "syslog")
  (dict "from" 953 "to" 954 "is" "the control of the DNS server")
  (dict "from" 3128 "to" 3128 "is" "the proxy's second port")
  (dict "from" 5239 "to" 5248 "is" "MAAS's API and services")
  (dict "from" 5250 "to" 5284 "is" "MAAS's workers and Temporal")
  (dict "from" 5443 "to" 5443 "is" "MAAS's API over TLS")
  (dict "from" 9000 "to" 9000 "is" "the metrics of Temporal")
-}}
{{- if not (or (gt .from $given.port) (gt $given.port .to)) -}}
{{- fail (printf "%s is %d: that is %s, in the same pod. Choose another" $given.path $given.port .is) -}}
{{- end -}}
{{- end -}}
{{- end -}}
