import { existsSync, mkdirSync, readdirSync, readFileSync, readlinkSync, symlinkSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { execa } from 'execa';
import { build as buildExecutables, built } from '../../agent/packaging/build-program.ts';
import { Containerd } from '../../agent/containerd/api/containerd-api.ts';
import { cleanUpAll } from '../support/cleanup.ts';
import { startContainerd, type ContainerdProcess } from '../support/containerd.ts';
import { ensureDebianPackages } from '../support/debian-packages.ts';
import { startDockerd, type Dockerd } from '../support/dockerd.ts';
import { dockerdTree } from '../support/dockerd-version.ts';
import { attach } from '../support/loop-device.ts';
import { tempTree } from '../support/temp-tree.ts';
import { until } from '../support/until.ts';
import { labelPrefix, makeDisk } from './boot-fixtures.ts';
import { Place, type Timed, type TimedOptions } from './boot-place.ts';
import { attachCold, makeSystemDisk, throttledGroup, WHOLE_FROM_BIN } from './cold.ts';
import {
  containerdCases,
  type ContainerdCase,
  type ContainerdRival,
  type ContainerdVersion,
} from './containerd-cases.ts';
import { LARGE, largeImage, type LargeImage } from './containerd-disks.ts';
import type { ContainerdSample } from './containerd-report.ts';
import { recordCalls, type RecordedCall } from './recorded-calls.ts';

interface ContainerdOptions {
  readonly groups: readonly ContainerdCase['group'][];
  readonly versions: readonly ContainerdVersion[];
  readonly rounds: number;
  readonly sizeMb: number;
}

/** What the agent did: its calls, and the links that it made for blobs, which containerd looks for at once. */
interface Recorded {
  readonly file: string;
  readonly links: readonly (readonly [name: string, target: string])[];
}

const root = path.resolve(import.meta.dirname, '../..');
/** A containerd collects garbage 100 ms after its start. */
const SETTLE_MS = 300;
/** So long the daemon lives on after READY while containerd starts and is filled. */
const DAEMON_LIVES_MS = 2000;

/** Runs all cases, each round over all of them and each case with its rivals in turns. */
export async function benchContainerd(options: ContainerdOptions): Promise<ContainerdSample[]> {
  await ensureDebianPackages(['e2fsprogs', 'gcc', 'libc6-dev'], { install: true });
  await buildExecutables(root, path.join(root, 'dist'));
  const tree = await tempTree('dpl-ctd');
  try {
    const bench = new ContainerdBench(tree.path, options.sizeMb);
    await bench.prepare();
    const samples: ContainerdSample[] = [];
    const cases = containerdCases(options.groups, options.versions);
    for (let round = 0; round < options.rounds; round += 1)
      for (const one of cases) {
        const here = await bench.runCase(one, round);
        samples.push(...here);
        console.error(
          `round ${round + 1} of ${options.rounds}: ${one.name}: ${here
            .map(({ rival, milliseconds }) => `${rival} ${milliseconds.toFixed(0)}`)
            .join(', ')} ms`,
        );
      }
    return samples;
  } finally {
    await cleanUpAll();
  }
}

class ContainerdBench {
  readonly #temp: string;
  readonly #sizeMb: number;
  readonly #place: Place;
  readonly #executable = path.join(root, 'dist', built.small);
  readonly #made = new Map<string, Promise<string>>();
  #large: Promise<LargeImage> | undefined;

  constructor(temp: string, sizeMb: number) {
    this.#temp = temp;
    this.#sizeMb = sizeMb;
    mkdirSync(path.join(temp, 'place'));
    this.#place = new Place(path.join(temp, 'place'), path.join(temp, 'stopwatch'));
  }

  async prepare(): Promise<void> {
    const source = (name: string): string => path.join(import.meta.dirname, name);
    await execa('cc', ['-O2', '-Wall', '-Wextra', '-Werror', '-o', this.#file('stopwatch'), source('stopwatch.c')]);
    writeFileSync(this.#file('empty.mjs'), '');
    const bun = path.join(root, 'node_modules/@oven/bun-linux-x64-baseline/bin/bun');
    const compile = ['build', '--compile', '--bytecode', '--format=esm'];
    for (const [output, input] of [
      ['bare-bun', './empty.mjs'],
      ['bare-client', source('bare-client.ts')],
    ] as const)
      await execa(bun, [...compile, `--outfile=${output}`, input], { cwd: this.#temp });
  }

  #file(name: string): string {
    return path.join(this.#temp, name);
  }

  #make(key: string, make: () => Promise<string>): Promise<string> {
    const made = this.#made.get(key) ?? make();
    this.#made.set(key, made);
    return made;
  }

  #largeImage(): Promise<LargeImage> {
    return (this.#large ??= largeImage(this.#executable, this.#sizeMb));
  }

  async #disk({ images, layers }: ContainerdCase): Promise<string> {
    if (images === undefined) return (await this.#largeImage()).disk;
    return this.#make(`disk ${images} ${layers}`, () => {
      const folder = this.#file(`disk-${images}-${layers}`);
      mkdirSync(folder);
      return makeDisk(this.#executable, folder, { number: 0, images, layers, blobs: true });
    });
  }

  /** One ext4 with the programs and the archive. */
  async #systemDisk({ version, readAheadKb }: ContainerdCase): Promise<string> {
    const { archive } = await this.#largeImage();
    const { bin, cli } = await dockerdTree(version);
    const disk = await this.#make(`system ${version}`, () => {
      const folder = this.#file(`system-${version}`);
      mkdirSync(folder);
      return makeSystemDisk(folder, {
        'docker-preloader': this.#executable,
        [WHOLE_FROM_BIN]: path.join(root, 'dist', built.whole),
        'bare-bun': this.#file('bare-bun'),
        docker: cli,
        ctr: path.join(bin, 'ctr'),
        'image.tar': archive,
      });
    });
    return this.#make(
      `system device ${version} ${String(readAheadKb)}`,
      async () => (await attachCold(disk, readAheadKb)).device,
    );
  }

  async runCase(one: ContainerdCase, round: number): Promise<ContainerdSample[]> {
    const file = await this.#disk(one);
    const system = one.isCold ? await this.#systemDisk(one) : undefined;
    const loop = await (one.isCold ? attachCold(file, one.readAheadKb) : attach(file));
    const samples: ContainerdSample[] = [];
    try {
      const turn = round % one.rivals.length;
      const recorded = one.rivals.includes('bare client') ? await this.#record(one) : undefined;
      for (const rival of [...one.rivals.slice(turn), ...one.rivals.slice(0, turn)])
        samples.push(await this.#sample(one, rival, { round, device: loop.device, system, recorded }));
    } finally {
      await loop.detach();
    }
    return samples;
  }

  /** The agent's configuration. */
  #config(one: ContainerdCase, containerdAddress: string): string {
    const file = this.#file('containerd.json');
    const base = JSON.parse(readFileSync(this.#place.config, 'utf8')) as object;
    const labels = one.images === undefined ? [LARGE.label] : [`${labelPrefix}*`];
    writeFileSync(file, JSON.stringify({ ...base, labels, store: 'containerd', containerdAddress }));
    return file;
  }

  get #containerdFolder(): string {
    return path.join(path.dirname(this.#place.data), 'c');
  }

  async #startContainerd({ version }: ContainerdCase): Promise<ContainerdProcess> {
    const containerd = await startContainerd(version, this.#containerdFolder);
    await delay(SETTLE_MS);
    return containerd;
  }

  /** What `run` does before containerd starts: it mounts the disks, and makes the links to them. */
  async #runBefore(one: ContainerdCase, executable = this.#executable, options: TimedOptions = {}): Promise<void> {
    const config = this.#config(one, path.join(this.#containerdFolder, 'containerd.sock'));
    await this.#place.time([executable, 'run', '--config', config], options);
    this.#place.agentTimings();
  }

  /** Has the agent fill a containerd, and keeps what it asks for. */
  async #record(one: ContainerdCase): Promise<Recorded> {
    const place = this.#place;
    await place.boot(undefined);
    await this.#runBefore(one);
    const containerd = await this.#startContainerd(one);
    const socket = this.#file('recorder.sock');
    const recorder = await recordCalls(socket, containerd.address);
    try {
      await place.time([this.#executable, 'apply', '--only', 'containerd', '--config', this.#config(one, socket)]);
      place.agentTimings();
    } finally {
      await recorder.close();
      await containerd.end();
    }
    const blobs = path.join(containerd.root, 'io.containerd.content.v1.content/blobs/sha256');
    const links = readdirSync(blobs, { withFileTypes: true })
      .filter((entry) => entry.isSymbolicLink())
      .map(({ name }) => [name, readlinkSync(path.join(blobs, name))] as const);
    await place.shutDown();
    const calls: readonly RecordedCall[] = recorder.calls();
    const file = this.#file('calls.json');
    writeFileSync(file, JSON.stringify(calls));
    return { file, links };
  }

  async #sample(
    one: ContainerdCase,
    rival: ContainerdRival,
    {
      round,
      device,
      system,
      recorded,
    }: {
      readonly round: number;
      readonly device: string;
      readonly system: string | undefined;
      readonly recorded: Recorded | undefined;
    },
  ): Promise<ContainerdSample> {
    const place = this.#place;
    const { bin, cli } = await dockerdTree(one.version);
    await place.boot(undefined, system);
    let containerd: ContainerdProcess | undefined;
    let dockerd: Dockerd | undefined;
    try {
      const programs = system === undefined ? undefined : path.join(place.system, 'bin');
      const program = (name: string, warm: string): string =>
        programs === undefined ? warm : path.join(programs, name);
      const throttled =
        system === undefined ? {} : { group: await throttledGroup([system, device]), devices: [system, device] };
      const time = (command: readonly string[]): Promise<Timed> => place.time(command, throttled);
      const apply = (): Promise<Timed> =>
        time([
          program('docker-preloader', this.#executable),
          'apply',
          '--only',
          'containerd',
          '--config',
          this.#config(one, (containerd as ContainerdProcess).address),
        ]);
      const archive = (): Promise<string> => this.#largeImage().then((large) => program('image.tar', large.archive));
      const withDocker = async (): Promise<Dockerd> =>
        (dockerd = await startDockerd({
          version: one.version,
          dataRoot: place.data,
          folder: path.join(path.dirname(place.data), 'd'),
          extraConfig: {
            containerd: (containerd as ContainerdProcess).address,
            features: { 'containerd-snapshotter': true },
          },
        }));
      const dockersStart = async (before: () => Promise<unknown>): Promise<number> => {
        const start = performance.now();
        await before();
        await withDocker();
        return performance.now() - start;
      };

      if (rival === 'agent, second boot' || rival === 'agent again' || one.group === 'docker') {
        containerd = await this.#startContainerd(one);
        await apply();
        await containerd.stop();
        await containerd.end();
        await place.clearRun();
      }
      let daemon: Promise<void> | undefined;
      if (rival === 'agent after run' && one.isCold) {
        daemon = this.#runBefore(one, program('docker-preloader', ''), { ...throttled, settleMs: DAEMON_LIVES_MS });
        await until('READY', () => existsSync(path.join(place.run, 'status.json')));
      } else if (rival !== 'agent' && !one.isCold) await this.#runBefore(one);
      // At a boot it is filled as soon as it answers.
      containerd = await (daemon === undefined
        ? this.#startContainerd(one)
        : startContainerd(one.version, this.#containerdFolder));
      let timed: Timed | undefined;
      let milliseconds: number | undefined;
      switch (rival) {
        case 'agent':
        case 'agent after run':
        case 'agent, second boot':
          timed = await apply();
          await daemon;
          break;
        case 'agent again':
          await apply();
          timed = await apply();
          break;
        case 'bare client': {
          if (recorded === undefined) throw new Error('expected recorded calls, found none');
          const blobs = path.join(containerd.root, 'io.containerd.content.v1.content/blobs/sha256');
          mkdirSync(blobs, { recursive: true });
          for (const [name, target] of recorded.links) symlinkSync(target, path.join(blobs, name));
          const result = this.#file('bare-client.ms');
          timed = await time([this.#file('bare-client'), containerd.address, recorded.file, result]);
          milliseconds = Number(readFileSync(result, 'utf8'));
          break;
        }
        case 'bare Bun':
          timed = await time([program('bare-bun', this.#file('bare-bun'))]);
          break;
        case 'docker load': {
          const { socket } = await withDocker();
          timed = await time([
            program('docker', cli),
            '--host',
            `unix://${socket}`,
            'load',
            '--input',
            await archive(),
          ]);
          break;
        }
        case 'ctr images import':
          timed = await time([
            program('ctr', path.join(bin, 'ctr')),
            '--address',
            containerd.address,
            '--namespace',
            'moby',
            'images',
            'import',
            await archive(),
          ]);
          break;
        case 'dockerd':
          milliseconds = await dockersStart(() => Promise.resolve());
          break;
        case 'agent, then dockerd':
          milliseconds = await dockersStart(apply);
          break;
      }
      if (rival !== 'bare Bun') await this.#check(one, containerd);
      if (rival.startsWith('agent')) place.agentTimings();
      const { group, name, version, images, layers, isCold, readAheadKb } = one;
      return {
        group,
        case: name,
        version,
        images,
        layers,
        isCold,
        readAheadKb,
        rival,
        round,
        milliseconds: milliseconds ?? (timed === undefined ? Number.NaN : (timed.endUsec - timed.startUsec) / 1000),
        cpuMs: timed === undefined ? undefined : (timed.userUsec + timed.systemUsec) / 1000,
        bytesRead: timed?.bytesToReady,
      };
    } finally {
      await dockerd?.kill();
      await containerd?.end();
      await place.shutDown();
    }
  }

  /** Throws where not all images are listed. */
  async #check({ images }: ContainerdCase, { address }: ContainerdProcess): Promise<void> {
    const containerd = await Containerd.open(address, 10_000);
    try {
      const names = (await containerd.namespace('moby').images()).map(({ name }) => name);
      const isThere = images === undefined ? names.includes(`docker.io/${LARGE.tag}`) : names.length === images;
      if (!isThere)
        throw new Error(`expected ${images ?? 'the large one of the'} images, found ${names.join(', ') || 'none'}`);
    } finally {
      containerd.close();
    }
  }
}
