import { randomBytes } from 'node:crypto';
import { mkdirSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { connect, createServer, type AddressInfo } from 'node:net';
import path from 'node:path';
import { execa } from 'execa';
import { build as buildExecutables } from '../../agent/packaging/build-program.ts';
import { agent } from '../support/agent.ts';
import { cleanUpAll, cleanUpLater } from '../support/cleanup.ts';
import { ensureDebianPackages } from '../support/debian-packages.ts';
import { layerTar } from '../support/docker-archive.ts';
import { busyboxRoot } from '../support/images.ts';
import { attach } from '../support/loop-device.ts';
import { startRegistry } from '../support/registry.ts';
import { tempTree } from '../support/temp-tree.ts';
import { makeSite, type Site } from '../store/site.ts';
import { makeImage } from './build.ts';
import { median, spread } from './statistics.ts';

interface FleetOptions {
  /** How many guests, of each case. */
  readonly guests: readonly number[];
  readonly sizeMb: number;
  readonly rounds: number;
}

const ways = ['docker pull', 'pull, attach'] as const;
type Way = (typeof ways)[number];

/** One fleet, from the registry to a container of each guest that has run. */
interface FleetSample {
  readonly way: Way;
  readonly guests: number;
  readonly seconds: number;
  /** Of that, what is done once: the pull and the disk as a block device. */
  readonly onceSeconds: number;
  /** From the registry, by all. */
  readonly fetchedBytes: number;
  /** Of all guests, and the disk that they share. */
  readonly diskBytes: number;
}

/** What is at most fetched, of what so many `docker pull` fetch. */
const MOST = 1.5;
const IMAGE = 'bench:1';
const root = path.resolve(import.meta.dirname, '../..');

/**
 * Brings an image to fleets of guests, which are dockerds with a data root of their own each: by `docker pull` on each
 * of them, and by one `docker-preloader pull` and the disk attached to all.
 * @throws Error if the disk takes more bytes than it may
 */
export async function benchFleet({ guests, sizeMb, rounds }: FleetOptions): Promise<Record<string, unknown>> {
  await ensureDebianPackages(['skopeo', 'golang-github-containers-common', 'qemu-utils'], { install: true });
  await buildExecutables(root, path.join(root, 'dist'));
  const tree = await tempTree('dpl-fleet');
  try {
    const fleet = new FleetBench(tree.path);
    const prepared = await fleet.prepare(sizeMb);
    console.log(
      `an image of ${mb(prepared.imageBytes)} MB in ${mb(prepared.compressedBytes)} MB of a registry, its disk in ${mb(prepared.pushedBytes)} MB; build --compress --push once: ${prepared.buildSeconds.toFixed(1)} s`,
    );
    const samples: FleetSample[] = [];
    for (let round = 0; round < rounds; round += 1)
      for (const count of guests)
        for (const way of ways) {
          const sample = await fleet.run(way, count);
          samples.push(sample);
          console.error(
            `round ${round + 1} of ${rounds}: ${count} guests, ${way}: ${sample.seconds.toFixed(1)} s, ${mb(sample.fetchedBytes)} MB fetched, ${mb(sample.diskBytes)} MB on disk`,
          );
        }
    const table = fleetTable(samples);
    console.table(table);
    for (const count of guests) {
      const share = fetchedShare(samples, count);
      if (share > MOST / count)
        throw new Error(
          `${count} guests: expected at most ${(MOST / count).toFixed(3)} of the bytes of docker pull, found ${share.toFixed(3)}`,
        );
    }
    return { prepared, table, samples };
  } finally {
    await cleanUpAll();
  }
}

class FleetBench {
  readonly #folder: string;
  readonly #label = `fleet-${randomBytes(4).toString('hex')}`;
  #address = '';
  #fetched = (): number => 0;

  constructor(folder: string) {
    this.#folder = folder;
  }

  /** Puts image and disk into a registry. */
  async prepare(sizeMb: number): Promise<{
    readonly imageBytes: number;
    readonly compressedBytes: number;
    readonly pushedBytes: number;
    readonly buildSeconds: number;
  }> {
    for (const name of ['registry', 'image']) mkdirSync(this.#at(name));
    const busybox = this.#at('busybox.tar');
    writeFileSync(busybox, await layerTar(await busyboxRoot()));
    const { archive } = await makeImage(this.#at('image'), sizeMb, [busybox]);
    const registry = await startRegistry(this.#at('registry'));
    const pushed = (): Promise<number> => storedBytes(this.#at('registry/storage'));
    const image = `docker://${registry.address}/${IMAGE}`;
    await execa('skopeo', ['copy', '--quiet', '--dest-tls-verify=false', `docker-archive:${archive}`, image]);
    const compressedBytes = await pushed();
    const start = performance.now();
    const disk = ['--compress', '--label', this.#label];
    const push = ['--push', `docker://${registry.address}/disks/bench:1`, '--insecure'];
    const { exitCode, all } = await agent(['build', '--quiet', archive, ...disk, ...push]);
    if (exitCode !== 0) throw new Error(`expected build to push the disk, found:\n${all}`);
    const buildSeconds = (performance.now() - start) / 1000;
    const counted = await countingProxy(registry.address);
    this.#address = counted.address;
    this.#fetched = counted.bytes;
    const { size } = statSync(archive);
    rmSync(this.#at('image'), { recursive: true });
    return { imageBytes: size, compressedBytes, pushedBytes: (await pushed()) - compressedBytes, buildSeconds };
  }

  async run(way: Way, count: number): Promise<FleetSample> {
    const sites: Site[] = [];
    for (let index = 0; index < count; index += 1) sites.push(await makeSite('28.5', { labels: [this.#label] }));
    const own = this.#at('own');
    mkdirSync(own);
    const before = this.#fetched();
    const start = performance.now();
    const seconds = (): number => (performance.now() - start) / 1000;
    const detach = way === 'docker pull' ? undefined : await this.#attachPulled(path.join(own, 'disk.qcow2'));
    const onceSeconds = seconds();
    const image = way === 'docker pull' ? `${this.#address}/${IMAGE}` : IMAGE;
    const dockerds = await Promise.all(
      sites.map(async (site) => {
        if (way === 'pull, attach') await site.apply();
        const dockerd = await site.start();
        if (way === 'docker pull') await dockerd.cli(['pull', '--quiet', image]);
        await dockerd.cli(['run', '--rm', '--network', 'none', image, '/bin/true']);
        return dockerd;
      }),
    );
    const took = seconds();
    const fetchedBytes = this.#fetched() - before;
    let diskBytes = 0;
    for (const { dataRoot } of sites) diskBytes += await usedBytes(dataRoot);
    diskBytes += await usedBytes(own);
    for (const dockerd of dockerds) await dockerd.stop();
    for (const site of sites) await site.remove();
    await detach?.();
    rmSync(own, { recursive: true });
    return { way, guests: count, seconds: took, onceSeconds, fetchedBytes, diskBytes };
  }

  /**
   * A virtual machine has the qcow2 itself; here it has to be a block device, which costs time that a fleet does not
   * need.
   */
  async #attachPulled(disk: string): Promise<() => Promise<void>> {
    const name = `docker://${this.#address}/disks/bench:1`;
    const { exitCode, all } = await agent(['pull', '--quiet', name, '-o', disk, '--insecure']);
    if (exitCode !== 0) throw new Error(`expected pull to bring the disk, found:\n${all}`);
    const raw = this.#at('attached.raw');
    await execa('qemu-img', ['convert', '-O', 'raw', disk, raw]);
    return (await attach(raw, { copy: true })).detach;
  }

  #at(name: string): string {
    return path.join(this.#folder, name);
  }
}

/** Passes connections on, and counts what comes back. */
async function countingProxy(to: string): Promise<{ readonly address: string; readonly bytes: () => number }> {
  let bytes = 0;
  const { hostname, port } = new URL(`http://${to}`);
  const server = createServer((client) => {
    const there = connect(Number(port), hostname);
    there.on('data', ({ length }) => (bytes += length));
    for (const [one, other] of [
      [client, there],
      [there, client],
    ] as const) {
      one.pipe(other);
      one.on('error', () => other.destroy());
    }
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  cleanUpLater('the counting proxy', () => void server.close());
  return { address: `127.0.0.1:${(server.address() as AddressInfo).port}`, bytes: () => bytes };
}

/** What a folder takes, without what is mounted in it. */
async function usedBytes(folder: string): Promise<number> {
  const { stdout } = await execa('du', ['--summarize', '--one-file-system', '--block-size=1', folder]);
  return Number.parseInt(stdout, 10);
}

async function storedBytes(folder: string): Promise<number> {
  const { stdout } = await execa('du', ['--summarize', '--apparent-size', '--block-size=1', folder]);
  return Number.parseInt(stdout, 10);
}

function fetchedShare(samples: readonly FleetSample[], guests: number): number {
  const [all, one] = ways.map((way) => median(of(samples, way, guests).map(({ fetchedBytes }) => fetchedBytes)));
  return (one ?? Number.NaN) / (all ?? Number.NaN);
}

function of(samples: readonly FleetSample[], way: Way, guests: number): readonly FleetSample[] {
  return samples.filter((sample) => sample.way === way && sample.guests === guests);
}

function fleetTable(samples: readonly FleetSample[]): readonly Readonly<Record<string, string | number>>[] {
  const counts = [...new Set(samples.map(({ guests }) => guests))];
  return counts.flatMap((guests) =>
    ways.map((way) => {
      const list = of(samples, way, guests);
      const share = way === 'docker pull' ? '' : fetchedShare(samples, guests).toFixed(3);
      return {
        guests,
        way,
        seconds: spread(
          list.map(({ seconds }) => seconds),
          1,
        ),
        'of it once': way === 'docker pull' ? '' : median(list.map(({ onceSeconds }) => onceSeconds)).toFixed(1),
        'fetched MB': mb(median(list.map(({ fetchedBytes }) => fetchedBytes))),
        'of docker pull': share,
        'at most': way === 'docker pull' ? '' : (MOST / guests).toFixed(3),
        'on disk MB': mb(median(list.map(({ diskBytes }) => diskBytes))),
      };
    }),
  );
}

function mb(bytes: number): string {
  return (bytes / 1e6).toFixed(0);
}
