import assert from 'node:assert/strict';
import { globSync, readFileSync } from 'node:fs';
import path from 'node:path';
import { after, before, describe, it } from 'node:test';
import { execa } from 'execa';
import { VERSION } from '../../agent/version.ts';
import { cleanUpAll } from '../support/cleanup.ts';
import { releaseIn, signingKeyIn } from '../support/release.ts';
import { tempTree } from '../support/temp-tree.ts';
import { arm64 } from './arm64-package.ts';

const base = `docker-preloader_${VERSION}`;

describe('a release for both architectures', () => {
  let release = '';
  const at = (name: string): string => path.join(release, name);
  const run = async (...[command = '', ...args]: readonly string[]): Promise<string> =>
    (await execa(command, args, { cwd: release })).stdout;

  before(async () => {
    const { path: folder } = await tempTree();
    release = path.join(folder, 'release');
    await releaseIn(release, await signingKeyIn(path.join(folder, 'gnupg')), ['amd64', 'arm64']);
  });
  after(cleanUpAll);

  it('has packages, tarballs and system extensions of both, and one bill of materials', async () => {
    assert.deepEqual(globSync(`${base}*`, { cwd: release }).toSorted(), [
      `${base}.cdx.json`,
      ...['amd64', 'arm64'].flatMap((name) => ['deb', 'sysext.raw', 'tar.gz'].map((kind) => `${base}_${name}.${kind}`)),
    ]);
    assert.ok(readFileSync(at(`${base}_arm64.deb`)).equals(readFileSync(arm64.deb)));
    await run('sha256sum', '--check', '--quiet', '--strict', 'SHA256SUMS');
  });

  it('has each package in the index of its architecture, and those of 0.1.0 in theirs', () => {
    const packages = (name: string): string[] =>
      [...readFileSync(at(`apt/dists/stable/main/binary-${name}/Packages`), 'utf8').matchAll(/^Filename: (.*)$/gm)]
        .map(([, file = '']) => file)
        .toSorted();
    assert.deepEqual(packages('amd64'), ['pool/docker-preloader_0.1.0_amd64.deb', `pool/${base}_amd64.deb`]);
    assert.deepEqual(packages('arm64'), [`pool/${base}_arm64.deb`]);
    assert.match(readFileSync(at('apt/dists/stable/Release'), 'utf8'), /^Architectures: amd64 arm64$/m);
  });

  it('says in each system extension for which architecture it is', async () => {
    const name = 'usr/lib/extension-release.d/extension-release.docker-preloader';
    for (const [debian, systemd] of Object.entries({ amd64: 'x86-64', arm64: 'arm64' }))
      assert.match(
        await run('unsquashfs', '-cat', `${base}_${debian}.sysext.raw`, name),
        new RegExp(`^ARCHITECTURE=${systemd}$`, 'm'),
      );
  });

  it('names the libraries of each compiler, and the Bun of each', () => {
    const { dependencies } = JSON.parse(readFileSync(at(`${base}.cdx.json`), 'utf8')) as {
      dependencies: readonly { ref: string; dependsOn?: readonly string[] }[];
    };
    const held = (name: string): string =>
      dependencies.find(({ ref }) => ref === `file:${name}`)?.dependsOn?.join(' ') ?? '';
    assert.match(held('usr/bin/docker-preloader (amd64)'), /\/libc6-dev@.*\/quickjs@/);
    assert.match(held('usr/bin/docker-preloader (arm64)'), /\/libc6-dev-arm64-cross@.*\/quickjs@/);
    assert.match(held('usr/lib/docker-preloader/docker-preloader (amd64)'), /bun-linux-x64-baseline@/);
    assert.match(held('usr/lib/docker-preloader/docker-preloader (arm64)'), /bun-linux-aarch64@/);
    assert.match(held('docker-preloader.mjs'), /commander@/);
  });
});
