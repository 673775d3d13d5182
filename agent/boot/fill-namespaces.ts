import { existsSync } from 'node:fs';
import type { Config } from '../config/config.ts';
import type { ContainerdFill } from '../containerd/fill-containerd.ts';
import { fillFarm, offerDisk, type OfferedDisk } from '../containerd/namespace-offer.ts';
import type { NamespacePlan } from '../containerd/plan/plan-namespace.ts';
import type { DiskContent } from '../disk/read-disk.ts';
import type { Finding } from '../messages/finding.ts';
import { runtimePath } from '../config/config.ts';
import { listNames, plural } from '../text/plural.ts';
import { failureOf } from './fill-store.ts';
import type { DaemonConfig } from '../docker/daemon-config.ts';
import type { LoadedDisk } from './loaded-disk.ts';
import type { Phase } from './timings.ts';
import { runningContainerd, withContainerd } from './with-containerd.ts';

export interface NamespacesInput {
  readonly config: Config;
  readonly daemon: DaemonConfig;
  readonly dataRoot: string;
  readonly namespaces: readonly string[];
  /** `farm`: only what the links of its store lead to, where containerd does not run yet. */
  readonly change: 'never' | 'farm' | 'all';
  /** Names that a prune has taken: they do not count as removed. */
  readonly pruned?: ReadonlySet<string>;
  /** Is told of each phase. */
  readonly begin: (phase: Phase, status: string) => void;
}

/** What became of the namespaces of a containerd. */
export interface NamespacesFilled {
  readonly address: string;
  readonly namespaces: readonly string[];
  /** `waiting`: containerd does not run yet. `failed`: the findings say why. */
  readonly state: 'filled' | 'planned' | 'waiting' | 'failed';
  /** containerd's version. Undefined if it did not answer. */
  readonly version: string | undefined;
  /** What there was to do in each namespace. */
  readonly plans: readonly NamespacePlan[];
  /** How many of the links were to be changed by which its store leads to the disks. */
  readonly farmChanges: number;
  readonly findings: readonly Finding[];
}

/** How long containerd may take to answer before Docker starts. A mere look gives it less. */
const CONNECT_MS = 5000;
const LOOK_MS = 1000;

/** Fills the namespaces of a containerd, as far as it may be changed. What goes wrong is a finding. */
export async function fillNamespaces(
  disks: readonly LoadedDisk[],
  { config, daemon, dataRoot, namespaces, change, pruned, begin }: NamespacesInput,
): Promise<NamespacesFilled> {
  const search = { config, daemon, dataRoot };
  const farmRoot = farmOf(config);
  const result = (
    state: NamespacesFilled['state'],
    more: Partial<ContainerdFill> & { readonly address?: string } = {},
  ): NamespacesFilled => ({
    address: more.address ?? config.containerdAddress,
    namespaces,
    state,
    version: more.version,
    plans: more.plans ?? [],
    farmChanges: more.farmChanges ?? 0,
    findings: more.findings ?? [],
  });
  try {
    const offered = disks.filter(({ mounted }) => mounted.isUnlinked !== true).map(offeredDisk);
    const fillAt = async (
      address: string,
      criSnapshotter?: string,
    ): Promise<ContainerdFill & { readonly address: string }> => {
      begin('plan', `asking containerd for ${plural(namespaces.length, 'namespace')}`);
      // Before containerd runs, nobody pays for HTTP/2.
      const { fillContainerd } = await import('../containerd/fill-containerd.ts');
      const fill = await fillContainerd({
        address,
        namespaces,
        dataRoot,
        farmRoot,
        disks: offered,
        config,
        criSnapshotter,
        connectTimeoutMs: change === 'never' ? LOOK_MS : CONNECT_MS,
        mode: change === 'never' ? 'plan' : 'apply',
        ...(pruned === undefined ? {} : { pruned }),
      });
      return { ...fill, address };
    };
    if (change === 'all') {
      const fill = await withContainerd(search, fillAt);
      // The socket of a private one is gone.
      return result('filled', existsSync(fill.address) ? fill : { ...fill, address: config.containerdAddress });
    }
    const address = await runningContainerd(search);
    if (address === undefined) {
      if (change === 'farm') fillFarm(farmRoot, offered);
      return result('waiting');
    }
    const fill = await fillAt(address);
    if (change === 'farm') return result('filled', fill);
    return result(hasSteps(fill) ? 'planned' : 'filled', {
      ...fill,
      findings: [...fill.findings, ...fill.plans.flatMap(removedFindings)],
    });
  } catch (error) {
    return result('failed', { findings: [failureOf(error)] });
  }
}

/** Where the links in containerd's store lead. It is below /run, because a disk is mounted anew at each boot. */
export function farmOf(config: Config): string {
  return runtimePath(config, 'containerd');
}

/** Findings for names of ours that were removed and come back. */
function removedFindings({ namespace, missing }: NamespacePlan): Finding[] {
  return [...Map.groupBy(missing, ([, label]) => label)].map(([label, names]) => ({
    code: 'REMOVED',
    label,
    message: `disk ${label}: ${listNames(names.map(([name]) => name).toSorted())} ${names.length === 1 ? 'was' : 'were'} removed from namespace ${namespace} of containerd; ${names.length === 1 ? 'it comes' : 'they come'} back when containerd or Docker starts next, or by: docker-preloader apply`,
  }));
}

function hasSteps({ plans }: ContainerdFill): boolean {
  return plans.some(({ steps }) => steps.length > 0);
}

const known = new WeakMap<DiskContent, OfferedDisk>();

/** What a disk offers. It is kept, because a disk that was not read again has the same manifests. */
function offeredDisk({ content, mounted }: LoadedDisk): OfferedDisk {
  let offered = known.get(content);
  if (offered === undefined) known.set(content, (offered = offerDisk({ content, rank: mounted.rank }, mounted.path)));
  return { ...offered, rank: mounted.rank };
}
