/** How long `apply` may take after the wait for devices, unless another time is given. */
export const APPLY_TIMEOUT_SEC = 60;

/** A command that is run at boot, as it is in the units. */
export interface DirectCommand {
  readonly command: 'run' | 'apply';
  readonly config?: string;
  readonly degradedOk: boolean;
  readonly only?: 'overlay2' | 'containerd';
  /** The limit of `apply`, in seconds. */
  readonly timeout: number;
  /** `apply` in a process that another `apply` waits for. Nobody else says so. */
  readonly isWaitedFor?: boolean;
}

/** Beside the options that people have. */
export const WAITED_FOR = '--waited-for';

/** What an option stands for that has no text. */
const plain: Readonly<Record<string, Partial<DirectCommand>>> = {
  '--degraded-ok': { degradedOk: true },
  [WAITED_FOR]: { isWaitedFor: true },
};

/** What an option's text stands for; undefined where it is not in order. */
const valued: Readonly<
  Record<'--config' | '--only' | '--timeout', (text: string) => Partial<DirectCommand> | undefined>
> = {
  '--config': (text) => (text === '' || text.startsWith('-') ? undefined : { config: text }),
  '--only': (text) => (text === 'overlay2' || text === 'containerd' ? { only: text } : undefined),
  '--timeout': (text) => (/^[1-9]\d{0,5}$/.test(text) ? { timeout: Number(text) } : undefined),
};

/**
 * Parses a simple, correct command line of `run` or `apply`; undefined for anything else, which commander parses and
 * reports errors for. Loading commander takes half as long as an empty program, and these two commands run at every
 * boot.
 */
export function directCommand(args: readonly string[]): DirectCommand | undefined {
  const [command, ...options] = args;
  if (command !== 'run' && command !== 'apply') return undefined;
  let found: Partial<DirectCommand> = {};
  while (options.length > 0) {
    const option = options.shift() ?? '';
    const isValued = option === '--config' || (command === 'apply' && (option === '--only' || option === '--timeout'));
    if (!isValued && (!Object.hasOwn(plain, option) || command !== 'apply')) return undefined;
    const value = isValued ? valued[option](options.shift() ?? '') : plain[option];
    // Given twice, the last one counts, as for commander.
    if (value === undefined) return undefined;
    found = { ...found, ...value };
  }
  return { command, degradedOk: false, timeout: APPLY_TIMEOUT_SEC, ...found };
}
