import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { asChainID, asDiffID, asImageID, chainIDs, hexOf } from '../../agent/docker/ids.ts';

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
