import { createHash } from 'node:crypto';
import { existsSync } from 'node:fs';
import { mkdir, readdir, rm, writeFile } from 'node:fs/promises';
import path from 'node:path';
import { execa, type ExecaError } from 'execa';
import { cacheDir } from '../../agent/packaging/small/cache-folder.ts';
import { privateApt } from '../../agent/packaging/small/debian-apt.ts';
import { cached } from './cache.ts';
import { cleanUpLater } from './cleanup.ts';
import { withFileLock } from './file-lock.ts';

/** The suites that the tests take packages from: Debian 12, 13 and the one after. */
export type DebianSuite = 'bookworm' | 'trixie' | 'forky';

/**
 * Makes sure that Debian packages are installed on this machine, and says on stderr which ones it is about to install.
 * No service is started or stopped by it.
 * @param names binary package names
 * @param options.install false: only look, and throw where something is missing
 * @throws Error naming the missing packages and the command that installs them
 */
export async function ensureDebianPackages(
  names: readonly string[],
  options: { readonly install: boolean },
): Promise<void> {
  const missing = await missingPackages(names);
  if (missing.length === 0) return;
  const byHand = `apt-get install --no-install-recommends ${missing.join(' ')}`;
  if (!options.install)
    throw new Error(`Missing Debian packages: ${missing.join(', ')}. Install them with \`${byHand}\``);
  if (process.getuid?.() !== 0 || !existsSync('/usr/bin/apt-get')) {
    throw new Error(
      `Missing packages: ${missing.join(', ')}. Installing them takes root and apt-get; on Debian: \`${byHand}\``,
    );
  }
  process.stderr.write(`installing Debian packages: ${missing.join(' ')}\n`);
  await mkdir(cacheDir(), { recursive: true });
  await withFileLock(path.join(cacheDir(), 'apt.lock'), async () => {
    await withoutServices(async () => {
      try {
        await installQuietly(missing);
      } catch {
        // Lists that are absent or too old look like this; a fault of another kind shows again the second time.
        await aptGet(['update']);
        await installQuietly(missing).catch((error: unknown) => {
          throw new Error(`Installing Debian packages failed; try \`apt-get update && ${byHand}\``, { cause: error });
        });
      }
    });
  });
}

/** Which of the packages are not installed, by dpkg's own word; all of them where there is no dpkg. */
export async function missingPackages(names: readonly string[]): Promise<readonly string[]> {
  const { stdout } = await execa(
    'dpkg-query',
    ['--show', '--showformat', '${Package} ${db:Status-Status}\\n', ...names],
    { reject: false },
  );
  const installed = new Set(
    (stdout ?? '')
      .split('\n')
      .filter((line) => line.endsWith(' installed'))
      .map((line) => line.split(' ')[0]),
  );
  return names.filter((name) => !installed.has(name));
}

/**
 * Unpacks binary packages of a suite, other than this machine's perhaps, into one folder of the cache, without
 * installing them. Dependencies are not followed: name what is needed.
 * @param architecture as Debian calls it
 * @returns the folder; a package's /usr/bin is its `usr/bin`
 */
export function fetchDebianPackage(
  suite: DebianSuite,
  names: readonly string[],
  architecture = 'amd64',
): Promise<string> {
  const foreign = architecture === 'amd64' ? '' : `${architecture}-`;
  return fetched(`${foreign}${suite}`, suite, names, architecture, (options, folder) =>
    aptGet([...options, 'download', ...names], folder),
  );
}

/** The same, with all that they depend on, down to the C library. */
export function fetchWithDependencies(suite: DebianSuite, names: readonly string[]): Promise<string> {
  const here = ['--yes', '--no-install-recommends', '--download-only'];
  return fetched(`all-${suite}`, suite, names, 'amd64', (options, folder) =>
    aptGet([...options, '-o', `Dir::Cache::Archives=${folder}`, 'install', ...here, ...names]),
  );
}

async function fetched(
  kind: string,
  suite: DebianSuite,
  names: readonly string[],
  architecture: string,
  download: (aptOptions: readonly string[], folder: string) => Promise<void>,
): Promise<string> {
  const sorted = [...names].sort();
  const key = createHash('sha256').update(sorted.join(' ')).digest('hex').slice(0, 10);
  return cached(`debian-${kind}-${key}`, async (tree) => {
    const apt = `${tree}.apt`;
    try {
      const options = await privateApt(suite, apt, 'deb', architecture);
      await aptGet([...options, 'update']);
      const folder = path.join(apt, 'debs');
      await mkdir(path.join(folder, 'partial'));
      await download(options, folder);
      for (const deb of await readdir(folder)) {
        if (deb.endsWith('.deb')) await execa('dpkg-deb', ['--extract', path.join(folder, deb), tree]);
      }
    } catch (error) {
      throw new Error(`Expected to get ${sorted.join(', ')} of Debian ${suite} with apt-get`, { cause: error });
    } finally {
      await rm(apt, { recursive: true, force: true });
    }
  });
}

async function installQuietly(names: readonly string[]): Promise<void> {
  await aptGet(['install', '--yes', '--no-install-recommends', ...names]);
}

async function aptGet(args: readonly string[], cwd = '/'): Promise<void> {
  try {
    await execa('apt-get', ['-q', '-o', 'DPkg::Lock::Timeout=300', ...args], {
      cwd,
      all: true,
      stdin: 'ignore',
      env: { DEBIAN_FRONTEND: 'noninteractive', LC_ALL: 'C' },
    });
  } catch (error) {
    const said = (error as ExecaError).all;
    throw new Error(
      `apt-get ${args.filter((arg) => !arg.includes('=') && arg !== '-o').join(' ')} failed: ${String(said).trim()}`,
      { cause: error },
    );
  }
}

/** Keeps packages from starting their services while `work` runs, by the means that Debian has for it: policy-rc.d. */
async function withoutServices(work: () => Promise<void>): Promise<void> {
  const policy = '/usr/sbin/policy-rc.d';
  // One that is there is the machine's own decision about services, and stays.
  if (existsSync(policy)) return work();
  const remove = cleanUpLater(policy, () => rm(policy, { force: true }));
  await writeFile(policy, '#!/bin/sh\nexit 101\n', { mode: 0o755 });
  try {
    await work();
  } finally {
    await remove();
  }
}
