/** How a finding affects the result: not at all, or it makes it `degraded` (something was left out) or `failed`. */
export type Effect = 'none' | 'degraded' | 'failed';

/** Every code that an error or a finding can have. The table in agent/status/README.md is made from this list. */
export const codes = {
  CONFIG_INVALID: { effect: 'failed', meaning: 'our configuration file is not valid; nothing was done' },
  DOCKER_CONFIG_INVALID: {
    effect: 'degraded',
    meaning: "dockerd's own configuration file cannot be read; the store was not touched",
  },
  DATA_ROOT_DIFFERS: {
    effect: 'degraded',
    meaning: 'docker.service uses another data root or driver than the one that was filled',
  },
  CONTAINERD_NOT_AWAITED: {
    effect: 'none',
    meaning: 'images are put into containerd for others than Docker, which do not wait for them',
  },
  STORE_UNSUPPORTED: {
    effect: 'degraded',
    meaning: 'a store is, or would be, of a kind that cannot be served, or nothing serves it; it was not touched',
  },
  STORE_INVALID: { effect: 'failed', meaning: "the store's own metadata cannot be read; nothing was changed" },
  STORE_WRITE: { effect: 'failed', meaning: 'writing to the store failed' },
  STORE_FULL: {
    effect: 'degraded',
    meaning: 'a store has no room for what an image needs there; it was left out',
  },
  LEDGER_NEWER: { effect: 'degraded', meaning: 'a newer docker-preloader wrote the ledger; nothing was changed' },
  LEDGER_INVALID: {
    effect: 'none',
    meaning: 'the ledger could not be read and was rebuilt from the store and the disks',
  },
  LOCKED: {
    effect: 'failed',
    meaning: 'another docker-preloader holds the store, or a containerd that cannot be talked to',
  },
  DOCKER_RUNNING: { effect: 'none', meaning: 'dockerd is running; changes wait for its next start' },
  MOUNT_NAMESPACE: {
    effect: 'failed',
    meaning: 'PID 1 does not see our mounts, so dockerd would see empty folders',
  },
  DISK_MISSING: { effect: 'degraded', meaning: 'a named disk did not appear in time' },
  REQUIRED_MISSING: { effect: 'failed', meaning: 'a required disk did not appear in time, or could not be used' },
  DISK_CONTENT: {
    effect: 'failed',
    meaning: 'the content of a disk that is pinned or signed is not what was pinned or signed; it was left out',
  },
  DISK_UNSIGNED: {
    effect: 'degraded',
    meaning: '`trustedKeys` is set, and a disk has no signature; it was left out',
  },
  SIGNATURE_INVALID: {
    effect: 'degraded',
    meaning: "a disk's signature is not valid, or not that of its manifest; it was left out",
  },
  SIGNATURE_UNTRUSTED: {
    effect: 'degraded',
    meaning: 'a disk was signed by a key that is not one of the `trustedKeys`; it was left out',
  },
  LABEL_INVALID: { effect: 'degraded', meaning: 'a filesystem label has characters that no preload disk may have' },
  LABEL_DUPLICATE: {
    effect: 'degraded',
    meaning: 'two devices have the same label, and their content is not known to be the same',
  },
  DISK_TWICE: { effect: 'none', meaning: 'two devices are the same disk; one of them is used' },
  DISK_REMOVABLE: {
    effect: 'none',
    meaning: 'a removable device has a label that only a glob matches; it is left out',
  },
  DEVICE_UNREADABLE: { effect: 'none', meaning: 'a block device could not be read' },
  DISK_DIRTY: {
    effect: 'degraded',
    meaning: 'the filesystem was not unmounted cleanly; mounted read-only, it would show only some of its files',
  },
  DISK_TRUNCATED: { effect: 'degraded', meaning: 'the filesystem is larger than its device' },
  MOUNT_FAILED: { effect: 'degraded', meaning: 'the disk could not be mounted' },
  MOUNT_BUSY: { effect: 'degraded', meaning: 'something else is mounted where the disk belongs' },
  SOURCE_INVALID: {
    effect: 'degraded',
    meaning: 'what `sources` names is no folder of its own: a symlink, a file, or a place of the store or of mounts',
  },
  SOURCE_WRITABLE: {
    effect: 'degraded',
    meaning: 'others than root can change a folder that `sources` names, or what is in it; it was left out',
  },
  SOURCE_LOSSY: {
    effect: 'degraded',
    meaning:
      'a folder shows other files than its disk had: whiteouts, extended attributes or owners do not come through',
  },
  SOURCE_UNSUPPORTED: {
    effect: 'degraded',
    meaning: 'this kernel cannot mount such a folder, or mounts no overlay on it',
  },
  DISK_LOST: { effect: 'degraded', meaning: 'a disk was pulled out while it was mounted' },
  DISK_LAYOUT: {
    effect: 'degraded',
    meaning: 'the disk does not have the folders that dockerd writes under its data root',
  },
  FORMAT_NEWER: { effect: 'degraded', meaning: 'the disk was made for a newer docker-preloader' },
  MANIFEST_INVALID: { effect: 'degraded', meaning: "the disk's docker-preloader.json is not valid" },
  IMAGE_INVALID: { effect: 'degraded', meaning: "an image's configuration on a disk is not valid" },
  IMAGE_INCOMPLETE: { effect: 'degraded', meaning: 'an image lacks a layer that no attached disk and no store has' },
  LAYER_INVALID: { effect: 'degraded', meaning: 'a layer on a disk is not valid' },
  REFERENCE_INVALID: {
    effect: 'degraded',
    meaning: 'a name on a disk is not a valid image reference, or its image does not exist',
  },
  TAG_CONFLICT: { effect: 'none', meaning: 'the user and a disk, or two disks, claim the same tag' },
  TAG_REMOVED: { effect: 'none', meaning: 'the user removed a preloaded tag and `removedImages` is `respect`' },
  REMOVED: {
    effect: 'degraded',
    meaning:
      "images of a disk were removed from dockerd's store while it was attached; they come back when Docker next starts",
  },
  KEPT: {
    effect: 'degraded',
    meaning: "layers stay in the store without their disk, because an image or container of the user's needs them",
  },
  BUILD_CACHE: {
    effect: 'none',
    meaning: "layers stay in the store without their disk, because Docker's build cache needs them",
  },
  LAYERS_UNLINKED: {
    effect: 'none',
    meaning:
      "images are in containerd's store without their layers as a registry has them: they run, Docker cannot save or push them or build on them with BuildKit, and 26 does not list them",
  },
  RESULT_WRONG: { effect: 'failed', meaning: 'after applying, the store is not what was planned' },
  STORE_DIFFERS: {
    effect: 'degraded',
    meaning: '`verify`: the store lacks something that the disks have, or still has something that they no longer have',
  },
  STORE_DAMAGED: {
    effect: 'failed',
    meaning: '`verify`: something preloaded is damaged in the store, or its disk is not mounted; images may not run',
  },
  CONTENT_WRONG: {
    effect: 'failed',
    meaning: '`verify`: the content of a disk or a layer does not have the digest that it should have',
  },
  ARCHIVE_INVALID: {
    effect: 'failed',
    meaning: '`build`: an archive of images cannot be read, or its content contradicts itself',
  },
  BUILD_FAILED: {
    effect: 'failed',
    meaning: '`build`, `pull`, `export`: what was asked for could not be made, pushed or brought',
  },
  TOOL_MISSING: {
    effect: 'failed',
    meaning: 'a program that `build`, `pull` or `inspect` needs is not installed, or containerd itself',
  },
  DISK_INVALID: {
    effect: 'failed',
    meaning:
      '`inspect`, `diff`, `export`, `pull`, `build --base`: it is not a preload disk, or a damaged one, or has not the image',
  },
  NO_SYSTEMD: { effect: 'failed', meaning: '`boot-order`: this system was not booted by systemd' },
  DOCUMENT_INVALID: { effect: 'failed', meaning: '`boot-order FILE`: the file was not written by `boot-order --json`' },
  RECORD_FAILED: {
    effect: 'failed',
    meaning: '`record`: there is nothing to record, or this kernel cannot say what is in memory',
  },
  OUTPUT_FAILED: { effect: 'failed', meaning: '`boot-order --svg`: the file could not be written' },
  INTERNAL: { effect: 'failed', meaning: 'a fault of docker-preloader itself' },
} as const satisfies Record<string, { readonly effect: Effect; readonly meaning: string }>;

export type Code = keyof typeof codes;
