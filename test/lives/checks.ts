import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import { existsSync, readdirSync, readFileSync } from 'node:fs';
import path from 'node:path';
import { unpackTar } from 'modern-tar';
import type { Finding } from '../../agent/messages/finding.ts';
import { emptyLayer, ownLayerNames, pinName } from '../../agent/docker/layer-folders.ts';
import { asChainID } from '../../agent/docker/ids.ts';
import type { State } from '../../agent/status/state.ts';
import { mountsBelow } from '../support/temp-tree.ts';
import type { StoredLayer } from './data-root.ts';
import type { Dice } from './dice.ts';
import type { Container, Guest } from './guest.ts';
import { sorted, type Outcome } from './model.ts';

/** What a status says of a run. */
const allowed: ReadonlySet<string> = new Set([
  'TAG_CONFLICT',
  'TAG_REMOVED',
  'KEPT',
  'IMAGE_INCOMPLETE',
  'BUILD_CACHE',
  'DISK_TWICE',
  'LABEL_DUPLICATE',
]);

/** What was in a store before the agent ran. */
export interface Before {
  readonly images: ReadonlyMap<string, number>;
  readonly layers: ReadonlyMap<string, StoredLayer>;
}

/** Whatever the agent has done, or begun: what of images and layers is the user's is in the store. */
export function checkStore(guest: Guest, before: Before): void {
  const { model, store } = guest;
  const images = store.images();
  for (const image of model.needed) {
    assert.ok(images.has(image), `image ${image} of the user's is not in the store`);
    const parent = store.parentOf(image);
    assert.ok(
      parent === undefined || images.has(parent) || !before.images.has(parent),
      `image ${parent}, from which image ${image} of the user's was built, is not in the store`,
    );
  }
  const layers = store.layers();
  for (const [chain, layer] of before.layers) {
    if (layer.linkTo !== undefined) continue;
    assert.deepEqual(layers.get(chain), layer, `layer ${chain}, which dockerd has made`);
  }
  for (const image of model.needed)
    for (const chain of store.chainsOf(image))
      assert.ok(layers.has(chain), `layer ${chain} of image ${image}, the user's`);
  for (const parent of store.containerParents()) {
    for (let chain: string | undefined = parent; chain !== undefined; chain = layers.get(chain)?.parent)
      assert.ok(layers.has(chain), `layer ${chain} under a container`);
  }
}

/**
 * After a whole run: what is there of disks is offered by one, or something stands on it; the status and `verify` say
 * so.
 * @param isOwnStatus whether nobody but that run writes the status
 */
export async function checkRun(
  guest: Guest,
  exitCode: number | undefined,
  outcome: Outcome,
  isOwnStatus: boolean,
): Promise<void> {
  const { store, model } = guest;
  const layers = store.layers();
  const disks = guest.attached();
  const offered = new Set(disks.flatMap(({ disk }) => [...disk.layers]));
  const images = store.images();
  const tops = new Set(store.containerParents());
  const chains = new Map([...images.keys()].map((image) => [image, store.chainsOf(image)] as const));
  const wanted = new Set([
    ...model.names.values(),
    ...model.needed,
    ...[...images.keys()].flatMap((image) => store.parentOf(image) ?? []),
  ]);
  for (const [image, its] of chains)
    assert.ok(wanted.has(image) || tops.has(its.at(-1) ?? ''), `image ${image}: nobody's, and nothing stands on it`);

  const needed = new Set([...[...chains.values()].flat(), ...store.leftOver()]);
  for (const parent of tops)
    for (let chain: string | undefined = parent; chain !== undefined; chain = layers.get(chain)?.parent)
      needed.add(chain);
  if ([...layers.values()].some(({ linkTo }) => linkTo === undefined)) guest.hasSources = true;
  const lowers = store.lowersOfDockerd();
  const kept = [...layers].filter(([chain, { linkTo }]) => linkTo !== undefined && !offered.has(chain));
  for (const [chain, { cacheId }] of kept)
    assert.ok(needed.has(chain) || lowers.has(cacheId), `layer ${chain}: no disk has it, and nothing stands on it`);
  for (const [chain, { linkTo, isThere }] of layers)
    if (linkTo !== undefined && offered.has(chain))
      assert.ok(isThere, `layer ${chain}: ${linkTo} is not there, though a disk has the layer`);

  const twins = guest.twins();
  const isDegraded = kept.some(([chain]) => needed.has(chain)) || outcome.incomplete.length + twins.other.length > 0;
  assert.equal(exitCode, isDegraded ? 3 : 0, 'exit status');
  if (isOwnStatus) checkStatus(guest, outcome, isDegraded ? 'degraded' : disks.length === 0 ? 'empty' : 'ok');

  const verified = await guest.agent('verify', '--json');
  const { findings: differences } = JSON.parse(verified.stdout) as { findings: readonly Finding[] };
  assert.deepEqual(
    differences.filter(({ code }) => !allowed.has(code)).map(({ code, message }) => `${code}: ${message}`),
    [],
    '`verify` finds what `apply` left',
  );
  assert.equal(verified.exitCode, exitCode, `\`verify\` says as \`apply\`: ${verified.all}`);
}

