import { once } from 'node:events';
import { existsSync } from 'node:fs';
import { runtimePath, type Config } from '../boot/config.ts';
import { discover, labelFilter } from '../boot/discover.ts';
import { ledgerFolder } from '../boot/ledger.ts';
import { preload, takeLock, type Preload } from '../boot/preload.ts';
import { syncStore } from '../boot/sync.ts';
import { watchDevices } from '../boot/wait.ts';
import type { Finding } from '../disk/finding.ts';
import { parseEnvironment, parseExecStart, storeOfService, type ServiceStore } from '../docker/service.ts';
import { statusDocument, type StatusDocument } from '../status/document.ts';
import { logFinding, logSummary, metrics, publish, publishedStatus } from '../status/publish.ts';
import { serveStatus } from '../status/server.ts';
import { delay, monotonicUsec } from '../system/clock.ts';
import { isENOENT, messageOf } from '../system/errors.ts';
import { readTextIfThere } from '../system/files.ts';
import { log } from '../system/journal.ts';
import { listenFd } from '../system/listen-fds.ts';
import { releaseProgram } from '../system/memory.ts';
import { notifyStatus } from '../system/notify.ts';

/** What the daemon does once Docker may start: serve the status, sync, compare. Loaded only then. */
export async function serve(config: Config, result: Preload, status: StatusDocument): Promise<void> {
  const findings: Finding[] = [];
  // docker.service's drop-in may have changed the store, and the status, since.
  const current = (): StatusDocument => {
    const newest = JSON.parse(publishedStatus(config) ?? JSON.stringify(status)) as StatusDocument;
    return { ...newest, findings: [...newest.findings, ...findings] };
  };
  let answer = { key: '', text: '' };
  // Made once for each status: clients may ask as often as they like.
  const statusText = (): string => {
    const key = `${findings.length} ${publishedStatus(config) ?? ''}`;
    if (answer.key !== key) answer = { key, text: `${JSON.stringify(current())}\n` };
    return answer.text;
  };
  const server = await serveStatus(
    { path: config.statusSocket, fd: listenFd() },
    {
      '/v1/status': { type: 'application/json', body: statusText },
      '/metrics': { type: 'text/plain; version=0.0.4', body: () => metrics(current()) },
      '/healthz': { type: 'text/plain', body: () => `${current().state}\n` },
      '/v1/timeline': { type: 'application/json', body: () => readTextIfThere(runtimePath(config, 'boot.json')) },
    },
  );
  if (result.dataRoot !== undefined) {
    await syncStore(result.dataRoot);
    const difference = await compareWithService(config, result.dataRoot);
    if (difference !== undefined) {
      logFinding(difference);
      findings.push(difference);
    }
  }
  void delay(RELEASE_AFTER_MS).then(releaseProgram);
  // Without a socket of the service manager's, nobody could start it again.
  if (config.idleExitSec > 0 && listenFd() !== undefined) (await import('./idle.ts')).exitWhenIdle(server, config.idleExitSec);
  await Promise.race([once(server, 'close'), followDevices(config, result, status)]);
}

/** By then all is loaded that waiting needs. */
const RELEASE_AFTER_MS = 500;

/** Time for udev and for devices that come together, before we look. */
const SETTLE_MS = 100;

/**
 * Looks again whenever devices come or go: a new disk is mounted, and what it would change is pending until Docker's next
 * start; one that was pulled out is lost. The store is left alone.
 */
async function followDevices(config: Config, result: Preload, first: StatusDocument): Promise<never> {
  const changes = await watchDevices();
  await changes.ready();
  let before = describe(first);
  // What came since READY was seen by nobody.
  let isChanged = !hasSameDevices(config, result);
  for (;;) {
    if (!isChanged) await changes.next();
    isChanged = false;
    await delay(SETTLE_MS);
    const newest = await lookAgain(config, result.dataRoot);
    const status = { ...statusDocument(newest, monotonicUsec()), readyUsec: first.readyUsec };
    notifyStatus(status.summary);
    const now = describe(status);
    if (now === before) continue;
    before = now;
    publish(config, status);
    logSummary(status);
  }
}

