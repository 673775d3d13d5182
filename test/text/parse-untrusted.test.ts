import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { parseUntrusted } from '../../agent/text/parse-untrusted.ts';

const nested = (levels: number): string => `${'['.repeat(levels)}${']'.repeat(levels)}`;

describe('JSON of a disk', () => {
  it('is parsed where it is long, too', () => {
    const digests = Array.from({ length: 100_000 }, (_, number) => `sha256:${String(number).padStart(64, '0')}`);
    assert.deepEqual(parseUntrusted(JSON.stringify({ digests })), { digests });
  });

  it('is refused where it has more values than text', () => {
    for (const text of [nested(600_000), `[${'{},'.repeat(600_000)}0]`, `[${'0,'.repeat(600_000)}0]`])
      assert.throws(() => parseUntrusted(text), /^Error: expected JSON with at most 500000 values, found more$/);
  });

  it('is refused where it is none', () => {
    assert.throws(() => parseUntrusted('{'), SyntaxError);
  });
});