function checkStatus(guest: Guest, { conflicts }: Outcome, expected: State): void {
  const { state, findings } = guest.site.status();
  const said = findings.map(({ code, message }) => `${code}: ${message}`).join('\n');
  assert.equal(state, expected, `state:\n${said}`);
  for (const { code, message } of findings)
    assert.ok(
      allowed.has(code) && !/ {2}|undefined/.test(message),
      `a finding that nothing explains: ${code}: ${message}`,
    );
  for (const name of conflicts)
    assert.ok(
      findings.some(({ code, image }) => code === 'TAG_CONFLICT' && image === name),
      `expected a finding on ${name}:\n${said}`,
    );
  const { same, other } = guest.twins();
  const told = (wanted: string): string[] =>
    findings.flatMap(({ code, label = '' }) => (code === wanted ? [label] : [])).toSorted();
  const labels = (names: readonly string[]): string[] => names.map((name) => guest.site.labelOf(name)).toSorted();
  assert.deepEqual(
    [told('DISK_TWICE'), told('LABEL_DUPLICATE')],
    [labels(same), labels(other)],
    `second devices that are told of:\n${said}`,
  );
}

/** What dockerd lists is what it should be, to the name. */
export async function checkListed(guest: Guest): Promise<void> {
  const { model, containers } = guest;
  const { names, images } = await guest.seen();
  assert.deepEqual(sorted(names), sorted(model.names), 'names that dockerd lists');
  for (const image of model.needed) assert.ok(images.has(image), `image ${image} of the user's is not listed`);
  const listed = await guest.get<readonly { Names: readonly string[] }[]>('/containers/json?all=1');
  assert.deepEqual(
    listed.flatMap(({ Names }) => Names.map((name) => name.slice(1))).toSorted(),
    [...containers.keys()].toSorted(),
    'containers that dockerd lists',
  );
  const { Volumes } = await guest.get<{ Volumes: readonly { Name: string }[] | null }>('/volumes');
  const volumes = new Set((Volumes ?? []).map(({ Name }) => Name));
  for (const [name, { volume, says, hasRun }] of containers) {
    assert.ok(volumes.has(volume), `volume ${volume} of ${name}`);
    if (hasRun)
      assert.equal(
        readFileSync(path.join(guest.site.dataRoot, 'volumes', volume, '_data/file'), 'utf8').trim(),
        says,
        `what is in volume ${volume}`,
      );
  }
}

/**
 * All that has its layers works: each image shows its file, each container its own; one image is run, one container
 * started, one image saved.
 */
export async function checkWorks(guest: Guest, dice: Dice): Promise<void> {
  const able = new Set([...guest.store.images().keys()].filter((image) => guest.canRun(image)));
  const known = [...new Set([...guest.model.names.values(), ...guest.model.images])].filter(
    (image) => able.has(image) && guest.says.has(image),
  );
  for (const image of known) assert.equal(await fileOf(guest, image), guest.says.get(image), `/app of ${image}`);
  const image = dice.pick(known);
  if (image !== undefined) {
    assert.equal(await printed(guest, image), guest.says.get(image), `what ${image} prints`);
    await checkSaved(guest, dice.must(known));
  }
  for (const [name, container] of guest.containers)
    if (guest.canStart(container)) await checkContainer(guest, name, container, dice);
}

async function checkContainer(
  guest: Guest,
  name: string,
  { says, hasRun, stays }: Container,
  dice: Dice,
): Promise<void> {
  if (stays) {
    const { State } = await guest.get<{ State: { Running: boolean } }>(`/containers/${name}/json`);
    if (hasRun) assert.ok(State.Running, `${name} runs`);
    return;
  }
  if (hasRun && !dice.once(3))
    return assert.equal(await archived(guest, name, `/own-${name}`), says, `own file of ${name}`);
  assert.equal(await ran(guest, name), `${says}\n${says}`, `what ${name} prints`);
  guest.containers.set(name, { ...guest.containers.get(name), hasRun: true } as Container);
}

/** By the overlay that dockerd mounts for it, without starting a container. */
async function fileOf(guest: Guest, image: string): Promise<string> {
  return inContainer(guest, image, (container) => archived(guest, container, '/app'));
}

async function printed(guest: Guest, image: string): Promise<string> {
  return inContainer(guest, image, (container) => ran(guest, container));
}

