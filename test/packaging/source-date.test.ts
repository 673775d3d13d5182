import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { mkdirSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { after, beforeEach, describe, it } from 'node:test';
import { requireVersion } from '../../agent/packaging/release/release-version.ts';
import { releaseDate, sourceDate } from '../../agent/packaging/source-date.ts';
import { scratch } from '../support/temp-tree.ts';

const NOW_MS = 1_800_000_000_000;
const git = (cwd: string, ...args: readonly string[]): string =>
  execFileSync('git', ['-c', 'user.name=it', '-c', 'user.email=it@it.invalid', ...args], {
    cwd,
    encoding: 'utf8',
    env: { ...process.env, GIT_COMMITTER_DATE: '1700000000 +0000' },
  });

describe('the time of all files', () => {
  const own = process.env['SOURCE_DATE_EPOCH'];
  const restore = (): void => {
    delete process.env['SOURCE_DATE_EPOCH'];
    if (own !== undefined) process.env['SOURCE_DATE_EPOCH'] = own;
  };

  beforeEach(() => void delete process.env['SOURCE_DATE_EPOCH']);
  after(restore);

  it('is SOURCE_DATE_EPOCH, and refused where that is no time that all formats have', (t) => {
    const root = scratch(t);
    for (const [epoch, iso] of [
      ['0', '1970-01-01T00:00:00.000Z'],
      ['1700000000', '2023-11-14T22:13:20.000Z'],
      ['4294967295', '2106-02-07T06:28:15.000Z'],
    ] as const) {
      process.env['SOURCE_DATE_EPOCH'] = epoch;
      assert.equal(sourceDate(root).toISOString(), iso);
    }
    for (const epoch of ['', ' 1', '-1', '1e9', '1.5', 'now', '0x10', '4294967296', '99999999999999999999']) {
      process.env['SOURCE_DATE_EPOCH'] = epoch;
      assert.throws(() => sourceDate(root), {
        name: 'PreloaderError',
        message: `expected SOURCE_DATE_EPOCH to be seconds since 1970, from 0 to 4294967295, found '${epoch}'`,
      });
    }
  });

  it('is that of the last commit, not that of a repository in which the sources were unpacked', (t) => {
    const outer = scratch(t);
    git(outer, 'init', '--quiet');
    git(outer, 'commit', '--quiet', '--allow-empty', '--message=it');
    assert.equal(sourceDate(outer).getTime(), 1_700_000_000_000);
    const unpacked = path.join(outer, 'unpacked');
    mkdirSync(unpacked);
    assert.equal(sourceDate(unpacked).toISOString(), '2000-01-01T00:00:00.000Z');
    assert.throws(
      () => releaseDate(unpacked, NOW_MS),
      /^PreloaderError: expected the time of a release, by SOURCE_DATE/,
    );
  });

  it('is not made up where git does not tell it', (t) => {
    const root = scratch(t);
    git(root, 'init', '--quiet');
    assert.throws(() => sourceDate(root), /expected git to tell the time of the last commit.*: set SOURCE_DATE_EPOCH/);
    process.env['SOURCE_DATE_EPOCH'] = '1';
    assert.equal(sourceDate(root).getTime(), 1000);
  });

  it('is no time to come in a release, of which apt takes no repository', (t) => {
    const root = scratch(t);
    process.env['SOURCE_DATE_EPOCH'] = String(NOW_MS / 1000 + 1);
    assert.throws(() => releaseDate(root, NOW_MS), /in the past, found 2027-01-15T08:00:01.000Z: apt takes no/);
    process.env['SOURCE_DATE_EPOCH'] = String(NOW_MS / 1000);
    assert.equal(releaseDate(root, NOW_MS).getTime(), NOW_MS);
  });
});

describe('the version of a release', () => {
  it('is one that npm and dpkg take, and that the changelog begins with', (t) => {
    const root = scratch(t);
    const folder = path.join(root, 'agent/packaging/deb/debian');
    mkdirSync(folder, { recursive: true });
    writeFileSync(path.join(folder, 'changelog'), 'docker-preloader (1.2.3~rc.1) unstable; urgency=medium\n');
    requireVersion(root, '1.2.3-rc.1');
    for (const version of ['', 'v1.2.3', '1.2', '01.2.3', '1.2.3+build', '1.2.3-', '1.2.3 ', '../1.2.3', '1.2.3-a_b'])
      assert.throws(() => requireVersion(root, version), {
        message: `expected a version such as 1.2.3 or 1.2.3-rc.1 in package.json, found '${version}'`,
      });
    assert.throws(() => requireVersion(root, '1.2.4'), {
      message:
        "expected 'docker-preloader (1.2.4)' where agent/packaging/deb/debian/changelog begins, found 'docker-preloader (1.2.3~rc.1) unstable; urgency=medium': say there what is new",
    });
  });
});
