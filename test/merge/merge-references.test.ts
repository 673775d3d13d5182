import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import fc from '../support/properties.ts';
import { emptyLedger, settleReferences, type Ledger } from '../../agent/overlay2/store/ledger.ts';
import { mergeReferences, type ReferenceMerge, type ReferenceMergeInput } from '../../agent/merge/merge-references.ts';
import type { ImageID } from '../../agent/docker/ids.ts';
import { factsOf } from '../boot/fake-store.ts';

const image = (name: string): ImageID => factsOf({ layers: [name] }).id;
/** Of disks, and as we wrote them. */
const [d1, d2, d3] = [image('disk 1'), image('disk 2'), image('disk 3')] as const;
/** The user's. */
const [u1, u2] = [image('user 1'), image('user 2')] as const;
const ours = new Set([d1, d2, d3]);

type Config = ReferenceMergeInput['config'];
const defaults: Config = { conflicts: 'user', removedImages: 'restore' };

interface Case {
  readonly is: string;
  readonly now?: ImageID;
  readonly ledger?: ImageID;
  readonly next?: ImageID;
  readonly disk?: ImageID;
  readonly removed?: ImageID;
  readonly displaced?: ImageID;
  readonly config?: Partial<Config>;
  /** Images that are gone from the store. */
  readonly gone?: readonly ImageID[];
  /** The user has loaded the image although a disk has it. */
  readonly loaded?: boolean;
  /** There is no ledger any more. */
  readonly lost?: boolean;
  /** What the reference names afterwards. */
  readonly becomes: ImageID | undefined;
  readonly own?: boolean;
  readonly tombstone?: ImageID;
  readonly keeps?: ImageID;
  readonly finding?: string;
}

const NAME = 'app:1';
const one = <Value>(value: Value | undefined): Map<string, Value> =>
  value === undefined ? new Map() : new Map([[NAME, value]]);

