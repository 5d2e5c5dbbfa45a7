#!/usr/bin/env bash
# Build a real API server of Kubernetes, and its kubectl, from source (7 minutes the first time).
# Usage: build_cluster.sh FOLDER. Needs Go and, where apt-get is, installs Debian's etcd-server.
set -euo pipefail
mkdir -p "$1/source"
folder=$(cd "$1" && pwd)
version=34.2
if [ ! -x "${folder}/kube-apiserver" ]; then
    cd "${folder}/source"
    staged="api apiextensions-apiserver apimachinery apiserver cli-runtime client-go cloud-provider
        cluster-bootstrap code-generator component-base component-helpers controller-manager
        cri-api cri-client csi-translation-lib dynamic-resource-allocation endpointslice
        externaljwt kms kube-aggregator kube-controller-manager kube-proxy kube-scheduler kubectl
        kubelet metrics mount-utils pod-security-admission sample-apiserver sample-cli-plugin
        sample-controller"
    {
        printf 'module apiserver\n\ngo 1.24.0\n\nrequire k8s.io/kubernetes v1.%s\n\n' "${version}"
        for module in ${staged}; do
            printf 'replace k8s.io/%s => k8s.io/%s v0.%s\n' "${module}" "${module}" "${version}"
        done
    } >go.mod
    printf '//go:build tools\n\npackage tools\n\nimport (\n\t_ "%s"\n\t_ "%s"\n)\n' \
        k8s.io/kubernetes/cmd/kube-apiserver k8s.io/kubernetes/cmd/kubectl >tools.go
    go mod tidy
    go build -o "${folder}/" k8s.io/kubernetes/cmd/kube-apiserver k8s.io/kubernetes/cmd/kubectl
fi
if ! command -v etcd >/dev/null && command -v apt-get >/dev/null; then
    apt-get update --quiet=2
    DEBIAN_FRONTEND=noninteractive apt-get install --quiet=2 --no-install-recommends etcd-server \
        >/dev/null
fi
