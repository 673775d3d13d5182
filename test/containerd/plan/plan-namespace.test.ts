import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { sha256 } from '../../../agent/docker/ids.ts';
import { emptyNamespaceLedger, type NamespaceLedger } from '../../../agent/containerd/containerd-ledger.ts';
import type { OfferedDisk } from '../../../agent/containerd/namespace-offer.ts';
import fc from '../../support/properties.ts';
import { FakeNamespace } from '../fake-namespace.ts';
import { diskOf } from '../made-up.ts';

const disk = (label: string, ...images: Parameters<typeof diskOf>[1]): OfferedDisk => diskOf(label, images);
const full = (name: string): string => `docker.io/library/${name}`;

/** What a disk may hold: names and layers that others have, too. */
const anyDisk = fc
  .record({
    label: fc.constantFrom('dpl-a', 'dpl-b', 'dpl-c'),
    images: fc.array(
      fc.record({
        layers: fc.array(fc.constantFrom('one', 'two', 'three', 'four'), { minLength: 1, maxLength: 3 }),
        names: fc.uniqueArray(fc.constantFrom('x:1', 'y:1', 'z:1'), { maxLength: 2 }),
      }),
      { maxLength: 3 },
    ),
  })
  .map(({ label, images }) => disk(label, ...images));
const anyDisks = fc.uniqueArray(anyDisk, { maxLength: 3, selector: ({ content }) => content.label });
const anyName = fc.constantFrom('x:1', 'y:1', 'z:1', 'mine:1', 'keep:1').map(full);
const anyAct = fc.oneof(
  fc.record({ act: fc.constant('load' as const), name: anyName, image: fc.constantFrom('first', 'second') }),
  fc.record({ act: fc.constant('tag' as const), name: anyName, to: anyName }),
  fc.record({ act: fc.constant('rmi' as const), name: anyName }),
  fc.record({ act: fc.constant('pull' as const), name: anyName }),
  fc.record({ act: fc.constant('create' as const), name: anyName, container: fc.constantFrom('1', '2') }),
  fc.record({ act: fc.constant('rm' as const), container: fc.constantFrom('1', '2') }),
  fc.record({ act: fc.constant('run' as const), disks: anyDisks, steps: fc.option(fc.nat(12), { nil: Infinity }) }),
);
const anyNamespace = fc.constantFrom('moby', 'k8s.io');
const anyConfig = fc.record({
  conflicts: fc.constantFrom('user' as const, 'disk' as const),
  removedImages: fc.constantFrom('restore' as const, 'respect' as const),
});

