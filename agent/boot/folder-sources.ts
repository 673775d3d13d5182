import { lstatSync, readdirSync, rmdirSync, statfsSync, statSync } from 'node:fs';
import { basename, dirname, join } from 'node:path';
import type { Config } from '../config/config.ts';
import { isGlob, isLabel, labelPattern } from '../config/label.ts';
import type { Code } from '../messages/codes.ts';
import type { Finding } from '../messages/finding.ts';
import { isENODEV, isENOENT, isENOTDIR, messageOf, reasonOf } from '../system/errors.ts';
import { ensureFolder } from '../system/write-files.ts';
import { holdFolder, mountTag, type HeldFolder } from '../system/folder-mount.ts';
import { readMounts, unmount, type MountPoint } from '../system/mount.ts';
import { realPathOf } from '../system/real-path.ts';
import { oneLine } from '../text/one-line.ts';
import type { Discovery, FolderSource, FoundDisk, LabelFilter, SourceDisk } from './discover.ts';

type SourceConfig = Pick<Config, 'sources' | 'mountRoot' | 'dataRoot'>;

/** This many of the folders that a glob matches are looked at. */
const MAX_MATCHES = 256;

/**
 * Adds the folders of `sources` to the disks that were found. Each is a disk whose label is the folder's name, or the
 * tag. A label that `labels` or `required` matches has its place there. The others rank below all of those, in their
 * order.
 * @param config its `dataRoot` is the one that is to be filled, which is no source
 */
export function addSources(discovery: Discovery, config: SourceConfig, filter: LabelFilter): Discovery {
  const search = new SourceSearch(config, filter);
  for (const [index, text] of config.sources.entries()) search.look(text, index - config.sources.length);
  const disks = new Map<string, readonly FoundDisk[]>(discovery.disks);
  for (const disk of search.found.values()) disks.set(disk.label, [...(disks.get(disk.label) ?? []), disk]);
  const present = [...search.found.values(), ...search.refused].map(({ label }) => label);
  const isPresent = (entry: string): boolean => {
    const pattern = labelPattern(entry);
    return present.some((label) => pattern?.test(label));
  };
  const missing = discovery.missing.filter((entry) => !isPresent(entry));
  // A device that cannot be read matters only if a disk is missed, because it may be that disk. It cannot be a folder.
  const findings = discovery.findings.filter(({ code }) => code !== 'DEVICE_UNREADABLE' || missing.length > 0);
  return {
    disks: new Map([...disks].toSorted(([a], [b]) => (a < b ? -1 : 1))),
    refused: [...discovery.refused, ...search.refused],
    findings: [...findings, ...search.findings],
    missing: [...missing, ...search.missing],
  };
}

/** Why a folder is left out. */
class Refused extends Error {
  readonly code: Code;

  constructor(code: Code, message: string) {
    super(message);
    this.code = code;
  }
}

class SourceSearch {
  /** By the folder's place on its filesystem, or by the tag, so that what is named twice counts once. */
  readonly found = new Map<string, SourceDisk>();
  readonly refused: SourceDisk[] = [];
  readonly findings: Finding[] = [];
  readonly missing: string[] = [];
  readonly #config: SourceConfig;
  readonly #filter: LabelFilter;
  readonly #mounts = readMounts();

  constructor(config: SourceConfig, filter: LabelFilter) {
    this.#config = config;
    this.#filter = filter;
  }

  look(text: string, rank: number): void {
    const [kind, tag] = text.split(':');
    if ((kind === 'virtiofs' || kind === '9p') && tag !== undefined)
      return this.#take(text, tag, rank, () => this.#tagged(kind, tag));
    if (!isGlob(basename(text))) return this.#take(text, basename(text), rank, () => this.#folder(text));
    const names = this.#matches(text);
    if (names.length > MAX_MATCHES)
      this.#report('SOURCE_INVALID', text, `expected at most ${MAX_MATCHES} folders, found ${names.length}`);
    for (const name of names.slice(0, MAX_MATCHES)) {
      const path = join(dirname(text), name);
      this.#take(path, name, rank, () => this.#folder(path), true);
    }
  }

