import { chmodSync, existsSync, mkdirSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { execa } from 'execa';
import { build as buildExecutables, built } from '../../agent/packaging/build-program.ts';
import { cleanUpAll } from '../support/cleanup.ts';
import { ensureDebianPackages } from '../support/debian-packages.ts';
import { startDockerd, type Dockerd } from '../support/dockerd.ts';
import { dockerdTree } from '../support/dockerd-version.ts';
import { attach } from '../support/loop-device.ts';
import { makeKey, publicLine } from '../support/signing-key.ts';
import { tempTree, unmountBelow } from '../support/temp-tree.ts';
import { bootCases, type BootCase, type RivalName } from './boot-cases.ts';
import { labelPrefix, makeDataRoot, makeDisk, packStore } from './boot-fixtures.ts';
import { checkFloor, writeFloorList } from './boot-floor.ts';
import { mountCopy, Place, type Timed } from './boot-place.ts';
import type { Sample } from './boot-report.ts';
import { makeImage } from './build.ts';
import { attachCold, makeSystemDisk, throttledGroup, WHOLE_FROM_BIN } from './cold.ts';

export interface BootOptions {
  readonly groups: readonly string[];
  readonly quick: boolean;
  readonly rounds: number;
  readonly loadMb: number;
}

const root = path.resolve(import.meta.dirname, '../..');
const SETTLE_MS = 1500;
const DATA_ROOT_MB = 512;
const LOAD_DATA_ROOT_MB = 6144;

/** Runs all cases, each round over all of them and each case with its rivals in turns. */
export async function benchBoot(options: BootOptions): Promise<Sample[]> {
  await ensureDebianPackages(
    ['e2fsprogs', 'gcc', 'libc6-dev', 'rsync', 'jq', 'zstd', 'lz4', 'diffutils', 'findutils', 'openssh-client'],
    { install: true },
  );
  await buildExecutables(root, path.join(root, 'dist'));
  const tree = await tempTree('dpl-boot');
  try {
    const bench = new BootBench(tree.path, options.loadMb);
    await bench.prepare();
    const samples: Sample[] = [];
    const cases = bootCases(options.groups, options.quick);
    for (let round = 0; round < options.rounds; round += 1) {
      for (const one of cases) {
        samples.push(...(await bench.runCase(one, round)));
        console.error(
          `round ${round + 1} of ${options.rounds}: ${one.name}: ${samples
            .filter((sample) => sample.case === one.name && sample.round === round)
            .map((sample) => `${sample.rival} ${sample.milliseconds.toFixed(0)}`)
            .join(', ')} ms`,
        );
      }
    }
    return samples;
  } finally {
    await cleanUpAll();
  }
}

class BootBench {
  readonly #temp: string;
  readonly #loadMb: number;
  readonly #place: Place;
  readonly #executable = path.join(root, 'dist', built.small);
  readonly #whole = path.join(root, 'dist', built.whole);
  readonly #made = new Map<string, Promise<string>>();
  #loadImage: Promise<{ readonly archive: string; readonly disk: string }> | undefined;
  #dockerd: { readonly dockerd: Dockerd; readonly cli: string } | undefined;

  constructor(temp: string, loadMb: number) {
    this.#temp = temp;
    this.#loadMb = loadMb;
    mkdirSync(path.join(temp, 'place'));
    this.#place = new Place(path.join(temp, 'place'), path.join(temp, 'stopwatch'));
  }

  async prepare(): Promise<void> {
    for (const program of ['stopwatch', 'floor'])
      await execa('cc', [
        '-O2',
        '-Wall',
        '-Wextra',
        '-Werror',
        '-o',
        path.join(this.#temp, program),
        path.join(import.meta.dirname, `${program}.c`),
      ]);
    writeFileSync(path.join(this.#temp, 'empty.mjs'), '');
    const bun = path.join(root, 'node_modules/@oven/bun-linux-x64-baseline/bin/bun');
    await execa(bun, ['build', '--compile', '--bytecode', '--format=esm', '--outfile=bare-bun', './empty.mjs'], {
      cwd: this.#temp,
    });
    for (const script of ['recipe-2018.sh', '../store/fill-store.sh']) {
      await execa('cp', [path.join(import.meta.dirname, script), this.#temp]);
      chmodSync(path.join(this.#temp, path.basename(script)), 0o755);
    }
  }

  #make(key: string, make: () => Promise<string>): Promise<string> {
    const made = this.#made.get(key) ?? make();
    this.#made.set(key, made);
    return made;
  }

  async #diskFiles({ group, disks, images, layers }: BootCase): Promise<string[]> {
    if (group === 'load') return [(await this.#bigImage()).disk];
    const files: string[] = [];
    for (let number = 0; number < disks; number += 1) {
      files.push(
        await this.#make(`disk ${number} ${images} ${layers}`, async () => {
          const folder = path.join(this.#temp, `disks-${images}-${layers}`);
          mkdirSync(folder, { recursive: true });
          return makeDisk(this.#executable, folder, { number, images, layers, key: await this.#key() });
        }),
      );
    }
    return files;
  }

  async #bigImage(): Promise<{ readonly archive: string; readonly disk: string }> {
    this.#loadImage ??= (async () => {
      const folder = path.join(this.#temp, 'load');
      mkdirSync(folder);
      const { archive } = await makeImage(folder, this.#loadMb);
      const disk = path.join(folder, 'disk.ext4');
      await execa(this.#executable, [
        'build',
        archive,
        '-o',
        disk,
        '--format',
        'raw',
        '--label',
        `${labelPrefix}load`,
        '--quiet',
      ]);
      return { archive, disk };
    })();
    return this.#loadImage;
  }

  async runCase(one: BootCase, round: number): Promise<Sample[]> {
    const files = await this.#diskFiles(one);
    const samples: Sample[] = [];
    const loops = await Promise.all(
      files.map((file) => (one.isCold ? attachCold(file, one.readAheadKb) : attach(file))),
    );
    const devices = loops.map((loop) => loop.device);
    try {
      const system = one.isCold
        ? await this.#make(
            `system device ${String(one.readAheadKb)}`,
            async () =>
              (await attachCold(await this.#make('system disk', () => this.#systemDisk()), one.readAheadKb)).device,
          )
        : undefined;
      // Who comes first changes from round to round.
      const turn = round % one.rivals.length;
      const order = [...one.rivals.slice(turn), ...one.rivals.slice(0, turn)];
      await this.#needFloorList(one, devices);
      if (one.rivals.includes('agent, pinned')) {
        this.#place.pin(await Promise.all(files.map((file) => this.#pinOf(file))));
        this.#place.trust(publicLine(await this.#key()));
      }
      for (const rival of order) samples.push(await this.#sample(one, rival, round, devices, system));
    } finally {
      for (const loop of loops) await loop.detach();
    }
    return samples;
  }

  /** A key that signs the disks. */
  #key(): Promise<string> {
    return this.#make('key', () => Promise.resolve(makeKey(path.join(this.#temp, 'key'))));
  }

  async #pinOf(disk: string): Promise<string> {
    const { label, manifest } = JSON.parse((await execa(this.#executable, ['inspect', '--json', disk])).stdout) as {
      readonly label: string;
      readonly manifest: { readonly digest: string };
    };
    return `${label}@${manifest.digest}`;
  }

  async #systemDisk(): Promise<string> {
    const which = async (name: string): Promise<string> => (await execa('which', [name])).stdout;
    const tools = ['bash', 'mkdir', 'mount', 'find', 'ln', 'cp', 'rsync', 'jq', 'mv'];
    const folder = path.join(this.#temp, 'system-disk');
    mkdirSync(folder);
    return makeSystemDisk(folder, {
      ...Object.fromEntries(await Promise.all(tools.map(async (tool) => [tool, await which(tool)] as const))),
      'docker-preloader': this.#executable,
      [WHOLE_FROM_BIN]: this.#whole,
      'config.json': this.#place.config,
      floor: path.join(this.#temp, 'floor'),
      'bare-bun': path.join(this.#temp, 'bare-bun'),
      node: process.execPath,
      'recipe-2018.sh': path.join(this.#temp, 'recipe-2018.sh'),
      'empty.mjs': path.join(this.#temp, 'empty.mjs'),
    });
  }

  #dataRootOf(one: BootCase): Promise<string> {
    const sizeMb = one.group === 'load' ? LOAD_DATA_ROOT_MB : DATA_ROOT_MB;
    return this.#make(`data ${one.userLayers} ${sizeMb}`, () =>
      makeDataRoot(this.#temp, { userLayers: one.userLayers, sizeMb }),
    );
  }

  #floorList(one: BootCase): string {
    return path.join(this.#temp, `floor-${one.disks}-${one.images}-${one.layers}${one.isCold ? '-cold' : ''}`);
  }

  /**
   * Lists what the agent does, and checks that the C program then makes the same. Devices may change from round to
   * round.
   */
  async #needFloorList(one: BootCase, devices: readonly string[]): Promise<void> {
    if (!one.rivals.includes('floor in C')) return;
    const place = this.#place;
    const list = this.#floorList(one);
    await place.boot(await this.#dataRootOf(one));
    const copy = path.join(this.#temp, 'agent-root');
    try {
      await place.time([this.#executable, 'run', '--config', place.config]);
      writeFloorList(
        place.data,
        await Promise.all(
          devices.map(async (device) => ({
            device,
            mountPoint: (
              await execa('findmnt', ['--noheadings', '--output', 'TARGET', '--source', device])
            ).stdout.trim(),
          })),
        ),
        list,
      );
      if (!this.#made.has(list)) await execa('cp', ['-a', place.data, copy]);
    } finally {
      await place.shutDown();
    }
    if (this.#made.has(list)) return;
    this.#made.set(list, Promise.resolve(list));
    await place.boot(await this.#dataRootOf(one));
    await place.time([path.join(this.#temp, 'floor'), list]);
    await checkFloor(copy, place.data);
    await place.shutDown();
    await execa('rm', ['-rf', copy]);
  }

  async #sample(
    one: BootCase,
    rival: RivalName,
    round: number,
    devices: readonly string[],
    system: string | undefined,
  ): Promise<Sample> {
    if (rival === 'docker load') return this.#toSample(one, rival, round, await this.#timeDockerLoad(one));
    const place = this.#place;
    await place.boot(await this.#dataRootOf(one), system);
    try {
      const programs = system === undefined ? this.#temp : path.join(place.system, 'bin');
      const agent = system === undefined ? this.#executable : path.join(programs, 'docker-preloader');
      const config = system === undefined ? place.config : path.join(programs, 'config.json');
      const whole = system === undefined ? this.#whole : path.join(programs, WHOLE_FROM_BIN);
      const run = [agent, 'run', '--config', config];
      if (rival === 'agent, second boot' || rival === 'agent, nothing to do') {
        // Until the store is synced; then the machine is started again. What is to be cold stays so.
        await place.time([this.#executable, 'run', '--config', place.config], { settleMs: SETTLE_MS });
        await place.clearRun();
      }
      const packed = rival.startsWith('tar') ? await this.#packed(one, devices) : { zstd: '', lz4: '' };
      const untar = (program: string, file: string): string[] => [
        'tar',
        '--extract',
        '--xattrs',
        '--use-compress-program',
        program,
        '--file',
        file,
        '--directory',
        place.data,
      ];
      const commands: Readonly<Record<Exclude<RivalName, 'docker load'>, readonly string[]>> = {
        agent: run,
        'agent, second boot': run,
        'agent after READY': run,
        'agent, pinned': [agent, 'run', '--config', place.pinnedConfig],
        'agent, signed': [agent, 'run', '--config', place.signedConfig],
        'agent, apply': [agent, 'apply', '--config', config],
        'agent, nothing to do': [agent, 'apply', '--config', config],
        'whole agent': [whole, 'run', '--config', config],
        'recipe of 2018': ['bash', path.join(programs, 'recipe-2018.sh'), place.data, place.disks, ...devices],
        'recipe by layers': ['bash', path.join(programs, 'fill-store.sh'), place.data, place.disks, ...devices],
        'floor in C': [path.join(programs, 'floor'), this.#floorList(one)],
        'tar zstd': untar('zstd', packed.zstd),
        'tar lz4': untar('lz4', packed.lz4),
        'bare Bun': [path.join(programs, 'bare-bun')],
        'bare Node': [
          system === undefined ? process.execPath : path.join(programs, 'node'),
          path.join(programs, 'empty.mjs'),
        ],
      };
      if (rival.startsWith('tar')) mkdirSync(place.data);
      const isAgent = rival.startsWith('agent') || rival === 'whole agent';
      const timed = await place.time(commands[rival], {
        settleMs: rival === 'agent after READY' ? SETTLE_MS : 0,
        env: system === undefined ? {} : { PATH: programs, LD_LIBRARY_PATH: path.join(place.system, 'lib') },
        ...(system === undefined
          ? {}
          : { group: await throttledGroup([system, ...devices]), devices: [system, ...devices] }),
      });
      return {
        ...this.#toSample(one, rival, round, timed),
        ...(isAgent ? { agent: place.agentTimings() } : {}),
      };
    } finally {
      await place.shutDown();
    }
  }

  #toSample(one: BootCase, rival: RivalName, round: number, timed: Timed): Sample {
    const { group, disks, images, layers, userLayers, isCold } = one;
    return {
      ...timed,
      group,
      case: one.name,
      disks,
      images,
      layers,
      userLayers,
      isCold,
      rival,
      round,
      milliseconds: ((timed.readyUsec > 0 ? timed.readyUsec : timed.endUsec) - timed.startUsec) / 1000,
    };
  }

  async #packed(one: BootCase, devices: readonly string[]): Promise<{ readonly zstd: string; readonly lz4: string }> {
    const folder = path.join(this.#temp, `packed-${one.group === 'load' ? 'load' : `${one.images}-${one.layers}`}`);
    if (existsSync(folder))
      return { zstd: path.join(folder, 'store.tar.zst'), lz4: path.join(folder, 'store.tar.lz4') };
    mkdirSync(folder);
    const mounted = path.join(folder, 'disk');
    mkdirSync(mounted);
    await execa('mount', ['-o', 'ro,noload', devices[0] ?? '', mounted]);
    const files = await packStore(mounted, folder);
    await unmountBelow(mounted);
    return files;
  }

  /** The image is removed again, so that each time loads all of it. */
  async #timeDockerLoad(one: BootCase): Promise<Timed> {
    const { archive } = await this.#bigImage();
    const folder = path.join(this.#temp, 'dockerd');
    if (this.#dockerd === undefined) {
      mkdirSync(path.join(folder, 'data'), { recursive: true });
      await mountCopy(await this.#dataRootOf(one), path.join(folder, 'data.ext4'), path.join(folder, 'data'));
      this.#dockerd = {
        dockerd: await startDockerd({ version: '28.5', dataRoot: path.join(folder, 'data/docker') }),
        cli: (await dockerdTree('28.5')).cli,
      };
    }
    const { dockerd, cli } = this.#dockerd;
    const timed = await this.#place.time([cli, '--host', `unix://${dockerd.socket}`, 'load', '--input', archive]);
    await dockerd.cli(['rmi', '--force', 'bench:1']);
    return timed;
  }
}
