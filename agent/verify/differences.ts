import { join } from 'node:path';
import type { Finding } from '../messages/finding.ts';
import type { ChainID, ImageID } from '../docker/ids.ts';
import { parseImageConfig } from '../docker/image-config.ts';
import { TAR_SPLIT } from '../docker/layer-db.ts';
import { linkTargetOf, ownCacheId, pinName } from '../docker/layer-folders.ts';
import type { Store } from '../overlay2/store/store.ts';
import { messageOf } from '../system/errors.ts';
import { readTextIfThere } from '../system/read-files.ts';
import { plural } from '../text/plural.ts';
import { resultProblems } from '../overlay2/check-result.ts';
import { isCopyOf } from '../overlay2/store/copy-tar-split.ts';
import { ledgerFolder } from '../overlay2/store/ledger.ts';
import type { MountedDisk } from '../boot/mount-disks.ts';
import { findHiddenMounts } from '../boot/present-mounts.ts';
import type { Plan } from '../overlay2/plan/make-plan.ts';
import type { Step } from '../overlay2/plan/steps.ts';

export interface DifferencesInput {
  readonly store: Store;
  readonly plan: Plan;
  readonly disks: readonly MountedDisk[];
  /** The command that carries out the plan. */
  readonly cure: string;
}

/**
 * How the store differs from the disks, one finding for each difference. What is merely due, because a disk came or
 * went or the user removed a tag, is STORE_DIFFERS. What is wrong in the store, so that images do not run, is
 * STORE_DAMAGED. Contents are compared even if they reached the disk long ago, which a plan does not do.
 */
export function differences(input: DifferencesInput): Finding[] {
  const found = new Differences(input);
  for (const step of input.plan.steps) found.addStep(step);
  return [...found.damage, ...found.due(), ...found.mounts(), ...found.contents(), ...found.leftOver()];
}

interface Due {
  images: number;
  layers: number;
  readonly references: string[];
}

class Differences {
  readonly damage: Finding[] = [];
  readonly #input: DifferencesInput;
  readonly #settled: Set<string>;
  /** The layers on which the store's images stand. Nothing of these may be missing. */
  readonly #needed: ReadonlySet<ChainID>;
  readonly #named: ReadonlySet<ImageID>;
  /** What is due, by label. What is to be removed has no label. */
  readonly #due = new Map<string | undefined, Due>();
  readonly #single: Finding[] = [];
  /** Layers whose pin is missing. */
  readonly #unpinned = new Set<ChainID>();
  #staleCount = 0;

