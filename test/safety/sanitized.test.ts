import assert from 'node:assert/strict';
import { generateKeyPairSync, sign } from 'node:crypto';
import { mkdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { after, before, describe, it } from 'node:test';
import { execa } from 'execa';
import fc from 'fast-check';
import { isSignedBy } from '../../agent/system/signed-by.ts';
import { cleanUpAll } from '../support/cleanup.ts';
import { ensureDebianPackages } from '../support/debian-packages.ts';
import { attach } from '../support/loop-device.ts';
import { seed } from '../support/seed.ts';
import { sample, torture } from '../support/size.ts';
import { tempTree, unmountBelow } from '../support/temp-tree.ts';
import { differences, readTree, type Tree } from '../support/tree.ts';
import { writeRandomDisk } from './fuzz/random-disk.ts';
import { take, type Given } from './fuzz/taking.ts';
import { makeDiskFile } from './disk-file.ts';
import { craftTree, hostileDisks } from './hostile-disks.ts';
import { makeSanitized, sanitizerEnv as env, sanitizerWords } from './sanitized.ts';

const RANDOM_DISKS = torture ? 10_000 : 300;
/** Of the hostile disks in `npm test`. */
const SOME = 12;
const SIGNATURES = torture ? 3000 : 100;
/** Disks that one process takes. */
const BATCH = 250;
/** Of JSON, on the small engine. */
const MAX_LEVELS = 10_000;
const prefix = `z${process.pid.toString(36)}`;
let folder: string;

const at = (name: string): string => path.join(folder, name);

before(async () => {
  await ensureDebianPackages(['perl', 'e2fsprogs'], { install: true });
  folder = (await tempTree('dpl-sanitized', 'in-memory')).path;
  await makeSanitized('agent/tiny/main.ts', at('docker-preloader'));
  await makeSanitized('test/safety/fuzz/probe.ts', at('take'));
  await makeSanitized('test/tiny/probe.ts', at('answer'));
});
after(() => cleanUpAll());

describe('the small engine under AddressSanitizer and UndefinedBehaviorSanitizer', () => {
  it('has both in it', async () => {
    const symbols = readFileSync(at('take')).toString('latin1');
    assert.match(symbols, /__asan_report_load/);
    assert.match(symbols, /__ubsan_handle_/);
  });

  it('checks signatures as Node does', async () => {
    const { publicKey, privateKey } = generateKeyPairSync('ed25519');
    const own = publicKey.export({ format: 'der', type: 'spki' }).subarray(-32);
    const claims = fc.sample(
      fc.tuple(
        fc.uint8Array({ minLength: 32, maxLength: 32 }),
        fc.uint8Array({ maxLength: 300 }),
        fc.uint8Array({ minLength: 64, maxLength: 64 }),
      ),
      { numRuns: SIGNATURES, seed },
    );
    const all = claims.flatMap(([key, message, signature]) =>
      [
        [key, message, signature],
        [own, message, signature],
        [own, message, sign(undefined, message, privateKey)],
      ].map((parts) => parts.map((part) => Buffer.from(part))),
    );
    const input = JSON.stringify(
      all.map((parts) => {
        const [by, message, signature] = parts.map((part) => part.toString('latin1'));
        return { ask: 'signed', by, message, signature };
      }),
    );
    const { stdout } = await execa(at('answer'), { env, input });
    const expected = all.map(([key = own, message = own, signature = own]) => isSignedBy(key, message, signature));
    assert.deepEqual(JSON.parse(stdout), expected);
    assert.equal(expected.filter(Boolean).length, SIGNATURES);
  });

  for (const disk of sample(hostileDisks, SOME))
    it(`takes a hostile disk: ${disk.name}`, async () => {
      const number = hostileDisks.indexOf(disk);
      craftTree(at('tree'), disk, { canary: at('canary'), otherDisk: at('disks/other') });
      await makeDiskFile(at('tree'), at('disk.ext4'), `${prefix}-${number}`);
      writeFileSync(
        at('config.json'),
        JSON.stringify({
          labels: [`${prefix}-${number}`],
          dataRoot: at('data'),
          mountRoot: at('disks'),
          dockerConfig: at('daemon.json'),
          statusSocket: at('status/status.sock'),
          deviceTimeoutSec: 0,
          store: 'overlay2',
        }),
      );
      const loop = await attach(at('disk.ext4'));
      try {
        for (const round of [1, 2]) {
          const args = ['apply', '--config', at('config.json')];
          const { exitCode, all } = await execa(at('docker-preloader'), args, { env, reject: false, all: true });
          assert.ok(exitCode === 0 || exitCode === 3, `run ${round}, exit status ${String(exitCode)}: ${all}`);
          assert.doesNotMatch(all, sanitizerWords);
        }
      } finally {
        await unmountBelow(at('disks'));
        await loop.detach();
        for (const name of ['tree', 'disk.ext4', 'data']) rmSync(at(name), { recursive: true, force: true });
      }
    });

  it(`takes ${RANDOM_DISKS} random disks, and makes of each the store that Node makes`, async (t) => {
    const told = new Map<string, number>();
    for (let first = 0; first < RANDOM_DISKS; first += BATCH) {
      const numbers = Array.from({ length: Math.min(BATCH, RANDOM_DISKS - first) }, (_, index) => first + index);
      const disks = numbers.map((number) => makeDisk(number));
      const expected: Outcome[] = [];
      for (const disk of disks) expected.push(outcomeOf(disk, steady(await takeOnNode(disk))));
      const found = await takeSmall(disks, numbers);
      for (const [index, disk] of disks.entries()) {
        const which = `disk ${String(numbers[index])} of DPL_SEED=${seed}`;
        const { said, store } = outcomeOf(disk, steady(found[index]));
        assert.deepEqual(said, expected[index]?.said, which);
        assert.deepEqual(differences(expected[index]?.store ?? assert.fail(), store), [], which);
        for (const [code] of JSON.stringify(said).matchAll(/"[A-Z]+_[A-Z]+"/g))
          told.set(code, (told.get(code) ?? 0) + 1);
      }
      rmSync(at('random'), { recursive: true });
    }
    t.diagnostic(`DPL_SEED=${seed}: ${[...told].map(([code, count]) => `${code} ${count}`).join(', ')}`);
  });
});

function makeDisk(number: number): Given {
  const own = at(`random/${number}`);
  const disk = { root: `${own}/root`, start: `${own}/start`, dataRoot: `${own}/data`, leaves: number % 4 === 0 };
  mkdirSync(disk.root, { recursive: true });
  writeRandomDisk(disk, seed, number);
  return disk;
}

interface Outcome {
  readonly said: unknown;
  readonly store: Tree;
}

/** What was said, and what is in the store, which is gone then. */
function outcomeOf({ dataRoot }: Given, said: unknown): Outcome {
  mkdirSync(dataRoot, { recursive: true });
  const store = readTree(dataRoot, 'digest');
  rmSync(dataRoot, { recursive: true });
  return { said, store };
}

/** Where a process fails that takes them all, each has one of its own, so that the disk is known. */
async function takeSmall(disks: readonly Given[], numbers: readonly number[]): Promise<unknown[]> {
  const { exitCode, stdout, stderr } = await execa(at('take'), {
    input: JSON.stringify(disks),
    env,
    reject: false,
    maxBuffer: 2 ** 30,
  });
  if (exitCode === 0 && stderr === '') return JSON.parse(stdout) as unknown[];
  const [disk] = disks;
  if (disk === undefined || disks.length === 1)
    return assert.fail(`disk ${String(numbers[0])} of DPL_SEED=${seed}: exit status ${String(exitCode)}: ${stderr}`);
  const all: unknown[] = [];
  for (const [index, one] of disks.entries()) {
    rmSync(one.dataRoot, { recursive: true, force: true });
    all.push(...(await takeSmall([one], numbers.slice(index, index + 1))));
  }
  return all;
}

/** As it comes from a process, without the words of a runtime for text that is no JSON. */
function steady(said: unknown): unknown {
  return JSON.parse(JSON.stringify(said), (_key, value: unknown) =>
    typeof value === 'string' ? value.replace(/expected JSON(?: of at most \d+ levels)?, found .*/s, 'NO JSON') : value,
  );
}

/** Takes it on Node, whose JSON has no limit to its levels, and other words for each fault. */
async function takeOnNode(disk: Given): Promise<unknown> {
  const { parse } = JSON;
  JSON.parse = (text: string): unknown => {
    try {
      if (levelsOf(text) <= MAX_LEVELS) return parse(text);
    } catch {
      // It is told as what is too deep.
    }
    throw new SyntaxError('expected JSON, found something else');
  };
  try {
    return await take(disk);
  } finally {
    JSON.parse = parse;
  }
}

/** How deep the values of JSON are in each other. */
function levelsOf(text: string): number {
  let [deepest, level] = [0, 0];
  for (const [sign] of text.matchAll(/[[{}\]]|"(?:[^"\\]|\\.)*"/gs)) {
    level += sign === '[' || sign === '{' ? 1 : sign === ']' || sign === '}' ? -1 : 0;
    deepest = Math.max(deepest, level);
  }
  return deepest;
}
