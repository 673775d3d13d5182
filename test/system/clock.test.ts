import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { describe, it } from 'node:test';
import { monotonicUsec } from '../../agent/system/clock.ts';

describe('the clock', () => {
  it('is the one of systemd', () => {
    const uptimeUsec = Number(readFileSync('/proc/uptime', 'utf8').split(' ')[0]) * 1e6;
    const first = monotonicUsec();
    assert.ok(Math.abs(first - uptimeUsec) < 60e6);
    assert.ok(monotonicUsec() >= first);
    assert.ok(Number.isInteger(first));
  });
});
