import assert from 'node:assert/strict';
import { globSync, mkdirSync, readFileSync, symlinkSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { describe, it } from 'node:test';
import { execa } from 'execa';
import { bundleScript } from '../../agent/packaging/small/script-bundle.ts';
import { modules, replaced } from '../../agent/packaging/small/stand-ins.ts';
import { scratch } from '../support/temp-tree.ts';
import { ask, makeProbe } from './probing.ts';

const root = path.resolve(import.meta.dirname, '../..');

/**
 * All sources, of which those that the small engine runs are checked: with its own files in the place of others. The
 * rest are there for their types.
 */
async function writeSources(folder: string): Promise<void> {
  const { files } = await bundleScript(root, 'agent/tiny/main.ts', { engine: 'quickjs' });
  const write = (file: string, text: string): void => {
    mkdirSync(path.dirname(path.join(folder, file)), { recursive: true });
    writeFileSync(path.join(folder, file), text);
  };
  for (const file of globSync('agent/**/*.ts', { cwd: root })) {
    const isRun = files.includes(file) || file.endsWith('.d.ts');
    write(file, `${isRun ? '' : '// @ts-nocheck\n'}${readFileSync(path.join(root, file), 'utf8')}`);
  }
  for (const [file, standIn] of Object.entries(replaced))
    write(`agent/${file}`, `export * from '${path.relative(path.dirname(file), standIn)}';\n`);
  write('package.json', readFileSync(path.join(root, 'package.json'), 'utf8'));
  // The only package that is run: the others would bring the types of Node.
  mkdirSync(path.join(folder, 'node_modules'));
  symlinkSync(path.join(root, 'node_modules/zod'), path.join(folder, 'node_modules/zod'));
}

/** As for all sources, but for what there is: the engine's lib, and no types of Node. */
function writeConfig(folder: string): void {
  const { compilerOptions } = JSON.parse(readFileSync(path.join(root, 'tsconfig.json'), 'utf8')) as {
    compilerOptions: object;
  };
  const paths = Object.fromEntries(Object.entries(modules).map(([name, file]) => [name, [`./agent/${file}`]]));
  const engine = { target: 'es2023', lib: ['es2023', 'es2024.collection'], types: [], paths };
  writeFileSync(
    path.join(folder, 'tsconfig.json'),
    JSON.stringify({ compilerOptions: { ...compilerOptions, ...engine }, include: ['agent'] }),
  );
}

async function check(folder: string): Promise<string> {
  const { all } = await execa(path.join(root, 'node_modules/.bin/tsc'), ['--project', folder], {
    reject: false,
    all: true,
  });
  return all;
}

describe('the boot path', () => {
  it('uses nothing that the small engine has not', async (t) => {
    const folder = scratch(t);
    await writeSources(folder);
    writeConfig(folder);
    assert.equal(await check(folder), '');
    for (const [statement, problem] of [
      ['new Set([1]).union(new Set([2]))', /Property 'union' does not exist/],
      ["Buffer.from('').readUInt16BE(0)", /Property 'readUInt16BE' does not exist/],
      ["import('node:https')", /Cannot find name 'node:https'/],
      ["process.chdir('/')", /Property 'chdir' does not exist/],
      ["import('node:fs').then(({ linkSync }) => linkSync('', ''))", /Property 'linkSync' does not exist/],
      ['structuredClone({})', /Cannot find name 'structuredClone'/],
    ] as const) {
      writeFileSync(path.join(folder, 'agent/added.ts'), `void ${statement};\nexport {};\n`);
      assert.match(await check(folder), problem, statement);
    }
  });

  it('is compiled with a library of which the engine has all', async (t) => {
    const folder = scratch(t);
    await writeSources(folder);
    writeConfig(folder);
    const probe = await makeProbe(folder);
    const builtins = owners.map((owner) => [owner, namesOf(owner)] as const);
    const [missing = []] = (await ask(probe, [{ ask: 'builtins', of: builtins }])) as string[][];
    // Some are of a later standard than the engine, so this can find what it looks for.
    for (const name of ['Set.prototype.union', 'Promise.try']) assert.ok(missing.includes(name), missing.join(' '));
    const lines = missing.map((name) => `void ${expressionOf(name)};`);
    writeFileSync(path.join(folder, 'agent/missing.ts'), `${lines.join('\n')}\nexport {};\n`);
    const said = await check(folder);
    const refused = new Set([...said.matchAll(/missing\.ts\((\d+),/g)].map(([, line]) => Number(line)));
    // What the compiler knows all the same is not in what is run.
    const known = missing.filter((_, index) => !refused.has(index + 1));
    const { scripts } = await bundleScript(root, 'agent/tiny/main.ts', { engine: 'quickjs' });
    const text = scripts.map((script) => Buffer.from(script.text).toString()).join('\n');
    assert.deepEqual(
      known.filter((name) => text.includes(spelled(name))),
      [],
    );
    t.diagnostic(`the engine has not: ${missing.join(' ')}; of which the compiler knows: ${known.join(' ')}`);
  });
});

const constructors = [
  'Array Object String Number Boolean BigInt Symbol RegExp Date Map Set WeakMap WeakSet Promise Error Function',
  'ArrayBuffer DataView Uint8Array Float64Array',
].flatMap((names) => names.split(' '));
const owners = [
  ...constructors,
  ...constructors.map((name) => `${name}.prototype`),
  'Math',
  'JSON',
  'Reflect',
  'globalThis',
];

/** What the latest standard has, as far as Node has it, without what is Node's alone. */
function namesOf(owner: string): string[] {
  const all = Object.getOwnPropertyNames(
    owner.split('.').reduce<unknown>((value, part) => (value as Record<string, unknown>)[part], globalThis),
  );
  return all.filter((name) => (owner === 'globalThis' ? /^[A-Z]\w+$/ : /^[A-Za-z]\w*$/).test(name));
}

/** How it stands in a program: a method behind a dot, all else with its owner. */
function spelled(name: string): string {
  return name.replace(/^globalThis\./, '').replace(/^\w+\.prototype/, '');
}

/** The same for the compiler: a property of a value of the type. */
function expressionOf(name: string): string {
  const [owner = '', ...rest] = name.split('.');
  if (rest[0] !== 'prototype') return owner === 'globalThis' ? String(rest[0]) : name;
  const types: Readonly<Record<string, string>> = {
    Array: 'any[]',
    Map: 'Map<any, any>',
    Set: 'Set<any>',
    Promise: 'Promise<any>',
  };
  return `(null as unknown as ${types[owner] ?? owner}).${rest[1] ?? ''}`;
}
