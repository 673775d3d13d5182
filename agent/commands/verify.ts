import { processMs } from '../system/clock.ts';
import { readConfig } from '../config/read-config.ts';
import type { Config } from '../config/config.ts';
import { describeStep } from '../containerd/plan/describe-step.ts';
import type { NamespacePlan } from '../containerd/plan/plan-namespace.ts';
import { differences } from '../verify/differences.ts';
import { preload, type Preload } from '../boot/preload.ts';
import type { LoadedDisk } from '../boot/loaded-disk.ts';
import { inPrivateMounts } from '../boot/private-mounts.ts';
import { FolderReader } from '../disk/folder-reader.ts';
import { blobProblems } from '../verify/blob-digests.ts';
import { layerProblem } from '../verify/layer-content.ts';
import { metadataProblems } from '../verify/metadata-digests.ts';
import { makeProgress } from '../text/progress.ts';
import { ReadBudget } from '../verify/read-budget.ts';
import { effectOf, type Finding } from '../messages/finding.ts';
import { TAR_SPLIT } from '../docker/layer-db.ts';
import { overlayPaths } from '../docker/layer-folders.ts';
import { Store } from '../overlay2/store/store.ts';
import { stateOf, states, type State } from '../status/state.ts';
import { stderr } from '../system/stderr.ts';
import { megabytes } from '../text/megabytes.ts';
import { oneLine } from '../text/one-line.ts';
import { plural } from '../text/plural.ts';

/** What `verify --json` prints. */
interface Verification {
  readonly state: State;
  readonly dataRoot: string | null;
  readonly dockerRunning: boolean;
  readonly deep: boolean;
  readonly disks: readonly {
    readonly label: string;
    readonly device: string;
    readonly manifestDigest: string | null;
    readonly images: number;
    readonly layers: number;
  }[];
  /** What was compared: files with the digests in manifests, and layers (and their bytes) with their DiffIDs. */
  readonly compared: {
    readonly metadataFiles: number;
    readonly layers: number;
    readonly blobs: number;
    readonly bytes: number;
  };
  readonly findings: readonly Finding[];
}

/** A layer whose content can be compared with its digest. */
interface Place {
  readonly what: string;
  readonly label: string | undefined;
  readonly cure: string;
  readonly diffID: string;
  readonly diffPath: string;
  readonly tarSplitPath: string | undefined;
  readonly sizeBytes: number;
  readonly budget: ReadBudget | undefined;
}

const COPY_AGAIN = 'copy the disk again, or build it again';

/**
 * Compares the store with the disks, and the disks with themselves; changes nothing.
 * @returns the exit status: that of the state
 */
export async function verify(options: {
  readonly config?: string;
  readonly deep?: boolean;
  readonly json?: boolean;
}): Promise<number> {
  const config = await readConfig(options.config);
  const result = await inPrivateMounts(config.mountRoot, () => verifyMounted(config, options.deep === true));
  process.stdout.write(options.json === true ? `${JSON.stringify(result, undefined, 2)}\n` : describe(result));
  return states[result.state].exitStatus;
}

async function verifyMounted(config: Config, deep: boolean): Promise<Verification> {
  const first = await look(config);
  const { run } = first;
  let findings = first.findings;
  // dockerd may change its store while we look, so only what is still wrong the second time counts.
  if (run.isDockerRunning && findings.some(isFault)) {
    const again = new Set((await look(config)).findings.map(({ message }) => message));
    findings = findings.filter(({ message }) => again.has(message));
  }
  const faults = run.disks.flatMap(metadataFaults);
  const content = deep ? await compareContents(run) : { findings: [], layers: 0, blobs: 0, bytes: 0 };
  const all = [...findings, ...faults, ...content.findings];
  return {
    state: stateOf(all, run.disks.length),
    dataRoot: run.dataRoot ?? null,
    dockerRunning: run.isDockerRunning,
    deep,
    disks: run.disks.map(({ mounted, content: { label, manifestDigest, images, layers } }) => ({
      label,
      device: mounted.device.path,
      manifestDigest: manifestDigest ?? null,
      images: images.size,
      layers: layers.size,
    })),
    compared: {
      metadataFiles: run.disks.reduce(
        (sum, disk) => sum + Object.keys(disk.content.manifest?.metadata ?? {}).length,
        0,
      ),
      layers: content.layers,
      blobs: content.blobs,
      bytes: content.bytes,
    },
    findings: all,
  };
}

