import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { hasContainerdLedger } from '../containerd/containerd-ledger.ts';
import type { Finding } from '../messages/finding.ts';
import { readDaemonConfig } from '../docker/daemon-config.ts';
import { PreloaderError } from '../system/errors.ts';
import { findProgram } from '../system/run-tool.ts';
import type { Config } from '../config/config.ts';
import { farmOf } from './fill-namespaces.ts';
import { storeIn } from './image-store.ts';
import { preload } from './preload.ts';
import { unmountDisks } from './present-mounts.ts';
import { chooseStores } from './which-stores.ts';
import { mayRun, withContainerd, type ContainerdSearch } from './with-containerd.ts';

/** What was taken out of a store. */
interface Unlinked {
  readonly steps: number;
  readonly findings: readonly Finding[];
  /** Labels of disks that something of the user's stands on. */
  readonly kept: ReadonlySet<string>;
}

const nothing: Unlinked = { steps: 0, findings: [], kept: new Set() };

/**
 * Takes out of the stores all that is ours and that nothing of the user's stands on, as if no disk were attached, and
 * unmounts the disks that nothing needs any more. dockerd's own store wants dockerd stopped, that of containerd wants
 * containerd running.
 * @throws PreloaderError DOCKER_RUNNING and others; the stores are then as they were, or containerd's is done
 */
export async function unlinkStores(
  config: Config,
): Promise<{ readonly steps: number; readonly findings: readonly Finding[] }> {
  const daemonConfig = await readDaemonConfig(config.dockerConfig);
  const dataRoot = config.dataRoot ?? daemonConfig.dataRoot;
  const store = storeIn(dataRoot);
  const isInContainerd = hasContainerdLedger(dataRoot);
  const isOverlay2 = store.hasOurs() || !isInContainerd;
  if (isOverlay2 && store.isDaemonRunning())
    throw new PreloaderError(
      'DOCKER_RUNNING',
      `dockerd is running on ${dataRoot}: expected a stopped one; run: systemctl stop docker.socket docker`,
    );
  const { namespaces } = await chooseStores(config, daemonConfig, dataRoot);
  const search = { config, daemon: daemonConfig, dataRoot };
  const asksContainerd = isInContainerd || (namespaces.length > 0 && mayRun(search));
  const ofContainerd = asksContainerd ? await unlinkContainerd(search) : nothing;
  const ofDocker = isOverlay2 && existsSync(dataRoot) ? await unlinkOverlay2(config, dataRoot) : nothing;
  const keep = new Set([...ofContainerd.kept, ...ofDocker.kept].map((label) => join(config.mountRoot, label)));
  const failures = unmountDisks(config.mountRoot, keep).map((failure): Finding => ({
    code: 'MOUNT_BUSY',
    message: `a disk stays mounted: ${failure}`,
  }));
  return {
    steps: ofContainerd.steps + ofDocker.steps,
    findings: [...ofContainerd.findings, ...ofDocker.findings, ...failures],
  };
}

async function unlinkOverlay2(config: Config, dataRoot: string): Promise<Unlinked> {
  const store = storeIn(dataRoot);
  // Only the disks can tell then which names are theirs. A run makes the ledger anew.
  if (store.hasLostLedger()) await preload(config, { wait: false, change: 'stopped', only: 'overlay2', quiet: true });
  const lock = await store.lock();
  try {
    store.clearUp();
    const planned = store.readLedger().planRemoval(config);
    const { steps, findings, kept } = planned.plan;
    planned.apply();
    return { steps: steps.length, findings, kept: new Set(kept.values()) };
  } finally {
    lock.release();
  }
}

/** Nobody can take anything out of the store of a containerd that was uninstalled, and nobody has a use for it. */
async function unlinkContainerd(search: ContainerdSearch): Promise<Unlinked> {
  const { config, dataRoot } = search;
  const program = config.containerdProgram ?? 'containerd';
  if (mayRun(search) || findProgram(program) !== undefined)
    return withContainerd(search, (address) => unlinkNamespaces(address, config, dataRoot));
  const message = `what was preloaded into containerd's store stays there: none runs, and there is no program '${program}'; delete the store's folder, or install containerd and run docker-preloader unlink again`;
  return { ...nothing, findings: [{ code: 'STORE_UNSUPPORTED', message }] };
}

async function unlinkNamespaces(address: string, config: Config, dataRoot: string): Promise<Unlinked> {
  const { fillContainerd } = await import('../containerd/fill-containerd.ts');
  const { plans, findings } = await fillContainerd({
    address,
    namespaces: config.namespaces,
    dataRoot,
    farmRoot: farmOf(config),
    disks: [],
    config,
    connectTimeoutMs: 1000,
    mode: 'unlink',
  });
  const kept = findings.filter(({ code }) => code === 'KEPT' || code === 'BUILD_CACHE');
  return {
    steps: plans.reduce((sum, { steps }) => sum + steps.length, 0),
    findings,
    kept: new Set(kept.flatMap(({ label }) => label ?? [])),
  };
}