/** The three-way table of the design, row by row. */
const cases: readonly Case[] = [
  { is: 'new on the disk: added', disk: d1, becomes: d1, own: true },
  { is: 'in no place but the store: never touched', now: u1, becomes: u1 },
  { is: 'untouched: updated', now: d1, ledger: d1, disk: d2, becomes: d2, own: true },
  { is: 'untouched, no disk has it any more: removed', now: d1, ledger: d1, becomes: undefined },
  { is: 'as the disk has it, named by the user: his, no conflict', now: d1, disk: d1, becomes: d1, own: false },
  { is: 'as the disk has it, and the ledger is lost: ours', now: d1, disk: d1, lost: true, becomes: d1, own: true },
  {
    is: 'as the disk has it, loaded by the user, and the ledger is lost: his',
    now: d1,
    disk: d1,
    lost: true,
    loaded: true,
    becomes: d1,
    own: false,
  },
  { is: 'moved by the user to what the disk has now: his', now: d2, ledger: d1, disk: d2, becomes: d2, own: false },
  { is: 'as the disk has it and in the ledger: stays', now: d1, ledger: d1, disk: d1, becomes: d1, own: true },
  {
    is: "as the disk has it, loaded by the user: the user's",
    now: d1,
    ledger: d1,
    disk: d1,
    loaded: true,
    becomes: d1,
    own: false,
  },
  {
    is: 'as in the ledger, loaded by the user: stays when the disk is gone',
    now: d1,
    ledger: d1,
    loaded: true,
    becomes: d1,
  },
  {
    is: "as in the ledger, loaded by the user: a conflict with the disk's new one",
    now: d1,
    ledger: d1,
    loaded: true,
    disk: d2,
    becomes: d1,
    finding: 'TAG_CONFLICT',
  },
  { is: 'changed by the user: stays', now: u1, ledger: d1, disk: d2, becomes: u1, finding: 'TAG_CONFLICT' },
  {
    is: 'changed by the user: the disk takes it',
    now: u1,
    ledger: d1,
    disk: d2,
    config: { conflicts: 'disk' },
    becomes: d2,
    own: true,
    keeps: u1,
    finding: 'TAG_CONFLICT',
  },
  { is: 'changed by the user, no disk has it: stays', now: u1, ledger: d1, becomes: u1 },
  { is: "the user's before there was a disk: stays", now: u1, disk: d1, becomes: u1, finding: 'TAG_CONFLICT' },
  {
    is: "the user's before there was a disk: the disk takes it",
    now: u1,
    disk: d1,
    config: { conflicts: 'disk' },
    becomes: d1,
    own: true,
    keeps: u1,
    finding: 'TAG_CONFLICT',
  },
  {
    is: 'taken before: remembered',
    now: d1,
    ledger: d1,
    disk: d1,
    displaced: u1,
    config: { conflicts: 'disk' },
    becomes: d1,
    own: true,
    keeps: u1,
  },
  {
    is: 'taken before, updated: remembered',
    now: d1,
    ledger: d1,
    disk: d2,
    displaced: u1,
    config: { conflicts: 'disk' },
    becomes: d2,
    own: true,
    keeps: u1,
  },
  {
    is: 'taken before, then loaded again by the user: his, and the older one is named',
    now: d1,
    ledger: d1,
    disk: d1,
    displaced: u1,
    loaded: true,
    config: { conflicts: 'disk' },
    becomes: d1,
    own: false,
    finding: 'TAG_CONFLICT',
  },
  {
    is: 'taken before, then loaded again by the user, and the disk is gone: stays',
    now: d1,
    ledger: d1,
    displaced: u1,
    loaded: true,
    config: { conflicts: 'disk' },
    becomes: d1,
    finding: 'TAG_CONFLICT',
  },
  {
    is: 'taken before, then loaded again by the user, whose older one is gone: his',
    now: d1,
    ledger: d1,
    disk: d1,
    displaced: u1,
    gone: [u1],
    loaded: true,
    config: { conflicts: 'disk' },
    becomes: d1,
    own: false,
  },
  { is: 'taken before, the disk is gone: comes back', now: d1, ledger: d1, displaced: u1, becomes: u1 },
  {
    is: 'taken before, and the user has removed his image: forgotten',
    now: d1,
    ledger: d1,
    disk: d1,
    displaced: u1,
    gone: [u1],
    config: { conflicts: 'disk' },
    becomes: d1,
    own: true,
  },
  {
    is: "taken before, and the user's image is gone: removed",
    now: d1,
    ledger: d1,
    displaced: u1,
    gone: [u1],
    becomes: undefined,
  },
  {
    is: 'taken before, and changed again by the user: the newer one counts',
    now: u2,
    ledger: d1,
    disk: d1,
    displaced: u1,
    config: { conflicts: 'disk' },
    becomes: d1,
    own: true,
    keeps: u2,
    finding: 'TAG_CONFLICT',
  },
  {
    is: "taken before, and what the disk has was removed by the user: the user's older one is remembered",
    ledger: d1,
    disk: d1,
    displaced: u1,
    becomes: d1,
    own: true,
    keeps: u1,
  },
  {
    is: 'taken before, removed by the user, respected: remembered',
    ledger: d1,
    disk: d1,
    displaced: u1,
    config: { removedImages: 'respect' },
    becomes: undefined,
    tombstone: d1,
    keeps: u1,
    finding: 'TAG_REMOVED',
  },
  {
    is: 'taken before, removed by the user, and the disk is gone: comes back',
    removed: d1,
    displaced: u1,
    config: { removedImages: 'respect' },
    becomes: u1,
  },
  { is: 'removed by the user: restored', ledger: d1, disk: d1, becomes: d1, own: true },
  {
    is: 'removed by the user: respected',
    ledger: d1,
    disk: d1,
    config: { removedImages: 'respect' },
    becomes: undefined,
    tombstone: d1,
    finding: 'TAG_REMOVED',
  },
  {
    is: 'removed by the user: respected again',
    removed: d1,
    disk: d1,
    config: { removedImages: 'respect' },
    becomes: undefined,
    tombstone: d1,
    finding: 'TAG_REMOVED',
  },
  {
    is: 'removed by the user, but the disk has another image: added',
    removed: d1,
    disk: d2,
    config: { removedImages: 'respect' },
    becomes: d2,
    own: true,
  },
  {
    is: 'removed by the user, no disk has it: remembered',
    removed: d1,
    config: { removedImages: 'respect' },
    becomes: undefined,
    tombstone: d1,
  },
  {
    is: 'removed by the user while its disk went: remembered',
    ledger: d1,
    config: { removedImages: 'respect' },
    becomes: undefined,
    tombstone: d1,
  },
  {
    is: 'removed by the user and named anew by him: forgotten',
    now: u1,
    removed: d1,
    config: { removedImages: 'respect' },
    becomes: u1,
  },
  { is: 'removed by the user, restored from now on', removed: d1, disk: d1, becomes: d1, own: true },
  {
    is: 'written by a run that was killed: untouched',
    now: d2,
    ledger: d1,
    next: d2,
    disk: d3,
    becomes: d3,
    own: true,
  },
  {
    is: 'not yet written by a run that was killed: untouched',
    now: d1,
    ledger: d1,
    next: d2,
    disk: d2,
    becomes: d2,
    own: true,
  },
  { is: 'written by a run that was killed, and the disk is gone: removed', now: d2, next: d2, becomes: undefined },
  {
    is: "not yet written by a run that was killed: no removal of the user's",
    next: d1,
    disk: d1,
    config: { removedImages: 'respect' },
    becomes: d1,
    own: true,
  },
];

