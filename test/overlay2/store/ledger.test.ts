import assert from 'node:assert/strict';
import { mkdirSync, readdirSync, statSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { describe, it } from 'node:test';
import fc from '../../support/properties.ts';
import {
  emptyLedger,
  isSameLedger,
  readLedger,
  serialiseLedger,
  writeLedger,
  type Ledger,
} from '../../../agent/overlay2/store/ledger.ts';
import type { ChainID, ImageID } from '../../../agent/docker/ids.ts';
import { makeScratch, removeScratch, scratch } from '../../support/temp-tree.ts';

const digests = fc.stringMatching(/^[0-9a-f]{64}$/).map((hex) => `sha256:${hex}`);
const mapOf = <Key extends string, Value extends string>(
  keys: fc.Arbitrary<string>,
  values: fc.Arbitrary<string>,
): fc.Arbitrary<Map<Key, Value>> =>
  fc.array(fc.tuple(keys, values), { maxLength: 4 }).map((list) => new Map(list as [Key, Value][]));
const names = fc.stringMatching(/^[a-z]{1,8}:[a-z0-9]{1,4}$/);
const labels = fc.constantFrom('dpl-a', 'dpl-b', '');
const contents = fc.record({
  references: mapOf<string, ImageID>(names, digests),
  images: mapOf<ImageID, string>(digests, labels),
  layers: mapOf<ChainID, string>(digests, labels),
});
const times = fc
  .array(fc.tuple(digests, fc.nat()), { maxLength: 4 })
  .map((list) => new Map(list as [ImageID, number][]));
const restorings = fc.record({
  sinceMs: fc.nat(),
  images: fc.array(digests, { maxLength: 3 }).map((list) => new Set(list as ImageID[])),
});
const ledgers: fc.Arbitrary<Ledger> = fc
  .tuple(
    contents,
    fc.boolean(),
    fc.option(contents, { nil: undefined }),
    mapOf<string, ImageID>(names, digests),
    mapOf<string, ImageID>(names, digests),
    times,
    times,
    fc.option(restorings, { nil: undefined }),
    fc.array(names),
  )
  .map(([content, synced, next, removed, displaced, lent, restored, restoring, distribution]) => ({
    ...content,
    synced,
    next,
    removed,
    displaced,
    lent,
    restored,
    restoring,
    distribution: new Set(distribution),
  }));

function withText(text: string | undefined, look: (dataRoot: string) => void): void {
  const dataRoot = makeScratch();
  try {
    if (text !== undefined) {
      mkdirSync(path.join(dataRoot, 'docker-preloader'));
      writeFileSync(path.join(dataRoot, 'docker-preloader/ledger.json'), text);
    }
    look(dataRoot);
  } finally {
    removeScratch(dataRoot);
  }
}

describe('the ledger', () => {
  it('reads back as it was written', () => {
    fc.assert(
      fc.property(ledgers, (ledger) => {
        withText(undefined, (dataRoot) => {
          writeLedger(dataRoot, ledger);
          const found = readLedger(dataRoot);
          assert.equal(found.state, 'read');
          assert.ok(isSameLedger(found.ledger, ledger));
        });
      }),
      { numRuns: 50 },
    );
  });

  it('is the same whatever the order of its entries, and another when one differs', () => {
    fc.assert(
      fc.property(ledgers, ledgers, (left, right) => {
        const turned: Ledger = {
          ...left,
          references: new Map([...left.references].toReversed()),
          layers: new Map([...left.layers].toReversed()),
          distribution: new Set([...left.distribution].toReversed()),
        };
        assert.ok(isSameLedger(left, turned));
        assert.equal(isSameLedger(left, right), isSameLedger(right, left));
        assert.ok(!isSameLedger(left, { ...left, synced: !left.synced }));
        assert.ok(
          !isSameLedger(left, {
            ...left,
            references: new Map([
              ...left.references,
              ['one:more', left.references.values().next().value ?? (`sha256:${'1'.repeat(64)}` as ImageID)],
            ]),
          }),
        );
      }),
      { numRuns: 50 },
    );
  });

  it('is private, and nothing else is beside it', (t) => {
    const dataRoot = scratch(t);
    writeLedger(dataRoot, emptyLedger);
    writeLedger(dataRoot, emptyLedger);
    assert.deepEqual(readdirSync(path.join(dataRoot, 'docker-preloader')), ['ledger.json']);
    assert.equal(statSync(path.join(dataRoot, 'docker-preloader')).mode & 0o777, 0o700);
    assert.equal(statSync(path.join(dataRoot, 'docker-preloader/ledger.json')).mode & 0o777, 0o600);
  });

  it('that is not there is none', (t) =>
    assert.deepEqual(readLedger(scratch(t)), { state: 'none', ledger: emptyLedger }));

  const whole = serialiseLedger(emptyLedger);
  for (const text of [
    '',
    '{',
    '[]',
    'null',
    '\0'.repeat(100),
    '{"formatVersion":"1.0"}',
    '{"formatVersion":1}',
    whole.slice(0, 60),
    whole.replace('"references":{}', '"references":{"a:1":"not a digest"}'),
  ]) {
    it(`${JSON.stringify(text.slice(0, 40))} is taken as none, with the reason`, () => {
      withText(text, (dataRoot) => {
        const found = readLedger(dataRoot);
        assert.equal(found.state, 'invalid');
        assert.deepEqual(found.ledger, emptyLedger);
      });
    });
  }

  it('of a newer minor version is read, of a newer major refused, whatever else it says', () => {
    withText(whole.replace('"2.0"', '"2.9"').replace('{', '{"more":1,'), (dataRoot) =>
      assert.equal(readLedger(dataRoot).state, 'read'),
    );
    withText('{"formatVersion":"3.0","layers":7}', (dataRoot) =>
      assert.throws(() => readLedger(dataRoot), { code: 'LEDGER_NEWER' }),
    );
  });

  it('of format 1 is read, but does not tell which names of a lent image are ours', () => {
    const [id] = fc.sample(digests, 1) as [ImageID];
    const ledger: Ledger = { ...emptyLedger, references: new Map([['app:1', id]]), lent: new Map([[id, 7]]) };
    const text = serialiseLedger(ledger);
    withText(text, (dataRoot) => assert.deepEqual(readLedger(dataRoot).ledger.lent, new Map([[id, 7]])));
    withText(text.replace('"2.0"', '"1.0"'), (dataRoot) => {
      assert.deepEqual(readLedger(dataRoot).ledger.references, ledger.references);
      assert.deepEqual(readLedger(dataRoot).ledger.lent, new Map());
    });
  });

  it('is read or taken as none, whatever it is', () => {
    fc.assert(
      fc.property(
        fc.oneof(
          fc.json(),
          fc.string(),
          fc
            .record(
              {
                formatVersion: fc.constant('1.0'),
                synced: fc.jsonValue(),
                references: fc.jsonValue(),
                images: fc.jsonValue(),
                layers: fc.jsonValue(),
                next: fc.jsonValue(),
              },
              { requiredKeys: [] },
            )
            .map((value) => JSON.stringify(value)),
        ),
        (text) => {
          withText(text, (dataRoot) => assert.match(readLedger(dataRoot).state, /^(read|invalid)$/));
        },
      ),
    );
  });
});
