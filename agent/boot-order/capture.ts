import { lstatSync, readlinkSync } from 'node:fs';
import { release } from 'node:os';
import * as z from 'zod/mini';
import { DEFAULT_CONFIG_PATH, defaultConfig, runtimePath, type Config } from '../config/config.ts';
import { readConfig } from '../config/read-config.ts';
import { DEFAULT_DATA_ROOT, readDaemonConfig } from '../docker/daemon-config.ts';
import { storeOfService } from '../docker/service.ts';
import { BOOT_RECORD, hasBeenReady } from '../status/boot-times.ts';
import { STATUS_FILE } from '../status/publish.ts';
import { monotonicUsec, wallMs } from '../system/clock.ts';
import { isEACCES, messageOf } from '../system/errors.ts';
import { readTextIfThere } from '../system/read-files.ts';
import { parseJson } from '../text/parse-json.ts';
import { realPathOf } from '../system/real-path.ts';
import { valueOf, type Properties } from '../system/systemctl.ts';
import { initializedUsec } from '../system/udev.ts';
import { VERSION } from '../version.ts';
import { dockerInfo, firstContainer } from './docker.ts';
import { FILLER, WITH_OWN_CONTAINERD } from '../containerd/filler-unit.ts';
import {
  AGENT,
  AGENT_SOCKET,
  BEFORE_CONTAINERD,
  CONTAINERD,
  currentVersion,
  DOCKER,
  DOCKER_SOCKET,
  KUBELET,
  UDEV_TRIGGER,
  type BootDocument,
  type MountFacts,
  type UnitFacts,
} from './boot-document.ts';
import { readJournal } from './read-journal.ts';
import { processesNamed } from './named-processes.ts';
import { relevantMounts } from './relevant-mounts.ts';
import { startsDocker } from './starters.ts';
import { askAllUnits, askManager, askUnits, toUnitFacts, usecOf } from './systemd.ts';

/** systemd refuses longer names, and then does not answer for the others either. */
const MAX_UNIT_NAME = 255;

const bootRecord = z.object({
  readyUsec: z.number(),
  state: z.string(),
  timings: z.array(
    z.object({
      phase: z.string(),
      startUsec: z.number(),
      waitedFor: z.optional(z.string()),
      mounted: z._default(z.array(z.object({ label: z.string(), device: z.string(), atUsec: z.number() })), []),
    }),
  ),
});
const statusRecord = z.object({
  dataRoot: z.nullable(z.string()),
  applied: z.boolean(),
  stores: z._default(z.array(z.object({ store: z.string(), namespace: z.nullable(z.string()) })), []),
});
/**
 * Units that are there only if something wants them. Asking for them by name would load them, and with them an order
 * that nothing keeps.
 */
const IF_LOADED: readonly string[] = [FILLER, BEFORE_CONTAINERD, KUBELET, ...WITH_OWN_CONTAINERD];

/**
 * Reads everything from which the boot order is derived, and changes nothing: dockerd is asked only if it is running.
 * @throws PreloaderError NO_SYSTEMD if systemd is not in charge
 */
export async function capture(configPath: string | undefined): Promise<BootDocument> {
  const unchecked: string[] = [];
  const notes: string[] = [];
  const manager = await askManager();
  const { config, facts } = await readConfigs(configPath);
  if (facts.problem !== null) unchecked.push(facts.problem);
  const mounts = relevantMounts(config, facts.dataRoot, unchecked);
  const [shown, all, journal] = await Promise.all([
    askUnits(
      [
        AGENT,
        AGENT_SOCKET,
        DOCKER,
        DOCKER_SOCKET,
        CONTAINERD,
        UDEV_TRIGGER,
        ...mounts.mounts.map(({ unit }) => unit).filter((unit) => unit.length <= MAX_UNIT_NAME),
      ],
      unchecked,
    ),
    askAllUnits(unchecked),
    readJournal(unchecked),
  ]);
  const units = [...shown.map(toUnitFacts), ...all.filter(({ id }) => IF_LOADED.includes(id))].filter(
    (unit, index, list) => list.findIndex(({ id }) => id === unit.id) === index,
  );
  const isDockerUp =
    units.some(({ id, activeState }) => id === DOCKER && activeState === 'active') ||
    processesNamed('dockerd').length > 0;
  const nowUsec = monotonicUsec();
  const [info, container] = isDockerUp
    ? await Promise.all([
        dockerInfo(unchecked),
        firstContainer(all, usecOf(manager, 'UserspaceTimestampMonotonic'), nowUsec, notes),
      ])
    : [null, null];
  return {
    ...currentVersion,
    version: VERSION,
    capturedUsec: nowUsec,
    system: {
      systemd: valueOf(manager, 'Version'),
      kernel: release(),
      virtualization: valueOf(manager, 'Virtualization'),
    },
    manager: managerTimes(manager),
    config: facts,
    units,
    others: relevantUnits(all, units),
    ...journal,
    mounts: mounts.mounts.map((mount) => ({ ...mount, ...ofUnit(units, mount.unit) })),
    disks: mounts.disks.map((disk) => ({ ...disk, udevUsec: initializedUsec(disk.deviceNumber) ?? null })),
    boot: readRecord(config, BOOT_RECORD, bootRecord, unchecked),
    filled: readRecord(config, STATUS_FILE, statusRecord, unchecked),
    ownNamespace: hasOwnNamespace(Number(valueOf(shown[0] ?? new Map(), 'MainPID')), unchecked),
    enabledUsec: enabledUsec(DOCKER, AGENT, nowUsec),
    fillerEnabledUsec: enabledUsec(CONTAINERD, BEFORE_CONTAINERD, nowUsec),
    // dockerd prints a data root that it has created itself exactly as it was given, with slashes at its end.
    dockerInfo: info === null ? null : { ...info, dataRoot: realPathOf(info.dataRoot) },
    dockerds: await dockerds(facts),
    firstContainer: container,
    notes: [...unchecked, ...notes],
    unchecked,
  };
}

