import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { readFileSync } from 'node:fs';
import path from 'node:path';
import { describe, it } from 'node:test';
import { Spec, Validation } from '@cyclonedx/cyclonedx-library';
import { distFolder, ownArchitecture } from '../../../agent/packaging/architecture.ts';
import { built } from '../../../agent/packaging/build-program.ts';
import { partsOfModule, partsOfSmall, partsOfWhole } from '../../../agent/packaging/release/contents.ts';
import { type Part, sbom } from '../../../agent/packaging/release/sbom.ts';

const root = path.resolve(import.meta.dirname, '../../..');
const date = new Date('2026-01-02T03:04:05Z');

interface Bom {
  readonly serialNumber: string;
  readonly metadata: { readonly timestamp: string };
  readonly components: readonly { readonly 'bom-ref': string; readonly name: string; readonly purl?: string }[];
  readonly dependencies: readonly { readonly ref: string; readonly dependsOn?: readonly string[] }[];
}

const parse = (text: string): Bom => JSON.parse(text) as Bom;

const part: Part = { name: '@scope/part', version: '1.0+a', purl: 'pkg:npm/%40scope/part@1.0%2Ba', licence: 'ISC' };
const holder: Part = { name: 'holder', version: '2', purl: 'pkg:generic/holder@2', parts: [part] };
const programs = [
  { name: 'a', content: Buffer.from('a'), parts: [part] },
  { name: 'b', content: Buffer.from('b'), parts: [holder, part] },
];

async function assertValid(text: string): Promise<void> {
  assert.equal(await new Validation.JsonStrictValidator(Spec.Version.v1dot6).validate(text), null);
}

describe('the bill of materials', () => {
  it('is valid by the schema of CycloneDX 1.6, and says what holds what', async () => {
    const text = sbom(programs, '1.2.3', date);
    await assertValid(text);
    const { metadata, components, dependencies } = parse(text);
    assert.equal(metadata.timestamp, '2026-01-02T03:04:05.000Z');
    assert.deepEqual(
      components.map(({ name }) => name),
      ['a', 'b', 'holder', 'part'],
    );
    const held = Object.fromEntries(dependencies.map(({ ref, dependsOn = [] }) => [ref, dependsOn]));
    assert.deepEqual(held, {
      'docker-preloader': ['file:a', 'file:b'],
      'file:a': [part.purl],
      'file:b': [holder.purl, part.purl],
      [holder.purl]: [part.purl],
      [part.purl]: [],
    });
    // The schema is one that refuses.
    const wrong = text.replace('"bomFormat"', '"bomFormats"');
    assert.notEqual(await new Validation.JsonStrictValidator(Spec.Version.v1dot6).validate(wrong), null);
  });

  it('has the same bytes for the same programs, and another number for others', () => {
    const text = sbom(programs, '1.2.3', date);
    assert.equal(sbom(programs, '1.2.3', date), text);
    const other = sbom([{ name: 'a', content: Buffer.from('c'), parts: [part] }], '1.2.3', date);
    const number = /^urn:uuid:[0-9a-f]{8}-[0-9a-f]{4}-8[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$/;
    assert.match(parse(text).serialNumber, number);
    assert.notEqual(parse(other).serialNumber, parse(text).serialNumber);
  });

  it('names what is in the executables, with the versions that are in them', async () => {
    const architecture = ownArchitecture();
    const dist = path.join(root, distFolder(architecture));
    const executable = (name: 'small' | 'whole'): Buffer => readFileSync(path.join(dist, built[name]));
    const small = partsOfSmall(root, executable('small'), architecture);
    const whole = await partsOfWhole(root, architecture);
    const module = await partsOfModule(root);
    const names = (parts: readonly Part[]): string[] => parts.map(({ name }) => name).toSorted();
    assert.deepEqual(names(small), ['glibc', 'libgcc', 'quickjs']);
    const bun = whole.find(({ name }) => name.startsWith('@oven/bun-'));
    assert.ok(bun?.parts !== undefined);
    for (const name of ['webkit', 'boringssl', 'icu', 'sqlite', 'zstd', 'mimalloc'])
      assert.ok(names(bun.parts).includes(name), name);
    for (const name of ['chokidar', 'commander', 'execa', 'zod']) assert.ok(names(whole).includes(name), name);
    assert.ok(names(module).includes('commander') && !names(module).includes('chokidar'), names(module).join(' '));

    const version = (parts: readonly Part[], name: string): string =>
      parts.find((each) => each.name === name)?.version ?? '';
    const told = execFileSync(path.join(dist, built.small), ['--version'], { encoding: 'utf8' });
    assert.ok(told.endsWith(`, quickjs ${version(small, 'quickjs')})\n`), told);
    assert.ok(executable('whole').includes(bun.version), bun.version);
    assert.ok(executable('whole').includes(version(bun.parts, 'sqlite')), version(bun.parts, 'sqlite'));
    await assertValid(sbom([{ name: 'small', content: executable('small'), parts: small }], '1.2.3', date));
    await assertValid(sbom([{ name: 'whole', content: executable('whole'), parts: whole }], '1.2.3', date));
  });
});
