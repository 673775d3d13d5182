import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { checkTimes } from '../../../agent/builder/archive/config-times.ts';

describe("the times of an image's configuration", () => {
  const check = (...times: readonly unknown[]): void => {
    checkTimes(
      Buffer.from(JSON.stringify({ created: times[0], history: times.slice(1).map((created) => ({ created })) })),
    );
  };

  it('are taken as dockerd takes them', () => {
    check('2020-01-02T03:04:05Z', '2020-01-02T03:04:05.123456789+01:00', undefined, null, '0001-01-01T00:00:00Z');
    checkTimes(Buffer.from('{"history":null}'));
    checkTimes(Buffer.from('[]'));
  });

  for (const time of [
    'yesterday',
    '',
    '2020-01-02',
    '2020-01-02 03:04:05Z',
    '2020-13-02T03:04:05Z',
    '2020-01-02t03:04:05z',
    5,
    {},
  ]) {
    it(`are refused where one is ${JSON.stringify(time)}`, () => {
      assert.throws(() => check(time), /^Error: created: expected a time as in \S+, found /);
      assert.throws(
        () => check('2020-01-02T03:04:05Z', '2020-01-02T03:04:05Z', time),
        /history\[1\]\.created: expected a time/,
      );
    });
  }
});
