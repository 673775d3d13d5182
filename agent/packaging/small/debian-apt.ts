import { existsSync } from 'node:fs';
import { mkdir, rm, writeFile } from 'node:fs/promises';
import path from 'node:path';
import { runProgram } from '../../system/child-process.ts';

const KEYRING = '/usr/share/keyrings/debian-archive-keyring.gpg';

/**
 * Where this machine gets Debian's packages from, so that a mirror that its owner chose is used here too.
 * @throws Error where apt has no Debian source
 */
export async function debianMirror(): Promise<string> {
  const { stdout } = await runProgram('apt-get', ['indextargets', '--format', '$(REPO_URI) $(ORIGIN)']);
  const line = stdout.split('\n').find((target) => /^\S+\/debian\/? Debian$/.test(target));
  if (line === undefined)
    throw new Error("Expected a Debian source in apt's configuration, found none; add one to /etc/apt/sources.list");
  return (line.split(' ')[0] ?? '').replace(/\/$/, '');
}

/**
 * Sets up an apt of its own in `folder`, for one suite of Debian. It takes what Debian's keys have signed.
 * @param kind what it is to find: packages, or their sources
 * @param architecture which packages, as Debian calls it
 * @returns the options that make apt-get use it
 */
export async function privateApt(
  suite: string,
  folder: string,
  kind: 'deb' | 'deb-src' = 'deb',
  architecture: string = 'amd64',
): Promise<readonly string[]> {
  await rm(folder, { recursive: true, force: true });
  for (const sub of ['state/lists/partial', 'cache/archives/partial', 'debs', 'parts'])
    await mkdir(path.join(folder, sub), { recursive: true });
  if (!existsSync(KEYRING))
    throw new Error(`Expected ${KEYRING}; install it with \`apt-get install debian-archive-keyring\``);
  // A suite that is not released yet has a Release file that expires within days, on mirrors that lag behind sooner.
  await writeFile(
    path.join(folder, 'sources.list'),
    `${kind} [arch=${architecture} check-valid-until=no signed-by=${KEYRING}] ${await debianMirror()} ${suite} main\n`,
  );
  await writeFile(path.join(folder, 'state/status'), '');
  return Object.entries({
    'Dir::Etc::SourceList': `${folder}/sources.list`,
    'Dir::Etc::SourceParts': `${folder}/parts`,
    'Dir::State': `${folder}/state`,
    'Dir::State::status': `${folder}/state/status`,
    'Dir::Cache': `${folder}/cache`,
    'APT::Architecture': architecture,
    'APT::Architectures': architecture,
    'APT::Sandbox::User': 'root',
    'APT::Update::Post-Invoke-Success::': '',
    'Acquire::Languages': 'none',
  }).flatMap(([name, value]) => ['-o', `${name}=${value}`]);
}
