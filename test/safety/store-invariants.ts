import { readFileSync } from 'node:fs';
import path from 'node:path';
import { asChainID, asDiffID, chainIDs, hexOf, sha256 } from '../../agent/docker/ids.ts';
import { pinName } from '../../agent/docker/layer-folders.ts';
import { type Tree, differences, readTree } from '../support/tree.ts';

/** What of a store is the user's, and how it looked before. */
export interface UserPart {
  /** Path to entry: must be there, unchanged, at every moment. */
  readonly entries: Tree;
  /** Links of preloaded layers to their disk that the user stands on: must be there, wherever they lead. */
  readonly links: readonly string[];
  /** Reference to image. */
  readonly references: ReadonlyMap<string, string>;
}

const IMAGE = 'image/overlay2';

/**
 * Finds everything in a store that is the user's: what has nothing to do with images, his references with their images,
 * the containers, and each layer that those stand on, with its record and its folder.
 * @param names references that are the user's
 */
export function userPartOf(dataRoot: string, names: readonly string[]): UserPart {
  const tree = readTree(dataRoot, 'digest');
  const read = (file: string): string => readFileSync(path.join(dataRoot, file), 'utf8').trim();
  const entries = new Map<string, string>();
  const links: string[] = [];
  const keep = (folder: string): void => {
    for (const [file, entry] of tree) {
      if (file !== folder && !file.startsWith(`${folder}/`)) continue;
      if (/^overlay2\/[^/]+\/diff$/.test(file) && entry.startsWith('link ')) links.push(file);
      else entries.set(file, entry);
    }
  };
  const keepOverlay = (cacheId: string): void => {
    keep(`overlay2/${cacheId}`);
    keep(`overlay2/l/${read(`overlay2/${cacheId}/link`)}`);
  };
  const seen = new Set<string>();
  const keepLayer = (hex: string): void => {
    if (seen.has(hex)) return;
    seen.add(hex);
    const record = `${IMAGE}/layerdb/sha256/${hex}`;
    keep(record);
    keepOverlay(read(`${record}/cache-id`));
    if (tree.has(`${record}/parent`)) keepLayer(hexOf(read(`${record}/parent`)));
  };

  for (const top of new Set([...tree.keys()].map((file) => file.split('/')[0] ?? ''))) {
    // Databases that dockerd opens for writing at each start, and what is ours to change.
    if (!['image', 'overlay2', 'docker-preloader', 'buildkit', 'builder'].includes(top)) keep(top);
  }
  const all = referencesOf(dataRoot);
  const references = new Map(names.map((name) => [name, all.get(name) ?? '']));
  for (const image of references.values()) {
    keep(`${IMAGE}/imagedb/content/sha256/${hexOf(image)}`);
    const top = chainsOf(read(`${IMAGE}/imagedb/content/sha256/${hexOf(image)}`)).at(-1);
    if (top !== undefined) keepLayer(hexOf(top));
  }
  for (const file of tree.keys()) {
    const container = /^image\/overlay2\/layerdb\/mounts\/[^/]+$/.exec(file)?.[0];
    if (container === undefined) continue;
    const parent = asChainID(read(`${container}/parent`));
    if (parent !== undefined && path.basename(container) === pinName(parent)) continue;
    keep(container);
    for (const name of ['mount-id', 'init-id']) keepOverlay(read(`${container}/${name}`));
    keepLayer(hexOf(read(`${container}/parent`)));
  }
  return { entries, links, references };
}

/** What a dockerd that starts on the store now would stumble over, or lose of the user's; nothing where all is well. */
export function storeProblems(dataRoot: string, user: UserPart): string[] {
  const tree = readTree(dataRoot, 'digest');
  const problems = userProblems(dataRoot, user, tree);
  try {
    for (const [name, image] of referencesOf(dataRoot)) problems.push(...imageProblems(dataRoot, tree, name, image));
  } catch {
    return problems;
  }
  return [...problems, ...layerProblems(dataRoot, tree)];
}

