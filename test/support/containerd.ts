import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { closeSync, openSync, readFileSync } from 'node:fs';
import { mkdir, writeFile } from 'node:fs/promises';
import path from 'node:path';
import { execa } from 'execa';
import { Containerd } from '../../agent/containerd/api/containerd-api.ts';
import { cleanUpLater } from './cleanup.ts';
import { dockerdTree, type DockerdVersion } from './dockerd-version.ts';
import { killUsersOf } from './processes.ts';
import { unmountBelow } from './temp-tree.ts';

let containers = 0;

export interface ContainerdProcess {
  readonly pid: number;
  /** Path of its socket. */
  readonly address: string;
  readonly root: string;
  /** The name of the image that each pod's first container is made of, by its configuration. */
  sandboxImage(): Promise<string>;
  /** Runs the `ctr` that came with it: returns stdout, throws with all output on failure. */
  ctr(args: readonly string[]): Promise<string>;
  /** Runs a container of an image, by its whole name. @returns what it prints */
  run(namespace: string, image: string, ...command: readonly string[]): Promise<string>;
  /** SIGTERM, and waits for its end. Containers run on. */
  stop(): Promise<void>;
  /** SIGKILL, as in a crash. Containers run on. */
  kill(): Promise<void>;
  /** Its end, and that of all that it has started. */
  end(): Promise<void>;
  log(): string;
}

interface ContainerdOptions {
  /** Whether it serves Kubernetes, too. */
  readonly cri?: boolean;
}

const PLUGINS_OF_CRI = ['io.containerd.grpc.v1.cri', 'io.containerd.cri.v1.images', 'io.containerd.cri.v1.runtime'];

/**
 * What keeps the CRI plugin off this machine: its networks, the socket for plugins of its own, and scores that only
 * root of the whole machine may set. A registry gets another address by `registries/NAME/hosts.toml`.
 */
const criConfig = (folder: string): string => `
[plugins."io.containerd.grpc.v1.cri"]
  restrict_oom_score_adj = true
  stats_collect_period = 1
  [plugins."io.containerd.grpc.v1.cri".cni]
    conf_dir = "${folder}/cni"
  [plugins."io.containerd.grpc.v1.cri".registry]
    config_path = "${folder}/registries"
[plugins."io.containerd.nri.v1.nri"]
  disable = true
`;

/**
 * Starts a private containerd and waits until it answers: root, state and socket are below `folder`, and a second start
 * there finds what the first one left. It ends with this process at the latest.
 * @param version the dockerd that it came with
 * @param more TOML to add to its configuration
 * @throws Error with its log where it ends early
 */
export async function startContainerd(
  version: DockerdVersion,
  folder: string,
  more = '',
  { cri = false }: ContainerdOptions = {},
): Promise<ContainerdProcess> {
  const tree = await dockerdTree(version);
  const root = path.join(folder, 'containerd');
  const state = path.join(folder, 'containerd-state');
  const address = path.join(folder, 'containerd.sock');
  const config = path.join(folder, 'containerd.toml');
  await mkdir(folder, { recursive: true });
  await writeFile(
    config,
    `version = 2\nroot = "${root}"\nstate = "${state}"\n` +
      `disabled_plugins = ${JSON.stringify(cri ? [] : PLUGINS_OF_CRI)}\n[grpc]\n  address = "${address}"\n` +
      `${cri ? criConfig(folder) : ''}${more}`,
  );
  const env = {
    ...process.env,
    PATH: `${tree.bin}:${process.env['PATH'] ?? ''}:/usr/sbin:/sbin`,
    ...(tree.lib === undefined ? {} : { LD_LIBRARY_PATH: tree.lib }),
  };
  const logFile = path.join(folder, 'containerd.log');
  const output = openSync(logFile, 'a');
  const child = spawn('setpriv', ['--pdeathsig', 'KILL', path.join(tree.bin, 'containerd'), '--config', config], {
    stdio: ['ignore', output, output],
    detached: true,
    env,
    cwd: folder,
  });
  closeSync(output);
  const exited = once(child, 'exit');
  const log = (): string => readFileSync(logFile, 'utf8');
  const end = cleanUpLater(`containerd on ${folder}`, async () => {
    child.kill('SIGKILL');
    await exited;
    // A shim, which outlives it, has its socket on the command line.
    await killUsersOf(folder);
    await unmountBelow(folder);
  });
  const signal = async (name: NodeJS.Signals): Promise<void> => {
    child.kill(name);
    await exited;
  };
  try {
    await Promise.race([
      untilItAnswers(address),
      exited.then(([code, killed]) =>
        Promise.reject(new Error(`expected it to answer, it ended with ${String(code ?? killed)}`)),
      ),
    ]);
  } catch (error) {
    await end();
    throw new Error(
      `containerd of ${version}: ${(error as Error).message}\n${log().split('\n').slice(-20).join('\n')}`,
    );
  }
  const ctr = async (args: readonly string[]): Promise<string> => {
    const { stdout } = await execa(path.join(tree.bin, 'ctr'), ['--address', address, ...args], {
      env,
      all: true,
      stdin: 'ignore',
      timeout: 120_000,
    });
    return stdout;
  };
  return {
    pid: child.pid ?? 0,
    address,
    root,
    sandboxImage: async () => {
      const { stdout } = await execa(path.join(tree.bin, 'containerd'), ['--config', config, 'config', 'dump'], {
        env,
      });
      const name = /^\s*sandbox(?:_image)? = ["'](\S+)["']$/m.exec(stdout)?.[1];
      if (name === undefined) throw new Error(`expected a sandbox image in containerd's configuration, found none`);
      return name;
    },
    ctr,
    // runc has the containers of all containerds of a machine in one folder, by namespace and name.
    run: (namespace, image, ...command) =>
      ctr(['-n', namespace, 'run', '--rm', image, `t${process.pid}-${containers++}`, ...command]),
    stop: () => signal('SIGTERM'),
    kill: () => signal('SIGKILL'),
    end,
    log,
  };
}

async function untilItAnswers(address: string): Promise<void> {
  for (const limit = performance.now() + 60_000; ;) {
    try {
      const containerd = await Containerd.open(address, 5_000);
      // The socket is there before the services are.
      await containerd.uuid().finally(() => containerd.close());
      return;
    } catch (error) {
      if (performance.now() > limit) throw error;
      await new Promise((resolve) => setTimeout(resolve, 20));
    }
  }
}
