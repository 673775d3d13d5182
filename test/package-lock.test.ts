import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import path from 'node:path';
import { describe, it } from 'node:test';

interface Package {
  readonly version?: string;
  readonly integrity?: string;
  readonly optionalDependencies?: Readonly<Record<string, string>>;
  readonly dependencies?: Readonly<Record<string, string>>;
  readonly devDependencies?: Readonly<Record<string, string>>;
}

const root = path.resolve(import.meta.dirname, '..');
const read = (name: string): unknown => JSON.parse(readFileSync(path.join(root, name), 'utf8'));

describe('package-lock.json', () => {
  const { packages } = read('package-lock.json') as { packages: Readonly<Record<string, Package>> };

  it('has the packages of all platforms, so that `npm ci` installs on each of them', () => {
    const wanted = Object.entries(packages).flatMap(([at, { optionalDependencies = {} }]) =>
      Object.keys(optionalDependencies).map((name) => [name, `${at}/node_modules/${name}`] as const),
    );
    // esbuild, oxlint, oxfmt and TypeScript alone have more.
    assert.ok(wanted.length > 80, `expected more than 80 optional packages, found ${wanted.length}`);
    const missing = wanted.filter(([name, nested]) => !(`node_modules/${name}` in packages) && !(nested in packages));
    assert.deepEqual(missing, []);
  });

  it('has a digest of each package, and the versions that package.json names, which are exact', () => {
    for (const [at, { integrity }] of Object.entries(packages))
      if (at !== '') assert.match(integrity ?? '', /^sha512-/, at);
    const { dependencies = {}, devDependencies = {} } = read('package.json') as Package;
    for (const [name, version] of Object.entries({ ...dependencies, ...devDependencies })) {
      assert.match(version, /^\d+\.\d+\.\d+$/, name);
      assert.equal(packages[`node_modules/${name}`]?.version, version, name);
    }
  });
});
