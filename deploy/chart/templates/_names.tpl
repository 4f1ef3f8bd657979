{{/* What every object of this release is labelled with. */}}
{{- define "weft.labels" -}}
app.kubernetes.io/name: weft
app.kubernetes.io/instance: {{ .Release.Name }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
app.kubernetes.io/part-of: weft
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version | replace "+" "_" }}
{{- end }}

{{/* What selects a part's pods; it never changes, because a Deployment's selector can't. Takes the part's name. */}}
{{- define "weft.selector" -}}
app.kubernetes.io/name: weft
app.kubernetes.io/component: {{ . }}
{{- end }}

{{- define "weft.image" -}}
{{- $image := .Values.image -}}
{{- if $image.digest -}}{{ $image.repository }}@{{ $image.digest }}
{{- else -}}{{ $image.repository }}:{{ $image.tag | default .Chart.AppVersion }}
{{- end }}
{{- end }}

{{- define "weft.redirectImage" -}}
{{ .Values.injector.redirectImage | default (printf "weft/redirect:%s" .Chart.AppVersion) }}
{{- end }}

{{/* The restricted Pod Security Standard, for a pod and for a container. */}}
{{- define "weft.podSecurity" -}}
runAsNonRoot: true
runAsUser: 65532
runAsGroup: 65532
fsGroup: 65532
seccompProfile: {type: RuntimeDefault}
{{- end }}
{{- define "weft.containerSecurity" -}}
allowPrivilegeEscalation: false
privileged: false
readOnlyRootFilesystem: true
capabilities: {drop: [ALL]}
{{- end }}

{{/* Spread over nodes and zones. Takes the root and the part's name. */}}
{{- define "weft.spread" -}}
{{- $root := index . 0 }}{{ $part := index . 1 -}}
{{- range $key := list "kubernetes.io/hostname" "topology.kubernetes.io/zone" }}
- maxSkew: 1
  topologyKey: {{ $key }}
  whenUnsatisfiable: {{ $root.Values.topologySpread.whenUnsatisfiable }}
  labelSelector:
    matchLabels: {{- include "weft.selector" $part | nindent 6 }}
{{- end }}
{{- end }}

{{/* A token of one hour for the API server, mounted where clients look for it, and in no other container. */}}
{{- define "weft.tokenVolume" -}}
- name: kubernetes
  projected:
    defaultMode: 0440
    sources:
      - serviceAccountToken: {path: token, expirationSeconds: 3607}
      - configMap: {name: kube-root-ca.crt, items: [{key: ca.crt, path: ca.crt}]}
      - downwardAPI: {items: [{path: namespace, fieldRef: {fieldPath: metadata.namespace}}]}
{{- end }}

{{/* Where the pods may run, and how they are ranked. Takes the root and the part's values. */}}
{{- define "weft.placement" -}}
{{- $root := index . 0 }}{{ $part := index . 1 -}}
{{- with $root.Values.priorityClass.name }}
priorityClassName: {{ . }}
{{- end }}
{{- with $root.Values.imagePullSecrets }}
imagePullSecrets: {{- toYaml . | nindent 2 }}
{{- end }}
{{- with $part.nodeSelector }}
nodeSelector: {{- toYaml . | nindent 2 }}
{{- end }}
{{- with $part.tolerations }}
tolerations: {{- toYaml . | nindent 2 }}
{{- end }}
{{- with $part.affinity }}
affinity: {{- toYaml . | nindent 2 }}
{{- end }}
{{- end }}

{{/* The namespaces whose pods and objects are never asked about: an outage of ours can't hold them up. */}}
{{- define "weft.elsewhere" -}}
key: kubernetes.io/metadata.name
operator: NotIn
values: {{- concat (list "kube-system" "kube-public" "kube-node-lease" .Release.Namespace) .Values.admission.excludedNamespaces | uniq | toYaml | nindent 2 }}
{{- end }}

{{/* Flags of the webhook for sidecars; those without a value are left out. */}}
{{- define "weft.sidecarFlags" -}}
{{- $injector := .Values.injector }}
{{- $requests := $injector.resources.requests | default dict }}
{{- $limits := $injector.resources.limits | default dict -}}
image-pull-policy: {{ $injector.imagePullPolicy | quote }}
proxy-log-level: {{ $injector.logLevel | quote }}
proxy-concurrency: {{ $injector.concurrency | default "" | quote }}
proxy-cpu-request: {{ $requests.cpu | default "" | quote }}
proxy-memory-request: {{ $requests.memory | default "" | quote }}
proxy-cpu-limit: {{ $limits.cpu | default "" | quote }}
proxy-memory-limit: {{ $limits.memory | default "" | quote }}
exclude-inbound-ports: {{ $injector.excludeInboundPorts | quote }}
exclude-outbound-ports: {{ $injector.excludeOutboundPorts | quote }}
exclude-inbound-cidrs: {{ $injector.excludeInboundCidrs | quote }}
exclude-outbound-cidrs: {{ $injector.excludeOutboundCidrs | quote }}
{{- end }}
