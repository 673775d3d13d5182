import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { describePlatform, parsePlatform, rankOf } from '../../../agent/builder/archive/platform.ts';

/** Which of several is taken: as containerd's platforms.OnlyStrict and Only choose. */
describe('the image for a platform', () => {
  const best = (wanted: string, asked: boolean, ...found: readonly string[]): string | undefined => {
    const ranked = found.flatMap((text) => {
      const platform = parsePlatform(text);
      const rank = rankOf({ platform: parsePlatform(wanted), asked }, platform);
      return rank === undefined ? [] : [{ rank, text: describePlatform(platform) }];
    });
    return ranked.toSorted((a, b) => a.rank - b.rank)[0]?.text;
  };

  for (const { wanted, found, asked, unasked } of [
    {
      wanted: 'linux/amd64',
      found: ['linux/amd64/v3', 'linux/amd64/v2', 'linux/amd64'],
      asked: 'linux/amd64',
      unasked: 'linux/amd64',
    },
    {
      wanted: 'linux/amd64',
      found: ['linux/amd64/v3', 'linux/amd64/v1'],
      asked: 'linux/amd64/v1',
      unasked: 'linux/amd64/v1',
    },
    { wanted: 'linux/amd64', found: ['linux/amd64/v3'], asked: undefined, unasked: undefined },
    {
      wanted: 'linux/amd64/v3',
      found: ['linux/amd64', 'linux/amd64/v3'],
      asked: 'linux/amd64/v3',
      unasked: 'linux/amd64/v3',
    },
    { wanted: 'linux/amd64', found: ['linux/386', 'linux/x86_64'], asked: 'linux/x86_64', unasked: 'linux/x86_64' },
    { wanted: 'linux/amd64', found: ['linux/386', 'windows/amd64'], asked: undefined, unasked: 'linux/386' },
    {
      wanted: 'linux/arm64',
      found: ['linux/arm/v7', 'linux/arm64/v8'],
      asked: 'linux/arm64/v8',
      unasked: 'linux/arm64/v8',
    },
    { wanted: 'linux/arm64/v8', found: ['linux/arm64'], asked: 'linux/arm64', unasked: 'linux/arm64' },
    { wanted: 'linux/arm64', found: ['linux/arm/v6', 'linux/arm/v7'], asked: undefined, unasked: 'linux/arm/v7' },
    {
      wanted: 'linux/arm',
      found: ['linux/arm/v8', 'linux/arm/v6', 'linux/arm/v7'],
      asked: 'linux/arm/v7',
      unasked: 'linux/arm/v7',
    },
    { wanted: 'linux/arm/v6', found: ['linux/armel', 'linux/arm/v7'], asked: 'linux/armel', unasked: 'linux/armel' },
    { wanted: 'linux/s390x', found: ['linux/amd64', 'linux/s390x'], asked: 'linux/s390x', unasked: 'linux/s390x' },
  ]) {
    it(`${wanted} of ${found.join(', ')}`, () => {
      assert.equal(best(wanted, true, ...found), asked);
      assert.equal(best(wanted, false, ...found), unasked);
    });
  }
});
