import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { readFileSync } from 'node:fs';
import path from 'node:path';
import { describe, it } from 'node:test';
import { bootId } from '../../agent/system/boot-id.ts';

describe('the boot', () => {
  it('is told by the id of the kernel and the start of PID 1', () => {
    const [id = '', start = '', ...rest] = bootId().split(' ');
    assert.equal(id, readFileSync('/proc/sys/kernel/random/boot_id', 'utf8').trim());
    assert.match(start, /^\d+$/);
    assert.deepEqual(rest, []);
    assert.equal(bootId(), bootId());
  });

  it('is another in a container that was started again on the same kernel', () => {
    const module = JSON.stringify(path.resolve(import.meta.dirname, '../../agent/system/boot-id.ts'));
    const inside = (): string =>
      execFileSync(
        'unshare',
        [
          '--pid',
          '--fork',
          '--mount-proc',
          process.execPath,
          '--disable-warning=ExperimentalWarning',
          '--input-type=module',
          '--eval',
          `const { bootId } = await import(${module}); process.stdout.write(bootId());`,
        ],
        { encoding: 'utf8' },
      );
    const [first, second] = [inside(), inside()];
    assert.equal(first.split(' ')[0], second.split(' ')[0]);
    assert.equal(new Set([first, second, bootId()]).size, 3);
  });
});
