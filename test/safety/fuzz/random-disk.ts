import { createHash } from 'node:crypto';
import {
  lstatSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  symlinkSync,
  truncateSync,
  writeFileSync,
} from 'node:fs';
import path from 'node:path';
import { metadataPaths } from '../../../agent/docker/layer-db.ts';
import { factsOf, loadImages, type ImageSpec } from '../../boot/fake-store.ts';
import { Dice } from '../../lives/dice.ts';
import { damagedText, randomJson, withOtherNode } from './random-json.ts';

const MANIFEST = 'docker-preloader.json';
const IMAGES = 'image/overlay2/imagedb/content/sha256';

/** A folder with a disk's files, and the start of the device that it is on. */
export interface Place {
  readonly root: string;
  readonly start: string;
}

/**
 * Writes a disk with some images, some of them in a manifest, of which some things are not as they should be. The same
 * seed and number give the same disk.
 */
export function writeRandomDisk({ root, start }: Place, seed: number, number: number): void {
  const dice = new Dice(Math.imul(seed + 1, 0x9e3779b1) ^ Math.imul(number + 1, 0x85ebca6b));
  const specs = randomSpecs(dice);
  loadImages(root, specs, `disk ${dice.below(3)}`);
  if (!dice.once(3)) writeManifest(root, specs, dice);
  for (let left = 1 + dice.below(4); left > 0; left -= 1) {
    const fault = dice.must(faults);
    tryTo(() => fault(root, dice));
  }
  writeFileSync(start, randomStart(dice));
}

function randomSpecs(dice: Dice): ImageSpec[] {
  return Array.from({ length: 1 + dice.below(3) }, (_, index) => ({
    layers: Array.from(
      { length: 1 + dice.below(4) },
      (_unused, depth) => `${depth === 0 ? dice.below(2) : dice.below(9)}`,
    ),
    references: Array.from(
      { length: dice.below(3) },
      () => `${dice.must(['app', 'db', 'a.example:5000/x/y'])}:${dice.below(4)}`,
    ),
    note: `image ${index}`,
    ...(dice.once(2) ? { source: 'docker.io/library/app' } : {}),
  }));
}

/** As `build` writes it, so that a disk that nothing was done to can be pinned. */
function writeManifest(root: string, specs: readonly ImageSpec[], dice: Dice): void {
  const files = filesBelow(root).filter((file) => file.startsWith('image/'));
  const paths = metadataPaths(root);
  const layers = new Map<string, unknown>();
  const images = specs.map((spec) => {
    const { id, chains, diffIDs } = factsOf(spec);
    for (const [index, chainId] of chains.entries())
      layers.set(chainId, {
        chainId,
        diffId: diffIDs[index],
        ...(index === 0 ? {} : { parent: chains[index - 1] }),
        cacheId: readFileSync(`${paths.layer(chainId)}/cache-id`, 'utf8'),
        sizeBytes: Number(readFileSync(`${paths.layer(chainId)}/size`, 'utf8')),
      });
    return { id, references: spec.references ?? [], layers: chains };
  });
  const metadata = Object.fromEntries(
    files.map((file) => [file, `sha256:${hexDigest(readFileSync(path.join(root, file)))}`]),
  );
  const manifest = { formatVersion: '1.1', createdBy: 'nobody', images, layers: [...layers.values()], metadata };
  writeFileSync(
    path.join(root, MANIFEST),
    JSON.stringify(dice.once(3) ? withOtherNode(manifest, dice) : manifest, undefined, dice.below(2)),
  );
}

type Fault = (root: string, dice: Dice) => void;

/** What is done to a disk. Those that come twice are likelier. */
const faults: readonly Fault[] = [
  otherJson,
  otherJson,
  otherText,
  otherText,
  otherConfig,
  otherConfig,
  otherBytes,
  otherKind,
  oddName,
  oddReferences,
  () => undefined,
];

/** Another value in the manifest or in the names. */
function otherJson(root: string, dice: Dice): void {
  const file = jsonFile(root, dice);
  const document = parsed(file);
  if (document !== undefined) writeFileSync(file, JSON.stringify(withOtherNode(document, dice)));
}

/** Something in the manifest, or in the names, that is no JSON, or hardly. */
function otherText(root: string, dice: Dice): void {
  const file = jsonFile(root, dice);
  if (isFile(file)) writeFileSync(file, damagedText(readFileSync(file), dice));
}

/** A configuration that has its right digest, whatever is in it. */
function otherConfig(root: string, dice: Dice): void {
  const [name] = dice.some(names(path.join(root, IMAGES)), 1);
  const document = name === undefined ? {} : (parsed(path.join(root, IMAGES, name)) ?? {});
  const changed = dice.once(6) ? randomJson(dice, 4) : withOtherNode(document, dice);
  const text = Buffer.from(JSON.stringify(changed) ?? 'null');
  const config = dice.once(2) ? damagedText(text, dice) : text;
  const id = hexDigest(config);
  mkdirSync(path.join(root, IMAGES), { recursive: true });
  writeFileSync(path.join(root, IMAGES, id), config);
  writeFileSync(
    metadataPaths(root).repositories,
    JSON.stringify({ Repositories: { app: { [`app:${dice.below(4)}`]: `sha256:${id}` } } }),
  );
}

