import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { describe, it } from 'node:test';
import { architectureOf } from '../../agent/packaging/architecture.ts';
import { makePackages } from '../../agent/packaging/build-package.ts';
import { copyOf } from '../packaging/repository-copy.ts';
import path from 'node:path';
import { arm64 } from './arm64-package.ts';

const root = path.resolve(import.meta.dirname, '../..');

describe('npm run package -- --arch arm64', () => {
  it('gives the same bytes again, in another folder', async (t) => {
    const copy = await copyOf(root);
    t.after(() => copy.remove());
    const expected = readFileSync(arm64.deb);
    // The time of its first member (ar(5)).
    process.env['SOURCE_DATE_EPOCH'] = expected.toString('latin1', 24, 36).trim();
    const [deb = '', tarball = ''] = await makePackages(copy.path, architectureOf('arm64'));
    assert.equal(path.basename(deb), path.basename(arm64.deb));
    assert.ok(readFileSync(deb).equals(expected));
    assert.ok(readFileSync(tarball).equals(readFileSync(arm64.deb.replace(/deb$/, 'tar.gz'))));
  });
});
