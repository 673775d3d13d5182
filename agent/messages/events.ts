import { codes, type Code } from './codes.ts';

/** Events that are logged besides findings and errors. */
export const events = {
  DISK_FOUND: { priority: 'info', meaning: 'a device with a wanted label was found' },
  DISK_MOUNTED: { priority: 'info', meaning: 'a disk was mounted' },
  DISK_ADOPTED: {
    priority: 'info',
    meaning: 'a disk was already mounted by an earlier run in this boot, and is used as it is',
  },
  DISK_GONE: { priority: 'notice', meaning: 'a disk that was there is no longer attached' },
  LAYERS_ADOPTED: {
    priority: 'info',
    meaning: 'layers of a disk are already in the store from the user or another disk, and those are used',
  },
  READY: { priority: 'info', meaning: 'the run ended well: everything on the disks is in the store' },
  EMPTY: { priority: 'warning', meaning: 'the run ended well, but no preload disk is attached' },
  DEGRADED: { priority: 'warning', meaning: 'the run ended, but something was left out' },
  FAILED: { priority: 'error', meaning: 'the run failed' },
  PENDING: { priority: 'notice', meaning: 'changes of a store wait' },
  STATUS_NOT_WRITTEN: { priority: 'warning', meaning: 'status.json and metrics.prom could not be written' },
  NOT_SYNCED: { priority: 'warning', meaning: 'the store could not be synced to its disk' },
  NOT_COMPARED: { priority: 'notice', meaning: 'docker.service could not be compared with the store that was filled' },
  NOT_FOLLOWED: { priority: 'warning', meaning: "dockerd's changes to its store cannot be watched" },
  READ_AHEAD: {
    priority: 'info',
    meaning: 'files that a disk lists are being read into memory ahead of the first containers',
  },
  NOT_READ_AHEAD: {
    priority: 'notice',
    meaning:
      "a disk's list of what to read ahead could not be used; its images work, but their first containers start more slowly",
  },
  RESTORED: { priority: 'notice', meaning: 'images of disks that a prune removed are back' },
  NOT_RESTORED: { priority: 'warning', meaning: 'images that a prune removed could not be brought back at once' },
  PRUNES_NOT_FOLLOWED: {
    priority: 'notice',
    meaning: "dockerd's API is not on a socket that can be followed, or cannot be reached",
  },
} as const satisfies Record<string, { readonly priority: Priority; readonly meaning: string }>;

/** The priorities of syslog(3) that we use. */
export type Priority = 'error' | 'warning' | 'notice' | 'info';

/** What an entry in the journal is about. */
export type EventName = Code | keyof typeof events;

/**
 * What identifies a journal entry of each event. `id` is its MESSAGE_ID: 128 random bits (`systemd-id128 new`), never
 * changed and never used for another event. The catalog (units/docker-preloader.catalog) explains each id for
 * `journalctl -x`. `file` is where the event comes from, its CODE_FILE.
 */