interface Circumstances {
  readonly loaded?: boolean | undefined;
  readonly lost?: boolean | undefined;
  readonly gone?: readonly ImageID[] | undefined;
}

function merge(
  input: Pick<ReferenceMergeInput, 'store' | 'disks' | 'config'> & { readonly ledger: Ledger },
  { loaded = false, lost = false, gone = [] }: Circumstances = {},
): ReferenceMerge {
  return mergeReferences({
    ...input,
    ledger: settleReferences(input.ledger, input.store),
    ledgerLost: lost,
    untouched: loaded ? new Set() : ours,
    images: new Set([d1, d2, d3, u1, u2].filter((id) => !gone.includes(id))),
  });
}

describe('a reference', () => {
  for (const {
    is,
    now,
    ledger,
    next,
    disk,
    removed,
    displaced,
    config,
    gone,
    loaded,
    lost,
    becomes,
    own,
    tombstone,
    keeps,
    finding,
  } of cases) {
    it(is, () => {
      const before: Ledger = {
        ...emptyLedger,
        references: one(ledger),
        removed: one(removed),
        displaced: one(displaced),
        next: next === undefined ? undefined : { references: one(next), images: new Map(), layers: new Map() },
      };
      const store = one(now);
      const result = merge(
        {
          store,
          ledger: before,
          disks: one(disk === undefined ? undefined : { image: disk, label: 'dpl-a' }),
          config: { ...defaults, ...config },
        },
        { loaded, lost, gone },
      );
      assert.equal(result.changes.has(NAME) ? result.changes.get(NAME) : now, becomes);
      assert.equal(result.own.get(NAME), own === true ? becomes : undefined);
      assert.equal(result.removed.get(NAME), tombstone);
      assert.equal(result.displaced.get(NAME), keeps);
      assert.deepEqual(
        result.findings.map((found) => found.code),
        finding === undefined ? [] : [finding],
      );
      assert.ok(!result.changes.has(NAME) || result.changes.get(NAME) !== now, 'a change that changes nothing');
    });
  }
});

/** One name after another gets what the user, or a disk, makes of it. */
type Action =
  | { readonly who: 'user'; readonly name: string; readonly image: ImageID | undefined }
  | {
      readonly who: 'disk';
      readonly references: ReadonlyMap<string, { readonly image: ImageID; readonly label: string }>;
    };

const names = fc.constantFrom('app:1', 'app:2', 'tool:1');
const diskReferences = fc
  .dictionary(names, fc.constantFrom(d1, d2, d3), { maxKeys: 3 })
  .map((record) => new Map(Object.entries(record).map(([name, id]) => [name, { image: id, label: 'dpl-a' }] as const)));
const actions: fc.Arbitrary<Action[]> = fc.array(
  fc.oneof(
    fc.record({ who: fc.constant('user' as const), name: names, image: fc.constantFrom(u1, u2, undefined) }),
    fc.record({ who: fc.constant('disk' as const), references: diskReferences }),
  ),
  { maxLength: 12 },
);

class Story {
  store = new Map<string, ImageID>();
  ledger: Ledger = emptyLedger;
  disks: ReadonlyMap<string, { readonly image: ImageID; readonly label: string }> = new Map();
  readonly #config: Config;

  constructor(config: Config) {
    this.#config = config;
  }

