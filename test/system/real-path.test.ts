import assert from 'node:assert/strict';
import { mkdirSync, realpathSync, symlinkSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { describe, it } from 'node:test';
import { realPathOf } from '../../agent/system/real-path.ts';
import { scratch } from '../support/temp-tree.ts';

describe('the real path', () => {
  it('is that of the part that is there, and where symlinks will lead', (t) => {
    const folder = realpathSync(scratch(t));
    const at = (...parts: readonly string[]): string => path.join(folder, ...parts);
    mkdirSync(at('run/deep'), { recursive: true });
    writeFileSync(at('file'), '');
    for (const [target, link] of [
      ['../run', 'run/up'],
      [at('run'), 'absolute'],
      ['run', 'relative'],
      ['run/none/disks', 'dangling'],
      ['dangling/more', 'chain'],
      ['loop', 'loop'],
      ['run/deep', 'deep'],
      ['../beside', 'run/deep/aside'],
    ] as const)
      symlinkSync(target, at(link));
    for (const [given, expected] of [
      ['run', 'run'],
      ['run/none/disks', 'run/none/disks'],
      ['absolute/disks', 'run/disks'],
      ['relative/none/disks', 'run/none/disks'],
      ['run/up/up/deep', 'run/deep'],
      ['dangling', 'run/none/disks'],
      ['dangling/x', 'run/none/disks/x'],
      ['chain/x', 'run/none/disks/more/x'],
      ['deep/aside/x', 'run/beside/x'],
      // Nothing that could be resolved: who uses it fails and says why.
      ['loop/x', 'loop/x'],
      ['file/x', 'file/x'],
    ] as const)
      assert.equal(realPathOf(at(given)), at(expected), given);
    assert.equal(realPathOf('/'), '/');
  });
});
