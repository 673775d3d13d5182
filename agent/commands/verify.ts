import { preload, type Preload } from '../boot/preload.ts';
import { inPrivateMounts } from '../boot/private-mounts.ts';
import type { Config } from '../config/config.ts';
import { readConfig } from '../config/read-config.ts';
import { effectOf, type Finding } from '../messages/finding.ts';
import { Store } from '../overlay2/store/store.ts';
import { stateOf, states, type State } from '../status/state.ts';
import { megabytes } from '../text/megabytes.ts';
import { oneLine } from '../text/one-line.ts';
import { plural } from '../text/plural.ts';
import { compareContents, metadataFaults } from '../verify/compare-contents.ts';
import { differences } from '../verify/differences.ts';
import { namespaceDifferences } from '../verify/namespace-differences.ts';

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

const isFault = (finding: Finding): boolean => effectOf(finding) !== 'none';

function describe({ state, dataRoot, deep, disks, compared, findings }: Verification): string {
  const faults = findings.filter(isFault).length;
  const contents = deep
    ? `${plural(compared.layers, 'layer')}${compared.blobs === 0 ? '' : ` and ${plural(compared.blobs, 'blob')}`} of ${megabytes(compared.bytes)} compared with their digests`
    : 'contents of layers not read, which --deep does';
  const summary = `${state}: ${faults === 0 ? 'no fault' : plural(faults, 'fault')}: ${dataRoot ?? 'no store'} against ${plural(disks.length, 'disk')}, ${plural(compared.metadataFiles, 'metadata file')} compared, ${contents}`;
  return `${[...findings.map(({ code, message }) => `${code}: ${message}`), summary].map(oneLine).join('\n')}\n`;
}
