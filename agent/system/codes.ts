/**
 * Every code that an error or a finding can carry: the one list, from which the README's table is made.
 * `degrades`: whether something was left out because of it, so that the result is `degraded` rather than `ok`.
 */
export const codes = {
  CONFIG_INVALID: { degrades: true, meaning: 'our configuration file is not valid; nothing was done' },
  DOCKER_CONFIG_INVALID: { degrades: true, meaning: "dockerd's own configuration file cannot be read; the store was not touched" },
  DATA_ROOT_DIFFERS: { degrades: true, meaning: 'docker.service uses another data root or driver than the one that was filled' },
  STORE_UNSUPPORTED: { degrades: true, meaning: 'dockerd uses, or would choose, another store than overlay2; it was not touched' },
  STORE_INVALID: { degrades: true, meaning: "the store's own metadata cannot be read; nothing was changed" },
  STORE_WRITE: { degrades: true, meaning: 'writing to the store failed' },
  LEDGER_NEWER: { degrades: true, meaning: 'a newer docker-preloader wrote the ledger; nothing was changed' },
  LEDGER_INVALID: { degrades: false, meaning: 'the ledger could not be read and was rebuilt from the store and the disks' },
  LOCKED: { degrades: true, meaning: 'another docker-preloader holds the store' },
  DOCKER_RUNNING: { degrades: false, meaning: "dockerd is running; changes wait for its next start" },
  MOUNT_NAMESPACE: { degrades: true, meaning: 'our mounts are not seen by PID 1, so dockerd would see empty folders' },
  NO_DISK: { degrades: false, meaning: 'no preload disk is attached' },
  DISK_MISSING: { degrades: true, meaning: 'a named or required disk did not appear in time' },
  DISK_CONTENT: { degrades: true, meaning: 'a required disk holds other content than its pinned digest' },
  LABEL_INVALID: { degrades: true, meaning: 'a filesystem label holds characters that no preload disk may have' },
  LABEL_DUPLICATE: { degrades: true, meaning: 'two devices carry one label and their content is not known to be the same' },
  DEVICE_UNREADABLE: { degrades: true, meaning: 'a block device could not be read' },
  DISK_DIRTY: { degrades: true, meaning: 'the filesystem was not unmounted cleanly; mounted read-only it would show only a part of its files' },
  DISK_TRUNCATED: { degrades: true, meaning: 'the filesystem is larger than its device' },
  MOUNT_FAILED: { degrades: true, meaning: 'the disk could not be mounted' },
  MOUNT_BUSY: { degrades: true, meaning: 'something else is mounted where the disk belongs' },
  DISK_LAYOUT: { degrades: true, meaning: 'the disk does not hold what dockerd writes under its data root' },
  FORMAT_NEWER: { degrades: true, meaning: 'the disk was made for a newer docker-preloader' },
  MANIFEST_INVALID: { degrades: true, meaning: "the disk's docker-preloader.json is not valid" },
  IMAGE_INVALID: { degrades: true, meaning: "an image's configuration on a disk is not valid" },
  IMAGE_INCOMPLETE: { degrades: true, meaning: 'an image lacks a layer that no attached disk and no store has' },
  LAYER_INVALID: { degrades: true, meaning: 'a layer on a disk is not valid' },
  REFERENCE_INVALID: { degrades: true, meaning: 'a name on a disk is no valid image reference, or names an image that is not there' },
  TAG_CONFLICT: { degrades: false, meaning: 'the user and a disk, or two disks, claim one tag' },
  TAG_REMOVED: { degrades: false, meaning: 'the user removed a preloaded tag and `removedImages` is `respect`' },
  KEPT: { degrades: true, meaning: "layers stay in the store without their disk, because a user's image or container stands on them" },
  RESULT_WRONG: { degrades: true, meaning: 'after applying, the store is not what was planned' },
  INTERNAL: { degrades: true, meaning: 'a fault of docker-preloader itself' },
} as const satisfies Record<string, { readonly degrades: boolean; readonly meaning: string }>;

export type Code = keyof typeof codes;
