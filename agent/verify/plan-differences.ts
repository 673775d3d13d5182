import type { ChainID, ImageID } from '../docker/ids.ts';
import { TAR_SPLIT } from '../docker/layer-db.ts';
import { linkTargetOf } from '../docker/layer-folders.ts';
import type { Finding } from '../messages/finding.ts';
import type { Step } from '../overlay2/plan/steps.ts';
import { plural } from '../text/plural.ts';
import type { Compared, DifferenceFindings } from './difference-findings.ts';

interface Due {
  images: number;
  layers: number;
  readonly references: string[];
}

/** What the steps of a plan say of the store. */
export class PlanDifferences {
  readonly damage: Finding[] = [];
  /** Of the plan's layers, images and names those that no step changes. */
  readonly settled: Set<string>;
  /** Layers whose pin is missing. */
  readonly unpinned = new Set<ChainID>();
  readonly #compared: Compared;
  readonly #findings: DifferenceFindings;
  /** The layers on which the store's images stand. Nothing of these may be missing. */
  readonly #needed: ReadonlySet<ChainID>;
  readonly #named: ReadonlySet<ImageID>;
  /** What is due, by label. What is to be removed has no label. */
  readonly #due = new Map<string | undefined, Due>();
  readonly #single: Finding[] = [];
  #staleCount = 0;

  constructor(compared: Compared, findings: DifferenceFindings) {
    this.#compared = compared;
    this.#findings = findings;
    const { store, plan } = compared;
    this.settled = new Set([
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
        this.unpinned.add(step.chain);
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
        this.settled.delete(step.chain);
        this.#dueOf(undefined).layers += 1;
        return;
      case 'make-empty-layer':
        if (this.#hasOwnLayer())
          this.#damaged('the empty layer that base layers of disks stand on is missing or not whole');
        return;
      default:
        // Steps for the ledger, and for where registries have layers, are told below if nothing else is due.
        return;
    }
  }

  #hasOwnLayer(): boolean {
    return [...this.#compared.plan.content.layers.keys()].some(
      (chain) => this.#compared.store.layers.ownership(chain) === 'ours',
    );
  }

  #addLayer(step: Extract<Step, { do: 'link-layer' | 'record-layer' }>): void {
    const { store } = this.#compared;
    this.settled.delete(step.chain);
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
    const { store } = this.#compared;
    this.settled.delete(id);
    const isThere = store.images.has(id);
    if (isThere && store.readImage(id)?.equals(config) === true) {
      this.#single.push(
        this.#findings.differs(
          `image ${this.#findings.nameOf(id)}: the disk ${label} knows more about it than the store`,
          {
            label,
            image: id,
          },
        ),
      );
    } else if (isThere) {
      this.#damaged(
        `image ${this.#findings.nameOf(id)}: ${store.paths.image(id)}: expected the configuration with this digest, found something else`,
        { label, image: id },
      );
    } else if (this.#named.has(id)) {
      this.#damaged(
        `image ${this.#findings.nameOf(id)}: ${store.paths.image(id)}: expected its configuration, found nothing`,
        {
          label,
          image: id,
        },
      );
    } else {
      this.#dueOf(label).images += 1;
    }
  }

  #addReference(reference: string, image: ImageID | undefined): void {
    const { store, plan } = this.#compared;
    this.settled.delete(reference);
    if (image === undefined) this.#dueOf(undefined).references.push(reference);
    else if (!store.images.has(image))
      this.#dueOf(plan.offer.references.get(reference)?.label).references.push(reference);
    else {
      const now = store.referenceStore.references.get(reference);
      this.#single.push(
        this.#findings.differs(
          `${reference}: expected image ${image.slice(0, 19)}, found ${now === undefined ? 'no such name' : now.slice(0, 19)}`,
          { image: reference },
        ),
      );
    }
  }

  #dueOf(label: string | undefined): Due {
    const due = this.#due.get(label) ?? { images: 0, layers: 0, references: [] };
    this.#due.set(label, due);
    return due;
  }

  /** What a run would do, by disk. */
  due(): Finding[] {
    const { plan } = this.#compared;
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
        ? this.#findings.differs(`${what} of disks that are not attached any more ${are} still in the store`)
        : this.#findings.differs(`disk ${label}: ${what} ${are} not in the store yet`, { label });
    });
    const all = [...grouped, ...this.#single, ...this.#pins()];
    if (plan.steps.length === 0 || all.length + this.damage.length > 0) return all;
    return [
      this.#findings.differs(
        plan.steps.every(({ do: what }) => what === 'write-ledger' || what === 'remove-ledger')
          ? 'the ledger does not say what is in the store'
          : `${plural(plan.steps.length, 'note')} of where registries have layers are due`,
      ),
    ];
  }

  /** Missing pins of layers about which nothing else was told. */
  #pins(): Finding[] {
    const missing = [...this.unpinned].filter((chain) => this.#compared.store.layers.recorded.has(chain)).length;
    const stale = this.#compared.plan.steps.some((step) => step.do === 'remove-layer') ? 0 : this.#staleCount;
    const tell = (count: number, what: string): Finding[] =>
      count === 0 ? [] : [this.#findings.differs(`${plural(count, 'pin')}, by which layers outlast a prune, ${what}`)];
    return [...tell(missing, 'should be there, and not whole'), ...tell(stale, 'should not be there any more')];
  }

  #damaged(what: string, fields: Partial<Finding> = {}): void {
    this.damage.push(this.#findings.damaged(what, fields));
  }
}

/** Shortens a text. Nobody can read the `lower` of 125 layers. */
function cut(text: string): string {
  return text.length > 250 ? `${text.slice(0, 250)}…` : text === '' ? 'an empty file' : text;
}
