import { existsSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { rm, writeFile } from 'node:fs/promises';
import path from 'node:path';
import { execa } from 'execa';
import { agent, type AgentResult } from '../support/agent.ts';
import { type Dockerd, startDockerd, writeDockerdConfig } from '../support/dockerd.ts';
import { buildImage } from '../support/images.ts';
import { attach, copyWithLabel, type LoopDevice } from '../support/loop-device.ts';
import { unmountBelow, tempTree } from '../support/temp-tree.ts';
import { type Content, safetyContent } from './content.ts';
import { userPartOf, type UserPart } from './store-invariants.ts';

/** What the agent meets: a store as it was before, and which disk there is now. */
export interface Scenario {
  readonly name: 'first boot' | 'upgrade' | 'detach' | 'same disk';
  readonly prepared: string;
  readonly disk: keyof Pick<Content, 'disk' | 'upgrade'> | undefined;
  readonly user: UserPart;
  /** Names of containers. */
  readonly containers: readonly string[];
}

/** A volume of a user's container, and what is in it. */
const VOLUME = { name: 'precious', content: 'of the user\n' };

/** A pretended guest whose store is set back to a scenario's as often as wanted. */
export class Bench {
  readonly folder: string;
  readonly dataRoot: string;
  readonly config: string;
  readonly #mountRoot: string;
  readonly #label = `s${process.pid.toString(36)}-d`;
  #attached: { readonly disk: string; readonly loop: LoopDevice } | undefined;
  readonly remove: () => Promise<void>;

  private constructor(folder: string, remove: () => Promise<void>) {
    this.folder = folder;
    this.dataRoot = path.join(folder, 'data');
    this.config = path.join(folder, 'config.json');
    this.#mountRoot = path.join(folder, 'disks');
    this.remove = remove;
  }

  static async make(): Promise<Bench> {
    const tree = await tempTree('dpl-safety', 'in-memory');
    const bench = new Bench(tree.path, () => tree.remove());
    const dockerConfig = await writeDockerdConfig({ dataRoot: bench.dataRoot, folder: bench.folder });
    await writeFile(
      bench.config,
      JSON.stringify({
        labels: [`${bench.#label}*`],
        dataRoot: bench.dataRoot,
        mountRoot: bench.#mountRoot,
        dockerConfig,
        statusSocket: path.join(bench.folder, 'status/status.sock'),
        deviceTimeoutSec: 5,
      }),
    );
    return bench;
  }

  /** Attaches a disk in place of what is attached, or nothing. */
  async attach(disk: string | undefined): Promise<void> {
    if (this.#attached?.disk === disk) return;
    await unmountBelow(this.#mountRoot);
    await this.#detach();
    if (disk === undefined) return;
    const copy = path.join(this.folder, 'disk.ext4');
    await copyWithLabel(disk, copy, this.#label);
    this.#attached = { disk, loop: await attach(copy) };
  }

  async #detach(): Promise<void> {
    if (this.#attached === undefined) return;
    const { device } = this.#attached.loop;
    await this.#attached.loop.detach();
    this.#attached = undefined;
    // Whoever looks at all devices just now, or has a copy of our mounts in a namespace of his own, keeps it for a
    // while.
    const isInUse = (): boolean =>
      existsSync(`/sys/block/${path.basename(device)}/loop/backing_file`) &&
      readFileSync(`/sys/block/${path.basename(device)}/loop/backing_file`, 'utf8').startsWith(this.folder);
    for (let tries = 0; isInUse(); tries += 1) {
      if (tries === 600) throw new Error(`${device}: expected to be free within 30 s of its detachment`);
      await new Promise((resolve) => setTimeout(resolve, 50));
    }
  }

  /** Sets the store back to how it was, as after a boot: nothing is left in the runtime folder. */
  async restore(prepared: string): Promise<void> {
    await unmountBelow(this.dataRoot);
    await rm(this.dataRoot, { recursive: true, force: true });
    await rm(path.join(this.folder, 'status'), { recursive: true, force: true });
    await execa('cp', ['-a', '--reflink=auto', prepared, this.dataRoot]);
  }

  async keep(name: string): Promise<string> {
    const copy = path.join(this.folder, name);
    await rm(copy, { recursive: true, force: true });
    await execa('cp', ['-a', '--reflink=auto', this.dataRoot, copy]);
    return copy;
  }

  /** `apply` as at the next boot. */
  async apply(): Promise<AgentResult> {
    await rm(path.join(this.folder, 'status'), { recursive: true, force: true });
    const result = await agent(['apply', '--config', this.config]);
    if (result.exitCode !== 0 && result.exitCode !== 3)
      throw new Error(`apply: expected exit status 0 or 3, found ${String(result.exitCode)}: ${result.all}`);
    return result;
  }

  /** Its own folder each time: of a killed dockerd, containerd's pid file would be in the way. */
  start(): Promise<Dockerd> {
    return startDockerd({ version: '20.10', dataRoot: this.dataRoot });
  }
}

/** Makes the scenarios' stores with a real dockerd. */
export async function makeScenarios(
  bench: Bench,
): Promise<{ readonly content: Content; readonly scenarios: readonly Scenario[] }> {
  const content = await safetyContent();
  const first = await fresh(bench, content);
  const used = await inUse(bench, content);
  const firstUser = { user: userPartOf(first, ['mine:1', 'app:1', 'base:1']), containers: ['keeper'] };
  const usedUser = { user: userPartOf(used, ['built:1', 'own/tag:1']), containers: ['stander'] };
  return {
    content,
    scenarios: [
      { name: 'first boot', prepared: first, disk: 'disk', ...firstUser },
      { name: 'upgrade', prepared: used, disk: 'upgrade', ...usedUser },
      { name: 'detach', prepared: used, disk: undefined, ...usedUser },
      { name: 'same disk', prepared: used, disk: 'disk', ...usedUser },
    ],
  };
}

/** A store that never had a disk: the user's images, one of which a disk also has, and a container with a volume. */
async function fresh(bench: Bench, content: Content): Promise<string> {
  mkdirSync(bench.dataRoot);
  const dockerd = await bench.start();
  await dockerd.cli(['load', '--input', content.userArchive]);
  await dockerd.cli([
    'create',
    '--name',
    'keeper',
    '--network',
    'none',
    '--volume',
    `${VOLUME.name}:/volume`,
    'mine:1',
    'sh',
  ]);
  return settle(bench, dockerd, 'prepared-first');
}

/**
 * A store with a disk in it that the user works on: an image built on a preloaded one, a tag, a container with a
 * volume.
 */
async function inUse(bench: Bench, content: Content): Promise<string> {
  await rm(bench.dataRoot, { recursive: true });
  await bench.attach(content.disk);
  mkdirSync(bench.dataRoot);
  await bench.apply();
  const dockerd = await bench.start();
  await buildImage(dockerd, 'built:1', 'FROM multi:1\nCOPY built /built\n', 'classic', { built: 'built\n' });
  await dockerd.cli(['tag', 'app:1', 'own/tag:1']);
  await dockerd.cli([
    'create',
    '--name',
    'stander',
    '--network',
    'none',
    '--volume',
    `${VOLUME.name}:/volume`,
    'tool:1',
    'sh',
  ]);
  return settle(bench, dockerd, 'prepared-used');
}

async function settle(bench: Bench, dockerd: Dockerd, name: string): Promise<string> {
  writeFileSync(path.join(bench.dataRoot, 'volumes', VOLUME.name, '_data/file'), VOLUME.content);
  await dockerd.stop();
  return bench.keep(name);
}

/** Starts dockerd on the store as it is, and tells what of the user's is not there. */
export async function dockerdProblems(bench: Bench, { user, containers }: Scenario): Promise<string[]> {
  const problems: string[] = [];
  const dockerd = await bench.start();
  try {
    const images = new Map(
      (await dockerd.cli(['images', '--no-trunc', '--format', '{{.Repository}}:{{.Tag}} {{.ID}}']))
        .split('\n')
        .map((line) => line.split(' ') as [string, string]),
    );
    for (const [name, id] of user.references)
      if (images.get(name) !== id) problems.push(`image ${name}: expected ${id}, found ${images.get(name) ?? 'none'}`);
    const found = (await dockerd.cli(['ps', '--all', '--format', '{{.Names}}'])).split('\n');
    for (const name of containers) if (!found.includes(name)) problems.push(`container ${name} is gone`);
    await dockerd.cli(['volume', 'prune', '--force']);
    const file = path.join(bench.dataRoot, 'volumes', VOLUME.name, '_data/file');
    try {
      if (readFileSync(file, 'utf8') !== VOLUME.content) problems.push(`${file}: has other content`);
    } catch (error) {
      problems.push(`volume ${VOLUME.name}: ${String(error)}`);
    }
  } finally {
    await dockerd.kill();
  }
  return problems;
}
