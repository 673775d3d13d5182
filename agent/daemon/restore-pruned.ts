import type { Config } from '../config/config.ts';
import { readLedger, writeLedger, type Ledger } from '../overlay2/store/ledger.ts';
import type { LoadedDisk } from '../boot/loaded-disk.ts';
import { preload } from '../boot/preload.ts';
import type { Plan } from '../overlay2/plan/make-plan.ts';
import { takeLock } from '../overlay2/store-lock.ts';
import type { DiskImage } from '../disk/read-disk.ts';
import type { DockerApi } from '../docker/api/docker-api.ts';
import type { ImageID } from '../docker/ids.ts';
import { imageArchive, type LayerlessImage } from '../docker/api/image-archive.ts';
import { tagOf } from '../docker/reference.ts';
import { Store } from '../overlay2/store/store.ts';
import { monotonicMs, wallMs } from '../system/clock.ts';
import { messageOf } from '../system/errors.ts';
import { log } from '../system/journal.ts';
import { listNames, plural } from '../text/plural.ts';
import type { GivenName, Heard } from './heard.ts';
import { loadsOf } from './loads.ts';
import { nothingThere, type Present } from './present.ts';

export interface RestoreContext {
  readonly config: Config;
  readonly dataRoot: string;
  readonly docker: DockerApi;
  readonly heard: Heard;
}

/**
 * Makes dockerd load the images that a prune has removed: their configurations come from the disks, and their layers
 * were kept by our pins. What cannot be loaded comes back when Docker next starts.
 * @returns what came back. Another prune, which dockerd has yet to report, may have taken some of it again
 */
export async function restorePruned(pruned: Present, context: RestoreContext): Promise<Present> {
  try {
    const lock = await takeLock(context.dataRoot);
    try {
      return await new Restoration(pruned, context).run();
    } finally {
      lock.release();
    }
  } catch (error) {
    const what = isRemoval(pruned, context)
      ? 'count as removed (`removedImages`: respect)'
      : 'come back when Docker next starts';
    log(
      'NOT_RESTORED',
      `${plural(pruned.images.size, 'image')} and ${plural(pruned.names.size, 'name')} that a prune took ${what}: ${messageOf(error)}`,
    );
    return nothingThere;
  }
}

/**
 * Whether the next start will take these names for removed, because the ledger, which perhaps could not be written,
 * still has them.
 */
function isRemoval({ names }: Present, { config, dataRoot }: RestoreContext): boolean {
  if (config.removedImages !== 'respect') return false;
  try {
    const { references } = readLedger(dataRoot).ledger;
    return [...names.keys()].some((name) => references.has(name));
  } catch {
    return false;
  }
}

class Restoration {
  readonly #pruned: Present;
  readonly #context: RestoreContext;
  /** What came back. It may be gone again: whoever has removed it, it is not for this restoration to bring back. */
  readonly #came = { images: new Set<ImageID>(), names: new Map<string, ImageID>() };

  constructor(pruned: Present, context: RestoreContext) {
    this.#pruned = pruned;
    this.#context = context;
  }

  async run(): Promise<Present> {
    const before = this.#release();
    try {
      return await this.#restore();
    } finally {
      this.#settleNames(before);
    }
  }