/** What of the user's is not there as it was, an unreadable repositories.json included; nothing where all is there. */
export function userProblems(dataRoot: string, user: UserPart, tree: Tree = readTree(dataRoot, 'digest')): string[] {
  const kept = new Map([...tree].filter(([file]) => user.entries.has(file)));
  const problems = differences(user.entries, kept);
  for (const link of user.links)
    if (tree.get(link)?.startsWith('link ') !== true)
      problems.push(`${link}: expected a link, found ${tree.get(link) ?? 'nothing'}`);
  let references: ReadonlyMap<string, string>;
  try {
    references = referencesOf(dataRoot);
  } catch (error) {
    return [...problems, `repositories.json: ${String(error)}`];
  }
  for (const [name, image] of user.references)
    if (references.get(name) !== image)
      problems.push(`${name}: expected ${image}, found ${references.get(name) ?? 'none'}`);
  return problems;
}

/** Each reference leads to a configuration that is whole, and that to records of all layers. */
function imageProblems(dataRoot: string, tree: Tree, name: string, image: string): string[] {
  const file = `${IMAGE}/imagedb/content/sha256/${hexOf(image)}`;
  if (!tree.has(file)) return [`${name}: expected ${file}, found none`];
  const config = readFileSync(path.join(dataRoot, file));
  if (sha256(config) !== image) return [`${name}: expected a configuration with digest ${image}, found another`];
  return chainsOf(config.toString('utf8'))
    .filter((chain) => !tree.has(`${IMAGE}/layerdb/sha256/${hexOf(chain)}`))
    .map((chain) => `${name}: expected a record of layer ${chain}, found none`);
}

/** No half record: each one that dockerd would see has its files, its parent and a folder in overlay2/. */
function layerProblems(dataRoot: string, tree: Tree): string[] {
  const problems: string[] = [];
  const text = (file: string): string =>
    tree.get(file)?.startsWith('file') === true ? readFileSync(path.join(dataRoot, file), 'utf8') : '';
  for (const [file, entry] of tree) {
    const hex = /^image\/overlay2\/layerdb\/sha256\/([0-9a-f]{64})$/.exec(file)?.[1];
    if (hex === undefined || !entry.startsWith('folder')) continue;
    const diff = asDiffID(text(`${file}/diff`));
    const parent = text(`${file}/parent`);
    const cacheId = text(`${file}/cache-id`);
    if (diff === undefined) problems.push(`${file}/diff: expected a digest, found ${text(`${file}/diff`)}`);
    if (!/^\d+$/.test(text(`${file}/size`))) problems.push(`${file}/size: expected a number`);
    if (diff !== `sha256:${hex}` && !tree.has(`${IMAGE}/layerdb/sha256/${parent.slice(7)}`))
      problems.push(`${file}/parent: expected a recorded layer, found '${parent}'`);
    const link = text(`overlay2/${cacheId}/link`);
    if (cacheId === '' || link === '') problems.push(`${file}: expected overlay2/${cacheId}/link, found none`);
    else if (tree.get(`overlay2/l/${link}`) !== `link ../${cacheId}/diff`)
      problems.push(`${file}: expected overlay2/l/${link}, found ${tree.get(`overlay2/l/${link}`) ?? 'none'}`);
  }
  return problems;
}

function referencesOf(dataRoot: string): Map<string, string> {
  const text = readFileSync(path.join(dataRoot, IMAGE, 'repositories.json'), 'utf8');
  const { Repositories } = JSON.parse(text) as { Repositories: Record<string, Record<string, string>> };
  return new Map(Object.values(Repositories).flatMap((entries) => Object.entries(entries)));
}

function chainsOf(config: string): string[] {
  const { rootfs } = JSON.parse(config) as { rootfs: { diff_ids: string[] } };
  return chainIDs(rootfs.diff_ids.flatMap((diffId) => asDiffID(diffId) ?? []));
}
