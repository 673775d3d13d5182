import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import fc from '../support/properties.ts';
import { asChainID } from '../../agent/docker/ids.ts';
import {
  emptyLayer,
  isCacheId,
  linksIn,
  linkTargetOf,
  lowerOf,
  ownLayerNames,
} from '../../agent/docker/layer-folders.ts';
import { must } from '../boot/fake-store.ts';

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
