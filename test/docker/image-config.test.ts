import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import fc from '../support/properties.ts';
import { asChainID, asDiffID, asImageID, chainIDs, hexOf, sha256 } from '../../agent/docker/ids.ts';
import { parseImageConfig, readLayers } from '../../agent/docker/image-config.ts';
import {
  emptyLayer,
  isCacheId,
  linksIn,
  linkTargetOf,
  lowerOf,
  ownLayerNames,
} from '../../agent/docker/layer-folders.ts';
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
      /^Error: a configuration with digest sha256:0{64} expected, found sha256:[0-9a-f]{64}$/,
    );
  });

  for (const [text, says] of [
    ['{}', /`rootfs` expected, found none/],
    ['[]', /`rootfs` expected/],
    ['null', /`rootfs` expected/],
    ['{"rootfs":7}', /`rootfs` expected/],
    ['{"rootfs":{"diff_ids":{}}}', /`rootfs\.diff_ids`: an array expected/],
    ['{"rootfs":{"diff_ids":["sha256:x"]}}', /`rootfs\.diff_ids`: sha256 digests expected/],
    ['{"rootfs":{"diff_ids":["../../etc"]}}', /`rootfs\.diff_ids`: sha256 digests expected/],
    ['{"rootfs":{"diff_ids":[null]}}', /`rootfs\.diff_ids`: sha256 digests expected/],
    [
      JSON.stringify({ rootfs: { diff_ids: Array.from({ length: 126 }, () => `sha256:${'0'.repeat(64)}`) } }),
      /at most 125 layers expected, found 126/,
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
        ),
        (text) => {
          try {
            assert.deepEqual(
              parseImageConfig(Buffer.from(text), idOf(text)).chains.length,
              (JSON.parse(text) as { rootfs: { diff_ids?: unknown[] } }).rootfs.diff_ids?.length ?? 0,
            );
          } catch (error) {
            assert.ok(error instanceof Error);
          }
        },
      ),
    );
  });

  it('that is deep is refused without an overflow', () => {
    const text = `{"rootfs":${'['.repeat(500_000)}${']'.repeat(500_000)}}`;
    assert.throws(() => parseImageConfig(Buffer.from(text), idOf(text)), /`rootfs` expected, found none/);
  });
});

describe('a digest', () => {
  const good = `sha256:${'0a'.repeat(32)}`;
  it('is sha256 and 64 lower-case hex digits, and nothing else', () => {
    for (const as of [asImageID, asChainID, asDiffID]) {
      assert.equal(as(good), good);
      for (const bad of [
        good.toUpperCase(),
        `${good}\n`,
        ` ${good}`,
        good.slice(0, -1),
        `${good}0`,
        good.replace('sha256', 'sha512'),
        '',
        'sha256:',
        7,
        null,
        undefined,
        {},
        [good],
        { toString: () => good },
      ])
        assert.equal(as(bad), undefined);
    }
    assert.equal(hexOf(good), '0a'.repeat(32));
  });

  it('of no layers is no ChainID', () => assert.deepEqual(chainIDs([]), []));
});

describe('the names of a layer of ours', () => {
  const digests = fc.stringMatching(/^[0-9a-f]{64}$/).map((hex) => must(asChainID(`sha256:${hex}`)));

  it("follow from its ChainID alone, in dockerd's form", () => {
    fc.assert(
      fc.property(digests, (chain) => {
        const names = ownLayerNames(chain);
        assert.deepEqual(ownLayerNames(chain), names);
        assert.match(names.cacheId, /^[0-9a-f]{64}$/);
        assert.doesNotMatch(names.cacheId.slice(0, 12), /^\d{12}$/);
        assert.match(names.link, /^[A-Z2-7]{26}$/);
        assert.notDeepEqual(names, emptyLayer);
      }),
    );
  });

  it('differ from layer to layer', () => {
    fc.assert(
      fc.property(fc.uniqueArray(digests, { minLength: 2, maxLength: 20 }), (chains) => {
        assert.equal(new Set(chains.map((chain) => ownLayerNames(chain).cacheId)).size, chains.length);
        assert.equal(new Set(chains.map((chain) => ownLayerNames(chain).link)).size, chains.length);
      }),
    );
  });

  it('stay what they were in earlier versions: containers name them', () => {
    assert.deepEqual(ownLayerNames(must(asChainID(`sha256:${'0'.repeat(64)}`))), {
      cacheId: 'dd4743a6c0c9cd15c9d267c9383dc9757e8307249d5f94bd942d18a792424c0a',
      link: 'QKUKLV4LTD7OAIN34VQJYQDS7W',
    });
    assert.deepEqual(emptyLayer, {
      cacheId: 'aa1b30efd4e77885168331c9ba7f149115fd7433ab5e7a32b89af025f31dd6ef',
      link: 'E3PNAYF24GRFOSBQILUJ2NXUYR',
    });
  });

  it('form a `lower` that reads back, nearest first', () => {
    const lower = lowerOf({
      link: 'C',
      lower: lowerOf({ link: 'B', lower: lowerOf({ link: 'A', lower: undefined }) }),
    });
    assert.equal(lower, 'l/C:l/B:l/A');
    assert.equal(lowerOf({ link: 'C', lower: '' }), 'l/C');
    assert.deepEqual(linksIn(lower), ['C', 'B', 'A']);
    assert.deepEqual(linksIn(''), []);
    assert.deepEqual(linksIn('../x:l/A'), ['A']);
    assert.equal(linkTargetOf('id'), '../id/diff');
  });
});

describe('a cache-id', () => {
  for (const text of ['a'.repeat(64), 'abcdefghij0123456789vwxyz', 'A-b_c'])
    it(`${text} is taken`, () => assert.ok(isCacheId(text)));
  for (const text of ['', '.', '..', '../x', 'a/b', '/etc', 'a\n', 'a\0', '-x', '_x', 'a'.repeat(129), 'ä'])
    it(`${JSON.stringify(text.slice(0, 20))} is not`, () => assert.ok(!isCacheId(text)));
});
