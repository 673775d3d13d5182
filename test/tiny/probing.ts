import path from 'node:path';
import { execa } from 'execa';
import { agreedEngine } from '../../agent/packaging/small/agreed-engine.ts';
import { ENGINE_VARIABLE, engineSources, type EngineSource } from '../../agent/packaging/small/engine-source.ts';
import { bundleScript } from '../../agent/packaging/small/script-bundle.ts';
import { linkScripts } from '../../agent/packaging/small/small-executable.ts';
import type { Question } from './questions.ts';

const root = path.resolve(import.meta.dirname, '../..');

/** Makes the executable that answers questions. @returns its path */
export async function makeProbe(folder: string, entry = 'test/tiny/probe.ts'): Promise<string> {
  const probe = path.join(folder, 'probe');
  const { scripts } = await bundleScript(root, entry, 'quickjs');
  await linkScripts(root, scripts, await engineUnderTest(), probe);
  return probe;
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
