import assert from 'node:assert/strict';
import { readFileSync, rmSync } from 'node:fs';
import { describe, it } from 'node:test';
import { metadataPaths } from '../../../agent/docker/layer-db.ts';
import { scratch } from '../../support/temp-tree.ts';
import { codesOf, FakeGuest } from '../../boot/fake-guest.ts';
import { writeFile, type ImageSpec } from '../../boot/fake-store.ts';

const app: ImageSpec = { layers: ['base', 'app'], references: ['app:1'] };

describe('a store that dockerd cannot read', () => {
  it('is refused by name, and nothing is changed', (t) => {
    const guest = new FakeGuest(scratch(t));
    for (const text of ['', '{', '[]', '{"Repositories":[]}', '{"Repositories":{"a":1}}', '\0\0\0\0']) {
      writeFile(metadataPaths(guest.dataRoot).repositories, text);
      guest.attach('dpl-a', [app]);
      assert.throws(() => guest.boot(), {
        code: 'STORE_INVALID',
        message: /repositories\.json: .*dockerd will not start with it; mend or remove it$/,
      });
    }
    rmSync(metadataPaths(guest.dataRoot).repositories);
    assert.deepEqual(codesOf(guest.boot()), []);
  });

  it('keeps what it does not know in repositories.json', (t) => {
    const guest = new FakeGuest(scratch(t));
    const text = `{"Version":7,"Repositories":{"__proto__":{"__proto__:1":"sha256:${'a'.repeat(64)}"},"odd":{"odd:1":"not a digest"}}}`;
    writeFile(metadataPaths(guest.dataRoot).repositories, text, 0o600);
    guest.attach('dpl-a', [app]);
    guest.boot();
    guest.detach('dpl-a');
    guest.boot();
    assert.equal(readFileSync(metadataPaths(guest.dataRoot).repositories, 'utf8'), text);
  });
});
