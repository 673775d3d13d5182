import assert from 'node:assert/strict';
import { copyFileSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { execa } from 'execa';
import { built } from '../../agent/packaging/build-program.ts';
import { loadImages, type ImageSpec } from '../boot/fake-store.ts';
import { attach } from '../support/loop-device.ts';
import { tempTree, unmountBelow } from '../support/temp-tree.ts';
import { differences, readTree, type Tree } from '../support/tree.ts';

const root = path.resolve(import.meta.dirname, '../..');

/** What a run has left and said, without what differs from run to run. */
export interface Outcome {
  readonly exitCode: number | undefined;
  /** On standard output, and on standard error. */
  readonly said: readonly [string, string];
  readonly status: unknown;
  readonly metrics: string;
  readonly store: Tree;
}

type Step = () => void | Promise<void>;

/** Two that are to do the same. */
interface Programs {
  readonly expected: string;
  readonly found: string;
  /** More of them for `apply`. */
  readonly options?: readonly string[];
}

/** A place in which `apply` is run by one of the two executables, and then by the other. */
export class TwoExecutables {
  readonly #folder: string;
  readonly #user: readonly ImageSpec[];
  readonly #programs: Programs;

  private constructor(folder: string, user: readonly ImageSpec[], programs?: Programs) {
    this.#folder = folder;
    this.#user = user;
    this.#programs = programs ?? this.#wholeAndSmall();
  }

  /**
   * @param user what is in the store before
   * @param programs by default the whole executable and the small one
   */
  static async in(name: string, user: readonly ImageSpec[], programs?: Programs): Promise<TwoExecutables> {
    return new TwoExecutables((await tempTree(name, 'in-memory')).path, user, programs);
  }

  /** The small one is alone, so that it cannot become the whole one. */
  #wholeAndSmall(): Programs {
    const found = this.at('docker-preloader');
    copyFileSync(path.join(root, 'dist', built.small), found);
    return { expected: path.join(root, 'dist', built.whole), found };
  }

  at(name: string): string {
    return path.join(this.#folder, name);
  }

  writeConfig(labels: readonly string[], more: object = {}): void {
    writeFileSync(
      this.at('config.json'),
      JSON.stringify({
        labels,
        dataRoot: this.at('data'),
        mountRoot: this.at('disks'),
        dockerConfig: this.at('daemon.json'),
        statusSocket: this.at('status/status.sock'),
        deviceTimeoutSec: 0,
        store: 'overlay2',
        ...more,
      }),
    );
  }

  /** Both executables do the same in the same steps. */
  async agree(steps: readonly Step[]): Promise<Outcome[]> {
    const expected = await this.#livesOf(this.#programs.expected, steps);
    const found = await this.#livesOf(this.#programs.found, steps);
    assert.equal(found.length, steps.length);
    for (const [index, one] of expected.entries()) {
      const other = found[index] ?? assert.fail();
      assert.deepEqual(differences(one.store, other.store), [], `run ${index + 1}`);
      assert.deepEqual(other, one, `run ${index + 1}`);
    }
    return found;
  }

  /** While the disks are attached. Their files are removed then. */
  async withDisks<Result>(files: readonly string[], work: () => Promise<Result>): Promise<Result> {
    const loops = [];
    try {
      for (const file of files) loops.push(await attach(file));
      return await work();
    } finally {
      await unmountBelow(this.at('disks'));
      for (const loop of loops) await loop.detach();
      for (const file of files) rmSync(file);
    }
  }

  /** Runs that follow each other, from a store as it was; with one of the two executables. */
  async #livesOf(program: string, steps: readonly Step[]): Promise<Outcome[]> {
    for (const name of ['data', 'status']) rmSync(this.at(name), { recursive: true, force: true });
    loadImages(this.at('data'), this.#user, 'user');
    const outcomes: Outcome[] = [];
    for (const step of steps) {
      await step();
      outcomes.push(await this.#applied(program));
    }
    await unmountBelow(this.at('disks'));
    return outcomes;
  }

  async #applied(program: string): Promise<Outcome> {
    const { exitCode, stdout, stderr } = await execa(
      program,
      ['apply', '--config', this.at('config.json'), ...(this.#programs.options ?? [])],
      { reject: false, stdin: 'ignore', timeout: 60_000 },
    );
    assert.notEqual(exitCode, 2, stderr);
    return {
      exitCode,
      said: [steady(stdout), steady(stderr)],
      status: steadyStatus(JSON.parse(readFileSync(this.at('status/status.json'), 'utf8'))),
      metrics: readFileSync(this.at('status/metrics.prom'), 'utf8').replaceAll(
        /(?<=_(?:seconds|usec)\b.*) [\d.e+]+$/gm,
        ' N',
      ),
      store: readTree(this.at('data')),
    };
  }
}

/** Times are never the same. */
const steady = (text: string): string => text.replaceAll(/\d+ ms\b/g, 'N ms');

function steadyStatus(value: unknown): unknown {
  return JSON.parse(JSON.stringify(value), (key, inner: unknown) =>
    /Usec$|Since$/.test(key) ? 0 : typeof inner === 'string' ? steady(inner) : inner,
  );
}
