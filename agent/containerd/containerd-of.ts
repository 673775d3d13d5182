import { lstatSync } from 'node:fs';
import { join } from 'node:path';
import { ownContainerdSocket } from '../docker/daemon-config.ts';
import { Containerd } from './api/containerd-api.ts';
import { hasStatus } from './api/grpc-error.ts';

/** Where the system's own containerd has its socket, and dockerd looks for it. */
const SYSTEM_ADDRESS = '/run/containerd/containerd.sock';
/** A containerd that listens answers at once. */
const ANSWER_MS = 1_000;

export interface ContainerdQuestion {
  /** The path of the socket in our own configuration. */
  readonly address: string;
  /** The path that dockerd is told: `--containerd`, or `containerd` in its configuration file. */
  readonly dockerdContainerdOption: string | undefined;
  /** dockerd's `--data-root`. */
  readonly dataRoot: string;
  /** dockerd's `--exec-root`. */
  readonly execRoot: string;
  /** What dockerd takes for the system's; for tests. */
  readonly systemAddress?: string | undefined;
}

/** Which containerd has the store, and whether it can be talked to. */
export type ContainerdPlace =
  | { readonly is: 'there'; readonly address: string }
  /** dockerd will start it. Until then nobody else uses its root. */
  | { readonly is: 'managed'; readonly root: string }
  | { readonly is: 'not-there-yet'; readonly address: string };

/**
 * Finds the containerd that images are to be put into. It is to be called after containerd.service was started. Before
 * that, a missing socket does not mean that dockerd will start a containerd of its own.
 *
 * dockerd takes the one that it is told. Otherwise it takes the system's if there is a file of its socket, whether or
 * not somebody listens. Otherwise it starts one (moby, cmd/dockerd/daemon.go, systemContainerdRunning, and
 * daemon_unix.go, initContainerd; from 29 on in daemon/command). That one has its root in
 * `<data-root>/containerd/daemon` and its socket in `<exec-root>/containerd/containerd.sock` (moby,
 * libcontainerd/supervisor/remote_daemon.go, Start). Its configuration says nothing about its store, so its snapshots
 * are in `<root>/io.containerd.snapshotter.v1.overlayfs`. All this holds for 20.10, 26.1, 28.5 and 29.7.
 */
export async function containerdOf(question: ContainerdQuestion): Promise<ContainerdPlace> {
  const { dockerdContainerdOption: told, dataRoot, execRoot, systemAddress = SYSTEM_ADDRESS } = question;
  // Our default is the system's address. It then means the containerd that dockerd uses.
  const isDockerds = question.address === systemAddress;
  const isTold = told !== undefined && told !== '';
  const address = isDockerds && isTold ? told : question.address;
  if (await isAnswered(address)) return { is: 'there', address };
  if (!isDockerds || isTold || isThere(address)) return { is: 'not-there-yet', address };
  const own = ownContainerdSocket(execRoot);
  if (await isAnswered(own)) return { is: 'there', address: own };
  return { is: 'managed', root: join(dataRoot, 'containerd/daemon') };
}

/** dockerd looks in this way, so a symlink counts wherever it leads. */
function isThere(path: string): boolean {
  return lstatSync(path, { throwIfNoEntry: false }) !== undefined;
}

/** Whether somebody listens, even if too busy to answer. */
async function isAnswered(address: string): Promise<boolean> {
  try {
    (await Containerd.open(address, ANSWER_MS)).close();
    return true;
  } catch (error) {
    return hasStatus(error, 'deadlineExceeded');
  }
}
