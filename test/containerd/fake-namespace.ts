import { isOwnImage, KEEPS_SNAPSHOT, PATH } from '../../agent/containerd/own-labels.ts';
import { emptyNamespaceLedger, type NamespaceLedger } from '../../agent/containerd/containerd-ledger.ts';
import type { OfferedDisk } from '../../agent/containerd/namespace-offer.ts';
import type { NamespacePlan, NamespacePlanInput } from '../../agent/containerd/plan/plan-namespace.ts';
import {
  layersFrom,
  type Present,
  type PresentContent,
  type PresentSnapshot,
} from '../../agent/containerd/namespace-present.ts';
import type { Descriptor, ImageRecord } from '../../agent/containerd/api/services.ts';
import type { Step } from '../../agent/containerd/plan/namespace-steps.ts';
import { farm, nothing, planOf } from './made-up.ts';

/** A namespace of a containerd that is only pretended: steps are done on maps, and garbage is collected at once. */
export class FakeNamespace implements Present {
  readonly namespace: string;
  readonly staleLeases: readonly string[] = [];
  readonly images = new Map<string, ImageRecord>();
  snapshots = new Map<string, PresentSnapshot>();
  content = new Map<string, PresentContent>();
  ledger: NamespaceLedger = emptyNamespaceLedger;
  #time = 0;

  constructor(namespace = nothing.namespace) {
    this.namespace = namespace;
  }

  plan(disks: readonly OfferedDisk[], more: Partial<NamespacePlanInput> = {}): NamespacePlan {
    return planOf({ disks, present: this, ledger: this.ledger, ...more });
  }

  /** A run of the agent, or its first steps where it is killed. */
  run(disks: readonly OfferedDisk[], more: Partial<NamespacePlanInput> = {}, steps = Infinity): NamespacePlan {
    const plan = this.plan(disks, more);
    if (plan.steps.length > 0) this.ledger = plan.before;
    for (const step of plan.steps.slice(0, steps)) this.#do(step);
    // The lease goes with the run, or after an hour.
    this.collect();
    // It is noted once nothing is to be done any more.
    if (steps >= plan.steps.length) this.ledger = this.plan(disks, more).after;
    return plan;
  }

  /** The user's: an image of his own under a name. */
  load(name: string, digest: string): void {
    const before = this.images.get(name);
    this.#put(name, { mediaType: 'm', digest, size: 1, annotations: new Map() }, before?.labels ?? new Map(), before);
  }

  /** `docker tag`: labels come along. */
  tag(from: string, to: string): void {
    const record = this.images.get(from);
    if (record?.target !== undefined) this.#put(to, record.target, record.labels, this.images.get(to));
  }

  /**
   * CRI's pull of an image that is as it was: the record that was asked for is written anew, others are there already.
   */
  pull(name: string): void {
    const record = this.images.get(name);
    if (record?.target !== undefined)
      this.#put(name, record.target, new Map([['io.cri-containerd.image', 'managed']]), record);
  }

  /** `docker create`: with the two snapshots that dockerd makes. */
  create(container: string, image: string): void {
    const top = this.#topOf(image);
    if (top === undefined) return;
    const snapshot = (parent: string, isCommitted: boolean): PresentSnapshot => ({
      parent,
      isCommitted,
      own: undefined,
      labels: new Map(),
    });
    this.snapshots.set(`${container}-init`, snapshot(top, true));
    this.snapshots.set(container, snapshot(`${container}-init`, false));
  }

  remove(container: string): void {
    this.snapshots.delete(container);
    this.snapshots.delete(`${container}-init`);
  }

  /** Names that are the user's, with what they name. */
  users(): Map<string, string> {
    return new Map(
      [...this.images.values()]
        .filter((record) => !isOwnImage(this.namespace, record))
        .map(({ name, target }) => [name, target?.digest ?? '']),
    );
  }

  names(): string[] {
    return [...this.images.values()].map(({ name, target }) => `${name} ${target?.digest ?? ''}`).toSorted();
  }

  /** The uppermost layer of an image whose configuration is there. */
  #topOf(image: string): string | undefined {
    const digest = this.images.get(image)?.target?.digest ?? '';
    const config = this.content.get(digest)?.labels.get('containerd.io/gc.ref.content.config') ?? '';
    return this.content.get(config)?.labels.get(KEEPS_SNAPSHOT);
  }

  /** As containerd does: what no image and no container leads to goes. */
  collect(): void {
    const content = new Set<string>();
    const snapshots = new Set<string>();
    for (const { target } of this.images.values()) content.add(target?.digest ?? '');
    for (const digest of content)
      for (const [name, value] of this.content.get(digest)?.labels ?? [])
        if (name.startsWith('containerd.io/gc.ref.content')) content.add(value);
    for (const digest of content) {
      const top = this.content.get(digest)?.labels.get(KEEPS_SNAPSHOT);
      if (top !== undefined) for (const chain of layersFrom(this, top)) snapshots.add(chain);
    }
    for (const [name, { isCommitted }] of this.snapshots)
      if (!isCommitted) for (const chain of layersFrom(this, name)) snapshots.add(chain);
    this.content = new Map([...this.content].filter(([digest]) => content.has(digest)));
    this.snapshots = new Map([...this.snapshots].filter(([name]) => snapshots.has(name)));
  }

  #put(name: string, target: Descriptor, labels: ReadonlyMap<string, string>, before?: ImageRecord): void {
    const now = { seconds: ++this.#time, nanos: 0 };
    this.images.set(name, { name, target, labels, createdAt: before?.createdAt ?? now, updatedAt: now });
  }

  #do(step: Step): void {
    if (step.do === 'make-layer') {
      const path = `/snapshots/snapshots/${this.snapshots.size + 1}/fs`;
      this.snapshots.set(step.chain, {
        parent: step.parent ?? '',
        isCommitted: true,
        own: { path, place: { is: 'link', target: farm.layer(step.chain) } },
        labels: new Map([
          ['docker-preloader/disk', step.disk],
          [PATH, path],
        ]),
      });
    } else if (step.do === 'write-content' || step.do === 'label-content') {
      const labels = new Map([...(this.content.get(step.digest)?.labels ?? []), ...step.labels]);
      this.content.set(step.digest, { labels, own: undefined });
    } else if (step.do === 'create-image' || step.do === 'replace-image') {
      if (step.do === 'replace-image') this.images.delete(step.image.name);
      // What came meanwhile is the user's.
      if (!this.images.has(step.image.name)) this.#put(step.image.name, step.image.target, step.image.labels);
    } else if (step.do === 'delete-image') this.images.delete(step.before.name);
    else throw new Error(`expected a step that is pretended, found ${step.do}`);
  }
}
