import { mkdir } from 'node:fs/promises';
import path from 'node:path';
import { type ContainerdProcess, startContainerd as startPrivateContainerd } from '../support/containerd.ts';
import { type Dockerd, startDockerd } from '../support/dockerd.ts';
import { dockerdTree, type DockerdVersion } from '../support/dockerd-version.ts';
import { announce, said, say, shellLine, working } from './transcript.ts';

/** Debian 13's: its suite is released, so its version stays. */
const VERSION: DockerdVersion = '26.1';

/** A private dockerd whose commands are printed. */
export interface DemoDocker {
  /** Runs the docker CLI, printing the command and what it says. */
  cli(...args: readonly string[]): Promise<string>;
  stop(): Promise<void>;
}

/** Unpacks dockerd and its companions into the cache, and says how to use them for the lines that follow. */
export async function unpackDocker(): Promise<void> {
  const { bin, cliConfig } = await working(`unpacking dockerd ${VERSION} and containerd into the cache (once)`, () =>
    dockerdTree(VERSION),
  );
  say(
    `dockerd ${VERSION} of Debian, with its containerd and runc, is unpacked in the cache and not installed. To copy a line from below:`,
  );
  announce(`export PATH=${shellLine([bin])}:$PATH DOCKER_CONFIG=${shellLine([cliConfig])}`);
}

/**
 * Starts a dockerd that has everything in `folder`: daemon.json, socket, exec root, log, and its data root `data`.
 * @param folder one in the demo's private folder, after which the containers' cgroups are named, to be found again
 * @param containerd where it is to have its images, in place of its own store; by default it starts one of its own
 */
export async function startDocker(folder: string, containerd?: ContainerdProcess): Promise<DemoDocker> {
  const dataRoot = path.join(folder, 'data');
  await mkdir(dataRoot, { recursive: true });
  const extraConfig = {
    'cgroup-parent': `/${path.basename(path.dirname(folder))}`,
    ...(containerd === undefined ? {} : inContainerd(containerd.address)),
  };
  announce(`setpriv --pdeathsig TERM dockerd --config-file ${shellLine([path.join(folder, 'daemon.json')])} &`);
  const dockerd: Dockerd = await working('dockerd starts', () =>
    startDockerd({ version: VERSION, dataRoot, folder, extraConfig }),
  );
  return {
    cli: (...args) => {
      const line = shellLine(['docker', '-H', `unix://${dockerd.socket}`, ...args]);
      announce(line);
      return said(
        line,
        working(`docker ${args[0] ?? ''}`, async () => {
          const stdout = await dockerd.cli(args);
          return { stdout, all: stdout };
        }),
      );
    },
    stop: async () => {
      announce(`kill -TERM ${dockerd.pid}`);
      await working('dockerd stops', () => dockerd.stop());
    },
  };
}

/** Keys of a daemon.json: the images are in a containerd. */
export function inContainerd(address: string): Readonly<Record<string, unknown>> {
  return { containerd: address, features: { 'containerd-snapshotter': true } };
}

/** Starts a containerd that has everything in `folder`, as a machine has it beside Docker. */
export async function startContainerd(folder: string): Promise<ContainerdProcess> {
  announce(`setpriv --pdeathsig KILL containerd --config ${shellLine([path.join(folder, 'containerd.toml')])} &`);
  return working('containerd starts', () => startPrivateContainerd(VERSION, folder));
}
