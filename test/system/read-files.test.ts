import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { mkdirSync, symlinkSync, truncateSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:net';
import path from 'node:path';
import { describe, it } from 'node:test';
import {
  foldersIn,
  isDirectory,
  linkTarget,
  namesIn,
  readIfThere,
  readTextIfThere,
  readUntrusted,
} from '../../agent/system/read-files.ts';
import { removeIfThere } from '../../agent/system/write-files.ts';
import { scratch } from '../support/temp-tree.ts';

describe('what may not be there', () => {
  it('reads as undefined or none, also below a file', (t) => {
    const folder = scratch(t);
    writeFileSync(path.join(folder, 'file'), 'text');
    for (const missing of [
      path.join(folder, 'none'),
      path.join(folder, 'file/below'),
      path.join(folder, 'none/below'),
    ]) {
      assert.equal(readTextIfThere(missing), undefined);
      assert.equal(readIfThere(missing), undefined);
      assert.equal(linkTarget(missing), undefined);
      assert.equal(readUntrusted(missing, 10), undefined);
      assert.deepEqual(namesIn(missing), []);
      assert.deepEqual(foldersIn(missing), []);
      assert.equal(isDirectory(missing), false);
    }
    assert.equal(linkTarget(path.join(folder, 'file')), undefined);
    removeIfThere(path.join(folder, 'none'));
  });

  it('but is something else is an error', (t) => {
    const folder = scratch(t);
    assert.throws(() => readTextIfThere(folder), { code: 'EISDIR' });
    assert.throws(() => removeIfThere(folder));
  });

  it('and folders are told from links to them', (t) => {
    const folder = scratch(t);
    mkdirSync(path.join(folder, 'real'));
    symlinkSync('real', path.join(folder, 'link'));
    writeFileSync(path.join(folder, 'file'), '');
    assert.deepEqual(foldersIn(folder), ['real']);
    assert.equal(isDirectory(path.join(folder, 'link')), false);
  });
});

describe('a file of somebody else', () => {
  it('is read where it is regular and small enough', (t) => {
    const file = path.join(scratch(t), 'file');
    writeFileSync(file, 'four');
    assert.equal(readUntrusted(file, 4)?.toString(), 'four');
    assert.throws(() => readUntrusted(file, 3), { message: `${file}: expected at most 3 bytes, found 4` });
    truncateSync(file, 10e9);
    assert.throws(() => readUntrusted(file, 4096), {
      message: `${file}: expected at most 4096 bytes, found 10000000000`,
    });
    truncateSync(file, 0);
    assert.equal(readUntrusted(file, 0)?.length, 0);
  });

  it('is refused where it is a symlink, a fifo, a folder or a device, without waiting', (t) => {
    const folder = scratch(t);
    const make = (name: string, action: (file: string) => void): string => {
      action(path.join(folder, name));
      return path.join(folder, name);
    };
    assert.throws(
      () =>
        readUntrusted(
          make('link', (file) => symlinkSync('/etc/passwd', file)),
          1e6,
        ),
      /link: expected a regular file, found a symlink$/,
    );
    for (const file of [
      make('fifo', (name) => void execFileSync('mkfifo', [name])),
      make('folder', (name) => mkdirSync(name)),
      '/dev/zero',
    ]) {
      assert.throws(() => readUntrusted(file, 1e6), {
        message: `${file}: expected a regular file, found something else`,
      });
    }
  });

  it('is refused where it is a socket', async (t) => {
    const file = path.join(scratch(t), 'socket');
    const server = createServer();
    await new Promise<void>((resolve) => server.listen(file, resolve));
    try {
      assert.throws(() => readUntrusted(file, 1e6));
    } finally {
      server.close();
    }
  });
});
