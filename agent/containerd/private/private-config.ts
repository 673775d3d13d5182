/**
 * Plugins that have nothing to do with what is stored. They would start containers again, listen, make folders of their
 * own, or look after what runs under the containerd that the root belongs to. No version has all of them.
 */
const DISABLED = [
  'cri.v1.images',
  'cri.v1.runtime',
  'grpc.v1.cri',
  'grpc.v1.mounts',
  'grpc.v1.sandbox-controllers',
  'grpc.v1.sandboxes',
  'grpc.v1.streaming',
  'grpc.v1.tasks',
  'grpc.v1.transfer',
  'image-verifier.v1.bindir',
  'internal.v1.opt',
  'internal.v1.restart',
  'internal.v1.tracing',
  'monitor.container.v1.restart',
  'monitor.task.v1.cgroups',
  'monitor.v1.cgroups',
  'mount-manager.v1.bolt',
  'nri.v1.nri',
  'podsandbox.controller.v1.podsandbox',
  'runtime.v1.linux',
  'runtime.v2.shim',
  'runtime.v2.task',
  'sandbox.controller.v1.local',
  'sandbox.controller.v1.shim',
  'sandbox.store.v1.local',
  'service.v1.tasks-service',
  'shim.v1.manager',
  'snapshotter.v1.aufs',
  'snapshotter.v1.blockfile',
  'snapshotter.v1.btrfs',
  'snapshotter.v1.devmapper',
  'snapshotter.v1.erofs',
  'snapshotter.v1.native',
  'snapshotter.v1.zfs',
  'streaming.v1.manager',
  'tracing.processor.v1.otlp',
  'transfer.v1.local',
  'ttrpc.v1.otelttrpc',
].map((id) => `io.containerd.${id}`);

const METADATA = 'io.containerd.metadata.v1.bolt';

/** Plugins whose settings say where and how the store is kept. Their names and keys are the same in each version. */
const OF_STORE: ReadonlySet<string> = new Set([
  METADATA,
  'io.containerd.content.v1.content',
  'io.containerd.snapshotter.v1.overlayfs',
]);

/** Tables in which the CRI plugin has its snapshotter: of containerd 1.x, and of 2.x. */
const OF_CRI = ['io.containerd.grpc.v1.cri".containerd', 'io.containerd.cri.v1.images"'];

/** How long another containerd may hold the lock before ours gives up. Without this it would wait for ever. */
const OPEN_TIMEOUT = '1s';
/** The first collection would come 100 ms after the start. What is to be collected can wait for the real one. */
const NO_COLLECTION = '1h';

export interface PrivatePaths {
  readonly root: string;
  readonly state: string;
  readonly socket: string;
}

/** What a daemon's own configuration says, as far as its store and its images depend on it. */
export interface DaemonSettings {
  /** Tables of the plugins that keep the store. */
  readonly tables: string;
  /** Those of these plugins that it does not have. */
  readonly disabled: readonly string[];
  /** What Kubernetes has its images in; undefined where nothing says so. */
  readonly criSnapshotter: string | undefined;
}

export const noSettings: DaemonSettings = { tables: '', disabled: [], criSnapshotter: undefined };

/**
 * The configuration of a containerd that only serves its store, on one socket: no CRI, no tasks, no TCP, no metrics. It
 * is in version 2 of the format, as dockerd writes it, too, because each containerd since 1.3 reads that.
 */
export function privateConfig(
  { root, state, socket }: PrivatePaths,
  { tables, disabled }: Pick<DaemonSettings, 'tables' | 'disabled'>,
): string {
  return `version = 2
root = ${quoted(root)}
state = ${quoted(state)}
disabled_plugins = [${[...DISABLED, ...disabled].map(quoted).join(', ')}]
required_plugins = [${quoted(METADATA)}]
[grpc]
  address = ${quoted(socket)}
[debug]
  level = "warn"
[timeouts]
  "io.containerd.timeout.bolt.open" = "${OPEN_TIMEOUT}"
[plugins."io.containerd.gc.v1.scheduler"]
  startup_delay = "${NO_COLLECTION}"
${tables}`;
}

/** A basic string of TOML: it has the escapes of JSON, and wants one for DEL, too. */
function quoted(text: string): string {
  return JSON.stringify(text).replaceAll('\x7F', '\\u007f');
}

/**
 * What of a daemon's configuration its store depends on.
 *
 * It is not taken by `imports`, because containerd merges a file over the one that imports it (containerd, LoadConfig
 * and mergeConfig). A socket, a TCP address or a list of plugins in there would win over ours, and so would that of a
 * file which it imports itself.
 * @param dump what `containerd config dump` prints: all files, merged, and with the names of plugins in full
 */
export function daemonSettings(dump: string): DaemonSettings {
  const kept: string[] = [];
  let isKept = false;
  let isCri = false;
  let criSnapshotter: string | undefined;
  for (const line of dump.split('\n')) {
    if (/^\s*\[/.test(line)) {
      // `[plugins."a.b".c]`, or in single quotes, and `[[…]]` of a list of tables.
      const [, plugin] = /^\s*\[\[?plugins\.["']([^"']+)["'][\].]/.exec(line) ?? [];
      isKept = plugin !== undefined && OF_STORE.has(plugin);
      isCri = OF_CRI.some((table) => line.trim().replaceAll("'", '"') === `[plugins."${table}]`);
    }
    if (isKept) kept.push(line);
    if (isCri) criSnapshotter = /^\s*snapshotter = ["']([^"']+)["']$/.exec(line)?.[1] ?? criSnapshotter;
  }
  const [, disabled = ''] = /^disabled_plugins = \[(.*)\]$/m.exec(dump) ?? [];
  return {
    tables: kept.join('\n'),
    disabled: [...OF_STORE].filter((plugin) => disabled.includes(plugin)),
    criSnapshotter,
  };
}