  boot(): ReferenceMerge {
    const result = merge({ store: this.store, ledger: this.ledger, disks: this.disks, config: this.#config });
    for (const [name, id] of result.changes) {
      if (id === undefined) this.store.delete(name);
      else this.store.set(name, id);
    }
    this.ledger = { ...emptyLedger, references: result.own, removed: result.removed, displaced: result.displaced };
    return result;
  }

  do(action: Action): void {
    if (action.who === 'disk') this.disks = action.references;
    else if (action.image === undefined) this.store.delete(action.name);
    else this.store.set(action.name, action.image);
  }
}

/** What the user has said last of each tag; a name that a disk has taken is not his to remove. */
function noteUser(users: Map<string, ImageID>, action: Action, ledger: Ledger): void {
  if (action.who !== 'user') return;
  if (action.image === undefined && ledger.displaced.has(action.name)) return;
  if (action.image === undefined) users.delete(action.name);
  else users.set(action.name, action.image);
}

describe('any number of attachments, upgrades, removals and changes by the user', () => {
  const configs = fc.record({
    conflicts: fc.constantFrom('user' as const, 'disk' as const),
    removedImages: fc.constantFrom('restore' as const, 'respect' as const),
  });

  it("the user's value survives with `conflicts: user`", () => {
    fc.assert(
      fc.property(actions, fc.constantFrom('restore' as const, 'respect' as const), (list, removedImages) => {
        const story = new Story({ conflicts: 'user', removedImages });
        const users = new Map<string, ImageID>();
        for (const action of list) {
          story.do(action);
          noteUser(users, action, story.ledger);
          story.boot();
          for (const [name, id] of users) assert.equal(story.store.get(name), id);
        }
      }),
    );
  });

  it("the user's value comes back with `conflicts: disk` when no disk claims it", () => {
    fc.assert(
      fc.property(actions, fc.constantFrom('restore' as const, 'respect' as const), (list, removedImages) => {
        const story = new Story({ conflicts: 'disk', removedImages });
        const users = new Map<string, ImageID>();
        for (const action of list) {
          story.do(action);
          noteUser(users, action, story.ledger);
          story.boot();
        }
        story.disks = new Map();
        story.boot();
        assert.deepEqual(
          new Map([...story.store].toSorted(([a], [b]) => (a < b ? -1 : 1))),
          new Map([...users].toSorted(([a], [b]) => (a < b ? -1 : 1))),
        );
      }),
    );
  });

  it('a reference that is neither on a disk nor in the ledger never changes', () => {
    fc.assert(
      fc.property(actions, configs, (list, config) => {
        const story = new Story(config);
        for (const action of list) {
          story.do(action);
          const foreign = [...story.store].filter(
            ([name]) => !story.disks.has(name) && !story.ledger.references.has(name),
          );
          story.boot();
          for (const [name, id] of foreign) assert.equal(story.store.get(name), id);
        }
      }),
    );
  });

  it('twice is the same as once', () => {
    fc.assert(
      fc.property(actions, configs, (list, config) => {
        const story = new Story(config);
        for (const action of list) {
          story.do(action);
          story.boot();
          const { store, ledger } = story;
          const before = new Map(store);
          assert.equal(story.boot().changes.size, 0);
          assert.deepEqual(story.store, before);
          assert.deepEqual(story.ledger, ledger);
        }
      }),
    );
  });

  it('a removal stays with `removedImages: respect` until a disk has another image under the name', () => {
    fc.assert(
      fc.property(
        fc.array(fc.oneof(fc.constant(undefined), fc.constantFrom(d1, d2)), { maxLength: 8 }),
        (attachments) => {
          const story = new Story({ conflicts: 'user', removedImages: 'respect' });
          const attach = (id: ImageID | undefined): void =>
            story.do({
              who: 'disk',
              references: id === undefined ? new Map() : new Map([[NAME, { image: id, label: 'dpl-a' }]]),
            });
          attach(d1);
          story.boot();
          story.store.delete(NAME);
          let expected: ImageID | undefined;
          for (const id of attachments) {
            attach(id);
            story.boot();
            if (expected !== undefined || id === d2) expected = id;
            if (id === undefined && expected === undefined && story.store.has(NAME)) assert.fail('came from nowhere');
            assert.equal(story.store.get(NAME), expected);
            if (expected === undefined && id === undefined && story.ledger.removed.size === 0) return;
          }
        },
      ),
    );
  });
});
