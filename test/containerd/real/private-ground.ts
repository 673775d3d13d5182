import assert from 'node:assert/strict';
import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { chmodSync, existsSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import {
  withPrivateContainerd,
  type PrivateContainerdOptions,
} from '../../../agent/containerd/private/private-containerd.ts';
import { Containerd } from '../../../agent/containerd/api/containerd-api.ts';
import { lockHolder } from '../../../agent/system/lock.ts';
import { dockerdTree, type DockerdVersion } from '../../support/dockerd-version.ts';
import { cleanUpLater } from '../../support/cleanup.ts';
import { killUsersOf } from '../../support/processes.ts';
import { mountsBelow, tempTree } from '../../support/temp-tree.ts';

const ENDS = ['SIGINT', 'SIGTERM', 'SIGHUP', 'SIGQUIT', 'exit'] as const;

export type Runtime = 'node' | 'bun';

/** A folder in which private containerds come and go, on a root that is another's in between. */
export class PrivateGround {
  readonly folder: string;
  readonly root: string;
  readonly program: string;
  readonly #remove: () => Promise<void>;
  readonly #listeners = listeners();

  private constructor(folder: string, root: string, program: string, remove: () => Promise<void>) {
    this.folder = folder;
    this.root = root;
    this.program = program;
    this.#remove = remove;
  }

  /** @param root of the containerd that it stands in for; by default one that startContainerd has in the folder */
  static async make(version: DockerdVersion, root?: string): Promise<PrivateGround> {
    const tree = await tempTree('dpl-own');
    const { bin, lib = '' } = await dockerdTree(version);
    const text = `LD_LIBRARY_PATH='${lib}' exec '${path.join(bin, 'containerd')}' "$@"`;
    const program = script(path.join(tree.path, 'containerd-program'), text);
    return new PrivateGround(tree.path, root ?? path.join(tree.path, 'containerd'), program, () => tree.remove());
  }

  get options(): PrivateContainerdOptions {
    return { root: this.root, program: this.program, runRoot: path.join(this.folder, 'run') };
  }

  private<Result>(
    work: Parameters<typeof withPrivateContainerd<Result>>[1],
    more: Partial<PrivateContainerdOptions> = {},
  ): Promise<Result> {
    return withPrivateContainerd({ ...this.options, ...more }, work);
  }

  /** A program in the place of containerd, as a script. `$@` has what containerd would get. */
  fake(text: string): string {
    return script(path.join(this.folder, 'fake'), text);
  }

  /** A process that has a private containerd until it is ended. @param holdMs undefined: for ever */
  async hold(runtime: Runtime, more: Partial<PrivateContainerdOptions> = {}): Promise<Holder> {
    const module = path.resolve(import.meta.dirname, '../../../agent/containerd/private/private-containerd.ts');
    const code = `const { withPrivateContainerd } = await import(${JSON.stringify(module)});
setInterval(() => {}, 1000);
console.log('begins');
await withPrivateContainerd(${JSON.stringify({ ...this.options, ...more })}, () => { console.log('has it'); return new Promise(() => {}); });`;
    const file = path.join(this.folder, 'hold.mjs');
    writeFileSync(file, code);
    const [program, ...args] =
      runtime === 'node'
        ? [process.execPath, '--disable-warning=ExperimentalWarning', file]
        : [path.resolve(import.meta.dirname, '../../../node_modules/@oven/bun-linux-x64-baseline/bin/bun'), file];
    const child = spawn(program, args, { stdio: ['ignore', 'pipe', 'inherit'] });
    // A test that fails leaves it, and it may stand still: this process would wait for it without end.
    cleanUpLater(`process ${child.pid}`, () => void child.kill('SIGKILL'));
    return new Holder(child);
  }

  /** The process of the private containerd that has the root's lock. */
  get holder(): string | undefined {
    return lockHolder(metadataOf(this.root));
  }

  /** Processes that were started for a private one. */
  processes(): string[] {
    const isOurs = (pid: string): boolean => /^\d+$/.test(pid) && commandOf(pid).includes(`${this.folder}/run/`);
    return readdirSync('/proc').filter(isOurs);
  }

  /** Whether the root is another's. A process that is dying has no command line any more, and still has the lock. */
  get isFree(): boolean {
    return this.processes().length === 0 && this.holder === undefined;
  }

  /** That nothing of a private containerd is there any more: no process, no lock, no file, no mount, no handler. */
  assertGone(): void {
    const run = path.join(this.folder, 'run');
    const places = existsSync(run) ? readdirSync(run).filter((name) => !name.endsWith('.lock')) : [];
    assert.deepEqual(
      [places, this.processes(), this.holder, mountsBelow(this.folder), listeners()],
      [[], [], undefined, [], this.#listeners],
    );
  }

  async remove(): Promise<void> {
    await killUsersOf(this.folder);
    await this.#remove();
  }
}

/** Who has a private containerd. */
class Holder {
  readonly process: ChildProcess;
  readonly ended: Promise<unknown[]>;
  #said = '';

  constructor(child: ChildProcess) {
    this.process = child;
    this.ended = once(child, 'exit');
    child.stdout?.on('data', (data: Buffer) => (this.#said += data.toString()));
  }

  async has(words: 'begins' | 'has it'): Promise<void> {
    while (!this.#said.includes(words)) {
      assert.equal(this.process.exitCode ?? this.process.signalCode, null);
      await delay(2);
    }
  }

  /** @returns how it ended */
  async end(signal: NodeJS.Signals): Promise<unknown> {
    this.process.kill(signal);
    const [code, name] = await this.ended;
    return name ?? code;
  }
}

function listeners(): number[] {
  return ENDS.map((name) => process.listenerCount(name));
}

function script(file: string, text: string): string {
  writeFileSync(file, `#!/bin/sh\n${text}\n`);
  chmodSync(file, 0o755);
  return file;
}

function commandOf(pid: string): string {
  try {
    return readFileSync(`/proc/${pid}/cmdline`, 'utf8');
  } catch {
    return '';
  }
}

export const metadataOf = (root: string): string => path.join(root, 'io.containerd.metadata.v1.bolt/meta.db');

export async function versionAt(address: string): Promise<string> {
  const containerd = await Containerd.open(address, 5_000);
  return containerd.version().finally(() => containerd.close());
}

/** How long something takes, in milliseconds; it may fail. */
export async function took(work: Promise<unknown>): Promise<number> {
  const start = performance.now();
  await work.catch(() => undefined);
  return performance.now() - start;
}
