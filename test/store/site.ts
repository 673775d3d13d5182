import assert from 'node:assert/strict';
import { readdirSync, readFileSync } from 'node:fs';
import { mkdir, rm, writeFile } from 'node:fs/promises';
import path from 'node:path';
import type { StatusDocument } from '../../agent/status/schema.ts';
import { agent, type AgentResult } from '../support/agent.ts';
import { type Dockerd, type DockerdOptions, startDockerd, writeDockerdConfig } from '../support/dockerd.ts';
import type { DockerdVersion } from '../support/dockerd-version.ts';
import { attach, copyWithLabel, type LoopDevice } from '../support/loop-device.ts';
import { tempTree, unmountBelow } from '../support/temp-tree.ts';
import { readTree, type Tree } from '../support/tree.ts';

let sites = 0;

const nameOf = (disk: string): string => path.basename(disk, '.ext4');

/** One pretended guest: a data root, a dockerd, disks, and the agent's configuration, all private. */
export interface Site {
  readonly folder: string;
  readonly dataRoot: string;
  readonly mountRoot: string;
  /**
   * Attaches a copy of a disk under a label of this site's own. Later ones take precedence.
   * @param name what the label is made of and `detach` knows it by; the file's name where absent
   */
  attach(disk: string, name?: string): Promise<LoopDevice>;
  /**
   * Takes a disk away, mount and all, as when a VM is started without it.
   * @param disk the file or the name that it was attached by
   */
  detach(disk: string): Promise<void>;
  /** The label that a disk gets by its name here; `*` makes a glob for all of this site's. */
  labelOf(name: string): string;
  /** Sets further keys of the agent's configuration, in place of those that were set before. */
  configure(more: Readonly<Record<string, unknown>>): Promise<void>;
  /** Runs a command of the agent with this site's configuration. */
  agent(command: string, ...args: readonly string[]): Promise<AgentResult>;
  /** `agent('apply')` that must have exit status `expected`. */
  apply(expected?: number): Promise<AgentResult>;
  /** What the last run or daemon has left of its status. */
  status(): StatusDocument;
  start(options?: Pick<DockerdOptions, 'env' | 'extraConfig'>): Promise<Dockerd>;
  /** The layer folders that the store has, without `l`. */
  layerFolders(): string[];
  /** Everything in the data root: kind, mode, size, time and link target of each name. */
  snapshot(): Tree;
  remove(): Promise<void>;
}

/**
 * Makes a site for a dockerd version.
 * @param config further keys of the agent's configuration
 */
export async function makeSite(version: DockerdVersion, config: Readonly<Record<string, unknown>> = {}): Promise<Site> {
  const tree = await tempTree('dpl-site');
  const folder = tree.path;
  const dataRoot = path.join(folder, 'data');
  const mountRoot = path.join(folder, 'disks');
  const prefix = `t${process.pid.toString(36)}-${sites++}`;
  const attached = new Map<string, { readonly label: string; readonly loop: LoopDevice; readonly file: string }>();
  let further = config;
  const configFile = path.join(folder, 'config.json');
  await mkdir(dataRoot);
  const dockerConfig = await writeDockerdConfig({ dataRoot, folder });
  const writeConfig = (): Promise<void> =>
    writeFile(
      configFile,
      JSON.stringify(
        {
          labels: [...[...attached.values()].map(({ label }) => label), `${prefix}-none-*`],
          dataRoot,
          mountRoot,
          dockerConfig,
          statusSocket: path.join(folder, 'status/status.sock'),
          deviceTimeoutSec: 5,
          ...further,
        },
        undefined,
        2,
      ),
    );
  await writeConfig();

  const site: Site = {
    folder,
    dataRoot,
    mountRoot,
    attach: async (disk, name = nameOf(disk)) => {
      const label = site.labelOf(name);
      const copy = path.join(folder, `${name}.ext4`);
      await copyWithLabel(disk, copy, label);
      const loop = await attach(copy, { copy: true });
      attached.set(name, { label, loop, file: copy });
      await writeConfig();
      return loop;
    },
    detach: async (disk) => {
      const found = attached.get(nameOf(disk));
      assert.ok(found, `${disk} is not attached`);
      attached.delete(nameOf(disk));
      await writeConfig();
      await unmountBelow(path.join(mountRoot, found.label));
      await found.loop.detach();
      await rm(found.file);
    },
    labelOf: (name) => `${prefix}-${name}`,
    configure: (more) => {
      further = more;
      return writeConfig();
    },
    agent: (command, ...args) => agent([command, '--config', configFile, ...args]),
    apply: async (expected = 0) => {
      const result = await site.agent('apply');
      assert.equal(
        result.exitCode,
        expected,
        `apply: expected exit status ${expected}, got ${String(result.exitCode)}:\n${result.all}`,
      );
      return result;
    },
    status: () => JSON.parse(readFileSync(path.join(folder, 'status/status.json'), 'utf8')) as StatusDocument,
    start: (options = {}) => startDockerd({ version, dataRoot, folder, ...options }),
    layerFolders: () =>
      readdirSync(path.join(dataRoot, 'overlay2'))
        .filter((name) => name !== 'l')
        .sort(),
    snapshot: () => readTree(dataRoot, 'times'),
    remove: async () => {
      await unmountBelow(folder);
      for (const { loop } of attached.values()) await loop.detach();
      attached.clear();
      await tree.remove();
    },
  };
  return site;
}
