import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import fc from '../support/properties.ts';
import { valueOrError } from '../support/value-or-error.ts';
import { asImageID, sha256 } from '../../agent/docker/ids.ts';
import { parseImageConfig, readLayers } from '../../agent/docker/image-config.ts';
import { factsOf, must } from '../boot/fake-store.ts';

const idOf = (text: string) => must(asImageID(sha256(text)));
const anyID = must(asImageID(`sha256:${'0'.repeat(64)}`));

describe('an image configuration', () => {
  it('gives its layers and their ChainIDs', () => {
    const { config, id, diffIDs, chains } = factsOf({ layers: ['a', 'b', 'c'] });
    const parsed = parseImageConfig(Buffer.from(config), id);
    assert.deepEqual(parsed, { id, diffIDs, chains });
    assert.equal(chains[0], diffIDs[0]);
    assert.equal(chains[2], sha256(`${chains[1]} ${diffIDs[2]}`));
  });

  it('must have the digest that it is named by', () => {
    const { config } = factsOf({ layers: ['a'] });
    assert.throws(
      () => parseImageConfig(Buffer.from(config), anyID),
      /^Error: expected a configuration with digest sha256:0{64}, found sha256:[0-9a-f]{64}$/,
    );
  });

  for (const [text, says] of [
    ['{}', /`rootfs`, found none/],
    ['[]', /expected an image configuration with `rootfs`/],
    ['null', /expected an image configuration with `rootfs`/],
    ['{"rootfs":7}', /expected an image configuration with `rootfs`/],
    ['{"rootfs":{"diff_ids":{}}}', /`rootfs\.diff_ids`: expected an array/],
    ['{"rootfs":{"diff_ids":["sha256:x"]}}', /`rootfs\.diff_ids`: expected sha256 digests/],
    ['{"rootfs":{"diff_ids":["../../etc"]}}', /`rootfs\.diff_ids`: expected sha256 digests/],
    ['{"rootfs":{"diff_ids":[null]}}', /`rootfs\.diff_ids`: expected sha256 digests/],
    [
      JSON.stringify({ rootfs: { diff_ids: Array.from({ length: 126 }, () => `sha256:${'0'.repeat(64)}`) } }),
      /expected at most 125 layers, found 126/,
    ],
    ['', /JSON/],
    ['\0'.repeat(64), /JSON/],
  ] as const) {
    it(`${JSON.stringify(text.slice(0, 50))} is refused`, () =>
      assert.throws(() => parseImageConfig(Buffer.from(text), idOf(text)), says));
  }

  for (const text of ['{"rootfs":{}}', '{"rootfs":{"type":"layers","diff_ids":null}}', '{"rootfs":{"diff_ids":[]}}']) {
    it(`${text} has no layers`, () => assert.deepEqual(readLayers(Buffer.from(text), anyID).chains, []));
  }

  it('is parsed or refused, whatever it is', () => {
    fc.assert(
      fc.property(
        fc.oneof(
          fc.json(),
          fc.string(),
          fc.json().map((json) => `{"rootfs":{"diff_ids":${json}}}`),
          fc
            .array(fc.constantFrom(`sha256:${'a'.repeat(64)}`, `sha256:${'b'.repeat(64)}`), { maxLength: 3 })
            .map((layers) => JSON.stringify({ rootfs: { diff_ids: layers } })),
        ),
        (text) => {
          const parsed = valueOrError(() => parseImageConfig(Buffer.from(text), idOf(text)));
          if (parsed instanceof Error) return;
          const { rootfs } = JSON.parse(text) as { rootfs: { diff_ids?: unknown[] | null } };
          assert.equal(parsed.chains.length, rootfs.diff_ids?.length ?? 0);
        },
      ),
    );
  });

  it('that is deep is refused without an overflow', () => {
    for (const [levels, why] of [
      [9000, /`rootfs`, found none/],
      [10_000, /at most 10000 levels, found more/],
      [500_000, /at most 10000 levels, found more/],
    ] as const) {
      const text = `{"rootfs":${'['.repeat(levels)}${']'.repeat(levels)}}`;
      assert.throws(() => parseImageConfig(Buffer.from(text), idOf(text)), why);
    }
  });
});
