import assert from 'node:assert/strict';
import { existsSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { describe, it } from 'node:test';
import fc from '../support/properties.ts';
import { readLedger } from '../../agent/overlay2/store/ledger.ts';
import { asImageID, type ChainID } from '../../agent/docker/ids.ts';
import { metadataPaths } from '../../agent/docker/layer-db.ts';
import { ownLayerNames } from '../../agent/docker/layer-folders.ts';
import { makeScratch, removeScratch } from '../support/temp-tree.ts';
import { FakeGuest } from '../boot/fake-guest.ts';
import {
  addContainer,
  factsOf,
  imageProblems,
  loadImages,
  must,
  references,
  removeContainer,
  removeImage,
  setReference,
  type ImageSpec,
} from '../boot/fake-store.ts';

/** What disks have; layers are shared among them and with the user's. */
const onDisks: readonly ImageSpec[] = [
  { layers: ['base'], references: ['base:1'], source: 'docker.io/library/base' },
  { layers: ['base', 'app'], references: ['app:1', 'app:latest'] },
  { layers: ['base', 'app', 'app 2'], references: ['app:latest'], source: 'docker.io/library/app' },
  { layers: ['other', 'tool'], references: ['tool:1'] },
  { layers: ['base', 'app'], note: 'a step of a build' },
];

const ofUser: readonly ImageSpec[] = [
  { layers: ['mine'], references: ['mine:1'] },
  { layers: ['base', 'mine on base'], references: ['mine:2'] },
  { layers: ['base', 'app'], note: 'as on a disk, with other settings', references: ['settings:1'] },
  { layers: ['mine'], note: 'under a name of a disk', references: ['app:latest'] },
  { layers: ['other', 'tool'], note: 'under a name of a disk, too', references: ['tool:1'] },
];

type Action =
  | {
      readonly do: 'attach';
      readonly label: string;
      readonly images: readonly ImageSpec[];
      readonly rank: number;
      readonly salt: string;
    }
  | { readonly do: 'detach'; readonly label: string }
  | { readonly do: 'load'; readonly spec: ImageSpec }
  | { readonly do: 'build' | 'run' | 'tag' | 'rmi'; readonly pick: number }
  | { readonly do: 'rm'; readonly pick: number }
  | { readonly do: 'sync' }
  | { readonly do: 'kill'; readonly steps: number };

const label = fc.constantFrom('dpl-a', 'dpl-b');
const pick = fc.nat(20);
const actions: fc.Arbitrary<Action> = fc.oneof(
  {
    weight: 4,
    arbitrary: fc.record({
      do: fc.constant('attach' as const),
      label,
      images: fc.subarray([...onDisks]),
      rank: fc.nat(2),
      salt: fc.constantFrom('one', 'two'),
    }),
  },
  { weight: 3, arbitrary: fc.record({ do: fc.constant('detach' as const), label }) },
  { weight: 3, arbitrary: fc.record({ do: fc.constant('load' as const), spec: fc.constantFrom(...ofUser) }) },
  {
    weight: 4,
    arbitrary: fc.record({
      do: fc.constantFrom('build' as const, 'run' as const, 'tag' as const, 'rmi' as const),
      pick,
    }),
  },
  { weight: 1, arbitrary: fc.record({ do: fc.constant('rm' as const), pick }) },
  { weight: 1, arbitrary: fc.record({ do: fc.constant('sync' as const) }) },
  { weight: 3, arbitrary: fc.record({ do: fc.constant('kill' as const), steps: fc.nat(30) }) },
);

const configs = fc.record({
  conflicts: fc.constantFrom('user' as const, 'disk' as const),
  removedImages: fc.constantFrom('restore' as const, 'respect' as const),
  prunedImages: fc.constantFrom('restore' as const, 'respect' as const),
});

class Life {
  readonly guest: FakeGuest;
  readonly #disks = new Map<string, readonly ImageSpec[]>();
  /** What the user gave a name to, by that name. */
  readonly #users = new Map<string, ImageSpec>();
  readonly #containers = new Map<string, ImageSpec>();
  /** Names that a disk has claimed since they were last checked to be the user's. */
  readonly #taken = new Set<string>();
  #count = 0;

  constructor(folder: string, config: FakeGuest['config']) {
    this.guest = new FakeGuest(folder);
    this.guest.config = config;
  }

  /** Images that the store has under a name, whose layers are all there: dockerd lets the user work with those. */
  #listed(): [string, ImageSpec][] {
    const specs = [...onDisks, ...this.#users.values()];
    return [...references(this.guest.dataRoot)].flatMap(([reference, id]) => {
      const spec = specs.find((one) => factsOf(one).id === id);
      return spec === undefined || !this.#hasRecords(spec) ? [] : [[reference, spec] as [string, ImageSpec]];
    });
  }

  #hasRecords(spec: ImageSpec): boolean {
    const paths = metadataPaths(this.guest.dataRoot);
    return (
      existsSync(paths.image(factsOf(spec).id)) && factsOf(spec).chains.every((chain) => existsSync(paths.layer(chain)))
    );
  }

  do(action: Action): void {
    const { dataRoot } = this.guest;
    if (action.do === 'attach') {
      this.guest.attach(action.label, action.images, { rank: action.rank, salt: `${action.salt} ${action.label}` });
      this.#disks.set(action.label, action.images);
      for (const reference of action.images.flatMap((spec) => spec.references ?? [])) this.#taken.add(reference);
    } else if (action.do === 'detach') {
      this.guest.detach(action.label);
      this.#disks.delete(action.label);
    } else if (action.do === 'load') {
      this.#load(action.spec);
    } else if (action.do === 'rm') {
      const id = [...this.#containers.keys()][action.pick % Math.max(1, this.#containers.size)];
      if (id === undefined) return;
      removeContainer(dataRoot, id);
      this.#containers.delete(id);
    } else if (action.do === 'sync') {
      const file = path.join(dataRoot, 'docker-preloader/ledger.json');
      if (existsSync(file) && !readFileSync(file, 'utf8').includes('"next"'))
        writeFileSync(file, readFileSync(file, 'utf8').replace('"synced":false', '"synced":true'));
    } else if (action.do === 'kill') {
      this.guest.boot(action.steps);
    } else {
      const listed = this.#listed();
      const found = listed[action.pick % Math.max(1, listed.length)];
      if (found !== undefined) this.#use(action.do, ...found);
    }
  }

  #load(spec: ImageSpec): void {
    loadImages(this.guest.dataRoot, [spec]);
    for (const reference of spec.references ?? []) this.#users.set(reference, spec);
  }

  #use(what: 'build' | 'run' | 'tag' | 'rmi', reference: string, spec: ImageSpec): void {
    const { dataRoot } = this.guest;
    const isTaken = readLedger(dataRoot).ledger.displaced.has(reference) && this.#users.get(reference) !== spec;
    this.#count += 1;
    if (what === 'build')
      this.#load({ layers: [...spec.layers, `built ${this.#count}`], references: [`built:${this.#count}`] });
    else if (what === 'run' && spec.layers.length > 0)
      this.#containers.set(addContainer(dataRoot, String(this.#count), spec), spec);
    else if (what === 'tag') {
      setReference(dataRoot, `own:${this.#count}`, factsOf(spec).id);
      this.#users.set(`own:${this.#count}`, spec);
    } else if (what === 'rmi') {
      removeImage(dataRoot, reference);
      // What a disk has taken the name for is removed; the user's own comes back when no disk claims it.
      if (!isTaken) this.#users.delete(reference);
      // With the last name that it has, the image goes, and then nothing is left that another name could come back to.
      if (!existsSync(metadataPaths(dataRoot).image(factsOf(spec).id))) {
        for (const [name, one] of this.#users) if (factsOf(one).id === factsOf(spec).id) this.#users.delete(name);
      }
    }
  }

  /** What is the user's is there, at any moment. */
  checkUser(): void {
    const paths = metadataPaths(this.guest.dataRoot);
    const now = references(this.guest.dataRoot);
    for (const [reference, spec] of this.#users) {
      const taken = this.guest.config.conflicts === 'disk' && this.#taken.has(reference);
      if (!taken) assert.equal(now.get(reference), factsOf(spec).id, `${reference} of the user's`);
      assert.ok(this.#hasRecords(spec), `the image of ${reference}, the user's`);
    }
    for (const spec of this.#containers.values())
      for (const chain of factsOf(spec).chains) assert.ok(existsSync(paths.layer(chain)), 'a layer under a container');
  }

  #isOurs(chain: ChainID): boolean {
    return (
      readFileSync(`${metadataPaths(this.guest.dataRoot).layer(chain)}/cache-id`, 'utf8') ===
      ownLayerNames(chain).cacheId
    );
  }

  /** Whether each layer of ours under an image leads to a disk that is attached. */
  #canWork(spec: ImageSpec): boolean {
    const offered = new Set([...this.#disks.values()].flat().flatMap((one) => factsOf(one).chains));
    return factsOf(spec).chains.every((chain) => offered.has(chain) || !this.#isOurs(chain));
  }

  /** What disks have works, under their names, unless the user has the name. */
  boot(): void {
    this.guest.boot();
    const claimed = new Set([...this.#disks.values()].flat().flatMap((spec) => spec.references ?? []));
    for (const reference of this.#taken) if (!claimed.has(reference)) this.#taken.delete(reference);
    this.checkUser();
    for (const [reference, spec] of this.#users)
      if (this.#canWork(spec)) assert.deepEqual(imageProblems(this.guest.dataRoot, spec), [], reference);
    const now = references(this.guest.dataRoot);
    for (const images of this.#disks.values()) {
      for (const spec of images) {
        for (const reference of spec.references ?? []) {
          const id = now.get(reference);
          if (id === undefined && this.guest.config.removedImages === 'respect') continue;
          const winner = [...onDisks, ...this.#users.values()].find((one) => factsOf(one).id === must(id));
          assert.deepEqual(imageProblems(this.guest.dataRoot, must(winner)), [], reference);
          if (!this.#users.has(reference))
            assert.ok(
              [...this.#disks.values()]
                .flat()
                .some((one) => one.references?.includes(reference) === true && factsOf(one).id === id),
              reference,
            );
        }
      }
    }
    for (const reference of now.keys())
      assert.ok(
        this.#users.has(reference) ||
          [...this.#disks.values()].flat().some((one) => one.references?.includes(reference)),
        `${reference}: nobody's`,
      );
    assert.deepEqual(this.guest.plan().steps, []);
  }

  /** The end: no disk, and nothing of the user's. */
  leave(): void {
    for (const name of this.#disks.keys()) this.do({ do: 'detach', label: name });
    this.boot();
    for (const id of this.#containers.keys()) removeContainer(this.guest.dataRoot, id);
    this.#containers.clear();
    this.#users.clear();
    for (const reference of references(this.guest.dataRoot).keys()) removeImage(this.guest.dataRoot, reference);
    // `docker image prune`: an image of the user's whose name a disk took, and whose name he then removed.
    const { images } = metadataPaths(this.guest.dataRoot);
    for (const name of existsSync(images) ? readdirSync(images) : []) {
      setReference(this.guest.dataRoot, 'pruned:1', must(asImageID(`sha256:${name}`)));
      removeImage(this.guest.dataRoot, 'pruned:1');
    }
    this.boot();
    const home = path.join(this.guest.dataRoot, 'overlay2');
    for (const spec of onDisks)
      for (const chain of factsOf(spec).chains)
        assert.ok(!existsSync(path.join(home, ownLayerNames(chain).cacheId)), 'a layer of ours is left');
    // Only removals are kept in mind.
    assert.ok(
      this.guest.config.removedImages === 'respect' ||
        !existsSync(path.join(this.guest.dataRoot, 'docker-preloader/ledger.json')),
    );
  }
}

describe('any life of a store', () => {
  it("keeps what is the user's, offers what the disks have, and ends without a trace", () => {
    fc.assert(
      fc.property(
        configs,
        fc.array(fc.tuple(actions, fc.boolean()), { minLength: 3, maxLength: 14 }),
        (config, list) => {
          const folder = makeScratch();
          try {
            const life = new Life(folder, config);
            for (const [action, boots] of list) {
              life.do(action);
              life.checkUser();
              if (boots) life.boot();
            }
            life.leave();
          } finally {
            removeScratch(folder);
          }
        },
      ),
      { numRuns: Number(process.env['DPL_RUNS'] ?? 40) },
    );
  });
});
