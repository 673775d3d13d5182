import { parseExecStart } from '../docker/service.ts';
import { PreloaderError } from '../system/errors.ts';
import { parseShow, valueOf, type Properties } from '../system/systemctl.ts';
import { ask } from './ask.ts';
import { unitFacts, type UnitFacts } from './boot-document.ts';

/**
 * The directives that give a unit a mount namespace of its own (systemd, src/core/execute.c,
 * exec_needs_mount_namespace), with the value that does not.
 */
const NAMESPACE_DIRECTIVES: Readonly<Record<string, string>> = {
  PrivateTmp: 'no',
  PrivateDevices: 'no',
  PrivateMounts: 'no',
  PrivateNetwork: 'no',
  PrivateIPC: 'no',
  ProtectSystem: 'no',
  ProtectHome: 'no',
  ProtectKernelTunables: 'no',
  ProtectKernelModules: 'no',
  ProtectKernelLogs: 'no',
  ProtectControlGroups: 'no',
  ProtectProc: 'default',
  ProcSubset: 'all',
  DynamicUser: 'no',
  MountAPIVFS: 'no',
  ReadWritePaths: '',
  ReadOnlyPaths: '',
  InaccessiblePaths: '',
  ExecPaths: '',
  NoExecPaths: '',
  BindPaths: '',
  BindReadOnlyPaths: '',
  TemporaryFileSystem: '',
  RootDirectory: '',
  RootImage: '',
  MountImages: '',
  ExtensionImages: '',
  ExtensionDirectories: '',
  LogNamespace: '',
};

const MANAGER = [
  'Version',
  'Virtualization',
  'FirmwareTimestampMonotonic',
  'LoaderTimestampMonotonic',
  'InitRDTimestampMonotonic',
  'UserspaceTimestampMonotonic',
  'FinishTimestampMonotonic',
];
const OF_ALL_UNITS = [
  'Id',
  'InactiveExitTimestampMonotonic',
  'ActiveEnterTimestampMonotonic',
  'InactiveEnterTimestampMonotonic',
  'After',
  'Wants',
  'Requires',
  'ExecStart',
  'UnitFileState',
  'LoadState',
  'ActiveState',
  'FragmentPath',
  'WantedBy',
  'RequiredBy',
];
const OF_OUR_UNITS = [
  ...OF_ALL_UNITS,
  'SourcePath',
  'MainPID',
  'ExecMainStartTimestampMonotonic',
  'Triggers',
  'ExecStartPre',
  ...Object.keys(NAMESPACE_DIRECTIVES),
];

/**
 * Asks the service manager over D-Bus. Unlike busctl, systemctl also reaches it before and without the bus daemon, and
 * it answers for all units at once.
 * @throws PreloaderError NO_SYSTEMD if systemd is not in charge
 */
export async function askManager(): Promise<Properties> {
  const answer = await ask('systemctl', ['show', ...properties(MANAGER)]);
  if ('problem' in answer)
    throw new PreloaderError(
      'NO_SYSTEMD',
      `expected a system that systemd has booted, found none (${answer.problem}); there is nothing to order here: run \`docker-preloader apply\` before dockerd, or give a FILE that \`boot-order --json\` wrote elsewhere`,
    );
  return parseShow(answer.text)[0] ?? new Map();
}

/** The properties of units in this order, whether or not the units exist. */
export async function askUnits(ids: readonly string[], notes: string[]): Promise<readonly Properties[]> {
  const answer = await ask('systemctl', ['show', ...properties(OF_OUR_UNITS), '--', ...ids]);
  if ('problem' in answer) notes.push(answer.problem);
  return 'text' in answer ? parseShow(answer.text) : [];
}

/**
 * The facts that can be asked for all units at once, including those that have ended. For each unit the manager
 * collects all of its properties, which takes seconds on a slow machine. So of the many devices, only those are
 * included that something waits for.
 */
export async function askAllUnits(notes: string[]): Promise<readonly UnitFacts[]> {
  const show = async (...ids: readonly string[]): Promise<UnitFacts[]> => {
    const answer = await ask('systemctl', ['show', '--all', ...properties(OF_ALL_UNITS), '--', ...ids]);
    if ('problem' in answer) notes.push(answer.problem);
    return 'text' in answer ? parseShow(answer.text).map(toUnitFacts) : [];
  };
  const units = await show('*.service', '*.socket', '*.target', '*.mount', '*.scope');
  const devices = new Set(units.flatMap(({ after }) => after.filter((id) => id.endsWith('.device'))));
  return devices.size === 0 ? units : [...units, ...(await show(...devices))];
}

function properties(names: readonly string[]): string[] {
  return [`--property=${names.join(',')}`];
}

/** systemd writes 0 for a time that has not come, and 2^64-1 for one that never will. */
export function usecOf(of: Properties, name: string): number {
  const usec = Number(valueOf(of, name));
  return Number.isSafeInteger(usec) && usec > 0 ? usec : 0;
}

/** The facts that we need from a unit's properties. */
export function toUnitFacts(of: Properties): UnitFacts {
  const words = (name: string): string[] =>
    valueOf(of, name)
      .split(' ')
      .filter((word) => word !== '');
  return unitFacts({
    id: valueOf(of, 'Id'),
    loadState: valueOf(of, 'LoadState'),
    activeState: valueOf(of, 'ActiveState'),
    unitFileState: valueOf(of, 'UnitFileState'),
    fragmentPath: valueOf(of, 'FragmentPath'),
    sourcePath: valueOf(of, 'SourcePath'),
    inactiveExitUsec: usecOf(of, 'InactiveExitTimestampMonotonic'),
    activeEnterUsec: usecOf(of, 'ActiveEnterTimestampMonotonic'),
    inactiveEnterUsec: usecOf(of, 'InactiveEnterTimestampMonotonic'),
    execMainStartUsec: usecOf(of, 'ExecMainStartTimestampMonotonic'),
    after: words('After'),
    wants: words('Wants'),
    requires: words('Requires'),
    wantedBy: words('WantedBy'),
    requiredBy: words('RequiredBy'),
    triggers: words('Triggers'),
    namespaceDirectives: Object.entries(NAMESPACE_DIRECTIVES).flatMap(([name, harmless]) => {
      const value = valueOf(of, name);
      return value === '' || value === harmless ? [] : [`${name}=${value.slice(0, 200)}`];
    }),
    execStartPre: (of.get('ExecStartPre') ?? []).map((command) => ({
      argv: parseExecStart(command).join(' ').slice(0, 1000),
      ignoreErrors: command.includes('; ignore_errors=yes ;'),
    })),
    execStart: (of.get('ExecStart') ?? [])
      .map((command) => parseExecStart(command).join(' '))
      .join('; ')
      .slice(0, 4000),
  });
}
