#!/bin/bash
# What the preloader of 2018 did (nixpkgs, docker-preloader.nix), one disk after another: mount it, a symlink for each layer's
# folder, its links copied, its metadata copied over, its tags put over those of the disks before. dockerd 19.03.3 and later
# cannot work with the result; it is here for its time alone. usage: recipe-2018.sh DATA_ROOT MOUNT_ROOT DEVICE...
set -e
data=$1 mounts=$2
shift 2
mkdir -p "$data/overlay2/l" "$data/image/overlay2"
echo '{}' > "$mounts/tags.json"
for device in "$@"; do
  disk=$mounts/${device##*/}
  mkdir -p "$disk"
  mount -o ro,noload "$device" "$disk"
  find "$disk/overlay2" -mindepth 1 -maxdepth 1 -type d -exec ln -s '{}' "$data/overlay2/" \;
  cp -P "$disk"/overlay2/l/* "$data/overlay2/l/"
  rsync -a "$disk/image/" "$data/image/"
  cp "$mounts/tags.json" "$mounts/tags.json.old"
  jq -s '.[0] * .[1]' "$mounts/tags.json.old" "$disk/image/overlay2/repositories.json" > "$mounts/tags.json"
done
mv "$mounts/tags.json" "$data/image/overlay2/repositories.json"