/** Other bytes in any file. */
function otherBytes(root: string, dice: Dice): void {
  const file = anyFile(root, dice);
  if (file === undefined) return;
  const content = readFileSync(file);
  const at = dice.below(content.length + 1);
  const some = Buffer.from(Array.from({ length: dice.below(12) }, () => dice.below(256)));
  const rest = dice.must([content.subarray(at), content.subarray(at + some.length), Buffer.alloc(0)]);
  writeFileSync(file, Buffer.concat([content.subarray(0, at), some, rest]));
}

/** Something else where a file or a folder was. */
function otherKind(root: string, dice: Dice): void {
  const [relative = MANIFEST] = dice.some([...filesBelow(root), ...foldersBelow(root)], 1);
  const file = path.join(root, relative);
  const other = `${root}/image/other`;
  rmSync(file, { recursive: true, force: true });
  dice.must<() => void>([
    () => undefined,
    () => mkdirSync(file),
    () => symlinkSync('/etc/shadow', file),
    () => symlinkSync(path.basename(file), file),
    () => symlinkSync('x'.repeat(dice.below(4095) + 1), file),
    () => symlinkSync('..', file),
    () => writeFileSync(file, ''),
    () => {
      writeFileSync(file, '');
      truncateSync(file, 2 ** dice.below(43));
    },
    () => {
      mkdirSync(other, { recursive: true });
      renameSync(other, file);
    },
  ])();
}

/** A file with any name in a folder whose names count. */
function oddName(root: string, dice: Dice): void {
  const [folder = ''] = dice.some(foldersBelow(root), 1);
  const length = 1 + dice.below(dice.once(4) ? 255 : 70);
  const letters = dice.must(['0123456789abcdef', '..-_\n\u001B', '']);
  const name = Array.from({ length }, () => {
    const byte = letters === '' ? 1 + dice.below(255) : letters.charCodeAt(dice.below(letters.length));
    return byte === 0x2f ? 0x2d : byte;
  });
  writeFileSync(Buffer.concat([Buffer.from(`${root}/${folder}/`), Buffer.from(name)]), 'odd');
}

/** Names of any form, for images that are there, and for others. */
function oddReferences(root: string, dice: Dice): void {
  const ids = names(path.join(root, IMAGES)).map((name) => `sha256:${name}`);
  const repository = dice.must(['app', '', '__proto__', 'A', 'x'.repeat(300), 'é', '\u0000', '..', 'localhost:1/a']);
  const entries = Array.from({ length: dice.below(6) }, () => [
    `${repository}${dice.must([':', '@', '', ':1@'])}${dice.must(['latest', '1', 'sha256:', 'ü', 'x'.repeat(200), `sha256:${'0'.repeat(64)}`])}`,
    dice.once(4) ? randomJson(dice, 2) : dice.pick(ids),
  ]);
  if (isFile(metadataPaths(root).repositories))
    writeFileSync(
      metadataPaths(root).repositories,
      JSON.stringify({ Repositories: Object.fromEntries([[repository, Object.fromEntries(entries)]]) }),
    );
}

/** The first bytes of a device: a superblock of which some bytes are any. */
function randomStart(dice: Dice): Buffer {
  const start = Buffer.alloc(dice.once(10) ? dice.below(4097) : 4096);
  if (start.length < 1100) return start;
  if (dice.once(2)) start.writeUInt16LE(0xef53, 1024 + 0x38);
  else start.writeUInt32LE(0xe0f5e1e2, 1024);
  for (let left = dice.below(40); left > 0; left -= 1)
    start[dice.once(4) ? dice.below(start.length) : Math.min(start.length - 1, 1024 + dice.below(0x160))] =
      dice.below(256);
  return start;
}

const hexDigest = (content: Uint8Array): string => createHash('sha256').update(content).digest('hex');

function jsonFile(root: string, dice: Dice): string {
  return dice.once(2) ? path.join(root, MANIFEST) : metadataPaths(root).repositories;
}

function parsed(file: string): unknown {
  if (!isFile(file)) return undefined;
  try {
    return JSON.parse(readFileSync(file, 'utf8'));
  } catch {
    return undefined;
  }
}

/** Small ones only: holes are not to be read. */
function isFile(file: string): boolean {
  const stats = tryTo(() => lstatSync(file, { throwIfNoEntry: false }));
  return stats?.isFile() === true && stats.size < 2 ** 20;
}

function names(folder: string): string[] {
  return tryTo(() => readdirSync(folder)) ?? [];
}

/** Does what an earlier fault may have made impossible, such as by a symlink to nowhere. */
function tryTo<T>(act: () => T): T | undefined {
  try {
    return act();
  } catch (error) {
    if (error instanceof Error && 'syscall' in error) return undefined;
    throw error;
  }
}

function anyFile(root: string, dice: Dice): string | undefined {
  return dice.pick(
    filesBelow(root)
      .map((file) => path.join(root, file))
      .filter((file) => isFile(file)),
  );
}

const filesBelow = (root: string): string[] => below(root, (entry) => !entry.isDirectory);
const foldersBelow = (root: string): string[] => below(root, (entry) => entry.isDirectory);

/** In the same order everywhere, without names that are no UTF-8. */
function below(root: string, isWanted: (entry: { readonly isDirectory: boolean }) => boolean): string[] {
  const found: string[] = [];
  const walk = (folder: string): void => {
    for (const name of readdirSync(path.join(root, folder)).toSorted()) {
      const file = folder === '' ? name : `${folder}/${name}`;
      const stats = tryTo(() => lstatSync(path.join(root, file)));
      if (stats === undefined) continue;
      if (isWanted({ isDirectory: stats.isDirectory() })) found.push(file);
      if (stats.isDirectory()) walk(file);
    }
  };
  walk('');
  return found;
}