/** The plan shows what is still to be done, including what was removed. A running dockerd is not a fault here. */
async function look(config: Config): Promise<{ readonly run: Preload; readonly findings: readonly Finding[] }> {
  const run = await preload(config, { wait: false, change: 'never' });
  const findings = run.findings.filter(({ code }) => code !== 'DOCKER_RUNNING' && code !== 'REMOVED');
  findings.push(...namespaceDifferences(run));
  if (run.plan === undefined || run.dataRoot === undefined) return { run, findings };
  const cure = run.isDockerRunning ? 'systemctl restart docker' : 'docker-preloader apply';
  return {
    run,
    findings: [
      ...findings,
      ...differences({
        store: new Store(run.dataRoot),
        plan: run.plan,
        disks: run.disks.map(({ mounted }) => mounted),
        cure,
      }),
    ],
  };
}

/** So many differences of a namespace are told. */
const MAX_DIFFERENCES = 20;

/** What containerd's namespaces lack, or have too much. */
function namespaceDifferences({ containerd }: Preload): Finding[] {
  if (containerd?.state === 'waiting')
    return [
      {
        code: 'STORE_DIFFERS',
        message: `containerd at ${containerd.address}: expected one that runs, found none: its store was not compared; run: systemctl start containerd`,
      },
    ];
  const { plans = [], farmChanges = 0 } = containerd ?? {};
  const ofFarm: Finding = {
    code: 'STORE_DIFFERS',
    message: `${plural(farmChanges, 'link')} to the disks' layers and blobs ${farmChanges === 1 ? 'is' : 'are'} missing or lead${farmChanges === 1 ? 's' : ''} elsewhere, so that images of containerd may not run; run: docker-preloader apply`,
  };
  // What a disk that came or went changes in the namespaces changes its links as well.
  const isOfFarm = farmChanges > 0 && plans.every(({ steps }) => steps.length === 0);
  return [...(isOfFarm ? [ofFarm] : []), ...plans.flatMap(namespaceFindings)];
}

function namespaceFindings({ namespace, steps, taken }: NamespacePlan): Finding[] {
  const damaged = taken.map((path): Finding => ({
    code: 'STORE_DAMAGED',
    message: `containerd, ${namespace}: ${path}: expected a link of ours, found something else, which is left there; move it away, then run: docker-preloader apply`,
  }));
  const due = steps.map((step): Finding => ({
    code: 'STORE_DIFFERS',
    message: `${describeStep(namespace, step)} is still to be done; run: docker-preloader apply`,
  }));
  const found = [...damaged, ...due].slice(0, MAX_DIFFERENCES);
  const more = damaged.length + due.length - found.length;
  return more === 0
    ? found
    : [
        ...found,
        { code: 'STORE_DIFFERS', message: `containerd, ${namespace}: and ${plural(more, 'more difference')}` },
      ];
}

const isFault = (finding: Finding): boolean => effectOf(finding) !== 'none';

/** The files of a disk that do not have the digests in its manifest; none without a manifest. */
export function metadataFaults({ mounted, content: { label, manifest } }: LoadedDisk): Finding[] {
  if (manifest === undefined) return [];
  return metadataProblems(new FolderReader(mounted.path), manifest, new ReadBudget(mounted.device.sizeBytes)).map(
    (problem) => ({
      code: 'CONTENT_WRONG',
      label,
      device: mounted.device.path,
      message: `disk ${label}: ${problem}; ${COPY_AGAIN}`,
    }),
  );
}

interface Comparison {
  readonly findings: readonly Finding[];
  readonly layers: number;
  readonly blobs: number;
  readonly bytes: number;
}