  /**
   * Nobody has removed the names. So from now on they are in the ledger as if a run had been killed when it was about
   * to give them. They are ours if they come back, and otherwise new on the disk.
   * @returns the ledger as it was
   */
  #release(): Ledger {
    const { names } = this.#pruned;
    return this.#write(({ references, images, layers, next, ...rest }) => ({
      ...rest,
      images,
      layers,
      references: new Map([...references].filter(([name]) => !names.has(name))),
      next: {
        references: new Map([...(next?.references ?? references), ...names]),
        images: next?.images ?? images,
        layers: next?.layers ?? layers,
      },
    }));
  }

  /** A name that came back and was removed since is in the ledger, as it is after any removal. */
  #settleNames({ next }: Ledger): void {
    const { references } = new Store(this.#context.dataRoot).referenceStore;
    const back = [...this.#pruned.names].filter(
      ([name, id]) => (references.get(name) ?? this.#came.names.get(name)) === id,
    );
    this.#write((ledger) => ({ ...ledger, references: new Map([...ledger.references, ...back]), next }));
  }

  async #restore(): Promise<Present> {
    const { config, dataRoot, heard } = this.#context;
    const { plan, disks } = await preload(config, { wait: false, change: 'never', quiet: true });
    if (plan === undefined) throw new Error('the disks cannot be looked at');
    const before = new Store(dataRoot);
    // Who else claims a name gets it when Docker next starts: another disk may have come while it runs.
    const offered = [...this.#pruned.names].filter(([name, id]) =>
      disks.some(({ content }) => content.references.get(name) === id),
    );
    const { references } = before.referenceStore;
    const named = offered.flatMap(([name, id]) => ((references.get(name) ?? id) === id ? [id] : []));
    const lost = this.#lostImages({ plan, disks }, before, named);
    const there = new Set([...before.images, ...lost.map(({ id }) => id)]);
    const names = offered.filter(([name, id]) => there.has(id) && tagOf(name) !== undefined);

    heard.begin();
    if (lost.length > 0)
      this.#write((ledger) => ({
        ...ledger,
        restoring: { sinceMs: wallMs(), images: new Set(lost.map(({ id }) => id)) },
      }));
    for (const [, id] of names) if (before.images.has(id)) this.#came.images.add(id);
    const sent = await this.#load(lost);
    const loaded = this.#record(lost);
    for (const id of [...sent, ...loaded]) this.#came.images.add(id);
    const { given, taken, problem } = await this.#giveNames(names);
    await heard.until([...new Set([...sent, ...loaded])], given);
    for (const name of await this.#giveBack(given)) taken.add(name);
    for (const { name, id } of given) if (!taken.has(name)) this.#came.names.set(name, id);
    this.#disownOthers(loaded);
    this.#tell([...loaded], new Map(names), problem);
    return {
      names: new Map(names.filter(([name]) => !taken.has(name))),
      images: new Set([...lost.map(({ id }) => id), ...names.map(([, id]) => id)]),
      taken: new Set(),
    };
  }

  /** The images that were ours or had a name of ours, that are on a disk, and whose layers dockerd has kept. */
  #lostImages(
    { plan, disks }: { readonly plan: Plan; readonly disks: readonly LoadedDisk[] },
    store: Store,
    named: readonly ImageID[],
  ): DiskImage[] {
    return [...new Set([...this.#pruned.images, ...named])].flatMap((id) => {
      const onDisks = named.includes(id) ? disks.flatMap(({ content }) => content.images.get(id) ?? []) : [];
      const image = plan.wanted.get(id) ?? onDisks[0];
      const top = image?.chains.at(-1);
      return image === undefined || store.images.has(id) || (top !== undefined && !store.layers.has(top))
        ? []
        : [image];
    });
  }

  /** @returns the ledger as it was before */
  #write(change: (ledger: Ledger) => Ledger): Ledger {
    const { state, ledger } = readLedger(this.#context.dataRoot);
    if (state !== 'read') throw new Error('the ledger cannot be read');
    writeLedger(this.#context.dataRoot, change(ledger));
    return ledger;
  }

  /** @returns those that dockerd has taken, which may be gone again */
  async #load(images: readonly DiskImage[]): Promise<Set<ImageID>> {
    const { docker, dataRoot } = this.#context;
    const sent = new Set<ImageID>();
    const load = async (family: readonly LayerlessImage[]): Promise<boolean> => {
      const isLoaded = (await docker.load(imageArchive(family))) === undefined;
      if (isLoaded) for (const { id } of family) sent.add(id);
      return isLoaded;
    };
    for (const batch of loadsOf(images)) {
      if ((await load(batch.flat())) || batch.length === 1) continue;
      // If dockerd refuses one image, the others are loaded all the same.
      const { images: there } = new Store(dataRoot);
      for (const family of batch.filter((each) => !each.every(({ id }) => there.has(id)))) await load(family);
    }
    return sent;
  }

  /** This has to be durable before any name is given, because afterwards a name means that the image is the user's. */
  #record(lost: readonly DiskImage[]): Set<ImageID> {
    const store = new Store(this.#context.dataRoot);
    const times = lost.flatMap(({ id }) => {
      const time = store.imageTime(id);
      return time === undefined ? [] : [[id, time] as const];
    });
    const labels = new Map(lost.map(({ id, label }) => [id, label] as const));
    this.#write((ledger) => ({
      ...ledger,
      images: new Map([...ledger.images, ...times.map(([id]) => [id, labels.get(id) ?? ''] as const)]),
      restored: new Map([...ledger.restored, ...times]),
      restoring: undefined,
    }));
    return new Set(times.map(([id]) => id));
  }

  /**
   * Gives names to images. If dockerd refuses one, perhaps because its image is gone again, the others are given all
   * the same.
   */
  async #giveNames(
    names: readonly (readonly [string, ImageID])[],
  ): Promise<{ readonly given: GivenName[]; readonly taken: Set<string>; readonly problem: string | undefined }> {
    const { docker, dataRoot } = this.#context;
    const given: GivenName[] = [];
    const taken = new Set<string>();
    let problem: string | undefined;
    for (const [name, id] of names) {
      const freeMs = monotonicMs();
      const { images, referenceStore } = new Store(dataRoot);
      const now = referenceStore.references.get(name);
      if (now !== undefined && now !== id) taken.add(name);
      if (!images.has(id) || now !== undefined) continue;
      try {
        await docker.tag(id, name);
        given.push({ name, id, freeMs });
      } catch (error) {
        problem = messageOf(error);
      }
    }
    return { given, taken, problem };
  }

  /**
   * dockerd gives a name to whoever asks last. If the user has given one of the names to another image since we saw
   * that it was free, the user gets it back.
   * @returns these names
   */
  async #giveBack(given: readonly GivenName[]): Promise<string[]> {
    const { docker, dataRoot, heard } = this.#context;
    const taken: string[] = [];
    for (const each of given) {
      const others = heard.othersUnder(each);
      if (others === undefined) continue;
      taken.push(each.name);
      if (new Store(dataRoot).referenceStore.references.get(each.name) === each.id)
        await docker.tag(others, each.name).catch(() => undefined);
    }
    return taken;
  }

  /** An image that the user has loaded or pulled at the same time is the user's. */
  #disownOthers(loaded: Set<ImageID>): void {
    const { references } = new Store(this.#context.dataRoot).referenceStore;
    const others = [...loaded].filter((id) => this.#context.heard.isOthers(id, references));
    if (others.length > 0)
      this.#write((ledger) => ({
        ...ledger,
        restored: new Map([...ledger.restored].filter(([id]) => !others.includes(id))),
      }));
  }

  /** Tells what is back and there, and what did not come back. */
  #tell(loaded: readonly ImageID[], wanted: ReadonlyMap<string, ImageID>, problem: string | undefined): void {
    const { names, images } = this.#pruned;
    const came = this.#came;
    const { images: there, referenceStore } = new Store(this.#context.dataRoot);
    const given = [...came.names].filter(([name, id]) => referenceStore.references.get(name) === id);
    const count = new Set([...loaded.filter((id) => there.has(id)), ...given.map(([, id]) => id)]).size;
    if (count > 0)
      log(
        'RESTORED',
        `${plural(count, 'image')} that a prune took ${count === 1 ? 'is' : 'are'} back${given.length === 0 ? '' : `: ${listNames(shortened(given.map(([name]) => name)))}`}`,
        { IMAGES: count },
      );
    const missing = [...images].filter((id) => !there.has(id) && !came.images.has(id));
    // A name is not given to an image that came back and is gone again.
    const isGone = (name: string): boolean => {
      const id = wanted.get(name);
      return came.names.has(name) || (id !== undefined && came.images.has(id) && !there.has(id));
    };
    const unnamed = [...names.keys()].filter((name) => !referenceStore.references.has(name) && !isGone(name));
    if (missing.length + unnamed.length > 0) {
      const what =
        missing.length === 0
          ? listNames(shortened(unnamed))
          : `${plural(missing.length, 'image')}${unnamed.length === 0 ? '' : ` (${listNames(shortened(unnamed))})`}`;
      log(
        'NOT_RESTORED',
        `${what}, which a prune took, ${missing.length + unnamed.length === 1 ? 'comes' : 'come'} back when Docker next starts, where a disk has it${problem === undefined ? '' : `: ${problem}`}`,
      );
    }
  }
}

function shortened(names: readonly string[]): string[] {
  return names.length > 8 ? [...names.slice(0, 7), `${names.length - 7} more`] : [...names];
}
