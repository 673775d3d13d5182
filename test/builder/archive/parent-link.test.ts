import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { parentsOf, type ParentLink } from '../../../agent/builder/archive/parent-link.ts';
import { asImageID, sha256 } from '../../../agent/docker/ids.ts';

interface Step {
  readonly created?: string;
  readonly created_by?: string;
  readonly author?: string;
  readonly empty_layer?: boolean;
}

function link(history: readonly Step[] | undefined, parent?: ParentLink, comment = ''): ParentLink {
  const config = Buffer.from(JSON.stringify({ history, comment }));
  const id = asImageID(sha256(config));
  assert.ok(id !== undefined);
  return { id, config, parent: parent?.id };
}

describe('the parents of an archive', () => {
  const first = { created: '2020-01-02T03:04:05.120Z', created_by: 'FROM' };
  const second = { created: '2020-01-02T03:04:06Z', created_by: 'RUN' };
  const base = link([first]);

  it('are taken where the history is the same but for the last step', () => {
    for (const history of [
      [first, second],
      [{ ...first, created: '2020-01-02T04:04:05.12+01:00', author: '', empty_layer: false }, second],
    ]) {
      const child = link(history, base);
      assert.deepEqual([...parentsOf([child, base])], [[child.id, base.id]]);
    }
    const [plain, other] = [link(undefined), link(undefined, link(undefined), 'other')];
    assert.deepEqual([...parentsOf([plain, other])], [[other.id, plain.id]]);
  });

  it('are passed over where the archive does not have them, or they are the image itself', () => {
    assert.deepEqual([...parentsOf([link([first, second], base)])], []);
    assert.deepEqual(
      [
        ...parentsOf([
          { ...base, parent: base.id },
          { ...base, parent: 'no digest' },
        ]),
      ],
      [],
    );
  });

  it('are refused where dockerd refuses them', () => {
    for (const history of [
      [first],
      [first, second, second],
      [{ ...first, created_by: 'other' }, second],
      [{ ...first, created: '2020-01-02T03:04:05.121Z' }, second],
      [{ created_by: 'FROM' }, second],
    ]) {
      assert.throws(
        () => parentsOf([base, link(history, base, 'child')]),
        /expected a parent with the same history but for the last step, found sha256:\w{64}: docker load refuses/,
      );
    }
  });
});
