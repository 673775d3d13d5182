import { readFileSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { PAGE_BYTES } from '../../agent/system/will-need.ts';
import { cleanUpAll } from '../support/cleanup.ts';
import { tempTree } from '../support/temp-tree.ts';
import { coldProgram, lives } from './cold-program.ts';

/** Of so many pages between two that are touched, it is as fast to read them, too. */
const GAP_PAGES = 3;

const root = path.resolve(import.meta.dirname, '../..');
const runtime = path.join(root, 'node_modules/@oven/bun-linux-x64-baseline');

/** Where the runtime ends, and our own sources begin: behind its last segment (elf(5)). */
function endOfRuntime(elf: Buffer): number {
  const [at, size, count] = [Number(elf.readBigUInt64LE(32)), elf.readUInt16LE(54), elf.readUInt16LE(56)];
  const PT_LOAD = 1;
  return Math.max(
    ...Array.from({ length: count }, (_, index) => at + index * size)
      .filter((header) => elf.readUInt32LE(header) === PT_LOAD)
      .map((header) => Number(elf.readBigUInt64LE(header + 8) + elf.readBigUInt64LE(header + 32))),
  );
}

/** As agent/tiny/page-ranges.ts reads it. @param rest from which page on all is read */
function textOf(pages: readonly number[], rest: number): string {
  const words: number[] = [];
  let at = 0;
  for (const page of pages) {
    if (page >= rest) break;
    const gap = page - at;
    if (words.length > 0 && gap <= GAP_PAGES) words.push((words.pop() ?? 0) + gap + 1);
    else words.push(gap, 1);
    at = page + 1;
  }
  words.push(rest - at);
  const lines: string[] = [''];
  for (const word of words.map((one) => one.toString(36))) {
    const line = lines.at(-1) ?? '';
    if (line.length + word.length < 118) lines[lines.length - 1] = line === '' ? word : `${line} ${word}`;
    else lines.push(word);
  }
  return lines.join('\n');
}

try {
  const { path: folder } = await tempTree('dpl-cold');
  const cold = await coldProgram(folder);
  const all = new Set<number>();
  for await (const { what, pages } of lives(cold, cold.whole, path.join(folder, 'lives'))) {
    console.error(`${what}: ${pages.length} pages`);
    for (const page of pages) all.add(page);
  }
  const { version } = JSON.parse(readFileSync(path.join(runtime, 'package.json'), 'utf8')) as {
    readonly version: string;
  };
  const rest = Math.floor(endOfRuntime(readFileSync(path.join(runtime, 'bin/bun'))) / PAGE_BYTES);
  writeFileSync(
    path.join(root, 'agent/tiny/first-reads.ts'),
    `/** The version of Bun whose pages these are. */
export const RUNTIME = '${version}';

/**
 * What the whole program reads of its own file at a boot, as page-ranges.ts has it: of the runtime the pages that were
 * touched, and all that lies behind it, which is our own. Recorded by test/tiny/record-first-reads.ts.
 */
export const firstReads = \`
${textOf(
  [...all].toSorted((a, b) => a - b),
  rest,
)}
\`;
`,
  );
} finally {
  await cleanUpAll();
}
