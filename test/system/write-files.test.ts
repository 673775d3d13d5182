import assert from 'node:assert/strict';
import { chmodSync, readdirSync, readFileSync, readlinkSync, statSync, symlinkSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { describe, it } from 'node:test';
import { ensureFolder, replaceFile, replaceLink } from '../../agent/system/write-files.ts';
import { scratch } from '../support/temp-tree.ts';

describe('a replaced file', () => {
  for (const durable of [true, false]) {
    it(`has the new content and mode, and nothing is left beside it${durable ? ', durably' : ''}`, (t) => {
      const folder = scratch(t);
      const file = path.join(folder, 'file');
      writeFileSync(file, 'old', { mode: 0o644 });
      chmodSync(file, 0o666);
      replaceFile(file, 'new', { mode: 0o600, durable });
      assert.equal(readFileSync(file, 'utf8'), 'new');
      assert.equal(statSync(file).mode & 0o777, 0o600);
      replaceFile(file, Buffer.from([0, 255]), { mode: 0o644, durable });
      assert.deepEqual(readFileSync(file), Buffer.from([0, 255]));
      assert.deepEqual(readdirSync(folder), ['file']);
    });
  }

  it('goes over what a killed run has left', (t) => {
    const file = path.join(scratch(t), 'file');
    writeFileSync(`${file}.docker-preloader`, 'a longer text of before');
    replaceFile(file, 'new', { mode: 0o600, durable: true });
    assert.equal(readFileSync(file, 'utf8'), 'new');
  });

  it('is replaced and not written through where it is a symlink; a symlink in place of the temporary file is refused', (t) => {
    const folder = scratch(t);
    const target = path.join(folder, 'target');
    writeFileSync(target, 'untouched');
    const file = path.join(folder, 'file');
    symlinkSync(target, file);
    replaceFile(file, 'new', { mode: 0o600, durable: false });
    assert.equal(readFileSync(target, 'utf8'), 'untouched');
    symlinkSync(target, `${file}.docker-preloader`);
    assert.throws(() => replaceFile(file, 'again', { mode: 0o600, durable: false }), { code: 'ELOOP' });
    assert.equal(readFileSync(target, 'utf8'), 'untouched');
    assert.equal(readFileSync(file, 'utf8'), 'new');
  });
});

describe('a replaced link', () => {
  it('points to the new target, whatever was there', (t) => {
    const folder = scratch(t);
    const link = path.join(folder, 'link');
    for (const target of ['../a/diff', '../a/diff', '../b/diff', '/nowhere']) {
      replaceLink(link, target);
      assert.equal(readlinkSync(link), target);
    }
    const file = path.join(folder, 'file');
    writeFileSync(file, '');
    replaceLink(file, 'x');
    assert.equal(readlinkSync(file), 'x');
    symlinkSync('old', `${link}.docker-preloader`);
    replaceLink(link, 'new');
    assert.equal(readlinkSync(link), 'new');
    assert.deepEqual(readdirSync(folder).toSorted(), ['file', 'link']);
  });
});

describe('folders', () => {
  it('are made with their parents and the mode, and stay as they are', (t) => {
    const folder = path.join(scratch(t), 'a/b');
    ensureFolder(folder, 0o700);
    assert.equal(statSync(folder).mode & 0o777, 0o700);
    ensureFolder(folder, 0o755);
    assert.equal(statSync(folder).mode & 0o777, 0o700);
  });
});
