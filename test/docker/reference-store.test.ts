import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import fc from '../support/properties.ts';
import { valueOrError } from '../support/value-or-error.ts';
import { asImageID, type ImageID } from '../../agent/docker/ids.ts';
import { emptyReferenceStore, parseReferenceStore, updateReferenceStore } from '../../agent/docker/reference-store.ts';
import { must } from '../boot/fake-store.ts';

const hex = 'a1'.repeat(32);
const id = (digit: string): ImageID => must(asImageID(`sha256:${digit.repeat(64)}`));

describe('repositories.json', () => {
  it('is read over all repositories, and what is no image is passed over', () => {
    const { references } = parseReferenceStore(
      JSON.stringify({ Repositories: { a: { 'a:1': id('1'), 'a:2': 7 }, 'b/c': { 'b/c:1': id('2') } } }),
    );
    assert.deepEqual(
      [...references],
      [
        ['a:1', id('1')],
        ['b/c:1', id('2')],
      ],
    );
  });

  for (const text of ['{}', '{"Repositories":{}}', '{"Repositories":null}']) {
    it(`${text} holds none`, () => assert.equal(parseReferenceStore(text).references.size, 0));
  }

  for (const [text, says] of [
    ['', /JSON/],
    ['null', /expected an object/],
    ['[]', /expected an object/],
    ['{"Repositories":[]}', /`Repositories`: expected an object/],
    ['{"Repositories":{"a":null}}', /`Repositories`: expected an object for each repository/],
  ] as const) {
    it(`${JSON.stringify(text)} is refused`, () => assert.throws(() => parseReferenceStore(text), says));
  }

  const repository = fc.constantFrom('alpine', 'x/y', 'registry:5000/z');
  const reference = fc
    .tuple(repository, fc.constantFrom(':1', ':2', ':latest', `@sha256:${hex}`))
    .map(([name, rest]) => `${name}${rest}`);
  const image = fc.constantFrom(id('1'), id('2'), id('3'));
  const changes = fc.array(fc.tuple(reference, fc.option(image, { nil: undefined }))).map((list) => new Map(list));

  it('after changes holds what it held, with the changes, and no empty repository', () => {
    fc.assert(
      fc.property(changes, changes, (first, second) => {
        const before = parseReferenceStore(updateReferenceStore(emptyReferenceStore, first));
        const after = parseReferenceStore(updateReferenceStore(before, second));
        const expected = new Map([...first, ...second].filter(([, value]) => value !== undefined));
        for (const [name, value] of second) if (value === undefined) expected.delete(name);
        assert.deepEqual(
          new Map([...after.references].toSorted(([a], [b]) => (a < b ? -1 : 1))),
          new Map([...expected].toSorted(([a], [b]) => (a < b ? -1 : 1))),
        );
        for (const entries of Object.values(after.document['Repositories'] as Record<string, object>))
          assert.ok(Object.keys(entries).length > 0);
      }),
    );
  });

  it('keeps whatever else is in it, to the byte', () => {
    fc.assert(
      fc.property(
        fc.dictionary(fc.string(), fc.dictionary(fc.string(), fc.string())),
        fc.dictionary(fc.string(), fc.jsonValue()),
        (repositories, rest) => {
          const text = JSON.stringify({ ...rest, Repositories: repositories });
          const before = JSON.parse(text) as unknown;
          assert.deepEqual(JSON.parse(updateReferenceStore(parseReferenceStore(text), new Map())), before);
        },
      ),
    );
  });

  it('is never read into something else than it says', () => {
    const image = fc.constantFrom(`sha256:${'a'.repeat(64)}`, `sha256:${'b'.repeat(64)}`, 'sha256:a', '', 7);
    const name = fc.constantFrom('app:1', 'app:2', 'odd', 'app:1@', 'other:1', '__proto__');
    const repositories = fc
      .dictionary(fc.constantFrom('app', 'other', 'sha256', 'Odd'), fc.dictionary(name, image))
      .map((Repositories) => JSON.stringify({ Repositories }));
    let read = 0;
    fc.assert(
      fc.property(fc.oneof(fc.json(), repositories), (text) => {
        const store = valueOrError(() => parseReferenceStore(text));
        if (store instanceof Error) return assert.match(store.message, /expected|JSON/);
        const { Repositories } = JSON.parse(text) as { Repositories: Record<string, Record<string, unknown>> };
        for (const [name, image] of store.references) {
          assert.match(image, /^sha256:[0-9a-f]{64}$/);
          assert.ok(Object.values(Repositories).some((names) => Object.hasOwn(names, name) && names[name] === image));
        }
        read += store.references.size;
      }),
    );
    assert.ok(read > 0);
  });
});
