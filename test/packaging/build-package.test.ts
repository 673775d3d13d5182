import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import { closeSync, globSync, openSync, readFileSync, readSync } from 'node:fs';
import path from 'node:path';
import { after, before, describe, it } from 'node:test';
import { built } from '../../agent/packaging/build-program.ts';
import { makePackages } from '../../agent/packaging/build-package.ts';
import { packagedFiles } from '../../agent/packaging/deb/packaged-files.ts';
import { ensureDebianPackages } from '../support/debian-packages.ts';
import { type TempTree, tempTree } from '../support/temp-tree.ts';
import { copyOf } from './repository-copy.ts';

const root = path.resolve(import.meta.dirname, '../..');

const run = (command: string, ...args: string[]): string => execFileSync(command, args, { encoding: 'utf8' });

describe('npm run package', () => {
  let folder: TempTree;
  let debFile = '';
  let tarball = '';

  before(async () => {
    process.env['SOURCE_DATE_EPOCH'] = '1700000000';
    folder = await copyOf(root);
    const [first = '', second = ''] = await makePackages(folder.path);
    debFile = first;
    tarball = second;
  });
  after(() => folder.remove());

  it('describes a package that installs on any Debian with glibc 2.17, Docker or not', () => {
    const fields = run('dpkg-deb', '--field', debFile);
    const { version } = JSON.parse(readFileSync(path.join(root, 'package.json'), 'utf8')) as { version: string };
    assert.match(fields, /^Package: docker-preloader$/m);
    assert.ok(fields.includes(`\nVersion: ${version}\n`), fields);
    assert.match(fields, /^Architecture: amd64$/m);
    assert.match(fields, /^Recommends: docker\.io \| docker-ce$/m);
    assert.doesNotMatch(fields, /^Pre-Depends|^Depends: .*[,|]/m);
  });

  it('depends on the glibc whose symbols the executable names', () => {
    const needed = Math.max(
      ...[...dynamicStrings(path.join(folder.path, 'dist', built.whole)).matchAll(/GLIBC_2\.(\d+)/g)].map((match) =>
        Number(match[1]),
      ),
    );
    assert.match(run('dpkg-deb', '--field', debFile, 'Depends'), new RegExp(`^libc6 \\(>= 2\\.${needed}\\)$`, 'm'));
  });

  it('holds every file of the table, owned by root, with one time, in order', () => {
    const lines = run('dpkg-deb', '--contents', debFile).trimEnd().split('\n');
    const names = lines.map((line) => line.split(/\s+/)[5] ?? '');
    for (const { to, from } of packagedFiles('dist')) {
      const name = to.endsWith('/') ? to + path.basename(from) : to;
      assert.ok(names.includes(`./${name}`), `${name} is missing`);
    }
    assert.deepEqual(names, names.toSorted());
    assert.deepEqual(
      lines.filter((line) => !/^(d|-)rw[x-]r-[x-]r-[x-] root\/root +\d+ 2023-11-14 22:13 /.test(line)),
      [],
    );
    for (const executable of ['bin/docker-preloader', 'lib/docker-preloader/docker-preloader'])
      assert.match(lines.find((line) => line.endsWith(` ./usr/${executable}`)) ?? '', /^-rwxr-xr-x /);
  });

  it('has its manual where man looks for it', async (t) => {
    await ensureDebianPackages(['man-db', 'groff'], { install: true });
    const unpacked = await tempTree();
    t.after(() => unpacked.remove());
    run('dpkg-deb', '--extract', debFile, unpacked.path);
    const man = (...args: readonly string[]): string =>
      execFileSync('man', [`--manpath=${unpacked.path}/usr/share/man`, ...args], {
        encoding: 'utf8',
        env: { ...process.env, LC_ALL: 'C.UTF-8', MANWIDTH: '80' },
      });
    assert.match(
      man('docker-preloader'),
      /^DOCKER-PRELOADER\(8\)[^]*docker-preloader verify[^]*2023-11-14 +DOCKER-PRELOADER\(8\)$/m,
    );
    assert.match(man('5', 'docker-preloader-config'), /^ +labels \(array of strings\)$/m);
  });

  it('enables nothing: all units and drop-ins are below /usr, nothing is in /etc or /var', () => {
    const outside = run('dpkg-deb', '--contents', debFile)
      .split('\n')
      .filter((line) => line !== '' && !line.includes(' ./usr/'));
    assert.deepEqual(outside, []);
  });

  it('has nothing that lintian calls an error', async () => {
    await ensureDebianPackages(['lintian'], { install: true });
    // Warnings may be others in the next Debian. As root it warns of itself, on standard error.
    assert.equal(run('lintian', '--no-cfg', '--fail-on', 'none', '--display-level', '>=error', debFile), '');
  });

  it('has the documents, and the changelog of its version', async (t) => {
    const unpacked = await tempTree();
    t.after(() => unpacked.remove());
    run('sh', '-c', `dpkg-deb --fsys-tarfile '${debFile}' | tar -x -C '${unpacked.path}' ./usr/share/doc`);
    const at = (name: string): string => path.join(unpacked.path, 'usr/share/doc/docker-preloader', name);
    for (const name of ['README.md', 'agent/status/README.md', 'units/README.md', 'test/bench/README.md'])
      assert.match(readFileSync(at(name), 'utf8'), /^# /);
    const changelog = run('gunzip', '--stdout', at('changelog.gz'));
    assert.equal(changelog, readFileSync(path.join(root, 'agent/packaging/deb/debian/changelog'), 'utf8'));
    const version = run('dpkg-deb', '--field', debFile, 'Version').trimEnd();
    assert.ok(changelog.startsWith(`docker-preloader (${version}) `), changelog);
  });

  it('has the same tree in the tarball', () => {
    const list = (command: string): string => run('sh', '-c', command);
    assert.equal(list(`tar -tvzf '${tarball}'`), list(`dpkg-deb --fsys-tarfile '${debFile}' | tar -tv`));
  });

  it('carries the sums of its files, and scripts that a shell can read', async (t) => {
    const unpacked = await tempTree();
    t.after(() => unpacked.remove());
    run('dpkg-deb', '--raw-extract', debFile, unpacked.path);
    run('sh', '-c', `cd '${unpacked.path}' && md5sum --quiet -c DEBIAN/md5sums`);
    const sums = readFileSync(path.join(unpacked.path, 'DEBIAN/md5sums'), 'utf8').trimEnd().split('\n');
    assert.equal(sums.length, Number(run('sh', '-c', `cd '${unpacked.path}' && find usr -type f | wc -l`)));
    for (const script of ['postinst', 'prerm', 'postrm']) run('sh', '-n', path.join(unpacked.path, 'DEBIAN', script));
  });

  it('names the licence of everything that the executable holds', () => {
    const text = run(
      'sh',
      '-c',
      `dpkg-deb --fsys-tarfile '${debFile}' | tar -xO ./usr/share/doc/docker-preloader/copyright`,
    );
    const sources = globSync('agent/!(packaging)/**/*.ts', { cwd: folder.path })
      .map((file) => readFileSync(path.join(folder.path, file), 'utf8'))
      .join('');
    const { devDependencies } = JSON.parse(readFileSync(path.join(root, 'package.json'), 'utf8')) as {
      devDependencies: Record<string, string>;
    };
    const used = Object.keys(devDependencies).filter((name) => new RegExp(`['"]${name}['"/]`).test(sources));
    assert.ok(used.includes('koffi') && used.includes('commander'), used.join(' '));
    // Under Node alone: nothing that is shipped has it.
    assert.ok(!text.includes('koffi'), 'koffi');
    for (const name of [
      ...used.filter((one) => one !== 'koffi'),
      'Bun',
      'JavaScriptCore',
      'QuickJS',
      'Fabrice Bellard',
      'GNU C Library',
      'libgcc',
    ])
      assert.ok(text.includes(name), `${name} is missing`);
  });

  it('gives the same bytes again, in another folder too', async (t) => {
    const copy = await copyOf(folder.path);
    t.after(() => copy.remove());
    assert.deepEqual((await makePackages(copy.path)).map(sha256), [debFile, tarball].map(sha256));
  });
});

function sha256(file: string): string {
  return createHash('sha256').update(readFileSync(file)).digest('hex');
}

/** The beginning of an executable, with the names and versions of the symbols that it wants. */
function dynamicStrings(file: string): string {
  const start = Buffer.alloc(256 * 1024);
  const fd = openSync(file, 'r');
  readSync(fd, start, 0, start.length, 0);
  closeSync(fd);
  return start.toString('latin1');
}