async function compareContents(run: Preload): Promise<Comparison> {
  const places = [...run.disks.flatMap(layersOnDisk), ...usersLayers(run)];
  const blobs = run.disks.flatMap(({ content }) => content.manifest?.blobs ?? []);
  const progress = makeProgress(stderr, !stderr.isTTY, processMs);
  progress.expect([...places, ...blobs].reduce((sum, { sizeBytes }) => sum + sizeBytes, 0));
  const findings: Finding[] = [];
  let bytes = 0;
  const onBytes = (count: number): void => {
    bytes += count;
    progress.read(count);
  };
  try {
    for (const place of places) {
      progress.step(place.what);
      const { tarSplitPath } = place;
      const problem =
        tarSplitPath === undefined
          ? `expected a ${TAR_SPLIT}, without which its content cannot be compared, found none`
          : await layerProblem({ ...place, tarSplitPath }, onBytes);
      if (problem !== undefined)
        findings.push({
          code: 'CONTENT_WRONG',
          message: `${place.what}: ${problem}; ${place.cure}`,
          ...(place.label === undefined ? {} : { label: place.label }),
        });
    }
    for (const { mounted, content } of run.disks) {
      if (content.manifest?.blobs === undefined) continue;
      progress.step(`disk ${content.label}: blobs`);
      const budget = new ReadBudget(mounted.device.sizeBytes);
      const problems = await blobProblems(new FolderReader(mounted.path), content.manifest, budget, onBytes);
      findings.push(
        ...problems.map((problem): Finding => ({
          code: 'CONTENT_WRONG',
          label: content.label,
          device: mounted.device.path,
          message: `disk ${content.label}: ${problem}; ${COPY_AGAIN}`,
        })),
      );
    }
  } finally {
    progress.end();
  }
  return { findings, layers: places.length, blobs: blobs.length, bytes };
}

/** Includes layers that the store has from another disk, or does not have yet. */
function layersOnDisk({ mounted, content: { label, layers } }: LoadedDisk): Place[] {
  const budget = new ReadBudget(mounted.device.sizeBytes);
  return [...layers.values()].map(({ chain, diffID, diffPath, tarSplit, size }) => ({
    what: `disk ${label}: layer ${chain}`,
    label,
    cure: COPY_AGAIN,
    diffID,
    diffPath,
    tarSplitPath: tarSplit?.path,
    sizeBytes: Number(size),
    budget,
  }));
}

/** The user's own layers that preloaded images use. */
function usersLayers({ dataRoot, plan }: Preload): Place[] {
  if (dataRoot === undefined || plan === undefined) return [];
  const store = new Store(dataRoot);
  const places = new Map<string, Place>();
  for (const { chains, diffIDs } of plan.offer.images.values()) {
    chains.forEach((chain, index) => {
      const layer = store.layers.ownership(chain) === 'user' ? store.layers.users(chain) : undefined;
      if (layer === undefined) return;
      places.set(chain, {
        what: `layer ${chain} of your own`,
        label: undefined,
        cure: 'remove the images that use it, then pull or load them again',
        diffID: diffIDs[index] ?? '',
        diffPath: overlayPaths(dataRoot).link(layer.link),
        tarSplitPath: `${store.paths.layer(chain)}/${TAR_SPLIT}`,
        sizeBytes: store.layers.sizeOf(chain),
        budget: undefined,
      });
    });
  }
  return [...places.values()];
}

function describe({ state, dataRoot, deep, disks, compared, findings }: Verification): string {
  const faults = findings.filter(isFault).length;
  const contents = deep
    ? `${plural(compared.layers, 'layer')}${compared.blobs === 0 ? '' : ` and ${plural(compared.blobs, 'blob')}`} of ${megabytes(compared.bytes)} compared with their digests`
    : 'contents of layers not read, which --deep does';
  const summary = `${state}: ${faults === 0 ? 'no fault' : plural(faults, 'fault')}: ${dataRoot ?? 'no store'} against ${plural(disks.length, 'disk')}, ${plural(compared.metadataFiles, 'metadata file')} compared, ${contents}`;
  return `${[...findings.map(({ code, message }) => `${code}: ${message}`), summary].map(oneLine).join('\n')}\n`;
}