/** Whether the devices that carry our labels are those of the disks in use; cheap, since it does not look at the store. */
function hasSameDevices(config: Config, { disks }: Preload): boolean {
  const inUse = disks.map(({ mounted }) => mounted.device.path);
  const now = [...discover(labelFilter(config)).disks.values()].flat().map(({ device }) => device.path);
  return now.length === inUse.length && now.every((path) => inUse.includes(path));
}

/** Between two states of the store: docker.service's `apply` may be at work on it just now. */
async function lookAgain(config: Config, dataRoot: string | undefined): Promise<Preload> {
  const lock = dataRoot !== undefined && existsSync(ledgerFolder(dataRoot)) ? await takeLock(dataRoot).catch(() => undefined) : undefined;
  try {
    return await preload(config, { wait: false, change: 'never' });
  } finally {
    lock?.release();
  }
}

/** What of a status depends on the devices. */
function describe({ disks, pending, findings }: StatusDocument): string {
  return JSON.stringify([disks, pending, findings]);
}

/** Looks whether docker.service starts dockerd on the store that was filled. Without systemd there is nothing to ask. */
async function compareWithService(config: Config, dataRoot: string): Promise<Finding | undefined> {
  try {
    const service = await readService(config);
    if (service === undefined) return undefined;
    const problems = [
      service.dataRoot === dataRoot ? undefined : `data root ${service.dataRoot}`,
      service.storageDriver === undefined || service.storageDriver === 'overlay2' ? undefined : `storage driver ${service.storageDriver}`,
      service.usernsRemap === undefined ? undefined : `userns-remap ${service.usernsRemap}`,
    ].filter((problem) => problem !== undefined);
    if (problems.length === 0) return undefined;
    return { code: 'DATA_ROOT_DIFFERS', message: `docker.service starts dockerd with ${problems.join(', ')}, but ${dataRoot} was filled for overlay2; set \`dataRoot\` in our configuration, or dockerd's options in ${config.dockerConfig}` };
  } catch (error) {
    log('notice', `docker.service could not be compared with what was filled, ignoring: ${messageOf(error)}`);
    return undefined;
  }
}

async function readService(config: Config): Promise<ServiceStore | undefined> {
  // Only a unit of this system's manager goes with this system's docker.service.
  if (process.env['NOTIFY_SOCKET'] !== '/run/systemd/notify') return undefined;
  const { execa } = await import('execa');
  const show = async (...properties: readonly string[]): Promise<Map<string, string>> => {
    const { stdout } = await execa('systemctl', ['show', 'docker.service', ...properties.map((name) => `--property=${name}`)], { timeout: 10_000 });
    return new Map(stdout.split('\n').map((line) => [line.slice(0, line.indexOf('=')), line.slice(line.indexOf('=') + 1)]));
  };
  try {
    const properties = await show('ExecStart', 'Environment', 'EnvironmentFiles', 'LoadState');
    const argv = parseExecStart(properties.get('ExecStart') ?? '');
    if (properties.get('LoadState') !== 'loaded' || argv.length === 0) return undefined;
    const environment = parseEnvironment(properties.get('Environment') ?? '');
    for (const [, path] of (properties.get('EnvironmentFiles') ?? '').matchAll(/(\/\S+) \(ignore_errors=/g)) {
      Object.assign(environment, parseEnvironment((readTextIfThere(path ?? '') ?? '').replaceAll(/^\s*#.*$/gm, '').replaceAll(/^(\w+)=(["'])(.*)\2\s*$/gm, '"$1=$3"')));
    }
    return storeOfService(argv, environment, config.dockerConfig);
  } catch (error) {
    if (isENOENT(error)) return undefined;
    throw error;
  }
}
