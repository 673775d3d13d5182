import { createHash } from 'node:crypto';
import {
  existsSync,
  lstatSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  readlinkSync,
  rmSync,
  statSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import path from 'node:path';
import { asDiffID, asImageID, chainIDs, type ChainID, type DiffID, type ImageID } from '../../agent/docker/ids.ts';
import { metadataPaths } from '../../agent/docker/layer-db.ts';
import { repositoryOf } from '../../agent/docker/reference.ts';

/**
 * Data roots as plain folders, written as dockerd writes them (moby, layer/filestore.go, image/fs.go, overlay2): a disk
 * is one, and so is the user's store. What dockerd itself makes of a store is the store tests' matter.
 */
export interface ImageSpec {
  /** What is in each layer, base first; the same words are the same layer. */
  readonly layers: readonly string[];
  readonly references?: readonly string[];
  /** Makes another image of the same layers. */
  readonly note?: string;
  /** Registry and repository that its layers came from. */
  readonly source?: string;
}

export interface ImageFacts {
  readonly id: ImageID;
  readonly config: string;
  readonly diffIDs: readonly DiffID[];
  readonly chains: readonly ChainID[];
}

const hexDigest = (text: string): string => createHash('sha256').update(text).digest('hex');

function diffIDOf(layer: string): DiffID {
  return must(asDiffID(`sha256:${hexDigest(`layer ${layer}`)}`));
}

export function factsOf(spec: ImageSpec): ImageFacts {
  const diffIDs = spec.layers.map((layer) => diffIDOf(layer));
  const config = JSON.stringify({
    architecture: 'amd64',
    os: 'linux',
    comment: spec.note ?? '',
    rootfs: { type: 'layers', diff_ids: diffIDs },
  });
  return { id: must(asImageID(`sha256:${hexDigest(config)}`)), config, diffIDs, chains: chainIDs(diffIDs) };
}

export function must<T>(value: T | undefined): T {
  if (value === undefined) throw new Error('expected a value, found none');
  return value;
}

/** Adds images to a data root as `docker load` does: what is there is used, what is missing is written. */
export function loadImages(dataRoot: string, specs: readonly ImageSpec[], salt = 'user'): void {
  const paths = metadataPaths(dataRoot);
  for (const spec of specs) {
    const { id, config, diffIDs, chains } = factsOf(spec);
    for (const [index, chain] of chains.entries())
      addLayer(
        dataRoot,
        { chain, diffID: must(diffIDs[index]), parent: chains[index - 1], content: must(spec.layers[index]) },
        salt,
      );
    writeFile(paths.image(id), config, 0o600);
    writeFile(`${paths.imageMetadata(id)}/lastUpdated`, '2026-01-02T03:04:05.678901234Z', 0o600);
    for (const reference of spec.references ?? []) setReference(dataRoot, reference, id);
    if (spec.source !== undefined) for (const diffID of diffIDs) addSource(dataRoot, diffID, spec.source);
  }
  mkdirSync(path.join(dataRoot, 'overlay2/l'), { recursive: true });
  mkdirSync(paths.root, { recursive: true });
}

export function registryDigest(diffID: DiffID, source: string): string {
  return `sha256:${hexDigest(`${source} ${diffID}`)}`;
}

function addSource(dataRoot: string, diffID: DiffID, source: string): void {
  const paths = metadataPaths(dataRoot);
  const digest = registryDigest(diffID, source);
  const before: unknown[] = existsSync(paths.metadataByDiffID(diffID))
    ? (JSON.parse(readFileSync(paths.metadataByDiffID(diffID), 'utf8')) as unknown[])
    : [];
  writeFile(
    paths.metadataByDiffID(diffID),
    JSON.stringify([...before, { Digest: digest, SourceRepository: source, HMAC: '' }]),
  );
  writeFile(paths.diffIDByDigest(digest), diffID);
}

function addLayer(
  dataRoot: string,
  layer: {
    readonly chain: ChainID;
    readonly diffID: DiffID;
    readonly parent: ChainID | undefined;
    readonly content: string;
  },
  salt: string,
): void {
  const paths = metadataPaths(dataRoot);
  const record = paths.layer(layer.chain);
  if (existsSync(record)) return;
  const cacheId = hexDigest(`${salt} ${layer.chain}`);
  const folder = makeOverlay(dataRoot, cacheId, layer.parent);
  writeFile(`${folder}/diff/file`, layer.content);
  writeFile(`${record}/diff`, layer.diffID);
  writeFile(`${record}/size`, String(layer.content.length));
  writeFile(`${record}/cache-id`, cacheId);
  writeFile(`${record}/tar-split.json.gz`, `tar-split of ${layer.content}`);
  if (layer.parent !== undefined) writeFile(`${record}/parent`, layer.parent);
}

/** overlay2/<id> on top of a layer, whoever's that is; `committed` appears in the parent, as dockerd writes it. */
function makeOverlay(dataRoot: string, cacheId: string, parent: ChainID | undefined): string {
  const home = path.join(dataRoot, 'overlay2');
  const folder = path.join(home, cacheId);
  const link = hexDigest(`link ${cacheId}`).toUpperCase().slice(0, 26);
  mkdirSync(path.join(folder, 'diff'), { recursive: true });
  writeFile(`${folder}/link`, link);
  mkdirSync(`${home}/l`, { recursive: true });
  symlinkSync(`../${cacheId}/diff`, `${home}/l/${link}`);
  if (parent !== undefined) {
    const below = path.join(home, readFileSync(`${metadataPaths(dataRoot).layer(parent)}/cache-id`, 'utf8'));
    const lower = existsSync(`${below}/lower`) ? `:${readFileSync(`${below}/lower`, 'utf8')}` : '';
    writeFile(`${folder}/lower`, `l/${readFileSync(`${below}/link`, 'utf8')}${lower}`);
    writeFile(`${below}/committed`, '', 0o600);
    mkdirSync(`${folder}/work`, { recursive: true });
  }
  return folder;
}

/** `docker create`: a container on an image's top layer. */
export function addContainer(dataRoot: string, name: string, spec: ImageSpec): string {
  const top = must(factsOf(spec).chains.at(-1));
  const id = hexDigest(`container ${name}`);
  const mountId = hexDigest(`mount ${name}`);
  writeFile(path.join(makeOverlay(dataRoot, mountId, top), 'diff/own'), `of container ${name}`);
  const folder = `${metadataPaths(dataRoot).containers}/${id}`;
  writeFile(`${folder}/mount-id`, mountId);
  writeFile(`${folder}/parent`, top);
  writeFile(containerConfig(dataRoot, id), JSON.stringify({ ID: id, Name: `/${name}` }), 0o600);
  return id;
}

/** What makes a container of a layer: without it, dockerd was killed before it was done. */
export function containerConfig(dataRoot: string, id: string): string {
  return path.join(dataRoot, 'containers', id, 'config.v2.json');
}

/** `docker rm`: layers that only the container kept go with it (moby, layer/layer_store.go, ReleaseRWLayer). */
export function removeContainer(dataRoot: string, id: string): void {
  const folder = `${metadataPaths(dataRoot).containers}/${id}`;
  removeOverlay(dataRoot, readFileSync(`${folder}/mount-id`, 'utf8'));
  const below = chainsBelow(dataRoot, readFileSync(`${folder}/parent`, 'utf8') as ChainID);
  rmSync(folder, { recursive: true });
  rmSync(path.dirname(containerConfig(dataRoot, id)), { recursive: true });
  releaseLayers(dataRoot, below);
}

/** `docker rmi` of an image by its reference: what nothing else needs goes, too. */
export function removeImage(dataRoot: string, reference: string): void {
  const paths = metadataPaths(dataRoot);
  const id = must(asImageID(must(references(dataRoot).get(reference))));
  setReference(dataRoot, reference, undefined);
  if ([...references(dataRoot).values()].includes(id)) return;
  const chains = chainsOf(dataRoot, id);
  rmSync(paths.image(id));
  rmSync(paths.imageMetadata(id), { recursive: true, force: true });
  releaseLayers(dataRoot, chains.toReversed());
}

/** @param chains the topmost first */
function releaseLayers(dataRoot: string, chains: readonly ChainID[]): void {
  const paths = metadataPaths(dataRoot);
  const needed = new Set(
    readdirSync(paths.images).flatMap((name) => chainsOf(dataRoot, must(asImageID(`sha256:${name}`)))),
  );
  for (const container of existsSync(paths.containers) ? readdirSync(paths.containers) : []) {
    for (const chain of chainsBelow(
      dataRoot,
      readFileSync(`${paths.containers}/${container}/parent`, 'utf8') as ChainID,
    ))
      needed.add(chain);
  }
  for (const chain of chains) {
    if (needed.has(chain)) continue;
    removeOverlay(dataRoot, readFileSync(`${paths.layer(chain)}/cache-id`, 'utf8'));
    rmSync(paths.layer(chain), { recursive: true });
  }
}

function chainsOf(dataRoot: string, id: ImageID): ChainID[] {
  return chainIDs(
    (JSON.parse(readFileSync(metadataPaths(dataRoot).image(id), 'utf8')) as { rootfs: { diff_ids: DiffID[] } }).rootfs
      .diff_ids,
  );
}

/** A layer that is recorded and all below it, the topmost first. */
function chainsBelow(dataRoot: string, top: ChainID): ChainID[] {
  const parent = `${metadataPaths(dataRoot).layer(top)}/parent`;
  return existsSync(parent) ? [top, ...chainsBelow(dataRoot, readFileSync(parent, 'utf8') as ChainID)] : [top];
}

function removeOverlay(dataRoot: string, cacheId: string): void {
  const folder = path.join(dataRoot, 'overlay2', cacheId);
  rmSync(path.join(dataRoot, 'overlay2/l', readFileSync(`${folder}/link`, 'utf8')));
  rmSync(folder, { recursive: true });
}

/** `docker tag`, or untagging. */
export function setReference(dataRoot: string, reference: string, id: ImageID | undefined): void {
  const file = metadataPaths(dataRoot).repositories;
  const document = (existsSync(file) ? JSON.parse(readFileSync(file, 'utf8')) : { Repositories: {} }) as {
    Repositories: Record<string, Record<string, string>>;
  };
  const repository = repositoryOf(reference);
  const entries = (document.Repositories[repository] ??= {});
  if (id === undefined) delete entries[reference];
  else entries[reference] = id;
  if (Object.keys(entries).length === 0) delete document.Repositories[repository];
  writeFile(file, JSON.stringify(document), 0o600);
}

export function references(dataRoot: string): Map<string, string> {
  const file = metadataPaths(dataRoot).repositories;
  if (!existsSync(file)) return new Map();
  const { Repositories } = JSON.parse(readFileSync(file, 'utf8')) as {
    Repositories: Record<string, Record<string, string>>;
  };
  return new Map(Object.values(Repositories).flatMap((entries) => Object.entries(entries)));
}

/**
 * What dockerd would stumble over in an image: its configuration, each layer's record, and each layer's files through
 * its link and its `lower`. None means that it runs.
 */
export function imageProblems(dataRoot: string, spec: ImageSpec): string[] {
  const { id, config, diffIDs, chains } = factsOf(spec);
  const paths = metadataPaths(dataRoot);
  const text = (file: string): string | undefined =>
    statSync(file, { throwIfNoEntry: false })?.isFile() === true ? readFileSync(file, 'utf8') : undefined;
  const problems: string[] = [];
  const expect = (good: boolean, what: string): void => void (good || problems.push(what));
  expect(text(paths.image(id)) === config, `configuration of ${id}`);
  let lower: string | undefined;
  for (const [index, chain] of chains.entries()) {
    const record = paths.layer(chain);
    expect(lstatSync(record, { throwIfNoEntry: false })?.isDirectory() === true, `${chain}: record`);
    expect(text(`${record}/diff`) === diffIDs[index], `${chain}: diff`);
    expect(text(`${record}/parent`) === chains[index - 1], `${chain}: parent`);
    expect(/^\d+$/.test(text(`${record}/size`) ?? ''), `${chain}: size`);
    expect(text(`${record}/tar-split.json.gz`) === `tar-split of ${must(spec.layers[index])}`, `${chain}: tar-split`);
    const cacheId = text(`${record}/cache-id`) ?? '';
    const folder = path.join(dataRoot, 'overlay2', cacheId || 'none');
    const link = text(`${folder}/link`) ?? '';
    expect(link.length === 26, `${chain}: link`);
    const found = text(`${folder}/lower`);
    if (lower !== undefined) expect(found === lower, `${chain}: lower ${found ?? 'none'}, expected ${lower}`);
    for (const entry of (found ?? '').split(':').filter((name) => name !== ''))
      expect(isFolder(path.join(dataRoot, 'overlay2', entry)), `${chain}: ${entry} of its lower`);
    lower = `l/${link}${found === undefined ? '' : `:${found}`}`;
    const target = link === '' ? undefined : readLink(path.join(dataRoot, 'overlay2/l', link));
    expect(target === `../${cacheId}/diff`, `${chain}: l/${link} is ${target ?? 'none'}`);
    expect(text(path.join(dataRoot, 'overlay2/l', link, 'file')) === spec.layers[index], `${chain}: its file`);
  }
  return problems;
}

function isFolder(file: string): boolean {
  return statSync(file, { throwIfNoEntry: false })?.isDirectory() === true;
}

function readLink(file: string): string | undefined {
  return lstatSync(file, { throwIfNoEntry: false })?.isSymbolicLink() === true ? readlinkSync(file) : undefined;
}

export function writeFile(file: string, content: string | Buffer, mode = 0o644): void {
  mkdirSync(path.dirname(file), { recursive: true });
  writeFileSync(file, content, { mode });
}
