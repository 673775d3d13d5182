import assert from 'node:assert/strict';
import { copyFileSync, mkdirSync, readFileSync, truncateSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { before, describe, it } from 'node:test';
import { execa } from 'execa';
import { ar, tarGz } from '../../../agent/packaging/deb/archives.ts';
import { deb } from '../../../agent/packaging/deb/deb.ts';
import { writeAptRepository } from '../../../agent/packaging/release/apt-repository.ts';
import { earlierPackages, releasedPackage } from '../../../agent/packaging/release/released-package.ts';
import { ensureDebianPackages } from '../../support/debian-packages.ts';
import { releasePackages } from '../../../agent/packaging/release/release-tool.ts';
import { signingKeyIn } from '../../support/release.ts';
import { scratch, tempTree } from '../../support/temp-tree.ts';

const mtime = new Date(1_700_000_000_000);

interface Fake {
  readonly version?: string;
  readonly architecture?: string;
  readonly content?: string;
}

async function writeDeb(
  file: string,
  { version = '0.1.0', architecture = 'amd64', content = 'it' }: Fake = {},
): Promise<string> {
  const files = [{ path: 'usr/share/doc/docker-preloader/it', mode: 0o644, content: Buffer.from(content) }];
  const data = await tarGz(files, mtime);
  writeFileSync(file, await deb({ version, architecture, files, data, scripts: [], mtime }));
  return file;
}

describe('packages of earlier releases', () => {
  before(() => ensureDebianPackages(releasePackages, { install: true }));

  it('have the names that they give themselves, whatever their files are called', async (t) => {
    const folder = scratch(t);
    await writeDeb(path.join(folder, 'old.deb'));
    await writeDeb(path.join(folder, 'docker-preloader_9_armhf.deb'), { version: '0.2.0-rc.1', architecture: 'arm64' });
    copyFileSync(path.join(folder, 'old.deb'), path.join(folder, 'old (1).deb'));
    assert.deepEqual((await earlierPackages(folder)).map(({ name }) => name).toSorted(), [
      'docker-preloader_0.1.0_amd64.deb',
      'docker-preloader_0.2.0~rc.1_arm64.deb',
    ]);
  });

  it('are refused, by the name of the file, where one is damaged, foreign, or for another architecture', async (t) => {
    const folder = scratch(t);
    const cut = await writeDeb(path.join(folder, 'cut.deb'), { content: 'x'.repeat(5000) });
    truncateSync(cut, readFileSync(cut).length - 30);
    const page = path.join(folder, 'page.deb');
    writeFileSync(page, '<html>404</html>');
    const armhf = await writeDeb(path.join(folder, 'a.deb'), { architecture: 'armhf' });
    for (const [file, message] of [
      [cut, `expected a whole package, found a damaged one: ${cut}`],
      [page, `expected a whole package, found a damaged one: ${page}`],
      [armhf, `expected a package for amd64 or arm64, found one for 'armhf': ${armhf}`],
    ] as const)
      await assert.rejects(releasedPackage(file), { name: 'PreloaderError', message });
    const foreign = path.join(folder, 'foreign.deb');
    writeFileSync(foreign, await debOf('docker-unloader'));
    await assert.rejects(releasedPackage(foreign), {
      message: `expected a package 'docker-preloader', found 'docker-unloader': ${foreign}`,
    });
  });

  it('do not take the place of the package that is released, where they have its version and other bytes', async (t) => {
    const tree = await tempTree();
    const folder = tree.path;
    t.after(async () => {
      await execa('gpgconf', ['--kill', 'all']);
      await tree.remove();
    });
    const key = await signingKeyIn(path.join(folder, 'gnupg'));
    mkdirSync(path.join(folder, 'earlier'));
    const own = await releasedPackage(await writeDeb(path.join(folder, 'own.deb'), { version: '0.2.0' }));
    const other = await releasedPackage(
      await writeDeb(path.join(folder, 'earlier/other.deb'), { version: '0.2.0', content: 'other' }),
    );
    const repository = { architectures: ['amd64', 'arm64'], date: mtime, key };
    await assert.rejects(writeAptRepository(path.join(folder, 'apt'), { ...repository, packages: [own, other] }), {
      message: `expected one docker-preloader_0.2.0_amd64.deb, found other bytes in ${own.file} than in ${other.file}: a version is released once, so raise it in package.json and in the changelog`,
    });
    const copy = path.join(folder, 'earlier/copy.deb');
    copyFileSync(own.file, copy);
    const before = await releasedPackage(await writeDeb(path.join(folder, 'earlier/before.deb')));
    const packages = [own, before, await releasedPackage(copy)];
    const apt = path.join(folder, 'again');
    await writeAptRepository(apt, { ...repository, packages });
    const index = readFileSync(path.join(apt, 'dists/stable/main/binary-amd64/Packages'), 'utf8');
    assert.deepEqual(index.match(/^Filename: .*/gm), [
      'Filename: pool/docker-preloader_0.1.0_amd64.deb',
      'Filename: pool/docker-preloader_0.2.0_amd64.deb',
    ]);
  });
});

/** A package of another name. */
async function debOf(name: string): Promise<Buffer> {
  const files = [{ path: 'usr/share/doc/it', mode: 0o644, content: Buffer.from('it') }];
  const content = Buffer.from(
    `Package: ${name}\nVersion: 1\nArchitecture: amd64\nMaintainer: a <a@b.invalid>\nDescription: it\n`,
  );
  return ar(
    [
      { name: 'debian-binary', content: Buffer.from('2.0\n') },
      { name: 'control.tar.gz', content: await tarGz([{ path: 'control', mode: 0o644, content }], mtime) },
      { name: 'data.tar.gz', content: await tarGz(files, mtime) },
    ],
    mtime,
  );
}
