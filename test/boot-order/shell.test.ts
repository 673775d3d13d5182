import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { mkdirSync, readFileSync } from 'node:fs';
import path from 'node:path';
import { describe, it } from 'node:test';
import { quoted, writeFile } from '../../agent/boot-order/shell.ts';
import { scratch } from '../support/temp-tree.ts';

describe('what to type', () => {
  it('is quoted for a shell', (t) => {
    const words = ['plain', "it's", 'a b', '$(id)', String.raw`\x20`, '%%', ''];
    assert.equal(
      execFileSync('sh', ['-c', `printf '%s|' ${words.map(quoted).join(' ')}`], { encoding: 'utf8' }),
      `${words.join('|')}|`,
    );
    const folder = path.join(scratch(t), 'a b');
    mkdirSync(folder);
    execFileSync('sh', [
      '-c',
      writeFile(path.join(folder, 'new/file'), ['[Unit]', String.raw`RequiresMountsFor=/a\x20b%%`]),
    ]);
    assert.equal(readFileSync(path.join(folder, 'new/file'), 'utf8'), '[Unit]\nRequiresMountsFor=/a\\x20b%%\n');
  });
});
