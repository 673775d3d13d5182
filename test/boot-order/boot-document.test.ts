import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import fc from '../support/properties.ts';
import { AGENT, DOCKER, parseBootDocument } from '../../agent/boot-order/boot-document.ts';
import { findFaults } from '../../agent/boot-order/faults.ts';
import { bootChart } from '../../agent/boot-order/svg.ts';
import { describeTimeline } from '../../agent/boot-order/text.ts';
import { timeline } from '../../agent/boot-order/timeline.ts';
import { aDocument, unit, withUnit } from './a-document.ts';

const plain = { columns: undefined, color: false };

describe('the document', () => {
  it('is read as it was written, with what a newer minor adds left out', () => {
    const document = aDocument();
    assert.deepEqual(
      parseBootDocument(
        JSON.stringify({ ...document, documentVersion: '1.7', timeline: timeline(document), faults: [], more: 1 }),
      ),
      { ...document, documentVersion: '1.7' },
    );
  });

  for (const [about, json, message] of [
    ['an older major', { ...aDocument(), documentVersion: '0.9' }, /`documentVersion`: expected 1\.1, found "0\.9"$/],
    [
      'a long text',
      { ...aDocument(), version: 'x'.repeat(5000) },
      /`version`: expected at most 4096 characters, found "x/,
    ],
    ['a long list', { ...aDocument(), notes: Array(5000).fill('') }, /`notes`: expected at most 4096 entries, found/],
    ['no version', { ...aDocument(), documentVersion: '' }, /`documentVersion`: expected 1\.1, found ""$/],
    ['a newer major', { ...aDocument(), documentVersion: '2.0' }, /`documentVersion`: expected 1\.1, found "2\.0"/],
    ['times that are none', { ...aDocument(), capturedUsec: -1 }, /`capturedUsec`: expected at least 0, found -1/],
    [
      'a list that is too long',
      { ...aDocument(), notes: Array.from({ length: 5000 }, () => '') },
      /`notes`: expected at most 4096/,
    ],
  ] as const) {
    it(`is refused with ${about}`, () => assert.throws(() => parseBootDocument(JSON.stringify(json)), message));
  }

  it('can hold anything: every name and time is shown in one line, and in a well-formed chart', () => {
    const name = fc.string({ unit: 'binary', maxLength: 60 });
    const usec = fc.nat({ max: Number.MAX_SAFE_INTEGER });
    fc.assert(
      fc.property(name, name, name, usec, usec, usec, (label, image, state, one, two, three) => {
        const document = parseBootDocument(
          JSON.stringify(
            withUnit(
              DOCKER,
              {
                inactiveExitUsec: one,
                activeEnterUsec: two,
                after: [label, AGENT],
                execStartPre: [{ argv: image, ignoreErrors: false }],
              },
              aDocument({
                disks: [{ label, device: image, deviceNumber: state, udevUsec: three }],
                firstContainer: { id: label, name: image, image: state, startUsec: two },
                others: [unit(label, 0, 0, { inactiveExitUsec: two, activeEnterUsec: three, after: [DOCKER] })],
                boot: { readyUsec: two, state, timings: [] },
                notes: [label],
                cycleMessages: [`docker ${image}`],
              }),
            ),
          ),
        );
        const times = timeline(document);
        const text = describeTimeline(document, times, findFaults(document), plain);
        // oxlint-disable-next-line no-control-regex -- control characters are what is looked for
        assert.doesNotMatch(text, /[\u0000-\u0009\u000b-\u001f\u007f-\u009f\u202e]/);
        const svg = bootChart(document, times);
        // oxlint-disable-next-line no-control-regex -- control characters are what is looked for
        assert.doesNotMatch(svg, /[\u0000-\u0009\u000b-\u001f\ufffe\uffff]|NaN|Infinity|&(?!(amp|lt|gt|quot);)/);
        assert.ok(svg.isWellFormed());
      }),
      { numRuns: 100 },
    );
  });
});