  /** The names that a glob matches, except hidden ones and what ext4 itself has in its root. */
  #matches(text: string): string[] {
    const pattern = globPattern(basename(text));
    try {
      return readdirSync(dirname(text))
        .filter((name) => !name.startsWith('.') && name !== 'lost+found' && pattern.test(name))
        .toSorted();
    } catch (error) {
      if (!isENOENT(error) && !isENOTDIR(error)) this.#report('SOURCE_INVALID', text, reasonOf(error));
      return [];
    }
  }

  /** @param isMatch whether a glob has matched it. Then other files are ignored, and nothing is missing */
  #take(path: string, label: string, rank: number, find: () => [string, Found], isMatch = false): void {
    const place = this.#filter.rank(label);
    const made = (superblock: Partial<SourceDisk['superblock']>, rest: Pick<SourceDisk, 'source'>): SourceDisk => ({
      label,
      rank: place === -1 ? rank : place,
      device: {
        name: label,
        path: oneLine(path),
        deviceNumber: '',
        sizeBytes: superblock.sizeBytes ?? 0,
        removable: false,
        holders: [],
      },
      superblock: { filesystem: 'folder', label, uuid: '', sizeBytes: 0, dirty: false, ...superblock },
      ...rest,
    });
    try {
      if (!isLabel(label))
        throw new Refused(
          'LABEL_INVALID',
          `expected a name of at most 16 letters, digits, dots, dashes and underscores, which is the disk's label`,
        );
      const [key, { deviceNumber, source, ...superblock }] = find();
      const disk = made(superblock, { source });
      this.found.set(key, { ...disk, device: { ...disk.device, deviceNumber } });
    } catch (error) {
      if (isENOENT(error) || error instanceof Missing) {
        if (!isMatch) this.missing.push(path);
        return;
      }
      const code = error instanceof Refused ? error.code : 'SOURCE_INVALID';
      if (isMatch && error instanceof NoFolder) return;
      this.refused.push(made({}, { source: { kind: 'folder', root: '' } }));
      this.#report(code, path, reasonOf(error), isLabel(label) ? label : undefined);
    }
  }

  #report(code: Code, path: string, what: string, label?: string): void {
    const device = oneLine(path);
    this.findings.push({
      code,
      device,
      message: `source ${device}: ${what}; it is left out`,
      ...(label === undefined ? {} : { label }),
    });
  }

  #folder(path: string): [string, Found] {
    const stats = lstatSync(path, { throwIfNoEntry: false });
    if (stats === undefined) throw new Missing();
    if (!stats.isDirectory()) {
      if (statSync(path, { throwIfNoEntry: false })?.isDirectory() !== true) throw new NoFolder();
      throw new Refused('SOURCE_INVALID', 'expected a folder, found a symlink to one; name that');
    }
    return holdFolder(path, (folder) => {
      const mount = this.#mounts.find(({ id }) => id === folder.mountId);
      if (mount === undefined) throw new Refused('SOURCE_INVALID', 'expected a mounted filesystem, found none');
      this.#refuseOurs(folder);
      if (!mount.options.includes('ro')) refuseWritable(folder);
      const { blocks, bsize } = statfsSync(folder.place);
      const root = rootOf(mount, folder);
      return [
        `${mount.deviceNumber} ${root}`,
        {
          deviceNumber: mount.deviceNumber,
          filesystem: mount.filesystem,
          uuid: String(folder.inode),
          sizeBytes: blocks * bsize,
          source: { kind: 'folder', root },
        },
      ];
    });
  }

  /** Refuses the data root and the mount root, and what is around or below them, because the agent works there. */
  #refuseOurs({ path }: HeldFolder): void {
    const own = [this.#config.mountRoot, this.#config.dataRoot].flatMap((one) =>
      one === undefined ? [] : realPathOf(one),
    );
    const near = own.find((one) => `${path}/`.startsWith(`${one}/`) || `${one}/`.startsWith(`${path}/`));
    if (near !== undefined)
      throw new Refused('SOURCE_INVALID', `expected a folder apart from ${near}, found one in, above or below it`);
  }

  /** Mounts what is shared under a tag for a moment. Only that tells on every kernel whether it is there. */
  #tagged(kind: 'virtiofs' | '9p', tag: string): [string, Found] {
    const { mountRoot } = this.#config;
    const isThere = this.#mounts.findLast(({ path }) => path === join(mountRoot, tag));
    const source: FolderSource = { kind, tag };
    const found = (path: string): [string, Found] => {
      const { blocks, bsize } = statfsSync(path);
      return [`${kind}:${tag}`, { deviceNumber: '', filesystem: kind, uuid: tag, sizeBytes: blocks * bsize, source }];
    };
    if (isThere?.filesystem === kind && isThere.source === tag) return found(isThere.path);
    ensureFolder(mountRoot, 0o700);
    const path = join(mountRoot, `.source-${process.pid}`);
    ensureFolder(path, 0o700);
    try {
      mountTag(kind, tag, path);
      try {
        return found(path);
      } finally {
        unmount(path, true);
      }
    } catch (error) {
      if (isENODEV(error))
        throw new Refused('SOURCE_UNSUPPORTED', `expected a kernel that can mount ${kind}, found one that cannot`);
      throw new Missing(messageOf(error));
    } finally {
      rmdirSync(path);
    }
  }
}

