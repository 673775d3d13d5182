import type { Config } from '../config/config.ts';
import { readDaemonConfig } from '../docker/daemon-config.ts';
import { realPathOf } from '../system/real-path.ts';
import { hostsOfService, isDockerStarted, pathsOfSocketUnit } from './docker-service.ts';

/** Where dockerd listens by default (moby, opts/hosts.go). */
const DEFAULT_SOCKET = '/var/run/docker.sock';

/**
 * The unix socket of dockerd's API, from our configuration, or else from docker.service or dockerd's own configuration
 * file, where `fd://` means docker.socket. A connection to docker.socket waits until dockerd has started. If dockerd
 * ends before that, systemd starts it again for the waiting connection.
 * @returns its path, or the hosts if none of them is a unix socket; undefined while connecting could start a dockerd
 * @throws PreloaderError, Error
 */
export async function dockerSocket(
  config: Config,
): Promise<{ readonly path: string } | { readonly hosts: string } | undefined> {
  const isStarted = await isDockerStarted();
  const place = await placeOf(config);
  if (isStarted || 'hosts' in place) return place;
  const activated = await pathsOfSocketUnit();
  return activated.some((path) => realPathOf(path) === realPathOf(place.path)) ? undefined : place;
}

async function placeOf(config: Config): Promise<{ readonly path: string } | { readonly hosts: string }> {
  if (config.dockerHost !== undefined) return { path: pathOf(config.dockerHost) };
  const configured = (await hostsOfService(config)) ?? (await readDaemonConfig(config.dockerConfig)).hosts;
  const hosts = configured.length === 0 ? [''] : configured;
  const host = hosts.find((each) => each === '' || each.startsWith('unix://'));
  if (host !== undefined) return { path: pathOf(host) };
  if (!hosts.some((each) => each.startsWith('fd://'))) return { hosts: hosts.join(', ') };
  const [path] = await pathsOfSocketUnit().catch((): string[] => []);
  return { path: path ?? DEFAULT_SOCKET };
}

function pathOf(host: string): string {
  return host.slice('unix://'.length) || DEFAULT_SOCKET;
}
