import assert from 'node:assert/strict';
import { writeFile } from 'node:fs/promises';
import { agent } from './agent.ts';

/** Builds a raw disk of an archive. @param args of `build` besides @returns its file */
export async function makeDisk(file: string, archive: Uint8Array, ...args: readonly string[]): Promise<string> {
  await writeFile(`${file}.tar`, archive);
  const { exitCode, all } = await agent(['build', `${file}.tar`, '-o', file, '--format', 'raw', '--quiet', ...args]);
  assert.equal(exitCode, 0, all);
  return file;
}