async function inContainer(guest: Guest, image: string, look: (container: string) => Promise<string>): Promise<string> {
  const body = { Image: image, Cmd: ['cat', '/app'], NetworkDisabled: true, HostConfig: { NetworkMode: 'none' } };
  const { Id } = JSON.parse((await guest.tell('POST', '/containers/create', body)).toString()) as { Id: string };
  try {
    return await look(Id);
  } finally {
    await guest.tell('DELETE', `/containers/${Id}?force=1&v=1`);
  }
}

async function archived(guest: Guest, container: string, file: string): Promise<string> {
  const tar = await guest.tell('GET', `/containers/${container}/archive?path=${file}`);
  return tar.subarray(512).toString('latin1').split('\n')[0] ?? '';
}

/**
 * Starts a container: what it has printed last. dockerd waits two seconds for what it prints (moby, daemon/monitor.go),
 * and may lose it on a busy machine.
 */
async function ran(guest: Guest, container: string): Promise<string> {
  for (let tries = 1; ; tries += 1) {
    const before = (await output(guest, container)).length;
    await guest.tell('POST', `/containers/${container}/start`);
    const { StatusCode } = JSON.parse((await guest.tell('POST', `/containers/${container}/wait`)).toString()) as {
      StatusCode: number;
    };
    const lines = (await output(guest, container)).slice(before);
    assert.equal(StatusCode, 0, `exit status of ${container}, which printed: ${lines.join('; ')}`);
    if (lines.length > 0 || tries === 3) return lines.join('\n');
  }
}

/**
 * The lines that a container has printed; each is framed with its stream and length (moby,
 * api/types/container/attach.go).
 */
async function output(guest: Guest, container: string): Promise<string[]> {
  let log = await guest.tell('GET', `/containers/${container}/logs?stdout=1&stderr=1`);
  const frames: string[] = [];
  for (; log.length >= 8; log = log.subarray(8 + log.readUInt32BE(4)))
    frames.push(log.subarray(8, 8 + log.readUInt32BE(4)).toString());
  return frames.join('').split('\n').slice(0, -1);
}

/** `docker save` gives each layer with the bytes that its digest is of. */
async function checkSaved(guest: Guest, image: string): Promise<void> {
  const archive = await unpackTar(await guest.tell('GET', `/images/${image}/get`));
  const files = new Map(archive.map(({ header, data }) => [header.name, { data, link: header.linkname }] as const));
  const read = (name: string): Buffer => {
    const { data, link } = files.get(name) ?? {};
    return (data !== undefined && data.length > 0) || link === undefined || link === ''
      ? Buffer.from(data ?? [])
      : read(path.join(path.dirname(name), link));
  };
  const [{ Config, Layers }] = JSON.parse(read('manifest.json').toString()) as [
    { Config: string; Layers: readonly string[] },
  ];
  const { rootfs } = JSON.parse(read(Config).toString()) as { rootfs: { diff_ids: readonly string[] } };
  assert.deepEqual(
    Layers.map((name) => `sha256:${createHash('sha256').update(read(name)).digest('hex')}`),
    rootfs.diff_ids,
    `layers of ${image} as saved`,
  );
}

/** Nothing of ours is left. */
export function checkNoTrace(guest: Guest): void {
  const { store, site, universe } = guest;
  assert.deepEqual([...store.names()], [], 'names');
  assert.deepEqual([...store.images()], [], 'images');
  const held = new Set([...store.leftOver(), ...store.underBuildKit()]);
  const links = [...store.layers()].filter(([chain, { linkTo }]) => linkTo !== undefined && !held.has(chain));
  assert.deepEqual(links, [], 'layers of disks');
  const chains = [...universe.images.values()].flatMap((image) =>
    image.chains.flatMap((chain) => asChainID(chain) ?? []),
  );
  for (const chain of chains)
    assert.ok(
      !existsSync(path.join(site.dataRoot, 'image/overlay2/layerdb/mounts', pinName(chain))),
      `the pin of ${chain}`,
    );
  if (held.size > 0) return;
  for (const { cacheId, link } of [...chains.map(ownLayerNames), emptyLayer]) {
    assert.ok(!existsSync(path.join(site.dataRoot, 'overlay2', cacheId)), `overlay2/${cacheId}`);
    assert.ok(!readdirSync(path.join(site.dataRoot, 'overlay2/l')).includes(link), `overlay2/l/${link}`);
  }
  assert.deepEqual(
    readdirSync(path.join(site.dataRoot, 'docker-preloader')).filter((name) => name !== 'lock'),
    [],
    'our own folder',
  );
  if (!guest.hasSources) assert.deepEqual(store.distribution(), [], 'sources of layers');
  assert.deepEqual(mountsBelow(site.mountRoot), [], 'disks that are mounted');
}
