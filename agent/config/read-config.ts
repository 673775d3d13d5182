import { join } from 'node:path';
import { isEACCES, messageAt, shownPath } from '../system/errors.ts';
import { namesIn, readConfiguration, readTextIfThere } from '../system/read-files.ts';
import { realPathOf } from '../system/real-path.ts';
import { configInvalid, configOf, DEFAULT_CONFIG_PATH, defaultConfig, type Config } from './config.ts';
import type { ContainerMarks } from './from-outside.ts';
import type { Said } from './parse-config.ts';

/** Where a configuration comes from, in rising precedence. */
export interface Places {
  /** The file of whoever made the machine's image. */
  readonly vendor: string;
  readonly file: string;
  /** A folder of files, each for some of the keys. */
  readonly folder: string;
  /**
   * The folder of credentials that the service manager gets from outside of the machine (systemd.exec(5), "System
   * Credentials").
   */
  readonly credentials: string;
  readonly commandLine: string;
  readonly container: ContainerMarks;
}

const places: Places = {
  vendor: '/usr/lib/docker-preloader/config.json',
  file: DEFAULT_CONFIG_PATH,
  folder: `${DEFAULT_CONFIG_PATH}.d`,
  credentials: '/run/credentials/@system',
  commandLine: '/proc/cmdline',
  container: {
    namespace: '/proc/self/ns/pid',
    files: ['/run/systemd/container', '/.dockerenv', '/run/.containerenv'],
  },
};

const CREDENTIAL = 'docker-preloader.';

/** What one source says. */
export interface Layer {
  readonly source: string;
  readonly said: Said;
}

/**
 * Reads the configuration. Where nothing says anything, all defaults apply, and what parses it is not loaded.
 * @param path in place of all files
 * @throws PreloaderError CONFIG_INVALID naming source and key
 */
export async function readConfig(path?: string, from: Places = places): Promise<Config> {
  const layers = await readLayers(path, from);
  return layers.length === 0 ? resolved(defaultConfig()) : configIn(layers);
}

/** The configuration that the layers make together. Of a key, the last one that says it counts. */
export function configIn(layers: readonly Layer[]): Config {
  return resolved(configOf(Object.assign({}, ...layers.map(({ said }) => said)) as Said));
}

/** What each source says, in rising precedence. @throws PreloaderError CONFIG_INVALID naming source and key */
export async function readLayers(path?: string, from: Places = places): Promise<readonly Layer[]> {
  const layers: Layer[] = [];
  for (const file of path === undefined ? filesIn(from) : [path]) {
    const bytes = tried(file, () => readConfiguration(file));
    // A file that somebody has named must exist. The default ones need not.
    if (bytes === undefined && path !== undefined && path !== from.file)
      throw configInvalid(`${shownPath(path)}: expected a configuration file, found none`);
    if (bytes === undefined) continue;
    const { parseConfig, textOf } = await import('./parse-config.ts');
    const said = tried(file, () => parseConfig(textOf(bytes)));
    layers.push({ source: file, said });
  }
  return [...layers, ...(await fromCredentials(from)), ...(await fromCommandLine(from))];
}

function filesIn({ vendor, file, folder }: Places): string[] {
  const names = tried(folder, () => namesIn(folder)).filter((name) => /^[^.].*\.json$/s.test(name));
  return [vendor, file, ...names.toSorted().map((name) => join(folder, name))];
}

async function fromCredentials({ credentials }: Places): Promise<Layer[]> {
  const names = credentialsIn(credentials);
  if (names.length === 0) return [];
  const { saidByCredential } = await import('./from-outside.ts');
  return names.flatMap((name) => {
    const path = join(credentials, name);
    return tried(path, () => {
      const bytes = readConfiguration(path);
      return bytes === undefined
        ? []
        : [{ source: path, said: saidByCredential(name.slice(CREDENTIAL.length), bytes) }];
    });
  });
}

/** The one with all of the keys first, so that those of one key count more. */
function credentialsIn(folder: string): string[] {
  try {
    const rank = (name: string): string => (name === `${CREDENTIAL}config` ? '' : name);
    return namesIn(folder)
      .filter((name) => name.startsWith(CREDENTIAL))
      .toSorted((a, b) => (rank(a) < rank(b) ? -1 : 1));
  } catch (error) {
    // They are root's alone. Others may still ask for the status.
    if (isEACCES(error)) return [];
    throw configInvalid(messageAt(folder, error), error);
  }
}

async function fromCommandLine({ commandLine, container }: Places): Promise<Layer[]> {
  const line = readTextIfThere(commandLine);
  if (line === undefined || !/docker[-_]preloader\./.test(line)) return [];
  const { isContainer, saidOnCommandLine } = await import('./from-outside.ts');
  if (isContainer(container)) return [];
  const source = "the kernel's command line";
  const said = tried(source, () => saidOnCommandLine(line));
  return Object.keys(said).length === 0 ? [] : [{ source, said }];
}

/** @throws PreloaderError CONFIG_INVALID naming the source */
function tried<Result>(source: string, action: () => Result): Result {
  try {
    return action();
  } catch (error) {
    throw configInvalid(messageAt(source, error), error);
  }
}

/**
 * Resolves symlinks in the mount root. The kernel lists mounts without them, and links in the store must not depend on
 * them.
 */
function resolved(config: Config): Config {
  return { ...config, mountRoot: realPathOf(config.mountRoot) };
}