export const messages = {
  CONFIG_INVALID: { id: '15a4d182177246d88a8d1d17a3eb72cf', file: 'agent/config/config.ts' },
  DOCKER_CONFIG_INVALID: { id: '89fe0f9956264b88be6b19b4dc4bdf70', file: 'agent/docker/daemon-config.ts' },
  DATA_ROOT_DIFFERS: { id: 'f5aef4ceb49b4b59816df398f06feb76', file: 'agent/daemon/docker-service.ts' },
  CONTAINERD_NOT_AWAITED: { id: 'c38223587d0648859eca1debe92bf002', file: 'agent/daemon/containerd-unit.ts' },
  STORE_UNSUPPORTED: { id: '3607997ac34449488d7db88a8092f41d', file: 'agent/boot/fill-store.ts' },
  STORE_INVALID: { id: 'b27af0832ff84959a52563755db80ff3', file: 'agent/overlay2/store/store.ts' },
  STORE_WRITE: { id: 'a987210612b7459288165eb25464ff7a', file: 'agent/boot/fill-store.ts' },
  STORE_FULL: { id: '54c1f6f23c4649fc86a9821cd73fe0ac', file: 'agent/overlay2/plan/beyond.ts' },
  LEDGER_NEWER: { id: '1cfb4220a3f74792b1ca1532b9c919cf', file: 'agent/overlay2/store/ledger.ts' },
  LEDGER_INVALID: { id: '7f3d33e3fdfa47a9bad0b57baa4db2ca', file: 'agent/overlay2/overlay2-store.ts' },
  LOCKED: { id: '2e0de018466f4eff838752e02290a2bd', file: 'agent/overlay2/store-lock.ts' },
  DOCKER_RUNNING: { id: '92aa0f0fa4204ba9b27488a1b91ae101', file: 'agent/boot/fill-store.ts' },
  MOUNT_NAMESPACE: { id: '869e9b4bf4fd427d8dccd0aa98442136', file: 'agent/boot/present-mounts.ts' },
  DISK_MISSING: { id: 'fee632d6b45945bbbc26dd17966bd1fd', file: 'agent/boot/missing-disks.ts' },
  REQUIRED_MISSING: { id: '25b93adfa8544e41a658704d0a39e7a9', file: 'agent/boot/missing-disks.ts' },
  DISK_CONTENT: { id: '89e263753243413ea1258277bfdd8da2', file: 'agent/disk/pinned-reader.ts' },
  DISK_UNSIGNED: { id: '30810becab5241189f22e351d34615da', file: 'agent/disk/signed-disk.ts' },
  SIGNATURE_INVALID: { id: 'c51546fb45da4d249126b4439f7bbd18', file: 'agent/disk/manifest-signer.ts' },
  SIGNATURE_UNTRUSTED: { id: '8705d05c5305470ea3f235264872a6bd', file: 'agent/disk/signed-disk.ts' },
  LABEL_INVALID: { id: '8699f901d231482181b6fb83618ad38e', file: 'agent/boot/discover.ts' },
  LABEL_DUPLICATE: { id: 'e6adc925a8854a75b8bbb48c8ab5beff', file: 'agent/boot/choose-duplicate.ts' },
  DISK_TWICE: { id: 'd89c7eeec9d64b5c9286ef1cf26d7090', file: 'agent/boot/choose-duplicate.ts' },
  DISK_REMOVABLE: { id: 'bf73c368af174707954ddc9c5f4683e7', file: 'agent/boot/discover.ts' },
  DEVICE_UNREADABLE: { id: 'aeebfe488f16430794bc2ed1ae03e076', file: 'agent/boot/discover.ts' },
  DISK_DIRTY: { id: 'b9b7b8a0e64f4a39bb2913c229b8a80c', file: 'agent/boot/discover.ts' },
  DISK_TRUNCATED: { id: 'f493aff3a9624827bba8bdd4c6c0fea6', file: 'agent/boot/discover.ts' },
  MOUNT_FAILED: { id: 'ad8b6d16ed694c8b80e8789601cf25da', file: 'agent/boot/mount-disks.ts' },
  MOUNT_BUSY: { id: '458ff12fb9b7447ca87945cec0518248', file: 'agent/boot/mount-disks.ts' },
  SOURCE_INVALID: { id: '89dc498c4af74df6a6d8b12525a87d5f', file: 'agent/boot/folder-sources.ts' },
  SOURCE_WRITABLE: { id: '2f30eeb56a82453cad7f6b488bf840c0', file: 'agent/boot/folder-sources.ts' },
  SOURCE_LOSSY: { id: '39a3ba39372a4a8da863ca7dac409b97', file: 'agent/boot/check-source.ts' },
  SOURCE_UNSUPPORTED: { id: 'c707dc911d384312aae3834fcd9d1222', file: 'agent/boot/check-source.ts' },
  DISK_LOST: { id: 'e897bce3839a455fab0461195ebf9422', file: 'agent/boot/present-mounts.ts' },
  DISK_LAYOUT: { id: '49d44a24cce84426937fcf6864d074d8', file: 'agent/disk/read-disk.ts' },
  FORMAT_NEWER: { id: '16006302248a460db7cf722b6f94aada', file: 'agent/disk/manifest.ts' },
  MANIFEST_INVALID: { id: '1188a3b381b44d26903916d9a86ebdff', file: 'agent/disk/manifest.ts' },
  IMAGE_INVALID: { id: '8382c9c9a4d146d99d021b4404ca9721', file: 'agent/disk/read-disk.ts' },
  IMAGE_INCOMPLETE: { id: '40d05ea242af4e1c8d2c2c5b28eb2054', file: 'agent/merge/offer.ts' },
  LAYER_INVALID: { id: 'dd8cd3a9941b4dda8ab10b47e8f084e7', file: 'agent/disk/read-disk.ts' },
  REFERENCE_INVALID: { id: '0649949025ce4c2d818d8d39eee0cd3c', file: 'agent/disk/read-disk.ts' },
  TAG_CONFLICT: { id: 'd6532418d5524cbfbe6095ef5e8be89f', file: 'agent/merge/merge-references.ts' },
  TAG_REMOVED: { id: '87d65121806c4708b2d0cdd9343b13ea', file: 'agent/merge/merge-references.ts' },
  REMOVED: { id: '2eca8972ecfc4b8a9f4a7afa86d85e3f', file: 'agent/overlay2/plan/removed-images.ts' },
  KEPT: { id: 'ef85a06b18be4fa0a796e205886aba39', file: 'agent/overlay2/plan/kept-findings.ts' },
  BUILD_CACHE: { id: '654510f4679c406eb2b180c1165f04ec', file: 'agent/overlay2/plan/kept-findings.ts' },
  LAYERS_UNLINKED: { id: '20579d8b3a2d46889c0ee7b353314bd7', file: 'agent/containerd/plan/unlinked-layers.ts' },
  RESULT_WRONG: { id: '0c64e66164b44159a81b659fe0f0ea06', file: 'agent/overlay2/check-result.ts' },
  ARCHIVE_INVALID: { id: '29d40636256e47f991c4b5be42fadd2c', file: 'agent/builder/archive/archive-error.ts' },
  BUILD_FAILED: { id: '7a2e58a7883d4b15aa99dca9bce66f4a', file: 'agent/builder/build-disk.ts' },
  TOOL_MISSING: { id: 'ff171d968bba49048341836a8d93c904', file: 'agent/system/run-tool.ts' },
  DISK_INVALID: { id: '8cf81e9bafe3469fbc4a12efe462d2b6', file: 'agent/verify/inspect-disk.ts' },
  CONTENT_WRONG: { id: '6db6bb68845c4bd1bc1d93c7eee0d703', file: 'agent/verify/compare-contents.ts' },
  STORE_DIFFERS: { id: '22116cc0b2c1408ab23e1457676b586e', file: 'agent/verify/difference-findings.ts' },
  STORE_DAMAGED: { id: '6daf12bc79e44ceb8b2c27b7cd8cd8e5', file: 'agent/verify/difference-findings.ts' },
  NO_SYSTEMD: { id: 'a9b9d9de34b441dcbeaf881e020a6d22', file: 'agent/boot-order/systemd.ts' },
  DOCUMENT_INVALID: { id: 'fbdb0cfe2ee54b7f8384e1219ffb726e', file: 'agent/commands/boot-order.ts' },
  RECORD_FAILED: { id: '5d73c0dde5ce4cc8ac309e53da11df6a', file: 'agent/commands/record.ts' },
  OUTPUT_FAILED: { id: 'a21fb27bc2c6489da25a58d91c5e7d50', file: 'agent/commands/boot-order.ts' },
  INTERNAL: { id: 'b7ca05c80af94ad89185b30812adabb6', file: 'agent/boot/fill-store.ts' },
  DISK_FOUND: { id: 'e8bc990c07aa41eb85974c6c4cc952e3', file: 'agent/status/journal-entries.ts' },
  DISK_MOUNTED: { id: 'ed17f48c996146a6980634fa3a09dc80', file: 'agent/status/journal-entries.ts' },
  DISK_ADOPTED: { id: 'a631f9f9d78f4b899c465c8fd86a8932', file: 'agent/status/journal-entries.ts' },
  DISK_GONE: { id: '4ce83bdb681c41af91b6d9d0e517f93c', file: 'agent/status/journal-entries.ts' },
  LAYERS_ADOPTED: { id: '05b267bf27774fd69f5a76aa12140781', file: 'agent/status/journal-entries.ts' },
  READY: { id: 'ab1c6ce5a37449f8bbb3d47d593aaf9a', file: 'agent/status/journal-entries.ts' },
  EMPTY: { id: 'aec6f485b50f4f58a5b8407f153888b3', file: 'agent/status/journal-entries.ts' },
  DEGRADED: { id: '265a6d4706c94459b751348323dae545', file: 'agent/status/journal-entries.ts' },
  FAILED: { id: '25847de0818c467e8608e967bc27865d', file: 'agent/status/journal-entries.ts' },
  PENDING: { id: 'f947c6bd2f664bddacaf3f93c6b25397', file: 'agent/status/journal-entries.ts' },
  STATUS_NOT_WRITTEN: { id: '06fd14edc297477fa18a37b40f6c6bc7', file: 'agent/status/publish.ts' },
  NOT_SYNCED: { id: '03742b8343a5459981967dd281a538c6', file: 'agent/overlay2/sync-store.ts' },
  NOT_COMPARED: { id: 'b749686401a84c3881664161c218be1c', file: 'agent/daemon/docker-service.ts' },
  NOT_FOLLOWED: { id: 'cdef9f3f5aa64f1697427f260318bb35', file: 'agent/daemon/follow-store.ts' },
  READ_AHEAD: { id: '1dd3c26613df493c9cb99ea1151b81d1', file: 'agent/daemon/read-ahead.ts' },
  NOT_READ_AHEAD: { id: 'bb8c6c0b2cae4b3e9e8e103731bcd2f0', file: 'agent/daemon/read-ahead.ts' },
  RESTORED: { id: 'dfd5fb3d6a2e46258f286ec08354e876', file: 'agent/daemon/restore-pruned.ts' },
  NOT_RESTORED: { id: 'fcc8945e6b4b4a4aad6e2e80523a7fe9', file: 'agent/daemon/restore-pruned.ts' },
  PRUNES_NOT_FOLLOWED: { id: '098880894a594d928a5e028025982dd9', file: 'agent/daemon/follow-prunes.ts' },
} as const satisfies Record<EventName, { readonly id: string; readonly file: string }>;

/** How urgent an entry is. For a finding, its effect on the result decides. */
export function priorityOf(name: EventName): Priority {
  if (isEvent(name)) return events[name].priority;
  const { effect } = codes[name];
  return effect === 'failed' ? 'error' : effect === 'degraded' ? 'warning' : 'notice';
}

function isEvent(name: EventName): name is keyof typeof events {
  return Object.hasOwn(events, name);
}
