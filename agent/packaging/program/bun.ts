import { createHash } from 'node:crypto';
import { existsSync, globSync, readFileSync } from 'node:fs';
import { copyFile, mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import * as z from 'zod/mini';
import { runProgram } from '../../system/child-process.ts';
import type { Architecture } from '../architecture.ts';
import { keptFolder } from '../small/cache-folder.ts';

/** The package of the architecture on which the repository is developed: its version is that of all. */
const PINNED = '@oven/bun-linux-x64-baseline';
const FETCH_LIMIT_MS = 600_000;

/**
 * Bun for an architecture: that of node_modules, or else fetched by npm, once, and kept. npm installs a package only on
 * the architecture that it is for.
 * @param root the repository
 * @throws an Error where npm cannot fetch it, or has another one than was tested
 */
export async function bunOf(root: string, { bunPackage, bunIntegrity }: Architecture): Promise<string> {
  const installed = path.join(root, 'node_modules', bunPackage, 'bin/bun');
  if (existsSync(installed)) return installed;
  const version = bunVersion(root);
  const folder = await keptFolder(`${path.basename(bunPackage)}-${version}`, (empty) =>
    fetch(`${bunPackage}@${version}`, bunIntegrity, empty),
  );
  return path.join(folder, 'bun');
}

function bunVersion(root: string): string {
  const parsed: unknown = JSON.parse(readFileSync(path.join(root, 'package.json'), 'utf8'));
  return z.object({ devDependencies: z.object({ [PINNED]: z.string() }) }).parse(parsed).devDependencies[PINNED];
}

async function fetch(wanted: string, integrity: string, folder: string): Promise<void> {
  const temporary = await mkdtemp(path.join(tmpdir(), 'docker-preloader-bun-'));
  try {
    await run('npm', ['pack', '--silent', '--pack-destination', temporary, wanted], temporary);
    const [archive = ''] = globSync('*.tgz', { cwd: temporary });
    const found = `sha512-${createHash('sha512')
      .update(readFileSync(path.join(temporary, archive)))
      .digest('base64')}`;
    if (found !== integrity)
      throw new Error(
        `Expected ${wanted} with the hash ${integrity}, found ${found}: see that it is the right one, and adapt agent/packaging/architecture.ts`,
      );
    await run('tar', ['--extract', '--file', archive, 'package/bin/bun'], temporary);
    await copyFile(path.join(temporary, 'package/bin/bun'), path.join(folder, 'bun'));
  } finally {
    await rm(temporary, { recursive: true, force: true });
  }
}

async function run(program: string, args: readonly string[], cwd: string): Promise<void> {
  const { failed, stderr, code } = await runProgram(program, args, { timeoutMs: FETCH_LIMIT_MS, cwd });
  if (failed) throw new Error(`${program} ${args[0]} of ${args.at(-1) ?? ''} failed: ${code ?? stderr.trim()}`);
}