describe('the plan of a namespace', () => {
  it('has nothing to do when all is done, whatever the user and killed runs have made of it', () => {
    fc.assert(
      fc.property(fc.array(anyAct, { maxLength: 12 }), anyDisks, anyConfig, anyNamespace, (acts, disks, config, of) => {
        const namespace = new FakeNamespace(of);
        for (const act of acts) {
          if (act.act === 'load') namespace.load(act.name, sha256(act.image));
          else if (act.act === 'tag') namespace.tag(act.name, act.to);
          else if (act.act === 'rmi') namespace.images.delete(act.name);
          else if (act.act === 'pull') namespace.pull(act.name);
          else if (act.act === 'create') namespace.create(act.container.repeat(64), act.name);
          else if (act.act === 'rm') namespace.remove(act.container.repeat(64));
          else namespace.run(act.disks, { config }, act.steps);
          namespace.collect();
        }
        namespace.run(disks, { config });
        const again = namespace.plan(disks, { config });
        assert.deepEqual([again.steps, again.isLedgerStale], [[], false]);
      }),
      { numRuns: 500 },
    );
  });

  it("leaves each of the user's names to him, and takes all that is ours out again", () => {
    fc.assert(
      fc.property(fc.array(anyAct, { maxLength: 12 }), anyDisks, (acts, disks) => {
        const namespace = new FakeNamespace();
        const his = new Map<string, string>();
        for (const act of acts) {
          if (act.act === 'load') namespace.load(act.name, sha256(act.image));
          else if (act.act === 'tag') namespace.tag(act.name, act.to);
          else if (act.act === 'rmi') namespace.images.delete(act.name);
          else if (act.act === 'pull') namespace.pull(act.name);
          else if (act.act === 'run') namespace.run(act.disks, {}, act.steps);
          // By what he did, and not by what is marked.
          if (act.act === 'load') his.set(act.name, sha256(act.image));
          if (act.act === 'pull' && namespace.images.has(act.name))
            his.set(act.name, namespace.images.get(act.name)?.target?.digest ?? '');
          if (act.act === 'rmi') his.delete(act.name);
          if (act.act === 'tag' && namespace.images.has(act.name))
            his.set(act.to, namespace.images.get(act.name)?.target?.digest ?? '');
          for (const [name, digest] of his) assert.equal(namespace.images.get(name)?.target?.digest, digest, name);
        }
        namespace.run(disks);
        namespace.run([], { forget: true });
        const left = new Map([...namespace.images].map(([name, { target }]) => [name, target?.digest]));
        // A tag that he put on a name where that image was already says nothing new.
        for (const [name, digest] of his) if (left.has(name)) assert.equal(left.get(name), digest);
        for (const name of left.keys()) assert.ok(his.has(name), `${name} is left`);
      }),
      { numRuns: 500 },
    );
  });

  it('ends as an undisturbed one where it was killed after any step', () => {
    fc.assert(
      fc.property(anyDisks, anyDisks, fc.nat(30), anyConfig, (before, disks, steps, config) => {
        const [killed, undisturbed] = [new FakeNamespace(), new FakeNamespace()];
        for (const namespace of [killed, undisturbed]) {
          namespace.load(full('x:1'), sha256('his'));
          namespace.run(before, { config });
        }
        undisturbed.run(disks, { config });
        killed.run(disks, { config }, steps);
        killed.run(disks, { config });
        assert.deepEqual(killed.names(), undisturbed.names());
        assert.deepEqual([...killed.snapshots.keys()].toSorted(), [...undisturbed.snapshots.keys()].toSorted());
        const withoutTimes = ({ made, ...ledger }: NamespaceLedger): object => ({ ...ledger, made: [...made.keys()] });
        assert.deepEqual(withoutTimes(killed.ledger), withoutTimes(undisturbed.ledger));
      }),
      { numRuns: 500 },
    );
  });

  it('remembers what the user removed, under `respect`, and gives it back when the disk has another', () => {
    const config = { conflicts: 'user', removedImages: 'respect' } as const;
    const namespace = new FakeNamespace();
    const old = [disk('dpl-a', { layers: ['one'], names: ['x:1'] })];
    namespace.run(old, { config });
    namespace.images.delete(full('x:1'));
    const { findings } = namespace.run(old, { config });
    assert.ok(findings.some(({ code }) => code === 'TAG_REMOVED'));
    assert.deepEqual(namespace.names(), []);
    namespace.run([disk('dpl-a', { layers: ['two'], names: ['x:1'] })], { config });
    assert.equal(namespace.names().length, 1);
  });

  it("takes a disk's image for the disk's still in Kubernetes' namespace, where CRI has pulled it again as it was", () => {
    const namespace = new FakeNamespace('k8s.io');
    const disks = [disk('dpl-a', { layers: ['one'], names: ['x:1'] })];
    namespace.run(disks);
    const names = namespace.names();
    assert.equal(names.length, 3);
    namespace.pull(full('x:1'));
    assert.deepEqual(namespace.run(disks).steps, []);
    assert.deepEqual(namespace.names(), names);
    namespace.pull(full('x:1'));
    assert.deepEqual([...namespace.run([]).findings], []);
    assert.deepEqual(namespace.names(), []);
  });

  it('has an image there that its disk calls by digest alone, and takes its removal for one by the user', () => {
    const config = { conflicts: 'user', removedImages: 'respect' } as const;
    const [target] = disk('dpl-a', { layers: ['one'], names: [] }).targets;
    const name = `x@${target?.target.digest}`;
    const disks = [disk('dpl-a', { layers: ['one'], names: [name] })];
    const namespace = new FakeNamespace('k8s.io');
    for (const again of [false, true]) {
      namespace.run(disks, again ? {} : { config });
      assert.deepEqual([...namespace.images.keys()].toSorted(), [full(name), target?.image]);
      namespace.images.clear();
      for (const attached of [disks, [], disks]) {
        namespace.run(attached, { config });
        assert.deepEqual(namespace.names(), []);
      }
    }
  });

  it('follows a newer disk there, too', () => {
    const namespace = new FakeNamespace('k8s.io');
    namespace.run([disk('dpl-a', { layers: ['one'], names: ['x:1'] })]);
    namespace.pull(full('x:1'));
    const newer = namespace.run([disk('dpl-a', { layers: ['two'], names: ['x:1'] })]);
    assert.deepEqual([newer.findings, namespace.names().length], [[], 3]);
  });

  it("names the user's image that stands on a disk's layers, when the disk has gone", () => {
    const namespace = new FakeNamespace();
    namespace.run([disk('dpl-a', { layers: ['one'], names: ['x:1'] })]);
    namespace.pull(full('x:1'));
    const [finding, ...others] = namespace.run([]).findings;
    assert.deepEqual([finding?.code, others], ['KEPT', []]);
    assert.match(finding?.message ?? '', /1 layer that image docker\.io\/library\/x:1 stands on;/);
  });

  it('leaves a name that the user has given to his image while that waits for its own', () => {
    const config = { conflicts: 'disk', removedImages: 'restore' } as const;
    const namespace = new FakeNamespace();
    namespace.load(full('x:1'), sha256('his'));
    namespace.run([disk('dpl-a', { layers: ['one'], names: ['x:1'] })], { config });
    const holder = `moby-dangling@${sha256('his')}`;
    namespace.tag(holder, full('keep:1'));
    // As dockerd does once the image has a tag.
    namespace.images.delete(holder);
    namespace.run([], { config });
    assert.deepEqual(namespace.names(), [`${full('keep:1')} ${sha256('his')}`, `${full('x:1')} ${sha256('his')}`]);
  });

  it("gives the user's image its name back where the ledger is lost meanwhile", () => {
    const config = { conflicts: 'disk', removedImages: 'restore' } as const;
    const disks = [disk('dpl-a', { layers: ['one'], names: ['x:1'] })];
    for (const attached of [disks, []]) {
      const namespace = new FakeNamespace();
      namespace.load(full('x:1'), sha256('his'));
      namespace.run(disks, { config });
      namespace.ledger = emptyNamespaceLedger;
      namespace.run(attached, { config });
      namespace.run([], { config });
      assert.deepEqual(namespace.names(), [`${full('x:1')} ${sha256('his')}`]);
    }
  });

  it("takes a tag for the user's that he moves away, and gives to the disk's image again", () => {
    const namespace = new FakeNamespace();
    const disks = [disk('dpl-a', { layers: ['one'], names: ['x:1', 'y:1'] })];
    namespace.run(disks);
    namespace.tag(full('x:1'), full('keep:1'));
    namespace.load(full('x:1'), sha256('his'));
    namespace.run(disks);
    namespace.images.delete(full('x:1'));
    namespace.tag(full('keep:1'), full('x:1'));
    const digest = namespace.images.get(full('x:1'))?.target?.digest;
    for (const attached of [disks, [], disks, []]) {
      namespace.run(attached);
      assert.deepEqual(
        [namespace.images.get(full('x:1'))?.target?.digest, namespace.images.has(full('keep:1'))],
        [digest, true],
      );
      assert.equal(namespace.images.has(full('y:1')), attached.length > 0);
    }
    namespace.run([], { forget: true });
    namespace.run([], { forget: true });
    assert.deepEqual([...namespace.images.keys()], [full('keep:1'), full('x:1')]);
  });

  it("keeps an image of the user's that waits for its name, where a disk has the same without one, and goes", () => {
    const config = { conflicts: 'disk', removedImages: 'restore' } as const;
    const namespace = new FakeNamespace();
    namespace.run([disk('dpl-a', { layers: ['one'], names: ['x:1'] })], { config });
    namespace.pull(full('x:1'));
    const his = namespace.images.get(full('x:1'))?.target?.digest;
    const [unnamed, other] = [
      disk('dpl-a', { layers: ['one'], names: [] }),
      disk('dpl-c', { layers: ['two'], names: ['x:1'] }),
    ];
    for (const disks of [[unnamed, other], [other]]) {
      namespace.run(disks, { config });
      const { steps, isLedgerStale } = namespace.plan(disks, { config });
      assert.deepEqual([steps, isLedgerStale], [[], false]);
      assert.notEqual(namespace.images.get(full('x:1'))?.target?.digest, his);
      assert.ok([...namespace.images.values()].some(({ target }) => target?.digest === his));
    }
    namespace.run([], { config });
    namespace.run([], { config });
    assert.deepEqual(namespace.names(), [`${full('x:1')} ${his}`]);
    assert.deepEqual(
      [...(namespace.images.get(full('x:1'))?.labels.keys() ?? [])].filter((name) =>
        name.startsWith('docker-preloader/'),
      ),
      [],
    );
  });
});