function managerTimes(manager: Properties): BootDocument['manager'] {
  const at = (name: string): number => usecOf(manager, `${name}TimestampMonotonic`);
  return {
    firmwareUsec: at('Firmware'),
    loaderUsec: at('Loader'),
    initrdUsec: at('InitRD'),
    userspaceUsec: at('Userspace'),
    finishUsec: at('Finish'),
  };
}

/** If the configuration is wrong, the default one says where things are. */
async function readConfigs(
  configPath: string | undefined,
): Promise<{ readonly config: Config; readonly facts: BootDocument['config'] }> {
  const path = configPath ?? DEFAULT_CONFIG_PATH;
  let config = defaultConfig();
  let problem: string | null = null;
  let content: Record<string, unknown> | null = null;
  try {
    config = await readConfig(configPath);
    const text = readTextIfThere(path);
    content = text === undefined ? null : parseJson(text, z.looseObject({}));
  } catch (error) {
    problem = messageOf(error);
  }
  let daemon: { readonly dataRoot: string; readonly storageDriver: string | undefined } = {
    dataRoot: DEFAULT_DATA_ROOT,
    storageDriver: undefined,
  };
  try {
    daemon = await readDaemonConfig(config.dockerConfig);
  } catch (error) {
    problem ??= messageOf(error);
  }
  const dataRoot = realPathOf(config.dataRoot ?? daemon.dataRoot);
  return {
    config,
    facts: {
      path,
      problem,
      content,
      required: config.required.map(({ text }) => text),
      dataRoot,
      dockerConfig: config.dockerConfig,
      storageDriver: daemon.storageDriver ?? null,
    },
  };
}

function ofUnit(units: readonly UnitFacts[], id: string): Pick<MountFacts, 'activeEnterUsec' | 'fragmentPath'> {
  const unit = units.find((one) => one.id === id);
  return { activeEnterUsec: unit?.activeEnterUsec ?? 0, fragmentPath: unit?.fragmentPath ?? '' };
}

/** The units for which the start of Docker waited, directly or not, and those that may start dockerd. */
function relevantUnits(all: readonly UnitFacts[], ours: readonly UnitFacts[]): UnitFacts[] {
  const byId = new Map(all.map((unit) => [unit.id, unit]));
  const queue = ours.flatMap(({ after }) => after);
  const reached = new Set<string>();
  for (let id = queue.pop(); id !== undefined; id = queue.pop()) {
    if (reached.has(id)) continue;
    reached.add(id);
    queue.push(...(byId.get(id)?.after ?? []));
  }
  const isOurs = new Set(ours.map(({ id }) => id));
  return (
    all
      .filter(
        ({ id, execStart }) =>
          !isOurs.has(id) && (reached.has(id) || startsDocker(execStart) || /\bdockerd\b/.test(execStart)),
      )
      // Command lines are kept only if they matter, because they may contain secrets.
      .map((unit) =>
        startsDocker(unit.execStart) || /\bdockerd\b/.test(unit.execStart) ? unit : { ...unit, execStart: '' },
      )
  );
}

function readRecord<Schema extends z.ZodMiniType>(
  config: Config,
  name: string,
  schema: Schema,
  notes: string[],
): z.infer<Schema> | null {
  try {
    const text = readTextIfThere(runtimePath(config, name));
    const record = text === undefined ? null : parseJson(text, schema);
    if (record === null || hasBeenReady(config)) return record;
    notes.push(`${name}: it is of an earlier boot`);
    return null;
  } catch (error) {
    notes.push(`${name}: ${messageOf(error)}`);
    return null;
  }
}

/** The dockerds on our data root. Others, with a store of their own, do not concern us. */
async function dockerds({ dataRoot, dockerConfig }: BootDocument['config']): Promise<BootDocument['dockerds']> {
  const found: BootDocument['dockerds'] = [];
  for (const { pid, unit, argv, startUsec } of processesNamed('dockerd')) {
    // If its configuration has become invalid since it was started, it may be any dockerd.
    const store = await storeOfService(argv, {}, dockerConfig).catch(() => undefined);
    if (store === undefined || realPathOf(store.dataRoot) === dataRoot) found.push({ pid, unit, startUsec });
  }
  return found;
}

/** Compares mount namespaces, which needs root and a running agent. */
function hasOwnNamespace(pid: number, notes: string[]): boolean | null {
  if (!(pid > 0)) return null;
  try {
    return readlinkSync('/proc/1/ns/mnt') !== readlinkSync(`/proc/${pid}/ns/mnt`);
  } catch (error) {
    // An agent that has ended meanwhile does not matter.
    if (isEACCES(error)) notes.push(`whether ${AGENT} sees the mounts of PID 1: only root can look`);
    return null;
  }
}

/** When the link was made that makes one unit want another; 0 if that was before this boot. */
function enabledUsec(by: string, wanted: string, nowUsec: number): number {
  const stats = lstatSync(`/etc/systemd/system/${by}.wants/${wanted}`, { throwIfNoEntry: false });
  return stats === undefined ? 0 : Math.max(0, Math.round(nowUsec - (wallMs() - stats.ctimeMs) * 1000));
}
