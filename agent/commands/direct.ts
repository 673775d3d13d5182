/** How long `apply` may take after the wait for devices, unless another time is given. */
export const APPLY_TIMEOUT_SEC = 60;

/** A command that is run at boot, as it is in the units. */
export interface DirectCommand {
  readonly command: 'run' | 'apply';
  readonly config?: string;
  readonly degradedOk: boolean;
  readonly only?: 'containerd';
}

/**
 * Parses a simple, correct command line of `run` or `apply`; undefined for anything else, which commander parses and
 * reports errors for. Loading commander takes half as long as an empty program, and these two commands run at every
 * boot.
 */
export function directCommand(args: readonly string[]): DirectCommand | undefined {
  const [command, ...options] = args;
  if (command !== 'run' && command !== 'apply') return undefined;
  let config: string | undefined;
  let degradedOk = false;
  let only: 'containerd' | undefined;
  while (options.length > 0) {
    const option = options.shift();
    const value = option === '--config' || option === '--only' ? options.shift() : undefined;
    if (option === '--only') {
      // The other store is filled before Docker starts in any case: no unit asks for it alone.
      if (value !== 'containerd' || command !== 'apply' || only !== undefined) return undefined;
      only = value;
      continue;
    }
    if (value !== undefined && value !== '' && !value.startsWith('-') && config === undefined) config = value;
    else if (option === '--degraded-ok' && command === 'apply') degradedOk = true;
    else return undefined;
  }
  return { command, degradedOk, ...(config === undefined ? {} : { config }), ...(only === undefined ? {} : { only }) };
}
