import { existsSync, readFileSync } from 'node:fs';
import { mkdir, readdir, rm } from 'node:fs/promises';
import path from 'node:path';
import { runProgram } from '../../system/child-process.ts';
import { environment } from '../../system/environment.ts';
import { cacheDir, keptFolder } from './cache-folder.ts';
import { privateApt } from './debian-apt.ts';

const PACKAGE = 'quickjs';
/** The version that was compared with the other runtime in all tests. */
export const TESTED_ENGINE = '2025.04.26-1';
/** The variable that chooses another version. */
export const ENGINE_VARIABLE = 'DOCKER_PRELOADER_ENGINE';
/** Where it is looked for, first in the release that has it and stands still. */
const SUITES = ['trixie', 'forky', 'sid'];
const FETCH_LIMIT_MS = 600_000;

export interface EngineSource {
  /** Of the package, such as `2025.04.26-1`. */
  readonly version: string;
  /** The folder with the sources, with Debian's changes. */
  readonly folder: string;
  readonly licence: string;
}

/**
 * The sources of the small engine: those of a Debian package, checked against the index that Debian has signed, and
 * kept. The first is the version that was tested, or the one that DOCKER_PRELOADER_ENGINE names. Where the tested one
 * is not to be had any more, the others that Debian has follow.
 * @throws Error where there is none
 */
export async function* engineSources(tested: string = TESTED_ENGINE): AsyncGenerator<EngineSource> {
  const chosen = environment()[ENGINE_VARIABLE];
  const wanted = chosen ?? tested;
  if (existsSync(folderOf(wanted))) return yield sourceOf(wanted);
  const found = new Set<string>();
  const failures: string[] = [];
  for (const suite of SUITES)
    for (const name of [`${PACKAGE}=${wanted}`, ...(chosen === undefined ? [PACKAGE] : [])]) {
      const version = await fetchFrom(suite, name).catch((error: unknown) => void failures.push(String(error)));
      if (version === undefined || found.has(version)) continue;
      found.add(version);
      yield sourceOf(version);
      if (version === wanted) return;
    }
  if (found.size === 0)
    throw new Error(
      `Expected the sources of the Debian package ${PACKAGE}${chosen === undefined ? '' : ` ${chosen}`}, found none: ${failures.join('; ')}`,
    );
}

const keyOf = (version: string): string => `${PACKAGE}-source-${version}`;
const folderOf = (version: string): string => path.join(cacheDir(), keyOf(version));

function sourceOf(version: string): EngineSource {
  const folder = folderOf(version);
  return { version, folder, licence: readFileSync(path.join(folder, 'LICENSE'), 'utf8') };
}

/** @param wanted the package, perhaps with a version @returns the version */
async function fetchFrom(suite: string, wanted: string): Promise<string> {
  await mkdir(cacheDir(), { recursive: true });
  const apt = path.join(cacheDir(), `.${PACKAGE}-${process.pid}.apt`);
  try {
    const options = await privateApt(suite, apt, 'deb-src');
    await aptGet([...options, 'update'], apt);
    await aptGet([...options, 'source', '--download-only', wanted], path.join(apt, 'debs'));
    const [dsc = ''] = (await readdir(path.join(apt, 'debs'))).filter((name) => name.endsWith('.dsc'));
    const version = /^Version: (?:\d+:)?(\S+)$/m.exec(readFileSync(path.join(apt, 'debs', dsc), 'utf8'))?.[1];
    if (version === undefined) throw new Error(`${dsc}: expected a version, found none`);
    await keptFolder(keyOf(version), (folder) => unpack(path.join(apt, 'debs'), folder));
    return version;
  } finally {
    await rm(apt, { recursive: true, force: true });
  }
}

async function aptGet(args: readonly string[], cwd: string): Promise<void> {
  await run('apt-get', ['-q', ...args], cwd);
}

/** Unpacks both archives, and makes Debian's changes, among which are those that mend a fault of security. */
async function unpack(debs: string, folder: string): Promise<void> {
  const names = await readdir(debs);
  const original = names.find((name) => /\.orig\.tar\.\w+$/.test(name)) ?? '';
  const debian = names.find((name) => /\.debian\.tar\.\w+$/.test(name)) ?? '';
  await run('tar', ['--extract', '--file', path.join(debs, original), '--strip-components=1'], folder);
  await run('tar', ['--extract', '--file', path.join(debs, debian)], folder);
  const series = path.join(folder, 'debian/patches/series');
  if (!existsSync(series)) return;
  for (const line of readFileSync(series, 'utf8').split('\n')) {
    const patch = line.replace(/#.*/, '').trim();
    if (patch !== '')
      await run('patch', ['--strip=1', '--silent', '--input', path.join(folder, 'debian/patches', patch)], folder);
  }
}

async function run(program: string, args: readonly string[], cwd: string): Promise<void> {
  const { failed, stderr, code } = await runProgram(program, args, { timeoutMs: FETCH_LIMIT_MS, cwd });
  if (failed) throw new Error(`${program} failed: ${code ?? stderr.trim()}`);
}
