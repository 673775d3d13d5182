import assert from 'node:assert/strict';
import { execFileSync, spawnSync } from 'node:child_process';
import { readFileSync } from 'node:fs';
import path from 'node:path';
import { describe, it } from 'node:test';
import { architectureOf, chosenArchitecture, ownArchitecture } from '../../agent/packaging/architecture.ts';
import { packagedFiles } from '../../agent/packaging/deb/packaged-files.ts';
import { crossPackages, requireBuildTools } from '../../agent/packaging/small/build-tools.ts';
import { packageFile } from '../support/guest-package.ts';
import { arm64 } from './arm64-package.ts';

const root = path.resolve(import.meta.dirname, '../..');
const architecture = architectureOf('arm64');

const run = (command: string, ...args: readonly string[]): string => execFileSync(command, args, { encoding: 'utf8' });
/** What a package has, by name, without the sizes. */
const contents = (deb: string): string[] =>
  run('dpkg-deb', '--contents', deb)
    .trimEnd()
    .split('\n')
    .map((line) => line.replace(/ +\d+ \S+ \S+ /, ' '));

interface Segment {
  readonly fileAt: number;
  readonly address: number;
  readonly align: number;
}

/** Of a 64-bit ELF file (elf(5)): its machine, and the segments that are loaded. */
function elfOf(file: string): { readonly machine: number; readonly segments: readonly Segment[] } {
  const elf = readFileSync(file);
  assert.equal(elf.toString('latin1', 0, 6), '\x7fELF\x02\x01');
  const [at, size, count] = [Number(elf.readBigUInt64LE(32)), elf.readUInt16LE(54), elf.readUInt16LE(56)];
  const PT_LOAD = 1;
  const segments = Array.from({ length: count }, (_, index) => at + index * size)
    .filter((header) => elf.readUInt32LE(header) === PT_LOAD)
    .map((header) => ({
      fileAt: Number(elf.readBigUInt64LE(header + 8)),
      address: Number(elf.readBigUInt64LE(header + 16)),
      align: Number(elf.readBigUInt64LE(header + 48)),
    }));
  return { machine: elf.readUInt16LE(18), segments };
}

describe('npm run package -- --arch arm64', () => {
  it('describes a package that differs in its architecture alone', () => {
    const fields = (deb: string): string =>
      run('dpkg-deb', '--field', deb).replace(/^Installed-Size: \d+$/m, 'Installed-Size: N');
    assert.equal(fields(arm64.deb), fields(packageFile()).replace('Architecture: amd64', 'Architecture: arm64'));
  });

  it('has the files of the other package, and the same tree in the tarball', () => {
    assert.deepEqual(contents(arm64.deb), contents(packageFile()));
    const list = (command: string): string => run('sh', '-c', command);
    const tarball = arm64.deb.replace(/deb$/, 'tar.gz');
    assert.equal(list(`tar -tvzf '${tarball}'`), list(`dpkg-deb --fsys-tarfile '${arm64.deb}' | tar -tv`));
  });

  for (const name of ['small', 'whole'] as const)
    it(`has the ${name} executable, for that machine and for each size of its pages`, () => {
      const folder = packagedFiles('').find(({ from }) => arm64[name].endsWith(from))?.to ?? assert.fail();
      const packaged = `./${folder}docker-preloader`;
      const bytes = execFileSync('sh', ['-c', `dpkg-deb --fsys-tarfile '${arm64.deb}' | tar -xO '${packaged}'`], {
        maxBuffer: 2 ** 30,
      });
      assert.ok(bytes.equals(readFileSync(arm64[name])));
      const { machine, segments } = elfOf(arm64[name]);
      assert.equal(machine, architecture.elfMachine);
      assert.ok(segments.length > 1);
      const page = (place: number): number => Math.floor(place / architecture.largestPageBytes);
      for (const [index, { fileAt, address, align }] of segments.entries()) {
        assert.equal(align % architecture.largestPageBytes, 0, `segment ${index}`);
        assert.equal(fileAt % architecture.largestPageBytes, address % architecture.largestPageBytes);
        assert.ok(index === 0 || page(address) > page(segments[index - 1]?.address ?? 0), `segment ${index}`);
      }
    });

  it('depends on the glibc whose symbols the executable names', () => {
    const versions = [...run('readelf', '--version-info', '--wide', arm64.whole).matchAll(/Name: GLIBC_2\.(\d+)/g)].map(
      ([, minor]) => Number(minor),
    );
    assert.match(
      run('dpkg-deb', '--field', arm64.deb, 'Depends'),
      new RegExp(`^libc6 \\(>= 2\\.${Math.max(...versions)}\\)$`, 'm'),
    );
  });

  it('has a small executable that is hardened', () => {
    const read = (...args: readonly string[]): string => run('readelf', ...args, '--wide', arm64.small);
    assert.match(read('--file-header'), /Type: +DYN/);
    const segments = read('--segments');
    assert.match(segments, /GNU_STACK .* RW /);
    assert.match(segments, /GNU_RELRO/);
    assert.doesNotMatch(segments, /INTERP|RWE/);
    assert.match(read('--dynamic'), /FLAGS_1.* NOW PIE/);
  });

  it('names the packages of the cross compiler where they are missing', (t) => {
    const before = process.env['PATH'];
    t.after(() => (process.env['PATH'] = before));
    process.env['PATH'] = '/nowhere';
    assert.throws(() => requireBuildTools(architecture), {
      message:
        'expected what the small engine is compiled with, found no gcc, binutils, patch, tar, xz-utils, gcc-aarch64-linux-gnu: install it, on Debian with `apt-get install --no-install-recommends gcc binutils patch tar xz-utils gcc-aarch64-linux-gnu`',
    });
    assert.deepEqual(crossPackages(architecture), ['gcc-aarch64-linux-gnu', 'libc6-dev-arm64-cross']);
  });

  it('takes an architecture that there is, and refuses all else in one line, with nothing made', () => {
    assert.equal(chosenArchitecture([]), ownArchitecture());
    assert.equal(chosenArchitecture(['--arch', 'arm64']), architecture);
    for (const [words, found] of [
      [['--arch', 'riscv64'], "expected an architecture (amd64, arm64), found 'riscv64'"],
      [['--arch'], "expected nothing or --arch NAME, found '--arch'"],
      [['arm64'], "expected nothing or --arch NAME, found 'arm64'"],
    ] as const)
      for (const script of ['build-program', 'build-package']) {
        const { status, stdout, stderr } = spawnSync(
          process.execPath,
          ['--disable-warning=ExperimentalWarning', `agent/packaging/${script}.ts`, ...words],
          { encoding: 'utf8', cwd: root },
        );
        assert.deepEqual([status, stdout, stderr], [1, '', `build: ${found}\n`]);
      }
  });

  it('is made of the Bun that package-lock.json has for this machine, and of no other one', () => {
    const { packages } = JSON.parse(readFileSync(path.join(root, 'package-lock.json'), 'utf8')) as {
      readonly packages: Readonly<Record<string, { readonly integrity?: string }>>;
    };
    const { bunPackage, bunIntegrity } = architectureOf('amd64');
    assert.equal(packages[`node_modules/${bunPackage}`]?.integrity, bunIntegrity);
  });
});
