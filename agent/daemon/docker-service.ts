import type { Config } from '../config/config.ts';
import type { Finding } from '../messages/finding.ts';
import { dockerdInPath, versionOf } from '../docker/dockerd-version.ts';
import {
  environmentFiles,
  parseEnvironment,
  parseEnvironmentFile,
  parseExecStart,
  storeOfService,
  type ServiceStore,
} from '../docker/service.ts';
import { commandOutput } from '../system/child-process.ts';
import { isENOENT, messageOf } from '../system/errors.ts';
import { readTextIfThere } from '../system/read-files.ts';
import { log } from '../system/journal.ts';
import { realPathOf } from '../system/real-path.ts';
import { isSystemUnit, showUnit, SYSTEMCTL_TIMEOUT_MS, valueOf } from '../system/systemctl.ts';

const UNIT = 'docker.service';

/** Whether docker.service is being started, which then waits for us. If that cannot be asked, it may be. */
export async function isDockerStarting(): Promise<boolean> {
  try {
    return /\sdocker\.service\s+start\s/.test(
      await commandOutput('systemctl', ['list-jobs', '--no-legend', '--no-pager', UNIT], SYSTEMCTL_TIMEOUT_MS),
    );
  } catch {
    return true;
  }
}

/**
 * Whether docker.service is stopped. If we are not a unit beside it, this is true, and only dockerd's lock says whether
 * it runs.
 */
export async function isDockerStopped(): Promise<boolean> {
  if (!isSystemUnit()) return true;
  try {
    return ['inactive', 'failed'].includes(valueOf(await showUnit(UNIT, 'ActiveState'), 'ActiveState'));
  } catch {
    return false;
  }
}

/** Checks that docker.service starts dockerd on the store that was filled. Without systemd there is nothing to ask. */
export async function compareWithService(config: Config, dataRoot: string): Promise<Finding | undefined> {
  try {
    const service = await readService(config);
    return service === undefined ? undefined : differenceOf(service, dataRoot, config.dockerConfig);
  } catch (error) {
    log(
      'NOT_COMPARED',
      `docker.service could not be compared with the store that was filled, ignoring: ${messageOf(error)}`,
    );
    return undefined;
  }
}

/** Where the dockerd of docker.service listens; undefined if there is no such unit to ask. */
export async function hostsOfService(config: Config): Promise<readonly string[] | undefined> {
  return (await readService(config))?.hosts;
}

/**
 * Whether docker.service has started. If we are not a unit beside it, this is true, because then no connection can
 * start it.
 */
export async function isDockerStarted(): Promise<boolean> {
  return !isSystemUnit() || valueOf(await showUnit(UNIT, 'ActiveState'), 'ActiveState') === 'active';
}

/** Where docker.socket listens for dockerd, for `-H fd://`. */
export async function pathsOfSocketUnit(): Promise<string[]> {
  return ((await showUnit('docker.socket', 'Listen')).get('Listen') ?? []).flatMap(
    (text) => /^(\/.+) \(Stream\)$/.exec(text)?.[1] ?? [],
  );
}

/** How the store of docker.service differs from an overlay2 store in `dataRoot`. */
export function differenceOf(service: ServiceStore, dataRoot: string, dockerConfig: string): Finding | undefined {
  const problems = [
    realPathOf(service.dataRoot) === realPathOf(dataRoot) ? undefined : `data root ${service.dataRoot}`,
    service.storageDriver === undefined || service.storageDriver === 'overlay2'
      ? undefined
      : `storage driver ${service.storageDriver}`,
    service.usernsRemap === undefined ? undefined : `userns-remap ${service.usernsRemap}`,
  ].filter((problem) => problem !== undefined);
  if (problems.length === 0) return undefined;
  return {
    code: 'DATA_ROOT_DIFFERS',
    message: `docker.service starts dockerd with ${problems.join(', ')}, but ${dataRoot} was filled for overlay2; set \`dataRoot\` in our configuration, or dockerd's options in ${dockerConfig}`,
  };
}

/** The program that docker.service starts, after it was asked for. */
let dockerdPath: string | undefined;

async function readService(config: Config): Promise<ServiceStore | undefined> {
  if (!isSystemUnit()) return undefined;
  try {
    const properties = await showUnit(UNIT, 'ExecStart', 'Environment', 'EnvironmentFiles', 'LoadState');
    const argv = parseExecStart(valueOf(properties, 'ExecStart'));
    if (valueOf(properties, 'LoadState') !== 'loaded' || argv.length === 0) return undefined;
    [dockerdPath] = argv;
    const environment = parseEnvironment(valueOf(properties, 'Environment'));
    // If a variable is set more than once, the last one counts, and files come after Environment=.
    for (const path of environmentFiles(properties.get('EnvironmentFiles') ?? []))
      Object.assign(environment, parseEnvironmentFile(readTextIfThere(path) ?? ''));
    return await storeOfService(argv, environment, config.dockerConfig);
  } catch (error) {
    if (isENOENT(error)) return undefined;
    throw error;
  }
}

/** The program that docker.service starts, as it was told; another process may go on with it. */
export function dockerdProgram(): string | undefined {
  return dockerdPath;
}

export function rememberDockerd(program: string | undefined): void {
  dockerdPath = program;
}

/** The version of dockerd, or null if there is none or it does not say. */
export function dockerdVersion(): Promise<string | null> {
  const path = dockerdPath ?? dockerdInPath();
  return path === undefined ? Promise.resolve(null) : versionOf(path);
}
