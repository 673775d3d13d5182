import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { duration, offset } from '../../agent/boot-order/format.ts';
import { describeTimeline } from '../../agent/boot-order/text.ts';
import { timeline } from '../../agent/boot-order/timeline.ts';
import { aDocument } from './a-document.ts';

const plain = { columns: undefined, color: false };

describe('the text', () => {
  it('is as wide as the terminal at most, and has colours only there', () => {
    const document = aDocument();
    for (const columns of [40, 80, 120]) {
      const lines = describeTimeline(document, timeline(document), [], { columns, color: false })
        .split('\n')
        .filter((line) => !line.startsWith('Critical'));
      assert.ok(
        lines.every((line) => line.length <= columns),
        lines.filter((line) => line.length > columns).join('\n'),
      );
    }
    assert.ok(!describeTimeline(document, timeline(document), [], plain).includes('\u001B'));
    assert.ok(describeTimeline(document, timeline(document), [], { columns: 200, color: true }).includes('\u001B[33m'));
  });

  for (const [usec, shown] of [
    [0, '0.0 ms'],
    [420, '0.4 ms'],
    [84_000, '84 ms'],
    [999_600, '1.000 s'],
    [1_532_000, '1.532 s'],
    [123_000_000, '2 min 3 s'],
  ] as const) {
    it(`shows ${usec} µs as ${shown}`, () => assert.equal(duration(usec), shown));
  }

  it('shows offsets before the kernel, too', () => assert.equal(offset(-900_000), '-0.900 s'));
});
