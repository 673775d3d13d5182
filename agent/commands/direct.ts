/** How long `apply` may take beyond the wait for devices, where nobody says another time. */
export const APPLY_TIMEOUT_SEC = 60;

/** A command of the boot as it stands in the units. */
export interface DirectCommand {
  readonly command: 'run' | 'apply';
  readonly config?: string;
  readonly degradedOk: boolean;
}

/**
 * Reads a command line of `run` or `apply` that is plain and right; undefined for all else, which commander reads, and
 * tells of what is wrong with it. Loading commander takes half as long as an empty program does, and these two are paid
 * for at each boot.
 */
export function directCommand(args: readonly string[]): DirectCommand | undefined {
  const [command, ...options] = args;
  if (command !== 'run' && command !== 'apply') return undefined;
  let config: string | undefined;
  let degradedOk = false;
  while (options.length > 0) {
    const option = options.shift();
    const value = option === '--config' ? options.shift() : undefined;
    if (value !== undefined && value !== '' && !value.startsWith('-') && config === undefined) config = value;
    else if (option === '--degraded-ok' && command === 'apply') degradedOk = true;
    else return undefined;
  }
  return { command, degradedOk, ...(config === undefined ? {} : { config }) };
}
