import { mkdirSync, readFileSync, realpathSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { execa } from 'execa';
import { build as buildExecutables } from '../../agent/packaging/build-program.ts';
import { cleanUpAll, cleanUpLater } from '../support/cleanup.ts';
import { ensureDebianPackages } from '../support/debian-packages.ts';
import { startDockerd } from '../support/dockerd.ts';
import { notifySocket } from '../support/notify-socket.ts';
import { dockerdTree, type DockerdTree } from '../support/dockerd-version.ts';
import type { LoopDevice } from '../support/loop-device.ts';
import { tempTree, unmountBelow } from '../support/temp-tree.ts';
import { labelPrefix, makeDataRoot } from './boot-fixtures.ts';
import { Place, type Timed } from './boot-place.ts';
import { commands, imageArchive, type ImageName } from './first-run-images.ts';
import { attachSlow, type DiskSpeed } from './slow-disk.ts';
import { median, spread } from './statistics.ts';

/** A general purpose disk of a cloud, one that is a quarter as fast, and the first with a latency as over a network. */
const speeds = {
  full: { bytesPerSec: 125_000_000, readsPerSec: 3000, latencyUsec: 0 },
  quarter: { bytesPerSec: 31_250_000, readsPerSec: 750, latencyUsec: 0 },
  latency: { bytesPerSec: 125_000_000, readsPerSec: 3000, latencyUsec: 1000 },
} as const satisfies Readonly<Record<string, DiskSpeed>>;
export type SpeedName = keyof typeof speeds;
export const speedNames: readonly SpeedName[] = ['full', 'quarter', 'latency'];

export interface FirstRunOptions {
  readonly images: readonly ImageName[];
  readonly speeds: readonly SpeedName[];
  /** Whether dockerd, containerd, runc and docker are read from a disk of the same speed. */
  readonly dockerds: readonly ('cold' | 'warm')[];
  readonly rounds: number;
  readonly largeMb: number;
}

interface FirstRun {
  readonly image: ImageName;
  readonly speed: SpeedName;
  readonly dockerd: 'cold' | 'warm';
  readonly readsAhead: boolean;
  readonly round: number;
  /** From exec of `docker run` to its end. */
  readonly runMs: number;
  /** The same once more, with everything in memory. */
  readonly againMs: number;
  /** From READY, when dockerd is started, to the end of `docker run`. */
  readonly fromReadyMs: number;
  readonly dockerdStartMs: number;
  /** Read from the preload disk from READY on, until `docker run` had ended. */
  readonly bytes: number;
}

const root = path.resolve(import.meta.dirname, '../..');
const DATA_ROOT_MB = 512;
const SECTOR_BYTES = 512;
const RECORDING = -1;
const LIMIT_MB = 512;

/**
 * The first `docker run` of an image on a cold disk, with and without reading ahead. Prints a table and returns it,
 * with each single figure.
 */
export async function benchFirstRun(options: FirstRunOptions): Promise<unknown> {
  await ensureDebianPackages(['e2fsprogs', 'gcc', 'libc6-dev'], { install: true });
  await buildExecutables(root, path.join(root, 'dist'));
  const tree = await tempTree('dpl-first');
  try {
    const bench = new FirstRunBench(
      tree.path,
      await dockerdTree('28.5'),
      await makeDataRoot(tree.path, { userLayers: 0, sizeMb: DATA_ROOT_MB }),
    );
    await bench.prepare(options);
    const runs: FirstRun[] = [];
    for (let round = 0; round < options.rounds; round += 1) {
      for (const dockerd of options.dockerds) {
        for (const image of options.images) {
          for (const speed of options.speeds) {
            // Who comes first changes from round to round.
            for (const readsAhead of round % 2 === 0 ? [false, true] : [true, false]) {
              const run = await bench.run({ image, speed, dockerd, readsAhead, round });
              console.error(
                `round ${round + 1} of ${options.rounds}: ${image}, ${speed}, dockerd ${dockerd}, ${readsAhead ? 'read ahead' : 'not read ahead'}: ${run.runMs.toFixed(0)} ms, again ${run.againMs.toFixed(0)} ms, dockerd's start ${run.dockerdStartMs.toFixed(0)} ms`,
              );
              runs.push(run);
            }
          }
        }
      }
    }
    const table = firstRunTable(runs);
    console.table(table);
    return { table, runs };
  } finally {
    await cleanUpAll();
  }
}

class FirstRunBench {
  readonly #temp: string;
  readonly #tree: DockerdTree;
  readonly #dataRoot: string;
  readonly #place: Place;
  readonly #executable = path.join(root, 'dist/bin/docker-preloader');

  constructor(temp: string, tree: DockerdTree, dataRoot: string) {
    this.#temp = temp;
    this.#tree = tree;
    this.#dataRoot = dataRoot;
    for (const dir of ['place', 'slow']) mkdirSync(path.join(temp, dir));
    this.#place = new Place(path.join(temp, 'place'), this.#file('stopwatch'));
  }

  #file(name: string): string {
    return path.join(this.#temp, name);
  }

  /** Makes the disks, and records what a run of each image reads. */
  async prepare({ images, largeMb }: FirstRunOptions): Promise<void> {
    for (const program of ['stopwatch', 'slow-disk']) {
      await execa('cc', [
        '-O2',
        '-Wall',
        '-Wextra',
        '-Werror',
        '-pthread',
        '-o',
        this.#file(program),
        path.join(import.meta.dirname, `${program}.c`),
      ]);
    }
    const system = this.#file('system');
    mkdirSync(system);
    for (const [name, folder] of Object.entries(this.#programs()))
      await execa('cp', ['-a', folder, path.join(system, name)]);
    await this.#makeDisk('system', system);
    for (const image of images) {
      const folder = this.#file(`image-${image}`);
      mkdirSync(folder);
      const archive = await imageArchive(image, folder, largeMb);
      const build = [
        'build',
        archive,
        '-o',
        this.#file(`${image}.ext4`),
        '--format',
        'raw',
        '--label',
        `${labelPrefix}${image.slice(0, 6)}`,
        '--quiet',
      ];
      await execa(this.#executable, build);
      await this.run({ image, speed: 'full', dockerd: 'warm', readsAhead: false, round: RECORDING });
      console.error((await execa(this.#executable, [...build, '--read-ahead', this.#list(image)])).stdout);
      await execa('rm', ['-r', folder]);
    }
  }

  /** The folders that dockerd's programs lie in; one has links into the other. */
  #programs(): { readonly packages: string; readonly tree: string } {
    return { packages: path.resolve(realpathSync(this.#tree.dockerd), '../../..'), tree: path.dirname(this.#tree.bin) };
  }

  async #makeDisk(name: string, folder: string): Promise<void> {
    const { stdout } = await execa('du', ['-s', '--block-size=1M', folder]);
    await execa('truncate', [
      '--size',
      `${Math.ceil(Number.parseInt(stdout, 10) * 1.2) + 64}M`,
      this.#file(`${name}.ext4`),
    ]);
    await execa('mke2fs', [
      '-q',
      '-F',
      '-t',
      'ext4',
      '-b',
      '4096',
      '-O',
      '^has_journal',
      '-d',
      folder,
      this.#file(`${name}.ext4`),
    ]);
    await execa('rm', ['-r', folder]);
  }

  /** A machine boots: the agent, dockerd, and the first `docker run`. */
  async run(one: Pick<FirstRun, 'image' | 'speed' | 'dockerd' | 'readsAhead' | 'round'>): Promise<FirstRun> {
    const { image, speed, readsAhead } = one;
    const place = this.#place;
    await place.boot(this.#dataRoot);
    const attach = (disk: string): Promise<LoopDevice> =>
      attachSlow(this.#file('slow-disk'), this.#file(`${disk}.ext4`), this.#file(`slow/${disk}`), speeds[speed]);
    const disk = await attach(image);
    const system = one.dockerd === 'cold' ? await attach('system') : undefined;
    try {
      if (system !== undefined) await this.#mountPrograms(system.device);
      const agent = await this.#startAgent(readsAhead ? LIMIT_MB : 0);
      const ready = agent.readyMs;
      const bytesAtReady = bytesRead(disk.device);
      const dockerd = await startDockerd({ version: '28.5', dataRoot: place.data });
      try {
        const dockerdStartMs = performance.now() - ready;
        const command = [
          this.#tree.cli,
          '--host',
          `unix://${dockerd.socket}`,
          'run',
          '--rm',
          '--network',
          'none',
          ...commands[image],
        ];
        const first = await place.time(command);
        // Throws where not all of the disk is in the store.
        place.agentTimings();
        const fromReadyMs = performance.now() - ready;
        const bytes = bytesRead(disk.device) - bytesAtReady;
        if (one.round === RECORDING) await this.#record(image);
        const again = await place.time(command);
        const took = (timed: Timed): number => (timed.endUsec - timed.startUsec) / 1000;
        return { ...one, runMs: took(first), againMs: took(again), fromReadyMs, dockerdStartMs, bytes };
      } finally {
        await dockerd.stop();
        await agent.stop();
      }
    } finally {
      await place.shutDown();
      await disk.detach();
      if (system !== undefined) {
        for (const folder of Object.values(this.#programs())) await unmountBelow(folder);
        await unmountBelow(this.#file('programs'));
        await system.detach();
      }
    }
  }

  /** Puts the cold programs where the warm ones are: this process has mounts of its own. */
  async #mountPrograms(device: string): Promise<void> {
    const mounted = this.#file('programs');
    await execa('mount', ['--mkdir', '-o', 'ro,noload', device, mounted]);
    for (const [name, folder] of Object.entries(this.#programs()))
      await execa('mount', ['--bind', path.join(mounted, name), folder]);
  }

  /** Starts the daemon and waits until it is READY. */
  async #startAgent(readAheadMb: number): Promise<{ readonly readyMs: number; stop(): Promise<void> }> {
    const config = this.#file('first-run.json');
    writeFileSync(
      config,
      JSON.stringify({ ...(JSON.parse(readFileSync(this.#place.config, 'utf8')) as object), readAheadMb }),
    );
    const socket = await notifySocket(this.#file('notify'));
    const daemon = execa(this.#executable, ['run', '--config', config], { env: { NOTIFY_SOCKET: socket.path } });
    const end = cleanUpLater('the agent', () => void daemon.kill());
    const ready = await Promise.race([socket.waitFor('READY=1'), daemon]);
    if (typeof ready !== 'number') throw new Error('expected READY=1 of the agent, but it ended');
    return {
      readyMs: ready,
      stop: async () => {
        await socket.close();
        await end();
        const { stderr } = await daemon;
        if (readAheadMb > 0 && !stderr.includes('are read ahead'))
          throw new Error(`expected reading ahead, found ${stderr}`);
      },
    };
  }

  #list(image: ImageName): string {
    return this.#file(`${image}.json`);
  }

  async #record(image: ImageName): Promise<void> {
    const { stdout } = await execa(this.#executable, ['record', '--config', this.#place.config]);
    writeFileSync(this.#list(image), stdout);
  }
}

function bytesRead(device: string): number {
  return (
    Number(
      readFileSync(`/sys/block/${path.basename(device)}/stat`, 'utf8')
        .trim()
        .split(/\s+/)[2],
    ) * SECTOR_BYTES
  );
}

/** Two rows for each case, with how many times as long `docker run` takes without reading ahead, round by round. */
function firstRunTable(runs: readonly FirstRun[]): Readonly<Record<string, string>>[] {
  return [...Map.groupBy(runs, ({ image, speed, dockerd }) => `${image}, ${speed}, dockerd ${dockerd}`)].flatMap(
    ([name, here]) =>
      [false, true].map((readsAhead) => {
        const own = here.filter((run) => run.readsAhead === readsAhead);
        const times = (of: (run: FirstRun) => number): string =>
          readsAhead
            ? spread(
                own.flatMap((run) =>
                  here
                    .filter((other) => other.round === run.round && !other.readsAhead)
                    .map((other) => of(other) / of(run)),
                ),
                2,
              )
            : '';
        return {
          case: name,
          'read ahead': readsAhead ? 'yes' : 'no',
          'docker run ms': spread(
            own.map((run) => run.runMs),
            0,
          ),
          'times sooner': times((run) => run.runMs),
          'from READY ms': spread(
            own.map((run) => run.fromReadyMs),
            0,
          ),
          'times sooner from READY': times((run) => run.fromReadyMs),
          'again ms': median(own.map((run) => run.againMs)).toFixed(0),
          'dockerd ms': median(own.map((run) => run.dockerdStartMs)).toFixed(0),
          'MB read': median(own.map((run) => run.bytes / 1e6)).toFixed(1),
        };
      }),
  );
}
