#!/bin/bash
# What the agent does, as a shell script would: for each device mount it, make each layer's directory with a symlinked
# `diff`, copy the metadata and merge the tags. usage: fill-store.sh DATA_ROOT MOUNT_ROOT DEVICE...
# It loses to the user's own repositories.json as little as jq can: the store's tags win.
set -eu
data=$1 mounts=$2
shift 2
mkdir -p "$data/overlay2/l" "$data/image/overlay2"
[ -s "$data/image/overlay2/repositories.json" ] || echo '{"Repositories":{}}' > "$data/image/overlay2/repositories.json"
for device in "$@"; do
  disk=$mounts/$(basename "$device")
  mkdir -p "$disk"
  mount -o ro,noload,nodev,nosuid,noexec "$device" "$disk"
  for layer in "$disk"/overlay2/*/; do
    id=$(basename "$layer")
    if [ "$id" = l ] || [ -e "$data/overlay2/$id" ]; then continue; fi
    mkdir -p "$data/overlay2/$id/work"
    ln -s "${layer}diff" "$data/overlay2/$id/diff"
    cp "${layer}link" "$data/overlay2/$id/link"
    if [ -e "${layer}lower" ]; then cp "${layer}lower" "$data/overlay2/$id/lower"; fi
    touch "$data/overlay2/$id/committed"
  done
  cp -P "$disk"/overlay2/l/* "$data/overlay2/l/"
  rsync -a --exclude=/repositories.json --exclude=/layerdb/mounts --exclude=/layerdb/tmp "$disk/image/overlay2/" "$data/image/overlay2/"
  jq -s '.[0] * .[1]' "$disk/image/overlay2/repositories.json" "$data/image/overlay2/repositories.json" > "$data/image/overlay2/repositories.json.new"
  mv "$data/image/overlay2/repositories.json.new" "$data/image/overlay2/repositories.json"
done
