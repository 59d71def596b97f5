{{/* Names and labels. */}}

{{- define "finfocus.name" -}}
{{- default .Chart.Name .Values.nameOverride | trunc 47 | trimSuffix "-" }}
{{- end }}

{{/* At most 47 characters, so that a region's name fits behind it. */}}
{{- define "finfocus.fullname" -}}
{{- $name := include "finfocus.name" . }}
{{- if .Values.fullnameOverride }}
{{- .Values.fullnameOverride | trunc 47 | trimSuffix "-" }}
{{- else if contains $name .Release.Name }}
{{- .Release.Name | trunc 47 | trimSuffix "-" }}
{{- else }}
{{- printf "%s-%s" .Release.Name $name | trunc 47 | trimSuffix "-" }}
{{- end }}
{{- end }}

{{- define "finfocus.serviceAccountName" -}}
{{- .Values.serviceAccount.name | default (ternary (include "finfocus.fullname" .) "default" .Values.serviceAccount.create) }}
{{- end }}

{{/* Labels that select every pod of the release. They never change. */}}
{{- define "finfocus.selector" -}}
app.kubernetes.io/name: {{ include "finfocus.name" . }}
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end }}

{{/* usage: include "finfocus.metadata" (list $ NAME LABELS ANNOTATIONS); the last two are dictionaries. */}}
{{- define "finfocus.metadata" -}}
{{- $root := index . 0 }}
{{- $chart := printf "%s-%s" $root.Chart.Name $root.Chart.Version | replace "+" "_" | trunc 63 | trimSuffix "-" }}
{{- $own := dict "helm.sh/chart" $chart "app.kubernetes.io/version" $root.Chart.AppVersion "app.kubernetes.io/managed-by" $root.Release.Service }}
{{- $own = merge (include "finfocus.selector" $root | fromYaml) $own (index . 2) $root.Values.commonLabels -}}
name: {{ index . 1 }}
labels:
  {{- toYaml $own | nindent 2 }}
{{- with merge (dict) (index . 3) $root.Values.commonAnnotations }}
annotations:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- end }}

{{/*
The Deployments of the release as a JSON list: name, region ("all", or one region), regions, and the values that
`overrides` can change.
*/}}
{{- define "finfocus.groups" -}}
{{- $values := pick .Values "replicas" "image" "resources" "autoscaling" "env" "priorityClassName" "nodeSelector" "tolerations" "affinity" }}
{{- $groups := list }}
{{- if eq .Values.layout "all" }}
{{- with keys .Values.overrides }}
{{- fail (printf "overrides.%s has no effect with layout all: set the value itself, or layout: perRegion" (first .)) }}
{{- end }}
{{- $groups = append $groups (merge (dict "name" (include "finfocus.fullname" .) "region" "all" "regions" .Values.regions) $values) }}
{{- else }}
{{- range .Values.regions }}
{{- $own := deepCopy (get $.Values.overrides . | default dict) }}
{{- $name := printf "%s-%s" (include "finfocus.fullname" $) . }}
{{- /* Not `merge`, which takes `false` and 0 for missing values. */}}
{{- $groups = append $groups (mergeOverwrite (deepCopy $values) $own (dict "name" $name "region" . "regions" (list .))) }}
{{- end }}
{{- range $region, $_ := .Values.overrides }}
{{- if not (has $region $.Values.regions) }}
{{- fail (printf "overrides.%s is for a region that is not in regions" $region) }}
{{- end }}
{{- end }}
{{- end }}
{{- toJson $groups }}
{{- end }}

{{- define "finfocus.ports" -}}
{{- .Files.Get "files/regions.yaml" }}
{{- end }}

{{/*
usage: include "finfocus.image" (list $ GROUP). A digest set by the user wins, then a tag; without both the digests of
the release apply. A release without an image for the region serves it with the image of all regions.
*/}}
{{- define "finfocus.image" -}}
{{- $root := index . 0 }}
{{- $group := index . 1 }}
{{- $image := $group.image }}
{{- $release := $root.Files.Get "files/release.yaml" | fromYaml | default dict }}
{{- $digests := $release.digests | default dict }}
{{- $single := and $image.perRegion (ne $group.region "all") (or $image.tag (not $digests) (hasKey $digests $group.region)) }}
{{- $tag := $image.tag | default ($release.tag | default "") }}
{{- if and $tag $single }}
{{- $tag = printf "%s-%s" $tag $group.region }}
{{- end }}
{{- $digest := $image.digest }}
{{- if $digest }}
{{- $tag = $image.tag }}
{{- else if not $image.tag }}
{{- $digest = get $digests (ternary $group.region "all" $single) }}
{{- end }}
{{- if not (or $tag $digest) }}
{{- fail "this chart is not a published one, so it names no image: set image.tag or image.digest, or install oci://ghcr.io/rshade/charts/finfocus-plugin-aws-public" }}
{{- end }}
{{- $image.repository }}{{ with $tag }}:{{ . }}{{ end }}{{ with $digest }}@{{ . }}{{ end }}
{{- end }}

{{/*
usage: include "finfocus.resources" GROUP. The default requests cover a start: 570 MB for each region and 30 MB for the
rest, in steps of 64 MiB, and 100m per region (docs/kubernetes.md, "Capacity"). No limits: a region that is throttled
or killed for its memory fails its users more than it helps its neighbours.
*/}}
{{- define "finfocus.resources" -}}
{{- if .resources }}
{{- toYaml .resources }}
{{- else }}
{{- $count := len .regions }}
{{- $step := 67108864 }}
{{- $bytes := add (mul $count 570000000) 30000000 -}}
requests:
  cpu: {{ max 250 (min 1000 (mul $count 100)) }}m
  memory: {{ mul (div (add $bytes (sub $step 1)) $step) 64 }}Mi
{{- end }}
{{- end }}

{{- define "finfocus.podSecurityContext" -}}
runAsNonRoot: true
{{- if not .Values.openshift }}
runAsUser: 65532
runAsGroup: 65532
{{- end }}
seccompProfile:
  type: RuntimeDefault
{{- end }}

{{- define "finfocus.securityContext" -}}
allowPrivilegeEscalation: false
readOnlyRootFilesystem: true
capabilities:
  drop:
    - ALL
{{- end }}

{{- define "finfocus.monitoringNamespace" -}}
{{- .Values.monitoring.namespace | default .Release.Namespace }}
{{- end }}

{{/* Prefers a zone without a pod of the same selector, which is the context. Unlike a topology spread constraint it
leaves nodes without a zone alone. */}}
{{- define "finfocus.zoneAffinity" -}}
podAntiAffinity:
  preferredDuringSchedulingIgnoredDuringExecution:
    - weight: 100
      podAffinityTerm:
        topologyKey: topology.kubernetes.io/zone
        labelSelector:
          matchLabels:
            {{- toYaml . | nindent 12 }}
{{- end }}
