import * as z from 'zod/mini';
import { parseJson } from '../text/parse-json.ts';

/** The version of the captured document. A newer minor version only adds fields; a newer major version is refused. */
const DOCUMENT_VERSION = '1.1';

export const AGENT = 'docker-preloader.service';
export const AGENT_SOCKET = 'docker-preloader.socket';
export const DOCKER = 'docker.service';
export const DOCKER_SOCKET = 'docker.socket';
export const CONTAINERD = 'containerd.service';
/** Orders the agent before containerd.service, where it is enabled. */
export const BEFORE_CONTAINERD = 'docker-preloader-before-containerd.target';
export const KUBELET = 'kubelet.service';
export const UDEV_TRIGGER = 'systemd-udev-trigger.service';

const MAX_TEXT = 4096;
const MAX_ITEMS = 4096;

const text = z.string().check(z.maxLength(MAX_TEXT));
const list = <Item extends z.core.$ZodType>(item: Item) => z.array(item).check(z.maxLength(MAX_ITEMS));
/** Microseconds of CLOCK_MONOTONIC. As in systemd, 0 means that it has not happened. */
const usec = z.number().check(z.minimum(0), z.maximum(Number.MAX_SAFE_INTEGER));
const names = z._default(list(text), []);

const unit = z.object({
  id: text,
  loadState: z._default(text, ''),
  activeState: z._default(text, ''),
  unitFileState: z._default(text, ''),
  fragmentPath: z._default(text, ''),
  sourcePath: z._default(text, ''),
  /** When its start began, when it ended, and when the unit was done (a oneshot that does not stay active). */
  inactiveExitUsec: z._default(usec, 0),
  activeEnterUsec: z._default(usec, 0),
  inactiveEnterUsec: z._default(usec, 0),
  execMainStartUsec: z._default(usec, 0),
  after: names,
  wants: names,
  requires: names,
  wantedBy: names,
  requiredBy: names,
  triggers: names,
  /** Directives that give the unit a mount namespace of its own, as NAME=value. */
  namespaceDirectives: names,
  execStartPre: z._default(list(z.object({ argv: text, ignoreErrors: z.boolean() })), []),
  execStart: z._default(text, ''),
});

const mounted = z.object({ label: text, device: text, atUsec: usec });

const schema = z.object({
  documentVersion: z.string(),
  version: text,
  capturedUsec: usec,
  system: z.object({ systemd: text, kernel: text, virtualization: text }),
  /**
   * When the manager's own stages began; 0 if there was none. For firmware and loader, which come before the kernel,
   * how long before.
   */
  manager: z.object({ firmwareUsec: usec, loaderUsec: usec, initrdUsec: usec, userspaceUsec: usec, finishUsec: usec }),
  config: z.object({
    path: text,
    /** Why it could not be read. */
    problem: z.nullable(text),
    /** The content of the file, or null if it does not exist. */
    content: z.nullable(z.record(text, z.unknown())),
    required: names,
    /** The folder to fill, with symlinks resolved. */
    dataRoot: text,
    dockerConfig: text,
    /** The driver that dockerd's configuration names. */
    storageDriver: z.nullable(text),
  }),
  /** The units that `check` and the timeline ask for by name. */
  units: list(unit),
  /** All other units that the start of Docker may have waited for, or that start dockerd. */
  others: list(unit),
  /** The first start of each unit in this boot from the journal, which knows it even after restarts. */
  firstStarts: z._default(list(z.object({ unit: text, startingUsec: usec, startedUsec: usec })), []),
  cycleMessages: names,
  /** Mounts that PID 1 sees: the one that the data root is on, and those of preload disks. */
  mounts: list(
    z.object({
      path: text,
      deviceNumber: text,
      unit: text,
      kind: z.enum(['data-root', 'disk', 'below-data-root']),
      activeEnterUsec: usec,
      fragmentPath: text,
    }),
  ),
  disks: list(z.object({ label: text, device: text, deviceNumber: text, udevUsec: z.nullable(usec) })),
  /** This boot's first READY, from boot.json. */
  boot: z.nullable(
    z.object({
      readyUsec: usec,
      state: text,
      timings: list(
        z.object({ phase: text, startUsec: usec, waitedFor: z.optional(text), mounted: z._default(list(mounted), []) }),
      ),
    }),
  ),
  /** Whether the agent has a mount namespace of its own; null if that is not known. */
  ownNamespace: z.nullable(z.boolean()),
  /** When the agent was enabled, if that was in this boot. */
  enabledUsec: z._default(usec, 0),
  /** The same of what fills containerd's store. */
  fillerEnabledUsec: z._default(usec, 0),
  /** The result of the newest run. */
  filled: z.nullable(
    z.object({
      dataRoot: z.nullable(text),
      applied: z.boolean(),
      /** What is filled: dockerd's own store, and namespaces of containerd. */
      stores: z._default(list(z.object({ store: text, namespace: z.nullable(text) })), []),
    }),
  ),
  dockerInfo: z.nullable(z.object({ dataRoot: text, storageDriver: text, version: text })),
  dockerds: list(z.object({ pid: z.number(), unit: text, startUsec: usec })),
  firstContainer: z.nullable(z.object({ id: text, name: text, image: text, startUsec: usec })),
  /** What could not be found out, and why. */
  notes: names,
  /** Those of the notes that could hide a fault. */
  unchecked: names,
});

/** Everything from which the boot order is derived, on this machine or another. */
export type BootDocument = Readonly<z.infer<typeof schema>>;
export type UnitFacts = Readonly<z.infer<typeof unit>>;
export type MountFacts = BootDocument['mounts'][number];

/** The `documentVersion` of a new document. */
export const currentVersion = { documentVersion: DOCUMENT_VERSION } as const;

/** Fills in the facts of a unit that were not captured. */
export function unitFacts(facts: z.input<typeof unit>): UnitFacts {
  return unit.parse(facts);
}

/**
 * Parses what `boot-order --json` printed, perhaps on another machine. Its computed parts are ignored and computed
 * again.
 * @throws Error naming the key, what was expected and what was found
 */
export function parseBootDocument(json: string): BootDocument {
  const { documentVersion } = parseJson(json, z.looseObject({ documentVersion: z.string() }));
  const major = /^(\d{1,6})\.\d{1,6}$/.exec(documentVersion)?.[1];
  if (major === undefined || Number(major) < 1)
    throw new Error(`\`documentVersion\`: expected ${DOCUMENT_VERSION}, found ${JSON.stringify(documentVersion)}`);
  if (major !== DOCUMENT_VERSION.split('.')[0])
    throw new Error(
      `\`documentVersion\`: expected ${DOCUMENT_VERSION}, found ${JSON.stringify(documentVersion)}; a newer docker-preloader reads it`,
    );
  return parseJson(json, schema);
}

/** The facts of a unit by its name. A unit that was not captured counts as not existing. */
export function unitOf(document: BootDocument, id: string): UnitFacts {
  return document.units.find((one) => one.id === id) ?? unitFacts({ id, loadState: 'not-found' });
}
