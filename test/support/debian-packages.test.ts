import assert from 'node:assert/strict';
import { existsSync } from 'node:fs';
import path from 'node:path';
import { describe, it } from 'node:test';
import { execa } from 'execa';
import { ensureDebianPackages, fetchDebianPackage, missingPackages } from './debian-packages.ts';

describe('ensureDebianPackages', () => {
  it('has nothing to do for what is installed', async () => {
    assert.deepEqual(await missingPackages(['dpkg', 'base-files']), []);
    await ensureDebianPackages(['dpkg', 'base-files'], { install: false });
  });

  it('names what is missing, and the command for it, when it must not install', async () => {
    await assert.rejects(ensureDebianPackages(['dpkg', 'no-such-package'], { install: false }), {
      message:
        'Missing Debian packages: no-such-package. Install them with `apt-get install --no-install-recommends no-such-package`',
    });
  });
});

describe('fetchDebianPackage', () => {
  it('unpacks a package of a newer suite beside the system', async () => {
    const tree = await fetchDebianPackage('trixie', ['tini']);
    assert.ok(existsSync(path.join(tree, 'usr/bin/tini')));
    const { stdout } = await execa(path.join(tree, 'usr/bin/tini-static'), ['--version']);
    assert.match(stdout, /^tini version 0\.19\.0/);
  });

  it('says which package of which suite is not to be had', async () => {
    await assert.rejects(fetchDebianPackage('bookworm', ['no-such-package']), (error: Error) => {
      assert.match(error.message, /^Expected to get no-such-package of Debian bookworm with apt-get/);
      assert.match(String(error.cause), /Unable to locate package no-such-package/);
      return true;
    });
  });
});