  constructor(input: DifferencesInput) {
    this.#input = input;
    const { store, plan } = input;
    this.#settled = new Set([
      ...plan.content.layers.keys(),
      ...plan.content.images.keys(),
      ...plan.content.references.keys(),
    ]);
    this.#named = new Set(store.referenceStore.references.values());
    this.#needed = new Set(
      [...store.images].flatMap((id) => store.imageConfig(id)?.chains ?? plan.offer.images.get(id)?.chains ?? []),
    );
  }

  addStep(step: Step): void {
    switch (step.do) {
      case 'link-layer':
      case 'record-layer':
        return this.#addLayer(step);
      case 'pin-layer':
        this.#unpinned.add(step.chain);
        return;
      case 'unpin-layer':
        this.#staleCount += 1;
        return;
      case 'store-image':
        return this.#addImage(step);
      case 'write-references':
        for (const [reference, image] of step.changes) this.#addReference(reference, image);
        return;
      case 'remove-image':
        this.#dueOf(undefined).images += 1;
        return;
      case 'remove-layer':
        this.#settled.delete(step.chain);
        this.#dueOf(undefined).layers += 1;
        return;
      case 'make-empty-layer':
        if (this.#hasOwnLayer())
          this.#damaged('the empty layer that base layers of disks stand on is missing or not whole', {});
        return;
      default:
        // Steps for the ledger, and for where registries have layers, are told below if nothing else is due.
        return;
    }
  }

  #hasOwnLayer(): boolean {
    return [...this.#input.plan.content.layers.keys()].some(
      (chain) => this.#input.store.layers.ownership(chain) === 'ours',
    );
  }

  #addLayer(step: Extract<Step, { do: 'link-layer' | 'record-layer' }>): void {
    const { store } = this.#input;
    this.#settled.delete(step.chain);
    if (!store.layers.recorded.has(step.chain) && !this.#needed.has(step.chain)) {
      if (step.do === 'link-layer') this.#dueOf(step.label).layers += 1;
      return;
    }
    const present = store.layers.own(step.chain);
    const folder = `overlay2/${present.cacheId}`;
    const record = `image/overlay2/layerdb/sha256/${step.chain.slice('sha256:'.length)}`;
    const parts: readonly (readonly [file: string, expected: string, found: string | undefined])[] =
      step.do === 'link-layer'
        ? [
            [`${folder}/diff`, step.diffPath, present.diff],
            [`${folder}/link`, step.names.link, present.linkFile],
            [`${folder}/lower`, step.lower, present.lower],
            [`${folder}/committed`, 'a file', present.committed ? 'a file' : undefined],
            [`overlay2/l/${present.link}`, linkTargetOf(present.cacheId), present.linkTarget],
          ]
        : [...step.files].map(([name, text]) => [`${record}/${name}`, text, present.record?.get(name)] as const);
    const wrong = parts.filter(([, expected, found]) => found !== expected);
    // If all small files of a record are right, its tar-split is wrong.
    const [file, expected, found] = wrong[0] ?? [`${record}/${TAR_SPLIT}`, 'that of the disk', 'another, or none'];
    const more = wrong.length > 1 ? `, and ${plural(wrong.length - 1, 'more file')}` : '';
    this.#damaged(
      `layer ${step.chain} of disk ${step.label}: ${file}: expected ${cut(expected)}, found ${found === undefined ? 'nothing' : cut(found)}${more}`,
      { label: step.label },
    );
  }

  #addImage({ id, label, config }: Extract<Step, { do: 'store-image' }>): void {
    const { store } = this.#input;
    this.#settled.delete(id);
    const isThere = store.images.has(id);
    if (isThere && store.readImage(id)?.equals(config) === true) {
      this.#single.push(
        this.#differs(`image ${this.#nameOf(id)}: the disk ${label} knows more about it than the store`, {
          label,
          image: id,
        }),
      );
    } else if (isThere) {
      this.#damaged(
        `image ${this.#nameOf(id)}: ${store.paths.image(id)}: expected the configuration with this digest, found something else`,
        { label, image: id },
      );
    } else if (this.#named.has(id)) {
      this.#damaged(`image ${this.#nameOf(id)}: ${store.paths.image(id)}: expected its configuration, found nothing`, {
        label,
        image: id,
      });
    } else {
      this.#dueOf(label).images += 1;
    }
  }

  #addReference(reference: string, image: ImageID | undefined): void {
    const { store, plan } = this.#input;
    this.#settled.delete(reference);
    if (image === undefined) this.#dueOf(undefined).references.push(reference);
    else if (!store.images.has(image))
      this.#dueOf(plan.offer.references.get(reference)?.label).references.push(reference);
    else {
      const now = store.referenceStore.references.get(reference);
      this.#single.push(
        this.#differs(
          `${reference}: expected image ${image.slice(0, 19)}, found ${now === undefined ? 'no such name' : now.slice(0, 19)}`,
          { image: reference },
        ),
      );
    }
  }

  #nameOf(id: ImageID): string {
    return [...this.#input.store.referenceStore.references].find(([, image]) => image === id)?.[0] ?? id.slice(0, 19);
  }

  #dueOf(label: string | undefined): Due {
    const due = this.#due.get(label) ?? { images: 0, layers: 0, references: [] };
    this.#due.set(label, due);
    return due;
  }

  due(): Finding[] {
    const { plan } = this.#input;
    const grouped = [...this.#due].map(([label, { images, layers, references }]) => {
      const names = references.length > 8 ? [...references.slice(0, 8), `${references.length - 8} more`] : references;
      // Only a name is due if its image is another disk's.
      const things =
        images + layers === 0
          ? plural(references.length, 'name')
          : `${plural(images, 'image')} and ${plural(layers, 'layer')}`;
      const what = `${things}${names.length === 0 ? '' : ` (${names.join(', ')})`}`;
      const are = things === '1 name' ? 'is' : 'are';
      return label === undefined
        ? this.#differs(`${what} of disks that are not attached any more ${are} still in the store`, {})
        : this.#differs(`disk ${label}: ${what} ${are} not in the store yet`, { label });
    });
    const all = [...grouped, ...this.#single, ...this.#pins()];
    if (plan.steps.length === 0 || all.length + this.damage.length > 0) return all;
    return [
      this.#differs(
        plan.steps.every(({ do: what }) => what === 'write-ledger' || what === 'remove-ledger')
          ? 'the ledger does not say what is in the store'
          : `${plural(plan.steps.length, 'note')} of where registries have layers are due`,
        {},
      ),
    ];
  }

  /** Missing pins of layers about which nothing else was told. */
  #pins(): Finding[] {
    const missing = [...this.#unpinned].filter((chain) => this.#input.store.layers.recorded.has(chain)).length;
    const stale = this.#input.plan.steps.some((step) => step.do === 'remove-layer') ? 0 : this.#staleCount;
    const tell = (count: number, what: string): Finding[] =>
      count === 0 ? [] : [this.#differs(`${plural(count, 'pin')}, by which layers outlast a prune, ${what}`, {})];
    return [...tell(missing, 'should be there, and not whole'), ...tell(stale, 'should not be there any more')];
  }

  /** Disks that dockerd would not find behind the links, which it follows in the mount namespace of PID 1. */
  mounts(): Finding[] {
    const { store, plan, disks } = this.#input;
    const linked = disks.filter(({ path }) =>
      [...plan.content.layers.keys()].some((chain) => store.layers.own(chain).diff?.startsWith(`${path}/`) === true),
    );
    return findHiddenMounts(linked).map(({ label = '' }) =>
      this.#damagedFinding(`disk ${label} is not mounted where dockerd looks for its layers`, { label }),
    );
  }

  /** Checks everything that no step of the plan changes, and compares it with the contents of the disks. */
  contents(): Finding[] {
    const { store, plan } = this.#input;
    const of = <Key extends string, Value>(map: ReadonlyMap<Key, Value>): Map<Key, Value> =>
      new Map([...map].filter(([key]) => this.#settled.has(key)));
    const { layers, images, references } = plan.content;
    const problems = resultProblems(store, {
      content: { layers: of(layers), images: of(images), references: of(references) },
      kept: plan.kept,
      pinned: new Set(),
    }).map((problem) => this.#damagedFinding(problem, {}));
    for (const chain of of(layers).keys()) {
      const { diff } = store.layers.own(chain);
      const source = plan.offer.layers.get(chain)?.find((layer) => layer.diffPath === diff);
      const file = join(store.paths.layer(chain), TAR_SPLIT);
      if (
        source?.tarSplit === undefined ||
        isCopyOf(file, { ...source.tarSplit, digest: undefined, label: source.label })
      )
        continue;
      problems.push(
        this.#toReplace(
          `layer ${chain} of disk ${source.label}: ${file}: expected the same as on the disk, found another`,
          file,
          { label: source.label },
        ),
      );
    }
    const unpinned = [...plan.pinned].filter(
      (chain) => !this.#unpinned.has(chain) && !store.mounts.hasPin(chain, true),
    );
    for (const chain of unpinned)
      problems.push(
        this.#toReplace(
          `layer ${chain}: ${store.paths.mount(pinName(chain))}: expected a pin that dockerd can read, found another`,
          `-r ${store.paths.mount(pinName(chain))}`,
          {},
        ),
      );
    for (const id of new Set([...images.keys(), ...plan.offer.images.keys()])) {
      const bytes = store.readImage(id);
      if (bytes === undefined || !store.images.has(id)) continue;
      try {
        parseImageConfig(bytes, id);
      } catch (error) {
        // A step for it has already told it.
        if (this.#settled.has(id) || !images.has(id))
          problems.push(
            this.#toReplace(`image ${this.#nameOf(id)}: ${messageOf(error)}`, store.paths.image(id), { image: id }),
          );
      }
    }
    return problems;
  }

  /** Layers with our names that neither the ledger nor the disks know. A pull would believe that they are there. */
  leftOver(): Finding[] {
    const { store, plan, cure } = this.#input;
    const removed = new Set(plan.steps.flatMap((step) => (step.do === 'remove-layer' ? [step.chain] : [])));
    const unknown = [...store.layers.recorded].filter(
      (chain) =>
        !plan.content.layers.has(chain) &&
        !removed.has(chain) &&
        readTextIfThere(`${store.paths.layer(chain)}/cache-id`)?.trim() === ownCacheId(chain),
    );
    const unpinned = new Set(plan.steps.flatMap((step) => (step.do === 'unpin-layer' ? [step.chain] : [])));
    const strayPins = store.mounts.pinnedLayers().filter((chain) => !plan.pinned.has(chain) && !unpinned.has(chain));
    const strays = strayPins.map((chain) =>
      this.#damagedFinding(
        `layer ${chain}: expected no pin for it, found ${store.paths.mount(pinName(chain))}`,
        {},
        `rm -r ${store.paths.mount(pinName(chain))}`,
      ),
    );
    return [
      ...strays,
      ...unknown.map((chain): Finding => ({
        code: 'STORE_DAMAGED',
        message: `layer ${chain} is in the store, but neither in the ledger nor on a disk; run: rm ${join(ledgerFolder(store.dataRoot), 'ledger.json')} && ${cure}`,
      })),
    ];
  }

  #damaged(what: string, fields: Partial<Finding>): void {
    this.damage.push(this.#damagedFinding(what, fields));
  }

  #damagedFinding(what: string, fields: Partial<Finding>, cure = this.#input.cure): Finding {
    return { code: 'STORE_DAMAGED', message: `${what}; run: ${cure}`, ...fields };
  }

  /**
   * A finding for a file with wrong content. It has to be removed, because a plan trusts sizes, and only writes missing
   * files.
   */
  #toReplace(what: string, file: string, fields: Partial<Finding>): Finding {
    return { code: 'STORE_DAMAGED', message: `${what}; run: rm ${file} && ${this.#input.cure}`, ...fields };
  }

  #differs(what: string, fields: Partial<Finding>): Finding {
    return { code: 'STORE_DIFFERS', message: `${what}; run: ${this.#input.cure}`, ...fields };
  }
}

/** Shortens a text. Nobody can read the `lower` of 125 layers. */
function cut(text: string): string {
  return text.length > 250 ? `${text.slice(0, 250)}…` : text === '' ? 'an empty file' : text;
}
