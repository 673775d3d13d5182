import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { stateOf, states } from '../../agent/status/state.ts';
import { codes, type Code } from '../../agent/messages/codes.ts';
import { finding } from './a-run.ts';

describe('the state', () => {
  for (const { found, disks, state } of [
    { found: [], disks: 1, state: 'ok' },
    { found: [], disks: 0, state: 'empty' },
    { found: ['TAG_CONFLICT', 'DOCKER_RUNNING', 'LEDGER_INVALID'], disks: 1, state: 'ok' },
    { found: ['IMAGE_INCOMPLETE', 'TAG_CONFLICT'], disks: 1, state: 'degraded' },
    { found: ['DISK_DIRTY'], disks: 0, state: 'degraded' },
    { found: ['IMAGE_INCOMPLETE', 'REQUIRED_MISSING'], disks: 1, state: 'failed' },
  ] as readonly { found: Code[]; disks: number; state: keyof typeof states }[]) {
    it(`is ${state} with ${found.join(', ') || 'nothing found'} and ${disks} disks`, () =>
      assert.equal(
        stateOf(
          found.map((code) => finding(code)),
          disks,
        ),
        state,
      ));
  }

  it('of each code alone is what the code says', () => {
    for (const code of Object.keys(codes) as Code[])
      assert.equal(stateOf([finding(code)], 1), codes[code].effect === 'none' ? 'ok' : codes[code].effect);
  });

  it('has the exit status that the documentation names', () => {
    assert.deepEqual(Object.fromEntries(Object.entries(states).map(([state, { exitStatus }]) => [state, exitStatus])), {
      ok: 0,
      empty: 0,
      degraded: 3,
      failed: 1,
    });
  });
});
