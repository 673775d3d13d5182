import path from 'node:path';
import { execa } from 'execa';
import { agreedEngine } from '../../agent/packaging/small/agreed-engine.ts';
import { ENGINE_VARIABLE, engineSources, type EngineSource } from '../../agent/packaging/small/engine-source.ts';
import { architectureOf, ownArchitecture } from '../../agent/packaging/architecture.ts';
import { bundleScript } from '../../agent/packaging/small/script-bundle.ts';
import { linkScripts } from '../../agent/packaging/small/small-executable.ts';
import { emulated } from '../arm64/emulated.ts';
import type { Question } from './questions.ts';

const root = path.resolve(import.meta.dirname, '../..');

/** Names the architecture that probes are for, where that is another than this machine's: they are emulated. */
export const PROBED_ARCHITECTURE = 'DPL_PROBED_ARCHITECTURE';

/** Makes the executable that answers questions. @returns its path */
export async function makeProbe(folder: string, entry = 'test/tiny/probe.ts'): Promise<string> {
  const probe = path.join(folder, 'probe');
  const { scripts } = await bundleScript(root, entry, { engine: 'quickjs' });
  const name = process.env[PROBED_ARCHITECTURE];
  const architecture = name === undefined ? ownArchitecture() : architectureOf(name);
  await linkScripts(root, scripts, await engineUnderTest(), probe, { architecture });
  return architecture === ownArchitecture() ? probe : emulated(probe, `${probe}.sh`);
}

/** The one that the build takes, or the one that is to be looked at, of which is not known yet whether it agrees. */
async function engineUnderTest(): Promise<EngineSource> {
  if (process.env[ENGINE_VARIABLE] === undefined) return agreedEngine(root);
  for await (const source of engineSources()) return source;
  throw new Error('Expected an engine, found none');
}

/** @param before what a shell does first */
export async function ask(probe: string, questions: readonly Question[], before = ''): Promise<unknown[]> {
  const { stdout } = await execa('sh', ['-c', `${before} exec "$0"`, probe], {
    input: JSON.stringify(questions),
    stripFinalNewline: false,
    maxBuffer: 2 ** 30,
  });
  return JSON.parse(stdout) as unknown[];
}