type Found = Pick<SourceDisk, 'source'> &
  Pick<SourceDisk['superblock'], 'filesystem' | 'uuid' | 'sizeBytes'> & { readonly deviceNumber: string };

/** It is not there, or not yet. */
class Missing extends Error {}

/** It is no folder. Such a file may lie beside the folders that a glob matches. */
class NoFolder extends Refused {
  constructor() {
    super('SOURCE_INVALID', 'expected a folder, found something else');
  }
}

/** The folder as mountinfo names it once it is mounted in a second place. */
function rootOf({ root, path }: MountPoint, folder: HeldFolder): string {
  const below = path === '/' ? folder.path : folder.path.slice(path.length);
  return below === '' || below === '/' ? root : `${root === '/' ? '' : root}${below}`;
}

/**
 * Refuses a folder that others than root may replace or enter. Layers have files that anybody may write.
 * @throws Refused
 */
function refuseWritable(folder: HeldFolder): void {
  let canEnter = true;
  for (let path = folder.path; ; path = dirname(path)) {
    const { uid, mode } = path === folder.path ? statSync(folder.place) : lstatSync(path);
    const isShared = (mode & 0o022) !== 0 && ((mode & 0o1000) === 0 || path === folder.path);
    if (uid !== 0 || isShared)
      throw new Refused(
        'SOURCE_WRITABLE',
        `expected that root alone can change it, found ${oneLine(path)} with owner ${uid} and mode ${(mode & 0o7777).toString(8)}; mount it read-only, or run: chown root ${oneLine(path)}; chmod go-w ${oneLine(path)}`,
      );
    if ((mode & 0o001) === 0) canEnter = false;
    if (path === '/') break;
  }
  if (canEnter)
    throw new Refused(
      'SOURCE_WRITABLE',
      `expected a folder that is mounted read-only or that root alone can enter, found one in whose layers anybody could write; run: chmod 700 ${oneLine(folder.path)}`,
    );
}

function globPattern(glob: string): RegExp {
  const source = glob
    .replaceAll(/[\\^$.+()[\]{}|/-]/g, String.raw`\$&`)
    .replaceAll('*', '.*')
    .replaceAll('?', '.');
  return new RegExp(`^${source}$`, 's');
}
