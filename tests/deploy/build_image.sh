#!/usr/bin/env bash
# Build the images for real, without a registry of images: on a base that debootstrap makes, with
# Beam's entry point built from its source. Usage: build_image.sh FOLDER TARGET...
#
# Needs root, 20 GB of disk, and Debian's podman buildah debootstrap crun fuse-overlayfs uidmap
# catatonit. Images stay in FOLDER/storage; remove FOLDER to undo.
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
root=$(cd "${here}/../.." && pwd)
mkdir -p "$1/storage" "$1/run"
folder=$(cd "$1" && pwd)
shift
tools=${DEPLOY_TOOLS:-${root}/.deploy}
beam=$(sed -n 's/^apache-beam==//p' "${root}/constraints.txt")

cat >"${folder}/storage.conf" <<CONF
[storage]
driver = "overlay"
graphroot = "${folder}/storage"
runroot = "${folder}/run"
CONF
cat >"${folder}/containers.conf" <<'CONF'
[containers]
netns = "host"
default_ulimits = ["nofile=4096:4096", "nproc=8192:8192"]
[engine]
cgroup_manager = "cgroupfs"
runtime = "crun"
events_logger = "file"
CONF
export CONTAINERS_STORAGE_CONF=${folder}/storage.conf CONTAINERS_CONF=${folder}/containers.conf

if ! podman image exists localhost/base:bookworm; then
    if [ ! -x "${folder}/rootfs/usr/bin/python3" ]; then
        debootstrap --variant=minbase \
            --include=ca-certificates,python3,python3-venv,python3-pip bookworm "${folder}/rootfs"
    fi
    # As the official Python image has it: `python` and `pip`, and packages that go into the system.
    ln -sf /usr/bin/python3 "${folder}/rootfs/usr/local/bin/python"
    ln -sf /usr/bin/pip3 "${folder}/rootfs/usr/local/bin/pip"
    rm -f "${folder}"/rootfs/usr/lib/python3*/EXTERNALLY-MANAGED
    # The build reaches the packages that this machine reaches: its certificates, its pip settings.
    cp /etc/ssl/certs/ca-certificates.crt "${folder}/rootfs/etc/ssl/certs/"
    if [ -e /etc/pip.conf ]; then cp /etc/pip.conf "${folder}/rootfs/etc/"; fi
    tar --create --directory "${folder}/rootfs" . | podman import - localhost/base:bookworm
    rm -r "${folder}/rootfs"
fi
if ! podman image exists localhost/beam:"${beam}"; then
    sdk=$(mktemp -d)
    mkdir -p "${sdk}/opt/apache/beam"
    cp "${tools}/bin/boot-${beam}" "${sdk}/opt/apache/beam/boot"
    tar --create --directory "${sdk}" . | podman import - localhost/beam:"${beam}"
    rm -r "${sdk}"
fi
if ! podman image exists localhost/launcher:stand-in; then
    # Google's launcher is not to be had here; a file in its place shows that it is copied.
    stand_in=$(mktemp -d)
    mkdir -p "${stand_in}/opt/google/dataflow"
    # shellcheck disable=SC2016 # the launcher expands it
    printf '#!/bin/sh\nexec python "$FLEX_TEMPLATE_PYTHON_PY_FILE" "$@"\n' \
        >"${stand_in}/opt/google/dataflow/python_template_launcher"
    chmod 755 "${stand_in}/opt/google/dataflow/python_template_launcher"
    tar --create --directory "${stand_in}" . | podman import - localhost/launcher:stand-in
    rm -r "${stand_in}"
fi
for target in "$@"; do
    buildah bud --isolation chroot --network host --pull-never --layers \
        --build-arg BASE=localhost/base:bookworm \
        --build-arg BEAM_SDK=localhost/beam:"${beam}" \
        --build-arg FLEX_LAUNCHER=localhost/launcher:stand-in \
        --file "${root}/deploy/Dockerfile" --target "${target}" \
        --tag localhost/sensegrep-"${target}":check "${root}"
done
