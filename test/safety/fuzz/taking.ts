import { defaultConfig } from '../../../agent/config/config.ts';
import { fillStore } from '../../../agent/boot/fill-store.ts';
import { storeIn } from '../../../agent/boot/image-store.ts';
import { loadDisk } from '../../../agent/boot/load-disk.ts';
import type { LoadedDisk } from '../../../agent/boot/loaded-disk.ts';
import { readManifestBytes } from '../../../agent/disk/manifest.ts';
import { FolderReader } from '../../../agent/disk/folder-reader.ts';
import type { DiskContent } from '../../../agent/disk/read-disk.ts';
import { readSuperblock, type Superblock } from '../../../agent/disk/superblock.ts';
import { sha256 } from '../../../agent/docker/ids.ts';
import { describeStep } from '../../../agent/overlay2/plan/steps.ts';
import type { BlockDevice } from '../../../agent/system/block-devices.ts';
import type { Finding } from '../../../agent/messages/finding.ts';

/** A disk's files in a folder, the start of a device, and where the store is to be. */
export interface Given {
  readonly root: string;
  readonly start: string;
  readonly dataRoot: string;
  /** Whether the disk is gone at the end, so that all of it is taken out again. */
  readonly leaves: boolean;
}

const LABEL = 'fuzzed';
const device: BlockDevice = {
  name: LABEL,
  path: '/dev/fuzzed',
  deviceNumber: '7:0',
  sizeBytes: 0,
  removable: false,
  holders: [],
};
const superblock: Superblock = { filesystem: 'ext4', label: LABEL, uuid: '', sizeBytes: 0, dirty: false };

/**
 * Takes a disk as a boot does, from its superblock to the store, on either runtime: once as it is, and where it has a
 * manifest once more as a pinned one.
 * @returns all that was read, planned and said, for JSON
 */
export async function take({ root, start, dataRoot, leaves }: Given): Promise<unknown> {
  const told: unknown[] = [attempt(() => readSuperblock(start) ?? 'none')];
  const fill = async (disks: readonly LoadedDisk[]): Promise<void> => void told.push(await fillWith(disks, dataRoot));
  for (const digest of [undefined, ...digestsOf(root)]) {
    const { disk, findings } = await loadDisk(
      {
        label: LABEL,
        device,
        superblock,
        rank: 0,
        path: root,
        adopted: true,
      },
      {
        required: digest === undefined ? [] : [{ pattern: LABEL, digest, text: LABEL }],
        before: [],
        mayUnmount: false,
      },
    );
    told.push(messages(findings));
    if (disk === undefined) continue;
    told.push(contentOf(disk.content));
    await fill([disk]);
  }
  if (leaves) await fill([]);
  return told;
}

/** The one digest that the manifest has, or none. */
function digestsOf(root: string): string[] {
  try {
    const bytes = readManifestBytes(new FolderReader(root));
    return bytes === undefined ? [] : [sha256(bytes)];
  } catch {
    return [];
  }
}

async function fillWith(disks: readonly LoadedDisk[], dataRoot: string): Promise<unknown> {
  const { plan, applied, findings } = await fillStore(
    { disks, plan: undefined, applied: false, isDockerRunning: false, findings: [] },
    {
      store: storeIn(dataRoot),
      dataRoot,
      config: defaultConfig(),
      mayChange: true,
      before: { disks: [], images: new Set() },
      begin: () => undefined,
    },
  );
  return [applied, plan?.steps.map((step) => describeStep(step)), messages(findings)];
}

function contentOf({ manifestDigest, pinned, images, layers, references }: DiskContent): unknown {
  return [
    manifestDigest,
    pinned,
    [...images.values()].map(({ config, metadata, ...image }) => [
      image,
      sha256(config),
      [...metadata].map(([name, bytes]) => [name, bytes.toString('hex')]),
    ]),
    [...layers],
    [...references],
  ];
}

const messages = (findings: readonly Finding[]): unknown[] =>
  findings.map(({ code, message, image, label }) => [code, message, image, label]);

function attempt(act: () => unknown): unknown {
  try {
    return act();
  } catch (error) {
    return String(error);
  }
}
